//! A cpio archive in the `newc` form that the kernel unpacks; sorted, of root, without times.

use std::collections::BTreeMap;

const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_755;
const LINK: u32 = 0o120_777;

/// What is in the archive, by path without a slash before it.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    entries: BTreeMap<String, (u32, Vec<u8>)>,
}

impl Archive {
    pub(crate) fn folder(&mut self, path: &str) {
        let path = path.trim_matches('/');
        if path.is_empty() {
            return;
        }
        if let Some((above, _)) = path.rsplit_once('/') {
            self.folder(above);
        }
        self.entries
            .entry(path.to_owned())
            .or_insert((FOLDER, Vec::new()));
    }

    pub(crate) fn file(&mut self, path: &str, content: Vec<u8>) {
        self.add(path, FILE, content);
    }

    pub(crate) fn link(&mut self, path: &str, target: &str) {
        self.add(path, LINK, target.as_bytes().to_vec());
    }

    fn add(&mut self, path: &str, mode: u32, content: Vec<u8>) {
        let path = path.trim_matches('/');
        if let Some((above, _)) = path.rsplit_once('/') {
            self.folder(above);
        }
        self.entries.insert(path.to_owned(), (mode, content));
    }

    /// The bytes; folders come before what is in them, because the order is that of the paths.
    pub(crate) fn finish(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, (path, (mode, content))) in (1_u32..).zip(&self.entries) {
            entry(&mut bytes, number, *mode, path, content);
        }
        entry(&mut bytes, 0, 0, "TRAILER!!!", &[]);
        bytes
    }
}

fn entry(bytes: &mut Vec<u8>, number: u32, mode: u32, path: &str, content: &[u8]) {
    let size = content.len();
    let name = path.len().saturating_add(1);
    // magic, inode, mode, uid, gid, links, mtime, size, device (4 words), name's size, checksum
    let header = format!(
        "070701{number:08X}{mode:08X}{0:08X}{0:08X}{1:08X}{0:08X}{size:08X}{0:08X}{0:08X}{0:08X}{0:08X}{name:08X}{0:08X}\
         {path}\0",
        0, 1,
    );
    bytes.extend(header.into_bytes());
    align(bytes);
    bytes.extend(content);
    align(bytes);
}

fn align(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_in_which_files_are_added_does_not_show() {
        let mut one = Archive::default();
        one.file("/b/c", vec![1]);
        one.folder("/a");
        let mut other = Archive::default();
        other.folder("a");
        other.file("b/c", vec![1]);
        assert_eq!(one.finish(), other.finish());
        let paths: Vec<&String> = one.entries.keys().collect();
        assert_eq!(paths, ["a", "b", "b/c"]);
    }
}
