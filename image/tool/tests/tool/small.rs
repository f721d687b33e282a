//! A version that is small, and whole in everything that the tool looks at.

use std::fs;
use std::path::Path;

use bartizan_evidence::{hex, pcr_key::policy_pcr};
use bartizan_image::prediction::{Prediction, measured};
use bartizan_image::secure_boot::SecureBoot;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::pe;
use crate::run::{image, run};

pub(crate) const BUNDLE: &str = "bundle --keys keys --machine test --min-version 1.0 built bundle";
pub(crate) const SBOM: &str = "sbom --lock Cargo.lock --namespace https://example.org/1.2 built";
pub(crate) const RIM: &str = "rim --keys keys --name test built";

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

const RELEASE: &str = "ID=bartizan\nVERSION_ID=1.2\nBARTIZAN_EPOCH=3\n";

/// What a test has differ from what it should be.
pub(crate) struct Recipe<'a> {
    /// Has its way with the root before it is sealed.
    pub(crate) root: &'a dyn Fn(&Path),
    /// What the kernel image says that it is.
    pub(crate) release: &'a str,
    /// Has its way with the list of signed policies.
    pub(crate) policies: &'a dyn Fn(&mut Vec<Value>),
    /// Who signs the kernel image and the boot loader.
    pub(crate) signers: [&'a str; 2],
}

impl Default for Recipe<'_> {
    fn default() -> Self {
        Self {
            root: &|_| (),
            release: RELEASE,
            policies: &|_| (),
            signers: ["db"; 2],
        }
    }
}

/// Keys and a built version whose hash tree has two levels.
pub(crate) fn built(folder: &Path) {
    image(folder, "keys keys").unwrap();
    fs::write(folder.join("Cargo.lock"), LOCK).unwrap();
    make(folder, &Recipe::default());
}

/// A built version, with keys that are there.
pub(crate) fn make(folder: &Path, recipe: &Recipe<'_>) {
    let version = folder.join("built");
    fs::create_dir(&version).unwrap();
    root(&version, recipe);
    let root_hash = seal(&version);
    let command_line = format!("quiet roothash={root_hash}");
    let kernel = pe::image(&[(".text", b"kernel")]);
    let pcr_key = fs::read(folder.join("keys/pcr.pub")).unwrap();
    let boot = pe::image(&[(".text", b"boot")]);
    let uki = |signatures: &[u8]| {
        pe::image(&[
            (".osrel", recipe.release.as_bytes()),
            (".cmdline", command_line.as_bytes()),
            (".pcrpkey", &pcr_key),
            (".pcrsig", signatures),
            (".initrd", b"initrd"),
            (".linux", &kernel),
        ])
    };
    // What is signed is no part of what PCR 11 has.
    let phases = measured(&boot, &uki(b"")).unwrap().phases;
    let opening = phases.iter().filter(|phase| {
        let last = phase.name.rsplit(':').next();
        last == Some("leave-initrd") || last == Some("ready")
    });
    let mut policies: Vec<Value> = opening
        .map(|phase| signed(folder, &policy_pcr(&[0; 32], 11, &phase.pcr11)))
        .collect();
    (recipe.policies)(&mut policies);
    let signatures = json!({ "sha256": policies }).to_string();
    fs::write(version.join("uki.unsigned"), uki(signatures.as_bytes())).unwrap();
    fs::write(version.join("boot.unsigned"), &boot).unwrap();
    for (name, by) in ["uki", "boot"].into_iter().zip(recipe.signers) {
        let (unsigned, signed) = (format!("{name}.unsigned"), format!("{name}.efi"));
        let (key, certificate) = (format!("../keys/{by}.key"), format!("../keys/{by}.crt"));
        let words = ["--key", &key, "--cert", &certificate, "--output"];
        let words = [&words[..], &[&signed, &unsigned]].concat();
        run("sbsign", &version, &words).unwrap();
        run("sbverify", &version, &["--cert", &certificate, &signed]).unwrap();
    }
    fs::write(version.join("packages.json"), PACKAGES).unwrap();
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    let variables = SecureBoot::from_signed(
        &read("keys/PK.auth"),
        &read("keys/KEK.auth"),
        &read("keys/db.auth"),
    )
    .unwrap();
    let prediction =
        Prediction::new(&read("built/boot.efi"), &read("built/uki.efi"), &variables).unwrap();
    let phases: Vec<Value> = prediction
        .phases
        .iter()
        .map(|one| json!({"phase": one.name, "value": hex::encode(&one.pcr11)}))
        .collect();
    let build = json!({
        "version": "1.2", "epoch": 3, "kernel": "6.1", "roothash": root_hash, "pcr11": phases,
    });
    fs::write(version.join("build.json"), build.to_string()).unwrap();
}

/// The units of the tree, a program that does not compress, and what says which version it is.
fn root(version: &Path, recipe: &Recipe<'_>) {
    let stage = version.join("stage");
    let units = stage.join("usr/lib/systemd/system");
    fs::create_dir_all(&units).unwrap();
    fs::create_dir_all(stage.join("usr/bin")).unwrap();
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for unit in [
        "appliance/units/bartizan-engine.service",
        "appliance/units/bartizan-.service.d/hardening.conf",
        "image/units/image-packet-filter.service",
        "image/units/var.mount",
        "image/units/tmp.mount",
    ] {
        let (folder, name) = unit.rsplit_once('/').unwrap();
        let to = match folder.strip_suffix(".d") {
            Some(_) => units.join("bartizan-.service.d"),
            None => units.clone(),
        };
        fs::create_dir_all(&to).unwrap();
        fs::copy(tree.join(unit), to.join(name)).unwrap();
    }
    fs::write(stage.join("usr/lib/os-release"), RELEASE).unwrap();
    let mut program = vec![0x7f, b'E', b'L', b'F'];
    let mut block = Sha256::digest("a program");
    while program.len() < 600_000 {
        program.extend_from_slice(&block);
        block = Sha256::digest(block);
    }
    fs::write(stage.join("usr/bin/bartizan"), program).unwrap();
    (recipe.root)(&stage);
    let words = ["-zlz4hc,9", "-T0", "-x-1", "--all-root", "root", "stage"];
    run("mkfs.erofs", version, &words).unwrap();
    fs::remove_dir_all(&stage).unwrap();
}

/// Makes the hash tree, and returns the root hash.
fn seal(version: &Path) -> String {
    let salt = "00".repeat(32);
    let words = ["format", "--salt", &salt, "root", "verity"];
    let said = run("/usr/sbin/veritysetup", version, &words).unwrap();
    let root_hash = said
        .lines()
        .find_map(|line| line.strip_prefix("Root hash:"));
    root_hash.unwrap().trim().to_owned()
}

/// An entry of `tpm2-pcr-signature.json`, as OpenSSL signs it.
fn signed(folder: &Path, policy: &[u8; 32]) -> Value {
    fs::write(folder.join("policy"), policy).unwrap();
    let words = "dgst -sha256 -sign keys/pcr.key -out policy.sig policy";
    run("openssl", folder, &words.split(' ').collect::<Vec<_>>()).unwrap();
    let words = "base64 -A -in policy.sig";
    let signature = run("openssl", folder, &words.split(' ').collect::<Vec<_>>()).unwrap();
    let words = "rsa -pubin -in keys/pcr.pub -RSAPublicKey_out -outform DER -out pcr.der";
    run("openssl", folder, &words.split(' ').collect::<Vec<_>>()).unwrap();
    let key = Sha256::digest(fs::read(folder.join("pcr.der")).unwrap());
    json!({
        "pcrs": [11],
        "pkfp": hex::encode(&key),
        "pol": hex::encode(policy),
        "sig": signature.trim(),
    })
}
