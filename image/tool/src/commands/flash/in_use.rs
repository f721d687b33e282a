//! Whether a disk or a file is used, as the kernel tells under /proc and /sys; `root` is what they
//! lie below.

use std::fs::{read_dir, read_to_string};
use std::path::{Path, PathBuf};

/// Refuses what is no whole disk, and one that is mounted, swapped to, held by another device (LVM,
/// encryption, RAID), or not to be written.
pub(super) fn check_device(root: &Path, device: &Path) -> Result<(), &'static str> {
    let name = device.file_name().ok_or("not a disk")?;
    let folder = root.join("sys/class/block").join(name);
    let text = |file: &str| read_to_string(folder.join(file)).unwrap_or_default();
    if folder.join("partition").exists() {
        return Err("a partition, and no whole disk");
    }
    if text("dev").trim().is_empty() {
        return Err("the kernel does not know this disk");
    }
    if text("ro").trim() != "0" {
        return Err("it is not to be written");
    }
    let mut parts = vec![(device.to_owned(), folder.clone())];
    for entry in read_dir(&folder).map_err(|_| UNTOLD)? {
        let path = entry.map_err(|_| UNTOLD)?.path();
        if path.join("partition").exists()
            && let Some(name) = path.file_name()
        {
            parts.push((Path::new("/dev").join(name), path));
        }
    }
    let mounts = read_to_string(root.join("proc/self/mountinfo")).map_err(|_| UNTOLD)?;
    let swaps = read_to_string(root.join("proc/swaps")).map_err(|_| UNTOLD)?;
    for (path, folder) in parts {
        let number = read_to_string(folder.join("dev")).map_err(|_| UNTOLD)?;
        if is_mounted(&mounts, &path, Some(number.trim())) {
            return Err("it is mounted: it may be the disk of this system");
        }
        if is_swap(&swaps, &path) {
            return Err("this system swaps to it");
        }
        let mut holders = read_dir(folder.join("holders")).map_err(|_| UNTOLD)?;
        if holders.next().is_some() {
            return Err("another device lies on it");
        }
    }
    Ok(())
}

/// Refuses a file that is a disk of this system already.
pub(super) fn check_file(root: &Path, file: &Path) -> Result<(), &'static str> {
    let swaps = read_to_string(root.join("proc/swaps")).map_err(|_| UNTOLD)?;
    if is_swap(&swaps, file) {
        return Err("this system swaps to it");
    }
    let Ok(disks) = read_dir(root.join("sys/block")) else {
        return Err(UNTOLD);
    };
    for disk in disks {
        let backing = disk.map_err(|_| UNTOLD)?.path().join("loop/backing_file");
        let lies_on = read_to_string(backing).unwrap_or_default();
        if Path::new(lies_on.trim_end_matches('\n')) == file {
            return Err("a disk of this system lies on it");
        }
    }
    Ok(())
}

/// By number, and by name for file systems that have numbers of their own.
fn is_mounted(mounts: &str, device: &Path, number: Option<&str>) -> bool {
    mounts.lines().any(|line| {
        let mut words = line.split(' ');
        let of_disk = words.nth(2);
        let source = line
            .split_once(" - ")
            .and_then(|(_, rest)| rest.split(' ').nth(1));
        of_disk == number || source.map(PathBuf::from).as_deref() == Some(device)
    })
}

fn is_swap(swaps: &str, path: &Path) -> bool {
    let mut lines = swaps.lines().skip(1);
    lines.any(|line| line.split_whitespace().next().map(Path::new) == Some(path))
}

const UNTOLD: &str = "whether it is in use cannot be told";
