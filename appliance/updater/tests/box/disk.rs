//! Updates of a disk in a file, and what goes wrong with it.

use std::fs::{self, File};

use bartizan_slots::trial::{self, Event, State};
use bartizan_slots::update::{Update, UpdateError};
use bartizan_slots::{Disk as _, Slots};
use bartizan_updater::{BoxDisk, DiskError};

use crate::fixture::{PLACES, Place, SECTOR, SECTORS, release};

#[test]
fn an_update_that_stopped_goes_on_and_is_blessed_on_a_disk_of_the_kernel() {
    let place = Place::new("whole");
    let (one, two) = (release(1), release(2));
    let mut disk = place.disk(&one);
    let bytes = two.bytes();
    let cut = two.root.len() + 5000;
    let mut update = Update::begin(&mut disk, two.manifest(), &one.running()).unwrap();
    for piece in bytes[..cut].chunks(32 * 1024) {
        update.take(&mut disk, piece).unwrap();
    }
    drop((update, disk));

    // Another process goes on: the root had come whole, the hash tree had not.
    let mut disk = place.reopened();
    let received = u64::try_from(cut).unwrap();
    let mut update = Update::resume(&mut disk, two.manifest(), &one.running(), received).unwrap();
    let from = usize::try_from(update.received()).unwrap();
    assert_eq!(from, two.root.len());
    for piece in bytes[from..].chunks(32 * 1024) {
        update.take(&mut disk, piece).unwrap();
    }
    update.finish(&mut disk).unwrap();

    assert!(place.slot(0, one.root.len()) == one.root);
    assert!(place.slot(1, one.tree.len()) == one.tree);
    assert!(place.slot(2, two.root.len()) == two.root);
    assert!(place.slot(3, two.tree.len()) == two.tree);
    assert!(fs::read(place.entries().join("bartizan_2+3.efi")).unwrap() == two.kernel);
    assert!(fs::read(place.entries().join("bartizan_1.efi")).unwrap() == one.kernel);
    for running in [&one, &two] {
        Slots::open(&mut disk, &running.root_hash()).unwrap();
    }

    // The boot loader has tried it.
    let entry = |name: &str| place.entries().join(name);
    fs::rename(entry("bartizan_2+3.efi"), entry("bartizan_2+2-1.efi")).unwrap();
    let version = two.version();
    assert_eq!(trial::standing(&mut disk, &version), Ok(State::OnTrial));
    assert_eq!(trial::bless(&mut disk, &version), Ok(Event::Blessed));
    assert_eq!(trial::standing(&mut disk, &version), Ok(State::Blessed));
    assert!(entry("bartizan_2.efi").exists() && !entry("bartizan_2+2-1.efi").exists());
}

#[test]
fn a_disk_that_ends_under_an_update_leaves_the_running_version() {
    let place = Place::new("short");
    let (one, two) = (release(1), release(2));
    let mut disk = place.disk(&one);
    let mut update = Update::begin(&mut disk, two.manifest(), &one.running()).unwrap();
    update.take(&mut disk, &two.bytes()).unwrap();
    let image = File::options().write(true).open(place.image()).unwrap();
    image.set_len((PLACES[2].0 + 10) * SECTOR).unwrap();
    let error = update.finish(&mut disk).unwrap_err();
    assert!(
        matches!(error, UpdateError::Disk(_, DiskError::Short)),
        "{error:?}"
    );
    assert!(place.slot(0, one.root.len()) == one.root);
    assert!(fs::read(place.entries().join("bartizan_1.efi")).unwrap() == one.kernel);
    // Without its head the boot loader sees no image in it.
    let untried = fs::read(place.entries().join("bartizan_2+3.efi")).unwrap();
    assert!(untried[..512].iter().all(|byte| *byte == 0));
}

#[test]
fn bytes_are_read_from_and_written_to_where_they_belong() {
    let place = Place::new("places");
    let mut disk = place.disk(&release(1));
    let noise: Vec<u8> = (0..200_000_u32)
        .map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1])
        .collect();
    disk.write(PLACES[2].0 * SECTOR + 7, &noise).unwrap();
    disk.flush().unwrap();
    for (from, len) in [
        (0, 1),
        (1, 511),
        (505, 4096),
        (4090, 70_000),
        (65_529, 100_000),
    ] {
        let mut read = vec![0; len];
        let offset = u64::try_from(from).unwrap();
        disk.read(PLACES[2].0 * SECTOR + 7 + offset, &mut read)
            .unwrap();
        assert!(read == noise[from..from + len], "{from} {len}");
    }
    let end = SECTORS * SECTOR;
    assert_eq!(disk.write(end - 1, &[1, 2]), Err(DiskError::PastEnd));
    assert_eq!(disk.read(end - 1, &mut [0; 2]), Err(DiskError::Short));

    disk.create("new", 5000).unwrap();
    assert_eq!(fs::read(place.entries().join("new")).unwrap(), [0; 5000]);
    assert_eq!(
        disk.write_file("new", 4999, &[1, 2]),
        Err(DiskError::PastEnd)
    );
    disk.write_file("new", 4998, &[1, 2]).unwrap();
    disk.flush_files().unwrap();
    let mut tail = [9; 3];
    disk.read_file("new", 4997, &mut tail).unwrap();
    assert_eq!(tail, [0, 1, 2]);
    assert!(disk.create("new", 1).is_err());
    assert!(disk.rename("new", "bartizan_1.efi").is_err());
    disk.remove("new").unwrap();
    assert_eq!(disk.names().unwrap(), ["bartizan_1.efi"]);
}

#[test]
fn what_is_no_disk_or_leads_elsewhere_is_refused() {
    let place = Place::new("refused");
    let mut disk = place.disk(&release(1));
    let opened = BoxDisk::open(&place.image(), &place.entries());
    assert_eq!(opened.err(), Some(DiskError::NotADisk));
    let opened = BoxDisk::with_sectors(&place.image(), &place.entries(), 1024);
    assert_eq!(opened.err(), Some(DiskError::SectorSize(1024)));

    let outside = place.0.join("outside");
    fs::write(&outside, [5; 600]).unwrap();
    std::os::unix::fs::symlink(&outside, place.entries().join("link")).unwrap();
    assert!(disk.write_file("link", 0, &[1]).is_err());
    assert!(disk.read_file("link", 0, &mut [0]).is_err());
    assert_eq!(fs::read(outside).unwrap(), [5; 600]);
}
