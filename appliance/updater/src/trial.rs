//! The first boots of a version, on the box's own disk and clock; the table is
//! [`bartizan_slots::trial`].

use bartizan_manifest::Version;
use bartizan_model::time::BootTime;
use bartizan_slots::Disk;
use bartizan_slots::boot_entry::{BootEntry, Standing};
use bartizan_slots::trial::{self, Action, Event, State, TRIAL};

/// How the running version stands in this boot.
#[derive(Debug)]
pub struct Trial {
    version: Version,
    state: State,
    /// Whether another version is there that proved itself.
    fallback: bool,
}

/// What follows for the box.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The version is blessed, on the medium: no earlier epoch is needed any more.
    RaiseFloor,
    /// It did not prove itself: start the machine anew, and the boot loader goes back.
    Restart,
}

impl Trial {
    /// Looks at the boot entries.
    ///
    /// # Errors
    ///
    /// If the disk does not show them.
    pub fn new<D: Disk>(disk: &mut D, version: Version) -> Result<Self, D::Error> {
        let state = trial::standing(disk, &version)?;
        let proven =
            |entry: BootEntry| entry.version != version && entry.standing == Standing::Blessed;
        let fallback = disk
            .names()?
            .iter()
            .filter_map(|name| BootEntry::parse(name))
            .any(proven);
        Ok(Self {
            version,
            state,
            fallback,
        })
    }

    /// Whether the version has proven itself, on the medium.
    pub fn is_blessed(&self) -> bool {
        self.state == State::Blessed
    }

    /// Whether it has yet to prove itself.
    pub fn is_on_trial(&self) -> bool {
        matches!(self.state, State::OnTrial | State::Blessing)
    }

    /// When it must have proven itself; never where there is nothing to go back to. It counts from
    /// the boot, so that processes that begin again gain no time.
    pub fn deadline(&self) -> Option<BootTime> {
        (self.is_on_trial() && self.fallback).then_some(BootTime(TRIAL))
    }

    /// The version has reached its health target. Where its entry cannot be changed it stays on
    /// trial, and this may be called again.
    ///
    /// # Errors
    ///
    /// If the disk does not change its entry.
    pub fn healthy<D: Disk>(&mut self, disk: &mut D) -> Result<Option<Outcome>, D::Error> {
        if self.step(Event::Healthy) != Some(Action::Bless) {
            return Ok(None);
        }
        let blessed = trial::bless(disk, &self.version);
        let event = blessed.as_ref().map_or(Event::Refused, |event| *event);
        let outcome = self.step(event).and_then(outcome);
        blessed.map(|_| outcome)
    }

    /// Says what the time means.
    pub fn at(&mut self, now: BootTime) -> Option<Outcome> {
        let overdue = self.deadline().is_some_and(|deadline| deadline <= now);
        if !overdue {
            return None;
        }
        self.step(Event::Deadline).and_then(outcome)
    }

    fn step(&mut self, event: Event) -> Option<Action> {
        let (next, action) = trial::step(self.state, event);
        self.state = next;
        action
    }
}

const fn outcome(action: Action) -> Option<Outcome> {
    match action {
        Action::RaiseFloor => Some(Outcome::RaiseFloor),
        Action::Reboot => Some(Outcome::Restart),
        Action::Bless => None,
    }
}
