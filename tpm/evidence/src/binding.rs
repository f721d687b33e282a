//! What evidence is bound to, so that it counts in one session and for one purpose only.
//!
//! Both ends compute these; none of the values is secret.

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
