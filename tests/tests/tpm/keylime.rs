//! The verifier of another project, Keylime's, attests the tpm role through its push protocol.

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use bartizan_evidence::quote::{AttestationKey, Quote};
use bartizan_model::{
    identity::{PcrSelection, Quoted},
    lifecycle::Lifecycle,
    message::{FromTpm, ToTpm},
};
use bartizan_tests::interop::python;
use bartizan_tpm::{DeviceKey, DeviceKeys, provision::certify};

use crate::{
    boot::{Boot, hex},
    role::{CONTROL, ORDER, Role},
};

/// What must stand as it was found.
const PCRS: &str = "0,4,7,9,11,12,13,14";

/// Attestations that are measured, in the short form and in the long one.
const ROUNDS: [usize; 2] = [5, 100];

/// Of a box with a P-256 attestation key: what Keylime reads of a quote, it takes from the bank of the hash in the
/// signature (`tpm/tpm_util.py`, `checkquote`), and the P-384 key signs SHA-256 values with SHA-384.
#[test]
fn the_keylime_verifier_attests_a_gateway_and_sees_it_tampered_with() {
    let Some(python) = python() else {
        return;
    };
    let mut role = Role::start(Boot::without_p384());
    role.enter(Lifecycle::Discovering);
    let ak = role.identity().ak;
    role.enter(Lifecycle::Attesting);
    let key = AttestationKey::parse(&ak).unwrap();
    let size = u16::try_from(ak.len()).unwrap().to_be_bytes();
    std::fs::write(role.boot.folder.join("ak.bin"), [&size[..], &ak].concat()).unwrap();

    let long = std::env::var_os("BARTIZAN_LONG").is_some();
    let rounds = ROUNDS[usize::from(long)];
    let mut agent = Agent::start(&python, &role.boot.folder, rounds);
    let mut ours = Vec::new();
    let mut measured = Vec::new();
    while let Some(line) = agent.line() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["certify", nonce] => {
                let mut tpm = role.boot.open();
                let keys = DeviceKeys::open(&mut tpm).unwrap();
                let qualifying = bytes(nonce);
                let word = certify(&mut tpm, &keys, DeviceKey::Attestation, &qualifying).unwrap();
                agent.answer(&format!("{} {}", hex(&word.attest), hex(&word.signature)));
            }
            ["quote", nonce, pcrs] => {
                let begun = Instant::now();
                let (nonce, pcrs) = (bytes(nonce), selection(pcrs));
                let quoted = quote(&mut role, &nonce, pcrs);
                Quote::verify(&quoted, &key, &nonce, pcrs).unwrap();
                ours.push(begun.elapsed());
                agent.answer(&told(&quoted));
            }
            ["tamper"] => {
                role.boot.extend(11);
                agent.answer("tampered");
            }
            _ => measured.push(line.clone()),
        }
    }
    assert!(agent.ended(), "the verifier judges otherwise: {measured:?}");
    assert_eq!(measured.last().map(String::as_str), Some("done"));
    report(&measured, ours);
}

/// Prints what an attestation takes there, and of it what is ours.
fn report(measured: &[String], mut ours: Vec<Duration>) {
    let theirs = measured[0].split_whitespace().skip(1);
    let theirs = theirs.map(|each| Duration::from_micros(each.parse().unwrap()));
    let theirs: Vec<Duration> = theirs.collect();
    ours.sort_unstable();
    let total: Duration = theirs.iter().sum();
    let a_second = u128::try_from(theirs.len()).unwrap() * 1000 / total.as_millis();
    println!("Keylime: {a_second} attestations a second, one after the other over one connection");
    println!(
        "    round trip, with the quote: p50 {:.1?}",
        theirs[theirs.len() / 2]
    );
    println!("    {}", measured[1]);
    println!(
        "of each, the quote on swtpm and its verification by ours: p50 {:.1?}",
        ours[ours.len() / 2]
    );
}

/// The agent's side of the protocol, and the verifier behind it; dropping it kills both.
struct Agent {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Agent {
    fn start(python: &Path, folder: &Path, rounds: usize) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/keylime_push.py");
        let mut child = Command::new(python)
            .arg(script)
            .arg(folder)
            .args([&rounds.to_string(), PCRS])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// What it says or asks next; `None` at its end.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let len = self.lines.read_line(&mut line).unwrap();
        (len > 0).then(|| line.trim().to_owned())
    }

    fn answer(&mut self, words: &str) {
        let input = self.child.stdin.as_mut().unwrap();
        writeln!(input, "{words}").unwrap();
        input.flush().unwrap();
    }

    fn ended(&mut self) -> bool {
        self.child.wait().unwrap().success()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // With its input it ends by itself, and ends the verifier.
        drop(self.child.stdin.take());
        drop(self.child.wait());
    }
}

fn quote(role: &mut Role, qualifying: &[u8], pcrs: PcrSelection) -> Quoted {
    let request = ToTpm::Quote {
        order: ORDER,
        qualifying: qualifying.to_vec(),
        pcrs,
    };
    let reply = role.ask(CONTROL, &request);
    let FromTpm::Quoted { quoted, .. } = reply else {
        panic!("{reply:?}");
    };
    *quoted
}

fn told(quoted: &Quoted) -> String {
    let mut words = format!("{} {} ", hex(&quoted.attest), hex(&quoted.signature));
    for (number, (pcr, value)) in quoted.pcrs.iter().enumerate() {
        let comma = if number == 0 { "" } else { "," };
        write!(words, "{comma}{pcr}={}", hex(value)).unwrap();
    }
    words
}

fn selection(pcrs: &str) -> PcrSelection {
    let pcrs = pcrs.split(',').map(|pcr| 1 << pcr.parse::<u32>().unwrap());
    PcrSelection(pcrs.sum())
}

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}
