//! What the keys are made from: templates, and the policies in them.
//!
//! The templates of endorsement keys are those of the TCG EK Credential Profile 2.5 (B.3, B.4), the
//! others those of TCG "TPM 2.0 Keys for Device Identity and Attestation" 1.0 r12 (7.3).

use bartizan_evidence::structures::Hash;
use tss_esapi::constants::CommandCode;
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::structures::Public;
use tss_esapi::traits::UnMarshall as _;

use crate::device::TpmError;

/// A public area without the key: what a key is made from, and recognised by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Template {
    /// `TPMT_PUBLIC` up to its last field.
    head: Vec<u8>,
    /// `unique`.
    unique: Vec<u8>,
}

/// A kind of endorsement key for which TPMs carry certificates.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EndorsementKind {
    /// H-3: ECC P-384.
    P384,
    /// L-2: ECC P-256.
    P256,
    /// L-1: RSA-2048.
    Rsa2048,
}

/// A key of the box that its maker may have certified.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DeviceKey {
    /// IAK: signs only what the TPM itself says.
    Attestation,
    /// IDevID: signs what it is given.
    Idevid,
}

/// How strong a [`DeviceKey`] is: the best that the TPM has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Strength {
    /// H-3: P-384, SHA-384.
    P384,
    /// H-2: P-256, SHA-256.
    P256,
}

impl Template {
    fn new(
        kind: u16,
        hash: Hash,
        attributes: u32,
        policy: &[u8],
        parameters: &[u16],
        unique: Vec<u8>,
    ) -> Self {
        let mut head = kind.to_be_bytes().to_vec();
        head.extend(hash.id().to_be_bytes());
        head.extend(attributes.to_be_bytes());
        head.extend(sized(policy));
        for parameter in parameters {
            head.extend(parameter.to_be_bytes());
        }
        Self { head, unique }
    }

    /// The public area to make a key from.
    pub(crate) fn public(&self) -> Result<Public, TpmError> {
        Public::unmarshall(&[self.head.as_slice(), &self.unique].concat())
            .map_err(|cause| TpmError::of("take a template", cause))
    }

    /// Says whether this `TPMT_PUBLIC` is of a key that was made from it.
    pub(crate) fn made(&self, public: &[u8]) -> bool {
        public.starts_with(&self.head)
    }
}

impl EndorsementKind {
    /// Every kind, the strongest first.
    pub const ALL: [Self; 3] = [Self::P384, Self::P256, Self::Rsa2048];

    /// The NV index of its certificate.
    pub(crate) const fn certificate(self) -> u32 {
        match self {
            Self::P384 => 0x01c0_0016,
            Self::P256 => 0x01c0_000a,
            Self::Rsa2048 => 0x01c0_0002,
        }
    }

    /// Where it may persist (TCG TPM v2.0 Provisioning Guidance, 7.8).
    pub(crate) const fn handle(self) -> u32 {
        match self {
            Self::P384 => 0x8101_0016,
            Self::P256 => 0x8101_000a,
            Self::Rsa2048 => 0x8101_0001,
        }
    }

    /// The algorithm of its policy.
    pub(crate) const fn hash(self) -> HashingAlgorithm {
        match self {
            Self::P384 => HashingAlgorithm::Sha384,
            Self::P256 | Self::Rsa2048 => HashingAlgorithm::Sha256,
        }
    }

    /// The branches of its policy, by the order of `TPM2_PolicyOR` (B.6): the administrator of the
    /// endorsement hierarchy, or whatever policy stands in NV memory; none where the policy is the
    /// administrator alone.
    pub(crate) fn branches(self) -> Vec<Vec<u8>> {
        match self {
            Self::P384 => vec![administrator(Hash::Sha384), EK_NV_SHA384.to_vec()],
            Self::P256 | Self::Rsa2048 => Vec::new(),
        }
    }

    pub(crate) fn template(self) -> Template {
        // fixedTPM, fixedParent, sensitiveDataOrigin, adminWithPolicy, restricted, decrypt.
        const LOW: u32 = 0x0003_00b2;
        // The same and userWithAuth.
        const HIGH: u32 = 0x0003_00f2;
        let administrator = administrator(Hash::Sha256);
        match self {
            Self::P384 => Template::new(
                ECC,
                Hash::Sha384,
                HIGH,
                &branches_to_policy(Hash::Sha384, &self.branches()),
                &[AES, 256, CFB, NULL, P384, NULL],
                point(&[]),
            ),
            Self::P256 => Template::new(
                ECC,
                Hash::Sha256,
                LOW,
                &administrator,
                &[AES, 128, CFB, NULL, P256, NULL],
                [sized(&[0; 32]), sized(&[0; 32])].concat(),
            ),
            Self::Rsa2048 => Template::new(
                RSA,
                Hash::Sha256,
                LOW,
                &administrator,
                // The exponent, 0 for 65537, is two words.
                &[AES, 128, CFB, NULL, 2048, 0, 0],
                sized(&[0; 256]),
            ),
        }
    }
}

impl DeviceKey {
    /// Where its certificate and its chain are, DER after DER (as swtpm and libspdm have it).
    pub(crate) const fn certificates(self) -> core::ops::RangeInclusive<u32> {
        match self {
            Self::Attestation => 0x01c9_0100..=0x01c9_01ff,
            Self::Idevid => 0x01c9_0200..=0x01c9_02ff,
        }
    }

    /// Where it persists: the TCG's handle, and ours if that is taken by another key.
    pub(crate) const fn handles(self) -> [u32; 2] {
        match self {
            Self::Attestation => [0x8102_0001, 0x8100_8003],
            Self::Idevid => [0x8102_0000, 0x8100_8002],
        }
    }

    pub(crate) fn template(self, strength: Strength) -> Template {
        // fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, adminWithPolicy, sign; the
        // attestation key is restricted, too.
        let (attributes, unique): (_, &[u8]) = match self {
            Self::Attestation => (0x0005_00f2, b"IAK"),
            Self::Idevid => (0x0004_00f2, b"IDEVID"),
        };
        let (hash, curve) = match strength {
            Strength::P384 => (Hash::Sha384, P384),
            Strength::P256 => (Hash::Sha256, P256),
        };
        Template::new(
            ECC,
            hash,
            attributes,
            &branches_to_policy(hash, &self.branches(strength)),
            &[NULL, ECDSA, hash.id(), curve, NULL],
            point(unique),
        )
    }

    /// The branches of its policy, by the order of `TPM2_PolicyOR` (7.3.6): the administrator of
    /// the endorsement hierarchy for anything; the same, for `TPM2_Certify` and for
    /// `TPM2_ActivateCredential`; whatever policy the maker keeps in NV memory.
    pub(crate) fn branches(self, strength: Strength) -> [Vec<u8>; 4] {
        let (hash, delegated): (_, &[u8]) = match (self, strength) {
            (Self::Attestation, Strength::P384) => (Hash::Sha384, &IAK_NV_SHA384),
            (Self::Attestation, Strength::P256) => (Hash::Sha256, &IAK_NV_SHA256),
            (Self::Idevid, Strength::P384) => (Hash::Sha384, &IDEVID_NV_SHA384),
            (Self::Idevid, Strength::P256) => (Hash::Sha256, &IDEVID_NV_SHA256),
        };
        let administrator = administrator(hash);
        let certify = command(hash, &administrator, CommandCode::Certify);
        let activate = command(hash, &administrator, CommandCode::ActivateCredential);
        [administrator, certify, activate, delegated.to_vec()]
    }
}

impl Strength {
    /// The algorithm of its Name, its signatures and its policy sessions.
    pub(crate) const fn hash(self) -> HashingAlgorithm {
        match self {
            Self::P384 => HashingAlgorithm::Sha384,
            Self::P256 => HashingAlgorithm::Sha256,
        }
    }
}

/// The storage root that our keys hang from (TCG TPM v2.0 Provisioning Guidance, 7.5.1).
pub(crate) fn storage() -> Template {
    // fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, restricted, decrypt.
    Template::new(
        ECC,
        Hash::Sha256,
        0x0003_0472,
        &[],
        &[AES, 128, CFB, NULL, P256, NULL],
        point(&[]),
    )
}

/// An LDevID key: signs, is fixed to this TPM, and nothing opens it but its policy.
///
/// `noDA`: there is no value to guess, and with it clear every loss of power after a signature
/// would count as a guess, until the TPM locks the key.
pub(crate) fn ldevid(policy: &[u8]) -> Template {
    Template::new(
        ECC,
        Hash::Sha256,
        bartizan_evidence::pcr_key::LDEVID_ATTRIBUTES.0,
        policy,
        &[NULL, ECDSA, Hash::Sha256.id(), P256, NULL],
        point(&[]),
    )
}

/// A secret that only its policy opens: fixedTPM, fixedParent, noDA.
pub(crate) fn sealed(policy: &[u8]) -> Template {
    Template::new(
        KEYED_HASH,
        Hash::Sha256,
        0x0000_0412,
        policy,
        &[NULL],
        sized(&[]),
    )
}

// Of the TCG Algorithm Registry.
const RSA: u16 = 0x0001;
const AES: u16 = 0x0006;
const KEYED_HASH: u16 = 0x0008;
const NULL: u16 = 0x0010;
const ECDSA: u16 = 0x0018;
const ECC: u16 = 0x0023;
const CFB: u16 = 0x0043;
const P256: u16 = 0x0003;
const P384: u16 = 0x0004;

/// `TPM2_PolicyAuthorizeNV` by the index 0x01c07f02 (EK Credential Profile, B.6.4).
const EK_NV_SHA384: [u8; 48] = [
    0xd6, 0x03, 0x2c, 0xe6, 0x1f, 0x2f, 0xb3, 0xc2, 0x40, 0xeb, 0x3c, 0xf6, 0xa3, 0x32, 0x37, 0xef,
    0x2b, 0x6a, 0x16, 0xf4, 0x29, 0x3c, 0x22, 0xb4, 0x55, 0xe2, 0x61, 0xcf, 0xfd, 0x21, 0x7a, 0xd5,
    0xb4, 0x94, 0x7c, 0x2d, 0x73, 0xe6, 0x30, 0x05, 0xee, 0xd2, 0xdc, 0x2b, 0x35, 0x93, 0xd1, 0x65,
];

// `TPM2_PolicyAuthorizeNV` by the maker's indices 0x01c90018, 0x01c90019, 0x01c90010, 0x01c90011.
const IAK_NV_SHA256: [u8; 32] = [
    0x10, 0x1e, 0x68, 0x9d, 0xad, 0xf1, 0x45, 0x22, 0x24, 0x12, 0xc0, 0x5b, 0x76, 0xe1, 0x45, 0x32,
    0xaf, 0x1e, 0x5c, 0x74, 0x20, 0x8e, 0x0a, 0xe7, 0xcd, 0xb0, 0xcf, 0xf1, 0x90, 0x6c, 0x8a, 0x09,
];
const IAK_NV_SHA384: [u8; 48] = [
    0x47, 0x1a, 0x7a, 0xb7, 0xd9, 0x88, 0xde, 0x1e, 0x55, 0x8e, 0x4d, 0xb9, 0x56, 0xa2, 0x7f, 0x57,
    0xa7, 0xe5, 0x69, 0x03, 0x83, 0x76, 0x98, 0x43, 0x63, 0xa3, 0x47, 0x00, 0x1e, 0x61, 0x53, 0x81,
    0xd2, 0x5f, 0x3c, 0x9c, 0xda, 0x70, 0x97, 0x1d, 0xe0, 0x27, 0x57, 0x1f, 0x3d, 0xdb, 0x09, 0xca,
];
const IDEVID_NV_SHA256: [u8; 32] = [
    0x62, 0x9c, 0x50, 0xb0, 0x5f, 0x1a, 0xdb, 0x5b, 0x42, 0x97, 0xfe, 0xb2, 0x41, 0x54, 0x9d, 0x42,
    0x17, 0xa1, 0xc7, 0x92, 0xc1, 0x62, 0xfe, 0xb8, 0x61, 0x02, 0x2d, 0xef, 0x88, 0xfa, 0x95, 0x01,
];
const IDEVID_NV_SHA384: [u8; 48] = [
    0x02, 0x75, 0xfc, 0x2a, 0xc8, 0xae, 0x37, 0xdc, 0x92, 0x3f, 0x5c, 0x1f, 0xe9, 0xbf, 0x07, 0xbd,
    0xe0, 0x8c, 0xcf, 0x51, 0x40, 0xd4, 0x37, 0xde, 0x37, 0x9a, 0x52, 0x2b, 0x8c, 0x5e, 0xfe, 0x31,
    0xa7, 0x27, 0x44, 0x15, 0xc7, 0xe8, 0xb1, 0xbe, 0x1e, 0x95, 0x35, 0x00, 0x39, 0x75, 0xcb, 0xcc,
];

/// `policyDigest` after `TPM2_PolicySecret(TPM_RH_ENDORSEMENT)` (Part 3, 23.4).
fn administrator(hash: Hash) -> Vec<u8> {
    const CC_POLICY_SECRET: u32 = 0x0000_0151;
    const RH_ENDORSEMENT: u32 = 0x4000_000b;
    let asked = hash.digest(&[
        &zeros(hash),
        &CC_POLICY_SECRET.to_be_bytes(),
        &RH_ENDORSEMENT.to_be_bytes(),
    ]);
    // The reference, which is empty, is hashed in by itself.
    hash.digest(&[&asked])
}

/// `policyDigest` after `TPM2_PolicyCommandCode` (Part 3, 23.11).
fn command(hash: Hash, before: &[u8], command: CommandCode) -> Vec<u8> {
    const CC_POLICY_COMMAND_CODE: u32 = 0x0000_016c;
    let command: u32 = command.into();
    hash.digest(&[
        before,
        &CC_POLICY_COMMAND_CODE.to_be_bytes(),
        &command.to_be_bytes(),
    ])
}

/// `policyDigest` after `TPM2_PolicyOR` (Part 3, 23.6).
fn branches_to_policy(hash: Hash, branches: &[Vec<u8>]) -> Vec<u8> {
    const CC_POLICY_OR: u32 = 0x0000_0171;
    hash.digest(&[
        &zeros(hash),
        &CC_POLICY_OR.to_be_bytes(),
        &branches.concat(),
    ])
}

fn zeros(hash: Hash) -> Vec<u8> {
    match hash {
        Hash::Sha256 => vec![0; 32],
        Hash::Sha384 => vec![0; 48],
        Hash::Sha512 => vec![0; 64],
    }
}

/// A `TPM2B`; nothing here is longer than its length can say.
fn sized(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or_default();
    [&length.to_be_bytes(), bytes].concat()
}

/// A `TPMS_ECC_POINT` with nothing for y.
fn point(x: &[u8]) -> Vec<u8> {
    [sized(x), sized(&[])].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Table 19 of the TCG's document, in which only the digests of the whole policies stand.
    #[test]
    fn the_policies_are_the_published_ones() {
        for (key, strength, published) in [
            (
                DeviceKey::Attestation,
                Strength::P256,
                "5437182326e414fca797d5f174615a1641f61255797c3a2b22c21d120b2d1e07",
            ),
            (
                DeviceKey::Attestation,
                Strength::P384,
                "129d94ebf84556652c6eef43bbb757512ac87e52be7b349ca6ce4d826f749fcf\
                 672f51716c5cbb605f313bf345aab312",
            ),
            (
                DeviceKey::Idevid,
                Strength::P256,
                "ad6b3a2284fd698a0710bf5cc1b9bdf15e2532e3f601fa4b93a6a8fa8de579ea",
            ),
            (
                DeviceKey::Idevid,
                Strength::P384,
                "4db1aa836d0b5615df6ee53a40ef70c61c217f4303d44695925972bc927006cf\
                 a5cbdf6dc18c4dbe329b2f1542c3dd33",
            ),
        ] {
            let hash = match strength {
                Strength::P384 => Hash::Sha384,
                Strength::P256 => Hash::Sha256,
            };
            let policy = branches_to_policy(hash, &key.branches(strength));
            let published: Vec<u8> = published
                .as_bytes()
                .chunks(2)
                .map(|digits| u8::from_str_radix(str::from_utf8(digits).unwrap(), 16).unwrap())
                .collect();
            assert_eq!(policy, published, "{key:?} {strength:?}");
        }
    }

    #[test]
    fn endorsement_keys_are_of_the_default_templates() {
        use bartizan_evidence::structures::{Public, endorsement_template};
        for kind in EndorsementKind::ALL {
            let template = kind.template();
            // A parser of keys takes no empty point, and no modulus of fewer bits than it has.
            let public = match kind {
                EndorsementKind::P384 => [template.head, sized(&[1; 48]), sized(&[1; 48])].concat(),
                EndorsementKind::P256 => [template.head, template.unique].concat(),
                EndorsementKind::Rsa2048 => [template.head, sized(&[0xff; 256])].concat(),
            };
            let public = Public::parse(&public).unwrap();
            assert!(endorsement_template(&public).is_some(), "{kind:?}");
        }
    }
}
