//! What evidence is bound to, so that it counts in one session and for one purpose only.
//!
//! Both ends compute these; none of the values is secret.

use bartizan_model::identity::Floors;
use sha2::{Digest, Sha256};

/// Bytes of a channel binding: the TLS exporter `EXPORTER-Channel-Binding` (RFC 9266).
pub const CHANNEL_BINDING_LEN: usize = 32;

/// The channel binding of a TLS 1.3 session.
pub type ChannelBinding = [u8; CHANNEL_BINDING_LEN];

/// Computes the `qualifyingData` of a quote.
///
/// `nonce` is the verifier's (16 to 64 bytes), `context` says what the quote is for: the result
/// of [`enrolment_context`] when a gateway enrols, the engine's lease nonce afterwards.
pub fn attest(nonce: &[u8], channel_binding: &ChannelBinding, context: &[u8; 32]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"bartizan-attest-v1\0");
    for part in [nonce, channel_binding, context] {
        // Nothing that long is ever a part; two such would only be refused alike.
        let len = u16::try_from(part.len()).unwrap_or(u16::MAX);
        hash.update(len.to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// Bytes of the `qualifyingData` that [`floors`] gives. No other quote has as many, so who may ask
/// for a quote over data of his own can make none that shows other floors.
pub const FLOORS_LEN: usize = 33;

/// Computes the `qualifyingData` of a quote that shows the TPM's floors too: a byte 1, and SHA-256
/// over what [`attest`] gives, and each floor as a byte that says whether it stands and its value.
///
/// The tpm role computes it from the floors that it reads.
pub fn floors(attest: &[u8; 32], floors: &Floors) -> [u8; FLOORS_LEN] {
    let Floors {
        ownership,
        rollback,
        time,
    } = floors;
    let mut hash = Sha256::new();
    hash.update(b"bartizan-floors-v1\0");
    hash.update(attest);
    for floor in [ownership, rollback, time] {
        hash.update([u8::from(floor.is_some())]);
        hash.update(floor.unwrap_or_default().to_be_bytes());
    }
    let mut qualifying = [1; FLOORS_LEN];
    if let Some((_kind, digest)) = qualifying.split_first_mut() {
        digest.copy_from_slice(&hash.finalize());
    }
    qualifying
}

/// Computes the `context` of a quote in the enrolment session: over both messages, as sent.
pub fn enrolment_context(hello: &[u8], challenge: &[u8]) -> [u8; 32] {
    Sha256::new()
        .chain_update(hello)
        .chain_update(challenge)
        .finalize()
        .into()
}

/// Computes the `qualifyingData` of `TPM2_Certify` over a new `LDevID` key.
pub fn certify(channel_binding: &ChannelBinding) -> [u8; 32] {
    Sha256::new()
        .chain_update(b"bartizan-certify")
        .chain_update(channel_binding)
        .finalize()
        .into()
}

/// Computes what the proof of an activated credential is over; the proof itself is HMAC-SHA-256
/// under the credential's secret.
pub fn proof_context(hello: &[u8], challenge: &[u8], channel_binding: &ChannelBinding) -> [u8; 32] {
    Sha256::new()
        .chain_update(hello)
        .chain_update(challenge)
        .chain_update(channel_binding)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_counts_and_no_byte_moves_between_parts() {
        let cb = [2; 32];
        let context = [3; 32];
        let bound = attest(&[1; 32], &cb, &context);
        let by_hand = [
            b"bartizan-attest-v1\0".as_slice(),
            &[0, 32],
            &[1; 32],
            &[0, 32],
            &cb,
            &[0, 32],
            &context,
        ]
        .concat();
        assert_eq!(bound, <[u8; 32]>::from(Sha256::digest(by_hand)));
        assert_ne!(bound, attest(&[1; 31], &cb, &context));
        assert_ne!(bound, attest(&[1; 32], &[4; 32], &context));
        assert_ne!(bound, attest(&[1; 32], &cb, &[4; 32]));
    }

    #[test]
    fn every_floor_counts_and_none_is_another() {
        let shown = Floors {
            ownership: Some(3),
            rollback: None,
            time: Some(0x0102),
        };
        let by_hand = [
            b"bartizan-floors-v1\0".as_slice(),
            &[7; 32],
            &[1, 0, 0, 0, 0, 0, 0, 0, 3],
            &[0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[1, 0, 0, 0, 0, 0, 0, 1, 2],
        ]
        .concat();
        let bound = floors(&[7; 32], &shown);
        assert_eq!(bound, *[&[1], &Sha256::digest(by_hand)[..]].concat());
        assert_ne!(bound, floors(&[8; 32], &shown));
        for other in [
            Floors {
                ownership: None,
                ..shown
            },
            Floors {
                ownership: Some(2),
                ..shown
            },
            Floors {
                rollback: Some(0),
                ..shown
            },
            Floors {
                time: None,
                ..shown
            },
            Floors {
                ownership: None,
                rollback: Some(3),
                ..shown
            },
        ] {
            assert_ne!(bound, floors(&[7; 32], &other), "{other:?}");
        }
    }

    #[test]
    fn the_purposes_differ() {
        let cb = [2; 32];
        assert_ne!(certify(&cb), proof_context(b"", b"", &cb));
        assert_ne!(
            enrolment_context(b"a", b"b"),
            proof_context(b"a", b"b", &cb)
        );
        assert_eq!(
            certify(&cb),
            <[u8; 32]>::from(Sha256::digest([&b"bartizan-certify"[..], &cb].concat()))
        );
    }
}
