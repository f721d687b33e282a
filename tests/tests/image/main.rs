//! The image, booted as a box boots it: firmware with Secure Boot, a TPM, the signed kernel image, the verified root.
//!
//! KVM is never used. A boot takes some 35 s of processor time, so few tests do many.

mod build;
mod disk;
mod keys;
mod machine;

use std::{fs, path::PathBuf};

use build::Image;
use disk::{Disk, KERNEL};
use machine::Machine;

/// The supervisor runs, and has heard all roles.
const UP: &str = "Factory -> Discovering";

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    /// Short: a socket's path has room for 107 bytes.
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("bartizan-image-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A test that fails has more to say than what could not be removed.
        let _left = fs::remove_dir_all(&self.0);
    }
}

/// A new box with the image on its disk, whose firmware has taken the keys.
fn enrolled(folder: &Folder, image: &Image) -> (Machine, Disk) {
    let disk = Disk::new(&folder.at("disk"), image);
    let machine = Machine::new(&folder.at("machine"));
    let console = machine.boot(&disk).end();
    assert!(console.contains("Enrolling secure boot keys"), "{console}");
    (machine, disk)
}

#[test]
fn two_builds_are_the_same() {
    let folder = Folder::new("twice");
    let one = Image::new(&folder.0);
    let other = Image::again(&folder.0, "again");
    assert_eq!(one.built, other.built);
    for name in ["root", "verity", "packages.json", "build.json"] {
        assert!(one.file(name) == other.file(name), "{name} differs");
    }
}

#[test]
fn a_box_comes_up_as_foretold_and_opens_var_for_itself_alone() {
    let folder = Folder::new("boot");
    let image = Image::new(&folder.0);
    let (machine, disk) = enrolled(&folder, &image);

    let mut first = machine.boot(&disk);
    first.wait(&["Successfully encrypted future partition"]);
    first.wait(&["Automatically discovered security TPM2 token unlocks volume"]);
    let keys = first.pcr(7);
    assert_eq!(first.pcr(11), image.pcr_11());
    first.wait(&[UP]);
    for port in ["mgmt0", "wan0", "lan0", "qkd0"] {
        first.see(&format!("{port}: Link UP"));
    }
    first.cut();
    assert!(disk.kernels().contains("+2-1.efi"), "{}", disk.kernels());

    let mut second = machine.boot(&disk);
    second.wait(&["Automatically discovered security TPM2 token unlocks volume"]);
    assert_eq!(second.pcr(7), keys);
    assert_eq!(second.pcr(11), image.pcr_11());
    second.wait(&[UP]);
    let console = second.cut();
    assert!(!console.contains("Successfully encrypted"), "{console}");

    // The same keys have signed it, but nobody foretold what it measures.
    let edited = edited_command_line(&folder, &image);
    let other = disk.copy("edited");
    other.replace(&format!("/EFI/Linux/{}", kernel_name(&other)), &edited);
    let console = machine.boot(&other).end();
    assert!(
        console.contains("Failed to start systemd-cryptsetup@var.service"),
        "{console}"
    );
    assert!(!console.contains(UP), "{console}");

    machine.replace_tpm();
    let console = machine.boot(&disk).end();
    assert!(
        console.contains("Failed to start systemd-cryptsetup@var.service"),
        "{console}"
    );
    assert!(!console.contains(UP), "{console}");
}

#[test]
fn what_is_not_signed_or_not_whole_does_not_run() {
    let folder = Folder::new("refused");
    let image = Image::new(&folder.0);
    let (machine, disk) = enrolled(&folder, &image);

    for (who, by) in [("unsigned", None), ("foreign", Some("stranger"))] {
        for (file, inside) in [("boot.efi", "/EFI/BOOT/BOOTX64.EFI"), ("uki.efi", KERNEL)] {
            let changed = folder.at(who);
            fs::copy(image.folder.join(file), &changed).unwrap();
            keys::sign_anew(&changed, &image.keys, by);
            let disk = disk.copy("refused");
            disk.replace(inside, &changed);
            let mut boot = machine.boot(&disk);
            boot.wait(&["Access Denied", "Access denied", "Security Violation"]);
            let console = boot.cut();
            assert!(!console.contains("systemd[1]"), "{who} {file}: {console}");
        }
    }

    // The superblock is whole, what is read after it is not.
    let corrupt = disk.copy("corrupt");
    corrupt.corrupt_root(1, &image);
    let console = machine.boot(&corrupt).end();
    assert!(!console.contains(UP), "{console}");
    assert!(console.contains("dm-verity device corrupted"), "{console}");
}

/// The kernel image with one word of its command line changed, signed by db.
fn edited_command_line(folder: &Folder, image: &Image) -> PathBuf {
    let path = folder.at("edited.efi");
    let mut bytes = image.file("uki.efi");
    let (word, other) = (b"debugfs=off", b"debugfs=on ");
    let at = bytes
        .windows(word.len())
        .position(|bytes| bytes == word)
        .unwrap();
    bytes[at..at + word.len()].copy_from_slice(other);
    fs::write(&path, bytes).unwrap();
    keys::sign_anew(&path, &image.keys, Some("db"));
    path
}

fn kernel_name(disk: &Disk) -> String {
    let kernels = disk.kernels();
    let name = kernels.trim().rsplit('/').next().unwrap();
    name.to_owned()
}
