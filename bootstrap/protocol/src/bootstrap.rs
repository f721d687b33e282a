//! How a box finds its owner: what it asks, in which order it checks the answer, how often it lets
//! itself be sent elsewhere.
//!
//! [`Trail::ask`] and [`Trail::carry`] give an [`Asked`], which one answer consumes. Only signed
//! data counts, whoever brought it, so no server needs to be trusted.

use bartizan_evidence::lease::OwnerTime;
use bartizan_model::config::{Artifacts, Der, VoucherRoots};
use bartizan_model::ids::Nonce;

use crate::certificate::{Certificate, CertificateError, check_path};
use crate::cms::{self, CmsError, ContentType, MlDsa65Key, Signer};
use crate::conveyed::{BootImage, ConveyedError, Information, Server};
use crate::serial::Serial;
use crate::site::Site;
use crate::sztp::{Question, Wanted};
use crate::version::OsVersion;
use crate::voucher::{Assertion, Bound, Voucher, VoucherError};

/// How often a box lets itself be sent elsewhere.
pub const REDIRECTS_MAX: u8 = 4;

/// The most bytes of signed data, all three messages.
pub const ARTIFACTS_MAX: usize = 48 * 1024;

/// What a box knows of itself.
#[derive(Clone, Debug)]
pub struct Device {
    /// Its name.
    pub serial: Serial,
    /// The authority of its IDevID certificate, if it has one: as
    /// [`Certificate::authority_key_identifier`] has it.
    pub idevid_issuer: Option<Vec<u8>>,
    /// `hw-model`.
    pub hw_model: String,
    /// What it runs.
    pub os_name: String,
    /// Which version of that.
    pub os_version: OsVersion,
    /// Who makes its vouchers.
    pub manufacturer: Manufacturer,
    /// The floor of ownerships in its TPM; 0 if there was none yet.
    pub ownership_floor: u64,
    /// The floor of time in its TPM: it is no earlier than this.
    pub time_floor: OwnerTime,
}

/// The two keys under which a voucher must verify.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Manufacturer {
    root: Certificate,
    ml_dsa_65: MlDsa65Key,
}

/// The roots of the image are none.
#[derive(Debug, thiserror::Error)]
pub enum ManufacturerError {
    /// The root certificate.
    #[error("the root for vouchers is no certificate")]
    Root(#[source] CertificateError),
    /// The ML-DSA-65 key.
    #[error("the ML-DSA-65 key for vouchers is none")]
    MlDsa65,
}

impl TryFrom<&VoucherRoots> for Manufacturer {
    type Error = ManufacturerError;

    fn try_from(roots: &VoucherRoots) -> Result<Self, ManufacturerError> {
        let Der(root) = &roots.es384;
        Ok(Self {
            root: Certificate::from_der(root).map_err(ManufacturerError::Root)?,
            ml_dsa_65: MlDsa65Key::from_bytes(&roots.ml_dsa_65)
                .ok_or(ManufacturerError::MlDsa65)?,
        })
    }
}

/// How often a box was sent elsewhere until now.
#[derive(Debug, Default)]
pub struct Trail {
    redirects: u8,
}

/// A question that waits for its answer.
#[derive(Debug)]
pub struct Asked {
    redirects: u8,
    nonce: Option<Nonce>,
}

/// What a box found.
#[derive(Debug)]
pub enum Found {
    /// Other servers to ask, in this order until one answers; each with a trail of its own.
    Elsewhere(Vec<(Server, Trail)>),
    /// Its owner.
    Owner(Box<Owner>),
}

/// A box's owner, by everything that it must be known by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Owner {
    /// The epoch of the voucher; the ownership floor when the box is enrolled.
    pub epoch: u64,
    /// It is no earlier than this: the floor of time, or when the maker made the voucher.
    pub since: OwnerTime,
    /// What the owner conveyed.
    pub site: Site,
}

/// Why an answer is refused: the first reason, in the order of the checks.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// More bytes than signed data has.
    #[error("the signed data has more than {ARTIFACTS_MAX} bytes")]
    TooLong,
    /// The maker did not sign the voucher.
    #[error("the voucher is not signed by the manufacturer")]
    VoucherSignature(#[source] CmsError),
    /// What the maker signed is no voucher.
    #[error("the manufacturer signed something else than a voucher")]
    Voucher(#[source] VoucherError),
    /// It is for another box.
    #[error("the voucher is for another serial number")]
    Serial,
    /// It is for a box whose IDevID somebody else certified.
    #[error("the voucher is for a box with another IDevID issuer")]
    IdevidIssuer,
    /// It rests on a proof that was not made.
    #[error("the voucher asserts a proximity that nobody proved")]
    Assertion,
    /// It wants something to be asked that cannot be.
    #[error("the voucher demands revocation checks")]
    RevocationChecks,
    /// It answers another question, or one was not asked.
    #[error("the voucher answers another question")]
    Nonce,
    /// It ended before what is surely past.
    #[error("the voucher has expired")]
    Expired,
    /// The owner certificate is none.
    #[error("cannot decode the owner certificate")]
    OwnerCertificate(#[source] CmsError),
    /// The owner is another one.
    #[error("the owner certificate does not chain to the pinned domain certificate")]
    Owner(#[source] CertificateError),
    /// The owner did not sign the conveyed information.
    #[error("the conveyed information is not signed by the owner")]
    ConveyedSignature(#[source] CmsError),
    /// What the owner signed is no conveyed information.
    #[error("the owner signed something else than conveyed information")]
    Conveyed(#[source] ConveyedError),
    /// It is for another system.
    #[error("the conveyed information is for another os-name")]
    OsName,
    /// It is for an older version than the one that runs.
    #[error("the conveyed information is for the older os-version {wanted}")]
    OsVersionOlder {
        /// Which.
        wanted: OsVersion,
    },
    /// It is for a newer version than the one that runs.
    #[error("the conveyed information is for the newer os-version {wanted}")]
    OsVersionNewer {
        /// Which.
        wanted: OsVersion,
    },
    /// The ownership that it speaks of is over.
    #[error("the voucher's ownership epoch {epoch} is below the floor {floor}")]
    Epoch {
        /// Of the voucher.
        epoch: u64,
        /// Of the box.
        floor: u64,
    },
    /// Too many redirects.
    #[error("sent elsewhere more than {REDIRECTS_MAX} times")]
    Redirects,
}

impl Trail {
    /// Asks a bootstrap server; `nonce` is fresh.
    pub fn ask(self, device: &Device, nonce: Nonce) -> (Question, Asked) {
        let question = Question {
            hw_model: Some(device.hw_model.clone()),
            os_name: Some(device.os_name.clone()),
            os_version: Some(device.os_version.to_string()),
            nonce: Some(nonce),
            data: Wanted::Signed,
        };
        let asked = Asked {
            redirects: self.redirects,
            nonce: Some(nonce),
        };
        (question, asked)
    }

    /// Takes what a medium carries: nobody was asked, so no voucher with a nonce counts.
    pub fn carry(self) -> Asked {
        Asked {
            redirects: self.redirects,
            nonce: None,
        }
    }
}

impl Asked {
    /// Checks an answer, everything in its order.
    ///
    /// # Errors
    ///
    /// [`Refusal`] with the first check that failed.
    pub fn answered(self, artifacts: &Artifacts, device: &Device) -> Result<Found, Refusal> {
        let parts = [
            &artifacts.ownership_voucher,
            &artifacts.owner_certificate,
            &artifacts.conveyed_information,
        ];
        if parts.iter().map(|part| part.len()).sum::<usize>() > ARTIFACTS_MAX {
            return Err(Refusal::TooLong);
        }
        let voucher = genuine(&artifacts.ownership_voucher, device)?;
        check_addressee(&voucher, device)?;
        let since = device.time_floor.max(voucher.created);
        check_bound(&voucher, self.nonce, since)?;
        let owner = owner(&artifacts.owner_certificate, &voucher, since)?;
        let information = conveyed(&artifacts.conveyed_information, &owner, &voucher)?;
        check_image(&information, device)?;
        check_epoch(&voucher, device)?;
        self.found(information, voucher.epoch, since)
    }

    fn found(
        self,
        information: Information,
        epoch: u32,
        since: OwnerTime,
    ) -> Result<Found, Refusal> {
        match information {
            Information::Onboarding(onboarding) => Ok(Found::Owner(Box::new(Owner {
                epoch: u64::from(epoch),
                since,
                site: onboarding.site,
            }))),
            Information::Redirect(servers) => {
                let redirects = self.redirects.saturating_add(1);
                if redirects > REDIRECTS_MAX {
                    return Err(Refusal::Redirects);
                }
                let servers = servers.into_iter();
                let elsewhere = servers.map(|server| (server, Trail { redirects }));
                Ok(Found::Elsewhere(elsewhere.collect()))
            }
        }
    }
}

/// The maker's word, by both its signatures.
fn genuine(cms: &[u8], device: &Device) -> Result<Voucher, Refusal> {
    let signer = Signer::Under {
        anchor: &device.manufacturer.root,
        floor: device.time_floor,
    };
    let key = &device.manufacturer.ml_dsa_65;
    let json =
        cms::open(cms, ContentType::Voucher, signer, key).map_err(Refusal::VoucherSignature)?;
    Voucher::decode(&json).map_err(Refusal::Voucher)
}

/// Whether the voucher is for this box, and asks nothing that it cannot do.
fn check_addressee(voucher: &Voucher, device: &Device) -> Result<(), Refusal> {
    if voucher.serial != device.serial {
        return Err(Refusal::Serial);
    }
    if voucher.idevid_issuer.is_some() && voucher.idevid_issuer != device.idevid_issuer {
        return Err(Refusal::IdevidIssuer);
    }
    if voucher.assertion == Assertion::Proximity {
        return Err(Refusal::Assertion);
    }
    if voucher.revocation_checks == Some(true) {
        return Err(Refusal::RevocationChecks);
    }
    Ok(())
}

fn check_bound(voucher: &Voucher, asked: Option<Nonce>, floor: OwnerTime) -> Result<(), Refusal> {
    match &voucher.bound {
        Bound::Nonce(nonce) => {
            let same = asked.is_some_and(|asked| asked.0.as_slice() == nonce);
            same.then_some(()).ok_or(Refusal::Nonce)
        }
        Bound::Expires(end) if *end < floor => Err(Refusal::Expired),
        Bound::Expires(_) => Ok(()),
    }
}

/// The owner's certificate: the one of those at hand that issued none of the others.
fn owner(cms: &[u8], voucher: &Voucher, since: OwnerTime) -> Result<Certificate, Refusal> {
    let certificates = cms::certificates(cms).map_err(Refusal::OwnerCertificate)?;
    let leaf = Certificate::leaf_of(&certificates)
        .ok_or(Refusal::OwnerCertificate(CmsError::Form))?
        .clone();
    check_path(&leaf, &certificates, &voucher.pinned_domain_cert, since).map_err(Refusal::Owner)?;
    Ok(leaf)
}

/// What the owner conveyed, by both its signatures.
fn conveyed(cms: &[u8], owner: &Certificate, voucher: &Voucher) -> Result<Information, Refusal> {
    let content_type = ContentType::ConveyedInformation;
    let signer = Signer::Is(owner);
    let json = cms::open(cms, content_type, signer, &voucher.owner_ml_dsa_65)
        .map_err(Refusal::ConveyedSignature)?;
    Information::decode(&json).map_err(Refusal::Conveyed)
}

/// Whether the box runs what the owner wants it to: it neither goes back nor brings itself forward.
fn check_image(information: &Information, device: &Device) -> Result<(), Refusal> {
    let Information::Onboarding(onboarding) = information else {
        return Ok(());
    };
    let Some(BootImage {
        os_name,
        os_version,
    }) = &onboarding.boot_image
    else {
        return Ok(());
    };
    if os_name.as_ref().is_some_and(|name| *name != device.os_name) {
        return Err(Refusal::OsName);
    }
    match os_version.clone() {
        Some(wanted) if wanted < device.os_version => Err(Refusal::OsVersionOlder { wanted }),
        Some(wanted) if wanted > device.os_version => Err(Refusal::OsVersionNewer { wanted }),
        Some(_) | None => Ok(()),
    }
}

fn check_epoch(voucher: &Voucher, device: &Device) -> Result<(), Refusal> {
    let (epoch, floor) = (u64::from(voucher.epoch), device.ownership_floor);
    if epoch < floor {
        return Err(Refusal::Epoch { epoch, floor });
    }
    Ok(())
}
