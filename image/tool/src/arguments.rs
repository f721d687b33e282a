//! The command line: files, and options with a value each.

use std::collections::BTreeMap;
use std::path::Path;

use crate::USAGE;
use crate::fault::Fault;

const OPTIONS: [&str; 14] = [
    "--binaries",
    "--cache",
    "--configuration",
    "--enrol",
    "--epoch",
    "--from",
    "--keys",
    "--lock",
    "--machine",
    "--min-version",
    "--name",
    "--namespace",
    "--tree",
    "--version",
];

/// What was asked.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    options: BTreeMap<String, String>,
    files: Vec<String>,
}

impl Arguments {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Fault> {
        let mut arguments = Self::default();
        while let Some(word) = words.next() {
            if OPTIONS.contains(&word.as_str()) {
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

    pub(crate) fn required(&self, name: &str) -> Result<&str, Fault> {
        let value = self.options.get(name).map(String::as_str);
        value.ok_or_else(|| missing(name))
    }

    pub(crate) fn optional(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    pub(crate) fn folder(&self, name: &str) -> Result<&Path, Fault> {
        self.required(name).map(Path::new)
    }

    /// Exactly so many files.
    pub(crate) fn files<const COUNT: usize>(&self) -> Result<[&Path; COUNT], Fault> {
        let files: Vec<&Path> = self.files.iter().map(Path::new).collect();
        files.try_into().map_err(|_| Fault::Usage(USAGE.to_owned()))
    }
}

fn missing(name: &str) -> Fault {
    Fault::Usage(format!("{name} is missing\n{USAGE}"))
}
