//! Attestation inside the call-home session, and what follows from a failure.

use core::time::Duration;

use bartizan_bootstrap_protocol::enrol::Reason;
use bartizan_controller::device::{Actor, Class, Serial, State};
use bartizan_evidence::lease::{OwnerTime, Status};
use bartizan_model::config::Der;
use bartizan_model::identity::{Farewell, Floors, Log};

use crate::boxes::{Ways as Enrolling, enrol};
use crate::gateway::{Done, Played, Ways};
use crate::owner::{IMAGE, Owner};
use crate::tpm::{Boot, Tpm};

/// An owner with one enrolled box.
fn enrolled(node: &str) -> (Owner, Tpm, Vec<Der>) {
    let mut owner = Owner::new();
    let mut tpm = owner.tpm();
    owner.add(&tpm.serial(), node);
    owner.start();
    let enrolment = enrol(&owner, &mut tpm, &Enrolling::default()).enrolment();
    (owner, tpm, enrolment.ldevid)
}

#[test]
fn a_clean_gateway_is_leased_and_its_logs_are_read_once() {
    let (owner, tpm, ldevid) = enrolled("gw-a.example");
    let gateway = Played::call_home(&owner, tpm, &ldevid, Ways::default());
    let (mut quotes, mut logs, mut leases) = (0, 0, 0);
    while leases < 4 {
        match gateway.next(Some) {
            Done::Challenged => quotes += 1,
            Done::Read(Log::Firmware) => logs += 1,
            Done::Leased(claims) => {
                assert_eq!(claims.status, Status::Affirming);
                leases += 1;
            }
            Done::Ended => panic!("the session ended"),
            _ => {}
        }
    }
    assert_eq!((quotes, logs), (4, 1));
}

#[test]
fn a_tampered_gateway_is_stopped_and_stays_so_over_restarts_until_a_clean_boot() {
    let (mut owner, tpm, ldevid) = enrolled("gw-a.example");
    let serial = tpm.serial();
    let gateway = Played::call_home(&owner, tpm, &ldevid, Ways::default());
    assert_eq!(gateway.leased(), Status::Affirming);
    gateway.tpm.lock().unwrap().tamper(11);
    gateway.next(|done| match done {
        Done::Leased(claims) if claims.status == Status::Contraindicated => Some(()),
        _ => None,
    });
    let tpm = gateway.tpm.clone();
    owner.stop();
    assert_eq!(
        owner.device(&serial).state(),
        State::Quarantined(Class::State)
    );
    // The values are good again, the boot is the same: the failure stands.
    tpm.lock().unwrap().boot = Boot::of(IMAGE);
    owner.start();
    let same = Played::again(&owner, tpm.clone(), &ldevid, Ways::default());
    for _ in 0..2 {
        same.next(|done| match done {
            Done::Leased(claims) => panic!("{claims:?}"),
            Done::Challenged => Some(()),
            _ => None,
        });
    }
    owner.stop();
    assert_eq!(
        owner.device(&serial).state(),
        State::Quarantined(Class::State)
    );
    // A clean boot clears it.
    tpm.lock().unwrap().reboot(Boot::of(IMAGE));
    owner.start();
    let clean = Played::again(&owner, tpm, &ldevid, Ways::default());
    assert_eq!(clean.leased(), Status::Affirming);
}

/// Evidence that is not what was asked for is a failure that no boot clears.
fn fails_by_v7(ways: Ways) {
    let (mut owner, tpm, ldevid) = enrolled("gw-a.example");
    let serial = tpm.serial();
    let _gateway = Played::call_home(&owner, tpm, &ldevid, ways);
    owner.logged("failed by V7");
    owner.stop();
    let state = owner.device(&serial).state();
    assert_eq!(state, State::Quarantined(Class::Evidence));
}

#[test]
fn a_quote_that_is_shown_again_is_a_failure() {
    fails_by_v7(Ways {
        replays: true,
        ..Ways::default()
    });
}

#[test]
fn a_quote_of_another_session_is_a_failure() {
    fails_by_v7(Ways {
        unbound: true,
        ..Ways::default()
    });
}

#[test]
fn floors_that_its_tpm_does_not_have_are_a_failure() {
    fails_by_v7(Ways {
        flatters: true,
        ..Ways::default()
    });
}

fn floors(ownership: u64, rollback: u64) -> Floors {
    Floors {
        ownership: Some(ownership),
        rollback: Some(rollback),
        time: Some(0),
    }
}

#[test]
fn a_floor_that_rose_is_mirrored_and_one_that_fell_is_a_failure_that_no_boot_clears() {
    let (mut owner, mut tpm, ldevid) = enrolled("gw-a.example");
    let serial = tpm.serial();
    tpm.floors = floors(1, 0);
    let gateway = Played::call_home(&owner, tpm, &ldevid, Ways::default());
    assert_eq!(gateway.leased(), Status::Affirming);
    gateway.tpm.lock().unwrap().floors = floors(1, 1);
    gateway.next(|done| matches!(done, Done::Challenged).then_some(()));
    assert_eq!(gateway.leased(), Status::Affirming);
    gateway.next(|done| matches!(done, Done::Challenged).then_some(()));
    let tpm = gateway.tpm.clone();
    owner.stop();
    let known = owner.device(&serial).floors();
    assert_eq!((known.ownership, known.rollback), (Some(1), Some(1)));

    // The index was made anew.
    tpm.lock().unwrap().floors = floors(1, 0);
    owner.start();
    let gateway = Played::again(&owner, tpm.clone(), &ldevid, Ways::default());
    owner.logged("V11: the floor of rollback in the TPM is 0, it was 1");
    drop(gateway);
    owner.stop();
    let device = owner.device(&serial);
    assert_eq!(device.state(), State::Quarantined(Class::Evidence));
    assert_eq!(device.floors(), known);
    // It stands again, and the boot is a clean one.
    let mut restored = tpm.lock().unwrap();
    restored.floors = floors(1, 1);
    restored.reboot(Boot::of(IMAGE));
    drop(restored);
    owner.start();
    let gateway = Played::again(&owner, tpm, &ldevid, Ways::default());
    for _ in 0..2 {
        gateway.next(|done| match done {
            Done::Leased(claims) => panic!("{claims:?}"),
            Done::Challenged => Some(()),
            _ => None,
        });
    }
    owner.stop();
    let state = owner.device(&serial).state();
    assert_eq!(state, State::Quarantined(Class::Evidence));
}

/// Its disk is wiped and its TPM cleared: it comes as if from the factory.
#[test]
fn a_box_whose_floors_are_gone_does_not_enrol_again() {
    let (mut owner, mut tpm, ldevid) = enrolled("gw-a.example");
    let serial = tpm.serial();
    tpm.floors = floors(1, 0);
    let gateway = Played::call_home(&owner, tpm, &ldevid, Ways::default());
    assert_eq!(gateway.leased(), Status::Affirming);
    let tpm = gateway.tpm.clone();
    drop(gateway);
    let mut tpm = tpm.lock().unwrap();
    tpm.floors = Floors::default();
    let refused = enrol(&owner, &mut tpm, &Enrolling::default()).refusal();
    assert_eq!(refused, Reason::Evidence);
    owner.logged("V11: the floor of ownership in the TPM is gone, it was 1");
    owner.stop();
    let device = owner.device(&serial);
    assert_eq!(device.state(), State::Quarantined(Class::Evidence));
    assert_eq!(device.floors().ownership, Some(1));
}

/// The quote is good and its nonce was never used: but it is too old.
#[test]
fn a_quote_that_comes_too_late_grants_nothing_and_is_no_failure() {
    let (mut owner, tpm, ldevid) = enrolled("gw-a.example");
    let serial = tpm.serial();
    let late = Ways {
        quotes_in: Duration::from_secs(31),
        ..Ways::default()
    };
    let gateway = Played::call_home(&owner, tpm, &ldevid, late);
    owner.logged("quoted too late");
    let leased = gateway.done.try_iter();
    assert!(
        !leased
            .into_iter()
            .any(|done| matches!(done, Done::Leased(_)))
    );
    owner.stop();
    let device = owner.device(&serial);
    assert_eq!(device.state(), State::Enrolled);
    assert_eq!((device.totals().passed, device.totals().failed), (1, 0));
}

#[test]
fn a_revoked_gateway_is_turned_away() {
    let (mut owner, tpm, ldevid) = enrolled("gw-a.example");
    let serial = Serial::try_from(tpm.serial()).unwrap();
    owner.stop();
    owner.in_store(async |store| {
        let actor = Actor::new("a test");
        store.revoke(&serial, &actor, OwnerTime(2)).await.unwrap();
    });
    owner.start();
    let gateway = Played::call_home(&owner, tpm, &ldevid, Ways::default());
    gateway.ended_without_a_lease();
    owner.logged("the device is revoked");
}

#[test]
fn a_gateway_with_an_older_certificate_over_another_key_is_turned_away() {
    let (owner, mut tpm, ldevid) = enrolled("gw-a.example");
    let old = std::mem::replace(&mut tpm.ldevid, rcgen::KeyPair::generate().unwrap());
    enrol(&owner, &mut tpm, &Enrolling::default()).enrolment();
    tpm.ldevid = old;
    let gateway = Played::call_home(&owner, tpm, &ldevid, Ways::default());
    gateway.ended_without_a_lease();
    owner.logged("the certificate is not over the device");
}

#[test]
fn a_released_gateway_is_ordered_to_go_and_its_record_says_that_it_went() {
    let (mut owner, tpm, ldevid) = enrolled("gw-a.example");
    let serial = Serial::try_from(tpm.serial()).unwrap();
    owner.stop();
    owner.in_store(async |store| {
        let actor = Actor::new("a test");
        let now = OwnerTime(2);
        store
            .part(&serial, Farewell::Release, &actor, now)
            .await
            .unwrap();
    });
    owner.start();
    let gateway = Played::call_home(&owner, tpm, &ldevid, Ways::default());
    let order = gateway.next(|done| match done {
        Done::Ordered(order) => Some(order),
        Done::Leased(claims) => panic!("{claims:?}"),
        _ => None,
    });
    assert_eq!(order.farewell, Farewell::Release);
    owner.logged("took the order");
    owner.stop();
    let device = owner.device(serial.as_str());
    assert_eq!((device.state(), device.farewell()), (State::Released, None));
}

/// What keeps a gateway's tunnel with another.
const PLAN: &str = r#"
[node."gw-a.example"]
addresses = ["192.0.2.1"]
[node."gw-b.example"]
addresses = ["192.0.2.2"]
[[tunnel]]
id = 1
between = ["gw-a.example", "gw-b.example"]
mode = "tunnel"
networks = ["10.1.0.0/16", "10.2.0.0/16"]
kem = { need = "required", parameter-set = "ml-kem-768" }
soft = { seconds = 3000 }
hard = { seconds = 3600 }
"#;

#[test]
fn the_peer_of_a_gateway_that_fails_loses_it_at_once_and_has_it_back_with_a_clean_boot() {
    let mut owner = Owner::new();
    let mut tpms = [owner.tpm(), owner.tpm()];
    let nodes = ["gw-a.example", "gw-b.example"];
    for (tpm, node) in tpms.iter().zip(nodes) {
        owner.add(&tpm.serial(), node);
    }
    owner.plan(PLAN);
    owner.start();
    let enrolments = tpms
        .each_mut()
        .map(|tpm| enrol(&owner, tpm, &Enrolling::default()).enrolment());
    let [a, b] = tpms;
    let a = Played::call_home(&owner, a, &enrolments[0].ldevid, Ways::default());
    let b = Played::call_home(&owner, b, &enrolments[1].ldevid, Ways::default());
    let entries = |gateway: &Played, count: usize| {
        gateway.next(|done| match done {
            Done::Edited(running) if running.len() == count => Some(()),
            _ => None,
        });
    };
    entries(&a, 2);
    entries(&b, 2);
    a.tpm.lock().unwrap().tamper(11);
    entries(&b, 0);
    a.tpm.lock().unwrap().reboot(Boot::of(IMAGE));
    entries(&b, 2);
}
