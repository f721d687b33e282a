//! The verdict on a quote: by its logs, the reference values and what the device's record says.

use std::collections::BTreeMap;

use bartizan_evidence::appraisal::{Evidence, Record, appraise};
use bartizan_evidence::pcr_key::check_ldevid;
use bartizan_evidence::quote::{Digest, Quote};
use bartizan_evidence::structures::{ClockInfo, Public};
use bartizan_evidence::verdict::{Class, Failure, Rule};
use bartizan_model::identity::Floors;

use super::Verifier;
use crate::device::{self, Bytes, Clock, Device, Pins};

/// The logs, as a box sent them.
#[derive(Clone, Default)]
pub struct Logs {
    /// The firmware's.
    pub firmware: Vec<u8>,
    /// Userspace's.
    pub userspace: Vec<u8>,
    /// The kernel's.
    pub ima: Vec<u8>,
}

/// What a box proved.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Judged {
    /// The values to bind it to.
    pub pins: Pins,
    /// The boot that it runs in.
    pub clock: Clock,
    /// The floors of its TPM.
    pub floors: Floors,
    /// The image that it runs.
    pub image: String,
}

impl Verifier {
    /// Judges a verified quote of a device, and the floors and logs that came with it.
    ///
    /// # Errors
    ///
    /// [`device::Failure`]: all that is wrong, under the gravest of it.
    pub fn judge(
        &self,
        device: &Device,
        quote: &Quote,
        floors: Floors,
        logs: &Logs,
    ) -> Result<Judged, device::Failure> {
        let evidence = Evidence {
            quote,
            firmware_log: &logs.firmware,
            userspace_log: &logs.userspace,
            ima_log: &logs.ima,
            floors: Some(floors),
        };
        let verdict = appraise(&evidence, &self.references, &record(device));
        let clock = clock(quote.clock());
        match verdict.image.clone() {
            Some(image) if verdict.is_clean() => Ok(Judged {
                pins: pins(verdict.to_pin()),
                clock,
                floors,
                image,
            }),
            _ => Err(failure(&verdict.failures, Some(clock))),
        }
    }

    /// Checks that an LDevID key is one that only the judged image in this boot can use.
    ///
    /// # Errors
    ///
    /// [`Failure`] by V5.
    pub fn check_ldevid(
        &self,
        ldevid: &Public,
        judged: &Judged,
        quote: &Quote,
    ) -> Result<(), Failure> {
        let unknown = || Failure::new(Rule::V13, Class::Evidence, "no image, or no PCR 7");
        let mut images = self.references.iter();
        let image = images.find(|image| image.image == judged.image);
        let image = image.ok_or_else(unknown)?;
        let secure_boot = quote.pcrs().get(&7).ok_or_else(unknown)?;
        check_ldevid(ldevid, &image.signing_key.name(), secure_boot)
    }
}

/// What is recorded of failures: the gravest names it, and all are told.
fn failure(failures: &[Failure], clock: Option<Clock>) -> device::Failure {
    // Of several as grave, the first found.
    let gravest = failures.iter().rev().max_by_key(|failure| failure.class);
    let (class, rule) = gravest.map_or((Class::Evidence, Rule::V13), |failure| {
        (failure.class, failure.rule)
    });
    let texts: Vec<String> = failures.iter().map(ToString::to_string).collect();
    device::Failure {
        class: match class {
            Class::State => device::Class::State,
            Class::Evidence => device::Class::Evidence,
            Class::Malformed => device::Class::Malformed,
            Class::Identity => device::Class::Identity,
        },
        rule: rule.to_string(),
        text: texts.join("; "),
        clock,
    }
}

/// What is recorded of one failure, where no boot is known for it.
pub(crate) fn failed(failed: &Failure) -> device::Failure {
    failure(core::slice::from_ref(failed), None)
}

/// A TPM's clock as it is kept.
pub(crate) fn clock(info: ClockInfo) -> Clock {
    Clock {
        clock: info.clock,
        reset_count: info.reset_count,
        restart_count: info.restart_count,
        safe: info.safe,
    }
}

fn record(device: &Device) -> Record {
    let pinned = device.pins().map(|pins| {
        let pins = pins.0.iter();
        let value = |bytes: &Bytes| Digest::try_from(bytes.0.as_slice()).ok();
        pins.filter_map(|(pcr, bytes)| Some((*pcr, value(bytes)?)))
            .collect()
    });
    Record {
        clock: device.clock().map(|clock| ClockInfo {
            clock: clock.clock,
            reset_count: clock.reset_count,
            restart_count: clock.restart_count,
            safe: clock.safe,
        }),
        pinned: pinned.unwrap_or_default(),
        floors: device.floors().floors(),
    }
}

fn pins(values: BTreeMap<u8, Digest>) -> Pins {
    let bytes = values
        .into_iter()
        .map(|(pcr, value)| (pcr, Bytes(value.to_vec())));
    Pins(bytes.collect())
}

impl core::fmt::Debug for Logs {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self {
            firmware,
            userspace,
            ima,
        } = self;
        let (firmware, userspace, ima) = (firmware.len(), userspace.len(), ima.len());
        write!(f, "Logs({firmware}, {userspace}, {ima} bytes)")
    }
}
