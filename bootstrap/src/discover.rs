//! One bootstrap server: asked for signed data, told of progress (RFC 8572, 7).

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::io::ErrorKind;

use bartizan_bootstrap_protocol::sztp::{
    self, Answer, BODY_MAX, GET_BOOTSTRAPPING_DATA, MEDIA_TYPE, Progress, Question, REPORT_PROGRESS,
};
use bartizan_model::config::BootstrapServer;
use bartizan_tls::{connect_bootstrap, unauthenticated_bootstrap_client};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::error::AttemptError;
use crate::http::{self, Rest};
use crate::identity::Identity;
use crate::lookup;

/// How long a connection, a handshake, or an exchange may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The most bytes of the body of an answer without content.
const EMPTY_MAX: usize = 4 * 1024;

/// Asks for bootstrapping data.
pub(crate) async fn ask(
    server: &BootstrapServer,
    resolvers: &[IpAddr],
    identity: &Identity,
    question: &Question,
) -> Result<Answer, AttemptError> {
    let body = question.encode();
    let answer = post(
        server,
        resolvers,
        identity,
        GET_BOOTSTRAPPING_DATA,
        &body,
        BODY_MAX,
    )
    .await?;
    Ok(sztp::Answer::decode(&answer)?)
}

/// Tells of progress.
pub(crate) async fn report(
    server: &BootstrapServer,
    resolvers: &[IpAddr],
    identity: &Identity,
    progress: &Progress,
) -> Result<(), AttemptError> {
    let body = progress.encode();
    post(
        server,
        resolvers,
        identity,
        REPORT_PROGRESS,
        &body,
        EMPTY_MAX,
    )
    .await
    .map(drop)
}

/// Connects to the first address that answers.
pub(crate) async fn dial(addresses: &[SocketAddr]) -> Result<TcpStream, AttemptError> {
    let mut last = AttemptError::NotFound;
    for address in addresses {
        match timeout(PATIENCE, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Without it a small message waits, and is no less right.
                let _slower = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => last = AttemptError::Connect(error),
            Err(_elapsed) => last = AttemptError::TimedOut,
        }
    }
    Err(last)
}

async fn post(
    server: &BootstrapServer,
    resolvers: &[IpAddr],
    identity: &Identity,
    path: &str,
    body: &[u8],
    max: usize,
) -> Result<Vec<u8>, AttemptError> {
    let addresses = lookup::addresses(&server.host, resolvers).await;
    let addresses: Vec<_> = addresses
        .into_iter()
        .map(|address| SocketAddr::new(address, server.port))
        .collect();
    let stream = dial(&addresses).await?;
    let tls = unauthenticated_bootstrap_client(&identity.chain, identity.signer.clone())?;
    let met = connect_bootstrap(stream, tls, &server.host, PATIENCE).await?;
    let mut stream = met.stream;
    let host = if server.host.contains(':') {
        format!("[{}]:{}", server.host, server.port)
    } else {
        format!("{}:{}", server.host, server.port)
    };
    let request = http::post(&host, path, MEDIA_TYPE, body);
    let exchange = async {
        stream
            .write_all(&request)
            .await
            .map_err(AttemptError::Broken)?;
        stream.flush().await.map_err(AttemptError::Broken)?;
        hear(&mut stream, max).await
    };
    let answer = timeout(PATIENCE, exchange)
        .await
        .map_err(|_| AttemptError::TimedOut)??;
    if (200..300).contains(&answer.status) {
        Ok(answer.body)
    } else {
        Err(AttemptError::Status(answer.status))
    }
}

/// Hears one answer, up to its end.
async fn hear(
    stream: &mut (impl AsyncRead + Unpin),
    max: usize,
) -> Result<http::Answer, AttemptError> {
    let limit = http::answer_max(max);
    let mut heard = Vec::new();
    let mut bytes = [0; 4096];
    loop {
        let rest = match stream.read(&mut bytes).await {
            Ok(0) => Rest::Nothing,
            Ok(len) => {
                heard.extend_from_slice(bytes.get(..len).unwrap_or_default());
                Rest::Unknown
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                return Ok(http::answer(&heard, Rest::Unknown, max)?);
            }
            Err(error) => return Err(AttemptError::Broken(error)),
        };
        match http::answer(&heard, rest, max) {
            Ok(answer) => return Ok(answer),
            Err(error) if rest == Rest::Nothing || heard.len() > limit => return Err(error.into()),
            // It is not whole yet.
            Err(_) => {}
        }
    }
}
