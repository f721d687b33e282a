//! What the controller must not forget: the plan, the devices, the verdicts, who did what.
//!
//! Two places to keep it, one way to it. Each change is read, decided on and committed by
//! compare-and-set, so that it does not matter who else writes: another session, or another
//! controller on the same database. What a call has returned outlives whatever comes.

mod audit;
mod changes;
mod devices;
mod embedded;
mod orders;
mod plans;
mod postgresql;
mod rows;
mod verdicts;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{broadcast, watch};

pub use changes::Changed;
pub use devices::DeviceError;
pub use plans::Kept;
pub use postgresql::{Database, DatabaseError};

use crate::device::Serial;
use changes::Changes;
use embedded::Embedded;
use postgresql::Postgresql;
use rows::{Outcome, Range, Row, Table, Write};

/// The version of what is kept.
const FORMAT: u64 = 1;

/// How often a change is decided anew because another writer was faster.
const TRIES: usize = 32;

/// Where the controller keeps what it knows.
#[derive(Clone, Debug)]
pub enum Place {
    /// In one file on this machine.
    File(PathBuf),
    /// In a database, which other controllers may share.
    Database(Box<Database>),
}

/// The store; its clones are the same one.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    backend: Backend,
    changes: Arc<Changes>,
}

#[derive(Debug)]
enum Backend {
    Embedded(Embedded),
    Postgresql(Postgresql),
}

/// The store cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another controller holds the file.
    #[error("{} is held by another controller", .0.display())]
    Held(PathBuf),
    /// The file cannot be used.
    #[error("cannot open {} as a store", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: Box<redb::Error>,
    },
    /// It is of another version.
    #[error("{place} has the version {format}, not {FORMAT}")]
    Format {
        /// The file or the database.
        place: String,
        /// Its version.
        format: u64,
    },
    /// The file cannot be read or written.
    #[error("the store's file")]
    Embedded(#[source] Box<redb::Error>),
    /// The same, said to each whose change was not written.
    #[error("not written: {0}")]
    Disk(String),
    /// A row is none of ours.
    #[error("{key} of the table {table} is not understood")]
    Malformed {
        /// Which table.
        table: &'static str,
        /// Which row.
        key: String,
        /// Why not.
        #[source]
        cause: serde_json::Error,
    },
    /// The database does not answer, for longer than anybody should wait.
    #[error("the database is not reached")]
    Unreachable(#[source] Option<tokio_postgres::Error>),
    /// The database refuses.
    #[error("the database refuses")]
    Database(#[source] tokio_postgres::Error),
    /// The system has no random numbers.
    #[error("the system's random numbers")]
    Entropy(#[source] std::io::Error),
    /// Others changed the same row over and over.
    #[error("others keep changing the same row")]
    Busy,
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}

impl Store {
    /// Takes hold of the store, and makes it where there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError`]. What is none of ours is left as it is.
    pub async fn open(place: &Place) -> Result<Self, StoreError> {
        let changes = Arc::new(Changes::new());
        let backend = match place {
            Place::File(path) => Backend::Embedded(Embedded::open(path)?),
            Place::Database(database) => {
                Backend::Postgresql(Postgresql::open(database, Arc::clone(&changes)).await?)
            }
        };
        Ok(Self(Arc::new(Inner { backend, changes })))
    }

    /// Tells of every change, whoever makes it.
    pub fn changes(&self) -> broadcast::Receiver<Changed> {
        self.0.changes.all()
    }

    /// Tells of every change of one device's record; the number only says that there was one.
    pub fn watch(&self, serial: &Serial) -> watch::Receiver<u64> {
        self.0.changes.device(serial)
    }

    async fn read(&self, table: Table, key: &str) -> Result<Option<Row>, StoreError> {
        match &self.0.backend {
            Backend::Embedded(embedded) => embedded.read(table, key).await,
            Backend::Postgresql(postgresql) => postgresql.read(table, key).await,
        }
    }

    async fn list(&self, table: Table, range: Range) -> Result<Vec<Row>, StoreError> {
        match &self.0.backend {
            Backend::Embedded(embedded) => embedded.list(table, range).await,
            Backend::Postgresql(postgresql) => postgresql.list(table, range).await,
        }
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<Outcome, StoreError> {
        match &self.0.backend {
            Backend::Embedded(embedded) => {
                let watched: Vec<_> = writes
                    .iter()
                    .filter(|write| write.table.watched())
                    .map(|write| (write.table, write.key.clone()))
                    .collect();
                let outcome = embedded.commit(writes).await?;
                if outcome == Outcome::Done {
                    for (table, key) in watched {
                        self.0.changes.row(table, &key);
                    }
                }
                Ok(outcome)
            }
            // The database tells of its changes by itself.
            Backend::Postgresql(postgresql) => postgresql.commit(writes).await,
        }
    }
}

macro_rules! from_redb {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for StoreError {
            fn from(error: redb::$error) -> Self {
                Self::Embedded(Box::new(error.into()))
            }
        }
    )*};
}

from_redb!(TransactionError, TableError, StorageError, CommitError);
