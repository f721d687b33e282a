//! One signature of an unrestricted key, in the form that TLS takes.

use der::Encode as _;
use der::asn1::UintRef;
use tss_esapi::Result as TssResult;
use tss_esapi::constants::tss::{TPM2_RH_NULL, TPM2_ST_HASHCHECK};
use tss_esapi::handles::KeyHandle;
use tss_esapi::structures::{
    Digest, EccSignature, HashScheme, HashcheckTicket, Signature, SignatureScheme,
};
use tss_esapi::tss2_esys::{TPM2B_DIGEST, TPMT_TK_HASHCHECK};

use crate::device::{Sessions, Tpm, TpmError, code, wrong_value};
use crate::template::Strength;

/// Signs a digest with ECDSA on this curve; returns a DER `Ecdsa-Sig-Value` (RFC 3279, 2.2.3).
///
/// # Errors
///
/// What the TPM says; [`TpmError::Refused`] with `TPM_RC_SIZE` for a digest of another length.
pub(crate) fn sign(
    tpm: &mut Tpm,
    sessions: Sessions,
    key: KeyHandle,
    strength: Strength,
    digest: &[u8],
) -> Result<Vec<u8>, TpmError> {
    let length = match strength {
        Strength::P384 => 48,
        Strength::P256 => 32,
    };
    if digest.len() != length {
        return Err(TpmError::Refused {
            command: "sign",
            code: code::SIZE,
        });
    }
    tpm.call("sign", sessions, |context| {
        // The key is unrestricted: it signs a digest that the TPM has not computed.
        let no_ticket = HashcheckTicket::try_from(TPMT_TK_HASHCHECK {
            tag: TPM2_ST_HASHCHECK,
            hierarchy: TPM2_RH_NULL,
            digest: TPM2B_DIGEST::default(),
        })?;
        let scheme = SignatureScheme::EcDsa {
            hash_scheme: HashScheme::new(strength.hash()),
        };
        let signature = context.sign(key, Digest::try_from(digest)?, scheme, no_ticket)?;
        let Signature::EcDsa(signature) = signature else {
            return Err(wrong_value());
        };
        encode(&signature)
    })
}

fn encode(signature: &EccSignature) -> TssResult<Vec<u8>> {
    let r = UintRef::new(signature.signature_r().value());
    let s = UintRef::new(signature.signature_s().value());
    r.and_then(|r| [r, s?].to_der()).map_err(|_| wrong_value())
}
