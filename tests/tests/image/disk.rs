//! A box's disk: a file with the partitions of `image/README.md`.

use std::{
    fs::{self, File},
    io::{Seek as _, SeekFrom, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use bartizan_tests::testbed::process::run;

use crate::build::Image;

const MIB: u64 = 1024 * 1024;

/// Where the partitions begin, in MiB.
const ESP: u64 = 1;
const ROOT_A: u64 = 513;
const VERITY_A: u64 = 705;

/// A disk.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) path: PathBuf,
}

impl Disk {
    /// Writes a disk with the image in slot A, as a new box has it: without var.
    pub(crate) fn new(path: &Path, image: &Image) -> Self {
        let disk = File::create(path).unwrap();
        disk.set_len(1400 * MIB).unwrap();
        let [data, tree] = partitions(&image.built.roothash);
        let root = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709";
        let verity = "2c7357ed-ebd2-46d9-aec1-23d437ec2bf5";
        let table = format!(
            "label: gpt\n\
             size=512MiB, type=uefi, name=esp\n\
             size=192MiB, type={root}, name=bartizan-root-a, uuid={data}\n\
             size=16MiB, type={verity}, name=bartizan-verity-a, uuid={tree}\n\
             size=192MiB, type={root}, name=bartizan-root-b\n\
             size=16MiB, type={verity}, name=bartizan-verity-b\n"
        );
        let mut sfdisk = Command::new("/sbin/sfdisk");
        let mut sfdisk = sfdisk
            .arg("-q")
            .arg(path)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        sfdisk
            .stdin
            .take()
            .unwrap()
            .write_all(table.as_bytes())
            .unwrap();
        assert!(sfdisk.wait().unwrap().success());

        let esp = esp(path, image);
        for (at, file) in [
            (ESP, esp.as_path()),
            (ROOT_A, &image.folder.join("root")),
            (VERITY_A, &image.folder.join("verity")),
        ] {
            write_at(&disk, at, file);
        }
        fs::remove_file(esp).unwrap();
        Self {
            path: path.to_owned(),
        }
    }

    /// A copy in which everything else stays as it is.
    pub(crate) fn copy(&self, name: &str) -> Self {
        let path = self.path.with_file_name(name);
        run(Command::new("cp")
            .arg("--sparse=always")
            .arg(&self.path)
            .arg(&path));
        Self { path }
    }

    /// Puts a file on the ESP, in the place of the one that is there.
    pub(crate) fn replace(&self, inside: &str, file: &Path) {
        let image = format!("{}@@1M", self.path.display());
        run(Command::new("mcopy")
            .args(["-o", "-i", &image])
            .arg(file)
            .arg(format!("::{inside}")));
    }

    /// The names of the kernel images on the ESP.
    pub(crate) fn kernels(&self) -> String {
        let image = format!("{}@@1M", self.path.display());
        run(Command::new("mdir").args(["-b", "-i", &image, "::/EFI/Linux"]))
    }

    /// Flips a bit in every block of slot A's root from `from` on: whatever is read next is wrong.
    pub(crate) fn corrupt_root(&self, from: u64, image: &Image) {
        let file = File::options()
            .read(true)
            .write(true)
            .open(&self.path)
            .unwrap();
        let size = image.file("root").len();
        for block in from..u64::try_from(size).unwrap() / 4096 {
            let at = ROOT_A * MIB + block * 4096 + 100;
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 1], at).unwrap();
        }
    }
}

/// A file system for the ESP, with the keys that a new box takes.
fn esp(beside: &Path, image: &Image) -> PathBuf {
    let path = beside.with_extension("esp");
    File::create(&path).unwrap().set_len(512 * MIB).unwrap();
    run(Command::new("/sbin/mkfs.vfat")
        .args(["-F", "32", "-n", "ESP"])
        .arg(&path));
    let folders = [
        "/EFI",
        "/EFI/BOOT",
        "/EFI/Linux",
        "/loader",
        "/loader/keys",
        "/loader/keys/auto",
    ];
    run(Command::new("mmd")
        .arg("-i")
        .arg(&path)
        .args(folders.map(|folder| format!("::{folder}"))));
    let loader = concat!(env!("CARGO_MANIFEST_DIR"), "/../image/loader.conf");
    for (file, to) in [
        (image.folder.join("boot.efi"), "/EFI/BOOT/BOOTX64.EFI"),
        (image.folder.join("uki.efi"), KERNEL),
        (PathBuf::from(loader), "/loader/loader.conf"),
        (image.keys.join("PK.auth"), "/loader/keys/auto/PK.auth"),
        (image.keys.join("KEK.auth"), "/loader/keys/auto/KEK.auth"),
        (image.keys.join("db.auth"), "/loader/keys/auto/db.auth"),
    ] {
        run(Command::new("mcopy")
            .arg("-i")
            .arg(&path)
            .arg(file)
            .arg(format!("::{to}")));
    }
    path
}

/// The kernel image, not yet blessed.
pub(crate) const KERNEL: &str = "/EFI/Linux/bartizan_0.1.0+3.efi";

fn write_at(disk: &File, mib: u64, from: &Path) {
    let mut disk = disk;
    disk.seek(SeekFrom::Start(mib * MIB)).unwrap();
    // Holes of the source stay holes: most of an ESP is one.
    let bytes = fs::read(from).unwrap();
    for part in bytes.chunks(1024 * 1024) {
        if part.iter().all(|byte| *byte == 0) {
            disk.seek(SeekFrom::Current(i64::try_from(part.len()).unwrap()))
                .unwrap();
        } else {
            disk.write_all(part).unwrap();
        }
    }
}

/// The PARTUUIDs of a slot: the halves of its root hash.
fn partitions(roothash: &str) -> [String; 2] {
    let (data, tree) = roothash.split_at(32);
    [data, tree].map(|digits| {
        let groups = [0..8, 8..12, 12..16, 16..20, 20..32];
        groups.map(|group| &digits[group]).join("-")
    })
}
