//! A certified peer that says anything at any time. Its words are data: refused, counted, and its own
//! tunnels' trouble; no other tunnel feels it.

use core::time::Duration;

use bartizan_core::NONSENSE_MAX;
use bartizan_core::exchange::Input;
use bartizan_evidence::lease::Claims;
use bartizan_model::ids::{Epoch, KeyId, Nonce, Spi, Thumbprint, TunnelId};
use bartizan_model::message::{Answer, Offer, PeerMessage, PeerToEngine, Side, Stage, Standing};
use bartizan_model::policy::Need;
use bartizan_model::report::SourceSet;

use crate::policies::{WISH, Wish, node};
use crate::verifier::Verifier;
use crate::world::World;

const SOON: Duration = Duration::from_secs(90);

/// The tunnel that the peer lies about; it keeps its word about the other.
const LIES: TunnelId = TunnelId(1);

const SHORT: Wish = Wish {
    classical: Some(Need::Optional),
    soft: 30,
    hard: 300,
    ..WISH
};

/// The states are those of the first keying and the first rekey, from message to message; in each of
/// them everything is said, beginning with another word each time. The long form says one word alone in
/// each state, and waits until both tunnels stand again.
#[test]
fn every_message_in_every_state_harms_no_other_tunnel() {
    let begun = || {
        let mut world = World::new(70, &[(1, SHORT), (2, WISH)]);
        world.invariants.excuse_all(1);
        world
    };
    let mut whole = begun();
    assert!(whole.run_until(SOON, |world| world.gateways[1].report_if(1) >= Some(1)));
    whole.run(Duration::from_secs(10));
    let all = every_message();
    for to in [0, 1] {
        for state in 0..whole.said.len() {
            let firsts: Vec<usize> = if long() {
                (0..all.len()).collect()
            } else {
                vec![(7 * state) % all.len(), (7 * state + 3) % all.len()]
            };
            for first in firsts {
                let mut world = begun();
                assert!(world.run_until(SOON, |world| world.said.len() > state));
                let before = world.kernel_of(2);
                let said = if long() { 1 } else { all.len() };
                for message in all.iter().cycle().skip(first).take(said) {
                    receive(&mut world, to, message.clone());
                    assert_eq!(world.kernel_of(2), before, "{to} {state} {message:?}");
                }
                let up = |world: &World| world.is_protected(1) && world.is_protected(2);
                assert!(world.run_until(SOON * 2, up), "{to} {state} {first}");
            }
        }
    }
}

#[test]
fn nonsense_is_counted_and_its_repetition_closes_the_link() {
    for message in every_message() {
        let mut world = World::new(71, &[(1, WISH), (2, WISH)]);
        let up = |world: &World| world.is_protected(1) && world.is_protected(2);
        assert!(world.run_until(SOON, up));
        world.run(Duration::from_secs(10));
        world.invariants.excuse_all(1);
        let refused = |world: &World| {
            ["peer-refused", "peer-stale", "tag-mismatch"]
                .map(|name| world.gateways[0].count(name))
                .iter()
                .sum::<u64>()
        };
        let sas = world.kernel_of(2);
        for round in 0..200 {
            receive(&mut world, 0, message.clone());
            if world.gateways[0].closed > 0 {
                break;
            }
            // What is taken is harmless said again; the rest is counted.
            assert!(refused(&world) > 0 || round < 2, "{message:?}");
        }
        assert_eq!(world.gateways[0].closed, 1, "{message:?}");
        assert_eq!(world.gateways[0].count("peer-closed"), 1);
        assert_eq!(world.kernel_of(2), sas, "{message:?}");
        assert!(world.run_until(SOON, up), "{message:?}");
    }
}

#[test]
fn as_much_nonsense_as_is_allowed_closes_nothing() {
    let mut world = World::new(72, &[(1, WISH)]);
    assert!(world.run_until(SOON, |world| world.is_protected(1)));
    let nonsense = PeerMessage::Switched {
        tunnel: LIES,
        epoch: Epoch(77),
    };
    for _ in 0..NONSENSE_MAX {
        receive(&mut world, 0, nonsense.clone());
    }
    assert_eq!(world.gateways[0].closed, 0);
    assert_eq!(
        world.gateways[0].count("peer-refused"),
        u64::from(NONSENSE_MAX)
    );
    receive(&mut world, 0, nonsense);
    assert_eq!(world.gateways[0].closed, 1);
}

#[test]
fn nothing_counts_before_a_lease_that_is_the_peers_own_and_live() {
    type Spoil = fn(&World, &mut Claims);
    let spoils: [(&str, Spoil); 4] = [
        ("another node", |_, claims| claims.node = node(0)),
        ("another key", |_, claims| {
            claims.ldevid = Thumbprint([9; 32]);
        }),
        ("over", |_, claims| {
            claims.issued.0 -= 1000;
            claims.expires.0 -= 1000;
        }),
        ("too long", |_, claims| claims.expires.0 += 100 * 86_400),
    ];
    for (name, spoil) in spoils {
        let mut world = World::new(73, &[(1, WISH)]);
        world.refuse_leases_of = Some(1);
        world.run(Duration::from_secs(20));
        let mut claims = Verifier::claims(
            world.now,
            &node(1),
            world.gateways[1].ldevid,
            Nonce([3; 32]),
        );
        spoil(&world, &mut claims);
        let lease = world.verifier.sign(&claims);
        receive(&mut world, 0, PeerMessage::Lease(lease.clone()));
        let mut forged = lease;
        *forged.last_mut().unwrap() ^= 1;
        receive(&mut world, 0, PeerMessage::Lease(forged));
        world.run(Duration::from_secs(60));
        assert_eq!(world.gateways[0].count("peer-lease-refused"), 2, "{name}");
        assert!(world.gateways[0].kernel.sas.is_empty(), "{name}");
        let keyed = world.said.iter().any(|(who, message)| {
            *who == 0 && matches!(message, PeerMessage::Offer(_) | PeerMessage::Resume { .. })
        });
        assert!(!keyed, "{name}");
    }
}

#[test]
fn replays_of_everything_that_was_said_change_nothing_for_the_other_tunnel() {
    let mut world = World::new(74, &[(1, SHORT), (2, WISH)]);
    assert!(world.run_until(SOON, |world| world.gateways[0].report_if(1) >= Some(2)));
    world.invariants.excuse_all(1);
    let said: Vec<_> = world.said.clone();
    for (from, message) in said {
        if tunnel_of(&message) == Some(LIES) {
            receive(&mut world, 1 - from, message);
            world.run(Duration::from_millis(200));
        }
    }
    let up = |world: &World| world.is_protected(1) && world.is_protected(2);
    assert!(world.run_until(SOON * 2, up));
}

fn receive(world: &mut World, to: usize, message: PeerMessage) {
    let from = node(1 - to);
    let message = Box::new(message);
    world.handle(to, Input::Peer(PeerToEngine::Received { from, message }));
}

fn tunnel_of(message: &PeerMessage) -> Option<TunnelId> {
    match message {
        PeerMessage::Lease(_) | PeerMessage::Stream(_) => None,
        PeerMessage::Resume { tunnel, .. }
        | PeerMessage::RekeyWanted { tunnel, .. }
        | PeerMessage::Confirm { tunnel, .. }
        | PeerMessage::InboundStands { tunnel, .. }
        | PeerMessage::ExtendWanted { tunnel, .. }
        | PeerMessage::Switched { tunnel, .. }
        | PeerMessage::Abandoned { tunnel, .. } => Some(*tunnel),
        PeerMessage::Offer(offer) => Some(offer.tunnel),
        PeerMessage::Answer(answer) => Some(answer.tunnel),
    }
}

/// Each variant, with epochs of the past, the present, the near and the far future.
fn every_message() -> Vec<PeerMessage> {
    let tunnel = LIES;
    let mut messages = vec![
        PeerMessage::Lease(Vec::new()),
        PeerMessage::Lease(vec![0xd8; 6000]),
    ];
    for epoch in [0, 1, 2, 3, 1 << 40, u64::MAX].map(Epoch) {
        messages.push(PeerMessage::RekeyWanted { tunnel, epoch });
        messages.push(PeerMessage::Confirm {
            tunnel,
            epoch,
            tag: [0; 32],
        });
        for seconds in [0, u64::MAX] {
            messages.push(PeerMessage::InboundStands {
                tunnel,
                epoch,
                seconds,
            });
        }
        messages.push(PeerMessage::ExtendWanted { tunnel, epoch });
        messages.push(PeerMessage::Switched { tunnel, epoch });
        messages.push(PeerMessage::Abandoned { tunnel, epoch });
        messages.extend(offers(epoch));
        messages.extend(answers(epoch));
        messages.extend(resumes(epoch));
    }
    messages
}

fn offers(epoch: Epoch) -> Vec<PeerMessage> {
    let good = Offer {
        tunnel: LIES,
        epoch,
        side: Side::Initiator,
        nonce: Nonce([1; 32]),
        spi: spi(7777),
        sources: SourceSet {
            qkd: true,
            kem: true,
            classical: true,
        },
        encapsulation_key: vec![0; 800],
        public_key: vec![9; 32],
        qkd_key: KeyId::try_from("never-made").ok(),
    };
    [
        good.clone(),
        Offer {
            side: Side::Responder,
            ..good.clone()
        },
        Offer {
            encapsulation_key: vec![0xff; 800],
            ..good.clone()
        },
        Offer {
            encapsulation_key: Vec::new(),
            ..good.clone()
        },
        Offer {
            qkd_key: None,
            ..good.clone()
        },
        // A point of small order, one that is too short, one that is there for no source.
        Offer {
            public_key: vec![0; 32],
            ..good.clone()
        },
        Offer {
            public_key: vec![9; 31],
            ..good.clone()
        },
        Offer {
            sources: SourceSet {
                classical: false,
                ..good.sources
            },
            ..good.clone()
        },
        Offer {
            sources: SourceSet {
                qkd: false,
                kem: false,
                classical: false,
            },
            ..good
        },
    ]
    .into_iter()
    .map(|offer| PeerMessage::Offer(Box::new(offer)))
    .collect()
}

fn answers(epoch: Epoch) -> Vec<PeerMessage> {
    let good = Answer {
        tunnel: LIES,
        epoch,
        side: Side::Responder,
        nonce: Nonce([2; 32]),
        spi: spi(8888),
        sources: SourceSet {
            qkd: true,
            kem: true,
            classical: true,
        },
        ciphertext: vec![0; 768],
        public_key: vec![9; 32],
        qkd_key: KeyId::try_from("key-1").ok(),
    };
    [
        good.clone(),
        Answer {
            side: Side::Initiator,
            ..good.clone()
        },
        Answer {
            public_key: vec![0; 32],
            ..good.clone()
        },
        Answer {
            public_key: vec![9; 5000],
            ..good.clone()
        },
        Answer {
            ciphertext: vec![1; 5000],
            ..good.clone()
        },
        Answer {
            sources: SourceSet {
                qkd: false,
                kem: true,
                classical: false,
            },
            ..good.clone()
        },
        Answer {
            sources: SourceSet {
                qkd: false,
                kem: false,
                classical: false,
            },
            ..good
        },
    ]
    .into_iter()
    .map(|answer| PeerMessage::Answer(Box::new(answer)))
    .collect()
}

fn resumes(last: Epoch) -> Vec<PeerMessage> {
    let standing = |stage, number| Standing {
        epoch: last,
        stage,
        inbound: Some(spi(number)),
        outbound: Some(spi(number + 1)),
        seconds: u64::MAX,
    };
    let all = vec![
        standing(Stage::InboundStands, 300),
        standing(Stage::Switched, 400),
        standing(Stage::Draining, 500),
    ];
    let mut messages = Vec::new();
    for reply in [false, true] {
        for generations in [
            Vec::new(),
            all.clone(),
            vec![standing(Stage::Switched, 600); 100],
        ] {
            messages.push(PeerMessage::Resume {
                tunnel: LIES,
                last,
                generations,
                reply,
            });
        }
    }
    messages
}

fn spi(number: u32) -> Spi {
    Spi::try_from(number).unwrap()
}

fn long() -> bool {
    std::env::var_os("BARTIZAN_LONG").is_some_and(|value| value == "1")
}
