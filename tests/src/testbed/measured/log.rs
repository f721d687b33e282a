//! The logs of a measured boot.

use core::fmt::Write as _;

use serde_json::json;

use super::{Event, What};

/// `TPM_ALG_SHA256`.
const SHA256: u16 = 0x000b;

/// `EV_NO_ACTION`.
const NO_ACTION: u32 = 3;

/// The firmware's, crypto-agile (TCG PC Client Platform Firmware Profile, 10.2), with one bank.
pub(super) fn firmware(events: &[Event]) -> Vec<u8> {
    let mut specification = b"Spec ID Event03\0".to_vec();
    specification.extend([0; 4]); // a client platform
    specification.extend([0, 2, 0, 2]); // 2.0, errata 0, UINTN of 64 bits
    specification.extend(1_u32.to_le_bytes());
    specification.extend(SHA256.to_le_bytes());
    specification.extend(32_u16.to_le_bytes());
    specification.push(0); // nothing of the vendor's

    // The first event has the older form: PCR, type, a digest of SHA-1.
    let mut log = [0_u32.to_le_bytes(), NO_ACTION.to_le_bytes()].concat();
    log.extend([0; 20]);
    log.extend(length(&specification));
    log.extend(specification);
    for event in events {
        let What::Firmware { kind, data } = &event.what else {
            continue;
        };
        log.extend(u32::from(event.pcr).to_le_bytes());
        log.extend(kind.to_le_bytes());
        log.extend(1_u32.to_le_bytes());
        log.extend(SHA256.to_le_bytes());
        log.extend(event.digest);
        log.extend(length(data));
        log.extend(data);
    }
    log
}

/// Userspace's, as systemd writes `tpm2-measure.log`: JSON text sequences (RFC 7464).
pub(super) fn userspace(events: &[Event]) -> Vec<u8> {
    let mut log = Vec::new();
    for event in events {
        let What::Userspace { kind, text } = &event.what else {
            continue;
        };
        let record = json!({
            "pcr": event.pcr,
            "digests": [{ "hashAlg": "sha256", "digest": hex(&event.digest) }],
            "content_type": "systemd",
            "content": { "string": text, "eventType": kind },
        });
        log.push(0x1e);
        log.extend(record.to_string().into_bytes());
        log.push(b'\n');
    }
    log
}

/// `UEFI_VARIABLE_DATA` of a global variable.
pub(super) fn efi_variable(name: &str, value: &[u8]) -> Vec<u8> {
    // EFI_GLOBAL_VARIABLE, 8be4df61-93ca-11d2-aa0d-00e098032b8c.
    let mut bytes = vec![
        0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b,
        0x8c,
    ];
    let units: Vec<u16> = name.encode_utf16().collect();
    for length in [units.len(), value.len()] {
        bytes.extend(u64::try_from(length).expect("a short text").to_le_bytes());
    }
    bytes.extend(units.into_iter().flat_map(u16::to_le_bytes));
    bytes.extend(value);
    bytes
}

/// UTF-16, little-endian, ended by a zero.
pub(super) fn utf16(text: &str) -> Vec<u8> {
    let units = text.encode_utf16().chain([0]);
    units.flat_map(u16::to_le_bytes).collect()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("write to memory");
        text
    })
}

fn length(bytes: &[u8]) -> [u8; 4] {
    let length = u32::try_from(bytes.len()).expect("a short event");
    length.to_le_bytes()
}
