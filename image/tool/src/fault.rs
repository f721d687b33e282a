//! Why nothing came of it.

use bartizan_image::flash::FlashError;
use bartizan_image::flash::layout::LayoutError;
use bartizan_image::pe::PeError;
use bartizan_image::prediction::PredictionError;
use bartizan_image::secure_boot::VariableError;
use bartizan_image::verity::VerityError;
use bartizan_manifest::bundle::BundleError;
use bartizan_manifest::{ManifestError, Part};

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("{0}")]
    Usage(String),
    #[error("cannot read {file}")]
    Read {
        file: String,
        #[source]
        cause: std::io::Error,
    },
    #[error("cannot write {file}")]
    Write {
        file: String,
        #[source]
        cause: std::io::Error,
    },
    #[error("{0} is there already")]
    Exists(String),
    #[error("cannot run {program}")]
    Run {
        program: &'static str,
        #[source]
        cause: std::io::Error,
    },
    #[error("{program} says: {said}")]
    Program { program: &'static str, said: String },
    #[error("{file} is no such JSON")]
    Json {
        file: String,
        #[source]
        cause: serde_json::Error,
    },
    #[error("{file} is no such TOML")]
    Toml {
        file: String,
        #[source]
        cause: toml::de::Error,
    },
    #[error("{0} is not as it must be")]
    Value(&'static str),
    #[error("cannot build the image")]
    Build(#[source] bartizan_image_builder::BuildError),
    #[error("the release keys")]
    Keys(#[source] bartizan_signer::SignerError),
    #[error("the release keys")]
    ReleaseKey(#[source] bartizan_evidence::cose::KeyError),
    #[error("the Secure Boot keys")]
    Variables(#[source] VariableError),
    #[error("cannot predict what the image measures")]
    Prediction(#[source] PredictionError),
    #[error("the PCR policy key")]
    PcrKey(#[source] bartizan_evidence::pcr_key::PcrKeyError),
    #[error("the reference values")]
    Reference(#[source] bartizan_evidence::reference::ReferenceError),
    #[error("the manifest")]
    Manifest(#[source] ManifestError),
    #[error("the bundle")]
    Bundle(#[source] BundleError),
    #[error("the bundle ends within the {0}")]
    Short(Part),
    #[error("the bundle goes on after its last part")]
    Long,
    #[error("the {0} is not what was signed")]
    Hash(Part),
    #[error("the hash tree")]
    Verity(#[source] VerityError),
    #[error("the {0}")]
    Pe(Part, #[source] PeError),
    #[error("{disk}: {why}")]
    Disk { disk: String, why: &'static str },
    #[error("the image does not go to this disk")]
    Layout(#[source] LayoutError),
    #[error("the disk is not flashed, and boots nothing until it is")]
    Flash(#[source] FlashError),
    #[error("there is no randomness")]
    Random(#[source] std::io::Error),
    #[error("the {0} is not signed by db")]
    Signer(Part),
    #[error("on the root")]
    Root(#[source] bartizan_image_builder::BuildError),
    #[error("the root has {found} bytes, and may have {most}")]
    RootSize { found: usize, most: usize },
    #[error("{service} is more exposed than {tenths} tenths")]
    Exposed { service: String, tenths: u8 },
    #[error("the {0} is not what the rest of the bundle is")]
    Disagrees(&'static str),
}
