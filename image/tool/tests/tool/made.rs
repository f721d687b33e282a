//! A version is predicted, listed, bundled, checked; and every change to the bundle is noticed.

use std::fs;

use bartizan_image::pe::Pe;
use bartizan_image::prediction::{Prediction, PredictionError};
use bartizan_image::secure_boot::SecureBoot;
use bartizan_image::verity;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::pe;
use crate::run::{image, run, scratch};
use crate::small::{BUNDLE, RIM, SBOM, built};

const FLASH: &str = "flash --keys keys --enrol keys bundle disk";

#[test]
fn a_version_becomes_a_bundle_in_which_every_change_is_noticed() {
    let folder = scratch("bundle");
    built(&folder);
    image(&folder, RIM).unwrap();
    image(&folder, SBOM).unwrap();
    let said = image(&folder, BUNDLE).unwrap();
    assert!(said.starts_with("test 1.2, epoch 3, root hash "));
    let verified = image(&folder, "verify --keys keys bundle").unwrap();
    assert!(verified.starts_with(&said), "{verified}");
    let shown = image(&folder, "inspect --keys keys bundle").unwrap();
    assert!(shown.contains("least running version 1.0") && shown.contains("PCR 4 "));

    let good = fs::read(folder.join("bundle")).unwrap();
    let damaged = folder.join("damaged");
    let refused = |bytes: &[u8], word: &str| {
        fs::write(&damaged, bytes).unwrap();
        let why = image(&folder, "verify --keys keys damaged").unwrap_err();
        assert!(why.contains(word), "{why}");
    };
    for at in [0, 17, 21, 60, 200, 500, 2000, 4000] {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        refused(&bytes, "the ");
    }
    for (from_end, word) in [(1, "bill of materials"), (good.len() - 5000, "root")] {
        let mut bytes = good.clone();
        bytes[good.len() - from_end] ^= 1;
        refused(&bytes, &format!("the {word} is not what was signed"));
    }
    refused(&good[..good.len() - 1], "ends within the bill of materials");
    refused(&good[..100], "not a bundle");
    refused(
        &[good.as_slice(), &[0]].concat(),
        "goes on after its last part",
    );
    // The keys of another maker.
    image(&folder, "keys others").unwrap();
    let why = image(&folder, "verify --keys others bundle").unwrap_err();
    assert!(why.contains("signature of the manifest is wrong"), "{why}");
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn what_does_not_belong_together_makes_no_bundle() {
    let folder = scratch("parts");
    built(&folder);
    image(&folder, RIM).unwrap();
    image(&folder, SBOM).unwrap();
    let refused = |file: &str, change: &dyn Fn(&mut Vec<u8>), word: &str| {
        let file = folder.join("built").join(file);
        let good = fs::read(&file).unwrap();
        let mut bytes = good.clone();
        change(&mut bytes);
        fs::write(&file, bytes).unwrap();
        let why = image(&folder, BUNDLE).unwrap_err();
        assert!(why.contains(word), "{why}");
        assert!(!folder.join("bundle").exists());
        fs::write(&file, good).unwrap();
    };
    refused("root", &|bytes| bytes[9000] ^= 1, "hash tree");
    refused("verity", &|bytes| bytes[5000] ^= 1, "hash tree");
    refused("uki.efi", &|bytes| bytes[0x1003] ^= 1, "reference values");
    refused("boot.efi", &|bytes| bytes[0x1003] ^= 1, "reference values");
    refused("rim.cose", &|bytes| bytes[100] ^= 1, "reference values");
    let other_hash = |bytes: &mut Vec<u8>| {
        let at = bytes
            .windows(11)
            .position(|window| window == b"\"roothash\":")
            .unwrap();
        bytes[at + 12] = if bytes[at + 12] == b'0' { b'1' } else { b'0' };
    };
    refused("build.json", &other_hash, "root hash");
    let unsigned = fs::read(folder.join("built/uki.unsigned")).unwrap();
    let strip = |bytes: &mut Vec<u8>| bytes.clone_from(&unsigned);
    refused(
        "uki.efi",
        &strip,
        "signature of a boot file, which is missing,",
    );
    image(&folder, BUNDLE).unwrap();
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn reference_values_are_signed_only_if_the_builder_says_the_same() {
    let folder = scratch("rim");
    built(&folder);
    let file = folder.join("built/build.json");
    let build = fs::read_to_string(&file).unwrap();
    fs::write(&file, build.replacen("enter-initrd", "enter-Initrd", 1)).unwrap();
    let why = image(&folder, RIM).unwrap_err();
    assert!(why.contains("value of PCR 11"), "{why}");
    assert!(!folder.join("built/rim.cose").exists());
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn keys_are_new_private_and_never_overwritten() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = scratch("keys");
    image(&folder, "keys keys").unwrap();
    for secret in ["PK.key", "KEK.key", "db.key", "pcr.key", "release/es384.p8"] {
        let mode = fs::metadata(folder.join("keys").join(secret))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o077, 0, "{secret}");
    }
    let before = fs::read(folder.join("keys/PK.key")).unwrap();
    let why = image(&folder, "keys keys").unwrap_err();
    assert!(why.contains("is there already"), "{why}");
    assert_eq!(fs::read(folder.join("keys/PK.key")).unwrap(), before);
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn keys_that_are_there_are_taken_over_whole_or_not_at_all() {
    let folder = scratch("existing");
    image(&folder, "keys old").unwrap();
    image(&folder, "keys other").unwrap();
    // What is derived is made anew.
    for derived in ["PK.auth", "KEK.auth", "db.auth", "pcr.pub"] {
        fs::remove_file(folder.join("old").join(derived)).unwrap();
    }
    image(&folder, "keys --from old new").unwrap();
    let same = |name: &str| {
        let read = |keys: &str| fs::read(folder.join(keys).join(name)).unwrap();
        assert!(read("old") == read("new"), "{name}");
    };
    for name in ["PK.key", "KEK.crt", "db.key", "db.crt", "pcr.key"] {
        same(name);
    }
    for name in ["release/es384.p8", "release/es384.pub"] {
        same(name);
    }
    let variable = |name: &str| fs::read(folder.join("new").join(name)).unwrap();
    SecureBoot::from_signed(
        &variable("PK.auth"),
        &variable("KEK.auth"),
        &variable("db.auth"),
    )
    .unwrap();
    assert!(!variable("pcr.pub").is_empty());

    let refused = |change: &dyn Fn(), why: &str| {
        change();
        let said = image(&folder, "keys --from old refused").unwrap_err();
        assert!(said.contains(why), "{said}");
        fs::remove_dir_all(folder.join("refused")).unwrap();
    };
    let swap = |name: &str| {
        fs::copy(
            folder.join("other").join(name),
            folder.join("old").join(name),
        )
        .unwrap();
    };
    refused(&|| swap("db.crt"), "certificate of an existing key");
    swap("db.key");
    let gone = |name: &str| fs::remove_file(folder.join("old").join(name)).unwrap();
    refused(&|| gone("release/ml-dsa-65.p8"), "the release keys");
    refused(&|| gone("pcr.key"), "cannot read old/pcr.key");
    let weak = "req -new -x509 -newkey rsa:1024 -sha256 -noenc -subj /CN=x/ -keyout old/PK.key -out old/PK.crt";
    let weak: Vec<&str> = weak.split(' ').collect();
    refused(
        &|| {
            run("openssl", &folder, &weak).unwrap();
        },
        "not RSA-2048",
    );
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_hash_of_an_image_is_the_one_that_sbsign_signs() {
    let folder = scratch("hash");
    built(&folder);
    for name in ["uki", "boot"] {
        let read = |name: String| fs::read(folder.join("built").join(name)).unwrap();
        let (signed, unsigned) = (
            read(format!("{name}.efi")),
            read(format!("{name}.unsigned")),
        );
        let signed = Pe::parse(&signed).unwrap();
        let hash = signed.authenticode().unwrap();
        let unsigned = Pe::parse(&unsigned).unwrap();
        assert_eq!(unsigned.authenticode().unwrap(), hash);
        assert!(unsigned.certificates().is_empty());
        // The signed content is SpcIndirectDataContent with the hash in it.
        let mut windows = signed.certificates().windows(32);
        assert!(windows.any(|window| window == hash));
    }
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_root_and_a_hash_tree_of_another_length_do_not_fit() {
    let folder = scratch("verity");
    built(&folder);
    let read = |name: &str| fs::read(folder.join("built").join(name)).unwrap();
    let (root, tree) = (read("root"), read("verity"));
    let stated = String::from_utf8(read("build.json")).unwrap();
    let found = verity::root_hash(&root, &tree).unwrap();
    assert!(stated.contains(&bartizan_evidence::hex::encode(&found)));
    assert!(verity::root_hash(&root[..root.len() - 4096], &tree).is_err());
    assert!(verity::root_hash(&root, &tree[..tree.len() - 4096]).is_err());
    let longer = [tree.as_slice(), &[0; 4096]].concat();
    assert!(verity::root_hash(&root, &longer).is_err());
    for at in [0, 8, 12, 40, 64, 72, 80, 90, 4096, tree.len() - 4000] {
        let mut other = tree.clone();
        other[at] ^= 1;
        let other = verity::root_hash(&root, &other);
        assert!(other.is_err(), "{at}");
    }
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn what_is_no_image_is_not_predicted() {
    let variables = SecureBoot {
        pk: Vec::new(),
        kek: Vec::new(),
        db: vec![0; 60],
    };
    let boot = pe::image(&[(".text", b"boot")]);
    assert_eq!(
        Prediction::new(&boot, &boot, &variables),
        Err(PredictionError::Section(".cmdline"))
    );
    assert_eq!(
        Prediction::new(&boot, b"MZ", &variables),
        Err(PredictionError::Image("the kernel image"))
    );
    assert!(SecureBoot::from_signed(&[], &[], &[]).is_err());
}

#[test]
fn the_bill_of_materials_names_every_crate_and_package_once() {
    let folder = scratch("sbom");
    built(&folder);
    image(&folder, SBOM).unwrap();
    let text = fs::read(folder.join("built/sbom.json")).unwrap();
    let again = image(&folder, SBOM).map(|_| fs::read(folder.join("built/sbom.json")).unwrap());
    assert_eq!(Sha256::digest(again.unwrap()), Sha256::digest(&text));
    let document: Value = serde_json::from_slice(&text).unwrap();
    let graph = document["@graph"].as_array().unwrap();
    let purls: Vec<&str> = graph
        .iter()
        .filter_map(|element| element["software_packageUrl"].as_str())
        .collect();
    assert_eq!(
        purls,
        [
            "pkg:cargo/postcard@1.1.3",
            "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10"
        ]
    );
    // Whatever an element refers to is an element.
    let ids: Vec<&Value> = graph.iter().map(|element| &element["spdxId"]).collect();
    let contains = graph
        .iter()
        .find(|one| one["relationshipType"] == "contains");
    let contains = contains.unwrap();
    let to = contains["to"].as_array().unwrap();
    assert_eq!(to.len(), 3);
    for id in to.iter().chain([&contains["from"]]) {
        assert_eq!(ids.iter().filter(|known| **known == id).count(), 1);
    }
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_flashed_disk_is_what_others_read_as_one_and_a_refused_bundle_writes_nothing() {
    use std::os::unix::fs::MetadataExt as _;
    let folder = scratch("flash");
    built(&folder);
    image(&folder, RIM).unwrap();
    image(&folder, SBOM).unwrap();
    image(&folder, BUNDLE).unwrap();
    let disk = folder.join("disk");
    let new = || {
        fs::File::create(&disk)
            .unwrap()
            .set_len(1400 << 20)
            .unwrap();
    };

    let good = fs::read(folder.join("bundle")).unwrap();
    let untouched = |bytes: &[u8], words: &str| {
        new();
        fs::write(folder.join("bundle"), bytes).unwrap();
        image(&folder, words).unwrap_err();
        assert_eq!(fs::metadata(&disk).unwrap().blocks(), 0, "{words}");
    };
    untouched(&good[..good.len() - 1], FLASH);
    for at in [60, 4000, good.len() - 1] {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        untouched(&bytes, FLASH);
    }
    image(&folder, "keys others").unwrap();
    untouched(&good, "flash --keys others bundle disk");
    untouched(&good, "flash --keys keys --enrol others bundle disk");

    new();
    let said = image(&folder, FLASH).unwrap();
    assert!(said.contains(" bytes written, "), "{said}");
    let again = image(&folder, FLASH).unwrap();
    assert_ne!(again, said);
    run("/sbin/sfdisk", &folder, &["--verify", "disk"]).unwrap();
    let bytes = fs::read(&disk).unwrap();
    let root = fs::read(folder.join("built/root")).unwrap();
    assert!(bytes[513 << 20..].starts_with(&root));
    fs::write(folder.join("esp"), &bytes[1 << 20..513 << 20]).unwrap();
    let judged = run("/sbin/fsck.vfat", &folder, &["-n", "-v", "esp"]).unwrap();
    assert!(judged.contains(" files, "), "{judged}");
    for (inside, file) in [
        ("::EFI/BOOT/BOOTX64.EFI", "built/boot.efi"),
        ("::EFI/Linux/bartizan_1.2+3.efi", "built/uki.efi"),
        ("::loader/keys/auto/db.auth", "keys/db.auth"),
    ] {
        run("mcopy", &folder, &["-o", "-i", "esp", inside, "copy"]).unwrap();
        let copy = fs::read(folder.join("copy")).unwrap();
        assert!(copy == fs::read(folder.join(file)).unwrap(), "{inside}");
    }
    fs::remove_dir_all(&folder).unwrap();
}
