//! The power may be cut at any moment of an enrolment: what the box finds when it is back is an
//! ownership that is whole, or none.
#![cfg(test)]
#![forbid(unsafe_code)]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test: what is not expected fails it"
)]

mod locked;
mod owner;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bartizan::act::Act;
use bartizan::boot::settle;
use bartizan::config::Required;
use bartizan::ownership::OwnershipError;
use bartizan::roles::ROLES;
use bartizan::store::{Kept, Store};
use bartizan::supervisor::Supervisor;
use bartizan_model::identity::{Farewell, Floors, LdevidFound, TpmFound};
use bartizan_model::ids::Thumbprint;
use bartizan_model::lifecycle::Lifecycle;
use bartizan_model::message::{Role, RoleToSupervisor as Said};
use bartizan_model::time::BootTime;
use locked::achieved;

const NOW: BootTime = BootTime(Duration::from_secs(1000));

#[test]
fn a_cut_at_any_moment_of_an_enrolment_leaves_no_box_in_quarantine() {
    let steps = World::new(usize::MAX).enrol_for_good();
    assert_eq!(
        steps, 6,
        "the floor, draft, whole draft, its name, the TPM, its last name"
    );
    for first in 0..=steps {
        // And again while the box finds its way back.
        for second in 0..=steps {
            let mut world = World::new(first);
            let cut = world.live();
            assert_eq!(
                cut,
                Err(Cut),
                "there is nothing after an ownership that counts"
            );
            world.left = second;
            let _again = world.live();
            world.enrol_for_good();
        }
    }
}

#[test]
fn an_ldevid_never_stands_without_its_ownership_on_the_disk() {
    for cut in 0..=6 {
        let mut world = World::new(cut);
        let _cut = world.live();
        let kept = world.store().read().unwrap();
        match (world.tpm, kept) {
            (Some(key), Kept::Pending(owned) | Kept::Owner(owned)) => assert_eq!(owned.key(), key),
            (None, Kept::Nobody | Kept::Pending(_)) => {}
            other => panic!("after {cut} steps: {other:?}"),
        }
    }
}

#[test]
fn a_tpm_that_is_cleared_at_any_moment_of_an_enrolment_is_noticed_once_there_was_an_ownership() {
    let mut noticed = 0;
    for cut in 0..=6 {
        let mut world = World::new(cut);
        let _cut = world.live();
        let kept = world.store().read().unwrap();
        (world.tpm, world.floor) = (None, None);
        let supervisor = world.start();
        let expected = if matches!(kept, Kept::Nobody) {
            Lifecycle::Discovering
        } else {
            noticed += 1;
            Lifecycle::Quarantined
        };
        assert_eq!(supervisor.0.state(), expected, "after {cut} steps");
        // And what showed it stays.
        assert!(!supervisor.1.contains(&Act::Discard), "after {cut} steps");
    }
    assert_eq!(noticed, 3, "pending, kept by the TPM, and owned");
}

#[test]
fn nothing_but_a_pending_ownership_is_settled() {
    for ldevid in [
        LdevidFound::Absent,
        LdevidFound::Usable,
        LdevidFound::Unusable,
        LdevidFound::Foreign,
    ] {
        for retired in [false, true] {
            let found = TpmFound {
                ldevid,
                retired,
                floors: floors(Some(3)),
            };
            for kept in [
                Kept::Nobody,
                Kept::Owner(Box::new(owner::owned())),
                Kept::Broken(OwnershipError::Version(9)),
                Kept::Ending(Farewell::Release),
            ] {
                let before = format!("{kept:?}");
                let (kept, settled) = settle(found, kept);
                assert_eq!((format!("{kept:?}"), settled), (before, None));
            }
            let pending = || Kept::Pending(Box::new(owner::owned()));
            let (kept, settled) = settle(found, pending());
            // A foreign key or a retired box is not for a pending ownership to explain.
            let open = retired || ldevid == LdevidFound::Foreign;
            assert_eq!(settled.is_none(), open, "{found:?}");
            assert_eq!(matches!(kept, Kept::Pending(_)), open, "{found:?}");
            // Without its floor, one that has no key was not left behind by a cut alone.
            for lower in [None, Some(2)] {
                let floors = floors(lower);
                let (kept, settled) = settle(TpmFound { floors, ..found }, pending());
                let open = open || ldevid == LdevidFound::Absent;
                assert_eq!(settled.is_none(), open, "{found:?}");
                assert_eq!(matches!(kept, Kept::Pending(_)), open, "{found:?}");
            }
        }
    }
}

/// The power is gone.
#[derive(Debug, Eq, PartialEq)]
struct Cut;

/// A disk, a TPM, and how many steps of either the power lasts.
struct World {
    folder: PathBuf,
    tpm: Option<Thumbprint>,
    /// The TPM's floor of ownership.
    floor: Option<u64>,
    left: usize,
    steps: usize,
}

impl World {
    fn new(left: usize) -> Self {
        let folder = tempdir();
        Self {
            folder,
            tpm: None,
            floor: None,
            left,
            steps: 0,
        }
    }

    fn store(&self) -> Store {
        Store::open(&self.folder).unwrap()
    }

    /// Lives on with power for good, until there is an owner; returns the steps that it took.
    fn enrol_for_good(&mut self) -> usize {
        self.left = usize::MAX;
        self.steps = 0;
        while self.boot().unwrap() != Lifecycle::Attesting {}
        let kept = self.store().read().unwrap();
        assert!(matches!(kept, Kept::Owner(owned) if Some(owned.key()) == self.tpm));
        self.steps
    }

    /// Boots until the power is cut.
    fn live(&mut self) -> Result<(), Cut> {
        while self.boot()? != Lifecycle::Attesting {}
        Err(Cut)
    }

    /// Begins a boot: what the TPM holds is found.
    fn start(&self) -> (Supervisor, Vec<Act>) {
        let mut supervisor = Supervisor::new(Required::ALL, self.store().read().unwrap());
        for row in ROLES {
            assert!(supervisor.joins(row.role));
            let said = Said::LockedDown(achieved(row.role));
            supervisor.hears(NOW, row.role, said).unwrap();
        }
        let found = TpmFound {
            ldevid: match self.tpm {
                None => LdevidFound::Absent,
                Some(_) => LdevidFound::Usable,
            },
            retired: false,
            floors: floors(self.floor),
        };
        let acts = supervisor
            .hears(NOW, Role::Tpm, Said::Found(found))
            .unwrap();
        (supervisor, acts)
    }

    /// One boot: it ends where the supervisor begins again, or has an owner.
    fn boot(&mut self) -> Result<Lifecycle, Cut> {
        let (mut supervisor, acts) = self.start();
        self.carry_out(&mut supervisor, acts)?;
        let state = supervisor.state();
        match state {
            Lifecycle::Attesting => assert_eq!(
                supervisor.owned().map(bartizan::ownership::Owned::key),
                self.tpm
            ),
            Lifecycle::Discovering => {
                assert_eq!(self.tpm, None);
                let ownership = owner::owned().ownership().clone();
                if self.floor != Some(ownership.epoch) {
                    self.step(|world| world.floor = Some(ownership.epoch))?;
                }
                let enrolled = Said::Enrolled(Box::new(ownership));
                for said in [Said::OwnerFound, enrolled] {
                    let acts = supervisor.hears(NOW, Role::Bootstrap, said).unwrap();
                    self.carry_out(&mut supervisor, acts)?;
                }
            }
            other => panic!("{other:?}"),
        }
        Ok(state)
    }

    fn carry_out(&mut self, supervisor: &mut Supervisor, acts: Vec<Act>) -> Result<(), Cut> {
        for act in acts {
            match act {
                Act::KeepPending => {
                    let owned = supervisor.pending().unwrap();
                    let document = owned.encode().unwrap();
                    let (draft, half) = (self.folder.join("draft"), document.len() / 2);
                    self.step(|_| fs::write(&draft, &document[..half]).unwrap())?;
                    self.step(|_| fs::write(&draft, &document).unwrap())?;
                    self.step(|world| world.store().keep_pending(owned).unwrap())?;
                }
                Act::KeepLdevid => {
                    let key = supervisor.pending().unwrap().key();
                    self.step(|world| world.tpm = Some(key))?;
                    let kept = supervisor.hears(NOW, Role::Bootstrap, Said::LdevidKept);
                    self.carry_out(supervisor, kept.unwrap())?;
                }
                Act::Confirm => self.step(|world| world.store().confirm().unwrap())?,
                Act::Discard => self.step(|world| world.store().discard().unwrap())?,
                Act::Grant(_)
                | Act::Start(_)
                | Act::Tell(..)
                | Act::Time(_)
                | Act::BeginAgain(_) => {}
                other => panic!("{other:?}"),
            }
        }
        Ok(())
    }

    /// What the disk or the TPM does at once or not at all.
    fn step(&mut self, does: impl FnOnce(&mut Self)) -> Result<(), Cut> {
        self.left = self.left.checked_sub(1).ok_or(Cut)?;
        self.steps = self.steps.saturating_add(1);
        does(self);
        Ok(())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.folder).unwrap();
    }
}

fn floors(ownership: Option<u64>) -> Floors {
    Floors {
        ownership,
        ..Floors::default()
    }
}

fn tempdir() -> PathBuf {
    let mut name = [0; 8];
    rustix::rand::getrandom(&mut name, rustix::rand::GetRandomFlags::empty()).unwrap();
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cuts-{name:02x?}"));
    fs::create_dir(&path).unwrap();
    path
}
