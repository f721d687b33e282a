//! The versions on the disk, as the supervisor is told of them.

use bartizan_manifest::Version;
use bartizan_model::report::{VERSIONS_MAX, VersionReport, VersionStanding, VersionsReport};
use bartizan_slots::Disk;
use bartizan_slots::boot_entry::{BootEntry, Standing};

/// Looks at the boot entries.
///
/// # Errors
///
/// If the disk does not show them.
pub(crate) fn report<D: Disk>(disk: &mut D, running: &Version) -> Result<VersionsReport, D::Error> {
    let names = disk.names()?;
    let mut entries: Vec<BootEntry> = names
        .iter()
        .filter_map(|name| BootEntry::parse(name))
        .collect();
    // Of two names of one version the one that counts comes first: the blessed one.
    entries.sort_unstable();
    entries.dedup_by(|later, earlier| later.version == earlier.version);
    let standing = entries
        .iter()
        .find(|entry| entry.version == *running)
        .map_or(VersionStanding::Gone, |entry| standing(entry.standing));
    let others = entries.iter().filter(|entry| entry.version != *running);
    Ok(VersionsReport {
        running: VersionReport {
            version: running.to_string(),
            standing,
        },
        others: others
            .take(VERSIONS_MAX)
            .map(|entry| VersionReport {
                version: entry.version.to_string(),
                standing: self::standing(entry.standing),
            })
            .collect(),
    })
}

const fn standing(standing: Standing) -> VersionStanding {
    match standing {
        Standing::Blessed => VersionStanding::Blessed,
        Standing::OnTrial { left, done: _ } => VersionStanding::OnTrial { left },
    }
}
