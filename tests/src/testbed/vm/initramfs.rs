//! The few files from which the guest reaches the host's: PID 1, its libraries, the modules for 9p.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use super::modules_folder;
use crate::testbed::process::run;

/// The modules' paths in the initramfs, one a line, each after those that it needs.
pub(super) const ORDER: &str = "/modules.order";

const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_755;

/// Writes an initramfs whose PID 1 is `init`.
pub(super) fn write(path: &Path, init: &Path, release: &str, modules: &[&str]) {
    let mut archive = Archive::default();
    archive.folder(Path::new("/root"));
    archive.file(Path::new("/init"), &read(init));
    for library in libraries(init) {
        archive.file(&library, &read(&library));
    }
    let mut order = String::new();
    for module in with_dependencies(release, modules) {
        let inside = Path::new("/modules").join(module.file_name().expect("a module's name"));
        archive.file(&inside, &read(&module));
        order.push_str(inside.to_str().expect("a module's name in ASCII"));
        order.push('\n');
    }
    archive.file(Path::new(ORDER), order.as_bytes());
    fs::write(path, archive.finish()).expect("write the initramfs");
}

/// A cpio archive in the `newc` form that the kernel unpacks.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    folders: BTreeSet<PathBuf>,
}

impl Archive {
    fn file(&mut self, path: &Path, content: &[u8]) {
        self.folder(path.parent().expect("a file in a folder"));
        self.entry(path, FILE, content);
    }

    fn folder(&mut self, path: &Path) {
        if path == Path::new("/") || !self.folders.insert(path.to_owned()) {
            return;
        }
        self.folder(path.parent().expect("a folder below the root"));
        self.entry(path, FOLDER, &[]);
    }

    fn entry(&mut self, path: &Path, mode: u32, content: &[u8]) {
        let name = path.strip_prefix("/").unwrap_or(path);
        let name = name.to_str().expect("a path in UTF-8");
        let inode = self.bytes.len();
        let (content_size, name_size) = (content.len(), name.len() + 1);
        // magic, inode, mode, uid, gid, links, mtime, size, device (4 words), name's size, checksum
        write!(
            self.bytes,
            "070701{inode:08X}{mode:08X}{0:08X}{0:08X}{1:08X}{0:08X}{content_size:08X}{0:08X}{0:08X}{0:08X}{0:08X}\
             {name_size:08X}{0:08X}{name}\0",
            0, 1,
        )
        .expect("write to memory");
        self.align();
        self.bytes.extend_from_slice(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.entry(Path::new("TRAILER!!!"), 0, &[]);
        self.bytes
    }
}

/// What the dynamic linker would load, and itself.
fn libraries(program: &Path) -> Vec<PathBuf> {
    run(Command::new("ldd").arg(program))
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}

/// The files of `modules` and of all that they need, those first.
fn with_dependencies(release: &str, modules: &[&str]) -> Vec<PathBuf> {
    let folder = modules_folder(release);
    let table = fs::read_to_string(folder.join("modules.dep")).expect("read modules.dep");
    let built_in =
        fs::read_to_string(folder.join("modules.builtin")).expect("read modules.builtin");
    let mut files: Vec<PathBuf> = Vec::new();
    for module in modules {
        let is_it = |file: &str| stem(file) == *module;
        if built_in.lines().any(is_it) {
            continue;
        }
        let (file, needs) = table
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(file, _)| is_it(file))
            .unwrap_or_else(|| panic!("kernel {release} has no module {module}"));
        // modules.dep lists the deepest need last.
        for file in needs.split_whitespace().rev().chain([file]) {
            let file = folder.join(file);
            if !files.contains(&file) {
                files.push(file);
            }
        }
    }
    files
}

fn stem(file: &str) -> &str {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split('.').next().unwrap_or(name)
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|cause| panic!("cannot read {}: {cause}", path.display()))
}
