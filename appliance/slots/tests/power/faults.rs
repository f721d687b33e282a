//! What does not work while power stays: the running version is as it was, and the reason is said.

use bartizan_manifest::Part;
use bartizan_slots::update::{self, Update, UpdateError};
use bartizan_slots::{Disk as _, SlotError, Slots};

use crate::disk::{Broken, Fault, LoggedDisk};
use crate::firmware::boots;
use crate::fixture::{PLACES, Release, disk, release};

fn try_update(
    disk: &mut LoggedDisk,
    old: &Release,
    new: &Release,
    bytes: &[u8],
) -> Result<(), UpdateError<Broken>> {
    let mut update = Update::begin(disk, new.manifest(), &old.running())?;
    for piece in bytes.chunks(777) {
        update.take(disk, piece)?;
    }
    update.finish(disk).map(|_| ())
}

fn releases() -> [Release; 2] {
    [release(1), release(2)]
}

fn still_boots(disk: &LoggedDisk, old: &Release) {
    let known = [release(0), release(1), release(2)];
    assert_eq!(boots(&disk.seen, &known, false).unwrap().0, old);
}

#[test]
fn a_write_that_fails_anywhere_leaves_the_running_version() {
    let [old, new] = releases();
    let mut failures = 0;
    for writes in 0.. {
        let mut disk = disk(
            (&old, "bartizan_1.efi"),
            Some((&release(0), "bartizan_0.efi")),
        );
        disk.fault.writes_left = Some(writes);
        let result = try_update(&mut disk, &old, &new, &new.bytes());
        if result.is_ok() {
            break;
        }
        assert!(matches!(
            result,
            Err(UpdateError::Disk(_, Broken("write error"))
                | UpdateError::Slots(SlotError::Disk(_, Broken("write error"))))
        ));
        still_boots(&disk, &old);
        // The disk is mended, and the next update is whole.
        disk.fault = Fault::default();
        try_update(&mut disk, &old, &new, &new.bytes()).unwrap();
        failures += 1;
    }
    assert!(failures > 20);
}

#[test]
fn a_bad_slot_is_marked_until_an_update_is_placed_there() {
    let [old, new] = releases();
    let mut disk = disk((&old, "bartizan_1.efi"), None);
    disk.fault.liar = usize::try_from(PLACES[2].0 + 3).ok();
    assert!(try_update(&mut disk, &old, &new, &new.bytes()).is_err());
    disk.fault = Fault::default();
    let mut failures = 0;
    for writes in 0.. {
        // It is marked again and again, a write further each time.
        disk.fault.writes_left = Some(writes);
        let marked = update::condemn(&mut disk, &old.running());
        still_boots(&disk, &old);
        if marked.is_ok() {
            break;
        }
        failures += 1;
    }
    assert!(failures > 2);
    disk.fault = Fault::default();
    let slots = Slots::open(&mut disk, &old.running().root_hash).unwrap();
    assert!(slots.idle_is_bad());
    assert_eq!(disk.names().unwrap(), ["bartizan_1.efi"]);
    try_update(&mut disk, &old, &new, &new.bytes()).unwrap();
    let slots = Slots::open(&mut disk, &old.running().root_hash).unwrap();
    assert!(!slots.idle_is_bad());
}

#[test]
fn what_a_version_on_trial_would_go_back_to_is_not_taken_away() {
    let [old, new] = releases();
    let mut disk = disk((&new, "bartizan_2+2-1.efi"), Some((&old, "bartizan_1.efi")));
    for refused in [
        update::withdraw(&mut disk, &new.running()),
        update::condemn(&mut disk, &new.running()),
    ] {
        assert!(matches!(refused, Err(UpdateError::NotBlessed)));
    }
    assert!(disk.log.is_empty());
}

#[test]
fn what_the_medium_does_not_hold_is_noticed() {
    let [old, new] = releases();
    for (place, part) in [(2, Part::Root), (3, Part::Verity)] {
        let mut disk = disk((&old, "bartizan_1.efi"), None);
        disk.fault.liar = usize::try_from(PLACES[place].0 + 3).ok();
        let result = try_update(&mut disk, &old, &new, &new.bytes());
        assert!(matches!(result, Err(UpdateError::ReadBack(found)) if found == part));
        still_boots(&disk, &old);
    }
}

#[test]
fn a_full_system_partition_is_said() {
    let [old, new] = releases();
    let mut disk = disk((&old, "bartizan_1.efi"), None);
    disk.fault.room = Some(1299);
    let result = try_update(&mut disk, &old, &new, &new.bytes());
    assert!(matches!(
        result,
        Err(UpdateError::Disk(_, Broken("disk full")))
    ));
    still_boots(&disk, &old);
}

#[test]
fn bytes_that_were_not_signed_do_not_boot() {
    let [old, new] = releases();
    let good = new.bytes();
    for (at, part) in [
        (0, Part::Root),
        (3 * 4096 - 1, Part::Root),
        (3 * 4096, Part::Verity),
        (4 * 4096, Part::Uki),
        (good.len() - 1, Part::Uki),
    ] {
        let mut disk = disk((&old, "bartizan_1.efi"), None);
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        let result = try_update(&mut disk, &old, &new, &bytes);
        assert!(matches!(result, Err(UpdateError::Hash(found)) if found == part));
        still_boots(&disk, &old);
    }
    let mut disk = disk((&old, "bartizan_1.efi"), None);
    let cut = try_update(&mut disk, &old, &new, &good[..good.len() - 1]);
    assert!(matches!(cut, Err(UpdateError::Incomplete)));
    still_boots(&disk, &old);
    let longer = [good.as_slice(), &[0]].concat();
    let longer = try_update(&mut disk, &old, &new, &longer);
    assert!(matches!(longer, Err(UpdateError::TooLong)));
    still_boots(&disk, &old);
}

#[test]
fn what_can_be_known_beforehand_is_refused_before_a_byte_is_written() {
    let [old, new] = releases();
    let refused = |name: &str, change: fn(&mut Release), floor: u64| {
        let mut disk = disk((&old, name), Some((&release(0), "bartizan_0.efi")));
        let mut new = new.clone();
        change(&mut new);
        let mut running = old.running();
        running.rollback_floor = floor;
        let error = Update::begin(&mut disk, new.manifest(), &running).unwrap_err();
        assert!(disk.log.is_empty(), "{error}");
        error
    };
    let same = |_: &mut Release| {};
    assert!(matches!(
        refused("bartizan_1.efi", same, 2),
        UpdateError::Refused(_)
    ));
    assert!(matches!(
        refused("bartizan_1+2-1.efi", same, 1),
        UpdateError::NotBlessed
    ));
    let large = |release: &mut Release| release.root = vec![0; 5 * 4096];
    assert!(matches!(
        refused("bartizan_1.efi", large, 1),
        UpdateError::NoRoom(Part::Root)
    ));
    let large = |release: &mut Release| release.tree = vec![0; 3 * 4096];
    assert!(matches!(
        refused("bartizan_1.efi", large, 1),
        UpdateError::NoRoom(Part::Verity)
    ));
}

#[test]
fn an_update_goes_on_with_the_part_that_had_not_come_whole() {
    let [old, new] = releases();
    let bytes = new.bytes();
    for (stopped, resumed) in [(5000, 0), (3 * 4096, 3 * 4096), (4 * 4096 + 100, 4 * 4096)] {
        let mut disk = disk((&old, "bartizan_1.efi"), None);
        let mut update = Update::begin(&mut disk, new.manifest(), &old.running()).unwrap();
        update.take(&mut disk, &bytes[..stopped]).unwrap();
        let came = update.received();
        drop(update);
        let mut update = Update::resume(&mut disk, new.manifest(), &old.running(), came).unwrap();
        assert_eq!(update.received(), u64::try_from(resumed).unwrap());
        update.take(&mut disk, &bytes[resumed..]).unwrap();
        update.finish(&mut disk).unwrap();
        assert_eq!(boots(&disk.seen, &releases(), false).unwrap().0, &new);
    }
    // Who says that more came than the medium holds begins anew.
    let mut disk = disk((&old, "bartizan_1.efi"), None);
    let update = Update::resume(&mut disk, new.manifest(), &old.running(), u64::MAX).unwrap();
    assert_eq!(update.received(), 0);
}

#[test]
fn slots_are_told_by_the_root_hash_that_runs() {
    let [old, new] = releases();
    let open = |a: &Release, b: Option<&Release>, running: &Release| {
        let b = b.map(|b| (b, "bartizan_9.efi"));
        let mut disk = disk((a, "bartizan_1.efi"), b);
        let slots = Slots::open(&mut disk, &running.root_hash())?;
        Ok::<_, SlotError<Broken>>(slots.running_places()[0].0 / 512)
    };
    assert_eq!(open(&old, Some(&new), &old).unwrap(), PLACES[0].0);
    assert_eq!(open(&old, Some(&new), &new).unwrap(), PLACES[2].0);
    assert!(matches!(open(&old, None, &new), Err(SlotError::Running)));
    assert!(matches!(
        open(&old, Some(&old), &old),
        Err(SlotError::Running)
    ));
}

#[test]
fn a_damaged_copy_of_the_table_is_mended_from_the_other() {
    let [old, new] = releases();
    let whole = disk((&old, "bartizan_1.efi"), Some((&new, "bartizan_2.efi")));
    let last = whole.seen.sectors.len() - 1;
    for damaged in [1, 2, last, last - 1, last - 32] {
        let mut disk = LoggedDisk::new(whole.seen.clone());
        disk.seen.sectors[damaged][20] ^= 1;
        Slots::open(&mut disk, &old.root_hash()).unwrap();
        assert_eq!(disk.seen.sectors, whole.seen.sectors);
    }
    let mut disk = LoggedDisk::new(whole.seen.clone());
    disk.seen.sectors[1][20] ^= 1;
    disk.seen.sectors[last][20] ^= 1;
    assert!(matches!(
        Slots::open(&mut disk, &old.root_hash()),
        Err(SlotError::NoTable(_))
    ));
    assert!(disk.log.is_empty());
    disk.flush().unwrap();
}
