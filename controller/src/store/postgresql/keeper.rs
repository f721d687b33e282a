//! Keeps one connection to the database, and hears what other controllers change.

use core::future::poll_fn;
use core::time::Duration;
use std::sync::Arc;

use bartizan_process::journal::{self, Level};
use tokio::sync::{Mutex, Notify, watch};
use tokio::time::{sleep, timeout};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Socket};

use super::super::changes::{Changed, Changes};
use super::super::rows::Table;
use super::super::{FORMAT, StoreError};
use super::Shared;
use super::tls::{Connector, Database};
use crate::serve::chain;

type Line = Connection<Socket, <Connector as MakeTlsConnect<Socket>>::Stream>;

/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// The rests between two tries to connect; the last one for ever.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// What holds for every connection. A commit that was answered is on the disk, whatever the server's default.
const SETTINGS: &str = "SET synchronous_commit = on; SET statement_timeout = '10s'; \
     SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '20s'; \
     LISTEN bartizan; \
     DELETE FROM bartizan.commit WHERE at < now() - interval '1 hour'";

pub(super) struct Keeper {
    config: Config,
    connector: Connector,
    slot: watch::Sender<Option<Shared>>,
    changes: Arc<Changes>,
    useless: Arc<Notify>,
}

impl Keeper {
    pub(super) fn new(
        database: &Database,
        slot: watch::Sender<Option<Shared>>,
        changes: Arc<Changes>,
        useless: Arc<Notify>,
    ) -> Self {
        Self {
            config: database.config(),
            connector: database.connector(),
            slot,
            changes,
            useless,
        }
    }

    /// Makes what is missing, and refuses what another version made.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub(super) async fn prepare(&self) -> Result<(), StoreError> {
        let (client, line) = self.connect().await?;
        let prepared = tokio::select! {
            prepared = prepare(&client) => prepared?,
            lost = self.hear(line) => return Err(StoreError::Unreachable(lost)),
        };
        if prepared == FORMAT {
            Ok(())
        } else {
            Err(StoreError::Format {
                place: "the database".to_owned(),
                format: prepared,
            })
        }
    }

    /// Keeps a connection for ever.
    pub(super) async fn run(self) {
        let mut pauses = PAUSES.iter();
        let mut pause = Duration::ZERO;
        loop {
            let ended = match self.connect().await {
                Ok((client, line)) => {
                    pauses = PAUSES.iter();
                    tokio::select! {
                        ended = self.lend(client) => ended,
                        lost = self.hear(line) => StoreError::Unreachable(lost),
                    }
                }
                Err(error) => error,
            };
            self.slot.send_replace(None);
            let words = chain(&ended);
            journal::log(Level::Warn, format_args!("the database: {words}"));
            pause = pauses.next().copied().unwrap_or(pause);
            sleep(pause).await;
        }
    }

    async fn connect(&self) -> Result<(Client, Line), StoreError> {
        match timeout(CONNECT_LIMIT, self.config.connect(self.connector.clone())).await {
            Ok(connected) => connected.map_err(|error| StoreError::Unreachable(Some(error))),
            Err(_late) => Err(StoreError::Unreachable(None)),
        }
    }

    /// Lends the connection to whoever has an order, until it is of no use.
    async fn lend(&self, client: Client) -> StoreError {
        if let Err(error) = client.batch_execute(SETTINGS).await {
            return StoreError::Database(error);
        }
        self.slot.send_replace(Some(Arc::new(Mutex::new(client))));
        // Nothing was heard while there was no connection.
        self.changes.tell(Changed::Anything);
        self.useless.notified().await;
        StoreError::Unreachable(None)
    }

    /// Drives the connection; returns when it ends.
    async fn hear(&self, mut line: Line) -> Option<tokio_postgres::Error> {
        loop {
            match poll_fn(|context| line.poll_message(context)).await {
                Some(Ok(AsyncMessage::Notification(word))) => self.tell(word.payload()),
                Some(Ok(_notice)) => {}
                Some(Err(error)) => return Some(error),
                None => return None,
            }
        }
    }

    fn tell(&self, word: &str) {
        let Some((table, key)) = word.split_once('\t') else {
            return;
        };
        if let Some(table) = Table::ALL.into_iter().find(|named| named.name() == table) {
            self.changes.row(table, key);
        }
    }
}

/// Returns the version of what is there; two controllers that begin at once do so one after the other.
async fn prepare(client: &Client) -> Result<u64, StoreError> {
    let fault = StoreError::Database;
    let there = "SELECT to_regclass('bartizan.meta') IS NOT NULL";
    let there = client.query_typed_one(there, &[]).await.map_err(fault)?;
    if !there.try_get::<_, bool>(0).map_err(fault)? {
        client.batch_execute(&schema()).await.map_err(fault)?;
    }
    let format = "SELECT value FROM bartizan.meta WHERE name = 'format'";
    let format = client.query_typed_one(format, &[]).await.map_err(fault)?;
    let format: i64 = format.try_get(0).map_err(fault)?;
    Ok(format.unsigned_abs())
}

fn schema() -> String {
    let tables = Table::ALL.map(|table| {
        format!(
            "CREATE TABLE IF NOT EXISTS bartizan.{} (key text COLLATE \"C\" PRIMARY KEY, \
             version bigint NOT NULL, body jsonb NOT NULL);",
            table.name()
        )
    });
    format!(
        "BEGIN; SELECT pg_advisory_xact_lock(9061); \
         CREATE SCHEMA IF NOT EXISTS bartizan; \
         CREATE TABLE IF NOT EXISTS bartizan.meta (name text PRIMARY KEY, value bigint NOT NULL); \
         INSERT INTO bartizan.meta VALUES ('format', {FORMAT}) ON CONFLICT DO NOTHING; \
         CREATE TABLE IF NOT EXISTS bartizan.commit \
         (name bytea PRIMARY KEY, at timestamptz NOT NULL DEFAULT now()); \
         {} COMMIT",
        tables.concat()
    )
}
