//! A version's first boots on the box's own disk.

use core::time::Duration;
use std::fs;

use bartizan_model::time::BootTime;
use bartizan_slots::Disk as _;
use bartizan_slots::trial::TRIAL;
use bartizan_updater::{DiskError, Outcome, Trial};

use crate::faulty::Faulty;
use crate::fixture::{Place, Release, release};

/// The new version was tried once; the old one stands under `old`.
fn booted(place: &Place, old: &str) -> (Faulty, Release) {
    let new = release(2);
    let disk = place.disk(&new);
    let entry = |name: &str| place.entries().join(name);
    fs::rename(entry("bartizan_2.efi"), entry("bartizan_2+2-1.efi")).unwrap();
    fs::write(entry(old), b"old").unwrap();
    (Faulty::new(disk), new)
}

const LATE: BootTime = BootTime(TRIAL);

#[test]
fn a_version_is_blessed_once_it_is_healthy_and_only_then_the_floor_may_rise() {
    let place = Place::new("healthy");
    let (mut disk, new) = booted(&place, "bartizan_1.efi");
    let mut trial = Trial::new(&mut disk, new.version()).unwrap();
    assert!(!trial.is_blessed());
    assert_eq!(trial.deadline(), Some(LATE));
    let early = TRIAL.checked_sub(Duration::from_millis(1)).unwrap();
    assert_eq!(trial.at(BootTime(early)), None);

    // The disk does not take the blessing: no floor, and it is tried again.
    disk.fault = Some((0, DiskError::Faulty));
    assert_eq!(trial.healthy(&mut disk), Err(DiskError::Faulty));
    assert!(!trial.is_blessed());
    disk.fault = None;
    let outcome = trial.healthy(&mut disk).unwrap();
    assert_eq!(outcome, Some(Outcome::RaiseFloor));
    assert!(trial.is_blessed());
    assert_eq!(trial.healthy(&mut disk).unwrap(), None);
    assert_eq!((trial.deadline(), trial.at(LATE)), (None, None));
    let names = disk.names().unwrap();
    assert!(names.contains(&"bartizan_2.efi".to_owned()));
    // The next process knows it from the disk.
    let again = Trial::new(&mut disk, new.version()).unwrap();
    assert!(again.is_blessed());
}

#[test]
fn a_version_that_does_not_prove_itself_in_time_is_left() {
    let place = Place::new("overdue");
    let (mut disk, new) = booted(&place, "bartizan_1.efi");
    let mut trial = Trial::new(&mut disk, new.version()).unwrap();
    assert_eq!(trial.at(LATE), Some(Outcome::Restart));
    // It is asked for once, and what comes later does not bless it.
    assert_eq!(trial.at(LATE), None);
    assert_eq!(trial.healthy(&mut disk).unwrap(), None);
    assert!(!trial.is_blessed());
    let names = disk.names().unwrap();
    assert!(names.contains(&"bartizan_2+2-1.efi".to_owned()));
}

#[test]
fn where_there_is_nothing_to_go_back_to_no_time_ends_a_trial() {
    // No other version of ours; one that never proved itself; a recovery entry.
    for (folder, old) in [
        ("alone", "other.efi"),
        ("bad", "bartizan_1+0-3.efi"),
        ("recovery", "bartizan_recovery.efi"),
    ] {
        let place = Place::new(folder);
        let (mut disk, new) = booted(&place, old);
        let mut trial = Trial::new(&mut disk, new.version()).unwrap();
        assert_eq!((trial.deadline(), trial.at(LATE)), (None, None), "{old}");
        let outcome = trial.healthy(&mut disk).unwrap();
        assert_eq!(outcome, Some(Outcome::RaiseFloor));
    }
}
