//! Quotes and logs, judged by others.

use bartizan_evidence::{
    quote::{AttestationKey, Quote},
    structures::Public,
};
use bartizan_model::{
    identity::{Log, PcrSelection, Quoted},
    lifecycle::Lifecycle,
    message::{FromTpm, ToTpm},
};

use crate::boot::{Boot, hex};
use crate::role::{CONTROL, ORDER, Role};

fn quote(role: &mut Role, qualifying: &[u8], pcrs: u32) -> Quoted {
    let request = ToTpm::Quote {
        order: ORDER,
        qualifying: qualifying.to_vec(),
        pcrs: PcrSelection(pcrs),
    };
    let reply = role.ask(CONTROL, &request);
    let FromTpm::Quoted { quoted, .. } = reply else {
        panic!("{reply:?}");
    };
    *quoted
}

fn attestation_key(role: &mut Role) -> Vec<u8> {
    role.enter(Lifecycle::Discovering);
    role.identity().ak
}

#[test]
fn a_quote_of_any_selection_verifies() {
    let mut role = Role::start(Boot::approved());
    let key = AttestationKey::parse(&attestation_key(&mut role)).unwrap();
    role.enter(Lifecycle::Attesting);
    for pcrs in [1, 1 << 23, 0x0000_8880, 0x00ff_ffff] {
        let extended = role.boot.extend(14);
        let quoted = quote(&mut role, &[4; 32], pcrs);
        let verified = Quote::verify(&quoted, &key, &[4; 32], PcrSelection(pcrs)).unwrap();
        assert_eq!(
            verified.pcrs().len(),
            usize::try_from(pcrs.count_ones()).unwrap()
        );
        if pcrs == 0x0000_8880 {
            assert_eq!(verified.pcrs()[&11], [0; 32]);
        }
        assert!(extended != [0; 32]);
        Quote::verify(&quoted, &key, &[5; 32], PcrSelection(pcrs)).unwrap_err();
    }
}

#[test]
fn the_tools_of_others_verify_a_quote() {
    let mut role = Role::start(Boot::approved());
    let public = Public::parse(&attestation_key(&mut role)).unwrap();
    role.enter(Lifecycle::Attesting);
    role.boot.extend(7);
    let quoted = quote(&mut role, &[0xab; 32], 0x0880);

    let folder = role.boot.folder.clone();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).unwrap();
    write("key.der", &public.spki());
    write("attest", &quoted.attest);
    write("signature", &quoted.signature);
    let to_pem = [
        "pkey", "-pubin", "-inform", "DER", "-in", "key.der", "-out", "key.pem",
    ];
    role.boot.tool("openssl", &to_pem);
    let nonce = "ab".repeat(32);
    let check = |nonce: &str| {
        let arguments = [
            "-u",
            "key.pem",
            "-m",
            "attest",
            "-s",
            "signature",
            "-q",
            nonce,
        ];
        let arguments = [&arguments[..], &["-g", "sha384"]].concat();
        role.boot.try_tool("tpm2_checkquote", &arguments)
    };
    let checked = check(&nonce);
    assert!(checked.status.success(), "{checked:?}");
    assert!(!check(&"cd".repeat(32)).status.success());

    // The values beside it are those that the tools read.
    let printed = role.boot.tool("tpm2_pcrread", &["sha256:7,11"]);
    let printed = String::from_utf8(printed).unwrap().to_lowercase();
    for (pcr, value) in quoted.pcrs {
        let value = hex(&value);
        assert!(printed.contains(&value), "PCR {pcr}: {printed}");
    }
}

#[test]
fn a_short_nonce_and_a_pcr_that_does_not_exist_are_refused() {
    let mut role = Role::start(Boot::approved());
    role.enter(Lifecycle::Attesting);
    for (qualifying, pcrs, code) in [
        (15, 1, 0x95),
        (65, 1, 0x95),
        // What speaks of the floors is the role's own to say.
        (33, 1, 0x95),
        (16, 0, 0x84),
        (16, 1 << 24, 0x84),
    ] {
        let request = ToTpm::Quote {
            order: ORDER,
            qualifying: vec![1; qualifying],
            pcrs: PcrSelection(pcrs),
        };
        assert_eq!(role.refused(CONTROL, &request), code);
    }
}

/// Reads a log as a neighbour does.
fn read(role: &mut Role, log: Log) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let request = ToTpm::ReadLog {
            order: ORDER,
            log,
            offset: u32::try_from(bytes.len()).unwrap(),
        };
        let FromTpm::LogPart {
            bytes: part, size, ..
        } = role.ask(CONTROL, &request)
        else {
            panic!("no part");
        };
        assert!(part.len() <= 8 * 1024);
        bytes.extend(&part);
        if bytes.len() == usize::try_from(size).unwrap() {
            return bytes;
        }
        assert!(!part.is_empty());
    }
}

#[test]
fn logs_come_whole_and_as_they_are() {
    let boot = Boot::approved();
    let long: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(boot.folder.join("firmware.log"), &long).unwrap();
    std::fs::write(boot.folder.join("userspace.log"), b"first").unwrap();
    let mut role = Role::start(boot);
    role.enter(Lifecycle::Attesting);
    assert_eq!(read(&mut role, Log::Firmware), long);
    assert_eq!(read(&mut role, Log::Userspace), b"first");
    assert_eq!(read(&mut role, Log::Ima), b"");
    // It grows while the role runs, and no file is opened for it.
    let file = role.boot.folder.join("userspace.log");
    let mut file = std::fs::OpenOptions::new().append(true).open(file).unwrap();
    std::io::Write::write_all(&mut file, b", second").unwrap();
    assert_eq!(read(&mut role, Log::Userspace), b"first, second");
    assert_eq!(read(&mut role, Log::Firmware), long);
}

#[test]
fn a_log_without_end_is_refused() {
    let boot = Boot::approved();
    std::os::unix::fs::symlink("/dev/zero", boot.folder.join("ima.log")).unwrap();
    let mut role = Role::start(boot);
    role.enter(Lifecycle::Attesting);
    let request = ToTpm::ReadLog {
        order: ORDER,
        log: Log::Ima,
        offset: 0,
    };
    assert_eq!(role.refused(CONTROL, &request), 0x95);
}
