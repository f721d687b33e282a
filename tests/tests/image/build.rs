//! A version that a test builds, from what ships.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use bartizan_image_builder::{Built, Sources, Version, build};
use bartizan_tests::testbed::{guest::binaries, process::run};

use crate::keys;

/// A built version with the keys that signed it.
#[derive(Debug)]
pub(crate) struct Image {
    /// `OUT` of `image/README.md`.
    pub(crate) folder: PathBuf,
    pub(crate) keys: PathBuf,
    pub(crate) built: Built,
}

impl Image {
    /// Builds version 0.1.0 under new keys, below `folder`.
    pub(crate) fn new(folder: &Path) -> Self {
        let keys = folder.join("keys");
        keys::make(&keys);
        configure(&folder.join("configuration"));
        Self::again(folder, "image")
    }

    /// Builds it once more from the same sources with the same keys.
    pub(crate) fn again(folder: &Path, name: &str) -> Self {
        let keys = folder.join("keys");
        let out = folder.join(name);
        let target = binaries().parent().unwrap().to_owned();
        let sources = Sources {
            tree: Path::new(env!("CARGO_MANIFEST_DIR")).join(".."),
            binaries: target.join("release"),
            configuration: folder.join("configuration"),
            cache: target.join("tmp/packages"),
        };
        let version = Version {
            number: "0.1.0".to_owned(),
            epoch: 1,
        };
        let built = build(&sources, &keys, &version, &out)
            .unwrap_or_else(|error| panic!("{error}: {error:?}; after ./test tools release?"));
        Self {
            folder: out,
            keys,
            built,
        }
    }

    pub(crate) fn file(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.join(name)).unwrap()
    }

    /// The value of PCR 11 once every phase has passed.
    pub(crate) fn pcr_11(&self) -> &str {
        &self.built.pcr11.last().unwrap().value
    }
}

/// What ships, for the kernel of the stand-in, with roots of nobody.
fn configure(folder: &Path) {
    fs::create_dir(folder).unwrap();
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../appliance/appliance.toml");
    let text = fs::read_to_string(shipped).unwrap();
    let debian = text.replace("landlock = 7", "landlock = 2");
    assert_ne!(text, debian);
    fs::write(folder.join("appliance.toml"), debian).unwrap();
    fs::write(folder.join("voucher-ml-dsa-65.pub"), [7; 1952]).unwrap();
    run(Command::new("openssl")
        .args([
            "req",
            "-new",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-384",
        ])
        .args([
            "-sha384",
            "-nodes",
            "-days",
            "3650",
            "-subj",
            "/CN=throw-away maker/",
        ])
        .args(["-keyout", "/dev/null", "-out"])
        .arg(folder.join("voucher-root.pem")));
}
