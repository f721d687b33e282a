//! What is asked of the kernel before there is a root.

use std::{fs, io::Write as _, path::Path};

use rustix::{
    fs::{Mode, OFlags, open},
    io::Errno,
    mount::{MountFlags, mount},
    system::{RebootCommand, finit_module, reboot},
};

use crate::Fault;

/// The modules' paths, one a line, each after those that it needs.
const ORDER: &str = "/modules.order";

/// Mounts the kernel's file systems: where, of what kind, how.
pub(crate) fn mount_interfaces() -> Result<(), Fault> {
    let closed = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    for (kind, path, flags, data) in [
        ("proc", "/proc", closed, c""),
        ("sysfs", "/sys", closed, c""),
        ("devtmpfs", "/dev", MountFlags::NOSUID, c"mode=0755"),
        (
            "tmpfs",
            "/run",
            MountFlags::NOSUID | MountFlags::NODEV,
            c"mode=0755",
        ),
        ("securityfs", "/sys/kernel/security", closed, c""),
    ] {
        mount(kind, path, kind, flags, data).map_err(|cause| Fault::Path {
            what: "mount",
            path: path.to_owned(),
            cause,
        })?;
    }
    Ok(())
}

/// Loads what the image lists for the way to the root.
pub(crate) fn load_modules() -> Result<(), Fault> {
    let order = fs::read_to_string(ORDER).map_err(|cause| Fault::Io {
        what: "read the list of modules",
        cause,
    })?;
    for module in order.lines() {
        let fault = |cause| Fault::Path {
            what: "load",
            path: module.to_owned(),
            cause,
        };
        let file = open(module, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(fault)?;
        match finit_module(file, c"", 0) {
            // A module for a processor's extension that this one lacks: its plain twin is in the list.
            Ok(()) | Err(Errno::EXIST | Errno::NODEV) => {}
            Err(cause) => return Err(fault(cause)),
        }
    }
    Ok(())
}

/// Writes a line to the kernel's log, and so to the console.
pub(crate) fn say(line: &str) {
    if let Ok(mut log) = fs::File::options().write(true).open("/dev/kmsg") {
        // There is nowhere else to complain.
        let _written = writeln!(log, "<3>bartizan: {line}");
    }
}

/// Ends this boot. If even that is refused, PID 1 ends and the kernel panics, which ends it too.
pub(crate) fn restart() -> std::process::ExitCode {
    if Path::new("/proc/sysrq-trigger").exists() {
        rustix::fs::sync();
    }
    let _refused = reboot(RebootCommand::Restart);
    std::process::ExitCode::FAILURE
}
