//! Users and groups: those of the machine and those that the sysusers file adds (`sysusers.d(5)`).

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use super::UnitError;

/// Where numbers are looked for, in descending order, as systemd does.
const SYSTEM_IDS: std::ops::RangeInclusive<u32> = 100..=999;

/// Names to numbers.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    users: BTreeMap<String, u32>,
    groups: BTreeMap<String, u32>,
    passwd: String,
    group: String,
}

impl Accounts {
    /// Reads the machine's accounts and adds those of the sysusers file, always with the same numbers.
    ///
    /// # Errors
    /// If a file cannot be read, or a line of the sysusers file is of a kind that is not known.
    pub fn read(sysusers: &Path) -> Result<Self, UnitError> {
        let mut accounts = Self {
            passwd: read("/etc/passwd".as_ref())?,
            group: read("/etc/group".as_ref())?,
            ..Self::default()
        };
        accounts.users = numbers(&accounts.passwd);
        accounts.groups = numbers(&accounts.group);
        for line in read(sysusers)?.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.split_whitespace().collect::<Vec<_>>().as_slice() {
                ["g", name, "-", ..] => accounts.add_group(name),
                ["u", name, "-", ..] => accounts.add_user(name),
                _ => {
                    return Err(UnitError::Line {
                        unit: sysusers.display().to_string(),
                        line: line.to_owned(),
                    });
                }
            }
        }
        Ok(accounts)
    }

    /// A user's number.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn user(&self, name: &str) -> Result<u32, UnitError> {
        let number = self.users.get(name).copied();
        number.ok_or_else(|| UnitError::Account(name.to_owned()))
    }

    /// A group's number.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn group(&self, name: &str) -> Result<u32, UnitError> {
        let number = self.groups.get(name).copied();
        number.ok_or_else(|| UnitError::Account(name.to_owned()))
    }

    /// What `/etc/passwd` is to be.
    pub fn passwd(&self) -> &str {
        &self.passwd
    }

    /// What `/etc/group` is to be.
    pub fn group_file(&self) -> &str {
        &self.group
    }

    fn add_group(&mut self, name: &str) {
        if self.groups.contains_key(name) {
            return;
        }
        let number = self.free();
        self.groups.insert(name.to_owned(), number);
        writeln!(self.group, "{name}:x:{number}:").expect("write to memory");
    }

    /// A user has a group of its name, and of its number where that is free.
    fn add_user(&mut self, name: &str) {
        if self.users.contains_key(name) {
            return;
        }
        self.add_group(name);
        let group = self.groups[name];
        let taken = self.users.values().any(|&other| other == group);
        let number = if taken { self.free() } else { group };
        self.users.insert(name.to_owned(), number);
        writeln!(
            self.passwd,
            "{name}:x:{number}:{group}::/:/usr/sbin/nologin"
        )
        .expect("write to memory");
    }

    fn free(&self) -> u32 {
        let is_free = |number: &u32| {
            !self
                .users
                .values()
                .chain(self.groups.values())
                .any(|taken| taken == number)
        };
        SYSTEM_IDS.rev().find(is_free).expect("a free number")
    }
}

/// The number of one of the machine's groups.
pub fn group_number(name: &str) -> Option<u32> {
    let group = fs::read_to_string("/etc/group").ok()?;
    numbers(&group).get(name).copied()
}

/// The names and numbers of a file like `/etc/passwd` or `/etc/group`: both have them in the first and third field.
fn numbers(text: &str) -> BTreeMap<String, u32> {
    let number = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        Some((name, fields.nth(1)?.parse().ok()?))
    };
    text.lines().filter_map(number).collect()
}

fn read(path: &Path) -> Result<String, UnitError> {
    fs::read_to_string(path).map_err(|cause| UnitError::Read {
        path: path.to_owned(),
        cause,
    })
}
