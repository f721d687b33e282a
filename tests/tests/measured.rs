//! The measured boot that the testbed plays, judged by the tools of others.

use std::{fs, path::Path, process::Command};

use bartizan_evidence::{appraisal::replay, cose::VerifierKeys, reference::ReferenceValues};
use bartizan_tests::{
    in_guest,
    testbed::{
        boot::{Boot, scratch_folder},
        measured::{Builder, Image, PHASES, Pcrs, tamper},
        process::run,
        swtpm::Swtpm,
    },
};

#[test]
fn pcr_11_is_what_systemd_foretells() {
    let folder = scratch_folder();
    for image in [Image::approved(), Image::changed()] {
        let mut command = Command::new("/usr/lib/systemd/systemd-measure");
        command.args(["calculate", "--bank=sha256"]);
        command.arg(format!("--phase={}", PHASES.join(":")));
        for (section, content) in image.sections() {
            let file = folder.join(section);
            fs::write(&file, content).unwrap();
            command.arg(format!("--{section}={}", file.display()));
        }
        let foretold = run(&mut command);
        let (_, foretold) = foretold.split_once("11:sha256=").unwrap();
        assert_eq!(value(foretold), image.measured().pcrs()[&11]);
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_logs_and_the_reference_values_are_those_of_the_boot() {
    let folder = scratch_folder();
    let builder = Builder::new();
    for image in [Image::approved(), Image::changed()] {
        builder.leave(&Image::approved(), &image, &folder);
        let read = |name| fs::read(folder.join(name)).unwrap();
        let replayed = replay(&read("firmware.log"), &read("userspace.log")).unwrap();
        let pcrs = image.measured().pcrs();
        for pcr in 0..24 {
            let measured = pcrs.get(&pcr).copied();
            assert_eq!(replayed.is_extended(pcr), measured.is_some(), "PCR {pcr}");
            assert!(measured.is_none_or(|value| replayed.value(pcr) == value));
        }
        let keys = builder.reference_keys();
        let keys = VerifierKeys::new(&keys.es384, &keys.ml_dsa_65).unwrap();
        let values = ReferenceValues::verify(&builder.reference_values(&image), &keys).unwrap();
        assert_eq!(values.phases[0].pcr11, pcrs[&11]);
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn each_boot_measures_what_its_image_says() {
    in_guest!(Boot::uml(), || {
        let folder = Path::new("/run/tpm");
        let approved = Image::approved().measured();
        let boots = [&approved, &Image::changed().measured(), &approved].map(|measured| {
            let tpm = Swtpm::start(folder);
            measured.extend(&tpm.resource_manager());
            assert_eq!(read(&tpm, &measured.pcrs()), measured.pcrs());
            tamper(&tpm.resource_manager(), 11);
            assert_ne!(read(&tpm, &measured.pcrs()), measured.pcrs());
            resets(&tpm)
        });
        assert_eq!(boots, [boots[0], boots[0] + 1, boots[0] + 2]);
    });
}

/// The values of these PCRs, as `tpm2_pcrread` prints them.
fn read(tpm: &Swtpm, pcrs: &Pcrs) -> Pcrs {
    let numbers: Vec<String> = pcrs.keys().map(u8::to_string).collect();
    let selection = format!("sha256:{}", numbers.join(","));
    let printed = run(Command::new("tpm2_pcrread")
        .args(["-T", &tpm.tcti()])
        .arg(selection));
    let lines = printed.lines().filter_map(|line| line.split_once(": 0x"));
    lines
        .map(|(number, digits)| (number.trim().parse().unwrap(), value(digits)))
        .collect()
}

/// 32 bytes, in hexadecimal.
fn value(digits: &str) -> [u8; 32] {
    let bytes = (0..32).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap());
    bytes.collect::<Vec<u8>>().try_into().unwrap()
}

fn resets(tpm: &Swtpm) -> u32 {
    let printed = run(Command::new("tpm2_readclock").args(["-T", &tpm.tcti()]));
    let (_, rest) = printed.split_once("reset_count: ").unwrap();
    rest.lines().next().unwrap().trim().parse().unwrap()
}
