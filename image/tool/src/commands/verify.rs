//! `image verify` and `image inspect`: what a bundle is.

use std::fmt::Write as _;

use bartizan_evidence::hex;
use bartizan_image::flash::layout::check_sizes;
use bartizan_manifest::Part;

use super::opened::Opened;
use super::rim::shown;
use super::{boot_files, contents};
use crate::arguments::Arguments;
use crate::fault::Fault;
use crate::files::read;

/// Makes every check that can be made without booting it; says what was found, a line each.
pub(crate) fn verify(arguments: &Arguments) -> Result<String, Fault> {
    let [file] = arguments.files()?;
    let keys = super::release_keys(arguments)?;
    let folder = arguments.folder("--keys")?;
    let bytes = read(file)?;
    let opened = Opened::new(&bytes, &keys)?;
    let mut text = opened.check(&keys)?;
    let values = opened.reference_values(&keys)?;
    text.push_str(&boot_files::check(&opened, folder, &values)?);
    let [root, tree, kernel_image, boot_loader] = [
        opened.part(Part::Root)?,
        opened.part(Part::Verity)?,
        opened.part(Part::Uki)?,
        opened.part(Part::BootLoader)?,
    ];
    check_sizes(root, tree, kernel_image, boot_loader).map_err(Fault::Layout)?;
    // What the maker has signed is unpacked, and nothing else.
    text.push_str(&contents::check(&opened)?);
    Ok(text)
}

/// Shows what the maker signed.
pub(crate) fn inspect(arguments: &Arguments) -> Result<String, Fault> {
    let [file] = arguments.files()?;
    let keys = super::release_keys(arguments)?;
    let bytes = read(file)?;
    let opened = Opened::new(&bytes, &keys)?;
    let manifest = &opened.manifest;
    let mut text = format!(
        "machine {}\nversion {}\nleast running version {}\nrollback epoch {}\nroot hash {}\n",
        manifest.machine,
        manifest.version,
        manifest.min_version,
        manifest.rollback_epoch,
        hex::encode(&manifest.root_hash),
    );
    for part in Part::ALL {
        let contents = manifest.part(part);
        let sha256 = hex::encode(&contents.sha256);
        let _always_ok = writeln!(text, "{part:<18} {:>11} {sha256}", contents.size);
    }
    text.push_str(&shown(&opened.reference_values(&keys)?));
    Ok(text)
}
