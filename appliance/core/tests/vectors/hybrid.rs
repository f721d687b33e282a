//! The derivation against the formulas of its page, and what a key is bound to.

use core::fmt::Write;

use bartizan_core::hybrid::{Context, DeriveError, Derived, Shares, derive};
use bartizan_core::lease::Lease;
use bartizan_model::ids::{Epoch, KeyId, NodeId, Nonce, Spi, TunnelId};
use bartizan_model::message::{Answer, Offer, Side};
use bartizan_model::policy::{Combiner, Mode, ParameterSet, Suite};
use bartizan_model::report::SourceSet;
use bartizan_secret::Secret;
use proptest::prelude::*;

use crate::lease::with_lease;
use crate::plain::{self, Outputs, Words, hex};

/// One exchange, as both ends know it.
#[derive(Clone, Debug)]
struct Exchange {
    initiator: NodeId,
    responder: NodeId,
    mode: Mode,
    combiner: Combiner,
    parameter_set: Option<ParameterSet>,
    offer: Offer,
    answer: Answer,
    qkd: Option<Vec<u8>>,
    kem: Option<Vec<u8>>,
    classical: Option<Vec<u8>>,
}

impl Exchange {
    /// With QKD and the KEM.
    fn new() -> Self {
        let both = SourceSet {
            qkd: true,
            kem: true,
            classical: false,
        };
        let key_id = KeyId::try_from("7a1f0e52-0b3c-4c8e-9d70-5f6b1c2d3e4f").unwrap();
        Self {
            initiator: NodeId::try_from("gw-a.example").unwrap(),
            responder: NodeId::try_from("gw-b.example").unwrap(),
            mode: Mode::Tunnel,
            combiner: Combiner::Hmac,
            parameter_set: Some(ParameterSet::MlKem768),
            offer: Offer {
                tunnel: TunnelId(7),
                epoch: Epoch(3),
                side: Side::Initiator,
                nonce: Nonce([0x11; 32]),
                spi: Spi::try_from(0x1000_0001).unwrap(),
                sources: both,
                encapsulation_key: vec![0x22; 1184],
                public_key: Vec::new(),
                qkd_key: Some(key_id.clone()),
            },
            answer: Answer {
                tunnel: TunnelId(7),
                epoch: Epoch(3),
                side: Side::Responder,
                nonce: Nonce([0x33; 32]),
                spi: Spi::try_from(0x2000_0002).unwrap(),
                sources: both,
                ciphertext: vec![0x44; 1088],
                public_key: Vec::new(),
                qkd_key: Some(key_id),
            },
            qkd: Some((0..32).collect()),
            kem: Some((100..132).collect()),
            classical: None,
        }
    }

    fn with_classical(mut self) -> Self {
        self.offer.sources.classical = true;
        self.offer.public_key = vec![0x55; 32];
        self.answer.sources.classical = true;
        self.answer.public_key = vec![0x66; 32];
        self.classical = Some((200..232).collect());
        self
    }

    fn without_qkd(mut self) -> Self {
        self.answer.sources.qkd = false;
        self.answer.qkd_key = None;
        self.qkd = None;
        self
    }

    fn without_kem(mut self) -> Self {
        self.answer.sources.kem = false;
        self.answer.ciphertext.clear();
        self.kem = None;
        self
    }

    fn derive(&self, side: Side, lease: &Lease) -> Result<Derived, DeriveError> {
        let slot = |bytes: &Vec<u8>| {
            Secret::from_fn(bytes.len(), |out| out.copy_from_slice(bytes)).unwrap()
        };
        let (qkd, kem) = (self.qkd.as_ref().map(slot), self.kem.as_ref().map(slot));
        let classical = self.classical.as_ref().map(slot);
        let context = Context {
            initiator: &self.initiator,
            responder: &self.responder,
            suite: Suite::AesGcm256,
            mode: self.mode,
            combiner: self.combiner,
            parameter_set: self.parameter_set,
            offer: &self.offer,
            answer: &self.answer,
        };
        let shares = Shares {
            qkd: qkd.as_ref(),
            kem: kem.as_ref(),
            classical: classical.as_ref(),
        };
        derive(&context, &shares, side, lease)
    }

    /// Derives at both ends and checks that they fit together.
    fn outputs(&self) -> Outputs {
        with_lease(|lease| {
            let initiator = self.derive(Side::Initiator, lease).unwrap();
            let responder = self.derive(Side::Responder, lease).unwrap();
            assert_eq!(initiator.outbound.expose(), responder.inbound.expose());
            assert_eq!(initiator.inbound.expose(), responder.outbound.expose());
            assert!(initiator.confirmed_by(&responder.tag));
            assert!(responder.confirmed_by(&initiator.tag));
            // Its own tag sent back to an end confirms nothing.
            assert!(!initiator.confirmed_by(&initiator.tag));
            assert!(!responder.confirmed_by(&responder.tag));
            Outputs {
                initiators_key: initiator.outbound.expose().to_vec(),
                responders_key: responder.outbound.expose().to_vec(),
                initiators_tag: initiator.tag.to_vec(),
                responders_tag: responder.tag.to_vec(),
            }
        })
    }

    fn refusal(&self) -> DeriveError {
        with_lease(|lease| {
            let refused = self.derive(Side::Initiator, lease);
            assert!(self.derive(Side::Responder, lease).is_err());
            refused.unwrap_err()
        })
    }

    fn by_formula(&self) -> Outputs {
        let words = Words {
            initiator: self.initiator.as_str(),
            responder: self.responder.as_str(),
            suite: "aes-gcm-16-256",
            mode: match self.mode {
                Mode::Tunnel => "tunnel",
                Mode::Transport => "transport",
            },
            combiner: match self.combiner {
                Combiner::Hmac => "hmac",
                Combiner::Xor => "xor",
                Combiner::XorHmac => "xorhmac",
            },
            parameter_set: match self.parameter_set.filter(|_| self.kem.is_some()) {
                None => "",
                Some(ParameterSet::MlKem512) => "ml-kem-512",
                Some(ParameterSet::MlKem768) => "ml-kem-768",
                Some(ParameterSet::MlKem1024) => "ml-kem-1024",
            },
        };
        let (qkd, kem) = (self.qkd.as_deref(), self.kem.as_deref());
        let classical = self.classical.as_deref();
        plain::derive(&words, &self.offer, &self.answer, qkd, kem, classical).0
    }
}

/// Every combination of combiner and sources, for the golden file.
fn combinations() -> Vec<(String, Exchange)> {
    let mut all = Vec::new();
    for (word, combiner) in [
        ("hmac", Combiner::Hmac),
        ("xor", Combiner::Xor),
        ("xorhmac", Combiner::XorHmac),
    ] {
        for set in 1..8 {
            let mut exchange = Exchange {
                combiner,
                ..Exchange::new()
            };
            let mut name = word.to_owned();
            if set & 1 != 0 {
                name.push_str(" qkd");
            } else {
                exchange = exchange.without_qkd();
            }
            if set & 2 != 0 {
                name.push_str(" kem");
            } else {
                exchange = exchange.without_kem();
            }
            if set & 4 != 0 {
                name.push_str(" x25519");
                exchange = exchange.with_classical();
            }
            all.push((name, exchange));
        }
    }
    all
}

#[test]
fn the_derivation_is_what_its_page_says_and_stays_so() {
    let mut golden = String::new();
    for (name, exchange) in combinations() {
        let outputs = exchange.outputs();
        assert_eq!(outputs, exchange.by_formula(), "{name}");
        for (output, bytes) in [
            ("initiator's key", outputs.initiators_key),
            ("responder's key", outputs.responders_key),
            ("initiator's tag", outputs.initiators_tag),
            ("responder's tag", outputs.responders_tag),
        ] {
            writeln!(golden, "{name}, {output}: {}", hex(&bytes)).unwrap();
        }
    }
    assert_eq!(golden, include_str!("hybrid.txt"), "found:\n{golden}");
}

/// One field of the context changed, and which.
fn changes() -> Vec<(&'static str, Exchange)> {
    let mut changes = Vec::new();
    let mut change = |name, edit: fn(&mut Exchange)| {
        let mut exchange = Exchange::new();
        edit(&mut exchange);
        changes.push((name, exchange));
    };
    change("initiator", |e| {
        e.initiator = NodeId::try_from("gw-0").unwrap();
    });
    change("responder", |e| {
        e.responder = NodeId::try_from("gw-c").unwrap();
    });
    change("mode", |e| e.mode = Mode::Transport);
    change("combiner", |e| e.combiner = Combiner::Xor);
    change("combiner again", |e| e.combiner = Combiner::XorHmac);
    change("X25519", |e| *e = e.clone().with_classical());
    change("X25519 share", |e| {
        *e = e.clone().with_classical();
        e.classical.as_mut().unwrap()[7] ^= 1;
    });
    change("offer's public key", |e| {
        *e = e.clone().with_classical();
        e.offer.public_key[0] ^= 1;
    });
    change("answer's public key", |e| {
        *e = e.clone().with_classical();
        e.answer.public_key[31] ^= 1;
    });
    change("X25519 alone", |e| {
        *e = e.clone().with_classical().without_qkd().without_kem();
    });
    change("X25519 offered and not used", |e| {
        e.offer.sources.classical = true;
    });
    change("parameter set", |e| {
        e.parameter_set = Some(ParameterSet::MlKem1024);
    });
    change("tunnel", |e| {
        e.offer.tunnel = TunnelId(8);
        e.answer.tunnel = TunnelId(8);
    });
    change("epoch", |e| {
        e.offer.epoch = Epoch(4);
        e.answer.epoch = Epoch(4);
    });
    change("offer's nonce", |e| e.offer.nonce.0[31] ^= 1);
    change("answer's nonce", |e| e.answer.nonce.0[0] ^= 1);
    change("offer's spi", |e| e.offer.spi = Spi::try_from(257).unwrap());
    change("answer's spi", |e| {
        e.answer.spi = Spi::try_from(257).unwrap();
    });
    change("spis swapped", |e| {
        core::mem::swap(&mut e.offer.spi, &mut e.answer.spi);
    });
    change("nonces swapped", |e| {
        core::mem::swap(&mut e.offer.nonce, &mut e.answer.nonce);
    });
    change("encapsulation key", |e| {
        e.offer.encapsulation_key[1183] ^= 1;
    });
    change("encapsulation key's end", |e| {
        e.offer.encapsulation_key.push(0);
    });
    change("ciphertext", |e| e.answer.ciphertext[0] ^= 1);
    change("ciphertext's end", |e| {
        e.answer.ciphertext.pop();
    });
    change("QKD key id", |e| {
        let other = KeyId::try_from("7a1f0e52").unwrap();
        e.offer.qkd_key = Some(other.clone());
        e.answer.qkd_key = Some(other);
    });
    change("QKD share", |e| e.qkd.as_mut().unwrap()[0] ^= 1);
    change("KEM share", |e| e.kem.as_mut().unwrap()[31] ^= 1);
    change("shares swapped", |e| {
        core::mem::swap(&mut e.qkd, &mut e.kem);
    });
    change("no QKD", |e| *e = e.clone().without_qkd());
    change("no KEM", |e| *e = e.clone().without_kem());
    change("QKD not offered", |e| {
        e.offer.sources.qkd = false;
        e.offer.qkd_key = None;
        *e = e.clone().without_qkd();
    });
    changes
}

#[test]
fn every_output_changes_with_every_field_and_no_two_outputs_are_equal() {
    let mut seen = std::collections::BTreeMap::new();
    let all = [("unchanged", Exchange::new())]
        .into_iter()
        .chain(changes());
    for (name, exchange) in all {
        let outputs = exchange.outputs();
        for bytes in [
            &outputs.initiators_key[..32],
            &outputs.responders_key[..32],
            &outputs.initiators_key[32..],
            &outputs.responders_key[32..],
            &outputs.initiators_tag,
            &outputs.responders_tag,
        ] {
            if let Some(earlier) = seen.insert(bytes.to_vec(), name) {
                panic!("the change of {name} gives an output of {earlier}");
            }
        }
    }
}

#[test]
fn a_tag_of_any_other_exchange_confirms_nothing() {
    with_lease(|lease| {
        let initiator = Exchange::new().derive(Side::Initiator, lease).unwrap();
        for (name, other) in changes() {
            let responder = other.derive(Side::Responder, lease).unwrap();
            assert!(!initiator.confirmed_by(&responder.tag), "{name}");
        }
        let good = Exchange::new().derive(Side::Responder, lease).unwrap().tag;
        for bit in 0..256 {
            let mut tag = good;
            tag[bit / 8] ^= 1 << (bit % 8);
            assert!(!initiator.confirmed_by(&tag));
        }
        assert!(initiator.confirmed_by(&good));
    });
}

#[test]
fn what_does_not_fit_together_gives_no_key() {
    let refused = |edit: fn(&mut Exchange)| {
        let mut exchange = Exchange::new();
        edit(&mut exchange);
        exchange.refusal()
    };
    macro_rules! refuses {
        ($($edit:expr => $error:ident,)*) => {
            $(assert!(matches!(refused($edit), DeriveError::$error), "{}", stringify!($edit));)*
        };
    }
    refuses! {
        |e| *e = e.clone().without_qkd().without_kem() => NoSource,

        // The shares are not the set.
        |e| e.qkd = None => SetMismatch,
        |e| e.kem = None => SetMismatch,
        |e| { *e = e.clone().without_qkd(); e.qkd = Some(vec![1; 32]); } => SetMismatch,
        |e| { *e = e.clone().without_kem(); e.kem = Some(vec![1; 32]); } => SetMismatch,

        |e| { *e = e.clone().with_classical(); e.classical = None; } => SetMismatch,
        |e| e.classical = Some(vec![1; 32]) => SetMismatch,

        // The set is not one that was offered, or is not named.
        |e| e.offer.sources.qkd = false => SetMismatch,
        |e| e.offer.sources.kem = false => SetMismatch,
        |e| { *e = e.clone().with_classical(); e.offer.sources.classical = false; } => SetMismatch,
        |e| e.answer.qkd_key = None => SetMismatch,
        |e| e.answer.qkd_key = Some(KeyId::try_from("other").unwrap()) => SetMismatch,
        |e| { e.offer.qkd_key = None; e.answer.qkd_key = None; } => SetMismatch,
        |e| { let id = e.answer.qkd_key.clone(); *e = e.clone().without_qkd(); e.answer.qkd_key = id; }
            => SetMismatch,
        |e| e.parameter_set = None => SetMismatch,

        // Not one exchange between these two.
        |e| core::mem::swap(&mut e.initiator, &mut e.responder) => ExchangeMismatch,
        |e| e.responder = e.initiator.clone() => ExchangeMismatch,
        |e| e.offer.side = Side::Responder => ExchangeMismatch,
        |e| e.answer.side = Side::Initiator => ExchangeMismatch,
        |e| e.answer.tunnel = TunnelId(8) => ExchangeMismatch,
        |e| e.answer.epoch = Epoch(4) => ExchangeMismatch,

        // Broken sources.
        |e| e.qkd = Some(vec![0; 32]) => ZeroShare,
        |e| e.kem = Some(vec![0; 32]) => ZeroShare,
        |e| { *e = e.clone().with_classical(); e.classical = Some(vec![0; 32]); } => ZeroShare,
        |e| { e.combiner = Combiner::Xor; e.qkd = e.kem.clone(); } => ZeroShare,
        |e| { e.combiner = Combiner::Xor; e.qkd = Some(vec![1; 31]); } => UnequalLengths,
        |e| { e.combiner = Combiner::Xor; e.qkd = Some(vec![1; 33]); } => UnequalLengths,
    }
}

proptest! {
    #[test]
    fn any_shares_give_what_the_formulas_give(
        qkd in prop::collection::vec(any::<u8>(), 1..=64),
        kem: [u8; 32],
        nonces: [[u8; 32]; 2],
        combiner in prop::sample::select(vec![Combiner::Hmac, Combiner::Xor, Combiner::XorHmac]),
        classical: Option<[u8; 32]>,
    ) {
        let mut exchange = Exchange::new();
        prop_assume!(qkd.iter().any(|byte| *byte != 0) && kem != [0; 32] && qkd != kem);
        exchange.qkd = Some(qkd.clone());
        exchange.kem = Some(kem.to_vec());
        [exchange.offer.nonce.0, exchange.answer.nonce.0] = nonces;
        if combiner != Combiner::Xor || qkd.len() == 32 {
            exchange.combiner = combiner;
        }
        if let Some(share) = classical.filter(|share| *share != [0; 32]) {
            exchange = exchange.with_classical();
            exchange.classical = Some(share.to_vec());
        }
        prop_assert_eq!(exchange.outputs(), exchange.by_formula());
    }
}
