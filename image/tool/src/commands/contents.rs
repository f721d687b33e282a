//! What lies on the root, once it is unpacked: nothing that is forbidden, the version that the
//! manifest names, services that are closed as they must be, and a list of what it is made of.

use std::path::Path;

use bartizan_image::pe::Pe;
use bartizan_image_builder::check_root;
use bartizan_manifest::Part;
use serde_json::Value;

use super::opened::Opened;
use crate::fault::Fault;
use crate::files::{Scratch, read, run, write};

/// Bytes of a root at most, as it is compressed on the disk.
const ROOT_MAX: usize = 64 * 1024 * 1024;

/// What a service may be exposed at most, in tenths of `systemd-analyze security`; the first that
/// its name begins with counts.
const EXPOSURE: [(&str, u8); 4] = [
    ("bartizan-engine", 5),
    ("bartizan-tpm", 10),
    ("bartizan", 15),
    ("image-", 20),
];

const UNITS: &str = "usr/lib/systemd/system";

/// Unpacks the root beside nothing else, and checks it; says what was found.
pub(super) fn check(opened: &Opened<'_>) -> Result<String, Fault> {
    let root = opened.part(Part::Root)?;
    check_size(root.len())?;
    let scratch = Scratch::new()?;
    write(&scratch.path().join("root"), &[root])?;
    let words = [
        "--extract=files",
        "--no-preserve-owner",
        "--preserve-perms",
        "root",
    ];
    run("fsck.erofs", scratch.path(), &words)?;
    let files = scratch.path().join("files");
    check_root(&files).map_err(Fault::Root)?;
    check_release(opened, &files)?;
    let services = check_services(&files)?;
    let elements = check_bill(opened)?;
    Ok(format!(
        "root of {} bytes: nothing forbidden, {services} services closed; {elements} elements in the bill of materials\n",
        root.len()
    ))
}

const fn check_size(found: usize) -> Result<(), Fault> {
    if found > ROOT_MAX {
        return Err(Fault::RootSize {
            found,
            most: ROOT_MAX,
        });
    }
    Ok(())
}

/// Root, kernel image and manifest are of one version.
fn check_release(opened: &Opened<'_>, files: &Path) -> Result<(), Fault> {
    let release = read(&files.join("usr/lib/os-release"))?;
    let pe = Pe::parse(opened.part(Part::Uki)?).map_err(|cause| Fault::Pe(Part::Uki, cause))?;
    let manifest = &opened.manifest;
    let text = String::from_utf8_lossy(&release);
    let has = |line: String| text.lines().any(|found| found == line);
    if has(format!("VERSION_ID={}", manifest.version))
        && has(format!("BARTIZAN_EPOCH={}", manifest.rollback_epoch))
        && pe.section(".osrel") == Some(&release)
    {
        Ok(())
    } else {
        Err(Fault::Disagrees("version in os-release"))
    }
}

/// Every service of ours is scored, and how many there are.
fn check_services(files: &Path) -> Result<usize, Fault> {
    let unreadable = |cause| Fault::Read {
        file: UNITS.to_owned(),
        cause,
    };
    let mut services = Vec::new();
    for entry in std::fs::read_dir(files.join(UNITS)).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let name = name.to_string_lossy().into_owned();
        let limit = EXPOSURE.iter().find(|(begin, _)| name.starts_with(begin));
        // A template for drop-ins is no service.
        if let (Some((_, limit)), true) = (limit, name.ends_with(".service")) {
            services.push((name, *limit));
        }
    }
    services.sort();
    if services.is_empty() {
        return Err(Fault::Disagrees("list of services"));
    }
    for (name, limit) in &services {
        let words = [
            "security".to_owned(),
            "--offline=true".to_owned(),
            "--no-pager".to_owned(),
            "--root=.".to_owned(),
            format!("--threshold={limit}"),
            name.clone(),
        ];
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        run("systemd-analyze", files, &words).map_err(|fault| {
            if matches!(fault, Fault::Program { .. }) {
                Fault::Exposed {
                    service: name.clone(),
                    tenths: *limit,
                }
            } else {
                fault
            }
        })?;
    }
    Ok(services.len())
}

/// It is of this version, and names something.
fn check_bill(opened: &Opened<'_>) -> Result<usize, Fault> {
    let wrong = || Fault::Disagrees("bill of materials");
    let bill: Value =
        serde_json::from_slice(opened.part(Part::BillOfMaterials)?).map_err(|_| wrong())?;
    let graph = bill.get("@graph").and_then(Value::as_array);
    let graph = graph.ok_or_else(wrong)?;
    let text = |element: &Value, key: &str| {
        let value = element.get(key).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    let image = graph
        .iter()
        .find(|element| text(element, "name") == "bartizan-image");
    let version = image.map(|image| text(image, "software_packageVersion"));
    if version == Some(opened.manifest.version.to_string()) {
        Ok(graph.len())
    } else {
        Err(wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_has_64_mib_at_most() {
        check_size(64 << 20).unwrap();
        let said = check_size((64 << 20) + 1).unwrap_err().to_string();
        assert_eq!(said, "the root has 67108865 bytes, and may have 67108864");
    }
}
