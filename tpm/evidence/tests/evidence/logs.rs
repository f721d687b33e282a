//! Logs of our own making, and the PCRs that they lead to, computed beside the parser.

use bartizan_evidence::hex;
use bartizan_evidence::replay::{Bank, Pcrs};
use sha2::{Digest as _, Sha256};

/// An event as our logs have it: PCR, type, what was measured.
pub(crate) type Measured = (u32, u32, &'static [u8]);

/// What the firmware of our box measures.
pub(crate) const BOOT: [Measured; 14] = [
    (0, 0x0000_0003, b"StartupLocality\0\x03"),
    (0, 0x0000_0008, b"1.0"),
    (0, 0x8000_000a, b"firmware"),
    (7, 0x8000_0001, b"SecureBoot"),
    (7, 0x0000_0004, &[0; 4]),
    (2, 0x8000_0004, b"option rom"),
    (0, 0x0000_0004, &[0; 4]),
    (2, 0x0000_0004, &[0; 4]),
    (1, 0x0000_0004, &[0xff; 4]),
    (4, 0x8000_0007, b"Calling EFI Application from Boot Option"),
    (4, 0x8000_0003, b"boot manager"),
    (11, 0x0000_000d, b".linux\0"),
    (9, 0x0000_0006, b"initrd"),
    (5, 0x8000_0007, b"Exit Boot Services Returned with Success"),
];

/// What its systemd measures.
pub(crate) const USERSPACE: [(u8, &str); 4] = [
    (11, "enter-initrd"),
    (11, "leave-initrd"),
    (15, "machine-id:0123456789abcdef0123456789abcdef"),
    (14, "configuration"),
];

/// A crypto-agile log with the digests of `banks`.
pub(crate) fn agile_log(banks: &[Bank], events: &[Measured]) -> Vec<u8> {
    let mut spec = b"Spec ID Event03\0\0\0\0\0\0\x02\0\x02".to_vec();
    spec.extend(u32::try_from(banks.len()).unwrap().to_le_bytes());
    for bank in banks {
        spec.extend(bank.id().to_le_bytes());
        spec.extend(u16::try_from(bank.width()).unwrap().to_le_bytes());
    }
    spec.push(0);
    let mut log = sha1_event(0, 3, &[0; 20], &spec);
    for event in events {
        log.extend(agile_event(banks, *event));
    }
    log
}

pub(crate) fn agile_event(banks: &[Bank], (pcr, kind, data): Measured) -> Vec<u8> {
    let mut event = [pcr.to_le_bytes(), kind.to_le_bytes()].concat();
    event.extend(u32::try_from(banks.len()).unwrap().to_le_bytes());
    for bank in banks {
        event.extend(bank.id().to_le_bytes());
        event.extend(match kind {
            3 => vec![0; bank.width()],
            _ => bank.digest(&[data]),
        });
    }
    event.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
    event.extend(data);
    event
}

/// An event of a log with SHA-1 only.
pub(crate) fn sha1_event(pcr: u32, kind: u32, digest: &[u8], data: &[u8]) -> Vec<u8> {
    let mut event = [pcr.to_le_bytes(), kind.to_le_bytes()].concat();
    event.extend(digest);
    event.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
    event.extend(data);
    event
}

/// A log as systemd writes it.
pub(crate) fn userspace_log(records: &[(u8, &str)]) -> String {
    let mut log = String::new();
    for (pcr, word) in records {
        let digest = hex::encode(&Sha256::digest(word));
        let record = format!(
            "{{\"pcr\":{pcr},\"digests\":[{{\"hashAlg\":\"sha256\",\"digest\":\"{digest}\"}}],\
             \"content_type\":\"systemd\",\"content\":{{\"string\":\"{word}\"}}}}"
        );
        log.extend(["\u{1e}", &record, "\n"]);
    }
    log
}

/// The PCRs, computed beside the parser.
pub(crate) fn by_hand(boot: &[Measured], userspace: &[(u8, &str)]) -> Pcrs {
    let mut pcrs = Pcrs::started(Bank::Sha256, 3);
    for (pcr, kind, data) in boot {
        if *kind != 3 {
            pcrs.extend(u8::try_from(*pcr).unwrap(), &Sha256::digest(data));
        }
    }
    for (pcr, word) in userspace {
        pcrs.extend(*pcr, &Sha256::digest(word));
    }
    pcrs
}
