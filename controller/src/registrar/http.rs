//! The registrar's HTTP: one connection, a few requests, each of a bounded size and time.

use core::convert::Infallible;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::io;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsStream;

/// What was asked.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) path: String,
    pub(super) body: Vec<u8>,
}

/// What is answered: a status and a document of `media`; an empty document has none.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// Serves a connection until the client has enough of it, or `limit` is over. Every request but a
/// POST with `media` is refused without asking `answer`.
pub(super) async fn serve(
    stream: TlsStream<TcpStream>,
    media: &'static str,
    body_max: usize,
    limit: Duration,
    answer: impl AsyncFn(Asked) -> Answered,
) -> Result<(), ServeHttpError> {
    let answer = &answer;
    let service = service_fn(move |request: Request<Incoming>| async move {
        let answered = match read(request, media, body_max).await {
            Ok(asked) => answer(asked).await,
            Err(status) => Answered {
                status: status.as_u16(),
                body: Vec::new(),
            },
        };
        Ok::<_, Infallible>(respond(answered, media))
    });
    let connection = http1::Builder::new()
        .max_buf_size(HEAD_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(Plaintext(stream), service);
    match timeout(limit, connection).await {
        Ok(served) => Ok(served?),
        Err(_elapsed) => Err(ServeHttpError::TimedOut),
    }
}

/// The connection is over.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServeHttpError {
    /// It took too long.
    #[error("the box took too long")]
    TimedOut,
    /// It is no HTTP, or broke.
    #[error("not the HTTP that is spoken here")]
    Http(#[from] hyper::Error),
}

async fn read(
    request: Request<Incoming>,
    media: &str,
    body_max: usize,
) -> Result<Asked, StatusCode> {
    if request.method() != Method::POST {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    let named = request.headers().get(header::CONTENT_TYPE);
    if named.is_none_or(|named| named.as_bytes() != media.as_bytes()) {
        return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let path = request.uri().path().to_owned();
    let body = Limited::new(request.into_body(), body_max).collect().await;
    let body = body.map_err(|_too_long_or_broken| StatusCode::PAYLOAD_TOO_LARGE)?;
    Ok(Asked {
        path,
        body: body.to_bytes().to_vec(),
    })
}

fn respond(answered: Answered, media: &'static str) -> Response<Full<Bytes>> {
    let empty = answered.body.is_empty();
    let mut response = Response::new(Full::new(Bytes::from(answered.body)));
    *response.status_mut() =
        StatusCode::from_u16(answered.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if !empty {
        let media = header::HeaderValue::from_static(media);
        response.headers_mut().insert(header::CONTENT_TYPE, media);
    }
    response
}

/// A connection as hyper takes it.
struct Plaintext(TlsStream<TcpStream>);

impl Read for Plaintext {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut chunk = [0; 4096];
        let len = buffer.remaining().min(chunk.len());
        let mut read = ReadBuf::new(chunk.get_mut(..len).unwrap_or_default());
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut read))?;
        buffer.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl Write for Plaintext {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// The most bytes before a body, and the most headers.
const HEAD_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
