//! PCR 7: the firmware's Secure Boot variables, and under which of their keys it started an image
//! (TCG PC Client Platform Firmware Profile, 3.3.4.8).

use bartizan_evidence::quote::Digest;
use sha2::{Digest as _, Sha256};

/// The contents of the variables, without attributes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SecureBoot {
    /// The platform key.
    pub pk: Vec<u8>,
    /// The key exchange keys.
    pub kek: Vec<u8>,
    /// The allowed signers: one certificate.
    pub db: Vec<u8>,
}

/// Bytes are no signature list, or none that this tool makes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a variable with one certificate")]
pub struct VariableError;

impl SecureBoot {
    /// Takes the signed variables: what goes to the firmware in setup mode.
    ///
    /// # Errors
    ///
    /// [`VariableError`] if one is none.
    pub fn from_signed(pk: &[u8], kek: &[u8], db: &[u8]) -> Result<Self, VariableError> {
        Ok(Self {
            pk: contents(pk)?.to_vec(),
            kek: contents(kek)?.to_vec(),
            db: contents(db)?.to_vec(),
        })
    }

    /// PCR 7 after an image was started that the certificate in `db` vouches for, with Secure Boot
    /// on, and no `dbx`.
    ///
    /// # Errors
    ///
    /// [`VariableError`] if `db` has anything but one certificate.
    pub fn pcr7(&self) -> Result<Digest, VariableError> {
        let signature = self.db.get(28..).ok_or(VariableError)?;
        let mut pcr = [0; 32];
        for event in [
            variable(GLOBAL, "SecureBoot", &[1]),
            variable(GLOBAL, "PK", &self.pk),
            variable(GLOBAL, "KEK", &self.kek),
            variable(SECURITY, "db", &self.db),
            variable(SECURITY, "dbx", &[]),
            vec![0; 4],
            // The signer: the entry of the list, without the list's head.
            variable(SECURITY, "db", signature),
        ] {
            pcr = super::prediction::extend(&pcr, &Sha256::digest(event).into());
        }
        Ok(pcr)
    }
}

/// What an authenticated variable sets: all behind its time and its signature (UEFI 2.10, 8.2.2).
fn contents(signed: &[u8]) -> Result<&[u8], VariableError> {
    let len = signed
        .get(16..)
        .and_then(<[u8]>::first_chunk::<4>)
        .and_then(|len| usize::try_from(u32::from_le_bytes(*len)).ok())
        .and_then(|len| len.checked_add(16))
        .ok_or(VariableError)?;
    let list = signed.get(len..).ok_or(VariableError)?;
    // One list of X.509 certificates that is all, with one entry that is all of it (32.4.1).
    let number = |at: usize| {
        let number = list.get(at..)?.first_chunk::<4>()?;
        usize::try_from(u32::from_le_bytes(*number)).ok()
    };
    let (Some(all), Some(0), Some(entry)) = (number(16), number(20), number(24)) else {
        return Err(VariableError);
    };
    let x509 = list.first_chunk::<16>() == Some(&CERT_X509);
    if !x509 || all != list.len() || entry.checked_add(28) != Some(all) {
        return Err(VariableError);
    }
    Ok(list)
}

/// `UEFI_VARIABLE_DATA`.
fn variable(vendor: [u8; 16], name: &str, data: &[u8]) -> Vec<u8> {
    let units: Vec<u16> = name.encode_utf16().collect();
    let mut out = vendor.to_vec();
    for len in [units.len(), data.len()] {
        out.extend_from_slice(&u64::try_from(len).unwrap_or(u64::MAX).to_le_bytes());
    }
    for unit in units {
        out.extend_from_slice(&unit.to_le_bytes());
    }
    out.extend_from_slice(data);
    out
}

/// `EFI_GLOBAL_VARIABLE`, as stored.
const GLOBAL: [u8; 16] = [
    0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c,
];

/// `EFI_IMAGE_SECURITY_DATABASE_GUID`, as stored.
const SECURITY: [u8; 16] = [
    0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f,
];

/// `EFI_CERT_X509_GUID`, as stored.
const CERT_X509: [u8; 16] = [
    0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72,
];
