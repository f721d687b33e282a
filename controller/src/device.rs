//! What the owner knows of one device, and the only ways in which that changes.
//!
//! A [`Device`] is changed by its methods alone, and each is one of the events of [`State::after`].
//! None of them replaces an [`Identity`] that is known but [`Device::transfer`] (rule V10).

mod history;
mod known;
mod parts;
mod refused;
mod state;
mod voucher;

use bartizan_evidence::lease::OwnerTime;
use bartizan_model::identity::{Farewell, Floors};
use bartizan_model::ids::NodeId;
use serde::{Deserialize, Serialize};

pub use bartizan_bootstrap_protocol::serial::Serial;
pub use history::{Act, Actor, Audited, Occasion, Outcome, Transferred, Verdict};
pub use parts::{
    Bytes, Certificate, Clock, EndorsementPin, Identity, Kind, Kme, Mirror, NoSite, Pins, Site,
};
pub use refused::Refused;
pub use state::{Class, Event, State, Unexpected};
pub use voucher::{Maker, SignedVoucher, VoucherRefused};

pub(crate) use parts::moment;

/// One device of the owner's.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Device {
    serial: Serial,
    node: NodeId,
    kind: Kind,
    site: Site,
    state: State,
    quarantine: Option<Quarantine>,
    identity: Option<Identity>,
    pins: Option<Pins>,
    clock: Option<Clock>,
    floors: Mirror,
    epoch: Option<u64>,
    certificate: Option<Certificate>,
    #[serde(with = "moment::maybe")]
    attested: Option<OwnerTime>,
    #[serde(with = "moment::maybe")]
    lease_end: Option<OwnerTime>,
    farewell: Option<Owed>,
    demands: u64,
    pub(crate) totals: Totals,
}

/// A device as an operator adds it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NewDevice {
    /// Its serial number.
    pub serial: Serial,
    /// The owner's name for it.
    pub node: NodeId,
    /// What it proves itself by.
    pub kind: Kind,
    /// What the owner wants of it.
    #[serde(default)]
    pub site: Site,
}

/// Why a device is in quarantine.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Quarantine {
    /// The rule that it broke, as the verifier numbers them: `V3`.
    pub rule: String,
    /// What was wrong, precisely.
    pub text: String,
    /// Since when.
    #[serde(with = "moment")]
    pub since: OwnerTime,
    /// The boot that it failed in, if its evidence said that under its own signature.
    pub clock: Option<Clock>,
}

/// The end of an ownership that the device has not confirmed yet.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owed {
    /// [`Farewell::Release`].
    Release,
    /// [`Farewell::Retire`].
    Retire,
}

/// How much was ever recorded of a device; what is kept is the end of it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Totals {
    /// Proofs.
    pub passed: u64,
    /// Failures.
    pub failed: u64,
    /// Certificates.
    pub certificates: u64,
    /// Transfers.
    pub transfers: u64,
}

/// What a device proved when it enrolled; the verifier has checked all of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Enrolment {
    /// Its TPM.
    pub identity: Identity,
    /// The values to bind it to; those of before stand if there are any.
    pub pins: Pins,
    /// The boot of the evidence.
    pub clock: Clock,
    /// The TPM's floors.
    pub floors: Floors,
    /// The epoch of the voucher that it followed, if it showed one.
    pub epoch: Option<u64>,
    /// The certificate that it gets.
    pub certificate: Certificate,
}

/// What a device proved again, inside its session; the verifier has checked all of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attestation {
    /// The values to bind it to, if an approval took the former ones away.
    pub pins: Pins,
    /// The boot of the evidence.
    pub clock: Clock,
    /// The TPM's floors.
    pub floors: Floors,
    /// When the lease ends that will be granted.
    pub lease_end: OwnerTime,
    /// A renewed certificate, if one is due.
    pub certificate: Option<Certificate>,
}

/// Evidence that failed, from the device itself: it was signed by its known keys, or proved with its TPM. What anybody
/// could have sent is refused and counted, and no failure of the device.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// What kind.
    pub class: Class,
    /// The rule that was broken: `V3`.
    pub rule: String,
    /// What was wrong, precisely.
    pub text: String,
    /// The boot that it failed in, if the evidence says that under its signature.
    pub clock: Option<Clock>,
}

/// What becomes of the pins when a quarantine is cleared.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Repin {
    /// They stand.
    Keep,
    /// They are taken anew from the next proof: the operator knows that the firmware was changed.
    Anew,
}

impl Device {
    /// A device of which nothing is seen yet.
    pub fn new(new: NewDevice) -> Self {
        Self {
            serial: new.serial,
            node: new.node,
            kind: new.kind,
            site: new.site,
            state: State::Expected,
            quarantine: None,
            identity: None,
            pins: None,
            clock: None,
            floors: Mirror::default(),
            epoch: None,
            certificate: None,
            attested: None,
            lease_end: None,
            farewell: None,
            demands: 0,
            totals: Totals::default(),
        }
    }

    /// Takes an enrolment that the verifier passed. A device in a quarantine that this does not clear stays in it and
    /// keeps its old certificate.
    ///
    /// # Errors
    ///
    /// [`Refused`]; nothing is changed.
    pub fn enrol(&mut self, enrolment: &Enrolment, now: OwnerTime) -> Result<State, Refused> {
        if enrolment.identity.endorsement.is_empty() {
            return Err(Refused::NoEndorsement);
        }
        if let Some(known) = &self.identity
            && *known != enrolment.identity
        {
            return Err(Refused::OtherTpm);
        }
        if let Some(epoch) = enrolment.epoch {
            self.not_an_old_voucher(epoch)?;
        }
        let floors = self.risen(&enrolment.floors)?;
        let state = self.state.after(self.passing(&enrolment.clock))?;
        self.pass(state, enrolment.clock, now);
        if state == State::Enrolled {
            self.identity = Some(enrolment.identity.clone());
            self.floors = floors;
            self.epoch = self.epoch.max(enrolment.epoch);
            self.pins.get_or_insert_with(|| enrolment.pins.clone());
            self.certified(enrolment.certificate.clone());
        }
        Ok(state)
    }

    /// Takes a proof that the verifier passed; whoever grants a lease looks at the state that is returned.
    ///
    /// # Errors
    ///
    /// [`Refused`]; nothing is changed.
    pub fn attest(&mut self, attestation: &Attestation, now: OwnerTime) -> Result<State, Refused> {
        let floors = self.risen(&attestation.floors)?;
        let state = self.state.after(self.passing(&attestation.clock))?;
        self.pass(state, attestation.clock, now);
        if state == State::Enrolled {
            self.floors = floors;
            self.lease_end = self.lease_end.max(Some(attestation.lease_end));
            self.pins.get_or_insert_with(|| attestation.pins.clone());
            if let Some(certificate) = &attestation.certificate {
                self.certified(certificate.clone());
            }
        }
        Ok(state)
    }

    /// Takes a failure.
    ///
    /// # Errors
    ///
    /// [`Refused::Unexpected`]; nothing is changed.
    pub fn fail(&mut self, failure: &Failure, now: OwnerTime) -> Result<State, Refused> {
        let state = self.state.after(Event::Failed(failure.class))?;
        let since = self.quarantine.as_ref().map(|quarantine| quarantine.since);
        // The gravest failure is the one to show, and the boot of the last one the boot to leave.
        let (rule, text) = match &self.quarantine {
            Some(standing) if self.state == state => (standing.rule.clone(), standing.text.clone()),
            _ => (failure.rule.clone(), history::line(&failure.text)),
        };
        self.quarantine = Some(Quarantine {
            rule,
            text,
            since: since.unwrap_or(now),
            clock: failure.clock,
        });
        self.state = state;
        self.totals.failed = self.totals.failed.saturating_add(1);
        Ok(state)
    }

    /// Clears a quarantine.
    ///
    /// # Errors
    ///
    /// [`Refused::Unexpected`] for a device that is in none.
    pub fn approve(&mut self, pins: Repin) -> Result<State, Refused> {
        let event = match self.identity {
            Some(_) => Event::Approved,
            None => Event::ApprovedUnseen,
        };
        self.state = self.state.after(event)?;
        self.quarantine = None;
        if pins == Repin::Anew {
            self.pins = None;
        }
        Ok(self.state)
    }

    /// Takes the trust back.
    ///
    /// # Errors
    ///
    /// [`Refused::Unexpected`].
    pub fn revoke(&mut self) -> Result<State, Refused> {
        self.state = self.state.after(Event::Revoked)?;
        Ok(self.state)
    }

    /// Gives the device away, or ends it; what it is to be told is [`Device::farewell`] until [`Device::parted`].
    ///
    /// # Errors
    ///
    /// [`Refused::Unexpected`].
    pub fn part(&mut self, farewell: Farewell) -> Result<State, Refused> {
        let (event, owed) = match farewell {
            Farewell::Release => (Event::Released, Owed::Release),
            Farewell::Retire => (Event::Retired, Owed::Retire),
        };
        self.state = self.state.after(event)?;
        // A device that never came has nothing to wipe.
        self.farewell = self.identity.as_ref().map(|_| owed);
        Ok(self.state)
    }

    /// The device confirmed that it wiped the ownership.
    ///
    /// # Errors
    ///
    /// [`Refused::NothingOwed`].
    pub fn parted(&mut self) -> Result<State, Refused> {
        self.farewell.take().ok_or(Refused::NothingOwed)?;
        self.certificate = None;
        self.lease_end = None;
        Ok(self.state)
    }

    /// Takes a voucher that changes nothing: of the ownership that stands, or of one that nothing is known of yet.
    ///
    /// # Errors
    ///
    /// [`Refused`]; nothing is changed.
    pub fn vouched(&mut self, voucher: &SignedVoucher) -> Result<(), Refused> {
        self.is_mine(voucher)?;
        let epoch = voucher.epoch();
        self.not_an_old_voucher(epoch)?;
        if self.identity.is_some() && self.epoch.is_some_and(|known| epoch > known) {
            return Err(Refused::IsATransfer(epoch));
        }
        if self.state == State::Retired {
            return Err(Refused::Unexpected(Unexpected {
                state: self.state,
                event: Event::Transferred,
            }));
        }
        self.epoch = Some(epoch);
        Ok(())
    }

    /// Takes a transfer that the device's maker signed: whatever TPM comes next under this serial is the device's.
    ///
    /// # Errors
    ///
    /// [`Refused`]; nothing is changed.
    pub fn transfer(&mut self, voucher: &SignedVoucher) -> Result<State, Refused> {
        self.is_mine(voucher)?;
        let epoch = voucher.epoch();
        let known = self.epoch.max(self.floors.ownership);
        if let Some(known) = known
            && epoch <= known
        {
            return Err(Refused::OldVoucher { epoch, known });
        }
        self.state = self.state.after(Event::Transferred)?;
        self.epoch = Some(epoch);
        self.identity = None;
        self.pins = None;
        self.clock = None;
        // They were those of the TPM that may leave; its maker's epoch is what counts of them.
        self.floors = Mirror::default();
        self.quarantine = None;
        self.certificate = None;
        self.attested = None;
        self.lease_end = None;
        self.farewell = None;
        self.totals.transfers = self.totals.transfers.saturating_add(1);
        Ok(self.state)
    }

    /// Asks for an attestation at once.
    pub fn demand(&mut self) {
        self.demands = self.demands.saturating_add(1);
    }

    /// Replaces what the owner wants of the device.
    pub fn place(&mut self, site: Site) {
        self.site = site;
    }

    fn passing(&self, clock: &Clock) -> Event {
        let failed = self.quarantine.as_ref().and_then(|failed| failed.clock);
        match failed {
            Some(failed) if clock.booted_since(&failed) => Event::PassedAfterBoot,
            _ => Event::Passed,
        }
    }

    fn pass(&mut self, state: State, clock: Clock, now: OwnerTime) {
        if state == State::Enrolled {
            self.quarantine = None;
        }
        self.state = state;
        self.clock = Some(clock);
        self.attested = Some(now);
        self.totals.passed = self.totals.passed.saturating_add(1);
    }

    fn certified(&mut self, certificate: Certificate) {
        self.certificate = Some(certificate);
        self.totals.certificates = self.totals.certificates.saturating_add(1);
    }

    fn is_mine(&self, voucher: &SignedVoucher) -> Result<(), Refused> {
        if *voucher.serial() == self.serial {
            Ok(())
        } else {
            Err(Refused::OtherSerial(voucher.serial().clone()))
        }
    }

    fn not_an_old_voucher(&self, epoch: u64) -> Result<(), Refused> {
        match self.epoch.max(self.floors.ownership) {
            Some(known) if epoch < known => Err(Refused::OldVoucher { epoch, known }),
            _ => Ok(()),
        }
    }

    /// The floors after these were seen.
    fn risen(&self, floors: &Floors) -> Result<Mirror, Refused> {
        let rise = |floor, known: Option<u64>, found: Option<u64>| match known {
            Some(known) if found < Some(known) => Err(Refused::BelowFloor {
                floor,
                found,
                known,
            }),
            _ => Ok(found),
        };
        Ok(Mirror {
            ownership: rise("ownership", self.floors.ownership, floors.ownership)?,
            rollback: rise("rollback", self.floors.rollback, floors.rollback)?,
        })
    }
}
