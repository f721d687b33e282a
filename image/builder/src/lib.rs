//! The stand-in builder: the definition in `image/` over Debian's binaries.
//!
//! Everything that it writes but the two signatures over the boot files is a pure function of the tree, of the
//! packages that apt knows on this machine, and of the PCR key. It never writes outside its cache and its output.
#![forbid(unsafe_code)]

mod command;
mod cpio;
mod definition;
mod error;
mod forbidden;
mod initrd;
mod libraries;
mod modules;
mod packages;
mod pcr11;
mod root;
mod uki;

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

pub use error::BuildError;
pub use forbidden::check_root;
pub use pcr11::{PHASES, Phase};

use command::{Program, read, write};
use definition::Definition;
use packages::Packages;

/// What is built from.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The project's tree.
    pub tree: PathBuf,
    /// The folder of the appliance's binaries.
    pub binaries: PathBuf,
    /// The folder that becomes `/etc/bartizan`: `appliance.toml` and the roots of vouchers.
    pub configuration: PathBuf,
    /// Where packages are kept between builds; made if it is not there.
    pub cache: PathBuf,
}

/// What is built.
#[derive(Clone, Debug)]
pub struct Version {
    /// Dotted numbers: the `VERSION_ID` of `os-release`.
    pub number: String,
    /// The rollback epoch.
    pub epoch: u64,
}

/// What was built; `build.json`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Built {
    /// The version.
    pub version: String,
    /// The rollback epoch.
    pub epoch: u64,
    /// The kernel's release.
    pub kernel: String,
    /// The root hash of dm-verity: 64 lower-case hex digits.
    pub roothash: String,
    /// The value of PCR 11 in each phase of boot.
    pub pcr11: Vec<Phase>,
}

/// Builds a version into the folder `out`, which must not be there, signed by the keys in the folder `keys`.
///
/// # Errors
///
/// [`BuildError`]; what was written so far stays for the one who looks into it.
pub fn build(
    sources: &Sources,
    keys: &Path,
    version: &Version,
    out: &Path,
) -> Result<Built, BuildError> {
    let definition = Definition::read(&sources.tree.join("image"))?;
    fs::create_dir_all(&sources.cache).map_err(BuildError::write(&sources.cache))?;
    fs::create_dir(out).map_err(BuildError::write(out))?;
    let packages = Packages::fetch(&definition, &sources.cache)?;
    let work = out.join("work");
    let modules = modules::Modules::read(&packages)?;

    let stage = work.join("root");
    let mut used = root::assemble(&definition, sources, &packages, &modules, version, &stage)?;
    let roothash = root::seal(&stage, out)?;
    write(&out.join("roothash"), roothash.as_bytes())?;

    let initrd = work.join("initrd");
    used.extend(initrd::build(
        &definition,
        sources,
        &packages,
        &modules,
        &initrd,
    )?);
    definition.packages.check_all_used(&used)?;
    let command_line = definition.command_line(&roothash);
    let sections = uki::Sections {
        linux: read(&packages.kernel()?)?,
        osrel: root::os_release(version).into_bytes(),
        cmdline: command_line.into_bytes(),
        initrd: read(&initrd)?,
        pcrpkey: read(&keys.join("pcr.pub"))?,
    };
    let pcr11 = pcr11::phases(&sections);
    let signature = pcr11::sign(&pcr11, &keys.join("pcr.key"))?;
    let unsigned = work.join("uki.efi");
    let stub = read(&packages.file(BOOT, "/usr/lib/systemd/boot/efi/linuxx64.efi.stub")?)?;
    write(&unsigned, &uki::assemble(&stub, &sections, &signature)?)?;
    sign(&unsigned, keys, &out.join("uki.efi"))?;
    let loader = packages.file(BOOT, "/usr/lib/systemd/boot/efi/systemd-bootx64.efi")?;
    sign(&loader, keys, &out.join("boot.efi"))?;

    write(&out.join("packages.json"), &json(&packages.listed())?)?;
    let built = Built {
        version: version.number.clone(),
        epoch: version.epoch,
        kernel: packages.release().to_owned(),
        roothash,
        pcr11,
    };
    write(&out.join("build.json"), &json(&built)?)?;
    fs::remove_dir_all(&work).map_err(BuildError::write(&work))?;
    Ok(built)
}

/// The package of systemd-boot and its stub.
const BOOT: &str = "systemd-boot-efi";

fn json(value: &impl Serialize) -> Result<Vec<u8>, BuildError> {
    let mut text = serde_json::to_vec_pretty(value).map_err(BuildError::Encode)?;
    text.push(b'\n');
    Ok(text)
}

fn sign(from: &Path, keys: &Path, to: &Path) -> Result<(), BuildError> {
    Program::new("sbsign")
        .arg("--key")
        .arg(keys.join("db.key"))
        .arg("--cert")
        .arg(keys.join("db.crt"))
        .arg("--output")
        .arg(to)
        .arg(from)
        .run()
        .map(|_said| ())
}
