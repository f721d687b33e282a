//! A model of a TPM: the keys, quotes and credentials that the registrar and the verifier look at, made by the
//! structures' own specification. Its maker and its log are made here too.

use std::collections::BTreeMap;

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, agree};
use aws_lc_rs::cipher::{AES_128, DecryptionContext, StreamingDecryptingKey, UnboundCipherKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use bartizan_evidence::pcr_key::{LDEVID_ATTRIBUTES, PcrSigningKey, ldevid_policy};
use bartizan_evidence::reference::{EXACT_PCRS, Phase, ReferenceValues, UserspaceLogging};
use bartizan_evidence::structures::{Attributes, Curve, EccScheme, Hash, Key, Public, Symmetric};
use bartizan_model::config::Der;
use bartizan_model::identity::{
    Certified, Credential, Endorsement, Floors, PcrSelection, Quoted, TpmIdentity,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName,
    DnType, DnValue, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm,
};
use rustls_pki_types::PrivatePkcs8KeyDer;

/// A SHA-256 digest.
pub(crate) type Digest = [u8; 32];

/// The maker of TPMs, and what its keys are pinned by.
pub(crate) struct Maker(CertifiedIssuer<'static, KeyPair>);

/// A TPM with all its keys.
pub(crate) struct Tpm {
    endorsement: PrivateKey,
    endorsement_public: Public,
    endorsement_certificate: Der,
    ak: EcdsaKeyPair,
    ak_public: Public,
    /// The key of [`bartizan_model::identity::KeyName::Idevid`].
    idevid: KeyPair,
    /// What the maker of the box certified, if it did.
    certified: Option<Box<Device>>,
    /// The key of [`bartizan_model::identity::KeyName::Ldevid`].
    pub(crate) ldevid: KeyPair,
    /// What was measured.
    pub(crate) boot: Boot,
    /// Its floors.
    pub(crate) floors: Floors,
    /// How often it was reset.
    pub(crate) resets: u32,
    ticks: u64,
}

/// The certificates of a box's maker.
struct Device {
    serial: String,
    idevid: Der,
    ak: Der,
}

/// What a box shows in a TLS handshake.
pub(crate) struct Link {
    /// The certificate of its maker, if it has one.
    pub(crate) certificate: Option<Der>,
    /// The serial number in its certificate.
    pub(crate) serial: String,
    /// The certificate's key.
    pub(crate) idevid: KeyPair,
}

/// What one boot measures.
#[derive(Clone, Debug)]
pub(crate) struct Boot {
    pub(crate) pcrs: BTreeMap<u8, Digest>,
    pub(crate) log: Vec<u8>,
}

impl Maker {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "a maker");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    fn certify(&self, key: &Public) -> Der {
        let mut params = CertificateParams::default();
        // tcg-kp-EKCertificate: 2.23.133.8.1
        let usage = [0x30, 0x07, 0x06, 0x05, 0x67, 0x81, 0x05, 0x08, 0x01];
        let usage = CustomExtension::from_oid_content(&[2, 5, 29, 37], usage.to_vec());
        params.custom_extensions.push(usage);
        let key = Point(key.point().unwrap());
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Der(certificate.der().to_vec())
    }

    /// Certifies a key of a box under its serial number.
    fn certify_device(&self, key: Vec<u8>, serial: &str) -> Der {
        let mut params = CertificateParams::default();
        params.distinguished_name = named(serial);
        let certificate = params.signed_by(&Point(key), &self.0).unwrap();
        Der(certificate.der().to_vec())
    }
}

/// A subject with a serial number.
pub(crate) fn named(serial: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    let serial = serial.try_into().unwrap();
    name.push(
        DnType::CustomDnType(vec![2, 5, 4, 5]),
        DnValue::PrintableString(serial),
    );
    name
}

/// A public key on P-256, as the maker's CA takes it.
struct Point(Vec<u8>);

impl PublicKeyData for Point {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl Tpm {
    /// A fresh one of this maker's, booted once.
    pub(crate) fn new(maker: &Maker, boot: Boot) -> Self {
        let endorsement = PrivateKey::generate(&ECDH_P256).unwrap();
        let endorsement_public = Public {
            name_hash: Hash::Sha256,
            attributes: Attributes(0x0003_00b2),
            auth_policy: policy_a(),
            key: ecc(
                endorsement.compute_public_key().unwrap().as_ref(),
                Symmetric::AesCfb(128),
                EccScheme::Null,
            ),
        };
        let ak = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let ak_public = Public {
            name_hash: Hash::Sha256,
            attributes: primary() | Attributes::RESTRICTED,
            auth_policy: vec![7; 32],
            key: ecc(
                ak.public_key().as_ref(),
                Symmetric::Null,
                EccScheme::Ecdsa(Hash::Sha256),
            ),
        };
        Self {
            endorsement_certificate: maker.certify(&endorsement_public),
            endorsement,
            endorsement_public,
            ak,
            ak_public,
            idevid: KeyPair::generate().unwrap(),
            certified: None,
            ldevid: KeyPair::generate().unwrap(),
            boot,
            floors: Floors::default(),
            resets: 1,
            ticks: 1000,
        }
    }

    /// Has a maker of boxes certify its keys.
    pub(crate) fn certify_by(&mut self, maker: &Maker, serial: &str) {
        self.certified = Some(Box::new(Device {
            serial: serial.to_owned(),
            idevid: maker.certify_device(point(&self.idevid), serial),
            ak: maker.certify_device(self.ak_public.point().unwrap(), serial),
        }));
    }

    /// Shows another box's certificate for its attestation key.
    pub(crate) fn borrow_ak_certificate(&mut self, other: &Self) {
        let theirs = other.certified.as_ref().unwrap().ak.clone();
        self.certified.as_mut().unwrap().ak = theirs;
    }

    /// The serial number of the box: its maker's, or, without a certificate of one, its TPM's.
    pub(crate) fn serial(&self) -> String {
        if let Some(certified) = &self.certified {
            return certified.serial.clone();
        }
        let digest = sha256(&[&self.endorsement_public.spki()]);
        digest[..20].iter().fold("ek-".to_owned(), |serial, byte| {
            format!("{serial}{byte:02x}")
        })
    }

    /// What the box shows in a TLS handshake.
    pub(crate) fn link(&self) -> Link {
        let key = PrivatePkcs8KeyDer::from(self.idevid.serialize_der());
        let certified = self.certified.as_ref();
        Link {
            certificate: certified.map(|certified| certified.idevid.clone()),
            serial: self.serial(),
            idevid: KeyPair::try_from(&key).unwrap(),
        }
    }

    pub(crate) fn identity(&self) -> TpmIdentity {
        let idevid = Public {
            name_hash: Hash::Sha256,
            attributes: primary(),
            auth_policy: vec![7; 32],
            key: ecc(
                &point(&self.idevid),
                Symmetric::Null,
                EccScheme::Ecdsa(Hash::Sha256),
            ),
        };
        let chain = |of: fn(&Device) -> &Der| {
            let certified = self.certified.iter();
            certified.map(|certified| of(certified).clone()).collect()
        };
        TpmIdentity {
            manufacturer: *b"TEST",
            firmware: [1, 2],
            endorsement: vec![Endorsement {
                public: self.endorsement_public.encode(),
                certificate: self.endorsement_certificate.clone(),
            }],
            endorsement_chain: Vec::new(),
            ak: self.ak_public.encode(),
            ak_chain: chain(|certified| &certified.ak),
            idevid: idevid.encode(),
            idevid_chain: chain(|certified| &certified.idevid),
            floors: self.floors,
        }
    }

    /// Shows another TPM's certificate for its endorsement key.
    pub(crate) fn borrow_certificate(&mut self, other: &Self) {
        self.endorsement_certificate = other.endorsement_certificate.clone();
    }

    /// The public area of the LDevID key, under the policy of this boot.
    pub(crate) fn ldevid_public(&self, signing: &PcrSigningKey) -> Public {
        Public {
            name_hash: Hash::Sha256,
            attributes: LDEVID_ATTRIBUTES,
            auth_policy: ldevid_policy(&signing.name(), &self.boot.pcrs[&7]).to_vec(),
            key: ecc(
                &point(&self.ldevid),
                Symmetric::Null,
                EccScheme::Ecdsa(Hash::Sha256),
            ),
        }
    }

    /// `TPM2_Certify`.
    pub(crate) fn certify(&mut self, public: &Public, qualifying: &[u8]) -> Certified {
        let name = public.name().0;
        let body = [sized(&name), sized(&name)].concat();
        let attest = self.attest(0x8017, qualifying, &body);
        Certified {
            public: public.encode(),
            signature: self.sign(&attest),
            attest,
        }
    }

    /// `TPM2_Quote`.
    pub(crate) fn quote(&mut self, qualifying: &[u8], selection: PcrSelection) -> Quoted {
        let selected = |pcr: &u8| selection.0 & (1 << pcr) != 0;
        let value = |pcr| self.boot.pcrs.get(&pcr).copied().unwrap_or_default();
        let pcrs: Vec<(u8, Digest)> = (0..24)
            .filter(selected)
            .map(|pcr| (pcr, value(pcr)))
            .collect();
        let values: Vec<&[u8]> = pcrs.iter().map(|(_, value)| value.as_slice()).collect();
        let bits = selection.0.to_le_bytes();
        let body = [
            &[0, 0, 0, 1, 0, 0x0b, 3],
            &bits[..3],
            &sized(&sha256(&values)),
        ]
        .concat();
        let attest = self.attest(0x8018, qualifying, &body);
        Quoted {
            signature: self.sign(&attest),
            attest,
            pcrs,
        }
    }

    /// `TPM2_ActivateCredential` and the proof of it (Part 1, 24); `None` for a credential that is not for this TPM.
    pub(crate) fn activate(&self, credential: &Credential, context: &[u8]) -> Option<[u8; 32]> {
        let secret = &credential.secret[2..];
        let (x, y) = (&secret[2..34], &secret[36..68]);
        let theirs = UnparsedPublicKey::new(&ECDH_P256, [&[4], x, y].concat());
        let ours = self.endorsement.compute_public_key().unwrap();
        let seed = agree(&self.endorsement, theirs, (), |z| {
            let parts = [&[0, 0, 0, 1], z, b"IDENTITY\0", x, &ours.as_ref()[1..33]];
            Ok(sha256(&parts))
        });
        let seed = seed.unwrap();
        let name = self.ak_public.name().0;
        let (integrity, sealed) = credential.blob[4..].split_at(32);
        let key = kdfa(&seed, b"INTEGRITY\0", &[], 256);
        let key = hmac::Key::new(HMAC_SHA256, &key);
        hmac::verify(&key, &[sealed, &name].concat(), integrity).ok()?;
        let key = kdfa(&seed, b"STORAGE\0", &name, 128);
        let key = UnboundCipherKey::new(&AES_128, &key).unwrap();
        let iv = DecryptionContext::Iv128(FixedLength::from([0; 16]));
        let mut cipher = StreamingDecryptingKey::cfb128(key, iv).unwrap();
        let mut plain = vec![0; sealed.len() + 16];
        let len = cipher.update(sealed, &mut plain).unwrap().written().len();
        let opened = hmac::Key::new(HMAC_SHA256, &plain[2..len]);
        hmac::sign(&opened, context).as_ref().try_into().ok()
    }

    /// Boots anew.
    pub(crate) fn reboot(&mut self, boot: Boot) {
        self.boot = boot;
        self.resets += 1;
    }

    /// Something extends a PCR behind the back of every log.
    pub(crate) fn tamper(&mut self, pcr: u8) {
        let value = self.boot.pcrs.entry(pcr).or_default();
        *value = sha256(&[value, &[0x66; 32]]);
    }

    /// `TPMS_ATTEST` (Part 2, 10.12.12).
    fn attest(&mut self, kind: u16, qualifying: &[u8], body: &[u8]) -> Vec<u8> {
        self.ticks += 10;
        let signer = self.ak_public.name().under_endorsement(Hash::Sha256);
        [
            &0xff54_4347_u32.to_be_bytes()[..],
            &kind.to_be_bytes(),
            &sized(&signer.0),
            &sized(qualifying),
            &self.ticks.to_be_bytes(),
            &self.resets.to_be_bytes(),
            &[0; 4],
            &[1],
            &[0; 8],
            body,
        ]
        .concat()
    }

    /// `TPMT_SIGNATURE`.
    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature = self.ak.sign(&SystemRandom::new(), message).unwrap();
        let (r, s) = signature.as_ref().split_at(32);
        [&[0, 0x18, 0, 0x0b][..], &sized(r), &sized(s)].concat()
    }
}

impl Boot {
    /// What an image of this name measures.
    pub(crate) fn of(image: &str) -> Self {
        let mut log = header();
        let mut pcrs = BTreeMap::new();
        let mut measure = |pcr: u8, kind: u32, data: &[u8]| {
            let measured = sha256(&[data]);
            log.extend([u32::from(pcr).to_le_bytes(), kind.to_le_bytes()].concat());
            log.extend([&[1, 0, 0, 0, 0x0b, 0][..], &measured].concat());
            log.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
            log.extend(data);
            let value: &mut Digest = pcrs.entry(pcr).or_default();
            *value = sha256(&[value, &measured]);
        };
        measure(0, 0x8, b"v\0 1\0");
        measure(7, 0x8000_0001, b"secure boot: on");
        for pcr in 0..8 {
            measure(pcr, 0x4, &[0; 4]);
        }
        measure(4, 0x8000_0003, image.as_bytes());
        measure(9, 0x6, image.as_bytes());
        for pcr in [11, 12, 13, 14, 15] {
            pcrs.entry(pcr).or_default();
        }
        pcrs.insert(11, sha256(&[b"phases of ", image.as_bytes()]));
        Self { pcrs, log }
    }

    /// What is to be signed as the good values of it.
    pub(crate) fn reference(&self, image: &str, signing: &PcrSigningKey) -> ReferenceValues {
        let exact = EXACT_PCRS.map(|pcr| (pcr, vec![self.pcrs[&pcr]]));
        ReferenceValues {
            image: image.to_owned(),
            os_version: "1.0".to_owned(),
            rollback_epoch: 1,
            signing_key: signing.clone(),
            userspace_log: UserspaceLogging::Unlogged,
            exact: exact.into_iter().collect(),
            phases: vec![Phase {
                name: "ready".to_owned(),
                pcr11: self.pcrs[&11],
            }],
            hardware: Vec::new(),
        }
    }
}

/// A key that PCR policies are signed with; nothing here is signed by it.
pub(crate) fn pcr_signing_key() -> PcrSigningKey {
    let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
    let spki = key.public_key().as_der().unwrap();
    PcrSigningKey::from_spki(spki.as_ref()).unwrap()
}

/// The first event of a crypto-agile log: SHA-256 alone (PC Client Platform Firmware Profile, 10.4.5.1).
fn header() -> Vec<u8> {
    let spec = [
        &b"Spec ID Event03\0"[..],
        &[0, 0, 0, 0, 0, 2, 0, 2],
        &[1, 0, 0, 0, 0x0b, 0, 32, 0, 0],
    ]
    .concat();
    let len = u32::try_from(spec.len()).unwrap();
    [
        &[0; 4][..],
        &[3, 0, 0, 0],
        &[0; 20],
        &len.to_le_bytes(),
        &spec,
    ]
    .concat()
}

fn primary() -> Attributes {
    Attributes::FIXED_TPM
        | Attributes::FIXED_PARENT
        | Attributes::SENSITIVE_DATA_ORIGIN
        | Attributes::USER_WITH_AUTH
        | Attributes::ADMIN_WITH_POLICY
        | Attributes::SIGN
}

fn ecc(point: &[u8], symmetric: Symmetric, scheme: EccScheme) -> Key {
    Key::Ecc {
        symmetric,
        scheme,
        curve: Curve::P256,
        x: point[1..33].to_vec(),
        y: point[33..65].to_vec(),
    }
}

fn point(key: &KeyPair) -> Vec<u8> {
    key.der_bytes().to_vec()
}

/// `PolicySecret(TPM_RH_ENDORSEMENT)` with SHA-256 (Part 3, 23.4).
fn policy_a() -> Vec<u8> {
    let first = sha256(&[&[0; 32], &[0, 0, 0x01, 0x51], &[0x40, 0, 0, 0x0b]]);
    sha256(&[&first]).to_vec()
}

fn kdfa(key: &[u8], label: &[u8], context: &[u8], bits: u32) -> Vec<u8> {
    let key = hmac::Key::new(HMAC_SHA256, key);
    let message = [&[0, 0, 0, 1], label, context, &bits.to_be_bytes()].concat();
    let len = usize::try_from(bits / 8).unwrap();
    hmac::sign(&key, &message).as_ref()[..len].to_vec()
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(bytes.len()).unwrap();
    [&len.to_be_bytes(), bytes].concat()
}

fn sha256(parts: &[&[u8]]) -> Digest {
    digest(&SHA256, &parts.concat())
        .as_ref()
        .try_into()
        .unwrap()
}
