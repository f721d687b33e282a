//! dm-verity's hash tree, computed anew (cryptsetup's format 1, SHA-256, blocks of 4096 bytes).

use bartizan_evidence::quote::Digest;
use sha2::{Digest as _, Sha256};

/// Bytes a block, of data and of the tree.
pub const BLOCK: usize = 4096;

/// Why a tree is none over these data.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum VerityError {
    /// No superblock, or one of another format.
    #[error("the hash tree has no superblock of format 1 with SHA-256 and blocks of 4096 bytes")]
    Superblock,
    /// It is over more or fewer data.
    #[error("the hash tree is over another number of blocks")]
    Length,
    /// A block of the tree is not what the data make it.
    #[error("the hash tree is not that of the root")]
    Tree,
}

/// Computes the root hash of `data`, and compares the tree on the way.
///
/// # Errors
///
/// [`VerityError`] if `tree` is not exactly that of `data`.
pub fn root_hash(data: &[u8], tree: &[u8]) -> Result<Digest, VerityError> {
    let salt = superblock(data, tree).ok_or(VerityError::Superblock)??;
    let (blocks, rest) = data.as_chunks::<BLOCK>();
    if blocks.is_empty() || !rest.is_empty() {
        return Err(VerityError::Length);
    }
    let mut levels = vec![level(blocks, salt)];
    while let Some(last) = levels.last()
        && last.len() > 1
    {
        let next = level(last, salt);
        levels.push(next);
    }
    let top = levels.last().and_then(|level| level.first());
    let root = top
        .map(|block| hash(block, salt))
        .ok_or(VerityError::Tree)?;
    // The top is stored first, behind the superblock's block.
    let mut stored = tree.get(BLOCK..).ok_or(VerityError::Tree)?;
    for block in levels.iter().rev().flatten() {
        let (found, rest) = stored
            .split_first_chunk::<BLOCK>()
            .ok_or(VerityError::Tree)?;
        if found != block {
            return Err(VerityError::Tree);
        }
        stored = rest;
    }
    if !stored.is_empty() {
        return Err(VerityError::Length);
    }
    Ok(root)
}

/// The salt.
fn superblock<'a>(data: &[u8], tree: &'a [u8]) -> Option<Result<&'a [u8], VerityError>> {
    let head = tree.first_chunk::<512>()?;
    let number = |at: usize| {
        let number = head.get(at..)?.first_chunk::<4>()?;
        Some(u32::from_le_bytes(*number))
    };
    let sha256 = head.get(32..64)?.strip_prefix(b"sha256")?;
    let ours = head.starts_with(b"verity\0\0")
        && sha256.iter().all(|byte| *byte == 0)
        && [number(8)?, number(12)?, number(64)?, number(68)?] == [1, 1, 4096, 4096];
    ours.then_some(())?;
    let blocks = u64::from_le_bytes(*head.get(72..)?.first_chunk::<8>()?);
    let bytes = u64::try_from(data.len()).ok()?;
    if blocks.checked_mul(4096) != Some(bytes) {
        return Some(Err(VerityError::Length));
    }
    let salt = u16::from_le_bytes(*head.get(80..)?.first_chunk::<2>()?);
    let salt = tree.get(88..)?.get(..usize::from(salt).min(256))?;
    Some(Ok(salt))
}

/// The blocks that hold the hashes of these blocks.
fn level(blocks: &[[u8; BLOCK]], salt: &[u8]) -> Vec<[u8; BLOCK]> {
    let pack = |blocks: &[[u8; BLOCK]]| {
        let mut packed = [0; BLOCK];
        let (places, _) = packed.as_chunks_mut::<32>();
        for (place, block) in places.iter_mut().zip(blocks) {
            *place = hash(block, salt);
        }
        packed
    };
    blocks.chunks(128).map(pack).collect()
}

fn hash(block: &[u8], salt: &[u8]) -> Digest {
    Sha256::new()
        .chain_update(salt)
        .chain_update(block)
        .finalize()
        .into()
}
