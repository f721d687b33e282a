//! Power fails at every place in the log of an update and of a blessing.

#![expect(clippy::arithmetic_side_effects, reason = "counts of a small model")]

use bartizan_manifest::Version;
use bartizan_slots::Disk as _;
use bartizan_slots::boot_entry::{BootEntry, Standing};
use bartizan_slots::trial::{self, Event};
use bartizan_slots::update::Update;

use crate::disk::{Logged, LoggedDisk};
use crate::firmware::boots;
use crate::fixture::{Release, disk, release};
use crate::medium::{Arrives, Change, Medium};

/// How often chance says what of the unflushed arrives, at every place.
const SAMPLES: usize = 6;

/// Chance that is the same in every run (xorshift32).
struct Chance(u32);

impl Chance {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }
}

/// Updates what runs to `to`, or stops where the disk does.
pub(crate) fn update(disk: &mut LoggedDisk, from: &Release, to: &Release) {
    let mut update = Update::begin(disk, to.manifest(), &from.running()).unwrap();
    for piece in to.bytes().chunks(1000) {
        update.take(disk, piece).unwrap();
    }
    update.finish(disk).unwrap();
}

/// How many selections of what was not flushed are looked at.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Look {
    /// None, all, and some by chance.
    Short,
    /// Each one and all but each one, too: whole and mangled.
    Long,
}

/// Every medium that may be left when power fails after `written`, in any order.
fn left_by(before: &Medium, written: &[Logged], luck: &mut Chance, look: Look) -> Vec<Medium> {
    let mut medium = before.clone();
    let mut unflushed: Vec<&Change> = Vec::new();
    for step in written {
        let of_folder = match step {
            Logged::Change(change) => {
                unflushed.push(change);
                continue;
            }
            Logged::FlushDisk => false,
            Logged::FlushFolder => true,
        };
        for change in &unflushed {
            if change.is_of_folder() == of_folder {
                medium.apply(change, Arrives::Whole);
            }
        }
        unflushed.retain(|change| change.is_of_folder() != of_folder);
    }
    let count = unflushed.len();
    let mut selections = vec![vec![Arrives::Not; count], vec![Arrives::Whole; count]];
    let singles = if look == Look::Long { count } else { 0 };
    for at in 0..singles {
        for arrives in [Arrives::Whole, Arrives::Mangled] {
            let mut alone = vec![Arrives::Not; count];
            alone[at] = arrives;
            selections.push(alone);
        }
        for arrives in [Arrives::Not, Arrives::Mangled] {
            let mut others = vec![Arrives::Whole; count];
            others[at] = arrives;
            selections.push(others);
        }
    }
    let by_chance = |_| {
        let arrives = |word: u32| match word % 5 {
            0 | 1 => Arrives::Not,
            2 | 3 => Arrives::Whole,
            _ => Arrives::Mangled,
        };
        (0..count).map(|_| arrives(luck.next())).collect()
    };
    selections.extend((0..SAMPLES).map(by_chance));
    let apply = |selection: Vec<Arrives>| {
        let mut medium = medium.clone();
        for (change, arrives) in unflushed.iter().zip(selection) {
            medium.apply(change, arrives);
        }
        medium
    };
    selections.into_iter().map(apply).collect()
}

/// Cuts at every place and returns how many media were judged, and those that chance picks.
fn judge_every_cut(
    before: &Medium,
    log: &[Logged],
    releases: &[Release],
    allowed: &[u8],
) -> (usize, Vec<Medium>) {
    let mut chance = Chance(0x5eed);
    let mut judged = 0;
    let mut picked = Vec::new();
    for cut in 0..=log.len() {
        // What a cut in the middle leaves, a cut before the flush leaves, too, for the rest missing.
        let look = match log.get(cut) {
            Some(Logged::Change(_)) => Look::Short,
            Some(Logged::FlushDisk | Logged::FlushFolder) | None => Look::Long,
        };
        for medium in left_by(before, &log[..cut], &mut chance, look) {
            for reused in [false, true] {
                let booted = boots(&medium, releases, reused);
                let (release, _) = booted.unwrap_or_else(|why| panic!("cut {cut}: {why}"));
                assert!(
                    allowed.contains(&release.number),
                    "cut {cut}: {}",
                    release.number
                );
                judged += 1;
            }
            if chance.next().is_multiple_of(64) {
                picked.push(medium);
            }
        }
    }
    (judged, picked)
}

#[test]
fn wherever_power_fails_the_old_or_the_new_version_boots() {
    let releases = [release(0), release(1), release(2), release(3)];
    let [_, old, new, _] = &releases;
    let idle: [Option<(&Release, &str)>; 5] = [
        None,
        Some((&releases[0], "bartizan_0.efi")),
        // It was tried and given up: this one, and a later one.
        Some((new, "bartizan_2+0-3.efi")),
        Some((&releases[3], "bartizan_3+0-3.efi")),
        // It was placed and never tried.
        Some((new, "bartizan_2+3.efi")),
    ];
    let mut judged = 0;
    for (case, idle) in idle.into_iter().enumerate() {
        let mut disk = disk((old, "bartizan_1.efi"), idle);
        let before = disk.seen.clone();
        update(&mut disk, old, new);
        assert_eq!(
            boots(&disk.seen, &releases, false).unwrap().0,
            new,
            "{case}"
        );
        let (count, picked) = judge_every_cut(&before, &disk.log, &releases, &[1, 2]);
        judged += count;
        // Where the old version came back, the update is begun again and comes to its end, through
        // another failure of power.
        for medium in picked {
            if boots(&medium, &releases, false).unwrap().0 != old {
                continue;
            }
            let mut again = LoggedDisk::new(medium.clone());
            again.forbidden = disk.forbidden.clone();
            update(&mut again, old, new);
            assert_eq!(boots(&again.seen, &releases, false).unwrap().0, new);
            let mut chance = Chance(0x5eed);
            let cut = usize::try_from(chance.next()).unwrap() % again.log.len();
            for medium in left_by(&medium, &again.log[..cut], &mut chance, Look::Long) {
                let (booted, _) = boots(&medium, &releases, true).unwrap();
                assert!([1, 2].contains(&booted.number));
                judged += 1;
            }
        }
    }
    println!("{judged} media judged");
    assert!(judged > 10_000);
}

#[test]
fn wherever_power_fails_a_blessing_leaves_the_old_or_the_new_version() {
    let releases = [release(1), release(2)];
    let [old, new] = &releases;
    for name in ["bartizan_2+2-1.efi", "bartizan_2+0-3.efi"] {
        let mut disk = disk((new, name), Some((old, "bartizan_1.efi")));
        let before = disk.seen.clone();
        assert_eq!(trial::bless(&mut disk, &new.version()), Ok(Event::Blessed));
        let (booted, name) = boots(&disk.seen, &releases, false).unwrap();
        assert_eq!((booted, name.as_str()), (new, "bartizan_2.efi"));
        let (judged, _) = judge_every_cut(&before, &disk.log, &releases, &[1, 2]);
        assert!(judged > 50);
    }
}

/// What the boot loader does before it starts an entry with counters.
fn take_a_try(disk: &mut LoggedDisk, name: &str) {
    let mut entry = BootEntry::parse(name).unwrap();
    if let Standing::OnTrial { left, done } = entry.standing
        && left > 0
    {
        entry.standing = Standing::OnTrial {
            left: left - 1,
            done: done + 1,
        };
        disk.rename(name, &entry.to_string()).unwrap();
    }
}

#[test]
fn a_version_that_is_not_blessed_is_left_after_three_boots() {
    let releases = [release(1), release(2)];
    let [old, new] = &releases;
    let mut disk = disk((old, "bartizan_1.efi"), None);
    update(&mut disk, old, new);
    for _ in 0..3 {
        let (booted, name) = boots(&disk.seen, &releases, false).unwrap();
        assert_eq!(booted, new);
        take_a_try(&mut disk, &name);
        assert_eq!(
            trial::standing(&mut disk, &new.version()),
            Ok(trial::State::OnTrial)
        );
    }
    assert_eq!(boots(&disk.seen, &releases, false).unwrap().0, old);
    // And it can be updated again, to the same version or another.
    update(&mut disk, old, new);
    assert_eq!(boots(&disk.seen, &releases, false).unwrap().0, new);
}

#[test]
fn a_blessed_version_updates_into_the_slot_that_it_came_from() {
    let releases = [release(1), release(2), release(3)];
    let [old, new, newest] = &releases;
    let mut disk = disk((old, "bartizan_1.efi"), None);
    update(&mut disk, old, new);
    let (_, name) = boots(&disk.seen, &releases, false).unwrap();
    take_a_try(&mut disk, &name);
    assert_eq!(trial::bless(&mut disk, &new.version()), Ok(Event::Blessed));
    disk.forbidden.clear();
    update(&mut disk, new, newest);
    assert_eq!(boots(&disk.seen, &releases, false).unwrap().0, newest);
    let names: Vec<&String> = disk.seen.names.keys().collect();
    assert_eq!(names, ["bartizan_2.efi", "bartizan_3+3.efi"]);
    let versions = [new, newest].map(Release::version);
    assert_eq!(versions[0], Version::try_from("2").unwrap());
}
