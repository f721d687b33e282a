//! What an installer takes, from whom, and what it does where the disk fails.

use std::fs;

use bartizan_manifest::{ManifestError, Part};
use bartizan_slots::update::UpdateError;
use bartizan_slots::{Disk as _, Slots};
use bartizan_updater::{DiskError, InstallError, Installer, Progress};

use crate::faulty::Faulty;
use crate::fixture::{Place, Release, release};
use crate::maker::Maker;

type Installed = Result<(), InstallError<DiskError>>;

fn installer(place: &Place, old: &Release, maker: &Maker) -> Installer<Faulty> {
    let disk = Faulty::new(place.disk(old));
    Installer::new(disk, old.running(), maker.keys()).unwrap()
}

fn install(installer: &mut Installer<Faulty>, signed: &[u8], bytes: &[u8]) -> Installed {
    let Progress { received, .. } = installer.begin(signed, 0)?;
    let mut at = received;
    for piece in bytes.chunks(30_000) {
        at = installer.take(at, piece)?.received;
    }
    installer.place().map(drop)
}

/// The running slot and its entry are what they were, byte by byte.
fn untouched(place: &Place, old: &Release) {
    assert!(place.slot(0, old.root.len()) == old.root);
    assert!(place.slot(1, old.tree.len()) == old.tree);
    let entry = place.entries().join(format!("bartizan_{}.efi", old.number));
    assert!(fs::read(entry).unwrap() == old.kernel);
    Slots::open(&mut place.reopened(), &old.root_hash()).unwrap();
}

#[test]
fn an_update_is_taken_by_pieces_and_each_answer_may_be_lost() {
    let place = Place::new("pieces");
    let (maker, one, two) = (Maker::new(), release(1), release(2));
    let mut installer = installer(&place, &one, &maker);
    let (signed, bytes) = (maker.sign(&two.manifest()), two.bytes());
    let wanted = u64::try_from(bytes.len()).unwrap();
    assert!(matches!(
        installer.take(0, &bytes),
        Err(InstallError::NotBegun)
    ));
    assert!(matches!(installer.place(), Err(InstallError::NotBegun)));

    let begun = installer.begin(&signed, 0).unwrap();
    assert_eq!(
        begun,
        Progress {
            received: 0,
            wanted
        }
    );
    let progress = installer.take(0, &bytes[..1000]).unwrap();
    assert_eq!(progress.received, 1000);
    // The answer was lost: the same again is not taken twice.
    for at in [0, 999, 1001, u64::MAX] {
        assert!(matches!(
            installer.take(at, &bytes[..1000]),
            Err(InstallError::NotNext { received: 1000 })
        ));
    }
    assert_eq!(installer.begin(&signed, 0).unwrap(), progress);
    let other = maker.sign(&release(3).manifest());
    assert!(matches!(
        installer.begin(&other, 0),
        Err(InstallError::Busy)
    ));
    assert!(matches!(
        installer.place(),
        Err(InstallError::Incomplete { received: 1000, .. })
    ));
    installer.take(1000, &bytes[1000..]).unwrap();
    let entry = installer.place().unwrap();
    assert_eq!(entry.to_string(), "bartizan_2+3.efi");
    assert_eq!(installer.place().unwrap(), entry);
    let again = installer.begin(&signed, 0).unwrap();
    assert_eq!((again.received, again.wanted), (wanted, wanted));
    assert_eq!(installer.placed(), Some(&entry));
    assert!(place.slot(2, two.root.len()) == two.root);
    untouched(&place, &one);

    // Its owner thinks again.
    installer.cancel().unwrap();
    assert_eq!(installer.disk().names().unwrap(), ["bartizan_1.efi"]);
    assert_eq!(installer.placed(), None);
    untouched(&place, &one);
}

#[test]
fn an_update_goes_on_in_another_process_with_the_parts_that_came_whole() {
    let place = Place::new("process");
    let (maker, one, two) = (Maker::new(), release(1), release(2));
    let (signed, bytes) = (maker.sign(&two.manifest()), two.bytes());
    let cut = two.root.len() + 3;
    let mut first = installer(&place, &one, &maker);
    first.begin(&signed, 0).unwrap();
    first.take(0, &bytes[..cut]).unwrap();
    drop(first);

    let disk = Faulty::new(place.reopened());
    let mut second = Installer::new(disk, one.running(), maker.keys()).unwrap();
    let received = u64::try_from(cut).unwrap();
    let begun = second.begin(&signed, received).unwrap();
    let from = usize::try_from(begun.received).unwrap();
    assert_eq!(from, two.root.len());
    second.take(begun.received, &bytes[from..]).unwrap();
    second.place().unwrap();
    untouched(&place, &one);
}

#[test]
fn what_its_maker_did_not_sign_or_a_rule_is_against_is_refused_before_a_byte_is_written() {
    let place = Place::new("unsigned");
    let (maker, stranger) = (Maker::new(), Maker::new());
    let (one, two) = (release(1), release(2));
    let mut installer = installer(&place, &one, &maker);
    let before = fs::read(place.image()).unwrap();
    let signed = maker.sign(&two.manifest());
    let mut tampered = signed.clone();
    tampered[60] ^= 1;
    for wrong in [
        stranger.sign(&two.manifest()),
        maker.sign_with(&stranger, &two.manifest()),
        stranger.sign_with(&maker, &two.manifest()),
        signed[..signed.len() - 1].to_vec(),
        tampered,
        Vec::new(),
    ] {
        let refused = installer.begin(&wrong, 0).unwrap_err();
        assert!(matches!(refused, InstallError::Manifest(_)), "{refused:?}");
    }
    let mut of_closed_epoch = two.manifest();
    of_closed_epoch.rollback_epoch = 0;
    let mut for_other_machine = two.manifest();
    for_other_machine.machine = "other".to_owned();
    for against in [of_closed_epoch, for_other_machine, one.manifest()] {
        let refused = installer.begin(&maker.sign(&against), 0).unwrap_err();
        assert!(
            matches!(refused, InstallError::Update(UpdateError::Refused(_))),
            "{refused:?}"
        );
    }
    let mut huge = two.manifest();
    huge.parts.root.size = 4096 * 4096;
    assert!(matches!(
        installer.begin(&maker.sign(&huge), 0),
        Err(InstallError::Update(UpdateError::NoRoom(Part::Root)))
    ));
    assert!(matches!(
        installer.begin(&vec![0; 9000], 0),
        Err(InstallError::Manifest(ManifestError::TooLong))
    ));
    assert_eq!(installer.disk().writes, 0);
    assert!(!installer.idle_is_bad());
    assert!(fs::read(place.image()).unwrap() == before);
}

#[test]
fn a_changed_byte_ends_the_update_and_is_not_the_disks_fault() {
    let place = Place::new("changed");
    let (maker, one, two) = (Maker::new(), release(1), release(2));
    let mut installer = installer(&place, &one, &maker);
    let signed = maker.sign(&two.manifest());
    let kernel = two.root.len() + two.tree.len();
    for (at, part) in [
        (7, Part::Root),
        (two.root.len(), Part::Verity),
        (kernel + 100, Part::Uki),
        (kernel + 100_000, Part::Uki),
    ] {
        let mut bytes = two.bytes();
        bytes[at] ^= 0x40;
        let ended = install(&mut installer, &signed, &bytes).unwrap_err();
        let InstallError::Update(UpdateError::Hash(found)) = ended else {
            panic!("{ended:?}");
        };
        assert_eq!(found, part);
        assert!(!installer.idle_is_bad());
        assert_eq!(installer.progress(), None);
        untouched(&place, &one);
    }
    let longer = [two.bytes().as_slice(), &[0]].concat();
    assert!(matches!(
        install(&mut installer, &signed, &longer),
        Err(InstallError::Update(UpdateError::TooLong))
    ));
    install(&mut installer, &signed, &two.bytes()).unwrap();
    untouched(&place, &one);
}

#[test]
fn a_disk_that_fails_anywhere_leaves_what_runs_and_a_slot_that_is_marked() {
    let (maker, one, two) = (Maker::new(), release(1), release(2));
    let (signed, bytes) = (maker.sign(&two.manifest()), two.bytes());
    for error in [DiskError::Full, DiskError::Faulty, DiskError::Gone] {
        let mut failures = 0;
        for from in 0.. {
            let place = Place::new("fails");
            let mut installer = installer(&place, &one, &maker);
            installer.disk().fault = Some((from, error));
            let Err(failed) = install(&mut installer, &signed, &bytes) else {
                break;
            };
            // It goes on failing, so it cannot be marked; whoever asks hears it.
            assert!(matches!(failed, InstallError::Unmarked(_)), "{failed:?}");
            assert!(installer.idle_is_bad());
            untouched(&place, &one);
            // What works again takes the next update.
            installer.disk().fault = None;
            install(&mut installer, &signed, &bytes).unwrap();
            assert!(!installer.idle_is_bad());
            untouched(&place, &one);
            failures += 1;
        }
        assert!(failures > 20, "{failures}");
    }
}

#[test]
fn a_slot_that_does_not_hold_what_was_written_is_marked_on_the_disk() {
    let place = Place::new("marked");
    let (maker, one, two) = (Maker::new(), release(1), release(2));
    let mut first = installer(&place, &one, &maker);
    let signed = maker.sign(&two.manifest());
    first.begin(&signed, 0).unwrap();
    first.take(0, &two.bytes()).unwrap();
    // A sector of the idle slot loses what it was given.
    let idle = crate::fixture::PLACES[2].0 * crate::fixture::SECTOR;
    first.disk().disk.write(idle + 5 * 512, &[0; 512]).unwrap();
    assert!(matches!(
        first.place(),
        Err(InstallError::BadSlot(UpdateError::ReadBack(Part::Root)))
    ));
    assert_eq!(first.disk().names().unwrap(), ["bartizan_1.efi"]);
    untouched(&place, &one);
    drop(first);

    let disk = Faulty::new(place.reopened());
    let mut second = Installer::new(disk, one.running(), maker.keys()).unwrap();
    assert!(second.idle_is_bad());
    install(&mut second, &signed, &two.bytes()).unwrap();
    assert!(!second.idle_is_bad());
    let slots = Slots::open(&mut place.reopened(), &one.root_hash()).unwrap();
    assert!(!slots.idle_is_bad());
}
