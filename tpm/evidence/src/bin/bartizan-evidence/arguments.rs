//! The command line: a file or two, and options with a value each.

use std::collections::BTreeMap;
use std::io::Read as _;

use crate::{Fault, USAGE};

/// More bytes than any input may have.
const INPUT_MAX: u64 = 16 * 1024 * 1024;

/// Every option that takes a value.
const OPTIONS: [&str; 15] = [
    "--ak",
    "--attest",
    "--bank",
    "--es384",
    "--firmware-log",
    "--ima-log",
    "--ml-dsa-65",
    "--pcrs",
    "--pinned",
    "--qualifying",
    "--reference",
    "--rollback-floor",
    "--signature",
    "--userspace-log",
    "--values",
];

/// What was asked.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    options: BTreeMap<String, String>,
    files: Vec<String>,
    json: bool,
}

impl Arguments {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Fault> {
        let mut arguments = Self::default();
        while let Some(word) = words.next() {
            if word == "--json" {
                arguments.json = true;
            } else if OPTIONS.contains(&word.as_str()) {
                let value = words.next().ok_or_else(|| missing(&word))?;
                arguments.options.insert(word, value);
            } else if word.starts_with('-') {
                return Err(Fault::Usage(USAGE.to_owned()));
            } else {
                arguments.files.push(word);
            }
        }
        Ok(arguments)
    }

    pub(crate) const fn json(&self) -> bool {
        self.json
    }

    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    pub(crate) fn required(&self, name: &str) -> Result<&str, Fault> {
        self.option(name).ok_or_else(|| missing(name))
    }

    /// The contents of the only file that is no option's.
    pub(crate) fn only_file(&self) -> Result<Vec<u8>, Fault> {
        match self.files.as_slice() {
            [file] => read(file),
            _ => Err(Fault::Usage(USAGE.to_owned())),
        }
    }

    pub(crate) fn file(&self, name: &str) -> Result<Vec<u8>, Fault> {
        read(self.required(name)?)
    }

    /// The contents of an option's file; nothing where it is not given.
    pub(crate) fn file_or_nothing(&self, name: &str) -> Result<Vec<u8>, Fault> {
        self.option(name).map_or_else(|| Ok(Vec::new()), read)
    }
}

pub(crate) fn wrong(name: &str) -> Fault {
    Fault::Usage(format!("{name} has no such value"))
}

fn missing(name: &str) -> Fault {
    Fault::Usage(format!("{name} is missing\n{USAGE}"))
}

fn read(file: &str) -> Result<Vec<u8>, Fault> {
    let fault = |cause| Fault::Read {
        file: file.to_owned(),
        cause,
    };
    let mut bytes = Vec::new();
    // Kernel files have no size to ask for beforehand.
    std::fs::File::open(file)
        .map_err(fault)?
        .take(INPUT_MAX)
        .read_to_end(&mut bytes)
        .map_err(fault)?;
    Ok(bytes)
}
