//! HMAC and HKDF written down from their standards over SHA-384 alone, and the derivation from the
//! formulas of `bartizan_core::hybrid`: nothing here is shared with the code under test.

use core::fmt::Write;

use bartizan_model::message::{Answer, Offer};
use bartizan_model::report::SourceSet;
use sha2::{Digest, Sha384};

/// RFC 2104, 2, for SHA-384: blocks of 128 bytes.
pub(crate) fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = if key.len() > 128 {
        Sha384::digest(key).to_vec()
    } else {
        key.to_vec()
    };
    block.resize(128, 0);
    let with = |pad: u8| block.iter().map(|byte| byte ^ pad).collect::<Vec<_>>();
    let inner = Sha384::digest([with(0x36), text.to_vec()].concat());
    Sha384::digest([with(0x5c), inner.to_vec()].concat()).to_vec()
}

/// RFC 5869, 2.3.
pub(crate) fn hkdf_expand(prk: &[u8], info: &[u8], len: usize) -> Vec<u8> {
    let mut all = Vec::new();
    let mut last = Vec::new();
    let mut numbers = 1_u8..;
    while all.len() < len {
        let number = numbers.next().unwrap();
        last = hmac(prk, &[&last, info, &[number]].concat());
        all.extend(&last);
    }
    all.truncate(len);
    all
}

/// The words that `Context` has types for.
pub(crate) struct Words<'a> {
    pub(crate) initiator: &'a str,
    pub(crate) responder: &'a str,
    pub(crate) suite: &'a str,
    pub(crate) mode: &'a str,
    pub(crate) combiner: &'a str,
    pub(crate) parameter_set: &'a str,
}

/// Everything that one derivation gives.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Outputs {
    pub(crate) initiators_key: Vec<u8>,
    pub(crate) responders_key: Vec<u8>,
    pub(crate) initiators_tag: Vec<u8>,
    pub(crate) responders_tag: Vec<u8>,
}

/// Derives, and tells beside the outputs what it passed through and no one may keep: the extracted
/// key and both confirmation keys.
pub(crate) fn derive(
    words: &Words<'_>,
    offer: &Offer,
    answer: &Answer,
    qkd: Option<&[u8]>,
    kem: Option<&[u8]>,
    classical: Option<&[u8]>,
) -> (Outputs, [Vec<u8>; 3]) {
    let id = |key: &Option<bartizan_model::ids::KeyId>| {
        key.as_ref().map_or(String::new(), ToString::to_string)
    };
    let set = |sources: SourceSet| [sources.qkd, sources.kem, sources.classical].map(u8::from);
    let said = fields(&[
        b"bartizan transcript 1",
        &offer.tunnel.0.to_be_bytes(),
        &offer.epoch.0.to_be_bytes(),
        b"initiator",
        &offer.nonce.0,
        &u32::from(offer.spi).to_be_bytes(),
        &set(offer.sources),
        &offer.encapsulation_key,
        &offer.public_key,
        id(&offer.qkd_key).as_bytes(),
        &answer.tunnel.0.to_be_bytes(),
        &answer.epoch.0.to_be_bytes(),
        b"responder",
        &answer.nonce.0,
        &u32::from(answer.spi).to_be_bytes(),
        &set(answer.sources),
        &answer.ciphertext,
        &answer.public_key,
        id(&answer.qkd_key).as_bytes(),
    ]);
    let transcript = Sha384::digest(said).to_vec();
    let context = fields(&[
        b"bartizan hybrid 1",
        words.initiator.as_bytes(),
        words.responder.as_bytes(),
        &answer.tunnel.0.to_be_bytes(),
        &answer.epoch.0.to_be_bytes(),
        &u32::from(offer.spi).to_be_bytes(),
        &u32::from(answer.spi).to_be_bytes(),
        words.suite.as_bytes(),
        words.mode.as_bytes(),
        words.combiner.as_bytes(),
        id(&answer.qkd_key).as_bytes(),
        words.parameter_set.as_bytes(),
        &transcript,
    ]);
    let labelled: Vec<[&[u8]; 2]> = [(&b"qkd"[..], qkd), (b"kem", kem), (b"x25519", classical)]
        .into_iter()
        .filter_map(|(label, share)| Some([label, share?]))
        .collect();
    let xor = |one: &[u8], other: &[u8]| -> Vec<u8> {
        one.iter().zip(other).map(|(a, b)| a ^ b).collect()
    };
    let shares = match words.combiner {
        "hmac" => fields(&labelled.concat()),
        "xor" => {
            let all = labelled.iter().map(|[_, share]| share.to_vec());
            fields(&[b"xor", &all.reduce(|one, other| xor(&one, &other)).unwrap()])
        }
        "xorhmac" => {
            let in_order = |label: &[u8], shares: &[[&[u8]; 2]]| {
                let text = [fields(&[label]), fields(&shares.concat())].concat();
                hmac(&transcript, &text)
            };
            let mut backward = labelled.clone();
            backward.reverse();
            let both = xor(
                &in_order(b"forward", &labelled),
                &in_order(b"backward", &backward),
            );
            fields(&[b"xorhmac", &both])
        }
        _ => panic!("no such combiner"),
    };
    let prk = hmac(&transcript, &shares);
    let key =
        |label: &[u8], len| hkdf_expand(&prk, &[fields(&[label]), context.clone()].concat(), len);
    let confirm_initiator = key(b"confirm initiator", 48);
    let confirm_responder = key(b"confirm responder", 48);
    let tag = |key: &[u8], side: &[u8]| {
        hmac(key, &fields(&[b"bartizan tag 1", side, &transcript]))[..32].to_vec()
    };
    let outputs = Outputs {
        initiators_key: key(b"esp initiator", 36),
        responders_key: key(b"esp responder", 36),
        initiators_tag: tag(&confirm_initiator, b"initiator"),
        responders_tag: tag(&confirm_responder, b"responder"),
    };
    (outputs, [prk, confirm_initiator, confirm_responder])
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

fn fields(fields: &[&[u8]]) -> Vec<u8> {
    let mut all = Vec::new();
    for field in fields {
        all.extend(u32::try_from(field.len()).unwrap().to_be_bytes());
        all.extend(*field);
    }
    all
}
