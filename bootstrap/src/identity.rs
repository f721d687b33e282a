//! What the box is, from what its TPM says and its image: the name that vouchers are for, and the
//! certificate that it shows.

use std::sync::Arc;

use bartizan_bootstrap_protocol::bootstrap::{Device, Manufacturer};
use bartizan_bootstrap_protocol::certificate::Certificate;
use bartizan_bootstrap_protocol::serial::Serial;
use bartizan_bootstrap_protocol::version::OsVersion;
use bartizan_evidence::lease::OwnerTime;
use bartizan_evidence::structures::{self, Key, Public};
use bartizan_model::config::{BootstrapConfig, Der};
use bartizan_model::identity::TpmIdentity;
use bartizan_tls::{Curve, Signer, Tpm};

use crate::certificate::self_signed;
use crate::error::AttemptError;
use crate::tpm;

/// What the box is.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) device: Device,
    pub(crate) tpm: TpmIdentity,
    /// Of the IDevID key, the leaf first.
    pub(crate) chain: Vec<Der>,
    pub(crate) signer: Arc<Signer>,
}

impl Identity {
    /// Asks the TPM; blocks.
    pub(crate) fn learn(config: &BootstrapConfig, tpm: &Tpm) -> Result<Self, AttemptError> {
        let identity = tpm::identity(tpm)?;
        let idevid = public(&identity.idevid, "the IDevID key")?;
        let curve = curve(&idevid)?;
        let signer = Signer::idevid(tpm.clone(), curve);
        let leaf = identity.idevid_chain.first();
        let leaf = leaf
            .map(|der| Certificate::from_der(&der.0))
            .transpose()
            .map_err(|_| AttemptError::Identity("the IDevID certificate is none"))?;
        let serial = serial(leaf.as_ref(), &identity)?;
        let chain = if leaf.is_some() {
            identity.idevid_chain.clone()
        } else {
            vec![self_signed(&serial, &idevid.spki(), curve, &signer)?]
        };
        let manufacturer = Manufacturer::try_from(&config.manufacturer)
            .map_err(|_| AttemptError::Identity("the roots for vouchers are none"))?;
        let os_version = OsVersion::try_from(config.os_version.as_str())
            .map_err(|_| AttemptError::Identity("the os-version is none"))?;
        let floors = identity.floors;
        Ok(Self {
            device: Device {
                serial,
                idevid_issuer: leaf.and_then(|leaf| leaf.authority_key_identifier()),
                hw_model: config.hw_model.clone(),
                os_name: config.os_name.clone(),
                os_version,
                manufacturer,
                ownership_floor: floors.ownership.unwrap_or_default(),
                time_floor: OwnerTime(floors.time.unwrap_or_default()),
            },
            tpm: identity,
            chain,
            signer: Arc::new(signer),
        })
    }
}

/// The maker's certificate names the box; without one, its first endorsement key does.
fn serial(leaf: Option<&Certificate>, identity: &TpmIdentity) -> Result<Serial, AttemptError> {
    if let Some(leaf) = leaf {
        let text = leaf.subject_serial_number();
        return text
            .and_then(|text| Serial::try_from(text).ok())
            .ok_or(AttemptError::Identity(
                "the IDevID certificate has no serial",
            ));
    }
    let endorsement = identity.endorsement.first();
    let endorsement = endorsement.ok_or(AttemptError::Identity("no endorsement key"))?;
    let key = public(&endorsement.public, "the endorsement key")?;
    Ok(Serial::of_endorsement(&key.spki()))
}

fn public(bytes: &[u8], what: &'static str) -> Result<Public, AttemptError> {
    Public::parse(bytes).map_err(|_| AttemptError::Identity(what))
}

fn curve(key: &Public) -> Result<Curve, AttemptError> {
    let unknown = AttemptError::Identity("the IDevID key is on no known curve");
    let Key::Ecc { curve, .. } = &key.key else {
        return Err(unknown);
    };
    match curve {
        structures::Curve::P256 => Ok(Curve::P256),
        structures::Curve::P384 => Ok(Curve::P384),
    }
}
