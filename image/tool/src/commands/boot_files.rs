//! What the firmware starts, against the keys that a box has: the signers of the boot files, every
//! PCR predicted again, and under which values of PCR 11 the TPM opens something.

use std::path::Path;

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use bartizan_evidence::hex;
use bartizan_evidence::pcr_key::{PcrSigningKey, policy_pcr};
use bartizan_evidence::reference::ReferenceValues;
use bartizan_image::pe::Pe;
use bartizan_image::prediction::Prediction;
use bartizan_image::secure_boot::SecureBoot;
use bartizan_manifest::Part;
use base64ct::{Base64, Encoding as _};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::opened::Opened;
use crate::fault::Fault;
use crate::files::{Scratch, read, run, write};

/// The phases in which a box opens something: var, then its owner's keys.
const OPENING: [&str; 2] = [
    "enter-initrd:leave-initrd",
    "enter-initrd:leave-initrd:sysinit:ready",
];

/// `tpm2-pcr-signature.json`, as systemd reads it.
#[derive(Deserialize)]
struct Signatures {
    sha256: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    pcrs: Vec<u8>,
    pkfp: String,
    pol: String,
    sig: String,
}

/// Checks them against the public keys in `folder`; says what was found.
pub(super) fn check(
    opened: &Opened<'_>,
    folder: &Path,
    values: &ReferenceValues,
) -> Result<String, Fault> {
    let certificate = folder.join("db.crt");
    let certificate = certificate.canonicalize().map_err(|cause| Fault::Read {
        file: certificate.display().to_string(),
        cause,
    })?;
    let scratch = Scratch::new()?;
    for part in [Part::BootLoader, Part::Uki] {
        let file = scratch.path().join("signed.efi");
        write(&file, &[opened.part(part)?])?;
        let certificate = certificate.display().to_string();
        run(
            "sbverify",
            scratch.path(),
            &["--cert", &certificate, "signed.efi"],
        )
        .map_err(|fault| {
            if matches!(fault, Fault::Program { .. }) {
                Fault::Signer(part)
            } else {
                fault
            }
        })?;
    }
    let variable = |name: &str| read(&folder.join(name));
    let variables = SecureBoot::from_signed(
        &variable("PK.auth")?,
        &variable("KEK.auth")?,
        &variable("db.auth")?,
    )
    .map_err(Fault::Variables)?;
    let kernel_image = opened.part(Part::Uki)?;
    let prediction = Prediction::new(opened.part(Part::BootLoader)?, kernel_image, &variables)
        .map_err(Fault::Prediction)?;
    if (&prediction.exact, &prediction.phases) != (&values.exact, &values.phases) {
        return Err(Fault::Disagrees("set of Secure Boot keys"));
    }
    let key = PcrSigningKey::from_pem(&read(&folder.join("pcr.pub"))?).map_err(Fault::PcrKey)?;
    check_policies(kernel_image, &key, values)?;
    Ok(format!(
        "boot files signed by db; PCRs {} and 11 as predicted, and {} of its values open something\n",
        prediction
            .exact
            .keys()
            .map(u8::to_string)
            .collect::<Vec<_>>()
            .join(", "),
        OPENING.len()
    ))
}

/// Exactly the values of PCR 11 in which something is to be opened are signed, by the one key.
fn check_policies(
    kernel_image: &[u8],
    key: &PcrSigningKey,
    values: &ReferenceValues,
) -> Result<(), Fault> {
    let pe = Pe::parse(kernel_image).map_err(|cause| Fault::Pe(Part::Uki, cause))?;
    let own = pe.section(".pcrpkey").unwrap_or_default();
    let own = PcrSigningKey::from_pem(own).map_err(Fault::PcrKey)?;
    if own != *key || values.signing_key != *key {
        return Err(Fault::Disagrees("key of the PCR policies"));
    }
    let signed: Signatures = serde_json::from_slice(pe.section(".pcrsig").unwrap_or_default())
        .map_err(|_| Fault::Disagrees("list of signed PCR policies"))?;
    let phases = values.phases.iter();
    let mut wanted: Vec<[u8; 32]> = phases
        .filter(|phase| OPENING.contains(&phase.name.as_str()))
        .map(|phase| policy_pcr(&[0; 32], 11, &phase.pcr11))
        .collect();
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.spki());
    let fingerprint = hex::encode(&fingerprint(key));
    for one in signed.sha256 {
        let policy = hex::decode(&one.pol).unwrap_or_default();
        let Some(at) = wanted.iter().position(|wanted| wanted[..] == policy) else {
            return Err(Fault::Disagrees("list of signed PCR policies"));
        };
        wanted.remove(at);
        let signature = Base64::decode_vec(&one.sig).unwrap_or_default();
        if one.pcrs != [11]
            || one.pkfp != fingerprint
            || public.verify(&policy, &signature).is_err()
        {
            return Err(Fault::Disagrees("signature of a PCR policy"));
        }
    }
    if wanted.is_empty() {
        Ok(())
    } else {
        Err(Fault::Disagrees("list of signed PCR policies"))
    }
}

/// The key as systemd names it: the SHA-256 of its `RSAPublicKey` (RFC 8017, A.1.1), which is all of
/// the `SubjectPublicKeyInfo` behind a head that is as long for every size that is taken.
fn fingerprint(key: &PcrSigningKey) -> [u8; 32] {
    const HEAD: usize = 24;
    Sha256::digest(key.spki().get(HEAD..).unwrap_or_default()).into()
}
