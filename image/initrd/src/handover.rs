//! What the boot measured, left for those who come after.
//!
//! The tpm role reads no file of root's: it gets copies of the firmware's log and of the boot stub's signature, and
//! systemd's own programs find the signature where they look for it. None of it is secret.

use std::{fs, io, path::Path};

use rustix::fs::Mode;

use crate::Fault;

/// Where the boot stub puts what it takes from the image; what is missing was not in it.
const EXTRA: &str = "/.extra";

/// Which file becomes which.
const COPIES: [(&str, &str); 5] = [
    (
        "/sys/kernel/security/tpm0/binary_bios_measurements",
        "/run/bartizan-measured/firmware.log",
    ),
    (
        "/.extra/tpm2-pcr-signature.json",
        "/run/bartizan-measured/pcr-signature.json",
    ),
    (
        "/.extra/tpm2-pcr-public-key.pem",
        "/run/bartizan-measured/pcr-public-key.pem",
    ),
    (
        "/.extra/tpm2-pcr-signature.json",
        "/run/systemd/tpm2-pcr-signature.json",
    ),
    (
        "/.extra/tpm2-pcr-public-key.pem",
        "/run/systemd/tpm2-pcr-public-key.pem",
    ),
];

/// Copies them. A boot without a signature goes on: var and the owner's keys stay closed to it.
pub(crate) fn leave_measurements() -> Result<(), Fault> {
    rustix::process::umask(Mode::from_raw_mode(0o022));
    for (from, to) in COPIES {
        if from.starts_with(EXTRA) && !Path::new(from).exists() {
            continue;
        }
        copy(Path::new(from), Path::new(to)).map_err(|cause| Fault::Io {
            what: "leave what was measured",
            cause,
        })?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    // The size of a kernel's log is not told, so it is read and not copied.
    fs::write(to, fs::read(from)?)
}
