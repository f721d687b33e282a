//! Versions of images, small, and disks that hold them.

#![expect(clippy::arithmetic_side_effects, reason = "offsets of a small disk")]

use bartizan_manifest::rules::Running;
use bartizan_manifest::{Contents, Manifest, PartContents, Version};
use bartizan_slots::Disk as _;
use bartizan_slots::gpt::{Guid, Partition, Replica, Table};
use sha2::{Digest as _, Sha256};

use crate::disk::LoggedDisk;
use crate::medium::Medium;

pub(crate) const SECTORS: usize = 240;
/// First and last sectors of root A, tree A, root B, tree B.
pub(crate) const PLACES: [(u64, u64); 4] = [(48, 79), (80, 95), (96, 127), (128, 143)];

/// An image: its number is its version.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Release {
    pub(crate) number: u8,
    pub(crate) root: Vec<u8>,
    pub(crate) tree: Vec<u8>,
    pub(crate) kernel: Vec<u8>,
}

pub(crate) fn release(number: u8) -> Release {
    let noise = |seed: u8, len: usize| -> Vec<u8> {
        let blocks = (0..len.div_ceil(32)).map(|at| {
            let at = u32::try_from(at).unwrap().to_be_bytes();
            Sha256::digest([&[seed, number], at.as_slice()].concat())
        });
        let mut bytes: Vec<u8> = blocks.flatten().collect();
        bytes.truncate(len);
        bytes
    };
    let mut kernel = noise(3, 1300);
    kernel[..2].copy_from_slice(b"MZ");
    Release {
        number,
        root: noise(1, 3 * 4096),
        tree: noise(2, 4096),
        kernel,
    }
}

impl Release {
    pub(crate) fn version(&self) -> Version {
        Version::try_from(self.number.to_string().as_str()).unwrap()
    }

    pub(crate) fn root_hash(&self) -> [u8; 32] {
        Sha256::digest(&self.tree).into()
    }

    pub(crate) fn manifest(&self) -> Manifest {
        let of = |bytes: &[u8]| PartContents {
            size: u64::try_from(bytes.len()).unwrap(),
            sha256: Sha256::digest(bytes).into(),
        };
        Manifest {
            machine: "test".to_owned(),
            version: self.version(),
            min_version: Version::try_from("0").unwrap(),
            rollback_epoch: 1,
            root_hash: self.root_hash(),
            parts: Contents {
                root: of(&self.root),
                verity: of(&self.tree),
                uki: of(&self.kernel),
                recovery: of(b"r"),
                boot_loader: of(b"b"),
                reference_values: of(b"v"),
                bill_of_materials: of(b"m"),
            },
        }
    }

    pub(crate) fn running(&self) -> Running {
        Running {
            machine: "test".to_owned(),
            version: self.version(),
            root_hash: self.root_hash(),
            rollback_floor: 1,
        }
    }

    /// What an update takes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        [self.root.as_slice(), &self.tree, &self.kernel].concat()
    }
}

/// A disk with one version in slot A, and another in slot B, each with its entry's name.
pub(crate) fn disk(a: (&Release, &str), b: Option<(&Release, &str)>) -> LoggedDisk {
    let mut disk = LoggedDisk::new(Medium::new(SECTORS));
    let ids = |release: Option<&Release>| match release {
        Some(release) => Guid::of_slot(&release.root_hash()),
        None => [Guid([0xaa; 16]), Guid([0xbb; 16])],
    };
    let ids = [ids(Some(a.0)), ids(b.map(|(release, _)| release))].concat();
    let kinds = [Guid::ROOT_X86_64, Guid::VERITY_X86_64].repeat(2);
    let partitions: Vec<Partition> = (kinds.iter().zip(&ids).zip(PLACES))
        .map(|((kind, id), (first, last))| Partition {
            kind: *kind,
            id: *id,
            first,
            last,
            label: "slot".to_owned(),
        })
        .collect();
    let sectors = u64::try_from(SECTORS).unwrap();
    let table = Table::new(Guid([9; 16]), 512, sectors, &partitions).unwrap();
    for replica in [Replica::Primary, Replica::Backup] {
        let image = table.image(replica).unwrap();
        disk.write(image.entries_offset, &image.entries).unwrap();
        disk.write(image.header_offset, &image.header).unwrap();
    }
    for (at, (release, name)) in [(0, a)].into_iter().chain(b.map(|b| (2, b))) {
        disk.write(PLACES[at].0 * 512, &release.root).unwrap();
        disk.write(PLACES[at + 1].0 * 512, &release.tree).unwrap();
        let size = u64::try_from(release.kernel.len()).unwrap();
        disk.create(name, size).unwrap();
        disk.write_file(name, 0, &release.kernel).unwrap();
    }
    disk.log.clear();
    // The running slot is not to be written to, whatever happens.
    disk.forbidden
        .push(PLACES[0].0 * 512..(PLACES[1].1 + 1) * 512);
    disk
}
