//! Finds the values at the places where they stand; whether the rest is right, the comparison in
//! [`ReferenceValues::verify`] says.

use std::collections::BTreeMap;

use minicbor::decode::{Decoder, Error};

use super::{
    DIGESTS_MAX, EXACT_PCRS, HARDWARE_MAX, Hardware, PHASES_MAX, Phase, ReferenceError,
    ReferenceValues, UserspaceLogging,
};
use crate::pcr_key::PcrSigningKey;
use crate::quote::Digest;

pub(super) fn corim(payload: &[u8]) -> Result<ReferenceValues, ReferenceError> {
    let raw = Raw::read(payload).map_err(ReferenceError::Malformed)?;
    Ok(ReferenceValues {
        image: raw.image.to_owned(),
        os_version: raw.os_version.to_owned(),
        rollback_epoch: raw.rollback_epoch,
        signing_key: PcrSigningKey::from_pem(raw.pem.as_bytes()).map_err(ReferenceError::Key)?,
        userspace_log: raw.userspace_log,
        exact: raw.exact,
        phases: raw.phases,
        hardware: raw.hardware,
    })
}

struct Raw<'a> {
    image: &'a str,
    os_version: &'a str,
    rollback_epoch: u64,
    pem: &'a str,
    userspace_log: UserspaceLogging,
    exact: BTreeMap<u8, Vec<Digest>>,
    phases: Vec<Phase>,
    hardware: Vec<Hardware>,
}

impl<'a> Raw<'a> {
    fn read(payload: &'a [u8]) -> Result<Self, Error> {
        let mut items = Decoder::new(payload);
        items.tag()?;
        items.map()?;
        items.u64()?;
        let image = items.str()?;
        items.u64()?;
        items.array()?;
        items.tag()?;
        Self::read_comid(image, items.bytes()?)
    }

    fn read_comid(image: &'a str, comid: &'a [u8]) -> Result<Self, Error> {
        let mut items = Decoder::new(comid);
        items.map()?;
        items.u64()?;
        items.map()?;
        items.u64()?;
        items.str()?;
        items.u64()?;
        items.map()?;
        items.u64()?;
        let triples = counted(items.array()?, HARDWARE_MAX.saturating_add(1))?;
        let mut raw = Self::read_image(image, &mut items)?;
        for _ in 1..triples {
            raw.hardware.push(read_model(&mut items)?);
        }
        Ok(raw)
    }

    fn read_image(image: &'a str, items: &mut Decoder<'a>) -> Result<Self, Error> {
        read_environment(items)?;
        let measurements = counted(items.array()?, PHASES_MAX.saturating_add(2))?;
        items.map()?;
        items.u64()?;
        items.map()?;
        items.u64()?;
        items.map()?;
        items.u64()?;
        let os_version = items.str()?;
        items.u64()?;
        items.tag()?;
        let rollback_epoch = items.u64()?;
        items.u64()?;
        items.array()?;
        items.tag()?;
        let pem = items.str()?;
        items.i64()?;
        let userspace_log = if items.bool()? {
            UserspaceLogging::Logged
        } else {
            UserspaceLogging::Unlogged
        };
        items.map()?;
        items.u64()?;
        items.map()?;
        items.u64()?;
        let mut exact = BTreeMap::new();
        for _ in 0..counted(items.map()?, EXACT_PCRS.len())? {
            let (pcr, digests) = read_register(items)?;
            exact.insert(pcr, digests);
        }
        let phases = (2..measurements)
            .map(|_| read_phase(items))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            image,
            os_version,
            rollback_epoch,
            pem,
            userspace_log,
            exact,
            phases,
            hardware: Vec::new(),
        })
    }
}

fn read_phase(items: &mut Decoder<'_>) -> Result<Phase, Error> {
    items.map()?;
    items.u64()?;
    let name = items.str()?.to_owned();
    items.u64()?;
    items.map()?;
    items.u64()?;
    items.map()?;
    let (_, digests) = read_register(items)?;
    match digests.as_slice() {
        [pcr11] => Ok(Phase {
            name,
            pcr11: *pcr11,
        }),
        _ => Err(Error::message("a phase has one digest")),
    }
}

fn read_model(items: &mut Decoder<'_>) -> Result<Hardware, Error> {
    let (vendor, model) = read_environment(items)?;
    items.array()?;
    items.map()?;
    items.u64()?;
    items.map()?;
    items.u64()?;
    items.map()?;
    let (_, pcr0) = read_register(items)?;
    let (_, pcr2) = read_register(items)?;
    Ok(Hardware {
        vendor: vendor.to_owned(),
        model: model.to_owned(),
        pcr0,
        pcr2,
    })
}

fn read_environment<'a>(items: &mut Decoder<'a>) -> Result<(&'a str, &'a str), Error> {
    items.array()?;
    items.map()?;
    items.u64()?;
    items.map()?;
    items.u64()?;
    let vendor = items.str()?;
    items.u64()?;
    Ok((vendor, items.str()?))
}

fn read_register(items: &mut Decoder<'_>) -> Result<(u8, Vec<Digest>), Error> {
    let pcr = items.u8()?;
    let mut digests = Vec::new();
    for _ in 0..counted(items.array()?, DIGESTS_MAX)? {
        items.array()?;
        items.u64()?;
        let digest = items.bytes()?;
        digests.push(
            digest
                .try_into()
                .map_err(|_| Error::message("a digest has 32 bytes"))?,
        );
    }
    Ok((pcr, digests))
}

/// A definite length that is no more than `max`.
fn counted(len: Option<u64>, max: usize) -> Result<usize, Error> {
    len.and_then(|len| usize::try_from(len).ok())
        .filter(|len| *len <= max)
        .ok_or_else(|| Error::message("a length is not as it may be"))
}
