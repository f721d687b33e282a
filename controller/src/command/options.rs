//! The words behind a command.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{CommandError, SOCKET};

/// What a command was told.
pub(super) struct Options {
    words: std::vec::IntoIter<String>,
    values: BTreeMap<&'static str, String>,
}

/// What a command may be told.
pub(super) struct Known {
    /// How many words stand for themselves.
    pub(super) words: usize,
    /// Those with a value behind them.
    pub(super) values: &'static [&'static str],
    /// Those without.
    pub(super) switches: &'static [&'static str],
}

impl Options {
    /// Takes all words; each may stand once.
    pub(super) fn read(
        mut given: impl Iterator<Item = String>,
        known: &Known,
    ) -> Result<Self, CommandError> {
        let mut words = Vec::new();
        let mut values = BTreeMap::new();
        while let Some(word) = given.next() {
            if !word.starts_with("--") {
                words.push(word);
                continue;
            }
            let named =
                |names: &'static [&'static str]| names.iter().find(|name| **name == word).copied();
            let (name, value) = if let Some(name) = named(known.switches) {
                (name, String::new())
            } else {
                let name = named(known.values).ok_or(CommandError::Usage)?;
                (name, given.next().ok_or(CommandError::Usage)?)
            };
            if values.insert(name, value).is_some() {
                return Err(CommandError::Usage);
            }
        }
        if words.len() != known.words {
            return Err(CommandError::Usage);
        }
        Ok(Self {
            words: words.into_iter(),
            values,
        })
    }

    /// The next word that stands for itself.
    pub(super) fn word(&mut self) -> Result<String, CommandError> {
        self.words.next().ok_or(CommandError::Usage)
    }

    /// The next one, which is a file.
    pub(super) fn file(&mut self) -> Result<PathBuf, CommandError> {
        self.word().map(PathBuf::from)
    }

    /// What stands behind a name.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// What must stand behind it.
    pub(super) fn needed(&self, name: &str) -> Result<&str, CommandError> {
        self.value(name).ok_or(CommandError::Usage)
    }

    /// A number behind a name.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, CommandError> {
        let number = self.value(name).map(str::parse);
        number.transpose().map_err(|_| CommandError::Usage)
    }

    /// Whether a switch is there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Where the controller listens.
    pub(super) fn socket(&self) -> PathBuf {
        PathBuf::from(self.value("--socket").unwrap_or(SOCKET))
    }
}
