//! A TPM in software: as much of one as enrolment asks for. Its credentials are not encrypted.

use bartizan_evidence::structures::{
    Attributes, Curve, EccScheme, EcdsaSignature, Hash, Key, Name, Public, Symmetric,
};
use bartizan_model::config::Der;
use bartizan_model::identity::{
    Certified, Credential, Endorsement, Floors, PcrSelection, Quoted, TpmIdentity,
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm};
use sha2::{Digest as _, Sha256};

const CERTIFY: u16 = 0x8017;
const QUOTE: u16 = 0x8018;
const SHA256: u16 = 0x000b;

pub(crate) struct Tpm {
    ak: SigningKey,
    ldevid: SigningKey,
    ldevid_point: Vec<u8>,
}

impl Tpm {
    pub(crate) fn new(seed: u8) -> Self {
        let ldevid = SigningKey::from_slice(&[seed + 1; 32]).unwrap();
        let point = ldevid.verifying_key().to_sec1_point(false);
        Self {
            ak: SigningKey::from_slice(&[seed; 32]).unwrap(),
            ldevid_point: point.as_bytes().to_vec(),
            ldevid,
        }
    }

    pub(crate) fn identity(&self) -> TpmIdentity {
        let certificate = Der(vec![0x30, 0]);
        TpmIdentity {
            manufacturer: *b"SW  ",
            firmware: [1, 2],
            endorsement: vec![Endorsement {
                public: vec![1; 122],
                certificate: certificate.clone(),
            }],
            endorsement_chain: vec![certificate.clone()],
            ak: self.ak_public().encode(),
            ak_chain: Vec::new(),
            idevid: vec![2; 90],
            idevid_chain: vec![certificate],
            floors: Floors {
                ownership: Some(3),
                rollback: None,
                time: Some(1_795_435_200),
            },
        }
    }

    fn ak_public(&self) -> Public {
        public(
            &self.ak,
            Attributes::RESTRICTED | Attributes::USER_WITH_AUTH,
        )
    }

    /// The key of `TPM2_CreatePrimary` for the owner.
    pub(crate) fn ldevid_public(&self) -> Public {
        public(&self.ldevid, Attributes::NO_DA)
    }

    /// `TPM2_Certify`.
    pub(crate) fn certify(&self, qualifying: &[u8]) -> Certified {
        let name = self.ldevid_public().name();
        let body = [sized(&name.0), sized(&name.0)].concat();
        let (attest, signature) = self.attest(CERTIFY, qualifying, &body);
        Certified {
            public: self.ldevid_public().encode(),
            attest,
            signature,
        }
    }

    /// `TPM2_Quote`: PCR n holds 32 times n.
    pub(crate) fn quote(&self, qualifying: &[u8], PcrSelection(selection): PcrSelection) -> Quoted {
        let quoted = (0..24_u8).filter(|index| selection & (1 << index) != 0);
        let pcrs: Vec<_> = quoted.map(|index| (index, [index; 32])).collect();
        let values: Vec<_> = pcrs.iter().flat_map(|(_, value)| *value).collect();
        let body = [
            &1_u32.to_be_bytes()[..],
            &SHA256.to_be_bytes(),
            &[3],
            &selection.to_le_bytes()[..3],
            &sized(&Sha256::digest(values)),
        ]
        .concat();
        let (attest, signature) = self.attest(QUOTE, qualifying, &body);
        Quoted {
            attest,
            signature,
            pcrs,
        }
    }

    /// `TPM2_ActivateCredential`, and the proof that the tpm role makes of the secret.
    pub(crate) fn activate(credential: &Credential, context: &[u8; 32]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&credential.blob).unwrap();
        mac.update(context);
        mac.finalize().into_bytes().into()
    }

    fn attest(&self, kind: u16, qualifying: &[u8], body: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let signer: Name = self.ak_public().name().under_endorsement(Hash::Sha256);
        let clock = [&[0; 8][..], &[0, 0, 0, 5], &[0, 0, 0, 0], &[1]].concat();
        let attest = [
            &0xff54_4347_u32.to_be_bytes()[..],
            &kind.to_be_bytes(),
            &sized(&signer.0),
            &sized(qualifying),
            &clock,
            &[0; 8],
            body,
        ]
        .concat();
        let signature: Signature = self.ak.sign(&attest);
        let (r, s) = signature.split_bytes();
        let signature = EcdsaSignature {
            hash: Hash::Sha256,
            r: r.to_vec(),
            s: s.to_vec(),
        };
        (attest, signature.encode())
    }
}

/// The key as a certificate authority is told of it.
impl PublicKeyData for Tpm {
    fn der_bytes(&self) -> &[u8] {
        &self.ldevid_point
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

fn public(key: &SigningKey, also: Attributes) -> Public {
    let point = key.verifying_key().to_sec1_point(false);
    let (x, y) = point.as_bytes()[1..].split_at(32);
    Public {
        name_hash: Hash::Sha256,
        attributes: Attributes::FIXED_TPM
            | Attributes::FIXED_PARENT
            | Attributes::SENSITIVE_DATA_ORIGIN
            | Attributes::SIGN
            | also,
        auth_policy: vec![6; 32],
        key: Key::Ecc {
            symmetric: Symmetric::Null,
            scheme: EccScheme::Ecdsa(Hash::Sha256),
            curve: Curve::P256,
            x: x.to_vec(),
            y: y.to_vec(),
        },
    }
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [
        &u16::try_from(bytes.len()).unwrap().to_be_bytes()[..],
        bytes,
    ]
    .concat()
}
