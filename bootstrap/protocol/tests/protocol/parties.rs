//! A maker, two owners and a box; keys are in software.

use bartizan_bootstrap_protocol::bootstrap::{Device, Found, Manufacturer, Refusal, Trail};
use bartizan_bootstrap_protocol::certificate::Certificate;
use bartizan_bootstrap_protocol::cms::{self, Draft, MlDsa65Key};
use bartizan_bootstrap_protocol::conveyed::{self, BootImage, Information, Onboarding};
use bartizan_bootstrap_protocol::serial::Serial;
use bartizan_bootstrap_protocol::site::Site;
use bartizan_bootstrap_protocol::version::OsVersion;
use bartizan_bootstrap_protocol::voucher::{self, Assertion, Bound, Voucher};
use bartizan_evidence::cose::Algorithm;
use bartizan_evidence::lease::OwnerTime;
use bartizan_model::config::{Artifacts, Der, VerifierKeys, VoucherRoots};
use bartizan_model::ids::{NodeId, Nonce};
use bartizan_model::ownership::{Interface, Port, Route, SiteNetwork};
use bartizan_model::policy::Prefix;
use ml_dsa::signature::Signer as _;
use ml_dsa::{MlDsa65, SigningKey as MlDsaSigningKey};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P384_SHA384, SigningKey as _, date_time_ymd,
};

/// 2026-11-23T12:00:00Z.
pub(crate) const NOW: OwnerTime = OwnerTime(1_795_435_200);

pub(crate) const SERIAL: &str = "BZ-0001";

/// Who signs: a root, a certificate under it, and an ML-DSA-65 key.
pub(crate) struct Party {
    pub(crate) ca: CertifiedIssuer<'static, KeyPair>,
    pub(crate) key: KeyPair,
    pub(crate) leaf: Certificate,
    pub(crate) ml_dsa_65: MlDsaSigningKey<MlDsa65>,
}

impl Party {
    pub(crate) fn new(name: &str, seed: u8) -> Self {
        Self::with(name, seed, |_| {})
    }

    /// `change` has the last word on the leaf's certificate.
    pub(crate) fn with(name: &str, seed: u8, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let ca = ca(name);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        let mut params = params(&format!("{name} signer"));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        change(&mut params);
        let leaf = params.signed_by(&key, &ca).unwrap();
        Self {
            leaf: Certificate::from_der(leaf.der()).unwrap(),
            ca,
            key,
            ml_dsa_65: MlDsaSigningKey::from_seed(&[seed; 32].into()),
        }
    }

    pub(crate) fn root(&self) -> Certificate {
        Certificate::from_der(self.ca.der()).unwrap()
    }

    pub(crate) fn ml_dsa_key(&self) -> MlDsa65Key {
        let public = self.ml_dsa_65.expanded_key().verifying_key().encode();
        MlDsa65Key::from_bytes(&public).unwrap()
    }

    pub(crate) fn es384(&self, message: &[u8]) -> Vec<u8> {
        self.key.sign(message).unwrap()
    }

    pub(crate) fn ml_dsa_65(&self, message: &[u8]) -> Vec<u8> {
        self.ml_dsa_65.sign(message).encode().to_vec()
    }

    pub(crate) fn sign(&self, draft: &Draft<'_>) -> Vec<u8> {
        self.sign_with(draft, self)
    }

    /// Signs; the ML-DSA-65 half is of another party.
    pub(crate) fn sign_with(&self, draft: &Draft<'_>, second: &Self) -> Vec<u8> {
        let es384 = self.es384(&draft.to_be_signed(Algorithm::Es384).unwrap());
        let ml_dsa_65 = second.ml_dsa_65(&draft.to_be_signed(Algorithm::MlDsa65).unwrap());
        let certificates = [self.leaf.clone()];
        draft
            .assemble(&certificates, &es384, &second.ml_dsa_key(), &ml_dsa_65)
            .unwrap()
    }
}

pub(crate) fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2060, 1, 1);
    params
}

pub(crate) fn ca(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    CertifiedIssuer::self_signed(params, key).unwrap()
}

/// Everything that a box needs to find its owner, and every part of it open to change.
pub(crate) struct Scene {
    pub(crate) maker: Party,
    pub(crate) owner: Party,
    pub(crate) device: Device,
    pub(crate) voucher: Voucher,
    pub(crate) information: Information,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self::of(Party::new("maker", 1), Party::new("owner", 2))
    }

    pub(crate) fn of(maker: Party, owner: Party) -> Self {
        let roots = VoucherRoots {
            es384: Der(maker.root().as_der().to_vec()),
            ml_dsa_65: maker.ml_dsa_key().as_bytes().to_vec(),
        };
        let device = Device {
            serial: Serial::try_from(SERIAL).unwrap(),
            idevid_issuer: Some(vec![4, 2, 0xab, 0xcd]),
            hw_model: "bartizan-1".into(),
            os_name: "bartizan".into(),
            os_version: OsVersion::try_from("1.4.2").unwrap(),
            manufacturer: Manufacturer::try_from(&roots).unwrap(),
            ownership_floor: 3,
            time_floor: NOW,
        };
        Self {
            voucher: voucher_for(&owner),
            information: onboarding(&owner),
            maker,
            owner,
            device,
        }
    }

    pub(crate) fn voucher(&self) -> Vec<u8> {
        let json = self.voucher.encode().unwrap();
        self.maker.sign(&voucher::draft(&json, Some(NOW)))
    }

    pub(crate) fn owner_certificate(&self) -> Vec<u8> {
        cms::chain(&[self.owner.leaf.clone(), self.owner.root()]).unwrap()
    }

    pub(crate) fn conveyed(&self) -> Vec<u8> {
        let json = self.information.encode().unwrap();
        self.owner.sign(&conveyed::draft(&json, None))
    }

    pub(crate) fn artifacts(&self) -> Artifacts {
        Artifacts {
            conveyed_information: self.conveyed(),
            owner_certificate: self.owner_certificate(),
            ownership_voucher: self.voucher(),
        }
    }

    /// What the box makes of what a medium carries.
    pub(crate) fn carried(&self) -> Result<Found, Refusal> {
        self.taken(&self.artifacts())
    }

    pub(crate) fn taken(&self, artifacts: &Artifacts) -> Result<Found, Refusal> {
        Trail::default().carry().answered(artifacts, &self.device)
    }

    /// What the box makes of the answer to this question.
    pub(crate) fn asked(&self, nonce: Nonce) -> Result<Found, Refusal> {
        let (_, asked) = Trail::default().ask(&self.device, nonce);
        asked.answered(&self.artifacts(), &self.device)
    }
}

pub(crate) fn voucher_for(owner: &Party) -> Voucher {
    Voucher {
        created: NOW,
        bound: Bound::Expires(OwnerTime(NOW.0 + 86_400)),
        assertion: Assertion::Verified,
        serial: Serial::try_from(SERIAL).unwrap(),
        idevid_issuer: Some(vec![4, 2, 0xab, 0xcd]),
        pinned_domain_cert: owner.root(),
        revocation_checks: Some(false),
        epoch: 3,
        owner_ml_dsa_65: owner.ml_dsa_key(),
    }
}

pub(crate) fn onboarding(owner: &Party) -> Information {
    Information::Onboarding(Box::new(Onboarding {
        boot_image: Some(BootImage {
            os_name: Some("bartizan".into()),
            os_version: Some(OsVersion::try_from("1.4.2").unwrap()),
        }),
        site: site(owner),
    }))
}

pub(crate) fn site(owner: &Party) -> Site {
    Site {
        call_home: "192.0.2.1:4335".parse().unwrap(),
        registrar: "[2001:db8::1]:8443".parse().unwrap(),
        controller: NodeId::try_from("controller.example").unwrap(),
        anchors: vec![Der(owner.root().as_der().to_vec())],
        verifier: VerifierKeys {
            es384: owner.key.public_key_raw().to_vec(),
            ml_dsa_65: owner.ml_dsa_key().as_bytes().to_vec(),
        },
        network: network(),
    }
}

pub(crate) fn network() -> SiteNetwork {
    SiteNetwork {
        interfaces: vec![
            Interface {
                port: Port::Mgmt0,
                addresses: Vec::new(),
                dhcp: true,
            },
            Interface {
                port: Port::Lan0,
                addresses: vec![
                    ("10.1.0.1".parse().unwrap(), 24),
                    ("2001:db8:1::1".parse().unwrap(), 64),
                ],
                dhcp: false,
            },
        ],
        routes: vec![Route {
            destination: Prefix::new("10.2.0.0".parse().unwrap(), 16).unwrap(),
            gateway: "10.1.0.254".parse().unwrap(),
            port: Port::Lan0,
        }],
        dns: vec!["192.0.2.53".parse().unwrap()],
        ntp: Vec::new(),
    }
}
