//! The updater role: `bartizan-updater DISK FOLDER OS-RELEASE`.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bartizan_manifest::Version;
use bartizan_model::message::Role;
use bartizan_process::{Exit, Fault, Folders, run_in};
use bartizan_updater::{BoxDisk, Prepared, work};

fn main() -> ExitCode {
    run_in(Role::Updater, prepare, work)
}

fn prepare() -> Result<(Prepared<BoxDisk>, Folders), Fault> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [disk, folder, os_release] = arguments.as_slice() else {
        let usage = "usage: bartizan-updater DISK FOLDER OS-RELEASE";
        return Err(Fault::new(Exit::Usage, usage));
    };
    let version = version(os_release)?;
    let disk = BoxDisk::open(disk, folder)
        .map_err(|error| Fault::because(Exit::IoErr, "cannot open the disk", error))?;
    let folders = Folders {
        read: Vec::new(),
        write: vec![folder.clone()],
    };
    Ok((Prepared { disk, version }, folders))
}

/// The version that runs, as the image says of itself (`os-release(5)`).
fn version(os_release: &Path) -> Result<Version, Fault> {
    let text = std::fs::read_to_string(os_release)
        .map_err(|error| Fault::because(Exit::OsErr, "cannot read os-release", error))?;
    let lines = text.lines();
    let mut versions = lines.filter_map(|line| line.strip_prefix("IMAGE_VERSION="));
    let (Some(version), None) = (versions.next(), versions.next()) else {
        let what = "os-release has not one IMAGE_VERSION";
        return Err(Fault::new(Exit::Config, what));
    };
    Version::try_from(version).map_err(|error| Fault::because(Exit::Config, "IMAGE_VERSION", error))
}
