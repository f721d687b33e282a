//! A small disk in a file, and releases to put on it.

#![expect(clippy::arithmetic_side_effects, reason = "offsets of a small disk")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use bartizan_manifest::rules::Running;
use bartizan_manifest::{Contents, Manifest, PartContents, Version};
use bartizan_slots::Disk as _;
use bartizan_slots::gpt::{Guid, Partition, Replica, Table};
use bartizan_updater::BoxDisk;
use sha2::{Digest as _, Sha256};

pub(crate) const SECTOR: u64 = 512;
pub(crate) const SECTORS: u64 = 8192;
/// First and last sectors of root A, tree A, root B, tree B.
pub(crate) const PLACES: [(u64, u64); 4] = [(2048, 3071), (3072, 3199), (4096, 5119), (5120, 5247)];

pub(crate) struct Release {
    pub(crate) number: u8,
    pub(crate) root: Vec<u8>,
    pub(crate) tree: Vec<u8>,
    pub(crate) kernel: Vec<u8>,
}

pub(crate) fn release(number: u8) -> Release {
    let noise = |seed: u8, len: usize| -> Vec<u8> {
        let blocks = (0..len.div_ceil(32))
            .flat_map(|at| Sha256::digest([&[seed, number], at.to_be_bytes().as_slice()].concat()));
        blocks.take(len).collect()
    };
    Release {
        number,
        // More than one direct read, and a kernel image that ends within a sector.
        root: noise(1, 100 * 4096),
        tree: noise(2, 2 * 4096),
        kernel: noise(3, 300_123),
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
                recovery: of(b""),
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

    pub(crate) fn bytes(&self) -> Vec<u8> {
        [self.root.as_slice(), &self.tree, &self.kernel].concat()
    }
}

/// A folder that goes with the test; beside the test's own program, where files can be read past
/// the page cache.
pub(crate) struct Place(pub(crate) PathBuf);

impl Place {
    pub(crate) fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        // It may be left from a run that was cut short.
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(folder.join("entries")).unwrap();
        Self(folder)
    }

    pub(crate) fn image(&self) -> PathBuf {
        self.0.join("disk")
    }

    pub(crate) fn entries(&self) -> PathBuf {
        self.0.join("entries")
    }

    /// The disk with a blessed version in slot A, and nothing in slot B.
    pub(crate) fn disk(&self, running: &Release) -> BoxDisk {
        File::create(self.image())
            .unwrap()
            .set_len(SECTORS * SECTOR)
            .unwrap();
        let mut disk = self.reopened();
        let ids = [
            Guid::of_slot(&running.root_hash()),
            [Guid([0xaa; 16]), Guid([0xbb; 16])],
        ]
        .concat();
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
        let table = Table::new(Guid([9; 16]), 512, SECTORS, &partitions).unwrap();
        for replica in [Replica::Primary, Replica::Backup] {
            let image = table.image(replica).unwrap();
            disk.write(image.entries_offset, &image.entries).unwrap();
            disk.write(image.header_offset, &image.header).unwrap();
        }
        disk.write(PLACES[0].0 * SECTOR, &running.root).unwrap();
        disk.write(PLACES[1].0 * SECTOR, &running.tree).unwrap();
        disk.flush().unwrap();
        let name = format!("bartizan_{}.efi", running.number);
        fs::write(self.entries().join(name), &running.kernel).unwrap();
        disk
    }

    pub(crate) fn reopened(&self) -> BoxDisk {
        BoxDisk::with_sectors(&self.image(), &self.entries(), 512).unwrap()
    }

    pub(crate) fn slot(&self, place: usize, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let image = File::open(self.image()).unwrap();
        image
            .read_exact_at(&mut bytes, PLACES[place].0 * SECTOR)
            .unwrap();
        bytes
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A test that fails has more to say than what could not be removed.
        drop(fs::remove_dir_all(&self.0));
    }
}
