//! GUIDs: written in one order of bytes and stored in another.

use core::fmt;

use bartizan_evidence::quote::Digest;

/// A GUID, in the order in which it is written.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Guid(pub [u8; 16]);

impl Guid {
    /// An entry of this type is none.
    pub const UNUSED: Self = Self([0; 16]);

    /// The EFI system partition (UEFI 2.10, 5.3.3).
    pub const ESP: Self = Self(0xc12a_7328_f81f_11d2_ba4b_00a0_c93e_c93b_u128.to_be_bytes());

    /// A root file system of x86-64 (UAPI.2).
    pub const ROOT_X86_64: Self =
        Self(0x4f68_bce3_e8cd_4db1_96e7_fbca_f984_b709_u128.to_be_bytes());

    /// Its hash tree (UAPI.2).
    pub const VERITY_X86_64: Self =
        Self(0x2c73_57ed_ebd2_46d9_aec1_23d4_37ec_2bf5_u128.to_be_bytes());

    /// The two partitions of a slot: the halves of its root hash (UAPI.2).
    pub fn of_slot(root_hash: &Digest) -> [Self; 2] {
        let (halves, _) = root_hash.as_chunks::<16>();
        match halves {
            [root, verity] => [Self(*root), Self(*verity)],
            _ => [Self::UNUSED; 2],
        }
    }

    /// From the order in which it is stored, or to it: they are each other's inverse.
    pub(super) fn reordered(self) -> Self {
        let mut stored = self.0;
        let (low, rest) = stored.split_at_mut(4);
        let (middle, rest) = rest.split_at_mut(2);
        let (high, _) = rest.split_at_mut(2);
        low.reverse();
        middle.reverse();
        high.reverse();
        Self(stored)
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, byte) in self.0.iter().enumerate() {
            if matches!(position, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guids_are_stored_as_the_standard_says() {
        assert_eq!(
            Guid::ESP.to_string(),
            "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
        );
        let stored = Guid::ESP.reordered();
        assert_eq!(
            stored.0[..8],
            [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11]
        );
        assert_eq!(stored.reordered(), Guid::ESP);
    }

    #[test]
    fn a_slot_is_named_by_the_halves_of_its_root_hash() {
        let root_hash: Digest = core::array::from_fn(|at| u8::try_from(at).unwrap());
        let [root, verity] = Guid::of_slot(&root_hash);
        assert_eq!(root.to_string(), "00010203-0405-0607-0809-0a0b0c0d0e0f");
        assert_eq!(verity.to_string(), "10111213-1415-1617-1819-1a1b1c1d1e1f");
    }
}
