//! `image flash`: a bundle to a new box's disk.

mod device;
mod in_use;
mod progress;

use bartizan_image::flash::layout::{Contents, plan};
use bartizan_image::flash::write;
use bartizan_image::secure_boot::SecureBoot;
use bartizan_manifest::Part;
use bartizan_slots::boot_entry::BootEntry;
use bartizan_slots::gpt::Guid;
use rustix::rand::{GetRandomFlags, getrandom};

use super::opened::Opened;
use crate::arguments::Arguments;
use crate::fault::Fault;
use crate::files::read;
use device::Device;
use progress::Shown;

/// Makes every check of the bundle and of the disk, then writes and reads back.
pub(crate) fn flash(arguments: &Arguments) -> Result<String, Fault> {
    let [bundle, disk] = arguments.files()?;
    let keys = super::release_keys(arguments)?;
    let bytes = read(bundle)?;
    let opened = Opened::new(&bytes, &keys)?;
    let whole = opened.check(&keys)?;
    let variables = match arguments.optional("--enrol") {
        Some(folder) => Some(enrolled(folder.as_ref(), &opened, &keys)?),
        None => None,
    };
    let entry = BootEntry::untried(opened.manifest.version.clone()).to_string();
    let contents = Contents {
        root: opened.part(Part::Root)?,
        hash_tree: opened.part(Part::Verity)?,
        root_hash: opened.manifest.root_hash,
        boot_loader: opened.part(Part::BootLoader)?,
        kernel_image: opened.part(Part::Uki)?,
        entry: &entry,
        enrolled: variables
            .as_ref()
            .map(|all| all.each_ref().map(Vec::as_slice)),
    };
    let mut device = Device::open(disk)?;
    let plan = plan(device.size(), random()?, &contents).map_err(Fault::Layout)?;
    let mut shown = Shown::new(plan.len());
    let flashed = write(&plan, &mut device, &mut |progress| shown.show(progress));
    shown.end();
    let flashed = flashed.map_err(Fault::Flash)?;
    Ok(format!(
        "{whole}{}: {} bytes written, {} were there already\n",
        disk.display(),
        flashed.written,
        flashed.kept
    ))
}

/// The variables for a box in setup mode, if they are those that the verifier expects.
fn enrolled(
    folder: &std::path::Path,
    opened: &Opened<'_>,
    keys: &bartizan_evidence::cose::VerifierKeys,
) -> Result<[Vec<u8>; 3], Fault> {
    let variable = |name: &str| read(&folder.join(name));
    let variables = [
        variable("PK.auth")?,
        variable("KEK.auth")?,
        variable("db.auth")?,
    ];
    let [pk, kek, db] = &variables;
    let secure_boot = SecureBoot::from_signed(pk, kek, db).map_err(Fault::Variables)?;
    let pcr7 = secure_boot.pcr7().map_err(Fault::Variables)?;
    let values = opened.reference_values(keys)?;
    if values.exact.get(&7) != Some(&vec![pcr7]) {
        return Err(Fault::Disagrees("set of Secure Boot keys"));
    }
    Ok(variables)
}

fn random() -> Result<[Guid; 4], Fault> {
    let mut guids = [Guid::UNUSED; 4];
    for Guid(bytes) in &mut guids {
        getrandom(&mut bytes[..], GetRandomFlags::empty())
            .map_err(|cause| Fault::Random(cause.into()))?;
        // A random one, by its form (RFC 9562, 5.4).
        let [_, _, _, _, _, _, version, _, variant, ..] = bytes;
        *version = (*version & 0x0f) | 0x40;
        *variant = (*variant & 0x3f) | 0x80;
    }
    Ok(guids)
}
