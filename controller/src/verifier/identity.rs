//! Who a box is: its endorsement keys, attestation key and IDevID, and how they hang together
//! (V4, V5, V6, V9).

use aws_lc_rs::digest::{SHA256, digest};
use bartizan_bootstrap_protocol::certificate::Certificate;
use bartizan_bootstrap_protocol::serial::Serial;
use bartizan_evidence::lease::OwnerTime;
use bartizan_evidence::quote::AttestationKey;
use bartizan_evidence::structures::{Attributes, Public, endorsement_template};
use bartizan_evidence::verdict::{Class, Failure, Rule};
use bartizan_model::config::Der;
use bartizan_model::identity::{Endorsement, TpmIdentity};

use crate::chains::{Roots, Usage, spki};
use crate::device::{Bytes, EndorsementPin, Identity, Kind};

/// Whose word is taken on what a box is made of.
#[derive(Debug, Default)]
pub struct Makers {
    /// The roots of the makers of TPMs.
    pub tpms: Roots,
    /// The roots of the makers of boxes.
    pub boxes: Roots,
    /// Endorsement keys that are not to be believed, though their maker certified them: SHA-256 of
    /// their `SubjectPublicKeyInfo`.
    pub denied: Vec<[u8; 32]>,
}

/// A box whose keys are what they should be. That they sit in one TPM, activation shows.
#[derive(Clone, Debug)]
pub struct Examined {
    /// The endorsement key that a credential is made for: the first of its list.
    pub endorsement: Public,
    /// The attestation key.
    pub ak: AttestationKey,
    /// What is kept of all this.
    pub identity: Identity,
}

impl Makers {
    /// Examines what a box says of itself: it claims `serial`, and holds the key of the certificate
    /// `shown` in its TLS handshake.
    ///
    /// # Errors
    ///
    /// [`Failure`] by the first rule that is broken.
    pub fn examine(
        &self,
        tpm: &TpmIdentity,
        serial: &Serial,
        kind: Kind,
        shown: &Der,
        now: OwnerTime,
    ) -> Result<Examined, Failure> {
        let ak = AttestationKey::parse(&tpm.ak)?;
        let idevid = idevid_key(tpm)?;
        if spki(shown).ok().as_ref() != Some(&idevid) {
            return Err(identity(
                Rule::V9,
                "the TLS client's key is not the IDevID key of the TPM",
            ));
        }
        let keys = tpm
            .endorsement
            .iter()
            .map(|key| self.endorsement(key, &tpm.endorsement_chain, now));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        let Some(endorsement) = keys.first().cloned() else {
            return Err(identity(Rule::V6, "there is no endorsement key"));
        };
        match kind {
            Kind::Idevid => self.certified(tpm, serial, &ak, &idevid, now)?,
            Kind::Ek => {
                if *serial != Serial::of_endorsement(&endorsement.spki()) {
                    return Err(identity(
                        Rule::V9,
                        "the serial number is not that of the endorsement key",
                    ));
                }
            }
        }
        let pins = keys.iter().zip(&tpm.endorsement).map(pin);
        Ok(Examined {
            identity: Identity {
                endorsement: pins.collect(),
                ak: Bytes(tpm.ak.clone()),
                idevid: Bytes(idevid),
            },
            endorsement,
            ak,
        })
    }

    /// One endorsement key (V6).
    fn endorsement(
        &self,
        key: &Endorsement,
        chain: &[Der],
        now: OwnerTime,
    ) -> Result<Public, Failure> {
        let public = Public::parse(&key.public)
            .map_err(|error| malformed(&format!("the endorsement key: {error}")))?;
        if endorsement_template(&public).is_none() {
            return Err(identity(
                Rule::V6,
                "the endorsement key is made by none of the default templates",
            ));
        }
        let mut path = vec![key.certificate.clone()];
        path.extend(chain.iter().cloned());
        let certified = self.tpms.check(&path, Usage::Endorsement, now);
        let certified = certified.map_err(|error| {
            identity(
                Rule::V6,
                &format!("the endorsement key: {}", crate::serve::chain(&error)),
            )
        })?;
        if certified != public.spki() {
            return Err(identity(
                Rule::V6,
                "the endorsement key is not the one in its certificate",
            ));
        }
        if self.denied.contains(&sha256(&certified)) {
            return Err(identity(Rule::V6, "the endorsement key is denied"));
        }
        Ok(public)
    }

    /// The maker's certificates over the IDevID and the attestation key.
    fn certified(
        &self,
        tpm: &TpmIdentity,
        serial: &Serial,
        ak: &AttestationKey,
        idevid: &[u8],
        now: OwnerTime,
    ) -> Result<(), Failure> {
        let keys = [
            ("the IDevID key", &tpm.idevid_chain, Usage::Device, idevid),
            (
                "the attestation key",
                &tpm.ak_chain,
                Usage::Attestation,
                &ak.public().spki(),
            ),
        ];
        for (name, chain, usage, key) in keys {
            let certified = self.boxes.check(chain, usage, now).map_err(|error| {
                identity(
                    Rule::V9,
                    &format!("{name}: {}", crate::serve::chain(&error)),
                )
            })?;
            if certified != key {
                return Err(identity(
                    Rule::V9,
                    &format!("{name} is not the one in its certificate"),
                ));
            }
            let names = chain
                .first()
                .and_then(|leaf| Certificate::from_der(&leaf.0).ok())
                .and_then(|leaf| leaf.subject_serial_number());
            if names.as_deref() != Some(serial.as_str()) {
                return Err(identity(
                    Rule::V9,
                    &format!("the certificate of {name} has another serial number"),
                ));
            }
        }
        Ok(())
    }
}

/// The IDevID key: one that a TPM made and keeps, and that signs.
fn idevid_key(tpm: &TpmIdentity) -> Result<Vec<u8>, Failure> {
    let public = Public::parse(&tpm.idevid)
        .map_err(|error| malformed(&format!("the IDevID key: {error}")))?;
    let has = [
        Attributes::FIXED_TPM,
        Attributes::FIXED_PARENT,
        Attributes::SENSITIVE_DATA_ORIGIN,
        Attributes::SIGN,
    ];
    let lacks = [Attributes::RESTRICTED, Attributes::DECRYPT];
    if has.iter().all(|has| public.attributes.contains(*has))
        && !lacks.iter().any(|lacks| public.attributes.contains(*lacks))
    {
        Ok(public.spki())
    } else {
        Err(identity(
            Rule::V4,
            "the IDevID key has other attributes than it should",
        ))
    }
}

fn pin((public, key): (&Public, &Endorsement)) -> EndorsementPin {
    EndorsementPin {
        name: Bytes(public.name().0),
        certificate: Bytes(sha256(&key.certificate.0).to_vec()),
    }
}

fn identity(rule: Rule, text: &str) -> Failure {
    Failure::new(rule, Class::Identity, text)
}

fn malformed(text: &str) -> Failure {
    Failure::new(Rule::V14, Class::Malformed, text)
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(digest(&SHA256, bytes).as_ref());
    sha256
}
