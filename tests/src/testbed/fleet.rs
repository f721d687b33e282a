//! A site at work: two gateways as they ship, their controller, their KMEs, all in one kernel.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use bartizan_controller::status::{Status, TunnelStatus};
use bartizan_model::config::KmeInterface;
use rustix::process::Signal;

use crate::pki::Kind;

use super::{
    appliance::{Appliance, SERVICES},
    boot::Kernel,
    flow::let_pass,
    guest::binaries,
    measured::Image,
    netns::Netns,
    process::{Running, run},
    reboot::power_on,
    site::{Choices, KME_PORT, Site},
    swtpm::Swtpm,
    topology::{Side, Topology},
};

/// How long anything may take that is not itself measured.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Between the first two looks at what has no event to wait for; then twice as long each time, up to [`REST`].
const LOOK: Duration = Duration::from_millis(50);

/// Between two looks at what takes its time: each look is a program that is run.
const REST: Duration = Duration::from_secs(1);

/// The link's seed: both KMEs of a pair have the same.
const SEED: &str = "7";

/// A KME that runs.
#[derive(Debug)]
pub struct KmeProcess {
    process: Running,
    control: PathBuf,
}

/// A controller that runs.
#[derive(Debug)]
pub struct ControllerProcess {
    process: Running,
    socket: PathBuf,
}

/// All of it; dropping it ends every process.
#[derive(Debug)]
pub struct Fleet {
    /// The namespaces and the line between the gateways.
    pub topology: Arc<Topology>,
    /// The configurations.
    pub site: Site,
    /// The controller.
    pub controller: ControllerProcess,
    /// The KMEs, A's first; none while it is dead.
    pub kmes: [Option<KmeProcess>; 2],
    /// The gateways, A's first.
    pub gateways: [Appliance; 2],
    /// Their TPMs, A's first.
    pub tpms: [Swtpm; 2],
}

impl KmeProcess {
    /// Starts `which` gateway's KME in `namespace` and waits until it listens; `choices` says by which family.
    ///
    /// # Panics
    /// If it does not.
    pub fn start(namespace: &Netns, site: &Site, which: Side, choices: &Choices) -> Self {
        let credentials = site.kme(which);
        let control = credentials.join("control.sock");
        // One that was killed leaves its socket.
        fs::remove_file(&control).unwrap_or_default();
        let address = core::net::SocketAddr::new(which.kme(choices.family), KME_PORT);
        let mut command = Command::new(binaries().join("kme"));
        command
            .args(["--listen", &address.to_string()])
            .args([
                "--name",
                which.kme_name(),
                "--target",
                which.other().kme_name(),
            ])
            .args(["--seed", SEED, "--rate", "1000"])
            .arg("--cert")
            .arg(credentials.join("certificate.pem"))
            .arg("--key")
            .arg(credentials.join("key.pem"))
            .arg("--client-ca")
            .arg(credentials.join("kme-ca.pem"))
            .arg("--control")
            .arg(&control)
            .arg("--rendezvous")
            .arg(site.rendezvous())
            .envs(site.environment())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let form = match choices.interface {
            KmeInterface::Etsi014 => None,
            KmeInterface::Etsi004Binary => Some("--binary"),
            KmeInterface::Etsi004Json => Some("--json"),
        };
        if let Some(form) = form {
            command.args([form, &choices.kme(which).to_string()]);
        }
        let mut process = namespace.enter(|| Running::spawn(&mut command));
        let printed = process.child().stdout.take().expect("a pipe from the KME");
        let mut printed = BufReader::new(printed);
        for _ in 0..=form.iter().count() {
            let mut line = String::new();
            printed.read_line(&mut line).expect("read from the KME");
            assert!(line.starts_with("listening"), "the KME said {line:?}");
        }
        Self { process, control }
    }

    /// Gives it an order (see `tests/src/kme/README.md`) and returns its answer.
    ///
    /// # Panics
    /// If it refuses.
    pub fn order(&self, order: &str) -> String {
        let mut stream = UnixStream::connect(&self.control).expect("reach the KME");
        writeln!(stream, "{order}").expect("order the KME");
        let mut answer = String::new();
        BufReader::new(stream)
            .read_line(&mut answer)
            .expect("hear the KME");
        assert!(!answer.starts_with("error"), "{order}: {answer}");
        answer
    }

    /// Kills it.
    pub fn kill(mut self) {
        self.process.kill();
    }
}

impl ControllerProcess {
    /// Starts a controller in `namespace` and waits until it answers.
    ///
    /// # Panics
    /// If it does not.
    pub fn start(namespace: &Netns, site: &Site) -> Self {
        let mut command = Command::new(binaries().join("bartizan-controller"));
        command
            .args(["serve", "--config"])
            .arg(site.controller_config())
            .envs(site.environment())
            .stdin(Stdio::null())
            .stderr(site.controller_log());
        let process = namespace.enter(|| Running::spawn(&mut command));
        let controller = Self {
            process,
            socket: site.controller_socket(),
        };
        let deadline = Instant::now() + PATIENCE;
        while UnixStream::connect(&controller.socket).is_err() {
            assert!(Instant::now() < deadline, "the controller does not answer");
            let_pass(LOOK);
        }
        controller
    }

    /// Ends it, as a power cut would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// What it knows.
    pub fn status(&self) -> Status {
        let text = self.run(&["status", "--json"]);
        serde_json::from_str(&text).expect("the controller's status")
    }

    /// Has the owner expect the boxes of a site.
    ///
    /// # Panics
    /// If the controller refuses one.
    pub fn expect_boxes(&self, site: &Site, choices: &Choices) {
        for (side, serial) in Side::BOTH.into_iter().zip(site.serials()) {
            let wanted = site.wanted(side, choices).display().to_string();
            self.run(&["device", "add", serial, side.node(), "--site", &wanted]);
        }
    }

    /// Waits until both gateways have a lease.
    ///
    /// # Panics
    /// If that does not come about within [`PATIENCE`].
    pub fn wait_leased(&self) {
        self.wait_leased_after([0; 2]);
    }

    /// Waits until each gateway has taken more leases than so many, A's first.
    ///
    /// # Panics
    /// If that does not come about within [`PATIENCE`].
    pub fn wait_leased_after(&self, before: [u64; 2]) {
        self.wait_for(PATIENCE, "both gateways have a lease", |status| {
            let leases = status.nodes.iter().map(|node| node.leases);
            status.nodes.len() == 2 && leases.zip(before).all(|(leases, before)| leases > before)
        });
    }

    /// Applies a plan; waits until all of it protects, if `wait`.
    ///
    /// # Panics
    /// If the controller refuses it, or it does not protect within [`PATIENCE`].
    pub fn apply(&self, plan: &str, wait: bool) {
        let file = self.socket.with_file_name("plan.toml");
        fs::write(&file, plan).expect("write the plan");
        let file = file.display().to_string();
        let patience = PATIENCE.as_secs().to_string();
        let mut words = vec!["apply", &file];
        if wait {
            words.extend(["--wait", &patience]);
        }
        self.run(&words);
    }

    /// Waits until the status is as wanted, and returns it.
    ///
    /// # Panics
    /// If it does not come so within `limit`; with the last status.
    pub fn wait_for(
        &self,
        limit: Duration,
        what: &str,
        mut is_it: impl FnMut(&Status) -> bool,
    ) -> Status {
        let deadline = Instant::now() + limit;
        let mut pause = LOOK;
        loop {
            let status = self.status();
            if is_it(&status) {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "not within {limit:?}: {what}; at last: {status:#?}"
            );
            let_pass(pause);
            pause = (pause * 2).min(REST);
        }
    }

    pub(super) fn run(&self, words: &[&str]) -> String {
        let mut command = Command::new(binaries().join("bartizan-controller"));
        command.args(words).arg("--socket").arg(&self.socket);
        run(&mut command)
    }
}

impl Fleet {
    /// Starts two boxes from the factory, with an owner who expects them; waits until both have a lease.
    ///
    /// # Panics
    /// If that does not come about.
    pub fn start(choices: &Choices) -> Self {
        Self::from_factory(choices, [Kind::Idevid; 2])
    }

    /// The same with boxes of these kinds, A's first.
    ///
    /// # Panics
    /// If that does not come about.
    pub fn from_factory(choices: &Choices, kinds: [Kind; 2]) -> Self {
        let topology = Arc::new(Topology::new());
        let folder = Path::new("/run/site");
        fs::create_dir_all(folder).expect("make the site's folder");
        // Where there is a loopback: a TPM is set up over it.
        let site = topology
            .controller
            .enter(|| Site::from_factory(folder, choices, kinds));
        let mut fleet = Self::start_on(topology, site, choices);
        fleet.controller.wait_leased();
        // All roles have begun again since: who waits for a restart means a later one.
        for gateway in &mut fleet.gateways {
            gateway.wait_ready(&SERVICES, PATIENCE);
        }
        fleet
    }

    /// Starts everything, and has the owner expect the boxes; waits for nothing but the processes.
    ///
    /// # Panics
    /// If one does not start.
    pub fn start_on(topology: Arc<Topology>, site: Site, choices: &Choices) -> Self {
        let kmes = Side::BOTH.map(|side| {
            let namespace = &topology.side(side).kme;
            Some(KmeProcess::start(namespace, &site, side, choices))
        });
        let controller = ControllerProcess::start(&topology.controller, &site);
        controller.expect_boxes(&site, choices);
        let tpms = Side::BOTH.map(|side| {
            let tpm = Swtpm::start(&site.tpm(side));
            Image::approved().measured().extend(&tpm.resource_manager());
            tpm
        });
        let [first, second] = &tpms;
        let gateways = [(Side::A, first), (Side::B, second)]
            .map(|(side, tpm)| power_on(&topology, &site, side, tpm));
        Self {
            topology,
            site,
            controller,
            kmes,
            gateways,
            tpms,
        }
    }

    /// A gateway.
    pub fn gateway(&mut self, side: Side) -> &mut Appliance {
        let [a, b] = &mut self.gateways;
        match side {
            Side::A => a,
            Side::B => b,
        }
    }

    /// A KME that lives.
    ///
    /// # Panics
    /// If it is dead.
    pub fn kme(&self, side: Side) -> &KmeProcess {
        let [a, b] = &self.kmes;
        let kme = match side {
            Side::A => a,
            Side::B => b,
        };
        kme.as_ref().expect("a KME that lives")
    }

    /// Does something while the owner's programs and the KMEs stand still.
    pub fn while_the_owner_waits(&self, act: impl FnOnce()) {
        let kmes = self.kmes.iter().flatten().map(|kme| &kme.process);
        let programs: Vec<_> = kmes.chain([&self.controller.process]).collect();
        for program in &programs {
            program.signal(Signal::STOP);
        }
        act();
        for program in &programs {
            program.signal(Signal::CONT);
        }
    }

    /// What both gateways have printed, for the message of a test that failed.
    pub fn journals(&self) -> String {
        let [a, b] = self.gateways.each_ref().map(Appliance::journal);
        let controller = self.site.read_controller_log();
        format!("gateway A:\n{a}\ngateway B:\n{b}\ncontroller:\n{controller}")
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.journals());
        }
    }
}

/// A lock-down of what UML can.
pub fn uml() -> Choices {
    Choices::usual(Kernel::Uml)
}

/// Whether a tunnel protects at both ends, at least under its `epoch`th generation.
pub fn protects(tunnel: &TunnelStatus, epoch: u64) -> bool {
    tunnel.protected
        && tunnel.ends.iter().all(|end| {
            let report = end.report.as_ref();
            report.is_some_and(|report| report.epoch >= Some(epoch))
        })
}
