//! What each command does.

mod boot_files;
mod bundle;
mod contents;
mod flash;
mod keys;
mod opened;
mod rim;
mod sbom;
mod verify;

use bartizan_evidence::cose::VerifierKeys;
use bartizan_image_builder::{Sources, Version};

use crate::arguments::Arguments;
use crate::fault::Fault;

pub(crate) use bundle::bundle;
pub(crate) use flash::flash;
pub(crate) use keys::keys;
pub(crate) use rim::rim;
pub(crate) use sbom::sbom;
pub(crate) use verify::{inspect, verify};

/// Builds a version by the stand-in builder.
pub(crate) fn build(arguments: &Arguments) -> Result<String, Fault> {
    let [out] = arguments.files()?;
    let sources = Sources {
        tree: arguments.folder("--tree")?.to_owned(),
        binaries: arguments.folder("--binaries")?.to_owned(),
        configuration: arguments.folder("--configuration")?.to_owned(),
        cache: arguments.folder("--cache")?.to_owned(),
    };
    let number = arguments.required("--version")?;
    bartizan_manifest::Version::try_from(number).map_err(|_| Fault::Value("--version"))?;
    let version = Version {
        number: number.to_owned(),
        epoch: (arguments.required("--epoch")?)
            .parse()
            .map_err(|_| Fault::Value("--epoch"))?,
    };
    let keys = arguments.folder("--keys")?;
    let built =
        bartizan_image_builder::build(&sources, keys, &version, out).map_err(Fault::Build)?;
    Ok(format!("{} {}\n", built.version, built.roothash))
}

/// The public keys of the maker.
fn release_keys(arguments: &Arguments) -> Result<VerifierKeys, Fault> {
    let release = arguments.folder("--keys")?.join("release");
    let keys = bartizan_signer::public_keys(&release).map_err(Fault::Keys)?;
    VerifierKeys::new(&keys.es384, &keys.ml_dsa_65).map_err(Fault::ReleaseKey)
}
