//! What keying leaves in a process: the secrets in their slots, and no copy anywhere else.
#![cfg(test)]
#![forbid(unsafe_code)]
#![expect(
    clippy::arithmetic_side_effects,
    reason = "an overflow fails the test, as it should"
)]

#[path = "../vectors/lease.rs"]
mod lease;
#[path = "../vectors/plain.rs"]
mod plain;
#[path = "../../../secret/tests/support/mod.rs"]
mod support;

use bartizan_core::hybrid::{Context, Derived, Shares, derive};
use bartizan_core::kem::{Initiator, respond};
use bartizan_model::ids::{Epoch, KeyId, NodeId, Nonce, Spi, TunnelId};
use bartizan_model::message::{Answer, Offer, Side};
use bartizan_model::policy::{Combiner, Mode, ParameterSet, Suite};
use bartizan_model::report::SourceSet;
use bartizan_secret::{Secret, ZeroOnFree};
use plain::{Words, hex};
use support::{Looked, part, plant, refuse_memfd_secret, scan, scan_for, show};

#[global_allocator]
static HEAP: ZeroOnFree = ZeroOnFree;

/// Copies in memory that can be read: those in slots can where `mlock` backs them.
const BACKINGS: [(&str, usize); 2] = [("mlock", 1), ("memfd_secret", 0)];

#[test]
fn a_key_exchange_leaves_seed_and_shared_secret_in_their_slots_alone() {
    const NAME: &str = "a_key_exchange_leaves_seed_and_shared_secret_in_their_slots_alone";
    const SET: ParameterSet = ParameterSet::MlKem1024;
    if let Some(part) = part() {
        choose_backing(&part);
        // d and z are the pattern, and so is m.
        let (initiator, key) = Initiator::generate(SET, &mut plant).unwrap();
        show("seed");
        let (ciphertext, shared) = respond(SET, &key, &mut plant).unwrap();
        show("seed");
        let finished = initiator.finish(&ciphertext).unwrap();
        show(&masked(finished.expose()));
        drop((shared, finished));
        show("nothing");
        return;
    }
    for (part, readable) in BACKINGS {
        let mut child = Looked::start(NAME, part);
        for step in ["generated", "responded"] {
            assert_eq!(child.word(), "seed");
            let found = scan(child.pid());
            assert_eq!(found.in_all(), 2 * readable, "{part}, {step}: {found:#?}");
            child.go_on();
        }
        let shared = unmasked(&child.word());
        let seed = scan(child.pid());
        assert_eq!(seed.in_all(), 0, "{part}: {seed:#?}");
        let found = scan_for(child.pid(), &shared);
        assert_eq!(found.in_all(), 2 * readable, "{part}: {found:#?}");
        child.go_on();
        assert_eq!(child.word(), "nothing");
        let found = scan_for(child.pid(), &shared);
        assert_eq!(found.in_all(), 0, "{part}: {found:#?}");
        assert!(child.end().success());
    }
}

#[test]
fn a_derivation_leaves_share_and_keys_in_their_slots_and_nothing_between_them() {
    const NAME: &str = "a_derivation_leaves_share_and_keys_in_their_slots_and_nothing_between_them";
    let (offer, answer) = exchange();
    if let Some(part) = part() {
        choose_backing(&part);
        let share = Secret::from_fn(32, plant).unwrap();
        let derived = derive_from(&share, &offer, &answer);
        show("derived");
        drop(derived);
        show("dropped");
        drop(share);
        show("nothing");
        return;
    }
    let words = Words {
        initiator: "gw-a.example",
        responder: "gw-b.example",
        suite: "aes-gcm-16-256",
        mode: "tunnel",
        combiner: "hmac",
        parameter_set: "",
    };
    let share = support::pattern();
    let (keys, between) = plain::derive(&words, &offer, &answer, Some(&share), None, None);
    for (part, readable) in BACKINGS {
        let mut child = Looked::start(NAME, part);
        let expect = |child: &mut Looked, word, counts: &[(&[u8], usize)]| {
            assert_eq!(child.word(), word);
            for (secret, expected) in counts {
                let found = scan_for(child.pid(), secret);
                assert_eq!(found.in_all(), *expected, "{part}, {word}: {found:#?}");
            }
        };
        let [prk, confirm_initiator, confirm_responder] = &between;
        expect(
            &mut child,
            "derived",
            &[
                (&share, readable),
                (&keys.initiators_key, readable),
                (&keys.responders_key, readable),
                // The tag that the peer must show.
                (&keys.responders_tag, readable),
                (prk, 0),
                (confirm_initiator, 0),
                (confirm_responder, 0),
            ],
        );
        child.go_on();
        let mut gone = vec![
            (&*keys.initiators_key, 0),
            (&*keys.responders_key, 0),
            (&*keys.responders_tag, 0),
        ];
        expect(
            &mut child,
            "dropped",
            &[&gone[..], &[(&share, readable)]].concat(),
        );
        child.go_on();
        gone.push((&share, 0));
        expect(&mut child, "nothing", &gone);
        assert!(child.end().success());
    }
}

fn exchange() -> (Offer, Answer) {
    let sources = SourceSet {
        qkd: true,
        kem: false,
        classical: false,
    };
    let key_id = KeyId::try_from("a-key").unwrap();
    let offer = Offer {
        tunnel: TunnelId(1),
        epoch: Epoch(1),
        side: Side::Initiator,
        nonce: Nonce([1; 32]),
        spi: Spi::try_from(256).unwrap(),
        sources,
        encapsulation_key: Vec::new(),
        public_key: Vec::new(),
        qkd_key: Some(key_id.clone()),
    };
    let answer = Answer {
        tunnel: TunnelId(1),
        epoch: Epoch(1),
        side: Side::Responder,
        nonce: Nonce([2; 32]),
        spi: Spi::try_from(257).unwrap(),
        sources,
        ciphertext: Vec::new(),
        public_key: Vec::new(),
        qkd_key: Some(key_id),
    };
    (offer, answer)
}

fn derive_from(share: &Secret, offer: &Offer, answer: &Answer) -> Derived {
    let context = Context {
        initiator: &NodeId::try_from("gw-a.example").unwrap(),
        responder: &NodeId::try_from("gw-b.example").unwrap(),
        suite: Suite::AesGcm256,
        mode: Mode::Tunnel,
        combiner: Combiner::Hmac,
        parameter_set: None,
        offer,
        answer,
    };
    let shares = Shares {
        qkd: Some(share),
        kem: None,
        classical: None,
    };
    lease::with_lease(|lease| derive(&context, &shares, Side::Initiator, lease)).unwrap()
}

fn choose_backing(part: &str) {
    if part == "mlock" {
        refuse_memfd_secret();
    }
}

/// Another mask than the pattern's, so that telling the parent a secret plants no copy.
const MASK: u8 = 0x96;

fn masked(secret: &[u8]) -> String {
    let masked: Vec<u8> = secret.iter().map(|byte| byte ^ MASK).collect();
    hex(&masked)
}

fn unmasked(word: &str) -> Vec<u8> {
    let digits: Vec<u32> = word.chars().map(|c| c.to_digit(16).unwrap()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap() ^ MASK)
        .collect()
}
