//! The host's side of a guest: boots a kernel, waits for it, brings back what it left.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{netns::Netns, process::Running, vm};

/// The file in a guest's output folder that says what to run there.
pub(super) const ORDER: &str = "order.json";
/// Where the program's exit code is left.
pub(super) const CODE: &str = "code";
/// Where what it printed is left.
pub(super) const LOG: &str = "log";

const SETPRIV: &str = "/usr/bin/setpriv";

/// Which kernel is booted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kernel {
    /// User-mode Linux with ESP and virtual TPMs; no Landlock, no `memfd_secret`. Half a second a boot.
    Uml,
    /// Debian's kernel in QEMU without KVM; has both. Some five seconds a boot.
    Vm,
}

/// Whose time the guest lives in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Clock {
    /// The host's.
    Real,
    /// UML alone: time stands while anything computes and jumps to the next timer when all wait.
    Virtual,
}

/// A guest to be booted.
#[derive(Clone, Debug)]
pub struct Boot {
    kernel: Kernel,
    clock: Clock,
    memory_mib: u32,
    limit: Duration,
    devices: Vec<OsString>,
    namespace: Option<String>,
}

/// What PID 1 of the guest is to run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) folder: PathBuf,
}

/// What came of a guest.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The program's exit code; `None` if the guest did not live to tell it.
    pub code: Option<i32>,
    /// What the program printed.
    pub log: String,
    /// What the kernel and PID 1 printed.
    pub console: String,
    /// From the start of the kernel to its end.
    pub wall: Duration,
}

/// A guest that runs; dropping it kills it.
#[derive(Debug)]
pub struct Booted {
    running: Running,
    folder: PathBuf,
    started: Instant,
    limit: Duration,
}

impl Boot {
    /// A UML guest.
    pub fn uml() -> Self {
        Self {
            kernel: Kernel::Uml,
            clock: Clock::Real,
            memory_mib: 256,
            limit: Duration::from_mins(1),
            devices: Vec::new(),
            namespace: None,
        }
    }

    /// A QEMU guest.
    pub fn vm() -> Self {
        Self {
            kernel: Kernel::Vm,
            memory_mib: 768,
            limit: Duration::from_mins(2),
            ..Self::uml()
        }
    }

    /// Gives the guest another clock.
    ///
    /// # Panics
    /// If a QEMU guest is to have a virtual one.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        assert!(
            self.kernel == Kernel::Uml || clock == Clock::Real,
            "only UML has virtual time"
        );
        self.clock = clock;
        self
    }

    /// Gives the guest so much memory.
    #[must_use]
    pub fn memory_mib(mut self, memory_mib: u32) -> Self {
        self.memory_mib = memory_mib;
        self
    }

    /// Sets the time on the host's clock after which the guest is killed.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Adds arguments for QEMU: network cards, a TPM.
    ///
    /// # Panics
    /// If the guest is not a QEMU one.
    #[must_use]
    pub fn devices<I: IntoIterator<Item: Into<OsString>>>(mut self, arguments: I) -> Self {
        assert!(self.kernel == Kernel::Vm, "only QEMU has devices");
        self.devices.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Lets QEMU find its taps in a namespace. Not by a thread that enters it: the guest would end with that thread.
    #[must_use]
    pub fn within(mut self, namespace: &Netns) -> Self {
        self.namespace = Some(format!("--net=/run/netns/{}", namespace.name()));
        self
    }

    /// Boots with `init` as PID 1 and lets it run `program`.
    ///
    /// # Panics
    /// If the kernel or a tool is missing, or cannot be run.
    pub fn spawn(&self, init: &Path, program: &Path, arguments: &[&str]) -> Booted {
        let folder = scratch_folder();
        let order = Order {
            program: program.to_owned(),
            arguments: arguments.iter().map(|&word| word.to_owned()).collect(),
            environment: std::env::vars()
                .filter(|(name, _)| name.starts_with("BARTIZAN_") || name.starts_with("RUST_"))
                .collect(),
            folder: folder.clone(),
        };
        let order = serde_json::to_vec(&order).expect("an order is plain text");
        fs::write(folder.join(ORDER), order).expect("write the order");
        let console = fs::File::create(folder.join("console")).expect("create the console's file");

        let mut command = self.command(init, &folder);
        command
            .stdin(Stdio::null())
            .stdout(console.try_clone().expect("share the console's file"))
            .stderr(console);
        Booted {
            started: Instant::now(),
            running: Running::spawn(&mut command),
            folder,
            limit: self.limit,
        }
    }

    /// Boots, and runs test `name` of this very test binary in the guest.
    ///
    /// # Panics
    /// If the test fails there; with what it printed and the console.
    pub fn run_test(&self, init: &Path, name: &str) {
        if let Some(missing) = self.missing() {
            assert!(
                std::env::var_os("BARTIZAN_ALLOW_SKIP").is_some(),
                "{name} cannot run without {missing}"
            );
            println!("SKIPPED {name}: no {missing}");
            return;
        }
        let binary = std::env::current_exe().expect("the path of this test binary");
        let arguments = ["--exact", name, "--include-ignored", "--nocapture"];
        let outcome = self.spawn(init, &binary, &arguments).wait();
        println!("{}", outcome.log);
        println!("guest: {:?} on the host's clock", outcome.wall);
        assert!(
            outcome.code == Some(0),
            "{name} in the guest ended with {:?}; its console:\n{}",
            outcome.code,
            outcome.console
        );
        // A name that matches no test succeeds too.
        assert!(
            outcome.log.contains("test result: ok. 1 passed"),
            "{name} did not run in the guest"
        );
    }

    fn missing(&self) -> Option<String> {
        if !Path::new(SETPRIV).exists() {
            return Some(format!("{SETPRIV}: apt-get install util-linux"));
        }
        match self.kernel {
            Kernel::Uml => uml_kernel().err(),
            Kernel::Vm => vm::missing(),
        }
    }

    fn command(&self, init: &Path, folder: &Path) -> Command {
        // setpriv: a test process that is killed takes its guest with it.
        let mut command = Command::new(SETPRIV);
        command.args(["--pdeathsig", "KILL", "--"]);
        if let Some(namespace) = &self.namespace {
            command.args(["nsenter", namespace, "--"]);
        }
        match self.kernel {
            Kernel::Uml => {
                command
                    .arg(uml_kernel().unwrap_or_else(|missing| panic!("no {missing}")))
                    .args(["rootfstype=hostfs", "rootflags=/", "root=none", "ro"])
                    .args(["con=null", "con0=null,fd:1", "quiet", "panic=-1"])
                    .arg("random.trust_bootloader=on")
                    .arg(format!("mem={}M", self.memory_mib))
                    .arg(format!("init={}", init.display()))
                    .arg(format!("uml_dir={}/", folder.display()))
                    .arg("umid=uml")
                    .arg(format!("bartizan.folder={}", folder.display()));
                if self.clock == Clock::Virtual {
                    command.arg("time-travel=inf-cpu");
                }
            }
            Kernel::Vm => {
                vm::append(&mut command, init, folder, self.memory_mib);
                command.args(&self.devices);
            }
        }
        command
    }
}

impl Booted {
    /// The folder that the guest sees as [`OUTPUT`](super::guest::OUTPUT).
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Waits for the guest's end, and kills it at the limit.
    pub fn wait(mut self) -> Outcome {
        let ended = self.running.wait(self.limit).is_some();
        let wall = self.started.elapsed();
        let text = |name: &str| {
            let bytes = fs::read(self.folder.join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let mut console = text("console");
        if !ended {
            writeln!(console, "\nkilled: not done within {:?}", self.limit)
                .expect("write to memory");
        }
        Outcome {
            code: text(CODE).trim().parse().ok().filter(|_| ended),
            log: text(LOG),
            console,
            wall,
        }
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        // The guest still writes there until it is dead.
        self.running.kill();
        if let Err(cause) = fs::remove_dir_all(&self.folder) {
            eprintln!("cannot remove {}: {cause}", self.folder.display());
        }
    }
}

/// Makes an empty folder of this process's own; the caller removes it.
pub fn scratch_folder() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("bartizan-{}-{number}", std::process::id()));
    fs::create_dir_all(&folder)
        .unwrap_or_else(|cause| panic!("cannot make {}: {cause}", folder.display()));
    folder
}

/// The cached test kernel, or what is missing.
fn uml_kernel() -> Result<PathBuf, String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/uml/build-kernel");
    let output = Command::new(script)
        .arg("--cached")
        .output()
        .map_err(|cause| format!("{script}: {cause}"))?;
    if output.status.success() {
        Ok(PathBuf::from(
            String::from_utf8_lossy(&output.stdout).trim(),
        ))
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}
