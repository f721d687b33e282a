//! `bartizan-evidence`: what a human sees, and what a program reads.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bartizan_evidence::hex;
use bartizan_evidence::replay::Bank;
use serde_json::Value;

use crate::logs::{BOOT, USERSPACE, agile_log, by_hand};
use crate::machine::{Machine, QUALIFYING};
use crate::verifier::PINNED;
use aws_lc_rs::signature::KeyPair as _;

/// The files of a box in a folder of its own.
struct Files(PathBuf);

impl Files {
    fn of(machine: &Machine, name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let quoted = machine.tpm.quote(&machine.pcrs, |_| {});
        let values: Vec<u8> = machine.pcrs.values().flatten().copied().collect();
        let reference = PINNED.sign(&machine.reference.encode().unwrap());
        for (file, bytes) in [
            ("firmware.log", machine.firmware_log.as_slice()),
            ("userspace.log", &machine.userspace_log),
            ("ak", &machine.tpm.public.encode()),
            ("attest", &quoted.attest),
            ("signature", &quoted.signature),
            ("values", &values),
            ("reference", &reference),
            ("es384", PINNED.es384.public_key().as_ref()),
            ("ml-dsa-65", PINNED.ml_dsa_65.public_key().as_ref()),
        ] {
            std::fs::write(folder.join(file), bytes).unwrap();
        }
        Self(folder)
    }

    #[expect(clippy::disallowed_methods, reason = "the program under test")]
    fn run(&self, arguments: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_bartizan-evidence"))
            .args(arguments.split_whitespace())
            .current_dir(&self.0)
            .output()
            .unwrap()
    }

    fn appraise(&self, machine: &Machine, more: &str) -> Output {
        let pcrs: Vec<String> = machine.pcrs.keys().map(u8::to_string).collect();
        let pinned: Vec<String> = machine
            .record
            .pinned
            .iter()
            .map(|(pcr, value)| format!("{pcr}={}", hex::encode(value)))
            .collect();
        self.run(&format!(
            "appraise --ak ak --attest attest --signature signature --values values --pcrs {} \
             --qualifying {} --firmware-log firmware.log --userspace-log userspace.log \
             --reference reference --es384 es384 --ml-dsa-65 ml-dsa-65 --pinned {} {more}",
            pcrs.join(","),
            hex::encode(&QUALIFYING),
            pinned.join(",")
        ))
    }
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_log_is_shown_event_by_event() {
    let machine = Machine::clean();
    let files = Files::of(&machine, "cli-replay");
    let output = files.run("replay firmware.log --userspace-log userspace.log");
    assert_eq!(output.status.code(), Some(0));
    let shown = text(&output);
    assert!(shown.contains("startup locality: 3"));
    assert!(shown.contains("EV_EFI_BOOT_SERVICES_APPLICATION"));
    let pcr11 = hex::encode(&by_hand(&BOOT, &USERSPACE).value(11));
    assert!(shown.contains(&format!("PCR 11 {pcr11}")), "{shown}");
    assert!(shown.ends_with("nothing is wrong\n"));
}

#[test]
fn a_clean_verdict_and_a_fallen_one_differ_in_code_and_text() {
    let mut machine = Machine::clean();
    let files = Files::of(&machine, "cli-appraise");
    let output = files.appraise(&machine, "");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("phase: enter-initrd:leave-initrd"));

    machine.pcrs.insert(11, [0xee; 32]);
    let files = Files::of(&machine, "cli-fallen");
    let output = files.appraise(&machine, "");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("V13 (state): PCR 11 is eeee"));
    assert!(text(&output).ends_with("refused\n"));
    let output = files.appraise(&machine, "--json");
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["failures"][0]["rule"], "V13");
    assert_eq!(json["pcrs"]["11"]["basis"], "refused");
    assert_eq!(json["pcrs"]["0"]["basis"], "pinned");
}

#[test]
fn a_wrong_nonce_is_named() {
    let machine = Machine::clean();
    let files = Files::of(&machine, "cli-quote");
    let quote = |nonce: &str| {
        let pcrs: Vec<String> = machine.pcrs.keys().map(u8::to_string).collect();
        files.run(&format!(
            "quote --ak ak --attest attest --signature signature --values values --pcrs {} \
             --qualifying {nonce}",
            pcrs.join(",")
        ))
    };
    assert_eq!(quote(&hex::encode(&QUALIFYING)).status.code(), Some(0));
    let output = quote("00");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("V7 (evidence)"));
}

#[test]
fn the_command_line_and_the_files_are_checked() {
    let mut machine = Machine::clean();
    machine.firmware_log = agile_log(&[Bank::Sha256], &[(0, 0x14, b"")]);
    let files = Files::of(&machine, "cli-wrong");
    for (arguments, code) in [
        ("", 64),
        ("replay", 64),
        ("replay firmware.log --bank md5", 64),
        ("replay firmware.log --unknown", 64),
        ("replay firmware.log --userspace-log", 64),
        ("replay no-such-file", 66),
        ("replay firmware.log", 1),
    ] {
        let output = files.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments}");
    }
    let output = files.run("replay firmware.log");
    assert!(text(&output).contains("event 1 has the unknown type 0x14"));
}
