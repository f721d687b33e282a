//! What both backends keep: rows by table and key, each with a version, changed by compare-and-set.

use super::StoreError;

/// A table.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Table {
    /// The plan in force; one row.
    Plan,
    /// The device records by serial number.
    Device,
    /// The serial number of each node.
    Node,
    /// The serial number that each key of a TPM belongs to.
    Key,
    /// The last verdicts of each device.
    Verdict,
    /// The last certificates of each device.
    Certificate,
    /// The last transfers of each device.
    Transfer,
    /// The voucher of each device.
    Voucher,
    /// The last acts of operators, and how many there were.
    Audit,
}

/// A row.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Row {
    pub(crate) key: String,
    /// Rises with every change.
    pub(crate) version: u64,
    /// JSON.
    pub(crate) body: String,
}

/// One change of a row; a commit is made of these, and done as a whole or not at all.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Write {
    pub(crate) table: Table,
    pub(crate) key: String,
    pub(crate) change: Change,
}

/// What becomes of a row.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Change {
    /// A new row; it conflicts if there is one.
    Create(String),
    /// The row of this version; it conflicts with every other.
    Replace(u64, String),
    /// Whatever stands there.
    Put(String),
    /// It goes, if it stands.
    Delete,
}

/// The row that a change is decided by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Seen {
    /// There was none.
    Nothing,
    /// It had this version.
    Version(u64),
    /// It does not matter.
    Unasked,
}

/// What became of a commit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// All of it is done, and outlives whatever comes.
    Done,
    /// Something is not as expected, and nothing is done.
    Conflict,
}

/// Keys from one on, up to another if there is one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Range {
    pub(crate) from: String,
    pub(crate) below: Option<String>,
    /// The most rows.
    pub(crate) limit: usize,
}

impl Table {
    pub(crate) const ALL: [Self; 9] = [
        Self::Plan,
        Self::Device,
        Self::Node,
        Self::Key,
        Self::Verdict,
        Self::Certificate,
        Self::Transfer,
        Self::Voucher,
        Self::Audit,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Device => "device",
            Self::Node => "node",
            Self::Key => "key",
            Self::Verdict => "verdict",
            Self::Certificate => "certificate",
            Self::Transfer => "transfer",
            Self::Voucher => "voucher",
            Self::Audit => "audit",
        }
    }

    /// Whether others are told of its changes.
    pub(crate) fn watched(self) -> bool {
        matches!(self, Self::Plan | Self::Device)
    }
}

impl Range {
    /// The rows of one owner: those whose key is its name, a tab and more.
    pub(crate) fn of(owner: &str, limit: usize) -> Self {
        Self {
            from: format!("{owner}\t"),
            // The character after the tab.
            below: Some(format!("{owner}\n")),
            limit,
        }
    }

    /// The rows behind a key.
    pub(crate) fn behind(key: &str, limit: usize) -> Self {
        Self {
            // No key has a control character but the tab.
            from: format!("{key}\u{1}"),
            below: None,
            limit,
        }
    }
}

impl Row {
    /// Its body.
    ///
    /// # Errors
    ///
    /// [`StoreError::Malformed`].
    pub(crate) fn read<T: serde::de::DeserializeOwned>(
        &self,
        table: Table,
    ) -> Result<T, StoreError> {
        serde_json::from_str(&self.body).map_err(|cause| StoreError::Malformed {
            table: table.name(),
            key: self.key.clone(),
            cause,
        })
    }
}

impl Write {
    /// A row's new body.
    ///
    /// # Errors
    ///
    /// [`StoreError::Malformed`] for what JSON cannot hold.
    pub(crate) fn put(
        table: Table,
        key: impl Into<String>,
        seen: Seen,
        body: &impl serde::Serialize,
    ) -> Result<Self, StoreError> {
        let key = key.into();
        let body = match serde_json::to_string(body) {
            Ok(body) => body,
            Err(cause) => {
                return Err(StoreError::Malformed {
                    table: table.name(),
                    key,
                    cause,
                });
            }
        };
        let change = match seen {
            Seen::Nothing => Change::Create(body),
            Seen::Version(version) => Change::Replace(version, body),
            Seen::Unasked => Change::Put(body),
        };
        Ok(Self { table, key, change })
    }

    /// A row's end.
    pub(crate) fn delete(table: Table, key: impl Into<String>) -> Self {
        Self {
            table,
            key: key.into(),
            change: Change::Delete,
        }
    }
}
