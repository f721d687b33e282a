//! The peer role's real process: with another one, and with certified peers that are hostile.
#![cfg(test)]
#![forbid(unsafe_code)]

mod gateway;
mod hostile;
mod rogue;

use std::time::{Duration, Instant};

use bartizan_model::message::{EngineToPeer, SupervisorToRole};
use bartizan_tests::pki::{Authority, Valid};
use bartizan_tests::played::next;
use gateway::{Owner, heard, lease, switched};
use rogue::{Groups, Rogue, RogueListener};

#[test]
fn a_pair_carries_every_message_in_its_order_both_ways() {
    const MESSAGES: u64 = 2000;
    let owner = Owner::new();
    let (mut a, mut b) = owner.pair();
    assert_eq!(a.connected(), b.identity());
    assert_eq!(b.connected(), a.identity());
    for epoch in 0..MESSAGES {
        a.say("gw-b", switched(epoch));
        b.say("gw-a", switched(epoch));
    }
    a.say("gw-b", lease(8000));
    for epoch in 0..MESSAGES {
        assert_eq!(b.heard(), heard("gw-a", switched(epoch)));
        assert_eq!(a.heard(), heard("gw-b", switched(epoch)));
    }
    assert_eq!(b.heard(), heard("gw-a", lease(8000)));
    assert_eq!((a.tpm.signatures(), b.tpm.signatures()), (1, 1));
}

#[test]
fn a_renewed_certificate_is_shown_from_then_on_and_no_other() {
    let owner = Owner::new();
    let mut b = owner.gateway("gw-b");
    let someone = owner.authority.issue(&["gw-x"]);
    let shown = |address| {
        let met = Rogue::connect(address, &owner, Some(&someone), Groups::Hybrid);
        met.unwrap().shown()
    };
    assert_eq!(shown(b.address), b.certified.chain()[0].0);
    let renewed = owner.authority.issue_again(&["gw-b"], &b.certified);
    b.role.tell(&SupervisorToRole::Ldevid(renewed.clone()));
    b.role.wait_count("ldevid-renewed", 1);
    assert_eq!(shown(b.address), renewed[0].0);

    // The supervisor has checked it: one over another key is its fault, and the end.
    let stranger = owner.authority.issue(&["gw-b"]);
    b.role
        .tell(&SupervisorToRole::Ldevid(stranger.chain().to_vec()));
    assert_eq!(b.role.ended().code(), Some(76));
}

#[test]
fn a_node_with_another_nodes_certificate_is_refused() {
    let owner = Owner::new();
    let mut a = owner.gateway("gw-a");
    // It lives where gw-b should, and its certificate is good, for gw-c.
    let mut c = owner.gateway("gw-c");
    a.link_to("gw-b", &c, true);
    c.link_to("gw-a", &a, false);
    a.role.wait_count("peer-dial-failed", 2);
    assert_eq!(a.tpm.signatures(), 0, "a proved itself to a stranger");
    a.link_to("gw-c", &c, true);
    assert_eq!(a.connected(), c.identity());
}

#[test]
fn a_node_that_no_tunnel_needs_is_not_taken_until_one_does() {
    let owner = Owner::new();
    let (mut a, mut b) = (owner.gateway("gw-a"), owner.gateway("gw-b"));
    a.link_to("gw-b", &b, true);
    b.role.wait_count("peer-unknown-node", 2);
    assert!(a.hears_nothing(), "a link that the other end did not take");
    b.link_to("gw-a", &a, false);
    a.connected();
    b.connected();
    b.order(&EngineToPeer::Unlink(gateway::node("gw-a")));
    b.disconnected("gw-a");
    a.disconnected("gw-b");
}

#[test]
fn two_ends_that_both_dial_get_no_link_and_no_harm() {
    let owner = Owner::new();
    let (mut a, mut b) = (owner.gateway("gw-a"), owner.gateway("gw-b"));
    a.link_to("gw-b", &b, true);
    b.link_to("gw-a", &a, true);
    a.role.wait_count("peer-ours-to-dial", 2);
    b.role.wait_count("peer-ours-to-dial", 2);
    assert!(a.hears_nothing() && b.hears_nothing());
    b.link_to("gw-a", &a, false);
    a.connected();
    b.connected();
}

#[test]
fn a_peer_that_dies_and_comes_back_is_linked_again() {
    let owner = Owner::new();
    let (mut a, b) = owner.pair();
    a.connected();
    let address = b.address;
    drop(b);
    a.disconnected("gw-b");
    a.role.wait_count("peer-dial-failed", 1);
    let mut b = owner.gateway_at("gw-b", address);
    b.link_to("gw-a", &a, false);
    a.connected();
    b.connected();
    a.say("gw-b", switched(1));
    assert_eq!(b.heard(), heard("gw-a", switched(1)));
}

#[test]
fn a_classical_peer_is_refused_at_either_end() {
    let owner = Owner::new();
    let mut b = owner.gateway("gw-b");
    b.link("gw-a", "127.0.0.1:9".parse().unwrap(), false);
    let certified = owner.authority.issue(&["gw-a"]);
    let classical = Rogue::connect(b.address, &owner, Some(&certified), Groups::Classical);
    assert!(classical.is_err());
    b.role.wait_count("peer-handshake-failed", 1);
    assert_eq!(b.tpm.signatures(), 0);
    let mut hybrid = Rogue::connect(b.address, &owner, Some(&certified), Groups::Hybrid).unwrap();
    assert_eq!(hybrid.frame(), Some(rogue::ADOPTED.to_vec()));

    let listener =
        RogueListener::bind(&owner, &owner.authority.issue(&["gw-c"]), Groups::Classical);
    let mut a = owner.gateway("gw-a");
    a.link("gw-c", listener.address(), true);
    for _ in 0..2 {
        assert!(listener.accept().is_err());
    }
    a.role.wait_count("peer-dial-failed", 2);
    assert_eq!(a.tpm.signatures(), 0);
}

#[test]
fn a_certificate_that_proves_nothing_opens_nothing() {
    let owner = Owner::new();
    let mut b = owner.gateway("gw-b");
    b.link("gw-a", "127.0.0.1:9".parse().unwrap(), false);
    let foreign = Authority::new("Somebody else");
    let mut refused = 0;
    for certified in [
        None,
        Some(foreign.issue(&["gw-a"])),
        Some(owner.authority.issue_valid(&["gw-a"], Valid::InThePast)),
        Some(owner.authority.issue_valid(&["gw-a"], Valid::InTheFuture)),
        Some(owner.authority.issue(&["gw-a", "gw-c"])),
        Some(owner.authority.issue(&[])),
    ] {
        // TLS 1.3 lets a client know only when it reads.
        if let Ok(mut rogue) = Rogue::connect(b.address, &owner, certified.as_ref(), Groups::Hybrid)
        {
            assert_eq!(rogue.frame(), None);
        }
        refused += 1;
        b.role.wait_count("peer-handshake-failed", refused);
    }
    assert!(b.hears_nothing());
}

#[test]
fn the_role_ends_with_its_neighbours_and_never_hangs() {
    let owner = Owner::new();
    let (mut a, _b) = owner.pair();
    a.connected();
    // A handshake hangs meanwhile.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    a.link("gw-c", silent.local_addr().unwrap(), true);
    let _accepted = silent.accept().unwrap();
    a.hang_up();
    let begun = Instant::now();
    assert_eq!(a.role.ended().code(), Some(69), "EX_UNAVAILABLE");
    assert!(begun.elapsed() < Duration::from_secs(3));
}

#[test]
fn the_engine_may_end_a_link_and_have_the_peer_wait() {
    let owner = Owner::new();
    let (mut a, mut b) = owner.pair();
    a.connected();
    b.connected();
    b.order(&EngineToPeer::Close(gateway::node("gw-a")));
    b.disconnected("gw-a");
    a.disconnected("gw-b");
    b.role.wait_count("peer-barred", 3);
    let soon = Instant::now() + Duration::from_millis(200);
    assert!(next(&mut b.engine, soon).is_none(), "it was taken again");
}

#[test]
fn what_is_said_without_a_link_is_dropped() {
    let owner = Owner::new();
    let (mut a, mut b) = (owner.gateway("gw-a"), owner.gateway("gw-b"));
    a.say("gw-b", switched(1));
    a.link_to("gw-b", &b, true);
    a.say("gw-b", switched(2));
    b.link_to("gw-a", &a, false);
    a.connected();
    b.connected();
    a.say("gw-b", switched(3));
    assert_eq!(b.heard(), heard("gw-a", switched(3)));
}
