//! The syntax of unit files and their drop-ins: `systemd.syntax(7)`, `systemd.unit(5)`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::UnitError;

/// One assignment, as it stands in the file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Assignment {
    /// The unit, such as `bartizan.service`.
    pub unit: String,
    /// The section, without brackets.
    pub section: String,
    /// The directive.
    pub key: String,
    /// What it is set to; empty resets a list.
    pub value: String,
}

impl Assignment {
    /// The refusal of this assignment.
    pub fn refused(&self) -> UnitError {
        UnitError::Directive {
            unit: self.unit.clone(),
            section: self.section.clone(),
            key: self.key.clone(),
            value: self.value.clone(),
        }
    }
}

/// Reads a unit with its drop-ins, in the order in which they count.
///
/// # Errors
/// If a file cannot be read or is no unit file.
pub fn read(folder: &Path, unit: &str) -> Result<Vec<Assignment>, UnitError> {
    let mut assignments = parse(unit, &text(&folder.join(unit))?)?;
    for path in drop_ins(folder, unit)? {
        assignments.extend(parse(unit, &text(&path)?)?);
    }
    Ok(assignments)
}

/// The names of the units in `folder` that end in `suffix`, sorted.
///
/// # Errors
/// If the folder cannot be read.
pub fn names(folder: &Path, suffix: &str) -> Result<Vec<String>, UnitError> {
    let mut names: Vec<String> = entries(folder)?
        .iter()
        .filter_map(|path| path.file_name()?.to_str())
        .filter(|name| name.ends_with(suffix))
        .map(str::to_owned)
        .collect();
    names.sort();
    Ok(names)
}

fn parse(unit: &str, text: &str) -> Result<Vec<Assignment>, UnitError> {
    let mut section = String::new();
    let mut assignments = Vec::new();
    for line in text.replace("\\\n", " ").lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            name.clone_into(&mut section);
            continue;
        }
        let (key, value) = line.split_once('=').ok_or_else(|| UnitError::Line {
            unit: unit.to_owned(),
            line: line.to_owned(),
        })?;
        assignments.push(Assignment {
            unit: unit.to_owned(),
            section: section.clone(),
            key: key.trim().to_owned(),
            value: value.trim().to_owned(),
        });
    }
    Ok(assignments)
}

/// `a-b.service` takes from `service.d`, `a-.service.d` and `a-b.service.d`, the last winning over a file of the same
/// name; all in the order of their names.
fn drop_ins(folder: &Path, unit: &str) -> Result<Vec<PathBuf>, UnitError> {
    let (stem, kind) = unit.rsplit_once('.').unwrap_or((unit, ""));
    let dashes = stem.match_indices('-').map(|(at, _)| &stem[..=at]);
    let folders = [format!("{kind}.d")]
        .into_iter()
        .chain(dashes.map(|prefix| format!("{prefix}.{kind}.d")))
        .chain([format!("{unit}.d")]);
    let mut files: std::collections::BTreeMap<_, PathBuf> = std::collections::BTreeMap::new();
    for name in folders {
        let folder = folder.join(name);
        if !folder.is_dir() {
            continue;
        }
        for path in entries(&folder)? {
            if path
                .extension()
                .is_some_and(|extension| extension == "conf")
            {
                files.insert(path.file_name().map(std::ffi::OsStr::to_owned), path);
            }
        }
    }
    Ok(files.into_values().collect())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, UnitError> {
    let read = |cause| UnitError::Read {
        path: folder.to_owned(),
        cause,
    };
    fs::read_dir(folder)
        .map_err(read)?
        .map(|entry| entry.map(|entry| entry.path()).map_err(read))
        .collect()
}

fn text(path: &Path) -> Result<String, UnitError> {
    fs::read_to_string(path).map_err(|cause| UnitError::Read {
        path: path.to_owned(),
        cause,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_continued_lines_are_understood() {
        let parsed = parse(
            "x.service",
            "# no\n[Service]\nA = 1 \\\n  2\n; no\n\n[Unit]\nB=\n",
        )
        .unwrap();
        let seen: Vec<_> = parsed
            .iter()
            .map(|one| (one.section.as_str(), one.key.as_str(), one.value.as_str()))
            .collect();
        assert_eq!(seen, [("Service", "A", "1    2"), ("Unit", "B", "")]);
    }

    #[test]
    fn what_is_no_assignment_is_refused() {
        assert!(parse("x.service", "[Service]\nnonsense\n").is_err());
    }

    #[test]
    fn drop_ins_of_the_prefix_count_after_the_unit() {
        let folder = crate::testbed::boot::scratch_folder();
        fs::create_dir(folder.join("a-.service.d")).unwrap();
        fs::write(folder.join("a-b.service"), "[Service]\nUser=one\n").unwrap();
        fs::write(
            folder.join("a-.service.d/all.conf"),
            "[Service]\nUser=two\n",
        )
        .unwrap();
        let assignments = read(&folder, "a-b.service").unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(assignments.last().unwrap().value, "two");
    }
}
