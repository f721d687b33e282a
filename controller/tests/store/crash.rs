//! The file's writer is killed at any point.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use bartizan_controller::device::{Class, State};
use bartizan_controller::store::{Place, Store};

use crate::file::Folder;
use crate::fleet::{NOW, attestation, enrolled, fail, failures, serial};

/// Where the writer finds the file.
const FILE: &str = "BARTIZAN_TEST_STORE";

/// Kills; the long form kills a hundred times more often.
const ROUNDS: u32 = 30;

/// What a writer said that it had done is there after it was killed, and nothing is there by halves.
#[tokio::test]
async fn a_writer_that_is_killed_loses_nothing_that_it_acknowledged() {
    let folder = Folder::new();
    let rounds = if std::env::var_os("BARTIZAN_LONG").is_some() {
        100 * ROUNDS
    } else {
        ROUNDS
    };
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut checked = 0;
    for _round in 0..rounds {
        // xorshift: the same kills in every run, as far as the system lets them be.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let last = killed_after(&folder, random % 24, random >> 40);
        let store = Store::open(&folder.place()).await.unwrap();
        let last = last.unwrap_or(checked);
        for number in checked..last {
            assert!(stands(&store, number).await, "{number} is lost");
        }
        // What was under way is there or not, and its device is whole.
        let mut next = last;
        while stands(&store, next).await {
            next += 1;
        }
        assert!(next <= last + 1, "{next} of {last}");
        checked = next;
    }
    assert!(checked > rounds, "the writers hardly wrote: {checked}");
}

/// Starts a writer and kills it after some lines and some turns of an idle loop; returns how many devices it
/// acknowledged.
fn killed_after(folder: &Folder, lines: u64, turns: u64) -> Option<u32> {
    let program = std::env::current_exe().unwrap();
    #[expect(clippy::disallowed_methods, reason = "the writer to kill is a process")]
    let mut writer = Command::new(program)
        .args([
            "--exact",
            "crash::writes_until_it_is_killed",
            "--ignored",
            "--nocapture",
        ])
        .env(FILE, folder.file())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut words = BufReader::new(writer.stdout.take().unwrap()).lines();
    let acknowledged = |line: std::io::Result<String>| {
        let line = line.ok()?;
        line.strip_prefix("acknowledged ")?.parse::<u32>().ok()
    };
    let mut last = None;
    let mut seen = 0;
    while seen < lines {
        let Some(line) = words.next() else {
            break;
        };
        if let Some(number) = acknowledged(line) {
            last = Some(number + 1);
            seen += 1;
        }
    }
    for turn in 0..turns {
        core::hint::black_box(turn);
    }
    writer.kill().unwrap();
    writer.wait().unwrap();
    for line in words {
        if let Some(number) = acknowledged(line) {
            last = Some(number + 1);
        }
    }
    last
}

#[tokio::test]
#[ignore = "the writer that a_writer_that_is_killed_loses_nothing_that_it_acknowledged kills"]
async fn writes_until_it_is_killed() {
    let file = std::env::var_os(FILE).expect("started by the other test alone");
    let store = Store::open(&Place::File(file.into())).await.unwrap();
    let mut number = 0;
    while store.device(&serial(number)).await.unwrap().is_some() {
        number += 1;
    }
    // A device that was begun is not taken up again: the next has a number that nobody used.
    let mut out = std::io::stdout();
    loop {
        let serial = enrolled(&store, number).await;
        store.attest(&serial, &attestation(1), NOW).await.unwrap();
        fail(&store, &serial, Class::State, "a verdict").await;
        writeln!(out, "acknowledged {number}").unwrap();
        number += 1;
    }
}

/// Whether a device is there; panics if it is there by halves.
async fn stands(store: &Store, number: u32) -> bool {
    let Some(device) = store.device(&serial(number)).await.unwrap() else {
        return false;
    };
    let totals = device.totals();
    let verdicts = store.verdicts(&serial(number)).await.unwrap();
    let certificates = store.certificates(&serial(number)).await.unwrap();
    let recorded = totals.passed + totals.failed;
    assert_eq!(u64::try_from(verdicts.len()).unwrap(), recorded);
    assert_eq!(
        u64::try_from(certificates.len()).unwrap(),
        totals.certificates
    );
    assert_eq!(device.identity().is_some(), totals.certificates == 1);
    assert_eq!(
        failures(&verdicts).len() == 1,
        device.quarantine().is_some()
    );
    let node = store.device_of(device.node()).await.unwrap();
    assert_eq!(node.as_ref(), Some(&device));
    assert!(device.state() != State::Revoked);
    true
}
