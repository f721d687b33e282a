//! One device as `device list` and `device show` tell of it, and REST.

use core::fmt;

use bartizan_model::identity::Farewell;
use serde::{Deserialize, Serialize};

use crate::device::{Class, Device, Kind, Outcome, Serial, Site, State, Transferred, Verdict};

/// One device; moments are in seconds since 1970.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DeviceStatus {
    /// Its serial number.
    pub serial: Serial,
    /// The owner's name for it.
    pub node: String,
    /// What it proves itself by.
    pub kind: Kind,
    /// `expected`, `enrolled`, `quarantined`, `revoked`, `released` or `retired`.
    pub state: String,
    /// Why it is in quarantine.
    pub quarantine: Option<QuarantineStatus>,
    /// Where it called home to this controller from, if a session stands.
    pub address: Option<String>,
    /// When it last proved itself.
    pub attested: Option<u64>,
    /// When the last of its leases ends.
    pub lease_end: Option<u64>,
    /// When its certificate ends.
    pub certificate_end: Option<u64>,
    /// The epoch of its last voucher.
    pub epoch: Option<u64>,
    /// The ownership floor in its TPM.
    pub ownership_floor: Option<u64>,
    /// The rollback floor in its TPM.
    pub rollback_floor: Option<u64>,
    /// Names of its endorsement keys, in base64.
    pub endorsement: Vec<String>,
    /// `release` or `retire`, while it has not confirmed that.
    pub owed: Option<String>,
    /// What the owner wants of it.
    pub site: Site,
    /// What was decided on it, where it was asked for.
    pub history: Option<DeviceHistory>,
}

/// Why a device is in quarantine.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct QuarantineStatus {
    /// What kind of failure.
    pub class: Class,
    /// The rule that was broken.
    pub rule: String,
    /// What was wrong.
    pub text: String,
    /// Since when.
    pub since: u64,
}

/// What was decided on a device, the newest first.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DeviceHistory {
    /// The verdicts that are kept.
    pub verdicts: Vec<Verdict>,
    /// The transfers that are kept.
    pub transfers: Vec<Transferred>,
}

impl DeviceStatus {
    pub(crate) fn of(
        device: &Device,
        address: Option<String>,
        history: Option<DeviceHistory>,
    ) -> Self {
        let class = match device.state() {
            State::Quarantined(class) => Some(class),
            State::Expected
            | State::Enrolled
            | State::Revoked
            | State::Released
            | State::Retired => None,
        };
        let state = match class {
            Some(_) => "quarantined".to_owned(),
            None => device.state().to_string(),
        };
        let quarantine = device.quarantine().zip(class);
        let identity = device.identity();
        Self {
            serial: device.serial().clone(),
            node: device.node().to_string(),
            kind: device.kind(),
            state,
            quarantine: quarantine.map(|(quarantine, class)| QuarantineStatus {
                class,
                rule: quarantine.rule.clone(),
                text: quarantine.text.clone(),
                since: quarantine.since.0,
            }),
            address,
            attested: device.attested().map(|at| at.0),
            lease_end: device.lease_end().map(|end| end.0),
            certificate_end: device
                .certificate()
                .map(|certificate| certificate.not_after.0),
            epoch: device.epoch(),
            ownership_floor: device.floors().ownership,
            rollback_floor: device.floors().rollback,
            endorsement: identity.map_or_else(Vec::new, |identity| {
                let pins = identity.endorsement.iter();
                pins.map(|pin| String::from(pin.name.clone())).collect()
            }),
            owed: device.farewell().map(|farewell| {
                match farewell {
                    Farewell::Release => "release",
                    Farewell::Retire => "retire",
                }
                .to_owned()
            }),
            site: device.site().clone(),
            history,
        }
    }

    /// One line of a list; `now` in seconds since 1970.
    pub fn line(&self, now: u64) -> String {
        let mut words = vec![self.serial.to_string(), self.node.clone()];
        words.push(match &self.quarantine {
            Some(quarantine) => format!("{} ({})", self.state, quarantine.class),
            None => self.state.clone(),
        });
        if let Some(owed) = &self.owed {
            words.push(format!("{owed} not confirmed"));
        }
        words.push(match self.attested {
            Some(at) => format!("attested {} ago", span(now, at)),
            None => "never attested".to_owned(),
        });
        if let Some(end) = self.lease_end.filter(|end| *end > now) {
            words.push(format!("lease {}", span(end, now)));
        }
        words.join("  ")
    }

    /// All of it in lines; `now` in seconds since 1970.
    pub fn page(&self, now: u64) -> Page<'_> {
        Page { device: self, now }
    }
}

/// A device in lines of text.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    device: &'a DeviceStatus,
    now: u64,
}

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (device, now) = (self.device, self.now);
        writeln!(f, "{}", device.line(now))?;
        if let Some(quarantine) = &device.quarantine {
            writeln!(
                f,
                "  {} broken {} ago: {}",
                quarantine.rule,
                span(now, quarantine.since),
                quarantine.text
            )?;
        }
        match &device.address {
            Some(address) => writeln!(f, "  connected from {address}")?,
            None => writeln!(f, "  not connected to this controller")?,
        }
        let word = |number: Option<u64>| number.map_or("none".to_owned(), |n| n.to_string());
        writeln!(
            f,
            "  proves itself by {}; voucher epoch {}, floors {} (ownership) and {} (rollback)",
            device.kind,
            word(device.epoch),
            word(device.ownership_floor),
            word(device.rollback_floor)
        )?;
        if let Some(end) = device.certificate_end {
            match end.checked_sub(now) {
                Some(_) => writeln!(f, "  certificate for {}", span(end, now))?,
                None => writeln!(f, "  certificate ended {} ago", span(now, end))?,
            }
        }
        for name in &device.endorsement {
            writeln!(f, "  endorsement key {name}")?;
        }
        let Some(history) = &device.history else {
            return Ok(());
        };
        for verdict in &history.verdicts {
            write!(f, "  {} ago: ", span(now, verdict.at.0))?;
            match &verdict.outcome {
                Outcome::Passed => writeln!(f, "passed")?,
                Outcome::Failed { class, rule, text } => {
                    writeln!(f, "failed ({class}), {rule}: {text}")?;
                }
            }
        }
        for transfer in &history.transfers {
            let ago = span(now, transfer.at.0);
            writeln!(f, "  {ago} ago: transferred, epoch {}", transfer.epoch)?;
        }
        Ok(())
    }
}

/// The time between two moments, in the unit that tells most.
fn span(later: u64, earlier: u64) -> String {
    let seconds = later.saturating_sub(earlier);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}
