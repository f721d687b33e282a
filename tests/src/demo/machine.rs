//! A gateway in a virtual machine: the host's side, and the program that runs inside.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use crate::testbed::{
    appliance::MEASURED,
    boot::{Boot, Booted},
    guest::binaries,
    measured::Image,
    process::Running,
    site::Site,
    swtpm::Swtpm,
    topology::{LINES, Side, Topology, configure_guest, network_card},
};

/// The program of this build that runs in the machine.
pub const PROGRAM: &str = "virtual-gateway";

/// The demonstration takes a minute or two; a machine that is left over ends by itself.
const LIMIT: Duration = Duration::from_mins(15);

/// A gateway that runs; dropping it cuts its power.
#[derive(Debug)]
pub(super) struct Machine {
    _booted: Booted,
    folder: PathBuf,
}

impl Machine {
    /// Boots `which` gateway in its namespace of `topology`.
    pub(super) fn boot(topology: &Topology, site: &Site, which: Side) -> Self {
        let mut devices = Vec::new();
        for line in LINES {
            devices.extend(network_card(which, line));
        }
        let boot = Boot::vm()
            .limit(LIMIT)
            .devices(devices)
            .within(&topology.side(which).gateway);
        let folder = binaries();
        let [configuration, tpm, measured] =
            [site.gateway(which), site.tpm(which), site.measured(which)]
                .map(|folder| folder.display().to_string());
        let booted = boot.spawn(
            &folder.join("guest-init"),
            &folder.join(PROGRAM),
            &[which.letter(), &configuration, &tpm, &measured],
        );
        Self {
            folder: booted.folder().to_owned(),
            _booted: booted,
        }
    }

    /// What the machine and the gateway in it printed so far.
    pub(super) fn log(&self) -> String {
        let text = ["console", "log"].map(|name| {
            let bytes = fs::read(self.folder.join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        });
        text.concat()
    }
}

/// The program in the machine: `SIDE CONFIGURATION TPM MEASURED`; runs the appliance as it ships, for
/// ever.
///
/// The machine's own firmware measures itself and none of ours, so the TPM is one behind the kernel,
/// and the testbed plays firmware and stub as it does where there is none.
///
/// # Panics
/// If the machine is not one that the demonstration has booted.
pub fn gateway(arguments: &[String]) -> ! {
    let [letter, folders @ ..] = arguments else {
        panic!("{PROGRAM} SIDE CONFIGURATION TPM MEASURED");
    };
    // The host's files cannot be written here.
    let folders: Vec<_> = folders
        .iter()
        .zip(["configuration", "tpm", "measured"])
        .map(|(from, name)| {
            let own = Path::new("/run/gateway").join(name);
            copy(Path::new(from), &own);
            own
        })
        .collect();
    let [configuration, tpm, measured] = &folders[..] else {
        panic!("{PROGRAM} SIDE CONFIGURATION TPM MEASURED");
    };
    let side = Side::BOTH.into_iter().find(|side| side.letter() == letter);
    let side = side.expect("a side");
    let tpm = Swtpm::start(tpm);
    Image::approved().measured().extend(&tpm.resource_manager());
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../appliance/units");
    let folder = Path::new("/run/appliance");
    fs::create_dir_all(folder).expect("make the appliance's folder");
    fs::write(folder.join("journal"), "").expect("make the journal");
    let mut tail = Running::spawn(
        Command::new("tail")
            .args(["-n", "+1", "-F"])
            .arg(folder.join("journal"))
            .stdin(Stdio::null()),
    );
    let mut runner = Running::spawn(
        Command::new(binaries().join("unit-runner"))
            .arg("--units")
            .arg(units)
            .arg("--bin-dir")
            .arg(binaries())
            .arg("--config")
            .arg(configuration)
            .arg("--bind")
            .arg(format!("{}=/dev/tpmrm0", tpm.resource_manager().display()))
            .arg("--bind")
            .arg(format!("{}={MEASURED}", measured.display()))
            .arg("--folder")
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped()),
    );
    let printed = runner
        .child()
        .stdout
        .take()
        .expect("a pipe from the runner");
    let mut lines = BufReader::new(printed).lines().map_while(Result::ok);
    let mut blocked = false;
    for line in lines.by_ref() {
        println!("{line}");
        // As its unit says: the block policies stand before the first interface is up.
        if !blocked && line.contains("bartizan-xfrm") && line.contains("Ready") {
            blocked = true;
            configure_guest(side);
        }
    }
    tail.kill();
    panic!("the appliance ended: {:?}", runner.wait(LIMIT));
}

/// Copies a folder's files, and those of the folders in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("make a folder");
    for entry in fs::read_dir(from).expect("read a folder of the host") {
        let entry = entry.expect("an entry of a folder of the host");
        let own = to.join(entry.file_name());
        let kind = entry.file_type().expect("what an entry is");
        if kind.is_dir() {
            copy(&entry.path(), &own);
        } else if kind.is_file() {
            fs::copy(entry.path(), own).expect("copy a file of the host");
        }
    }
}
