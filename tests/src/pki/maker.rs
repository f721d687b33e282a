//! Who makes the TPMs and the boxes, and what they certify in the factory.

use core::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use bartizan_evidence::structures::Public;
use bartizan_model::config::Der;
use bartizan_tpm::{
    DeviceKey, DeviceKeys, EndorsementKind, Tpm,
    provision::{self, Certificates},
};
use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, date_time_ymd,
};
use x509_cert::der::{
    Any, Decode as _, Encode as _, Tag,
    asn1::{ObjectIdentifier, SetOfVec},
};
use x509_cert::{
    attr::AttributeTypeAndValue,
    ext::pkix::{SubjectAltName, name::GeneralName},
    name::{Name, RdnSequence, RelativeDistinguishedName},
    spki::SubjectPublicKeyInfoRef,
};

use super::Authority;

/// What a box leaves the factory with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Certificates over keys in its TPM.
    Idevid,
    /// Nothing but its TPM.
    Ek,
}

/// The maker of TPMs, and the maker of boxes.
pub struct Maker {
    tpms: Authority,
    boxes: Authority,
}

impl Maker {
    /// Makes both authorities.
    pub fn new() -> Self {
        Self {
            tpms: Authority::new("Test TPM maker"),
            boxes: Authority::new("Test box maker"),
        }
    }

    /// Who signs the certificates of endorsement keys.
    pub fn tpms(&self) -> &Authority {
        &self.tpms
    }

    /// Who signs those of `IDevID`s and IAKs.
    pub fn boxes(&self) -> &Authority {
        &self.boxes
    }

    /// Makes a box of a TPM, and returns its serial number; one of [`Kind::Idevid`] gets the one that is given.
    ///
    /// # Panics
    /// If the TPM does not do its part.
    pub fn make_box(&self, tpm: &mut Tpm, kind: Kind, serial: &str) -> String {
        // The older kind of box has the older kind of key.
        let endorsement = match kind {
            Kind::Idevid => EndorsementKind::P384,
            Kind::Ek => EndorsementKind::Rsa2048,
        };
        let spki = |public: &[u8]| Public::parse(public).expect("a public area").spki();
        let public = provision::endorsement_public(tpm, endorsement).expect("an endorsement key");
        let public = spki(&public);
        let mut write = |which, certificate: Der| {
            provision::write_certificates(tpm, which, &[certificate.0]).expect("room in the TPM");
        };
        write(
            Certificates::Endorsement(endorsement),
            self.certify_endorsement(&public),
        );
        match kind {
            Kind::Ek => {
                let digest = digest(&SHA256, &public);
                let digits = digest.as_ref().iter().take(20);
                digits.fold("ek-".to_owned(), |text, byte| format!("{text}{byte:02x}"))
            }
            Kind::Idevid => {
                let keys = DeviceKeys::open(tpm).expect("the keys of the box");
                for key in [DeviceKey::Attestation, DeviceKey::Idevid] {
                    let certificate = self.certify_box(serial, &spki(keys.public(key)));
                    provision::write_certificates(tpm, Certificates::Device(key), &[certificate.0])
                        .expect("room in the TPM");
                }
                serial.to_owned()
            }
        }
    }

    /// The certificate of an endorsement key (TCG EK Credential Profile, 3.2): a DER `SubjectPublicKeyInfo`.
    ///
    /// # Panics
    /// If it is no such thing.
    pub fn certify_endorsement(&self, public_key: &[u8]) -> Der {
        let mut params = params();
        // What the key is for: RSA opens what is encrypted to it, an elliptic curve agrees on a key.
        params.key_usages = vec![if is_rsa(public_key) {
            KeyUsagePurpose::KeyEncipherment
        } else {
            KeyUsagePurpose::KeyAgreement
        }];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(EK_CERTIFICATE.to_vec())];
        params.custom_extensions = vec![tpm_name()];
        self.tpms.certify_as(&params, public_key)
    }

    /// The certificate of a box's `IDevID` or IAK, for its serial number (IEEE 802.1AR, 8).
    ///
    /// # Panics
    /// If the key is none.
    pub fn certify_box(&self, serial: &str, public_key: &[u8]) -> Der {
        let mut params = params();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let name = &mut params.distinguished_name;
        name.push(DnType::OrganizationName, "Test box maker");
        let serial = serial.to_owned().try_into().expect("a printable serial");
        name.push(
            DnType::CustomDnType(SERIAL_NUMBER.to_vec()),
            DnValue::PrintableString(serial),
        );
        self.boxes.certify_as(&params, public_key)
    }
}

impl Default for Maker {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Maker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Maker")
    }
}

/// `tcg-kp-EKCertificate`.
const EK_CERTIFICATE: [u64; 5] = [2, 23, 133, 8, 1];

/// `id-at-serialNumber`.
const SERIAL_NUMBER: [u64; 4] = [2, 5, 4, 5];

/// For ever, and for no CA.
fn params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(9999, 12, 31);
    params.distinguished_name = DistinguishedName::new();
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params
}

fn is_rsa(public_key: &[u8]) -> bool {
    let public_key = SubjectPublicKeyInfoRef::try_from(public_key).expect("a public key");
    public_key.algorithm.oid == ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1")
}

/// The TPM's maker, model and version, which stand for the subject.
fn tpm_name() -> CustomExtension {
    let attributes = [
        ("2.23.133.2.1", "id:49424D00"),
        ("2.23.133.2.2", "swtpm"),
        ("2.23.133.2.3", "id:20191023"),
    ];
    let names = attributes.map(|(oid, value)| {
        let value = Any::new(Tag::Utf8String, value.as_bytes()).expect("a text");
        let attribute = AttributeTypeAndValue {
            oid: ObjectIdentifier::new_unwrap(oid),
            value,
        };
        let set = SetOfVec::try_from([attribute]).expect("one attribute");
        RelativeDistinguishedName::from(set)
    });
    let name = RdnSequence::from(names.to_vec()).to_der().expect("a name");
    let name = Name::from_der(&name).expect("a name");
    let names = SubjectAltName(vec![GeneralName::DirectoryName(name)]);
    let content = names.to_der().expect("a name");
    let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 17], content);
    extension.set_criticality(true);
    extension
}
