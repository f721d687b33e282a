//! Edits, leases and restarts as control and the supervisor see them.

use core::time::Duration;

use bartizan_core::exchange::Input;
use bartizan_evidence::lease::{Claims, Status};
use bartizan_evidence::order::Order;
use bartizan_model::identity::Farewell;
use bartizan_model::ids::{EditId, EntryName, Nonce, Thumbprint};
use bartizan_model::message::{ControlToEngine, EditRefusal, LeaseRefusal};
use bartizan_model::policy::{Action, Direction, Keying, Policy, Prefix};
use bartizan_model::report::{Alarm, Notice, TunnelState};

use crate::gateway::Verdict;
use crate::policies::{WISH, Wish, entries, host, node};
use crate::verifier::Verifier;
use crate::world::World;

const SOON: Duration = Duration::from_secs(30);

fn up(seed: u64, wish: Wish) -> World {
    let mut world = World::new(seed, &[(1, wish)]);
    assert!(world.run_until(SOON, |world| world.is_protected(1)));
    world.run(Duration::from_secs(5));
    world
}

/// An attested gateway without entries.
fn empty(seed: u64) -> World {
    let mut world = World::new(seed, &[]);
    world.run(Duration::from_secs(5));
    world
}

fn put(policies: impl IntoIterator<Item = Policy>) -> Vec<(EntryName, Option<Policy>)> {
    let policies = policies.into_iter();
    policies
        .map(|policy| (policy.name.clone(), Some(policy)))
        .collect()
}

fn with_keying(policy: &mut Policy, change: impl FnOnce(&mut Keying)) {
    if let Action::Protect(protect) = &mut policy.action {
        change(&mut protect.keying);
    }
}

/// Both entries of a tunnel, changed.
fn changed(tunnel: u32, change: impl FnMut(&mut Policy)) -> [Policy; 2] {
    let mut both = entries(0, tunnel, WISH);
    both.iter_mut().for_each(change);
    both
}

#[test]
fn an_edit_is_taken_whole_or_refused_with_its_reason() {
    let mut cases: Vec<(EditRefusal, Vec<Policy>)> = vec![
        (EditRefusal::HalfTunnel, entries(0, 2, WISH)[..1].to_vec()),
        (
            EditRefusal::ReqidTaken,
            changed(2, |policy| policy.reqid = 1.try_into().unwrap()).to_vec(),
        ),
        (
            EditRefusal::SelectorTaken,
            changed(2, |policy| {
                policy.selector = entries(0, 1, WISH)[0].selector;
            })
            .to_vec(),
        ),
        (
            EditRefusal::TunnelTaken,
            changed(2, |policy| {
                with_keying(policy, |keying| keying.tunnel.0 = 1);
            })
            .to_vec(),
        ),
        (
            EditRefusal::PeerIsSelf,
            changed(2, |policy| {
                with_keying(policy, |keying| keying.peer = node(0));
            })
            .to_vec(),
        ),
        (
            EditRefusal::NoSource,
            changed(2, |policy| {
                with_keying(policy, |keying| (keying.qkd, keying.kem) = (None, None));
            })
            .to_vec(),
        ),
        (
            EditRefusal::PeerContradicts,
            changed(2, |policy| {
                with_keying(policy, |keying| keying.peer_address.set_port(1));
            })
            .to_vec(),
        ),
        (
            EditRefusal::PeerContradicts,
            changed(2, |policy| {
                with_keying(policy, |keying| {
                    keying.qkd.as_mut().unwrap().peer_sae = "other".try_into().unwrap();
                });
            })
            .to_vec(),
        ),
    ];
    let mut unlike = entries(0, 2, WISH);
    with_keying(&mut unlike[1], |keying| keying.soft.seconds = Some(1));
    cases.push((EditRefusal::NotMirrored, unlike.to_vec()));
    let mut discards = entries(0, 2, WISH);
    discards[1].action = Action::Discard;
    cases.push((EditRefusal::NotMirrored, discards.to_vec()));
    // An entry that lets forwarded packets out where another tunnel judges what came in.
    let mut hairpin = changed(2, |policy| {
        core::mem::swap(&mut policy.selector.local, &mut policy.selector.remote);
    });
    let one = entries(0, 1, WISH)[0].selector;
    for policy in &mut hairpin {
        (policy.selector.local, policy.selector.remote) = (one.remote, one.local);
    }
    cases.push((EditRefusal::SelectorTaken, hairpin.to_vec()));

    let mut world = up(90, WISH);
    let before = world.kernel_of(1);
    let policies = world.gateways[0].kernel.policies.len();
    for (number, (reason, bad)) in cases.into_iter().enumerate() {
        // A good tunnel in the same edit must not stand either.
        let good = entries(0, 100, WISH);
        world.edit(0, put(bad.into_iter().chain(good)));
        world.run(Duration::from_secs(1));
        let said = world.gateways[0].edit_refusals.pop();
        assert_eq!(said.map(|(_, why)| why), Some(reason), "{number}");
        assert_eq!(
            world.gateways[0].kernel.policies.len(),
            policies,
            "{number}"
        );
        assert_eq!(world.kernel_of(1), before, "{number}");
    }
    assert_eq!(world.gateways[0].count("edit-refused"), 11);
}

#[test]
fn any_to_any_is_a_selector_like_others() {
    let any = Prefix::new([0, 0, 0, 0].into(), 0).unwrap();
    let both = changed(3, |policy| {
        (policy.selector.local, policy.selector.remote) = (any, any);
    });
    let mut world = empty(91);
    world.edit(0, put(both));
    world.run(Duration::from_secs(1));
    assert!(world.gateways[0].edit_refusals.is_empty());
    assert_eq!(world.gateways[0].kernel.policies.len(), 2);
}

#[test]
fn without_a_lease_nothing_is_steered_but_the_restored_entries_stand() {
    let mut world = World::new(92, &[(1, WISH)]);
    world.gateways[0].verdict = Verdict::Silent;
    world.run(Duration::from_secs(20));
    // The first edit of its life restored what ran before.
    assert_eq!(world.gateways[0].kernel.policies.len(), 2);
    assert!(world.gateways[0].kernel.sas.is_empty());
    assert!(world.gateways[0].in_force);

    world.edit(0, put(entries(0, 2, WISH)));
    world.run(Duration::from_secs(1));
    let refused = world.gateways[0].edit_refusals.pop();
    assert_eq!(refused.map(|(_, why)| why), Some(EditRefusal::NotAttested));
    for message in [
        ControlToEngine::BeginRestore(EditId(1000)),
        ControlToEngine::Put(Box::new(entries(0, 2, WISH)[0].clone())),
        ControlToEngine::CommitEdit(EditId(1000)),
    ] {
        world.tell(0, Input::Control(message));
    }
    world.run(Duration::from_secs(1));
    let refused = world.gateways[0].edit_refusals.pop();
    assert_eq!(refused.map(|(_, why)| why), Some(EditRefusal::NotAttested));
    assert_eq!(world.gateways[0].kernel.policies.len(), 2);
}

#[test]
fn an_edit_of_another_number_is_not_the_one_that_was_begun() {
    let mut world = empty(93);
    for message in [
        ControlToEngine::BeginEdit(EditId(50)),
        ControlToEngine::Put(Box::new(entries(0, 2, WISH)[0].clone())),
        ControlToEngine::CommitEdit(EditId(51)),
        ControlToEngine::CommitEdit(EditId(50)),
    ] {
        world.tell(0, Input::Control(message));
    }
    world.run(Duration::from_secs(1));
    let refusals = &world.gateways[0].edit_refusals;
    let refusals: Vec<_> = refusals.iter().map(|(_, why)| *why).collect();
    assert_eq!(refusals, [EditRefusal::NotBegun]);
    assert!(world.gateways[0].kernel.policies.is_empty());
}

#[test]
fn changed_lifetimes_and_sources_make_a_new_generation_without_a_gap() {
    let mut world = up(94, WISH);
    world.flow(1, Duration::from_millis(10));
    let wish = Wish {
        qkd: None,
        soft: 100,
        ..WISH
    };
    for who in [0, 1] {
        world.edit(who, put(entries(who, 1, wish)));
    }
    let rekeyed = |world: &World| {
        world.is_protected(1)
            && world.gateways.iter().all(|gateway| {
                let pair = gateway.report(1).current.clone().unwrap();
                gateway.report(1).rekeys > 0 && !pair.sources.unwrap().qkd
            })
    };
    assert!(world.run_until(SOON, rekeyed));
    world.ebb();
    assert_eq!((world.traffic.lost, world.traffic.unsent), (0, 0));
}

#[test]
fn a_tunnel_that_one_end_takes_out_is_told_away_and_comes_back() {
    let mut world = World::new(95, &[(1, WISH), (2, WISH)]);
    let up = |world: &World| world.is_protected(1) && world.is_protected(2);
    assert!(world.run_until(SOON, up));
    world.withdraw(1, 1);
    world.run(Duration::from_secs(10));
    assert!(world.kernel_of(1).is_empty());
    assert_eq!(world.gateways[1].kernel.policies.len(), 2);
    assert_eq!(world.gateways[1].state(1), None);
    // The one that still wants it says that nobody answers.
    world.run(Duration::from_secs(20));
    assert_eq!(world.gateways[0].report(1).alarm, Some(Alarm::TimedOut));

    world.edit(1, put(entries(1, 1, WISH)));
    assert!(world.run_until(Duration::from_secs(60), up));
}

#[test]
fn a_tunnel_with_other_addresses_is_another_tunnel() {
    let mut world = up(96, WISH);
    let before = world.kernel_of(1);
    for who in [0, 1] {
        world.invariants.withdrawn(who, 1);
        let moved = entries(who, 1, WISH).map(|mut policy| {
            policy.selector.local = Prefix::host(host(who, 9));
            policy.selector.remote = Prefix::host(host(1 - who, 9));
            policy
        });
        world.edit(who, put(moved));
    }
    assert!(world.run_until(SOON, |world| {
        world.is_protected(1) && world.kernel_of(1).iter().all(|sa| !before.contains(sa))
    }));
    for gateway in &world.gateways {
        assert_eq!(gateway.kernel.policies.len(), 2);
    }
}

#[test]
fn entries_that_change_places_are_never_missing() {
    let mut world = empty(97);
    world.edit(
        0,
        put(entries(0, 1, WISH).into_iter().chain(entries(0, 2, WISH))),
    );
    world.run(Duration::from_secs(1));
    let mut swapped = [entries(0, 1, WISH), entries(0, 2, WISH)];
    for (policies, other) in swapped.iter_mut().zip([2, 1]) {
        for policy in policies.iter_mut() {
            policy.selector = entries(0, other, WISH)[0].selector;
        }
    }
    world.edit(0, put(swapped.into_iter().flatten()));
    while world.step_before(world.now + Duration::from_secs(1)) {
        assert_eq!(world.gateways[0].kernel.policies.len(), 4);
    }
    let reqid = |tunnel: u32| {
        let selector = entries(0, tunnel, WISH)[0].selector;
        let policy = &world.gateways[0].kernel.policies[&(Direction::Outbound, selector)];
        u32::from(policy.reqid)
    };
    assert_eq!((reqid(1), reqid(2)), (2, 1));
}

#[test]
fn a_lease_counts_only_for_us_over_our_nonce_and_once() {
    type Spoil = fn(&mut Claims);
    let cases: [(LeaseRefusal, Spoil); 6] = [
        (LeaseRefusal::OtherDevice, |claims| claims.node = node(1)),
        (LeaseRefusal::OtherDevice, |claims| {
            claims.ldevid = Thumbprint([8; 32]);
        }),
        (LeaseRefusal::Nonce, |claims| claims.nonce = Nonce([8; 32])),
        (LeaseRefusal::Status, |claims| {
            claims.status = Status::Warning;
        }),
        (LeaseRefusal::Status, |claims| claims.status = Status::None),
        (LeaseRefusal::Times, |claims| claims.expires.0 += 25 * 3600),
    ];
    for (refusal, spoil) in cases {
        let mut world = World::new(98, &[(1, WISH)]);
        world.gateways[0].verdict = Verdict::Silent;
        world.run(Duration::from_secs(5));
        let (nonce, _) = world.gateways[0].nonce.unwrap();
        let ldevid = world.gateways[0].ldevid;
        let mut claims = Verifier::claims(world.now, &node(0), ldevid, nonce);
        spoil(&mut claims);
        let lease = world.verifier.sign(&claims);
        world.handle(0, Input::Control(ControlToEngine::Lease(lease)));
        assert_eq!(world.gateways[0].lease_refusals, [refusal]);
        assert_eq!(world.gateways[0].lease_end, Duration::ZERO);
    }

    let mut world = World::new(99, &[(1, WISH)]);
    world.gateways[0].verdict = Verdict::Silent;
    world.run(Duration::from_secs(5));
    let (nonce, _) = world.gateways[0].nonce.unwrap();
    let ldevid = world.gateways[0].ldevid;
    let claims = Verifier::claims(world.now, &node(0), ldevid, nonce);
    let lease = world.verifier.sign(&claims);
    let mut forged = lease.clone();
    *forged.last_mut().unwrap() ^= 1;
    for bytes in [Vec::new(), vec![0xff; 9000], forged, lease.clone(), lease] {
        world.handle(0, Input::Control(ControlToEngine::Lease(bytes)));
    }
    let refusals = [
        LeaseRefusal::Malformed,
        LeaseRefusal::Malformed,
        LeaseRefusal::Signature,
        // The fourth was accepted, and has spent the nonce.
        LeaseRefusal::Nonce,
    ];
    assert_eq!(world.gateways[0].lease_refusals, refusals);
    assert!(world.gateways[0].lease_end > world.now);
    assert_ne!(world.gateways[0].nonce.unwrap().0, nonce);
}

#[test]
fn an_order_counts_only_for_us_over_our_nonce_and_once() {
    type Spoil = fn(&mut Order);
    let cases: [(LeaseRefusal, Spoil); 3] = [
        (LeaseRefusal::OtherDevice, |order| order.node = node(1)),
        (LeaseRefusal::OtherDevice, |order| {
            order.ldevid = Thumbprint([8; 32]);
        }),
        (LeaseRefusal::Nonce, |order| order.nonce = Nonce([8; 32])),
    ];
    let mut world = World::new(103, &[(1, WISH)]);
    world.run(Duration::from_secs(30));
    let (nonce, _) = world.gateways[0].nonce.unwrap();
    let ldevid = world.gateways[0].ldevid;
    let good = Verifier::order(world.now, &node(0), ldevid, nonce, Farewell::Release);
    let lease = Verifier::claims(world.now, &node(0), ldevid, nonce);
    let lease = world.verifier.sign(&lease);
    for (refusal, spoil) in cases {
        let mut order = good.clone();
        spoil(&mut order);
        let order = world.verifier.sign_order(&order);
        world.handle(0, Input::Control(ControlToEngine::Order(order)));
        assert_eq!(world.gateways[0].orders.pop(), Some(Err(refusal)));
    }
    let good = world.verifier.sign_order(&good);
    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    // A lease is no order, nor an order a lease, though the same keys sign both.
    for (bytes, refusal) in [
        (Vec::new(), LeaseRefusal::Malformed),
        (vec![0xff; 9000], LeaseRefusal::Malformed),
        (lease, LeaseRefusal::Malformed),
        (forged, LeaseRefusal::Signature),
    ] {
        world.handle(0, Input::Control(ControlToEngine::Order(bytes)));
        assert_eq!(world.gateways[0].orders.pop(), Some(Err(refusal)));
    }
    world.handle(0, Input::Control(ControlToEngine::Lease(good.clone())));
    let refused = [LeaseRefusal::Malformed];
    assert_eq!(world.gateways[0].lease_refusals, refused);
    assert_eq!(world.gateways[0].count("order-refused"), 7);
    assert_eq!(world.gateways[0].state(1), Some(TunnelState::Protected));

    // The nonce is spent by a lease as by an order.
    let (spent, _) = world.gateways[0].nonce.unwrap();
    let claims = Verifier::claims(world.now, &node(0), ldevid, spent);
    let lease = world.verifier.sign(&claims);
    let order = world.order(0, Farewell::Release).unwrap();
    world.handle(0, Input::Control(ControlToEngine::Lease(lease)));
    world.handle(0, Input::Control(ControlToEngine::Order(order)));
    assert_eq!(world.gateways[0].orders, [Err(LeaseRefusal::Nonce)]);
    assert_eq!(world.gateways[0].state(1), Some(TunnelState::Protected));
}

#[test]
fn a_nonce_that_nobody_uses_is_replaced() {
    let mut world = World::new(100, &[]);
    world.gateways[0].verdict = Verdict::Silent;
    world.run(Duration::from_secs(5));
    let first = world.gateways[0].nonce.unwrap().0;
    world.run(Duration::from_secs(130));
    assert_ne!(world.gateways[0].nonce.unwrap().0, first);
}

#[test]
fn a_peer_that_is_away_is_an_alarm() {
    let mut world = World::new(102, &[(1, WISH)]);
    world.gateways[1].verdict = Verdict::Silent;
    world.run(Duration::from_secs(30));
    assert_eq!(
        world.gateways[0].report(1).alarm,
        Some(Alarm::PeerUnreachable)
    );
    let notices = &world.gateways[0].notices;
    let alarms = notices
        .iter()
        .filter(|notice| matches!(notice, Notice::Alarm { .. }));
    assert_eq!(alarms.count(), 1);
    assert_eq!(world.gateways[0].state(1), Some(TunnelState::Blocked));
    assert_eq!(world.gateways[1].report(1).alarm, Some(Alarm::NoLease));
}
