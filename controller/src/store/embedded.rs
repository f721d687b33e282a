//! One file on this machine, held by one controller.
//!
//! A thread of its own does all of it: a disk that is slow holds no session up, and all that waits is
//! written by one flush.

use core::ops::Bound;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;

use redb::backends::FileBackend;
use redb::{
    Database, DatabaseError, ReadableDatabase as _, ReadableTable, TableDefinition,
    WriteTransaction,
};
use tokio::sync::oneshot;

use super::rows::{Change, Outcome, Range, Row, Table, Write};
use super::{FORMAT, StoreError};

/// The file, held.
#[derive(Debug)]
pub(crate) struct Embedded {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

enum Job {
    Read(
        Table,
        String,
        oneshot::Sender<Result<Option<Row>, StoreError>>,
    ),
    List(Table, Range, oneshot::Sender<Result<Vec<Row>, StoreError>>),
    Commit(Commit),
}

struct Commit {
    writes: Vec<Write>,
    reply: oneshot::Sender<Result<Outcome, StoreError>>,
}

/// Commits in one flush.
const BATCH: usize = 256;

/// The version of a row and its body.
type Value = (u64, &'static str);

/// What the file says of itself.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

impl Embedded {
    /// Takes hold of the file, and makes it where there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError`]. A file that is none of ours is left as it is.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let fault = |cause: redb::Error| StoreError::File {
            path: path.to_owned(),
            cause: Box::new(cause),
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(|cause| fault(cause.into()))?;
        let opened = FileBackend::new(file)
            .and_then(|backend| Database::builder().create_with_backend(backend));
        let database = match opened {
            Ok(database) => database,
            Err(DatabaseError::DatabaseAlreadyOpen) => {
                return Err(StoreError::Held(path.to_owned()));
            }
            Err(cause) => return Err(fault(cause.into())),
        };
        prepare(path, &database)?;
        let (jobs, queue) = mpsc::channel();
        let worker = Worker { database };
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || worker.run(&queue))
            .map_err(|cause| fault(cause.into()))?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    pub(crate) async fn read(&self, table: Table, key: &str) -> Result<Option<Row>, StoreError> {
        self.ask(|reply| Job::Read(table, key.to_owned(), reply))
            .await
    }

    pub(crate) async fn list(&self, table: Table, range: Range) -> Result<Vec<Row>, StoreError> {
        self.ask(|reply| Job::List(table, range, reply)).await
    }

    pub(crate) async fn commit(&self, writes: Vec<Write>) -> Result<Outcome, StoreError> {
        self.ask(|reply| Job::Commit(Commit { writes, reply }))
            .await
    }

    async fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Job,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or(StoreError::Closed)?;
        jobs.send(job(reply)).map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        // The thread ends when nobody can ask it for anything.
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic would have ended the process.
            let _ended = thread.join();
        }
    }
}

/// Makes what is missing, and refuses what another version made.
fn prepare(path: &Path, database: &Database) -> Result<(), StoreError> {
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        let format = meta.get("format")?.map(|format| format.value());
        match format {
            None => {
                meta.insert("format", FORMAT)?;
            }
            Some(FORMAT) => {}
            Some(format) => {
                return Err(StoreError::Format {
                    place: path.display().to_string(),
                    format,
                });
            }
        }
        for table in Table::ALL {
            transaction.open_table(definition(table))?;
        }
    }
    transaction.commit()?;
    Ok(())
}

fn definition(table: Table) -> TableDefinition<'static, &'static str, Value> {
    TableDefinition::new(table.name())
}

struct Worker {
    database: Database,
}

impl Worker {
    fn run(&self, queue: &mpsc::Receiver<Job>) {
        while let Ok(job) = queue.recv() {
            let mut commits = Vec::new();
            self.take(job, &mut commits);
            while commits.len() < BATCH {
                match queue.try_recv() {
                    Ok(job) => self.take(job, &mut commits),
                    Err(_) => break,
                }
            }
            if !commits.is_empty() {
                self.write(commits);
            }
        }
    }

    /// Answers what only reads, and puts the rest aside. Who is gone meanwhile needs no answer.
    fn take(&self, job: Job, commits: &mut Vec<Commit>) {
        match job {
            Job::Read(table, key, reply) => {
                let _gone = reply.send(self.read(table, &key));
            }
            Job::List(table, range, reply) => {
                let _gone = reply.send(self.list(table, &range));
            }
            Job::Commit(commit) => commits.push(commit),
        }
    }

    fn read(&self, table: Table, key: &str) -> Result<Option<Row>, StoreError> {
        let transaction = self.database.begin_read()?;
        let rows = transaction.open_table(definition(table))?;
        let found = rows.get(key)?;
        Ok(found.map(|value| row(key, value.value())))
    }

    fn list(&self, table: Table, range: &Range) -> Result<Vec<Row>, StoreError> {
        let transaction = self.database.begin_read()?;
        let rows = transaction.open_table(definition(table))?;
        let below = match &range.below {
            Some(below) => Bound::Excluded(below.as_str()),
            None => Bound::Unbounded,
        };
        let mut found = Vec::new();
        let bounds = (Bound::Included(range.from.as_str()), below);
        for entry in rows.range::<&str>(bounds)?.take(range.limit) {
            let (key, value) = entry?;
            found.push(row(key.value(), value.value()));
        }
        Ok(found)
    }

    fn write(&self, commits: Vec<Commit>) {
        match self.write_all(&commits) {
            Ok(outcomes) => {
                for (commit, outcome) in commits.into_iter().zip(outcomes) {
                    let _gone = commit.reply.send(Ok(outcome));
                }
            }
            Err(error) => {
                let words = crate::serve::chain(&error);
                for commit in commits {
                    let _gone = commit.reply.send(Err(StoreError::Disk(words.clone())));
                }
            }
        }
    }

    /// One transaction; a commit that conflicts changes nothing of it.
    fn write_all(&self, commits: &[Commit]) -> Result<Vec<Outcome>, StoreError> {
        let transaction = self.database.begin_write()?;
        let mut outcomes = Vec::new();
        for commit in commits {
            outcomes.push(write_one(&transaction, &commit.writes)?);
        }
        transaction.commit()?;
        Ok(outcomes)
    }
}

fn write_one(transaction: &WriteTransaction, writes: &[Write]) -> Result<Outcome, StoreError> {
    let mut versions = Vec::new();
    for write in writes {
        let rows = transaction.open_table(definition(write.table))?;
        let version = rows.get(write.key.as_str())?.map(|value| value.value().0);
        let conflicts = match &write.change {
            Change::Create(_) => version.is_some(),
            Change::Replace(seen, _) => version != Some(*seen),
            Change::Put(_) | Change::Delete => false,
        };
        if conflicts {
            return Ok(Outcome::Conflict);
        }
        versions.push(version.unwrap_or(0).saturating_add(1));
    }
    for (write, version) in writes.iter().zip(versions) {
        let mut rows = transaction.open_table(definition(write.table))?;
        match &write.change {
            Change::Create(body) | Change::Replace(_, body) | Change::Put(body) => {
                rows.insert(write.key.as_str(), (version, body.as_str()))?;
            }
            Change::Delete => {
                rows.remove(write.key.as_str())?;
            }
        }
    }
    Ok(Outcome::Done)
}

fn row(key: &str, (version, body): (u64, &str)) -> Row {
    Row {
        key: key.to_owned(),
        version,
        body: body.to_owned(),
    }
}
