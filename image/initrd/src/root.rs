//! The root: dm-verity over the slot, then the step into it.

use std::{os::unix::process::CommandExt as _, process::Command};

use rustix::{
    mount::{MountFlags, mount, mount_move},
    process::{chdir, chroot},
};

use crate::{Fault, command_line::RootHash, slot::Slot};

const TARGET: &str = "/sysroot";

/// Sets dm-verity up and mounts what it gives. The first wrong block that is read stops the kernel.
pub(crate) fn open(slot: &Slot, root_hash: &RootHash) -> Result<(), Fault> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the ioctls of the device mapper have no safe call; its own tool has them"
    )]
    let status = Command::new("/usr/sbin/veritysetup")
        .env("DM_DISABLE_UDEV", "1")
        .args(["open", "--panic-on-corruption"])
        .arg(&slot.data)
        .arg("root")
        .arg(&slot.tree)
        .arg(root_hash.digits())
        .status()
        .map_err(|cause| Fault::Io {
            what: "run veritysetup",
            cause,
        })?;
    if !status.success() {
        return Err(Fault::Verity);
    }
    let flags = MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOSUID;
    path(
        "mount",
        TARGET,
        mount("/dev/mapper/root", TARGET, "erofs", flags, c""),
    )
}

/// Goes over to the root's own PID 1. What the initrd was unpacked to stays in memory, out of reach: a few megabytes.
pub(crate) fn enter() -> Result<core::convert::Infallible, Fault> {
    for interface in ["/dev", "/proc", "/sys", "/run"] {
        let target = format!("{TARGET}{interface}");
        path("move", interface, mount_move(interface, &target))?;
    }
    path("enter", TARGET, chdir(TARGET))?;
    path("move", TARGET, mount_move(".", "/"))?;
    path("stay in", TARGET, chroot("."))?;
    path("enter", "/", chdir("/"))?;
    #[expect(
        clippy::disallowed_methods,
        reason = "PID 1 hands over to PID 1 of the root"
    )]
    let cause = Command::new("/usr/lib/systemd/systemd").exec();
    Err(Fault::Io {
        what: "run the root's PID 1",
        cause,
    })
}

fn path(what: &'static str, path: &str, result: rustix::io::Result<()>) -> Result<(), Fault> {
    result.map_err(|cause| Fault::Path {
        what,
        path: path.to_owned(),
        cause,
    })
}
