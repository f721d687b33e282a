//! systemd-networkd over a gateway's ports, told of the owner's network as the units have it.

use std::{
    fs::{self, Metadata},
    os::unix::fs::{MetadataExt, chown, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    flow::let_pass,
    netns::Netns,
    process::{Running, run},
    site::Site,
    topology::{Side, Topology},
};

/// Between two looks at what has no event to wait for.
const LOOK: Duration = Duration::from_millis(50);

/// How long a bus may take to stand.
const STANDS: Duration = Duration::from_secs(10);

/// networkd's user, to whom it listens.
const USER: &str = "systemd-network";

/// Gives it a `/run/systemd` of its own, and the view of other users' processes that its unit gives it. Where `/sys`
/// cannot be written it does not wait for udev.
const SCRIPT: &str = "mount --bind \"$0\" /run/systemd && mount --bind \"$1\" /run/systemd/netif/leases && \
    mount -t sysfs -o ro sysfs /sys && mount -t proc -o hidepid=invisible proc /proc && \
    exec /usr/lib/systemd/systemd-networkd";

const UNITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../appliance/units/network");

const IMAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../image/network");

/// Everybody may say everything; who may have networkd do what is networkd's to decide.
const BUS: &str = "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\" \
    \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\"><busconfig><type>system</type><listen>ADDRESS</listen>\
    <auth>EXTERNAL</auth><policy context=\"default\"><allow user=\"*\"/><allow own=\"*\"/>\
    <allow send_destination=\"*\"/><allow send_type=\"method_call\"/><allow receive_sender=\"*\"/></policy></busconfig>";

/// It runs, as does what `bartizan-network.path` starts, until it is dropped.
#[derive(Debug)]
pub struct Networkd {
    stop: Arc<AtomicBool>,
    teller: Option<JoinHandle<()>>,
    _daemon: Running,
    _bus: Running,
}

/// What the unit does when the owner's network has changed.
struct Teller {
    namespace: String,
    bus: String,
    changed: PathBuf,
    commands: Vec<String>,
}

impl Networkd {
    /// Gives the port mgmt0 of a gateway that has yet to be powered on to networkd, with the image's files.
    ///
    /// # Panics
    /// If something of it cannot be run.
    pub fn start(topology: &Topology, site: &Site, which: Side) -> Self {
        let gateway = &topology.side(which).gateway;
        let port = ["down", "name mgmt0"].map(|what| format!("link set management {what}"));
        gateway.ip(&port);
        let run_folder = Path::new("/run/appliances")
            .join(which.letter())
            .join("run");
        let state = site.gateway(which).join("state");
        let own = Path::new("/run/networkd").join(which.letter());
        let (leases, applied) = (run_folder.join("leases"), run_folder.join("network"));
        for folder in [&leases, &applied, &own.join("netif/leases")] {
            fs::create_dir_all(folder).expect("make a folder of networkd's");
        }
        fs::create_dir_all(own.join("network")).expect("make a folder of networkd's");
        fs::create_dir_all("/run/systemd").expect("make a place for networkd's folder");
        let [user, group] = ["-u", "-g"].map(|which| {
            let number = run(Command::new("id").args([which, USER]));
            number.trim().parse().expect("networkd's number")
        });
        for folder in [&leases, &applied, &own.join("netif")] {
            chown(folder, Some(user), Some(group)).expect("give networkd its folder");
        }
        let image = own.join("network/80-mgmt0.network");
        fs::copy(Path::new(IMAGE).join("80-mgmt0.network"), image).expect("the image's file");
        let owners = own.join("network/10-bartizan-mgmt0.network");
        symlink(state.join("network/mgmt0.network"), owners).expect("lead to the owner's file");

        let address = format!("unix:path={}", own.join("bus").display());
        let bus = bus(gateway, &own, &address);
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT])
            .args([&own, &leases])
            .env("DBUS_SYSTEM_BUS_ADDRESS", &address)
            .stdin(Stdio::null());
        let daemon = gateway.enter(|| Running::spawn(&mut command));

        let unit = Path::new(UNITS).join("bartizan-network.service");
        let unit = fs::read_to_string(unit).expect("a unit that ships");
        assert!(unit.contains(&format!("\nUser={USER}\n")), "{unit}");
        let state_folder = state.display().to_string();
        let run_folder = run_folder.display().to_string();
        let commands = unit
            .lines()
            .filter_map(|line| line.strip_prefix("ExecStart="));
        let teller = Teller {
            namespace: gateway.name().to_owned(),
            bus: address,
            changed: state.join("network/changed"),
            commands: commands
                .map(|command| command.replace("/var/lib/bartizan", &state_folder))
                .map(|command| command.replace("/run/bartizan", &run_folder))
                .collect(),
        };
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        Self {
            stop,
            teller: Some(thread::spawn(move || teller.watch(&told))),
            _daemon: daemon,
            _bus: bus,
        }
    }
}

impl Drop for Networkd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.teller.take().map(JoinHandle::join);
        if !thread::panicking() {
            assert!(matches!(ended, Some(Ok(()))), "networkd was not told");
        }
    }
}

impl Teller {
    /// Does as `PathChanged=` does: what was there before is nobody's change.
    fn watch(&self, stop: &AtomicBool) {
        let mark = |metadata: Metadata| (metadata.ino(), metadata.mtime(), metadata.mtime_nsec());
        let mut known = None;
        while !stop.load(Ordering::Relaxed) {
            let found = fs::metadata(&self.changed).ok().map(mark);
            if found != known {
                known = found;
                self.tell();
            }
            let_pass(LOOK);
        }
    }

    /// Does as the unit does, as its user and without a capability.
    fn tell(&self) {
        for command in &self.commands {
            let mut words = Command::new("ip");
            words
                .args(["netns", "exec", &self.namespace, "setpriv"])
                .args(["--reuid", USER, "--regid", USER, "--clear-groups"])
                .args(["--bounding-set=-all", "--"])
                .args(command.split(' '))
                .env("DBUS_SYSTEM_BUS_ADDRESS", &self.bus);
            run(&mut words);
        }
    }
}

fn bus(gateway: &Netns, own: &Path, address: &str) -> Running {
    let config = own.join("bus.conf");
    fs::write(&config, BUS.replace("ADDRESS", address)).expect("write the bus's configuration");
    let mut command = Command::new("dbus-daemon");
    command
        .arg(format!("--config-file={}", config.display()))
        .arg("--nofork")
        .stdin(Stdio::null());
    let bus = gateway.enter(|| Running::spawn(&mut command));
    let deadline = Instant::now() + STANDS;
    while !own.join("bus").exists() {
        assert!(Instant::now() < deadline, "no bus for networkd");
        let_pass(LOOK);
    }
    bus
}
