//! What stays when power fails: sectors, and a FAT folder that may be found in any of its states.

use std::collections::BTreeMap;

pub(crate) const SECTOR: usize = 512;
pub(crate) type Sector = [u8; SECTOR];

/// One change on its way to the medium.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Sector(usize, Sector),
    /// Clusters for a file.
    Allocate(u32, usize),
    FileSector(u32, usize, Sector),
    AddName(String, u32),
    RemoveName(String, u32),
    /// The clusters of a file, which another may get.
    Free(u32),
}

impl Change {
    /// Whether a flush of the folder brings it to the medium, or one of the disk.
    pub(crate) fn is_of_folder(&self) -> bool {
        !matches!(self, Self::Sector(..))
    }
}

/// How much of a change arrives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Arrives {
    Whole,
    Not,
    /// Of a long name, the short one alone.
    Mangled,
}

#[derive(Clone, Debug)]
pub(crate) struct Medium {
    pub(crate) sectors: Vec<Sector>,
    pub(crate) names: BTreeMap<String, u32>,
    files: BTreeMap<u32, Clusters>,
}

#[derive(Clone, Debug, Default)]
struct Clusters {
    sectors: Vec<Sector>,
    freed: bool,
}

impl Medium {
    pub(crate) fn new(sectors: usize) -> Self {
        Self {
            sectors: vec![[0; SECTOR]; sectors],
            names: BTreeMap::new(),
            files: BTreeMap::new(),
        }
    }

    pub(crate) fn apply(&mut self, change: &Change, arrives: Arrives) {
        if arrives == Arrives::Not {
            return;
        }
        match change {
            Change::Sector(at, bytes) => self.sectors[*at] = *bytes,
            Change::Allocate(file, size) => {
                // FAT does not clear what it gives.
                let sectors = vec![[0xee; SECTOR]; size.div_ceil(SECTOR)];
                let freed = false;
                self.files.insert(*file, Clusters { sectors, freed });
            }
            Change::FileSector(file, at, bytes) => {
                if let Some(clusters) = self.files.get_mut(file) {
                    clusters.sectors[*at] = *bytes;
                }
            }
            Change::AddName(name, file) => {
                let name = match arrives {
                    Arrives::Mangled => format!("BARTIZ~{file}.EFI"),
                    Arrives::Whole | Arrives::Not => name.clone(),
                };
                self.names.insert(name, *file);
            }
            Change::RemoveName(name, file) => {
                self.names.remove(name);
                if arrives == Arrives::Mangled {
                    self.names.insert(format!("BARTIZ~{file}.EFI"), *file);
                }
            }
            Change::Free(file) => {
                if let Some(clusters) = self.files.get_mut(file) {
                    clusters.freed = true;
                }
            }
        }
    }

    /// What a name's clusters hold: what is freed may be the newest file's by now.
    pub(crate) fn contents(&self, file: u32, reused: bool) -> Vec<u8> {
        let own = self.files.get(&file).cloned().unwrap_or_default();
        let newest = self.files.values().next_back();
        let clusters = match newest {
            Some(newest) if own.freed && reused => newest.clone(),
            Some(_) | None => own,
        };
        clusters.sectors.concat()
    }

    pub(crate) fn read(&self, offset: u64, into: &mut [u8]) {
        let offset = usize::try_from(offset).unwrap();
        for (at, byte) in into.iter_mut().enumerate() {
            let at = offset.checked_add(at).unwrap();
            *byte = self.sectors[at.div_euclid(SECTOR)][at.rem_euclid(SECTOR)];
        }
    }
}
