//! What the verifier and the sessions record of a device.

use bartizan_evidence::lease::OwnerTime;

use super::devices::{Beside, key_names, slot};
use super::rows::{Seen, Table, Write};
use super::{DeviceError, Store, StoreError, TRIES};
use crate::device::{
    Attestation, Certificate, Device, Enrolment, Failure, Occasion, Outcome, Serial, State, Verdict,
};

/// How many proofs of a device are kept; its failures are counted apart, so that nothing can wash them away.
const PASSED_KEPT: u64 = 32;
const FAILED_KEPT: u64 = 128;

/// How many certificates of a device are kept.
const CERTIFICATES_KEPT: u64 = 16;

impl Store {
    /// Takes an enrolment that the verifier passed: the identity, its certificate and the verdict, or none of them.
    /// Only a device that is [`State::Enrolled`] afterwards may be given the certificate.
    ///
    /// # Errors
    ///
    /// [`DeviceError`], [`DeviceError::KeyTaken`] and [`OtherTpm`](crate::device::Refused::OtherTpm) among them; nothing is changed.
    pub async fn enrol(
        &self,
        serial: &Serial,
        enrolment: &Enrolment,
        now: OwnerTime,
    ) -> Result<Device, DeviceError> {
        let keys = key_names(&enrolment.identity);
        for _try in 0..TRIES {
            // A key that nobody has is taken by the same commit; one that is taken is looked at.
            let mut taken = Vec::new();
            for key in &keys {
                match self.read(Table::Key, key).await? {
                    None => {
                        let seen = Seen::Nothing;
                        taken.push(Write::put(Table::Key, key.as_str(), seen, serial)?);
                    }
                    Some(row) => {
                        let owner: Serial = row.read(Table::Key)?;
                        if owner != *serial {
                            return Err(DeviceError::KeyTaken(owner));
                        }
                    }
                }
            }
            let changed = self
                .try_change(serial, None, now, |device| {
                    let state = device.enrol(enrolment, now)?;
                    let mut writes = Vec::new();
                    if state == State::Enrolled {
                        writes.append(&mut taken);
                        writes.push(certified(device, &enrolment.certificate)?);
                    }
                    writes.push(passed(device, Occasion::Enrolment, now)?);
                    Ok(Beside {
                        writes,
                        audited: None,
                    })
                })
                .await?;
            if let Some(device) = changed {
                return Ok(device);
            }
        }
        Err(StoreError::Busy.into())
    }

    /// Takes a proof that the verifier passed. Only a device that is [`State::Enrolled`] afterwards may be granted a lease.
    ///
    /// # Errors
    ///
    /// [`DeviceError`]; nothing is changed.
    pub async fn attest(
        &self,
        serial: &Serial,
        attestation: &Attestation,
        now: OwnerTime,
    ) -> Result<Device, DeviceError> {
        self.change(serial, None, now, |device| {
            let state = device.attest(attestation, now)?;
            let mut writes = vec![passed(device, Occasion::Attestation, now)?];
            if state == State::Enrolled
                && let Some(certificate) = &attestation.certificate
            {
                writes.push(certified(device, certificate)?);
            }
            Ok(Beside {
                writes,
                audited: None,
            })
        })
        .await
    }

    /// Takes a failure of the device itself; it is in quarantine when this returns.
    ///
    /// # Errors
    ///
    /// [`DeviceError`]; nothing is changed.
    pub async fn fail(
        &self,
        serial: &Serial,
        occasion: Occasion,
        failure: &Failure,
        now: OwnerTime,
    ) -> Result<Device, DeviceError> {
        self.change(serial, None, now, |device| {
            let number = device.totals().failed;
            device.fail(failure, now)?;
            let verdict = Verdict {
                at: now,
                occasion,
                outcome: Outcome::Failed {
                    class: failure.class,
                    rule: failure.rule.clone(),
                    text: failure.text.clone(),
                },
                clock: failure.clock,
            };
            let write = slot(
                Table::Verdict,
                serial,
                "failed",
                number,
                FAILED_KEPT,
                &verdict,
            )?;
            Ok(Beside {
                writes: vec![write],
                audited: None,
            })
        })
        .await
    }

    /// The device confirmed a release or a retirement.
    ///
    /// # Errors
    ///
    /// [`DeviceError`]; nothing is changed.
    pub async fn parted(&self, serial: &Serial, now: OwnerTime) -> Result<Device, DeviceError> {
        self.change(serial, None, now, |device| {
            device.parted()?;
            Ok(Beside::nothing())
        })
        .await
    }
}

fn passed(device: &Device, occasion: Occasion, now: OwnerTime) -> Result<Write, StoreError> {
    let verdict = Verdict {
        at: now,
        occasion,
        outcome: Outcome::Passed,
        clock: device.clock(),
    };
    let number = device.totals().passed;
    slot(
        Table::Verdict,
        device.serial(),
        "passed",
        number,
        PASSED_KEPT,
        &verdict,
    )
}

fn certified(device: &Device, certificate: &Certificate) -> Result<Write, StoreError> {
    let number = device.totals().certificates;
    slot(
        Table::Certificate,
        device.serial(),
        "",
        number,
        CERTIFICATES_KEPT,
        certificate,
    )
}
