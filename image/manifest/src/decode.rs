//! Finds the values at the places where they stand; whether the rest is right, the comparison in
//! [`Manifest::decode`] says.

use minicbor::decode::{Decoder, Error};

use crate::manifest::{Contents, Manifest, ManifestError, PartContents};
use crate::version::Version;

/// How many parts there are.
pub(crate) const PARTS: u64 = 7;

pub(crate) fn manifest(payload: &[u8]) -> Result<Manifest, ManifestError> {
    let raw = Raw::read(payload).map_err(ManifestError::Malformed)?;
    Ok(Manifest {
        machine: raw.machine.to_owned(),
        version: Version::try_from(raw.version).map_err(ManifestError::Version)?,
        min_version: Version::try_from(raw.min_version).map_err(ManifestError::Version)?,
        rollback_epoch: raw.rollback_epoch,
        root_hash: raw.root_hash.try_into().map_err(|_| ManifestError::Form)?,
        parts: raw.parts,
    })
}

struct Raw<'a> {
    machine: &'a str,
    version: &'a str,
    min_version: &'a str,
    rollback_epoch: u64,
    root_hash: &'a [u8],
    parts: Contents<PartContents>,
}

impl<'a> Raw<'a> {
    fn read(payload: &'a [u8]) -> Result<Self, Error> {
        let mut items = Decoder::new(payload);
        items.map()?;
        items.u64()?;
        items.str()?;
        items.u64()?;
        let machine = items.str()?;
        items.u64()?;
        let version = items.str()?;
        items.u64()?;
        let min_version = items.str()?;
        items.u64()?;
        let rollback_epoch = items.u64()?;
        items.u64()?;
        let root_hash = items.bytes()?;
        items.u64()?;
        items.array()?;
        // Fields are evaluated as they are written: in the order of the parts.
        let parts = Contents {
            root: part(&mut items)?,
            verity: part(&mut items)?,
            uki: part(&mut items)?,
            recovery: part(&mut items)?,
            boot_loader: part(&mut items)?,
            reference_values: part(&mut items)?,
            bill_of_materials: part(&mut items)?,
        };
        Ok(Self {
            machine,
            version,
            min_version,
            rollback_epoch,
            root_hash,
            parts,
        })
    }
}

fn part(items: &mut Decoder<'_>) -> Result<PartContents, Error> {
    items.array()?;
    let size = items.u64()?;
    let sha256 = items.bytes()?;
    Ok(PartContents {
        size,
        sha256: sha256
            .try_into()
            .map_err(|_| Error::message("a digest has 32 bytes"))?,
    })
}
