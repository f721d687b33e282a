//! The PCRs that an image leaves, phase by phase where they change (the boot loader and the stub
//! are systemd 252's, the kernel is 6.1).
//!
//! | PCR | is extended by |
//! |---|---|
//! | 4 | the firmware: that it boots, and each image that it starts |
//! | 7 | the firmware: Secure Boot's variables and the signer |
//! | 9 | the kernel: its command line, and the initrd as the stub hands it over |
//! | 11 | the stub: each section; systemd: each phase of boot |
//! | 12 | the boot loader: the image's own command line |
//! | 13, 14 | nobody |

use std::collections::BTreeMap;

use bartizan_evidence::quote::Digest;
use bartizan_evidence::reference::Phase;
use sha2::{Digest as _, Sha256};

use crate::pe::{Pe, PeError};
use crate::secure_boot::{SecureBoot, VariableError};
use crate::stub;

/// The phases of a boot, as `systemd-measure(1)` names them.
pub const PHASES: [&str; 4] = ["enter-initrd", "leave-initrd", "sysinit", "ready"];

/// What a unified kernel image measures into PCR 11, in order (`systemd-stub(7)`).
const MEASURED: [&str; 7] = [
    ".linux", ".osrel", ".cmdline", ".initrd", ".splash", ".dtb", ".pcrpkey",
];

/// The values.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Prediction {
    /// All but PCR 11: any of the values is good.
    pub exact: BTreeMap<u8, Vec<Digest>>,
    /// PCR 11.
    pub phases: Vec<Phase>,
}

/// Why nothing can be said.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PredictionError {
    /// The boot loader, the kernel image or the kernel in it is none.
    #[error("{0} is not a 64-bit EFI image")]
    Image(&'static str),
    /// The kernel image lacks a section.
    #[error("the kernel image has no section {0}")]
    Section(&'static str),
    /// A Secure Boot variable is not as this tool makes them.
    #[error("the Secure Boot variables cannot be read")]
    Variable(#[source] VariableError),
}

impl Prediction {
    /// Predicts what a boot loader and a unified kernel image leave under these keys.
    ///
    /// # Errors
    ///
    /// [`PredictionError`] if one of them is none, or the variables are not as they must be.
    pub fn new(
        boot_loader: &[u8],
        kernel_image: &[u8],
        variables: &SecureBoot,
    ) -> Result<Self, PredictionError> {
        let pcr7 = variables.pcr7().map_err(PredictionError::Variable)?;
        let mut prediction = measured(boot_loader, kernel_image)?;
        prediction.exact.insert(7, vec![pcr7]);
        Ok(prediction)
    }
}

/// Predicts what they leave whatever the keys: all but PCR 7.
///
/// # Errors
///
/// [`PredictionError`] if one of them is none.
pub fn measured(boot_loader: &[u8], kernel_image: &[u8]) -> Result<Prediction, PredictionError> {
    let uki = Pe::parse(kernel_image).map_err(|_| PredictionError::Image(KERNEL_IMAGE))?;
    let options = load_options(section(&uki, ".cmdline")?);
    let exact = BTreeMap::from([
        (4, vec![pcr4(boot_loader, &uki)?]),
        (9, vec![pcr9(&uki)?]),
        (12, vec![extend(&[0; 32], &Sha256::digest(options).into())]),
        (13, vec![[0; 32]]),
        (14, vec![[0; 32]]),
    ]);
    Ok(Prediction {
        exact,
        phases: phases(&uki),
    })
}

/// Extends a PCR.
pub fn extend(pcr: &Digest, digest: &Digest) -> Digest {
    Sha256::new()
        .chain_update(pcr)
        .chain_update(digest)
        .finalize()
        .into()
}

/// The kernel within the kernel image is not among them: the stub vouches for it, so that the
/// firmware neither checks nor measures it.
fn pcr4(boot_loader: &[u8], uki: &Pe<'_>) -> Result<Digest, PredictionError> {
    let hash = |what, pe: Result<Pe<'_>, PeError>| {
        pe.and_then(|pe| pe.authenticode())
            .map_err(|_| PredictionError::Image(what))
    };
    let mut pcr = [0; 32];
    for digest in [
        Sha256::digest(b"Calling EFI Application from Boot Option").into(),
        Sha256::digest([0; 4]).into(),
        hash("the boot loader", Pe::parse(boot_loader))?,
        hash(KERNEL_IMAGE, Ok(uki.clone()))?,
    ] {
        pcr = extend(&pcr, &digest);
    }
    Ok(pcr)
}

/// The kernel measures what it is handed: its command line, then its initrd.
fn pcr9(uki: &Pe<'_>) -> Result<Digest, PredictionError> {
    let initrd = stub::initrd(
        section(uki, ".initrd")?,
        uki.section(".pcrsig"),
        uki.section(".pcrpkey"),
    );
    let options = load_options(section(uki, ".cmdline")?);
    let pcr = extend(&[0; 32], &Sha256::digest(options).into());
    Ok(extend(&pcr, &Sha256::digest(initrd).into()))
}

/// The image's own command line, as the boot loader and the stub pass it on: UTF-16 with its end.
fn load_options(command_line: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(command_line);
    let units = text.trim_end_matches('\n').encode_utf16().chain([0]);
    units.flat_map(u16::to_le_bytes).collect()
}

fn phases(uki: &Pe<'_>) -> Vec<Phase> {
    let mut pcr = [0; 32];
    for name in MEASURED {
        if let Some(contents) = uki.section(name) {
            let named = [name.as_bytes(), b"\0"].concat();
            pcr = extend(&pcr, &Sha256::digest(named).into());
            pcr = extend(&pcr, &Sha256::digest(contents).into());
        }
    }
    let mut phases: Vec<Phase> = Vec::new();
    for phase in PHASES {
        pcr = extend(&pcr, &Sha256::digest(phase).into());
        let name = match phases.last() {
            Some(before) => format!("{}:{phase}", before.name),
            None => phase.to_owned(),
        };
        phases.push(Phase { name, pcr11: pcr });
    }
    phases
}

fn section<'a>(uki: &Pe<'a>, name: &'static str) -> Result<&'a [u8], PredictionError> {
    uki.section(name).ok_or(PredictionError::Section(name))
}

const KERNEL_IMAGE: &str = "the kernel image";
