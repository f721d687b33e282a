//! The guest's side: PID 1, and how a test knows that it runs under it.

use std::{
    collections::BTreeMap,
    ffi::CString,
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

use rustix::{
    fs::sync,
    mount::{MountFlags, mount, mount_bind},
    process::{Pid, WaitOptions, wait},
    system::{RebootCommand, reboot},
};

use super::{
    boot::{CODE, LOG, ORDER, Order},
    vm,
};

/// Where a guest's output folder is mounted.
pub const OUTPUT: &str = "/run/output";

/// The binaries of the build in the guest, reachable for every uid.
const BINARIES: &str = "/run/bin";

/// The word of the kernel's command line that every guest has and no host.
const MARK: &str = "bartizan.folder=";

/// What a shell would have set.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Whether this is a guest that [`Boot`](super::boot::Boot) started.
pub fn is_guest() -> bool {
    marked_folder().is_some()
}

/// Where the binaries of the build are: in a guest a folder that every uid can reach.
///
/// # Panics
/// If the present program is not one of the build.
pub fn binaries() -> PathBuf {
    if is_guest() {
        return PathBuf::from(BINARIES);
    }
    build_folder(&std::env::current_exe().expect("the path of this program"))
}

/// Boots a kernel and runs the calling test again in it; there, and only there, the body is run.
///
/// ```ignore
/// #[test]
/// fn packets_pass() {
///     in_guest!(Boot::uml(), || { /* PID 1's only work */ });
/// }
/// ```
#[macro_export]
macro_rules! in_guest {
    ($boot:expr, $body:expr) => {{
        fn here() {}
        if $crate::testbed::guest::is_guest() {
            ($body)();
        } else {
            let init = ::std::path::Path::new(env!("CARGO_BIN_EXE_guest-init"));
            $boot.run_test(init, $crate::testbed::guest::test_name(&here));
        }
    }};
}

/// The name by which libtest knows the test in which `here` was written.
///
/// # Panics
/// If `here` is not inside a function of a crate.
pub fn test_name<F>(_here: &F) -> &'static str {
    let path = std::any::type_name::<F>();
    let (_crate, inside) = path.split_once("::").expect("a path with a crate");
    inside
        .strip_suffix("::here")
        .expect("a function named here")
}

/// The life of PID 1: mounts, runs the order, leaves the exit code, powers off.
///
/// # Panics
/// If this is not PID 1 of a guest, or a mount fails: the kernel then panics and the host sees no exit code.
pub fn init() -> ! {
    assert!(
        std::process::id() == 1,
        "guest-init runs as PID 1 of a guest only"
    );
    if vm::in_initramfs() {
        vm::enter_root();
    }
    mount_all();
    let order = fs::read(Path::new(OUTPUT).join(ORDER)).expect("read the order");
    let order: Order = serde_json::from_slice(&order).expect("an order of the host");
    mount_binaries(&order.program);
    let code = run(&order);
    fs::write(Path::new(OUTPUT).join(CODE), code.to_string()).expect("write the exit code");
    sync();
    reboot(RebootCommand::PowerOff).expect("power off");
    unreachable!("the power is off")
}

/// Mounts a share of the host that outlives a QEMU guest.
///
/// # Panics
/// If the guest was not given it.
pub fn mount_share(tag: &str, target: &Path) {
    fs::create_dir_all(target).expect("make a folder in /run");
    vm::mount_9p(tag, &target.display().to_string(), false);
}

fn mount_all() {
    file_system("proc", "/proc", "");
    file_system("sysfs", "/sys", "");
    file_system("devtmpfs", "/dev", "mode=0755");
    file_system("tmpfs", "/run", "mode=0755");
    file_system("tmpfs", "/tmp", "mode=1777");
    fs::create_dir_all("/dev/shm").expect("make /dev/shm");
    file_system("tmpfs", "/dev/shm", "mode=1777");
    for folder in [OUTPUT, BINARIES, "/run/netns", "/run/lock"] {
        fs::create_dir_all(folder).expect("make a folder in /run");
    }
    let folder = marked_folder().expect("a guest's command line names its folder");
    let hostfs_folder = CString::new(folder.as_str()).expect("a path without NUL");
    if folder == vm::OUTPUT_TAG {
        vm::mount_9p(&folder, OUTPUT, false);
        vm::load_gateway_modules();
        file_system("securityfs", "/sys/kernel/security", "");
    } else {
        mount(
            "none",
            OUTPUT,
            "hostfs",
            MountFlags::empty(),
            hostfs_folder.as_c_str(),
        )
        .expect("mount the output folder");
    }
}

fn file_system(kind: &str, target: &str, options: &str) {
    let options = CString::new(options).expect("options without NUL");
    mount(kind, target, kind, MountFlags::empty(), options.as_c_str())
        .unwrap_or_else(|cause| panic!("cannot mount {kind} on {target}: {cause}"));
}

fn mount_binaries(program: &Path) {
    mount_bind(build_folder(program), BINARIES).expect("bind the folder of the build");
}

/// Test binaries lie one folder below the others.
fn build_folder(program: &Path) -> PathBuf {
    let folder = program.parent().expect("a program in a folder");
    if folder.ends_with("deps") {
        folder.parent().expect("deps in a folder").to_owned()
    } else {
        folder.to_owned()
    }
}

/// Runs the program, and reaps what it leaves to PID 1.
#[expect(
    clippy::zombie_processes,
    reason = "PID 1 waits for every process at once"
)]
fn run(order: &Order) -> i32 {
    let log = fs::File::create(Path::new(OUTPUT).join(LOG)).expect("create the log");
    let environment: BTreeMap<&str, &str> = order
        .environment
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .chain([("PATH", PATH), ("HOME", "/tmp"), ("TMPDIR", "/tmp")])
        .collect();
    let child = Command::new(&order.program)
        .args(&order.arguments)
        .env_clear()
        .envs(environment)
        .current_dir("/tmp")
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("share the log"))
        .stderr(log)
        .spawn()
        .unwrap_or_else(|cause| panic!("cannot run {}: {cause}", order.program.display()));
    let program = Pid::from_child(&child);
    loop {
        let (ended, status) = wait(WaitOptions::empty())
            .expect("PID 1 has a child")
            .expect("a wait that blocks");
        if ended == program {
            let status = ExitStatus::from_raw(status.as_raw());
            return status
                .code()
                .unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        }
    }
}

fn marked_folder() -> Option<String> {
    let line = fs::read_to_string("/proc/cmdline").ok()?;
    let word = line
        .split_whitespace()
        .find_map(|word| word.strip_prefix(MARK))?;
    Some(word.to_owned())
}
