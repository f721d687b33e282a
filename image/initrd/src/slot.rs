//! The two partitions of the slot that this boot belongs to.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify,
};

use crate::{Fault, command_line::RootHash, gpt};

/// How long disks may take to come; a spinning one behind a slow controller takes ten seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// The devices of a slot.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) data: PathBuf,
    pub(crate) tree: PathBuf,
}

/// Waits until a disk has both partitions.
pub(crate) fn find(root_hash: &RootHash) -> Result<Slot, Fault> {
    // Watched before it is looked at, or a disk could come in between.
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC).map_err(|cause| Fault::Path {
        what: "watch",
        path: "/dev".to_owned(),
        cause,
    })?;
    inotify::add_watch(&watch, "/dev", inotify::WatchFlags::CREATE).map_err(|cause| {
        Fault::Path {
            what: "watch",
            path: "/dev".to_owned(),
            cause,
        }
    })?;
    let wanted = root_hash.partitions();
    loop {
        if let Some(slot) = on_some_disk(wanted) {
            return Ok(slot);
        }
        let timeout = Timespec::try_from(PATIENCE).ok();
        let mut fds = [PollFd::new(&watch, PollFlags::IN)];
        let events = poll(&mut fds, timeout.as_ref()).map_err(|cause| Fault::Path {
            what: "watch",
            path: "/dev".to_owned(),
            cause,
        })?;
        if events == 0 {
            return Err(Fault::Slot(root_hash.digits().to_owned()));
        }
        let mut buffer = [0; 4096];
        rustix::io::read(&watch, &mut buffer).map_err(|cause| Fault::Path {
            what: "watch",
            path: "/dev".to_owned(),
            cause,
        })?;
    }
}

/// A disk that cannot be read, or has no table, is not the one.
fn on_some_disk(wanted: [u128; 2]) -> Option<Slot> {
    let mut disks: Vec<PathBuf> = fs::read_dir("/sys/block")
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|disk| disk.join("device").exists())
        .collect();
    disks.sort();
    disks.iter().find_map(|disk| on_disk(disk, wanted))
}

fn on_disk(disk: &Path, wanted: [u128; 2]) -> Option<Slot> {
    let name = disk.file_name()?;
    let sector = fs::read_to_string(disk.join("queue/logical_block_size")).ok()?;
    let sector = sector.trim().parse().ok()?;
    let mut device = File::open(Path::new("/dev").join(name)).ok()?;
    let table = gpt::partitions(&mut device, sector).ok()?;
    let [data, tree] = wanted.map(|wanted| {
        let (number, _) = table.iter().find(|(_, id)| *id == wanted)?;
        partition(disk, *number)
    });
    Some(Slot {
        data: data?,
        tree: tree?,
    })
}

/// The device of a disk's partition.
fn partition(disk: &Path, number: u32) -> Option<PathBuf> {
    let number = number.to_string();
    let mut folders = fs::read_dir(disk).ok()?.filter_map(Result::ok);
    let folder = folders.find(|folder| {
        fs::read_to_string(folder.path().join("partition"))
            .is_ok_and(|content| content.trim() == number)
    })?;
    Some(Path::new("/dev").join(folder.file_name()))
}
