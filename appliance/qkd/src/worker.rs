//! One connection's worth of work: a job in, what became of it out.

use std::sync::Arc;

use bartizan_model::config::KmeInterface;
use bartizan_model::ids::{KeyId, KmeText, SaeId};
use bartizan_model::report::QkdRefusal;
use bartizan_secret::clobber_stack;
use bartizan_tls::TlsError;
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant, timeout};

use crate::dispatch::{Connect, Link};
use crate::document::{Delivered, Limits, check_status, read_error, read_keys};
use crate::line::{Line, Way};
use crate::request::{Call, Method};
use crate::response::{After, Answer, Response};
use crate::session::SessionError;
use crate::stream::{self, Said, binary, json};

/// How long opening a connection may take, the TPM's signature included; less than an order may, so
/// that a KME that is away is told from one that does not answer.
const CONNECT_LIMIT: Duration = Duration::from_millis(2500);

/// A KME as every one of its workers sees it.
#[derive(Clone, Debug)]
pub(crate) struct Kme {
    pub(crate) way: Way,
    pub(crate) interface: KmeInterface,
    /// The `Host` of requests.
    pub(crate) host: Arc<str>,
    /// Our name there.
    pub(crate) sae: SaeId,
}

/// Work for a worker.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) work: Work,
    /// How long it may take from now on.
    pub(crate) limit: Duration,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Work {
    /// 014: fresh keys.
    New {
        peer: SaeId,
        number: usize,
        /// Whether it must be asked before whether the KME serves this pair, and how many keys wait.
        status: Status,
    },
    /// 014: the keys of these names.
    Same { peer: SaeId, keys: Vec<KeyId> },
    /// 004.
    Stream(stream::Call),
}

/// Whether the KME has said lately that it can serve this pair.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Status {
    Known,
    Unknown,
}

/// What a worker tells.
#[derive(Debug)]
pub(crate) enum Report {
    /// Its job is done.
    Done(Box<Done>),
    /// Its connection ended between two jobs.
    Lost { kme: usize, worker: usize },
}

/// What became of a job.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) kme: usize,
    pub(crate) worker: usize,
    pub(crate) outcome: Result<Brought, Failure>,
    /// What the KME has said of itself, where it was asked.
    pub(crate) limits: Option<Limits>,
    /// What it said when it refused.
    pub(crate) said: Option<KmeText>,
    pub(crate) connect: Connect,
    pub(crate) link: Link,
    pub(crate) took: Duration,
}

/// What a job brought.
#[derive(Debug)]
pub(crate) enum Brought {
    Keys(Vec<Delivered>),
    Said(Said),
}

/// Why a job brought nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Failure {
    /// It is refused.
    Refused(QkdRefusal),
    /// The edge to the TPM is broken: the process must end.
    TpmEdge,
}

/// Works until there are no more jobs.
pub(crate) async fn work(
    (number, index): (usize, usize),
    kme: Kme,
    mut jobs: mpsc::Receiver<Job>,
    reports: mpsc::Sender<Report>,
) {
    let mut worker = Worker {
        kme,
        line: None,
        connect: Connect::NotTried,
        method: Method::Post,
        limits: None,
        said: None,
    };
    loop {
        let job = tokio::select! {
            job = jobs.recv() => job,
            () = idle(&mut worker.line) => {
                worker.line = None;
                let lost = Report::Lost { kme: number, worker: index };
                if reports.send(lost).await.is_err() {
                    return;
                }
                continue;
            }
        };
        let Some(job) = job else { return };
        let begun = Instant::now();
        let outcome = worker.serve(job).await;
        let report = Report::Done(Box::new(Done {
            kme: number,
            worker: index,
            outcome,
            limits: worker.limits.take(),
            said: worker.said.take(),
            connect: worker.connect,
            link: match worker.line {
                Some(_) => Link::Up,
                None => Link::Down,
            },
            took: begun.elapsed(),
        }));
        if reports.send(report).await.is_err() {
            return;
        }
    }
}

/// Waits for the end of a connection that is not in use; what it is does not matter.
async fn idle(line: &mut Option<Line>) {
    match line {
        Some(line) => drop(line.receive().await),
        None => core::future::pending().await,
    }
}

struct Worker {
    kme: Kme,
    line: Option<Line>,
    connect: Connect,
    /// What this KME takes.
    method: Method,
    limits: Option<Limits>,
    said: Option<KmeText>,
}

/// Why a request has no answer.
enum Trouble {
    /// The connection ended before a byte of the answer: a kept one that the KME had given up.
    Unanswered(Failure),
    Failed(Failure),
    /// 405: the KME knows the request only in its other form.
    Method,
}

impl From<QkdRefusal> for Trouble {
    fn from(reason: QkdRefusal) -> Self {
        Self::Failed(Failure::Refused(reason))
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Unanswered(failure) | Trouble::Failed(failure) => failure,
            Trouble::Method => Self::Refused(QkdRefusal::BadRequest),
        }
    }
}

/// Reads an answer where it lies.
type Read<'a, T> = &'a mut (dyn FnMut(&mut [u8]) -> Result<T, QkdRefusal> + Send);

impl Worker {
    async fn serve(&mut self, job: Job) -> Result<Brought, Failure> {
        self.connect = Connect::NotTried;
        match timeout(job.limit, self.attempt(job.work)).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => {
                // Its answer may still come; it must not be taken for the next one's.
                self.line = None;
                Err(Failure::Refused(QkdRefusal::TimedOut))
            }
        }
    }

    async fn attempt(&mut self, work: Work) -> Result<Brought, Failure> {
        match work {
            Work::New {
                peer,
                number,
                status,
            } => {
                if status == Status::Unknown {
                    let us = self.kme.sae.clone();
                    let call = Call::Status { peer: peer.clone() };
                    let limits = self
                        .http(&call, &mut |bytes| check_status(bytes, &us, &peer))
                        .await?;
                    self.limits = Some(limits);
                }
                let most = self
                    .limits
                    .map_or(number, |limits| limits.batch.min(number));
                let call = Call::EncKeys { peer, number: most };
                let keys = self.keys(&call, most).await?;
                Ok(Brought::Keys(keys))
            }
            Work::Same { peer, keys } => {
                let mut brought = Vec::new();
                let mut rest = keys.as_slice();
                while !rest.is_empty() {
                    let (these, keys) = self.same(&peer, rest).await?;
                    brought.extend(keys);
                    rest = rest.get(these..).unwrap_or_default();
                }
                Ok(Brought::Keys(brought))
            }
            Work::Stream(call) => self.stream(&call).await.map(Brought::Said),
        }
    }

    /// Gets the first of these keys by their names: how many were asked for, and what came. A KME that
    /// takes no POST gives one key a request.
    async fn same(
        &mut self,
        peer: &SaeId,
        keys: &[KeyId],
    ) -> Result<(usize, Vec<Delivered>), Failure> {
        let call = |keys: &[KeyId]| Call::DecKeys {
            peer: peer.clone(),
            keys: keys.to_vec(),
        };
        let one = keys.get(..1).unwrap_or_default();
        let these = match self.method {
            Method::Post => keys,
            Method::Get => one,
        };
        let read = |most: usize| move |bytes: &mut [u8]| read_keys(bytes, most);
        match self.once(&call(these), &mut read(these.len())).await {
            Err(Trouble::Method) => {
                self.method = self.method.other();
                let keys = self.once(&call(one), &mut read(one.len())).await?;
                Ok((one.len(), keys))
            }
            outcome => Ok((these.len(), outcome?)),
        }
    }

    async fn keys(&mut self, call: &Call, most: usize) -> Result<Vec<Delivered>, Failure> {
        self.http(call, &mut |bytes| read_keys(bytes, most)).await
    }

    /// Makes a call of 014, in its other form where the KME does not know this one.
    async fn http<T>(&mut self, call: &Call, read: Read<'_, T>) -> Result<T, Failure> {
        match self.once(call, read).await {
            Err(Trouble::Method) => {
                self.method = self.method.other();
                Ok(self.once(call, read).await?)
            }
            outcome => Ok(outcome?),
        }
    }

    /// Makes a call of 014 over the connection that stands, or over a fresh one; a kept connection
    /// that the KME has closed meanwhile is replaced once. A key that is lost in between is never
    /// used.
    async fn once<T>(&mut self, call: &Call, read: Read<'_, T>) -> Result<T, Trouble> {
        let kept = self.line.is_some();
        let request = call.request(&self.kme.host, self.method);
        match self.exchange(&request, read).await {
            Err(Trouble::Unanswered(_)) if kept => self.exchange(&request, read).await,
            outcome => outcome,
        }
    }

    /// Sends a request and reads its answer; keeps the connection only where that is in order.
    async fn exchange<T>(&mut self, request: &[u8], read: Read<'_, T>) -> Result<T, Trouble> {
        let mut line = self.take_line().await?;
        let answer = answer(&mut line, request).await?;
        self.heard();
        let body = line.reply().get_mut(answer.body);
        let document = match answer.status {
            200 => body.map_or(Err(QkdRefusal::BadReply.into()), |body| {
                read(body).map_err(Trouble::from)
            }),
            405 => Err(Trouble::Method),
            status => {
                self.said = body.and_then(read_error);
                Err(refusal(status).into())
            }
        };
        line.forget_reply();
        clobber_stack();
        if answer.after == After::KeepAlive {
            self.line = Some(line);
        }
        document
    }

    /// Makes a call of 004, as [`Worker::http`] does one of 014.
    async fn stream(&mut self, call: &stream::Call) -> Result<Said, Failure> {
        let request = match self.kme.interface {
            KmeInterface::Etsi004Json => json::request(call),
            KmeInterface::Etsi004Binary | KmeInterface::Etsi014 => binary::request(call),
        };
        let asked = binary::Kind::of(call);
        let kept = self.line.is_some();
        match self.converse(&request, asked).await {
            Err(Trouble::Unanswered(_)) if kept => Ok(self.converse(&request, asked).await?),
            outcome => Ok(outcome?),
        }
    }

    async fn converse(&mut self, request: &[u8], asked: binary::Kind) -> Result<Said, Trouble> {
        let mut line = self.take_line().await?;
        let unanswered = |error: &SessionError| Trouble::Unanswered(failure(error));
        line.send(request)
            .await
            .map_err(|error| unanswered(&error))?;
        let said = loop {
            let received = line.receive().await;
            match received {
                Ok(_) if line.reply().is_empty() => {
                    return Err(Trouble::Unanswered(Failure::Refused(
                        QkdRefusal::Unreachable,
                    )));
                }
                Ok(_) => {}
                Err(error) if line.reply().is_empty() => return Err(unanswered(&error)),
                Err(_) => return Err(QkdRefusal::BadReply.into()),
            }
            let read = match self.kme.interface {
                KmeInterface::Etsi004Json => json::read(line.reply(), asked),
                KmeInterface::Etsi004Binary | KmeInterface::Etsi014 => {
                    binary::read(line.reply(), asked)
                }
            };
            if let Some(said) = read.transpose() {
                break said;
            }
        };
        self.heard();
        line.forget_reply();
        clobber_stack();
        let said = said?;
        self.line = Some(line);
        Ok(said)
    }

    async fn take_line(&mut self) -> Result<Line, Trouble> {
        if let Some(line) = self.line.take() {
            return Ok(line);
        }
        // It counts as failed until it brought an answer: TLS 1.3 shows only then whether the KME
        // takes our certificate.
        self.connect = Connect::Failed;
        Line::open(self.kme.way.clone(), CONNECT_LIMIT)
            .await
            .map_err(|error| Trouble::Failed(failure(&error)))
    }

    /// An answer came.
    fn heard(&mut self) {
        if self.connect == Connect::Failed {
            self.connect = Connect::Done;
        }
    }
}

async fn answer(line: &mut Line, request: &[u8]) -> Result<Answer, Trouble> {
    let unanswered = |error: &SessionError| Trouble::Unanswered(failure(error));
    line.send(request)
        .await
        .map_err(|error| unanswered(&error))?;
    let mut response = Response::default();
    loop {
        let received = line.receive().await;
        match (received, line.reply().is_empty()) {
            (Ok(stream), false) => {
                let answer = response
                    .advance(line.reply(), stream)
                    .map_err(|_| QkdRefusal::BadReply)?;
                if let Some(answer) = answer {
                    return Ok(answer);
                }
            }
            (Ok(_), true) => {
                return Err(Trouble::Unanswered(Failure::Refused(
                    QkdRefusal::Unreachable,
                )));
            }
            (Err(error), true) => return Err(unanswered(&error)),
            (Err(_), false) => return Err(QkdRefusal::BadReply.into()),
        }
    }
}

fn failure(error: &SessionError) -> Failure {
    Failure::Refused(match error {
        SessionError::Tls(TlsError::TpmEdge) => return Failure::TpmEdge,
        SessionError::Unauthorized => QkdRefusal::Unauthorized,
        SessionError::TooLong => QkdRefusal::BadReply,
        SessionError::Lock(_) => QkdRefusal::LockedMemory,
        SessionError::Tls(_) | SessionError::Broken(_) => QkdRefusal::Unreachable,
    })
}

/// 014 knows 400, 401 and 503; the others are what servers of the field say instead.
fn refusal(status: u16) -> QkdRefusal {
    match status {
        400 | 404 | 413..=415 | 422 => QkdRefusal::BadRequest,
        401 | 403 => QkdRefusal::Unauthorized,
        429 | 500..=599 => QkdRefusal::Unavailable,
        _ => QkdRefusal::BadReply,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_that_is_no_key_is_a_refusal() {
        for (status, reason) in [
            (400, QkdRefusal::BadRequest),
            (401, QkdRefusal::Unauthorized),
            (503, QkdRefusal::Unavailable),
            (404, QkdRefusal::BadRequest),
            (302, QkdRefusal::BadReply),
            (201, QkdRefusal::BadReply),
        ] {
            assert_eq!(refusal(status), reason, "{status}");
        }
    }
}
