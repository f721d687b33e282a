//! A `PostgreSQL` database, shared by as many controllers as there are.
//!
//! One connection, which is made anew whenever it is lost; what waits meanwhile waits for a bounded
//! time. A commit has a name of its own in the database: one whose answer was lost is tried again
//! under that name, and done once.

mod keeper;
mod tls;

use core::time::Duration;
use std::sync::Arc;

use tokio::sync::{Mutex, Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, IsolationLevel, Transaction};

use super::StoreError;
use super::changes::Changes;
use super::rows::{Change, Outcome, Range, Row, Table, Write};
use keeper::Keeper;

pub use tls::{Database, DatabaseError};

/// The connection, or the wait for one.
#[derive(Debug)]
pub(crate) struct Postgresql {
    client: watch::Receiver<Option<Shared>>,
    /// Tells the keeper that the connection is of no use, though it stands.
    useless: Arc<Notify>,
    keeper: AbortHandle,
}

type Shared = Arc<Mutex<Client>>;

/// How long an order may wait for a connection and its answer, all tries together.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long one try may take.
const TRY_LIMIT: Duration = Duration::from_secs(15);

/// The rest before another try.
const PAUSE: Duration = Duration::from_millis(50);

impl Postgresql {
    /// Connects, and makes the tables where there are none.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if that does not succeed in time.
    pub(crate) async fn open(
        database: &Database,
        changes: Arc<Changes>,
    ) -> Result<Self, StoreError> {
        let (slot, client) = watch::channel(None);
        let useless = Arc::new(Notify::new());
        let keeper = Keeper::new(database, slot, changes, Arc::clone(&useless));
        // What cannot be mended by waiting is said at once.
        keeper.prepare().await?;
        let keeper = tokio::spawn(keeper.run()).abort_handle();
        Ok(Self {
            client,
            useless,
            keeper,
        })
    }

    pub(crate) async fn read(&self, table: Table, key: &str) -> Result<Option<Row>, StoreError> {
        let sql = format!(
            "SELECT key, version, body::text FROM bartizan.{} WHERE key = $1",
            table.name()
        );
        self.order(async |client| {
            let found = client.query_typed(&sql, &[(&key, Type::TEXT)]).await?;
            found.first().map(row).transpose()
        })
        .await
    }

    pub(crate) async fn list(&self, table: Table, range: Range) -> Result<Vec<Row>, StoreError> {
        let sql = format!(
            "SELECT key, version, body::text FROM bartizan.{} \
             WHERE key >= $1 AND ($2 IS NULL OR key < $2) ORDER BY key LIMIT $3",
            table.name()
        );
        let limit = i64::try_from(range.limit).unwrap_or(i64::MAX);
        self.order(async |client| {
            let parameters: [(&(dyn ToSql + Sync), Type); 3] = [
                (&range.from, Type::TEXT),
                (&range.below, Type::TEXT),
                (&limit, Type::INT8),
            ];
            let found = client.query_typed(&sql, &parameters).await?;
            found.iter().map(row).collect()
        })
        .await
    }

    pub(crate) async fn commit(&self, mut writes: Vec<Write>) -> Result<Outcome, StoreError> {
        // Everybody locks rows in the same order.
        writes.sort_by(|one, other| (one.table, &one.key).cmp(&(other.table, &other.key)));
        let mut name = [0; 16];
        rustix::rand::getrandom(&mut name, rustix::rand::GetRandomFlags::empty())
            .map_err(|errno| StoreError::Entropy(errno.into()))?;
        self.order(async |client| commit_once(client, &name, &writes).await)
            .await
    }

    /// Gives an order until it is answered.
    async fn order<T>(
        &self,
        order: impl AsyncFn(&mut Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, StoreError> {
        let now = Instant::now();
        let end = now.checked_add(PATIENCE).unwrap_or(now);
        let mut last = None;
        loop {
            let tried = timeout_at(end, self.one_try(&order)).await;
            match tried {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(Trouble::Passing(cause))) => last = cause.or(last),
                Ok(Err(Trouble::Lasting(cause))) => return Err(StoreError::Database(cause)),
                Err(_late) => return Err(StoreError::Unreachable(last)),
            }
            sleep(PAUSE).await;
        }
    }

    async fn one_try<T>(
        &self,
        order: &impl AsyncFn(&mut Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, Trouble> {
        let mut slot = self.client.clone();
        let client = slot.wait_for(Option::is_some).await;
        let client = client.ok().and_then(|client| client.clone());
        let client = client.ok_or(Trouble::Passing(None))?;
        let mut client = client.lock().await;
        match timeout(TRY_LIMIT, order(&mut client)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                let trouble = Trouble::of(error);
                if let Trouble::Passing(Some(error)) = &trouble
                    && error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION)
                {
                    // This server is the main one no longer.
                    self.useless.notify_one();
                }
                Err(trouble)
            }
            Err(_late) => {
                self.useless.notify_one();
                Err(Trouble::Passing(None))
            }
        }
    }
}

impl Drop for Postgresql {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// Why a try brought no answer.
enum Trouble {
    /// Another may.
    Passing(Option<tokio_postgres::Error>),
    /// No other will.
    Lasting(tokio_postgres::Error),
}

impl Trouble {
    fn of(error: tokio_postgres::Error) -> Self {
        match error.code() {
            // The connection broke, or the server said nothing that can be understood.
            None => Self::Passing(Some(error)),
            Some(state) if passing(state) => Self::Passing(Some(error)),
            Some(_) => Self::Lasting(error),
        }
    }
}

/// By the classes of the server's error codes (appendix A).
fn passing(state: &SqlState) -> bool {
    const CLASSES: [&str; 4] = [
        "08", // the connection
        "40", // rolled back for another transaction's sake
        "53", // no memory, disk or connection left
        "57", // an operator shut the server down
    ];
    let class = state.code().get(..2).unwrap_or_default();
    CLASSES.contains(&class)
        || *state == SqlState::LOCK_NOT_AVAILABLE
        || *state == SqlState::READ_ONLY_SQL_TRANSACTION
}

fn row(row: &tokio_postgres::Row) -> Result<Row, tokio_postgres::Error> {
    let version: i64 = row.try_get(1)?;
    Ok(Row {
        key: row.try_get(0)?,
        version: version.unsigned_abs(),
        body: row.try_get(2)?,
    })
}

async fn commit_once(
    client: &mut Client,
    name: &[u8; 16],
    writes: &[Write],
) -> Result<Outcome, tokio_postgres::Error> {
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::ReadCommitted)
        .start()
        .await?;
    // Of two with one name the later waits here for the end of the earlier.
    let named = transaction
        .execute_typed(
            "INSERT INTO bartizan.commit (name) VALUES ($1) ON CONFLICT DO NOTHING",
            &[(&name.as_slice(), Type::BYTEA)],
        )
        .await?;
    if named == 0 {
        transaction.rollback().await?;
        return Ok(Outcome::Done);
    }
    for write in writes {
        if !write_one(&transaction, write).await? {
            transaction.rollback().await?;
            return Ok(Outcome::Conflict);
        }
    }
    transaction.commit().await?;
    Ok(Outcome::Done)
}

/// One change; false if it conflicts.
async fn write_one(
    transaction: &Transaction<'_>,
    write: &Write,
) -> Result<bool, tokio_postgres::Error> {
    let table = write.table.name();
    let key: (&(dyn ToSql + Sync), Type) = (&write.key, Type::TEXT);
    let changed = match &write.change {
        Change::Create(body) => {
            let sql = format!(
                "INSERT INTO bartizan.{table} (key, version, body) VALUES ($1, 1, $2::jsonb) \
                 ON CONFLICT DO NOTHING"
            );
            transaction
                .execute_typed(&sql, &[key, (body, Type::TEXT)])
                .await?
        }
        Change::Replace(version, body) => {
            let version = i64::try_from(*version).unwrap_or(i64::MAX);
            let sql = format!(
                "UPDATE bartizan.{table} SET version = version + 1, body = $2::jsonb \
                 WHERE key = $1 AND version = $3"
            );
            let parameters = [key, (body, Type::TEXT), (&version, Type::INT8)];
            transaction.execute_typed(&sql, &parameters).await?
        }
        Change::Put(body) => {
            let sql = format!(
                "INSERT INTO bartizan.{table} AS standing (key, version, body) \
                 VALUES ($1, 1, $2::jsonb) \
                 ON CONFLICT (key) DO UPDATE \
                 SET version = standing.version + 1, body = EXCLUDED.body"
            );
            transaction
                .execute_typed(&sql, &[key, (body, Type::TEXT)])
                .await?
        }
        Change::Delete => {
            let sql = format!("DELETE FROM bartizan.{table} WHERE key = $1");
            transaction.execute_typed(&sql, &[key]).await?;
            1
        }
    };
    if changed == 1 && write.table.watched() {
        // Heard when the commit is done, by every controller.
        let word = format!("{table}\t{}", write.key);
        let sql = "SELECT pg_notify('bartizan', $1)";
        transaction.query_typed(sql, &[(&word, Type::TEXT)]).await?;
    }
    Ok(changed == 1)
}
