//! The line protocol of the control socket: a line in, a line out.

use std::io;
use std::sync::Mutex;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use super::api::State;
use super::server::locked;

/// Carries out one line; what to say to it.
pub(super) fn obey(state: &Mutex<State>, line: &str) -> String {
    let mut state = locked(state);
    match line.trim() {
        "honest" => {
            state.plan.honest();
            "ok".to_owned()
        }
        "counts" => serde_json::json!(state.plan.counts()).to_string(),
        "streams" => serde_json::json!(state.streams.ends()).to_string(),
        "redeemed" => serde_json::json!(state.store.redeemed()).to_string(),
        order => match state.plan.order(order) {
            Ok(()) => "ok".to_owned(),
            Err(error) => format!("error: {error}"),
        },
    }
}

/// Serves one connection of the control socket.
///
/// # Errors
///
/// Of the stream.
pub(super) async fn serve(state: &Mutex<State>, stream: UnixStream) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    while let Some(line) = lines.next_line().await? {
        let mut answer = obey(state, &line);
        answer.push('\n');
        write.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}
