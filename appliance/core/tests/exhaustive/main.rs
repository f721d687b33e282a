//! Every order of events of two wheels, up to a bound: kernels that refuse or stay silent, links
//! that are cut anywhere, deadlines that pass anywhere, SAs that expire and ends that restart anywhere.
//! After every step: whoever can send has a peer that takes the packets. Where nothing is under way:
//! nothing is kept for nothing, and a successor can come.
//!
//! `BARTIZAN_LONG=1` explores wider bounds.
#![cfg(test)]
#![expect(
    clippy::arithmetic_side_effects,
    reason = "an overflow fails the test, as it should"
)]

mod check;
mod end;
mod explore;
mod world;

use explore::{Budget, NONE, Planted, explore};

#[test]
fn without_faults_every_order_converges() {
    holds(Budget { rekeys: 4, ..NONE });
}

#[test]
fn kernels_may_refuse_and_stay_silent() {
    let kernel = if long() { 3 } else { 2 };
    holds(Budget {
        rekeys: 3,
        kernel,
        ..NONE
    });
}

#[test]
fn the_link_may_be_cut_anywhere() {
    let (rekeys, cuts) = if long() { (4, 3) } else { (3, 2) };
    holds(Budget {
        rekeys,
        cuts,
        ..NONE
    });
}

#[test]
fn deadlines_may_pass_anywhere() {
    let deadlines = if long() { 3 } else { 2 };
    holds(Budget {
        rekeys: 3,
        deadlines,
        ..NONE
    });
}

#[test]
fn either_end_may_restart_anywhere() {
    let restarts = if long() { 3 } else { 2 };
    holds(Budget {
        rekeys: 3,
        restarts,
        ..NONE
    });
}

#[test]
fn sas_may_expire_anywhere() {
    holds(Budget {
        rekeys: 3,
        expiries: 2,
        ..NONE
    });
}

#[test]
fn the_peer_may_take_the_tunnel_on_anew_anywhere() {
    let cuts = u8::from(long());
    holds(Budget {
        rekeys: 3,
        anew: 1,
        cuts,
        ..NONE
    });
}

#[test]
fn faults_of_two_kinds_may_meet() {
    let two = Budget { rekeys: 2, ..NONE };
    holds(Budget {
        kernel: 1,
        cuts: 1,
        ..two
    });
    holds(Budget {
        kernel: 1,
        restarts: 1,
        ..two
    });
    holds(Budget {
        deadlines: 1,
        cuts: 1,
        ..two
    });
    holds(Budget {
        deadlines: 1,
        restarts: 1,
        ..two
    });
    holds(Budget {
        expiries: 1,
        cuts: 1,
        ..two
    });
    holds(Budget {
        cuts: 1,
        restarts: 1,
        ..two
    });
}

#[test]
fn faults_of_every_kind_may_meet() {
    let all = Budget {
        rekeys: 1,
        kernel: 1,
        cuts: 1,
        restarts: 1,
        deadlines: 1,
        expiries: 1,
        anew: 0,
    };
    holds(if long() {
        Budget { rekeys: 2, ..all }
    } else {
        all
    });
}

#[test]
fn the_exploration_finds_an_inbound_sa_that_goes_too_early() {
    finds(
        "I1",
        Budget { rekeys: 2, ..NONE },
        Planted::DrainsWithoutSwitched,
    );
}

#[test]
fn the_exploration_finds_an_abandoned_said_after_switching() {
    let budget = Budget {
        rekeys: 2,
        deadlines: 1,
        ..NONE
    };
    finds("I1", budget, Planted::AbandonsWhileInstalling);
}

#[test]
fn the_exploration_finds_a_switched_said_too_early() {
    finds(
        "I1",
        Budget { rekeys: 2, ..NONE },
        Planted::SwitchedBeforeRemoved,
    );
}

#[test]
fn the_exploration_finds_an_end_that_never_says_switched() {
    finds(
        "I5",
        Budget { rekeys: 2, ..NONE },
        Planted::KeepsSwitchedToItself,
    );
}

fn holds(budget: Budget) {
    if let Err(broken) = explore(budget, Planted::Nothing) {
        panic!("{broken}");
    }
}

fn finds(invariant: &str, budget: Budget, planted: Planted) {
    let broken = explore(budget, planted).unwrap_err();
    assert!(broken.starts_with(invariant), "{broken}");
}

fn long() -> bool {
    std::env::var_os("BARTIZAN_LONG").is_some_and(|value| value == "1")
}
