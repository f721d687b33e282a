//! The keys that the TPM always makes again from its seeds: nothing stores them, and
//! `TPM2_Clear` does not change them.

use tss_esapi::constants::CapabilityType;
use tss_esapi::handles::{KeyHandle, PersistentTpmHandle, TpmHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::dynamic_handles::Persistent;
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::resource_handles::{Hierarchy, Provision};
use tss_esapi::structures::CapabilityData;
use tss_esapi::traits::Marshall as _;

use crate::device::{EMPTY, NONE, Tpm, TpmError};
use crate::template::{DeviceKey, EndorsementKind, Strength, Template, storage};

/// A key that stands at a handle, and its `TPMT_PUBLIC`.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) key: KeyHandle,
    pub(crate) public: Vec<u8>,
}

/// The box's attestation key and its IDevID key.
#[derive(Clone, Debug)]
pub struct DeviceKeys {
    pub(crate) attestation: Standing,
    pub(crate) idevid: Standing,
    pub(crate) strength: Strength,
}

impl DeviceKeys {
    /// Finds both keys at their handles, or makes them again and lets them stand there.
    ///
    /// # Errors
    ///
    /// [`TpmError::ForeignKey`] if the handles are taken by other keys, else what the TPM says.
    pub fn open(tpm: &mut Tpm) -> Result<Self, TpmError> {
        let strength = strongest(tpm)?;
        let mut open = |key: DeviceKey| {
            let template = key.template(strength);
            find_or_make(tpm, Hierarchy::Endorsement, &template, &key.handles())?
                .ok_or(TpmError::ForeignKey)
        };
        Ok(Self {
            attestation: open(DeviceKey::Attestation)?,
            idevid: open(DeviceKey::Idevid)?,
            strength,
        })
    }

    /// Takes both from their handles; the TPM can make them again.
    ///
    /// # Errors
    ///
    /// What the TPM says.
    pub(crate) fn evict(tpm: &mut Tpm) -> Result<(), TpmError> {
        let strength = strongest(tpm)?;
        for key in [DeviceKey::Attestation, DeviceKey::Idevid] {
            let template = key.template(strength);
            for handle in key.handles() {
                if let Some(standing) = standing(tpm, handle)?
                    && template.made(&standing.public)
                {
                    evict(tpm, &standing, handle)?;
                }
            }
        }
        Ok(())
    }

    /// `TPMT_PUBLIC` of one of them.
    pub fn public(&self, key: DeviceKey) -> &[u8] {
        match key {
            DeviceKey::Attestation => &self.attestation.public,
            DeviceKey::Idevid => &self.idevid.public,
        }
    }
}

/// Does work with an endorsement key.
///
/// It is left at its TCG handle, if there is room: to make an RSA key takes a TPM seconds.
pub(crate) fn with_endorsement<T>(
    tpm: &mut Tpm,
    kind: EndorsementKind,
    work: impl FnOnce(&mut Tpm, &Standing) -> Result<T, TpmError>,
) -> Result<T, TpmError> {
    let template = kind.template();
    match find_or_make(tpm, Hierarchy::Endorsement, &template, &[kind.handle()]) {
        Ok(Some(standing)) => {
            let done = work(tpm, &standing);
            forget(tpm, &standing)?;
            done
        }
        Ok(None) | Err(TpmError::Refused { .. }) => {
            with_primary(tpm, Hierarchy::Endorsement, &template, work)
        }
        Err(error) => Err(error),
    }
}

/// Does work with the storage root.
pub(crate) fn with_storage<T>(
    tpm: &mut Tpm,
    work: impl FnOnce(&mut Tpm, &Standing) -> Result<T, TpmError>,
) -> Result<T, TpmError> {
    with_primary(tpm, Hierarchy::Owner, &storage(), work)
}

/// What stands at a persistent handle; `None` if nothing does.
pub(crate) fn standing(tpm: &mut Tpm, handle: u32) -> Result<Option<Standing>, TpmError> {
    let found = tpm.call("find a key", NONE, |context| {
        let wanted = TpmHandle::Persistent(PersistentTpmHandle::new(handle)?);
        let (stands, _more) = context.get_capability(CapabilityType::Handles, handle, 1)?;
        // The list begins with the first handle that is not lower.
        if let CapabilityData::Handles(stands) = stands
            && stands.contains(&wanted)
        {
            context.tr_from_tpm_public(wanted).map(Some)
        } else {
            Ok(None)
        }
    })?;
    let Some(key) = found.map(KeyHandle::from) else {
        return Ok(None);
    };
    let public = tpm.call("read a public area", NONE, |context| {
        let (public, ..) = context.read_public(key)?;
        public.marshall()
    })?;
    Ok(Some(Standing { key, public }))
}

/// Lets a loaded key stand at a handle.
pub(crate) fn persist(tpm: &mut Tpm, key: KeyHandle, handle: u32) -> Result<(), TpmError> {
    tpm.call("let a key stand", EMPTY, |context| {
        let handle = Persistent::Persistent(PersistentTpmHandle::new(handle)?);
        let mut stands = context.evict_control(Provision::Owner, key.into(), handle)?;
        context.tr_close(&mut stands)
    })
}

/// Takes a key from its handle.
pub(crate) fn evict(tpm: &mut Tpm, standing: &Standing, handle: u32) -> Result<(), TpmError> {
    tpm.call("evict a key", EMPTY, |context| {
        let handle = Persistent::Persistent(PersistentTpmHandle::new(handle)?);
        context.evict_control(Provision::Owner, standing.key.into(), handle)
    })?;
    Ok(())
}

/// Frees the library's note of a key that stands.
pub(crate) fn forget(tpm: &mut Tpm, standing: &Standing) -> Result<(), TpmError> {
    tpm.call("forget a key", NONE, |context| {
        context.tr_close(&mut standing.key.into())
    })
}

/// Finds a primary at the first handle where one of its template stands, else makes it and lets it
/// stand at the first that is free; `None` if all are taken by others.
fn find_or_make(
    tpm: &mut Tpm,
    hierarchy: Hierarchy,
    template: &Template,
    handles: &[u32],
) -> Result<Option<Standing>, TpmError> {
    let mut free = None;
    for &handle in handles {
        match standing(tpm, handle)? {
            Some(standing) if template.made(&standing.public) => return Ok(Some(standing)),
            Some(foreign) => forget(tpm, &foreign)?,
            None => free = free.or(Some(handle)),
        }
    }
    let Some(handle) = free else {
        return Ok(None);
    };
    with_primary(tpm, hierarchy, template, |tpm, primary| {
        persist(tpm, primary.key, handle)
    })?;
    standing(tpm, handle)
}

fn with_primary<T>(
    tpm: &mut Tpm,
    hierarchy: Hierarchy,
    template: &Template,
    work: impl FnOnce(&mut Tpm, &Standing) -> Result<T, TpmError>,
) -> Result<T, TpmError> {
    let public = template.public()?;
    let made = tpm.call("make a primary key", EMPTY, |context| {
        context.create_primary(hierarchy, public, None, None, None, None)
    })?;
    let key = made.key_handle;
    tpm.holding(key.into(), |tpm| {
        let public = made
            .out_public
            .marshall()
            .map_err(|cause| TpmError::of("make a primary key", cause))?;
        work(tpm, &Standing { key, public })
    })
}

/// The best keys that the TPM can make.
fn strongest(tpm: &mut Tpm) -> Result<Strength, TpmError> {
    let curve = first_from(tpm, CapabilityType::EccCurves, P384)?;
    let curve = matches!(curve, Some(CapabilityData::EccCurves(curves))
        if curves.contains(&EccCurve::NistP384.into()));
    let hash = first_from(tpm, CapabilityType::Algorithms, SHA384)?;
    let hash = matches!(hash, Some(CapabilityData::Algorithms(algorithms))
        if algorithms.find(HashingAlgorithm::Sha384.into()).is_some());
    Ok(if curve && hash {
        Strength::P384
    } else {
        Strength::P256
    })
}

/// `TPM_ECC_NIST_P384`.
const P384: u32 = 0x0004;
/// `TPM_ALG_SHA384`.
const SHA384: u32 = 0x000c;

/// The first of a list that is not lower; `None` if the library does not know it.
fn first_from(
    tpm: &mut Tpm,
    list: CapabilityType,
    from: u32,
) -> Result<Option<CapabilityData>, TpmError> {
    let listed = tpm.call("list what it can", NONE, |context| {
        match context.get_capability(list, from, 1) {
            Ok((listed, _more)) => Ok(Some(listed)),
            Err(tss_esapi::Error::WrapperError(_)) => Ok(None),
            Err(error) => Err(error),
        }
    })?;
    Ok(listed)
}
