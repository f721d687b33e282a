//! A gateway in a virtual machine: the host's side, and the program that runs inside.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::testbed::{
    boot::{Boot, Booted},
    flow::let_pass,
    guest::binaries,
    process::Running,
    site::Site,
    topology::{LINES, Side, Topology, configure_guest, network_card},
};

/// The program of this build that runs in the machine.
pub const PROGRAM: &str = "virtual-gateway";

/// The demonstration takes a minute or two; a machine that is left over ends by itself.
const LIMIT: Duration = Duration::from_mins(15);

/// A gateway that runs, with its TPM; dropping it cuts its power.
#[derive(Debug)]
pub(super) struct Machine {
    _booted: Booted,
    _tpm: Running,
    folder: PathBuf,
}

impl Machine {
    /// Boots `which` gateway in its namespace of `topology`.
    pub(super) fn boot(topology: &Topology, site: &Site, which: Side) -> Self {
        let state = site.tpm(which);
        let socket = state.join("socket");
        let mut command = Command::new("swtpm");
        command
            .args(["socket", "--tpm2", "--flags", "startup-clear"])
            .arg("--tpmstate")
            .arg(format!("dir={}", state.display()))
            .arg("--ctrl")
            .arg(format!("type=unixio,path={}", socket.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let tpm = Running::spawn(&mut command);
        let deadline = Instant::now() + Duration::from_secs(20);
        while !socket.exists() {
            assert!(Instant::now() < deadline, "swtpm does not listen");
            let_pass(Duration::from_millis(10));
        }

        let mut devices = vec![
            "-chardev".to_owned(),
            format!("socket,id=tpm,path={}", socket.display()),
            "-tpmdev".to_owned(),
            "emulator,id=tpm,chardev=tpm".to_owned(),
            "-device".to_owned(),
            "tpm-crb,tpmdev=tpm".to_owned(),
        ];
        for line in LINES {
            devices.extend(network_card(which, line));
        }
        let boot = Boot::vm()
            .limit(LIMIT)
            .devices(devices)
            .within(&topology.side(which).gateway);
        let configuration = site.gateway(which).display().to_string();
        let folder = binaries();
        let booted = boot.spawn(
            &folder.join("guest-init"),
            &folder.join(PROGRAM),
            &[which.letter(), &configuration],
        );
        Self {
            folder: booted.folder().to_owned(),
            _booted: booted,
            _tpm: tpm,
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

/// The program in the machine: `SIDE CONFIGURATION`; runs the appliance as it ships, for ever.
///
/// # Panics
/// If the machine is not one that the demonstration has booted.
pub fn gateway(arguments: &[String]) -> ! {
    let [letter, configuration] = arguments else {
        panic!("{PROGRAM} SIDE CONFIGURATION");
    };
    let side = Side::BOTH.into_iter().find(|side| side.letter() == letter);
    let side = side.expect("a side");
    give_tpm_to_its_group();
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
            .args(["--config", configuration])
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

/// What udev does on a machine that has it.
fn give_tpm_to_its_group() {
    let device = Path::new("/dev/tpmrm0");
    let groups = fs::read_to_string("/etc/group").expect("read the groups");
    let number = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some("tss")).then(|| fields.nth(1)?.parse().ok())?
    });
    let number: u32 = number.expect("the group tss");
    std::os::unix::fs::chown(device, None, Some(number)).expect("give the TPM to its group");
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o660);
    fs::set_permissions(device, permissions).expect("let the group use the TPM");
}
