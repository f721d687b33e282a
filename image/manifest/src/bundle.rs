//! The one file that is handed over: a signed manifest, then its parts, one after the other.
//!
//! ```text
//! "BARTIZAN-UPDATE\n"   length of the manifest, 4 bytes, big-endian   signed manifest   parts
//! ```
//!
//! Nothing is between the parts and nothing follows them, so a place in the file says which byte of
//! which part stands there.

use crate::manifest::{MANIFEST_MAX, Manifest, Part};

/// How every bundle begins.
pub const MAGIC: [u8; 16] = *b"BARTIZAN-UPDATE\n";

/// The bytes before the manifest.
pub const HEAD_LEN: usize = 20;

/// The bytes of a bundle do not begin like one.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BundleError {
    /// Another kind of file.
    #[error("not a bundle")]
    Magic,
    /// The manifest is empty or too long.
    #[error("the bundle's manifest has no length that it may have")]
    ManifestLength,
}

/// Makes the bytes before the parts.
///
/// # Errors
///
/// [`BundleError::ManifestLength`] if the manifest is longer than one may be.
pub fn head(signed_manifest: &[u8]) -> Result<Vec<u8>, BundleError> {
    let len = u32::try_from(signed_manifest.len()).map_err(|_| BundleError::ManifestLength)?;
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&len.to_be_bytes());
    let head: [u8; HEAD_LEN] = bytes
        .as_slice()
        .try_into()
        .map_err(|_| BundleError::ManifestLength)?;
    manifest_len(&head)?;
    bytes.extend_from_slice(signed_manifest);
    Ok(bytes)
}

/// How long the signed manifest after these bytes is: 1 to [`MANIFEST_MAX`].
///
/// # Errors
///
/// [`BundleError`] if they are not how a bundle begins.
pub fn manifest_len(head: &[u8; HEAD_LEN]) -> Result<usize, BundleError> {
    let (magic, len) = head.split_first_chunk::<16>().ok_or(BundleError::Magic)?;
    if *magic != MAGIC {
        return Err(BundleError::Magic);
    }
    let len: [u8; 4] = len.try_into().map_err(|_| BundleError::Magic)?;
    usize::try_from(u32::from_be_bytes(len))
        .ok()
        .filter(|len| (1..=MANIFEST_MAX).contains(len))
        .ok_or(BundleError::ManifestLength)
}

/// Where a part begins in a bundle whose signed manifest has `manifest_len` bytes.
pub fn part_offset(manifest: &Manifest, manifest_len: u64, part: Part) -> u64 {
    parts_offset(manifest_len).saturating_add(manifest.offset(part))
}

/// How many bytes the whole bundle has.
pub fn bundle_len(manifest: &Manifest, manifest_len: u64) -> u64 {
    parts_offset(manifest_len).saturating_add(manifest.parts_len())
}

fn parts_offset(manifest_len: u64) -> u64 {
    20_u64.saturating_add(manifest_len)
}
