//! A version is predicted, listed, bundled, checked; and every change to the bundle is noticed.

use std::fs;
use std::path::Path;

use bartizan_image::pe::Pe;
use bartizan_image::prediction::{Prediction, PredictionError};
use bartizan_image::secure_boot::SecureBoot;
use bartizan_image::verity;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::pe;
use crate::run::{image, run, scratch};

const LOCK: &str = r#"
version = 4
[[package]]
name = "postcard"
version = "1.1.3"
source = "registry+https://example.org/index"
checksum = "6764c3b5dd454e283a30e6dfe78e9b31096d9e32036b5d1eaac7a6119ccb9a24"
[[package]]
name = "bartizan"
version = "0.1.0"
"#;

const PACKAGES: &str = r#"[{"name": "libc6", "version": "2.36-9+deb12u10",
    "licence": "LGPL-2.1+", "reason": "everything"}]"#;

/// Keys and a built version of two hash tree levels.
fn built(folder: &Path) {
    image(folder, "keys keys").unwrap();
    let root: Vec<u8> = (0..130_u8)
        .flat_map(|block| [block; verity::BLOCK])
        .collect();
    let version = folder.join("built");
    fs::create_dir(&version).unwrap();
    fs::write(version.join("root"), &root).unwrap();
    let salt = "00".repeat(32);
    let words = ["format", "--salt", &salt, "root", "verity"];
    let said = run("/usr/sbin/veritysetup", &version, &words).unwrap();
    let root_hash = said
        .lines()
        .find_map(|line| line.strip_prefix("Root hash:"));
    let root_hash = root_hash.unwrap().trim().to_owned();
    let command_line = format!("quiet roothash={root_hash}");
    let kernel = pe::image(&[(".text", b"kernel")]);
    let pcr_key = fs::read(folder.join("keys/pcr.pub")).unwrap();
    let sections: [(&str, &[u8]); 6] = [
        (".osrel", b"ID=bartizan\n"),
        (".cmdline", command_line.as_bytes()),
        (".pcrpkey", &pcr_key),
        (".pcrsig", b"{}"),
        (".initrd", b"initrd"),
        (".linux", &kernel),
    ];
    fs::write(version.join("uki.unsigned"), pe::image(&sections)).unwrap();
    fs::write(
        version.join("boot.unsigned"),
        pe::image(&[(".text", b"boot")]),
    )
    .unwrap();
    for name in ["uki", "boot"] {
        let (unsigned, signed) = (format!("{name}.unsigned"), format!("{name}.efi"));
        let (key, certificate) = ("../keys/db.key", "../keys/db.crt");
        let words = [
            "--key",
            key,
            "--cert",
            certificate,
            "--output",
            &signed,
            &unsigned,
        ];
        run("sbsign", &version, &words).unwrap();
        run("sbverify", &version, &["--cert", certificate, &signed]).unwrap();
    }
    fs::write(version.join("packages.json"), PACKAGES).unwrap();
    fs::write(folder.join("Cargo.lock"), LOCK).unwrap();
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    let variables = [
        read("keys/PK.auth"),
        read("keys/KEK.auth"),
        read("keys/db.auth"),
    ];
    let [pk, kek, db] = &variables;
    let variables = SecureBoot::from_signed(pk, kek, db).unwrap();
    let (boot, uki) = (read("built/boot.efi"), read("built/uki.efi"));
    let prediction = Prediction::new(&boot, &uki, &variables).unwrap();
    let phases: Vec<Value> = prediction
        .phases
        .iter()
        .map(|one| {
            let value = bartizan_evidence::hex::encode(&one.pcr11);
            serde_json::json!({"phase": one.name, "value": value})
        })
        .collect();
    let build = serde_json::json!({
        "version": "1.2", "epoch": 3, "kernel": "6.1", "roothash": root_hash, "pcr11": phases,
    });
    fs::write(version.join("build.json"), build.to_string()).unwrap();
}

const BUNDLE: &str = "bundle --keys keys --machine test --min-version 1.0 built bundle";
const SBOM: &str = "sbom --lock Cargo.lock --namespace https://example.org/1.2 built";
const FLASH: &str = "flash --keys keys --enrol keys bundle disk";
const RIM: &str = "rim --keys keys --name test built";

#[test]
fn a_version_becomes_a_bundle_in_which_every_change_is_noticed() {
    let folder = scratch("bundle");
    built(&folder);
    image(&folder, RIM).unwrap();
    image(&folder, SBOM).unwrap();
    let said = image(&folder, BUNDLE).unwrap();
    assert!(said.starts_with("test 1.2, epoch 3, root hash "));
    assert_eq!(image(&folder, "verify --keys keys bundle").unwrap(), said);
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
