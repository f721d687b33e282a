//! The default templates of endorsement keys (TCG EK Credential Profile 2.5, B.3 and B.4).

use super::Hash;
use super::parameters::{Curve, EccScheme, RsaScheme, Symmetric};
use super::public::{Attributes, Key, Public};

/// A default template.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EndorsementTemplate {
    /// L-1: RSA-2048, SHA-256.
    L1,
    /// L-2: ECC P-256, SHA-256.
    L2,
    /// H-3: ECC P-384, SHA-384.
    H3,
}

/// Says by which default template an endorsement key was made; `None` if by none of those that
/// count.
///
/// Part of rule V6: a key of such a template does nothing but open what was encrypted to it, and
/// only under the policy of the endorsement hierarchy.
pub fn endorsement_template(public: &Public) -> Option<EndorsementTemplate> {
    let (template, attributes, policy) = match (&public.key, public.name_hash) {
        (
            Key::Rsa {
                symmetric: Symmetric::AesCfb(128),
                scheme: RsaScheme::Null,
                bits: 2048,
                exponent: 0,
                ..
            },
            Hash::Sha256,
        ) => (EndorsementTemplate::L1, LOW, POLICY_A_SHA256.as_slice()),
        (
            Key::Ecc {
                symmetric: Symmetric::AesCfb(128),
                scheme: EccScheme::Null,
                curve: Curve::P256,
                ..
            },
            Hash::Sha256,
        ) => (EndorsementTemplate::L2, LOW, POLICY_A_SHA256.as_slice()),
        (
            Key::Ecc {
                symmetric: Symmetric::AesCfb(256),
                scheme: EccScheme::Null,
                curve: Curve::P384,
                ..
            },
            Hash::Sha384,
        ) => (EndorsementTemplate::H3, HIGH, POLICY_B_SHA384.as_slice()),
        _ => return None,
    };
    (public.attributes == attributes && public.auth_policy == policy).then_some(template)
}

/// fixedTPM, fixedParent, sensitiveDataOrigin, adminWithPolicy, restricted, decrypt.
const LOW: Attributes = Attributes(0x0003_00b2);

/// The same and userWithAuth.
const HIGH: Attributes = Attributes(0x0003_00f2);

/// `PolicySecret(TPM_RH_ENDORSEMENT)`.
const POLICY_A_SHA256: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24,
    0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
];

/// Policy A, or what stands in the TPM's NV memory.
const POLICY_B_SHA384: [u8; 48] = [
    0xb2, 0x6e, 0x7d, 0x28, 0xd1, 0x1a, 0x50, 0xbc, 0x53, 0xd8, 0x82, 0xbc, 0xf5, 0xfd, 0x3a, 0x1a,
    0x07, 0x41, 0x48, 0xbb, 0x35, 0xd3, 0xb4, 0xe4, 0xcb, 0x1c, 0x0a, 0xd9, 0xbd, 0xe4, 0x19, 0xca,
    0xcb, 0x47, 0xba, 0x09, 0x69, 0x96, 0x46, 0x15, 0x0f, 0x9f, 0xc0, 0x00, 0xf3, 0xf8, 0x0e, 0x12,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Part 3, 23.4: the command's code and the Name of the entity, then the empty reference.
    #[test]
    fn policy_a_is_the_secret_of_the_endorsement_hierarchy() {
        let zero = [0; 32];
        let code = 0x0000_0151_u32.to_be_bytes();
        let entity = 0x4000_000b_u32.to_be_bytes();
        let first = Hash::Sha256.digest(&[&zero, &code, &entity]);
        assert_eq!(Hash::Sha256.digest(&[&first]), POLICY_A_SHA256);
    }
}
