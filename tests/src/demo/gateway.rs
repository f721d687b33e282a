//! The program that runs in a machine: the appliance as it ships, on a TPM of its own.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use super::{
    machine::{CONFIGURATION, PROGRAM, TPM},
    word::{Order, Word, say},
};
use crate::{
    testbed::{
        appliance::MEASURED,
        guest::{binaries, mount_share},
        measured::{Image, tamper},
        process::{Running, run},
        swtpm::Swtpm,
        topology::{Side, configure_guest},
    },
    units::event::{Event, What},
};

/// The second serial line.
const LINE: &str = "/dev/ttyS1";

/// How long the appliance may take to end once its output has.
const LIMIT: Duration = Duration::from_secs(20);

/// `SIDE MEASURED`; runs the appliance as it ships, for ever.
///
/// The machine's own firmware measures itself and none of ours, so the TPM is one behind the kernel,
/// and the testbed plays firmware and stub as it does where there is none.
///
/// # Panics
/// If the machine is not one that the demonstration has booted.
pub fn gateway(arguments: &[String]) -> ! {
    let [letter, measured] = arguments else {
        panic!("{PROGRAM} SIDE MEASURED");
    };
    let side = Side::BOTH.into_iter().find(|side| side.letter() == letter);
    let side = side.expect("a side");
    // The box's disk and its TPM's memory: both outlive the machine.
    let [configuration, state] = [CONFIGURATION, TPM].map(|name| {
        let folder = Path::new("/run/gateway").join(name);
        mount_share(name, &folder);
        folder
    });
    let tpm = Swtpm::start(&state);
    let device = tpm.resource_manager();
    Image::approved().measured().extend(&device);
    let line = serve_host(device.clone());

    let folder = Path::new("/run/appliance");
    fs::create_dir_all(folder).expect("make the appliance's folder");
    fs::write(folder.join("journal"), "").expect("make the journal");
    let mut tail = Running::spawn(
        Command::new("tail")
            .args(["-n", "+1", "-F"])
            .arg(folder.join("journal"))
            .stdin(Stdio::null()),
    );
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../appliance/units");
    let mut runner = Running::spawn(
        Command::new(binaries().join("unit-runner"))
            .arg("--units")
            .arg(units)
            .arg("--bin-dir")
            .arg(binaries())
            .arg("--config")
            .arg(configuration)
            .arg("--bind")
            .arg(format!("{}=/dev/tpmrm0", device.display()))
            .arg("--bind")
            .arg(format!("{measured}={MEASURED}"))
            .arg("--folder")
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped()),
    );
    let printed = runner.child().stdout.take();
    let printed = printed.expect("a pipe from the runner");
    let mut blocked = false;
    for text in BufReader::new(printed).lines().map_while(Result::ok) {
        println!("{text}");
        let event: Event = serde_json::from_str(&text).expect("an event of the runner");
        match (event.unit.as_str(), event.what) {
            // As its unit says: the block policies stand before the first interface is up.
            ("bartizan-xfrm.service", What::Ready) if !blocked => {
                blocked = true;
                configure_guest(side);
            }
            ("bartizan-engine.service", What::Ended { .. }) => tell(&line, Word::KeysGone),
            _ => {}
        }
    }
    tail.kill();
    panic!("the appliance ended: {:?}", runner.wait(LIMIT));
}

/// Does what the host orders, and tells it of every SA that goes.
fn serve_host(tpm: std::path::PathBuf) -> Arc<Mutex<File>> {
    run(Command::new("stty").args(["-F", LINE, "raw", "-echo", "115200"]));
    let orders = File::open(LINE).expect("open the serial line");
    let line = File::options().write(true).open(LINE);
    let line = Arc::new(Mutex::new(line.expect("open the serial line")));
    let answers = Arc::clone(&line);
    thread::spawn(move || {
        for order in BufReader::new(orders).lines() {
            let order = order.expect("hear the host");
            match serde_json::from_str(&order).expect("an order of the host") {
                Order::Tamper => {
                    tamper(&tpm, 11);
                    tell(&answers, Word::Tampered);
                }
            }
        }
    });
    let mut monitor = Running::spawn(
        Command::new("ip")
            .args(["-oneline", "xfrm", "monitor", "SA"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped()),
    );
    let told = Arc::clone(&line);
    thread::spawn(move || {
        let events = monitor.child().stdout.take();
        let events = events.expect("a pipe from the monitor");
        for event in BufReader::new(events).lines().map_while(Result::ok) {
            if event.starts_with("Deleted") || event.starts_with("Flushed") {
                tell(&told, Word::Associations(associations()));
            }
        }
    });
    line
}

/// How many SAs the kernel has, without those that only say that a packet asked for one: they have no SPI.
fn associations() -> usize {
    let listed = run(Command::new("ip").args(["-oneline", "xfrm", "state", "list", "nokeys"]));
    let states = listed
        .lines()
        .filter(|line| line.contains(" spi 0x") && !line.contains(" spi 0x00000000"));
    states.count()
}

fn tell(line: &Mutex<File>, word: Word) {
    let mut line = line.lock().unwrap_or_else(PoisonError::into_inner);
    say(&mut *line, &word);
}
