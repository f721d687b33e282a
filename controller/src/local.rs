//! The owner's commands, over a socket of the file system: one request a connection, a line of JSON,
//! answered by lines of JSON.
//!
//! Only the user that the controller runs as is listened to (`SO_PEERCRED`), whatever the socket's
//! mode lets through.

use core::time::Duration;
use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::rc::Rc;

use rustix::process::geteuid;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{Instant, timeout, timeout_at};

use crate::desk::Desk;
pub use crate::desk::{DeviceAnswer, DeviceOrder};
use crate::device::Actor;
use crate::plan::{Document, TunnelKey};
use crate::serve::chain;
use crate::status::Status;

/// What a command asks for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Request {
    /// Make this the plan.
    Apply {
        /// The plan.
        document: Box<Document>,
        /// How many seconds to wait for all of its tunnels to protect: at most an hour counts.
        wait: Option<u64>,
    },
    /// Show the fleet.
    Status,
    /// Something about devices.
    Device(DeviceOrder),
}

/// A line of the answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Answer {
    /// The plan is in force.
    Applied {
        /// Its version.
        version: u64,
        /// How many tunnels it has.
        tunnels: usize,
    },
    /// A tunnel protects at both ends.
    Protected {
        /// Its name.
        tunnel: String,
        /// How long after the plan was applied.
        milliseconds: u64,
    },
    /// The wait is over before these do.
    Unprotected {
        /// Their names.
        tunnels: Vec<String>,
    },
    /// Another plan came while this one was waited for.
    Superseded,
    /// The fleet.
    Status(Box<Status>),
    /// What was asked about devices, or what became of an order.
    Device(DeviceAnswer),
    /// Nothing is done.
    Refused {
        /// Why.
        why: String,
    },
}

/// The most bytes of a request: a plan with all tunnels that a fleet may have.
pub(crate) const REQUEST_MAX: u64 = 64 * 1024 * 1024;

/// How long a command may take to say what it wants.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);

/// How long a command may take to read its answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// How long a command may wait: whoever forgot it does not hold its place for ever.
const WAIT_MAX: Duration = Duration::from_hours(1);

/// Opens the socket; an older one at its place is nobody's, for the state file is ours.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers one command.
pub(crate) async fn attend(stream: UnixStream, desk: Rc<Desk>) -> io::Result<()> {
    if stream.peer_cred()?.uid() != geteuid().as_raw() {
        desk.count("command-of-another-user");
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    // The only user who gets here is the one that the controller runs as.
    let actor = Actor::new("local");
    let (reader, mut writer) = stream.into_split();
    let mut line = Vec::new();
    let mut reader = BufReader::new(reader.take(REQUEST_MAX));
    timeout(REQUEST_LIMIT, reader.read_until(b'\n', &mut line)).await??;
    match serde_json::from_slice(&line) {
        Ok(Request::Status) => {
            let status = Status::of(&desk.fleet());
            say(&mut writer, &Answer::Status(Box::new(status))).await
        }
        Ok(Request::Apply { document, wait }) => {
            drop(line);
            let applied = desk.apply(*document, &actor).await;
            match applied {
                Ok(version) => applied_then_wait(&mut writer, &desk, version, wait).await,
                Err(error) => {
                    let why = error.to_string();
                    say(&mut writer, &Answer::Refused { why }).await
                }
            }
        }
        Ok(Request::Device(order)) => {
            let answer = match desk.order(order, &actor).await {
                Ok(answer) => Answer::Device(answer),
                Err(error) => Answer::Refused { why: chain(&error) },
            };
            say(&mut writer, &answer).await
        }
        Err(error) => {
            let why = error.to_string();
            say(&mut writer, &Answer::Refused { why }).await
        }
    }
}

type Writer = tokio::net::unix::OwnedWriteHalf;

async fn applied_then_wait(
    writer: &mut Writer,
    desk: &Desk,
    version: u64,
    wait: Option<u64>,
) -> io::Result<()> {
    // Before the first look, so that no change falls between.
    let mut changes = desk.watch();
    let tunnels = desk.fleet().tunnels.len();
    say(writer, &Answer::Applied { version, tunnels }).await?;
    let Some(wait) = wait else {
        return Ok(());
    };
    let wait = Duration::from_secs(wait).min(WAIT_MAX);
    let end = Instant::now().checked_add(wait);
    let end = end.ok_or(io::ErrorKind::InvalidInput)?;
    let mut waiting: BTreeSet<TunnelKey> = desk.fleet().tunnels.keys().cloned().collect();
    loop {
        let Some(protected) = newly_protected(desk, version, &mut waiting) else {
            return say(writer, &Answer::Superseded).await;
        };
        for answer in protected {
            say(writer, &answer).await?;
        }
        if waiting.is_empty() {
            return Ok(());
        }
        if timeout_at(end, changes.changed()).await.is_err() {
            let tunnels = waiting.iter().map(ToString::to_string).collect();
            return say(writer, &Answer::Unprotected { tunnels }).await;
        }
    }
}

/// Takes those that protect out of `waiting`; `None` if the plan is no longer in force.
fn newly_protected(
    desk: &Desk,
    version: u64,
    waiting: &mut BTreeSet<TunnelKey>,
) -> Option<Vec<Answer>> {
    let fleet = desk.fleet();
    if fleet.version != version {
        return None;
    }
    let mut protected = Vec::new();
    waiting.retain(|key| {
        let after = fleet.tunnels.get(key).and_then(|tunnel| tunnel.protected);
        protected.extend(after.map(|after| Answer::Protected {
            tunnel: key.to_string(),
            milliseconds: u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
        }));
        after.is_none()
    });
    Some(protected)
}

async fn say(writer: &mut Writer, answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    timeout(ANSWER_LIMIT, writer.write_all(&line)).await?
}
