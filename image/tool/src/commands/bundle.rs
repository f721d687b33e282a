//! `image bundle`: the one file to hand over.

use bartizan_evidence::hex;
use bartizan_image_builder::Built;
use bartizan_manifest::{Contents, Manifest, PartContents, Version, bundle as form};
use bartizan_signer::Signer;
use sha2::{Digest as _, Sha256};

use super::opened::Opened;
use super::rim::RIM;
use super::sbom::SBOM;
use crate::arguments::Arguments;
use crate::fault::Fault;
use crate::files::{json, read, write};

/// Signs the manifest over a built version's files, checks the whole as its reader would, and
/// writes it.
pub(crate) fn bundle(arguments: &Arguments) -> Result<String, Fault> {
    let [folder, out] = arguments.files()?;
    let built: Built = json(&folder.join("build.json"))?;
    let file = |name: &str| read(&folder.join(name));
    // There is no recovery image yet.
    let files = [
        file("root")?,
        file("verity")?,
        file("uki.efi")?,
        Vec::new(),
        file("boot.efi")?,
        file(RIM)?,
        file(SBOM)?,
    ];
    let [
        root,
        verity,
        uki,
        recovery,
        boot_loader,
        reference_values,
        bill_of_materials,
    ] = files.each_ref().map(|bytes| PartContents {
        size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        sha256: Sha256::digest(bytes).into(),
    });
    let root_hash = hex::decode(&built.roothash).and_then(|bytes| bytes.try_into().ok());
    let manifest = Manifest {
        machine: arguments.required("--machine")?.to_owned(),
        version: Version::try_from(built.version.as_str())
            .map_err(|_| Fault::Value("the version in build.json"))?,
        min_version: Version::try_from(arguments.required("--min-version")?)
            .map_err(|_| Fault::Value("--min-version"))?,
        rollback_epoch: built.epoch,
        root_hash: root_hash.ok_or(Fault::Value("the root hash in build.json"))?,
        parts: Contents {
            root,
            verity,
            uki,
            recovery,
            boot_loader,
            reference_values,
            bill_of_materials,
        },
    };
    let payload = manifest.encode().map_err(Fault::Manifest)?;
    let release = arguments.folder("--keys")?.join("release");
    let signer = Signer::load(&release).map_err(Fault::Keys)?;
    let envelope = signer.sign(&payload).map_err(Fault::Keys)?;
    let head = form::head(&envelope).map_err(Fault::Bundle)?;
    let mut bytes = head;
    bytes.extend(files.iter().flatten());
    let keys = super::release_keys(arguments)?;
    let checked = Opened::new(&bytes, &keys)?.check(&keys)?;
    write(out, &[&bytes])?;
    Ok(checked)
}
