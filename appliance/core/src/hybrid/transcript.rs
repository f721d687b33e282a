//! The one encoding of what both ends have said and agreed: what is not in here is not bound.

use bartizan_model::ids::KeyId;
use bartizan_model::message::{Answer, Offer, Side};
use bartizan_model::policy::{Combiner, Mode, ParameterSet, Suite};
use bartizan_model::report::SourceSet;
use sha2::{Digest, Sha384};

use super::Context;

/// SHA-384 over an offer and its answer, every field of both.
pub(super) type Transcript = [u8; 48];

/// A sequence of fields, each behind its length, so that no two sequences encode alike.
#[derive(Default)]
pub(super) struct Fields(Vec<u8>);

impl Fields {
    pub(super) fn field(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(&length(bytes));
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The length of a field as it stands before it: 4 bytes, the highest first.
pub(super) fn length(bytes: &[u8]) -> [u8; 4] {
    // A field is a part of a message of a few KiB.
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes()
}

pub(super) fn transcript(offer: &Offer, answer: &Answer) -> Transcript {
    let mut fields = Fields::default();
    fields
        .field(b"bartizan transcript 1")
        .field(&offer.tunnel.0.to_be_bytes())
        .field(&offer.epoch.0.to_be_bytes())
        .field(side(offer.side))
        .field(&offer.nonce.0)
        .field(&u32::from(offer.spi).to_be_bytes())
        .field(&sources(offer.sources))
        .field(&offer.encapsulation_key)
        .field(&offer.public_key)
        .field(key_id(offer.qkd_key.as_ref()))
        .field(&answer.tunnel.0.to_be_bytes())
        .field(&answer.epoch.0.to_be_bytes())
        .field(side(answer.side))
        .field(&answer.nonce.0)
        .field(&u32::from(answer.spi).to_be_bytes())
        .field(&sources(answer.sources))
        .field(&answer.ciphertext)
        .field(&answer.public_key)
        .field(key_id(answer.qkd_key.as_ref()));
    Sha384::digest(fields.as_bytes()).into()
}

/// The fields that follow the label in every expansion.
pub(super) fn encode(context: &Context<'_>, transcript: &Transcript) -> Fields {
    let mut fields = Fields::default();
    let used = context.answer.sources;
    fields
        .field(b"bartizan hybrid 1")
        .field(context.initiator.as_str().as_bytes())
        .field(context.responder.as_str().as_bytes())
        .field(&context.answer.tunnel.0.to_be_bytes())
        .field(&context.answer.epoch.0.to_be_bytes())
        .field(&u32::from(context.offer.spi).to_be_bytes())
        .field(&u32::from(context.answer.spi).to_be_bytes())
        .field(suite(context.suite))
        .field(mode(context.mode))
        .field(combiner(context.combiner))
        .field(key_id(context.answer.qkd_key.as_ref()))
        .field(parameter_set(context.parameter_set.filter(|_| used.kem)))
        .field(transcript);
    fields
}

pub(super) const fn side(side: Side) -> &'static [u8] {
    match side {
        Side::Initiator => b"initiator",
        Side::Responder => b"responder",
    }
}

fn sources(set: SourceSet) -> [u8; 3] {
    [set.qkd, set.kem, set.classical].map(u8::from)
}

/// Absent is empty, which no key id is.
fn key_id(key: Option<&KeyId>) -> &[u8] {
    key.map_or("", KeyId::as_str).as_bytes()
}

const fn suite(suite: Suite) -> &'static [u8] {
    match suite {
        Suite::AesGcm256 => b"aes-gcm-16-256",
    }
}

const fn mode(mode: Mode) -> &'static [u8] {
    match mode {
        Mode::Tunnel => b"tunnel",
        Mode::Transport => b"transport",
    }
}

const fn combiner(combiner: Combiner) -> &'static [u8] {
    match combiner {
        Combiner::Hmac => b"hmac",
        Combiner::Xor => b"xor",
        Combiner::XorHmac => b"xorhmac",
    }
}

const fn parameter_set(set: Option<ParameterSet>) -> &'static [u8] {
    match set {
        None => b"",
        Some(ParameterSet::MlKem512) => b"ml-kem-512",
        Some(ParameterSet::MlKem768) => b"ml-kem-768",
        Some(ParameterSet::MlKem1024) => b"ml-kem-1024",
    }
}
