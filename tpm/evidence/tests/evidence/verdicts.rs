//! Verdicts: a box that is as it should be, and every way in which it may not be.

use bartizan_evidence::appraisal::{Basis, Boot, Evidence, Record, appraise};
use bartizan_evidence::reference::{Hardware, UserspaceLogging};
use bartizan_evidence::replay::Bank;
use bartizan_evidence::structures::ClockInfo;
use bartizan_evidence::verdict::{Class, Rule};
use bartizan_model::identity::Floors;

use crate::logs::{BOOT, USERSPACE, agile_log, userspace_log};
use crate::machine::Machine;

/// The rules by which a box falls, without repetition.
fn rules(machine: &Machine) -> Vec<Rule> {
    let verdict = machine.verdict();
    assert_eq!(verdict.is_clean(), verdict.class().is_none());
    let mut rules: Vec<Rule> = verdict
        .failures
        .iter()
        .map(|failure| failure.rule)
        .collect();
    rules.sort_unstable();
    rules.dedup();
    rules
}

#[test]
fn a_box_as_it_should_be_has_a_clean_verdict() {
    let machine = Machine::clean();
    let verdict = machine.verdict();
    assert_eq!(verdict.failures, []);
    assert_eq!(verdict.boot, Boot::First);
    assert_eq!(verdict.image.as_deref(), Some("bartizan-1.4.0"));
    assert_eq!(verdict.phase.as_deref(), Some("enter-initrd:leave-initrd"));
    assert_eq!(verdict.to_pin(), machine.record.pinned);
    for (pcr, finding) in &verdict.pcrs {
        let basis = match pcr {
            0 | 2 | 15 => Basis::Pinned,
            4 | 7 | 9 | 11..=14 => Basis::Reference,
            _ => Basis::Logged,
        };
        assert_eq!(finding.basis, basis, "PCR {pcr}");
        assert_eq!(finding.replayed, Some(finding.value), "PCR {pcr}");
    }
}

/// Extended by a process outside the appliance, which wrote no log.
#[test]
fn v12_v13_an_extended_pcr_is_seen_and_is_a_matter_of_state() {
    for pcr in [4, 7, 9, 11, 12, 13, 14] {
        let mut machine = Machine::clean();
        machine.pcrs.insert(pcr, [0xee; 32]);
        assert_eq!(rules(&machine), [Rule::V12, Rule::V13], "PCR {pcr}");
        let verdict = machine.verdict();
        assert_eq!(verdict.class(), Some(Class::State));
        assert_eq!(verdict.pcrs[&pcr].basis, Basis::Refused);
        let text = &verdict.failures[0].text;
        assert!(text.contains(&format!("PCR {pcr}")), "{text}");
    }
    for pcr in [1, 3, 5, 6, 8] {
        let mut machine = Machine::clean();
        machine.pcrs.insert(pcr, [0xee; 32]);
        assert_eq!(rules(&machine), [Rule::V12], "PCR {pcr}");
    }
}

#[test]
fn v12_a_log_from_which_anything_is_missing_or_moved_is_refused() {
    for at in 0..BOOT.len() {
        let mut dropped = BOOT.to_vec();
        dropped.remove(at);
        let mut machine = Machine::clean();
        machine.firmware_log = agile_log(&[Bank::Sha1, Bank::Sha256], &dropped);
        assert_eq!(rules(&machine), [Rule::V12], "event {at}");
    }
    // The locality's event does not extend; moving it behind an event that does is refused as such.
    for (one, other) in [(0, 1), (1, 2), (3, 4), (5, 7), (9, 10)] {
        let mut moved = BOOT.to_vec();
        moved.swap(one, other);
        let mut machine = Machine::clean();
        machine.firmware_log = agile_log(&[Bank::Sha1, Bank::Sha256], &moved);
        assert!(rules(&machine).contains(&Rule::V12), "{one} and {other}");
    }
    for at in 0..USERSPACE.len() {
        let mut dropped = USERSPACE.to_vec();
        dropped.remove(at);
        let mut machine = Machine::clean();
        machine.userspace_log = userspace_log(&dropped).into_bytes();
        assert_eq!(rules(&machine), [Rule::V12], "record {at}");
    }
    let mut machine = Machine::clean();
    machine.userspace_log.clear();
    assert_eq!(rules(&machine), [Rule::V12]);
}

#[test]
fn v12_v14_a_log_that_cannot_be_believed_or_read() {
    let banks = [Bank::Sha1, Bank::Sha256];
    let mut machine = Machine::clean();
    machine.firmware_log = agile_log(&banks, &[(0, 0x14, b"")]);
    assert!(rules(&machine).contains(&Rule::V12));
    assert_eq!(machine.verdict().class(), Some(Class::Evidence));

    machine.firmware_log = vec![0; 100 * 1024 * 1024];
    assert!(rules(&machine).contains(&Rule::V12));

    machine = Machine::clean();
    machine.firmware_log.pop();
    assert_eq!(rules(&machine), [Rule::V14]);
    assert_eq!(machine.verdict().class(), Some(Class::Malformed));
    assert!(
        machine
            .verdict()
            .pcrs
            .values()
            .all(|finding| finding.basis == Basis::Refused)
    );

    machine = Machine::clean();
    machine.userspace_log.pop();
    assert_eq!(rules(&machine), [Rule::V14]);

    // SHA-1 only, whatever it replays to.
    machine = Machine::clean();
    machine.firmware_log = crate::logs::sha1_event(0, 8, &[0; 20], b"");
    assert_eq!(rules(&machine), [Rule::V12]);
}

/// Before systemd 255 nobody logs what userspace extends.
#[test]
fn without_a_userspace_log_the_exact_value_decides() {
    let mut machine = Machine::clean();
    machine.userspace_log.clear();
    machine.reference.userspace_log = UserspaceLogging::Unlogged;
    assert!(rules(&machine).is_empty());
    for pcr in [11, 14, 15] {
        let mut other = Machine::clean();
        other.userspace_log.clear();
        other.reference.userspace_log = UserspaceLogging::Unlogged;
        other.pcrs.insert(pcr, [0xee; 32]);
        assert_eq!(rules(&other), [Rule::V12, Rule::V13], "PCR {pcr}");
    }
    // What only the firmware extends must replay all the same.
    machine.pcrs.insert(5, [0xee; 32]);
    assert_eq!(rules(&machine), [Rule::V12]);
}

#[test]
fn v13_what_is_pinned_stays() {
    for pcr in [0, 2, 15] {
        let mut machine = Machine::clean();
        machine.record.pinned.insert(pcr, [0x55; 32]);
        assert_eq!(rules(&machine), [Rule::V13], "PCR {pcr}");
    }
    let mut machine = Machine::clean();
    machine.record.pinned.clear();
    assert_eq!(rules(&machine), []);
    assert_eq!(machine.verdict().pcrs[&0].basis, Basis::First);
}

#[test]
fn v13_where_there_is_a_list_the_hardware_must_be_on_it() {
    let mut machine = Machine::clean();
    machine.record.pinned.clear();
    let (pcr0, pcr2) = (machine.pcrs[&0], machine.pcrs[&2]);
    let model = |pcr0, pcr2| Hardware {
        vendor: "Example".to_owned(),
        model: "Edge 1".to_owned(),
        pcr0: vec![[1; 32], pcr0],
        pcr2: vec![pcr2],
    };
    machine.reference.hardware = vec![model([9; 32], pcr2), model(pcr0, pcr2)];
    assert_eq!(rules(&machine), []);
    assert_eq!(machine.verdict().pcrs[&2].basis, Basis::Hardware);
    // Both are of one model, or none counts.
    machine.reference.hardware = vec![model([9; 32], pcr2), model(pcr0, [9; 32])];
    assert_eq!(rules(&machine), [Rule::V13]);
    // New firmware that the maker knows takes the place of what was pinned.
    machine.record.pinned = [(0, [7; 32]), (2, pcr2)].into();
    assert_eq!(rules(&machine), [Rule::V13]);
    machine.reference.hardware = vec![model(pcr0, pcr2)];
    assert_eq!(rules(&machine), []);
}

#[test]
fn v13_an_image_below_the_floor_does_not_count() {
    let mut machine = Machine::clean();
    machine.record.floors.rollback = Some(4);
    assert_eq!(rules(&machine), [Rule::V13]);
    // The TPM's own counts, where it is the higher.
    let mut machine = Machine::clean();
    machine.floors = Some(machine.record.floors);
    assert_eq!(rules(&machine), []);
    let shown = Floors {
        rollback: Some(4),
        ..machine.record.floors
    };
    machine.floors = Some(shown);
    assert_eq!(rules(&machine), [Rule::V13]);
}

#[test]
fn v11_a_floor_that_fell_is_a_failure() {
    let mut machine = Machine::clean();
    let stood = machine.record.floors;
    let shown = |ownership, rollback| Floors {
        ownership,
        rollback,
        time: stood.time,
    };
    for (floors, fell) in [
        (shown(Some(2), Some(3)), vec![]),
        (shown(Some(3), Some(3)), vec![]),
        (shown(Some(1), Some(3)), vec![Rule::V11]),
        (shown(None, Some(3)), vec![Rule::V11]),
        (shown(Some(2), Some(2)), vec![Rule::V11]),
        (shown(Some(2), None), vec![Rule::V11]),
        // TPM2_Clear.
        (Floors::default(), vec![Rule::V11]),
    ] {
        machine.floors = Some(floors);
        assert_eq!(rules(&machine), fell, "{floors:?}");
        let class = (!fell.is_empty()).then_some(Class::Evidence);
        assert_eq!(machine.verdict().class(), class);
    }
}

#[test]
fn v13_every_pcr_that_is_appraised_must_be_quoted() {
    for pcr in [0, 1, 4, 7, 8, 11, 15] {
        let mut machine = Machine::clean();
        machine.pcrs.remove(&pcr);
        assert_eq!(rules(&machine), [Rule::V13], "PCR {pcr}");
        assert_eq!(machine.verdict().class(), Some(Class::Evidence));
    }
}

#[test]
fn v11_the_tpms_counters_and_clock_go_on() {
    let last = ClockInfo {
        clock: 1_000_000,
        reset_count: 7,
        restart_count: 1,
        safe: true,
    };
    let boot = |resets, restarts, clock, safe| {
        let mut machine = Machine::clean();
        machine.record.clock = Some(last);
        let quote = machine.quote_after(|s| {
            (s.resets, s.restarts, s.clock, s.safe) = (resets, restarts, clock, safe);
        });
        let verdict = machine.verdict_of(&quote);
        let fell = verdict.failures.first().map(|failure| failure.rule);
        (verdict.boot, fell)
    };
    assert_eq!(boot(7, 1, 1_000_000, 1), (Boot::Same, None));
    assert_eq!(boot(7, 2, 1_000_001, 1), (Boot::New, None));
    assert_eq!(boot(8, 0, 1_000_001, 1), (Boot::New, None));
    // After a loss of power the clock has lost what it counted since it was last saved, and may still call itself safe.
    assert_eq!(boot(8, 0, 900_000, 0), (Boot::New, None));
    assert_eq!(boot(8, 0, 900_000, 1), (Boot::New, None));
    assert_eq!(boot(7, 1, 999_999, 0), (Boot::Same, Some(Rule::V11)));
    assert_eq!(boot(7, 0, 1_000_001, 1), (Boot::New, Some(Rule::V11)));
    // TPM2_Clear.
    assert_eq!(boot(0, 0, 5, 1), (Boot::New, Some(Rule::V11)));
}

#[test]
fn of_several_images_the_one_that_fits_is_taken() {
    let machine = Machine::clean();
    let quote = machine.quote();
    let evidence = Evidence {
        quote: &quote,
        firmware_log: &machine.firmware_log,
        userspace_log: &machine.userspace_log,
        ima_log: &[],
        floors: None,
    };
    let mut other = machine.reference.clone();
    other.image = "bartizan-1.5.0".to_owned();
    other.exact.insert(4, vec![[4; 32]]);
    let both = [other.clone(), machine.reference.clone()];
    let verdict = appraise(&evidence, &both, &machine.record);
    assert!(verdict.is_clean());
    assert_eq!(verdict.image.as_deref(), Some("bartizan-1.4.0"));
    let verdict = appraise(&evidence, &[other], &machine.record);
    assert_eq!(verdict.failures.len(), 1);
    assert_eq!(verdict.image.as_deref(), Some("bartizan-1.5.0"));
    let none = appraise(&evidence, &[], &Record::default());
    assert_eq!(none.class(), Some(Class::State));
}

#[test]
fn pcr_10_is_explained_by_the_ima_log_where_it_was_asked_for() {
    let mut machine = Machine::clean();
    let data = b"template data";
    let mut log = 10_u32.to_le_bytes().to_vec();
    log.extend(Bank::Sha1.digest(&[data]));
    for part in [&b"ima-ng"[..], data] {
        log.extend(u32::try_from(part.len()).unwrap().to_le_bytes());
        log.extend(part);
    }
    let digest = Bank::Sha256.digest(&[data]);
    let value = Bank::Sha256.digest(&[&[0; 32], &digest]);
    machine.pcrs.insert(10, value.try_into().unwrap());
    let quote = machine.quote();
    let failures = |ima_log: &[u8]| {
        let evidence = Evidence {
            quote: &quote,
            firmware_log: &machine.firmware_log,
            userspace_log: &machine.userspace_log,
            ima_log,
            floors: None,
        };
        let references = std::slice::from_ref(&machine.reference);
        let verdict = appraise(&evidence, references, &machine.record);
        let rules = verdict.failures.iter().map(|failure| failure.rule);
        rules.collect::<Vec<_>>()
    };
    assert_eq!(failures(&log), []);
    assert_eq!(failures(&[log.clone(), log.clone()].concat()), []);
    assert_eq!(failures(&[]), [Rule::V12]);
    assert_eq!(failures(&log[1..]), [Rule::V14]);
}
