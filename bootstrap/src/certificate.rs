//! The certificate of a box that its maker gave none: over its IDevID key, signed by that key, with
//! its serial number as the subject (IEEE 802.1AR, 8.6).
//!
//! It proves nothing but that the box holds the key; the registrar learns by activation whose TPM
//! it is in.

use bartizan_bootstrap_protocol::serial::Serial;
use bartizan_model::config::Der;
use bartizan_tls::{Curve, Signer, TpmError};

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const PRINTABLE_STRING: u8 = 0x13;
const VERSION: u8 = 0xa0;

/// `id-at-serialNumber` (2.5.4.5), the whole element.
const SERIAL_NUMBER: &[u8] = &[0x06, 0x03, 0x55, 0x04, 0x05];
/// `ecdsa-with-SHA256` and `ecdsa-with-SHA384` (RFC 5758, 3.2), the whole elements.
const ECDSA_SHA256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const ECDSA_SHA384: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];

/// RFC 5280, 4.1.2.5: a device's certificate may have no end.
const FROM: &[u8] = b"000101000000Z";
const UNTIL: &[u8] = b"99991231235959Z";

/// Makes it; `spki` is the DER `SubjectPublicKeyInfo` of the signer's key. Blocks.
pub(crate) fn self_signed(
    serial: &Serial,
    spki: &[u8],
    curve: Curve,
    signer: &Signer,
) -> Result<Der, TpmError> {
    let algorithm = element(
        SEQUENCE,
        &[match curve {
            Curve::P256 => ECDSA_SHA256,
            Curve::P384 => ECDSA_SHA384,
        }],
    );
    let text = element(PRINTABLE_STRING, &[serial.as_str().as_bytes()]);
    let attribute = element(SEQUENCE, &[SERIAL_NUMBER, &text]);
    let name = element(SEQUENCE, &[&element(SET, &[&attribute])]);
    let validity = element(
        SEQUENCE,
        &[
            &element(UTC_TIME, &[FROM]),
            &element(GENERALIZED_TIME, &[UNTIL]),
        ],
    );
    let body = element(
        SEQUENCE,
        &[
            &element(VERSION, &[&element(INTEGER, &[&[2]])]),
            // It is the only certificate of its issuer.
            &element(INTEGER, &[&[1]]),
            &algorithm,
            &name,
            &validity,
            &name,
            spki,
        ],
    );
    let signature = signer.sign(&body)?;
    let signature = element(BIT_STRING, &[&[0], &signature]);
    Ok(Der(element(SEQUENCE, &[&body, &algorithm, &signature])))
}

/// One element of DER (X.690, 8.1).
fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let len = content.len().to_be_bytes();
    let significant = len.iter().position(|byte| *byte != 0);
    let len = len
        .get(significant.unwrap_or(len.len())..)
        .unwrap_or_default();
    let mut element = vec![tag];
    match len {
        [] => element.push(0),
        [short] if *short < 0x80 => element.push(*short),
        long => {
            element.push(0x80 | u8::try_from(long.len()).unwrap_or(u8::MAX));
            element.extend_from_slice(long);
        }
    }
    element.extend(content);
    element
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_has_as_many_bytes_as_it_needs() {
        for (len, head) in [
            (0, vec![4, 0]),
            (0x7f, vec![4, 0x7f]),
            (0x80, vec![4, 0x81, 0x80]),
            (0x100, vec![4, 0x82, 1, 0]),
        ] {
            let element = element(4, &[&vec![7; len]]);
            assert!(element.starts_with(&head), "{len}");
            assert_eq!(element.len(), head.len() + len);
        }
    }
}
