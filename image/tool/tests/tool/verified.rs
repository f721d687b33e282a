//! `image verify`: each of its checks falls when what it looks at is wrong, though everything is
//! signed by the maker.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use bartizan_image::flash::Region;
use bartizan_image::flash::layout::{LayoutError, check_sizes};
use serde_json::json;

use crate::run::{image, scratch};
use crate::small::{BUNDLE, RIM, Recipe, SBOM, built, make};

type ChangeRoot<'a> = &'a dyn Fn(&Path);
type ChangePolicies<'a> = &'a dyn Fn(&mut Vec<serde_json::Value>);

const VERIFY: &str = "verify --keys keys bundle";

/// Makes a bundle by the recipe in the place of the one that is there, and verifies it.
fn verified(folder: &Path, recipe: &Recipe<'_>) -> Result<String, String> {
    fs::remove_dir_all(folder.join("built")).unwrap();
    make(folder, recipe);
    for words in [RIM, SBOM, BUNDLE] {
        image(folder, words).unwrap();
    }
    image(folder, VERIFY)
}

fn refused(folder: &Path, recipe: &Recipe<'_>, why: &str) {
    let said = verified(folder, recipe).unwrap_err();
    assert!(said.contains(why), "{why}: {said}");
}

#[test]
fn a_whole_version_is_found_so() {
    let folder = scratch("whole");
    built(&folder);
    let said = verified(&folder, &Recipe::default()).unwrap();
    for found in [
        "boot files signed by db",
        "2 of its values open something",
        "nothing forbidden, 2 services closed",
        "elements in the bill of materials",
    ] {
        assert!(said.contains(found), "{found}: {said}");
    }
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn what_must_not_be_on_a_root_is_found() {
    let folder = scratch("forbidden");
    built(&folder);
    let put = |name: &'static str, bytes: &'static [u8], mode| {
        move |root: &Path| {
            let file = root.join(name);
            fs::write(&file, bytes).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    let engine = "usr/lib/systemd/system/bartizan-engine.service";
    let drop_in = "usr/lib/systemd/system/bartizan-.service.d/hardening.conf";
    let tmp = "usr/lib/systemd/system/tmp.mount";
    let cases: [(ChangeRoot<'_>, &str); 9] = [
        (&put("usr/bin/sh", b"ELF", 0o755), "no shell"),
        (&put("usr/bin/agetty", b"ELF", 0o755), "no shell"),
        (&put("usr/bin/sshd", b"ELF", 0o755), "no shell"),
        (&put("usr/bin/python3", b"ELF", 0o755), "no shell"),
        (&put("usr/bin/mount", b"ELF", 0o4755), "nothing is setuid"),
        (&put("usr/bin/tool", b"#!/x", 0o755), "nothing is a script"),
        (
            &put(tmp, b"[Mount]\nOptions=nosuid,nodev\n", 0o644),
            "is nosuid, nodev and noexec",
        ),
        (
            &|root| fs::remove_file(root.join(drop_in)).unwrap(),
            "bartizan-engine.service is more exposed than 5 tenths",
        ),
        (
            &|root| {
                fs::remove_file(root.join(engine)).unwrap();
                fs::remove_file(root.join("usr/lib/systemd/system/image-packet-filter.service"))
                    .unwrap();
            },
            "list of services",
        ),
    ];
    for (root, why) in cases {
        let recipe = Recipe {
            root,
            ..Recipe::default()
        };
        refused(&folder, &recipe, why);
    }
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn what_has_no_room_in_its_partition_is_found() {
    const MIB: usize = 1 << 20;
    // Root, hash tree, kernel image, boot loader.
    let fits = [192 * MIB, 16 * MIB, 253 * MIB, MIB];
    let checked = |sizes: [usize; 4]| {
        let [root, tree, kernel_image, boot_loader] = sizes.map(|size| vec![0; size]);
        check_sizes(&root, &tree, &kernel_image, &boot_loader)
    };
    checked(fits).unwrap();
    for (larger, region) in [
        (0, Region::Root),
        (1, Region::HashTree),
        (2, Region::SystemPartition),
        (3, Region::SystemPartition),
    ] {
        let mut sizes = fits;
        sizes[larger] += 1;
        let why = checked(sizes).unwrap_err();
        assert!(
            matches!(why, LayoutError::NoRoom(of) if of == region),
            "{why}"
        );
    }
}

#[test]
fn boot_files_of_another_signer_are_found() {
    let folder = scratch("signer");
    built(&folder);
    for (signers, why) in [
        (["KEK", "db"], "kernel image is not signed by db"),
        (["db", "KEK"], "boot loader is not signed by db"),
    ] {
        let recipe = Recipe {
            signers,
            ..Recipe::default()
        };
        refused(&folder, &recipe, why);
    }
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_kernel_image_of_another_version_is_found() {
    let folder = scratch("release");
    built(&folder);
    for release in [
        "ID=bartizan\nVERSION_ID=1.3\nBARTIZAN_EPOCH=3\n",
        "ID=bartizan\nVERSION_ID=1.2\nBARTIZAN_EPOCH=4\n",
    ] {
        let root = |root: &Path| fs::write(root.join("usr/lib/os-release"), release).unwrap();
        // Of the root as of the kernel image, or of one of them.
        let roots: [ChangeRoot<'_>; 2] = [&root, &|_| ()];
        for root in roots {
            let recipe = Recipe {
                root,
                release,
                ..Recipe::default()
            };
            refused(&folder, &recipe, "version in os-release");
        }
    }
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn policies_that_open_more_or_less_than_they_must_are_found() {
    let folder = scratch("policies");
    built(&folder);
    let list = "list of signed PCR policies";
    let signature = "signature of a PCR policy";
    let cases: [(ChangePolicies<'_>, &str); 5] = [
        (&|policies| policies.truncate(1), list),
        (&|policies| policies.push(policies[0].clone()), list),
        (
            &|policies| policies[0]["pol"] = json!("00".repeat(32)),
            list,
        ),
        (
            &|policies| policies[0]["sig"] = policies[1]["sig"].clone(),
            signature,
        ),
        (&|policies| policies[0]["pcrs"] = json!([7, 11]), signature),
    ];
    for (policies, why) in cases {
        let recipe = Recipe {
            policies,
            ..Recipe::default()
        };
        refused(&folder, &recipe, why);
    }
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn reference_values_for_other_keys_are_found() {
    let folder = scratch("variables");
    built(&folder);
    verified(&folder, &Recipe::default()).unwrap();
    image(&folder, "keys others").unwrap();
    let swapped = |name: &str, why: &str| {
        let (own, other) = (
            folder.join("keys").join(name),
            folder.join("others").join(name),
        );
        let good = fs::read(&own).unwrap();
        fs::copy(other, &own).unwrap();
        let said = image(&folder, VERIFY).unwrap_err();
        assert!(said.contains(why), "{why}: {said}");
        fs::write(own, good).unwrap();
    };
    for name in ["PK.auth", "KEK.auth", "db.auth"] {
        swapped(name, "set of Secure Boot keys");
    }
    swapped("db.crt", "is not signed by db");
    swapped("pcr.pub", "key of the PCR policies");
    image(&folder, VERIFY).unwrap();
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_bill_of_materials_of_another_version_is_found() {
    let folder = scratch("bill");
    built(&folder);
    for words in [RIM, SBOM] {
        image(&folder, words).unwrap();
    }
    let file = folder.join("built/sbom.json");
    let good = fs::read_to_string(&file).unwrap();
    for bad in [
        good.replace(
            "\"software_packageVersion\": \"1.2\"",
            "\"software_packageVersion\": \"1.1\"",
        ),
        "{}".to_owned(),
        "no JSON".to_owned(),
    ] {
        assert_ne!(bad, good);
        fs::write(&file, bad).unwrap();
        image(&folder, BUNDLE).unwrap();
        let said = image(&folder, VERIFY).unwrap_err();
        assert!(said.contains("bill of materials"), "{said}");
    }
    fs::remove_dir_all(&folder).unwrap();
}
