//! Firmware logs of our own making, one for each peculiarity that public logs have, and those that
//! are refused.

use bartizan_evidence::firmware_log::{EVENTS_MAX, FirmwareLog, Format, LOG_MAX, LogError};
use bartizan_evidence::replay::{Bank, Pcrs};
use sha2::{Digest as _, Sha256};

use crate::logs::{BOOT, Measured, agile_event, agile_log, by_hand, sha1_event};

const BANKS: [Bank; 2] = [Bank::Sha1, Bank::Sha256];

fn refusal(log: &[u8]) -> LogError {
    FirmwareLog::parse(log).unwrap_err()
}

fn pcr0(log: &[u8], bank: Bank) -> Vec<u8> {
    FirmwareLog::parse(log)
        .unwrap()
        .replay(bank)
        .unwrap()
        .value(0)
}

#[test]
fn a_log_replays_to_what_its_events_extend() {
    let log = agile_log(&BANKS, &BOOT);
    let log = FirmwareLog::parse(&log).unwrap();
    assert_eq!(log.format(), Format::CryptoAgile);
    assert_eq!(log.events().len(), 1 + BOOT.len());
    assert_eq!(log.replay(Bank::Sha256).unwrap(), by_hand(&BOOT, &[]));
    assert_eq!(
        log.replay(Bank::Sha384),
        Err(LogError::Digests(2)),
        "no digest of that bank"
    );
}

#[test]
fn no_bytes_are_a_log_of_a_tpm_that_nothing_extended() {
    let log = FirmwareLog::parse(&[]).unwrap();
    assert_eq!(
        log.replay(Bank::Sha256).unwrap(),
        Pcrs::started(Bank::Sha256, 0)
    );
}

#[test]
fn a_log_with_sha_1_only_replays_into_its_bank_and_no_other() {
    let digest = Bank::Sha1.digest(&[b"1.0"]);
    // With the older description, and without any.
    for described in [false, true] {
        let mut log = Vec::new();
        if described {
            log.extend(sha1_event(0, 3, &[0; 20], b"Spec ID Event02\0rest"));
        }
        log.extend(sha1_event(0, 8, &digest, b"1.0"));
        let parsed = FirmwareLog::parse(&log).unwrap();
        assert_eq!(parsed.format(), Format::Sha1);
        let expected = Bank::Sha1.digest(&[&[0; 20], &digest]);
        assert_eq!(pcr0(&log, Bank::Sha1), expected);
        assert_eq!(
            parsed.replay(Bank::Sha256),
            Err(LogError::Bank(Bank::Sha256))
        );
    }
}

#[test]
fn the_startup_locality_is_where_pcr_0_starts() {
    let version: Measured = (0, 8, b"1.0");
    let stated: [(&'static [u8], u8); 3] = [
        (b"StartupLocality\0\0", 0),
        (b"StartupLocality\0\x03", 3),
        (b"StartupLocality\0\x04", 4),
    ];
    for (statement, locality) in stated {
        let log = agile_log(&BANKS, &[(0, 3, statement), version]);
        let mut start = [0; 32];
        start[31] = locality;
        let expected = Bank::Sha256.digest(&[&start, &Sha256::digest(b"1.0")]);
        assert_eq!(pcr0(&log, Bank::Sha256), expected);
    }
}

/// Old Windows writes SHA-1 logs that begin with the locality, without any description.
#[test]
fn a_log_with_sha_1_only_may_begin_with_the_locality() {
    let digest = Bank::Sha1.digest(&[b"1.0"]);
    let log = [
        sha1_event(0, 3, &[0; 20], b"StartupLocality\0\x03"),
        sha1_event(0, 8, &digest, b"1.0"),
    ]
    .concat();
    let mut start = [0; 20];
    start[19] = 3;
    assert_eq!(
        pcr0(&log, Bank::Sha1),
        Bank::Sha1.digest(&[&start, &digest])
    );
}

/// Some firmware with an H-CRTM has no event that states the locality.
#[test]
fn an_h_crtm_starts_pcr_0_at_four() {
    let events: [Measured; 2] = [(0, 0x8000_0010, b"HCRTM"), (0, 8, b"1.0")];
    let log = agile_log(&BANKS, &events);
    assert_eq!(FirmwareLog::parse(&log).unwrap().locality(), 4);
    // Not where it is not what extends PCR 0 first.
    let log = agile_log(&BANKS, &[events[1], events[0]]);
    assert_eq!(FirmwareLog::parse(&log).unwrap().locality(), 0);
}

#[test]
fn a_locality_is_stated_once_before_it_counts_and_well() {
    let statement: Measured = (0, 3, b"StartupLocality\0\x03");
    let version: Measured = (0, 8, b"1.0");
    for (events, at) in [
        (vec![version, statement], 2),
        (vec![statement, statement], 2),
        (vec![(0, 3, &b"StartupLocality\0\x01"[..])], 1),
        (vec![(0, 3, b"StartupLocality\0")], 1),
        (vec![(0, 3, b"StartupLocality\0\x03\0")], 1),
    ] {
        assert_eq!(refusal(&agile_log(&BANKS, &events)), LogError::Locality(at));
    }
}

/// SM3 stands in logs of some makers: its width is in the Spec ID event.
#[test]
fn digests_of_an_unknown_algorithm_are_skipped_by_their_announced_width() {
    let mut log = agile_log(&BANKS, &[]);
    // Announce two algorithms more: 28 is the offset of their number in the event's data.
    let mut data = log.split_off(32);
    data[24] = 4;
    let vendor = data.pop().unwrap();
    data.extend([0x12, 0x00, 32, 0, 0xff, 0xff, 5, 0, vendor]);
    let mut log = sha1_event(0, 3, &[0; 20], &data);
    let mut event = agile_event(&BANKS, (0, 8, b"1.0"));
    event[8] = 4;
    let digests = 12 + (2 + 20) + (2 + 32);
    let tail = event.split_off(digests);
    event.extend([0x12, 0x00]);
    event.extend([0x33; 32]);
    event.extend([0xff, 0xff]);
    event.extend([0x55; 5]);
    event.extend(tail);
    log.extend(event);
    let expected = Bank::Sha256.digest(&[&[0; 32], &Sha256::digest(b"1.0")]);
    assert_eq!(pcr0(&log, Bank::Sha256), expected);
}

#[test]
fn the_spec_id_event_is_whole_and_consistent() {
    let good = agile_log(&BANKS, &[]);
    let data = &good[32..];
    let vendor = [&data[..data.len() - 1], &[4, 0xde, 0xad, 0xbe, 0xef]].concat();
    assert!(FirmwareLog::parse(&sha1_event(0, 3, &[0; 20], &vendor)).is_ok());
    let mut cases = vec![
        [data, &[0]].concat(),
        data[..data.len() - 1].to_vec(),
        b"Spec ID Event03\0".to_vec(),
    ];
    // No algorithm, more than there can be, one twice, a wrong width, a vendor part that is not there.
    for (at, value) in [(24, 0), (24, 200), (32, 0x04), (30, 21), (36, 1)] {
        let mut case = data.to_vec();
        case[at] = value;
        cases.push(case);
    }
    for case in cases {
        let log = sha1_event(0, 3, &[0; 20], &case);
        assert_eq!(refusal(&log), LogError::SpecId, "{case:x?}");
    }
}

#[test]
fn an_event_has_announced_digests_only_and_each_once() {
    let good = agile_event(&BANKS, (0, 8, b"1.0"));
    let head = agile_log(&BANKS, &[]);
    // None, one too many, SHA-384, SHA-1 twice.
    for (at, value) in [(8, 0), (8, 3), (34, 0x0c), (34, 0x04)] {
        let mut event = good.clone();
        event[at] = value;
        let log = [&head[..], &event].concat();
        assert_eq!(refusal(&log), LogError::Digests(1), "{at}");
    }
}

/// Windows leaves SHA-1 out of its events where the firmware's have it.
#[test]
fn a_bank_replays_where_every_event_has_its_digest() {
    let head = agile_log(&BANKS, &[(0, 8, b"1.0")]);
    let log = [head, agile_event(&[Bank::Sha256], (12, 6, b"Windows"))].concat();
    let log = FirmwareLog::parse(&log).unwrap();
    let expected = Bank::Sha256.digest(&[&[0; 32], &Sha256::digest(b"Windows")]);
    assert_eq!(log.replay(Bank::Sha256).unwrap().value(12), expected);
    assert_eq!(log.replay(Bank::Sha1), Err(LogError::Digests(2)));
}

#[test]
fn an_event_of_no_pcr_or_no_known_type_is_refused() {
    for pcr in [24, 255, 256, u32::MAX] {
        assert_eq!(
            refusal(&agile_log(&BANKS, &[(pcr, 8, b"1.0")])),
            LogError::Pcr { event: 1, pcr }
        );
    }
    // Windows: an event that extends nothing is of no PCR.
    assert!(FirmwareLog::parse(&agile_log(&BANKS, &[(u32::MAX, 3, b"")])).is_ok());
    for value in [
        0x14,
        0x400,
        0x500,
        0x8000_000e,
        0x8000_0011,
        0x8000_00df,
        u32::MAX,
    ] {
        assert_eq!(
            refusal(&agile_log(&BANKS, &[(0, value, b"")])),
            LogError::UnknownType { event: 1, value }
        );
    }
}

#[test]
fn a_separator_has_the_digest_of_one() {
    let meanings: [&'static [u8]; 4] = [&[0; 4], &[0xff; 4], &[1, 0, 0, 0], b"WBCL"];
    for data in meanings {
        assert!(FirmwareLog::parse(&agile_log(&BANKS, &[(12, 4, data)])).is_ok());
    }
    let disguised = agile_log(&BANKS, &[(4, 4, b"boot manager")]);
    assert_eq!(refusal(&disguised), LogError::Separator(1));
}

/// A type decides nothing but whether its event extends: then the values differ.
#[test]
fn a_changed_type_is_refused_or_changes_the_values_or_nothing() {
    let expected = by_hand(&BOOT, &[]);
    let mut refused = 0;
    let mut differing = 0;
    for (at, (_, original, _)) in BOOT.iter().enumerate() {
        for kind in [2, 3, 4, 8, 0x0d, 0x14, 0x8000_0003, 0x8000_0010] {
            if kind == *original {
                continue;
            }
            let mut log = Vec::new();
            // The digest stays that of the original: the type alone is changed.
            for (number, event) in BOOT.iter().enumerate() {
                let mut bytes = agile_event(&BANKS, *event);
                if number == at {
                    bytes[4..8].copy_from_slice(&u32::to_le_bytes(kind));
                }
                log.extend(bytes);
            }
            let log = [agile_log(&BANKS, &[]), log].concat();
            match FirmwareLog::parse(&log).and_then(|log| log.replay(Bank::Sha256)) {
                Err(_) => refused += 1,
                Ok(pcrs) if pcrs != expected => differing += 1,
                Ok(_) => assert!(
                    *original != 3 && !matches!(kind, 3 | 4 | 0x14),
                    "{at} {kind:x}"
                ),
            }
        }
    }
    assert!(refused > 0 && differing > 0);
}

#[test]
fn the_caps_hold() {
    assert_eq!(refusal(&vec![0; LOG_MAX + 1]), LogError::TooLong);
    assert_eq!(refusal(&vec![0; 100 * 1024 * 1024]), LogError::TooLong);
    let event = sha1_event(0, 8, &[0; 20], b"");
    assert!(FirmwareLog::parse(&event.repeat(EVENTS_MAX)).is_ok());
    assert_eq!(
        refusal(&event.repeat(EVENTS_MAX + 1)),
        LogError::TooManyEvents
    );
}

#[test]
fn a_cut_log_is_refused_or_ends_with_a_whole_event() {
    let log = agile_log(&BANKS, &BOOT);
    let mut ends = vec![0];
    for events in 0..=BOOT.len() {
        ends.push(agile_log(&BANKS, &BOOT[..events]).len());
    }
    for len in 0..log.len() {
        let cut = FirmwareLog::parse(&log[..len]);
        assert_eq!(cut.is_ok(), ends.contains(&len), "{len}: {cut:?}");
    }
}
