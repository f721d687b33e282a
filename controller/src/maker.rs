//! A maker's vouchers (RFC 8366, in CMS with two signatures), from keys in files.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _, ML_DSA_65_SIGNING, PqdsaKeyPair,
};
use bartizan_bootstrap_protocol::certificate::Certificate;
use bartizan_bootstrap_protocol::cms::{self, CmsError, ContentType, MlDsa65Key, Signer};
use bartizan_bootstrap_protocol::serial::Serial;
use bartizan_bootstrap_protocol::voucher::{Assertion, Bound, Voucher, VoucherError, draft};
use bartizan_evidence::cose::Algorithm;
use bartizan_evidence::lease::OwnerTime;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;

use crate::device::Maker;

/// Signs vouchers.
pub struct VoucherSigner {
    certificates: Vec<Certificate>,
    es384: EcdsaKeyPair,
    ml_dsa_65: PqdsaKeyPair,
    ml_dsa_65_public: MlDsa65Key,
}

/// Which device is given to which owner.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The device.
    pub serial: Serial,
    /// Which ownership it is: higher than all before.
    pub epoch: u32,
    /// What keeps the voucher from counting for ever.
    pub bound: Bound,
    /// The owner's certificate authority.
    pub owner: Certificate,
    /// The owner's second key.
    pub owner_ml_dsa_65: MlDsa65Key,
}

/// No voucher is made, or it does not hold.
#[derive(Debug, thiserror::Error)]
pub enum MakerError {
    /// Not the private key of an ECDSA key on P-384.
    #[error("--key is no P-384 private key (PKCS#8, PEM)")]
    Es384,
    /// Not the private key of an ML-DSA-65 key.
    #[error("--ml-dsa-65-key is no ML-DSA-65 private key (PKCS#8, DER)")]
    MlDsa65,
    /// It could not be signed.
    #[error("cannot sign")]
    Sign,
    /// It says nothing that a voucher can say.
    #[error("no voucher")]
    Content(#[from] VoucherError),
    /// The signatures are not right, or not those of these certificates and keys.
    #[error("the signatures")]
    Cms(#[from] CmsError),
}

impl core::fmt::Debug for VoucherSigner {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("VoucherSigner(..)")
    }
}

impl VoucherSigner {
    /// Takes the signer's certificates, the leaf first, and both private keys: PKCS#8, the one of the leaf in PEM, the
    /// ML-DSA-65 one in DER.
    ///
    /// # Errors
    ///
    /// [`MakerError::Es384`], [`MakerError::MlDsa65`].
    pub fn new(
        certificates: Vec<Certificate>,
        es384: &[u8],
        ml_dsa_65: &[u8],
    ) -> Result<Self, MakerError> {
        let key = PrivatePkcs8KeyDer::from_pem_slice(es384).map_err(|_| MakerError::Es384)?;
        let es384 =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, key.secret_pkcs8_der());
        let ml_dsa_65 = PqdsaKeyPair::from_pkcs8(&ML_DSA_65_SIGNING, ml_dsa_65)
            .map_err(|_| MakerError::MlDsa65)?;
        let public = ml_dsa_65.public_key();
        let public = MlDsa65Key::from_bytes(public.as_ref()).ok_or(MakerError::MlDsa65)?;
        Ok(Self {
            certificates,
            es384: es384.map_err(|_| MakerError::Es384)?,
            ml_dsa_65,
            ml_dsa_65_public: public,
        })
    }

    /// Makes a voucher.
    ///
    /// # Errors
    ///
    /// [`MakerError`]; both signatures were checked when it is `Ok`.
    pub fn sign(&self, grant: Grant, now: OwnerTime) -> Result<Vec<u8>, MakerError> {
        let voucher = Voucher {
            created: now,
            bound: grant.bound,
            assertion: Assertion::Verified,
            serial: grant.serial,
            idevid_issuer: None,
            pinned_domain_cert: grant.owner,
            revocation_checks: None,
            epoch: grant.epoch,
            owner_ml_dsa_65: grant.owner_ml_dsa_65,
        };
        let json = voucher.encode()?;
        let draft = draft(&json, Some(now));
        let signed = draft.to_be_signed(Algorithm::Es384)?;
        let es384 = self.es384.sign(&SystemRandom::new(), &signed);
        let es384 = es384.map_err(|_| MakerError::Sign)?;
        let signed = draft.to_be_signed(Algorithm::MlDsa65)?;
        let mut second = vec![0; ML_DSA_65_SIGNING.signature_len()];
        let written = self.ml_dsa_65.sign(&signed, &mut second);
        if written.map_err(|_| MakerError::Sign)? != second.len() {
            return Err(MakerError::Sign);
        }
        let key = &self.ml_dsa_65_public;
        Ok(draft.assemble(&self.certificates, es384.as_ref(), key, &second)?)
    }
}

/// Says what a voucher says, once its signatures are checked.
///
/// # Errors
///
/// [`MakerError`].
pub fn show(bytes: &[u8], roots: &Maker, now: OwnerTime) -> Result<String, MakerError> {
    let signer = Signer::Under {
        anchor: &roots.es384,
        floor: now,
    };
    let json = cms::open(bytes, ContentType::Voucher, signer, &roots.ml_dsa_65)?;
    let voucher = Voucher::decode(&json)?;
    let bound = match &voucher.bound {
        Bound::Nonce(_) => "counts for one question alone".to_owned(),
        Bound::Expires(end) if *end < now => "has expired".to_owned(),
        Bound::Expires(end) => {
            format!("counts for {} days", end.since(now).as_secs() / 86_400)
        }
    };
    Ok(format!(
        "serial {}\nepoch {}\n{bound}\nboth signatures hold\n",
        voucher.serial, voucher.epoch
    ))
}
