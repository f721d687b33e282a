//! What a disk boots: the firmware's rules, the boot loader's, and the verity of the root.

#![expect(clippy::arithmetic_side_effects, reason = "offsets of a small disk")]

use bartizan_manifest::Version;
use bartizan_slots::boot_entry::{BootEntry, Standing};
use bartizan_slots::gpt::{Guid, Replica, Table};

use crate::fixture::{Release, SECTORS};
use crate::medium::Medium;

/// Which release boots, and by which name; the reason, if none does.
pub(crate) fn boots<'a>(
    medium: &Medium,
    releases: &'a [Release],
    reused: bool,
) -> Result<(&'a Release, String), String> {
    let table = table(medium).ok_or("the firmware finds no partition table")?;
    let (name, release) = choose(medium, releases, reused)?;
    // What the kernel image's command line asks for, and every block of it.
    for ((kind, id), bytes) in [Guid::ROOT_X86_64, Guid::VERITY_X86_64]
        .into_iter()
        .zip(Guid::of_slot(&release.root_hash()))
        .zip([&release.root, &release.tree])
    {
        let mut partitions = table.partitions();
        let found = partitions.find(|(_, one)| one.kind == kind && one.id == id);
        let (_, partition) = found.ok_or(format!("{name}: no partition {id}"))?;
        let mut held = vec![0; bytes.len()];
        medium.read(partition.first * 512, &mut held);
        if held != **bytes {
            return Err(format!("{name}: verity finds damage"));
        }
    }
    Ok((release, name))
}

/// UEFI 2.10, 5.3.2: the backup counts where the primary is not whole.
fn table(medium: &Medium) -> Option<Table> {
    let sectors = u64::try_from(SECTORS).unwrap();
    [Replica::Primary, Replica::Backup]
        .into_iter()
        .find_map(|replica| {
            let (header_at, entries_at) = Table::places(512, sectors, replica).unwrap();
            let mut header = [0; 512];
            medium.read(header_at, &mut header);
            let mut entries = vec![0; Table::entries_len()];
            medium.read(entries_at, &mut entries);
            Table::parse(&header, &entries, 512, sectors, replica).ok()
        })
}

/// systemd-boot: images only, those without tries last, then the newest version, then by name.
fn choose<'a>(
    medium: &Medium,
    releases: &'a [Release],
    reused: bool,
) -> Result<(String, &'a Release), String> {
    let mut choices: Vec<(bool, Version, String, Vec<u8>)> = Vec::new();
    for (name, file) in &medium.names {
        let contents = medium.contents(*file, reused);
        if !name.to_lowercase().ends_with(".efi") || !contents.starts_with(b"MZ") {
            continue;
        }
        // Its version is in the image, not in its name.
        let version = releases
            .iter()
            .find(|one| contents.get(..16) == one.kernel.get(..16));
        let version = version
            .ok_or(format!("{name} is an image of nobody"))?
            .version();
        let standing = BootEntry::parse(name).map(|entry| entry.standing);
        let exhausted = matches!(standing, Some(Standing::OnTrial { left: 0, .. }));
        choices.push((!exhausted, version, name.clone(), contents));
    }
    choices.sort();
    let (_, _, name, contents) = choices.pop().ok_or("the boot loader finds no entry")?;
    // Secure Boot: every byte of the image is signed.
    let signed = releases
        .iter()
        .find(|one| contents.get(..one.kernel.len()) == Some(&one.kernel));
    Ok((name.clone(), signed.ok_or(format!("{name} is refused"))?))
}
