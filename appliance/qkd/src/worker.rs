//! One connection's worth of work: an order in, a key or a refusal out.

use std::sync::Arc;

use bartizan_model::ids::{KeyId, SaeId};
use bartizan_model::report::QkdRefusal;
use bartizan_secret::{Secret, clobber_stack};
use bartizan_tls::TlsError;
use tokio::sync::mpsc;
use tokio::time::{Duration, timeout};

use crate::dispatch::{Ask, Connect, Link};
use crate::document::{check_status, read_key};
use crate::request::Call;
use crate::response::{After, Answer, Response};
use crate::session::{Session, SessionError, Target};

/// How long opening a connection may take, the TPM's signature included; less than an order may, so
/// that a KME that is away is told from one that does not answer.
const CONNECT_LIMIT: Duration = Duration::from_millis(2500);

/// The KME as every worker sees it.
#[derive(Clone, Debug)]
pub(crate) struct Kme {
    pub(crate) target: Target,
    /// The `Host` of requests.
    pub(crate) host: Arc<str>,
    /// Our name there.
    pub(crate) sae: SaeId,
}

/// Work for a worker.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) ask: Ask,
    pub(crate) status: Status,
    /// How long it may take from now on.
    pub(crate) limit: Duration,
}

/// Whether the KME has said that it can serve this pair.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Status {
    Known,
    Unknown,
}

/// What a worker tells.
#[derive(Debug)]
pub(crate) enum Report {
    /// Its job is done.
    Done {
        worker: usize,
        outcome: Result<(KeyId, Secret), Failure>,
        /// The SAE for which the KME has said that it serves us.
        served: Option<SaeId>,
        connect: Connect,
        link: Link,
    },
    /// Its connection ended between two jobs.
    Lost { worker: usize },
}

/// Why there is no key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Failure {
    /// The order is refused.
    Refused(QkdRefusal),
    /// The edge to the TPM is broken: the process must end.
    TpmEdge,
}

/// Works until there are no more jobs.
pub(crate) async fn work(
    index: usize,
    kme: Kme,
    mut jobs: mpsc::Receiver<Job>,
    reports: mpsc::Sender<Report>,
) {
    let mut worker = Worker {
        kme,
        session: None,
        connect: Connect::NotTried,
        served: None,
    };
    loop {
        let job = tokio::select! {
            job = jobs.recv() => job,
            () = idle(&mut worker.session) => {
                worker.session = None;
                if reports.send(Report::Lost { worker: index }).await.is_err() {
                    return;
                }
                continue;
            }
        };
        let Some(job) = job else { return };
        let outcome = worker.serve(job).await;
        let report = Report::Done {
            worker: index,
            outcome,
            served: worker.served.take(),
            connect: worker.connect,
            link: match worker.session {
                Some(_) => Link::Up,
                None => Link::Down,
            },
        };
        if reports.send(report).await.is_err() {
            return;
        }
    }
}

/// Waits for the end of a connection that is not in use; what it is does not matter.
async fn idle(session: &mut Option<Session>) {
    match session {
        Some(session) => drop(session.receive().await),
        None => core::future::pending().await,
    }
}

struct Worker {
    kme: Kme,
    session: Option<Session>,
    connect: Connect,
    served: Option<SaeId>,
}

/// Why a request has no answer.
enum Trouble {
    /// The connection ended before a byte of the answer: a kept one that the KME had given up.
    Unanswered(Failure),
    Failed(Failure),
}

impl From<QkdRefusal> for Trouble {
    fn from(reason: QkdRefusal) -> Self {
        Self::Failed(Failure::Refused(reason))
    }
}

impl Worker {
    async fn serve(&mut self, job: Job) -> Result<(KeyId, Secret), Failure> {
        self.connect = Connect::NotTried;
        let limit = job.limit;
        match timeout(limit, self.attempt(job)).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => {
                // Its answer may still come; it must not be taken for the next one's.
                self.session = None;
                Err(Failure::Refused(QkdRefusal::TimedOut))
            }
        }
    }

    async fn attempt(&mut self, job: Job) -> Result<(KeyId, Secret), Failure> {
        let kme = self.kme.clone();
        let (call, asked) = match job.ask {
            Ask::NewKey { peer } => {
                if job.status == Status::Unknown {
                    let call = Call::Status { peer: peer.clone() };
                    let document = |bytes: &mut [u8]| check_status(bytes, &kme.sae, &peer);
                    self.call(&call, document).await?;
                    self.served = Some(peer.clone());
                }
                (Call::EncKeys { peer }, None)
            }
            Ask::SameKey { peer, key } => {
                let asked = Some(key.clone());
                (Call::DecKeys { peer, key }, asked)
            }
        };
        self.call(&call, |bytes| read_key(bytes, asked.as_ref()))
            .await
    }

    /// Makes a call over the connection that stands, or over a fresh one; a kept connection that
    /// the KME has closed meanwhile is replaced once. A key that is lost in between is never used.
    async fn call<T>(
        &mut self,
        call: &Call,
        mut read: impl FnMut(&mut [u8]) -> Result<T, QkdRefusal>,
    ) -> Result<T, Failure> {
        let request = call.request(&self.kme.host);
        let kept = self.session.is_some();
        match self.exchange(&request, &mut read).await {
            Err(Trouble::Unanswered(_)) if kept => {}
            Ok(document) => return Ok(document),
            Err(Trouble::Unanswered(failure) | Trouble::Failed(failure)) => return Err(failure),
        }
        match self.exchange(&request, &mut read).await {
            Ok(document) => Ok(document),
            Err(Trouble::Unanswered(failure) | Trouble::Failed(failure)) => Err(failure),
        }
    }

    /// Sends a request and reads its answer; keeps the connection only where that is in order.
    async fn exchange<T>(
        &mut self,
        request: &[u8],
        read: &mut impl FnMut(&mut [u8]) -> Result<T, QkdRefusal>,
    ) -> Result<T, Trouble> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => self.open().await?,
        };
        let answer = answer(&mut session, request).await?;
        if self.connect == Connect::Failed {
            self.connect = Connect::Done;
        }
        let document = if answer.status == 200 {
            let body = session.reply().get_mut(answer.body);
            body.map_or(Err(QkdRefusal::BadReply), read)
        } else {
            Err(refusal(answer.status))
        };
        session.forget_reply();
        clobber_stack();
        if answer.after == After::KeepAlive {
            self.session = Some(session);
        }
        Ok(document?)
    }

    async fn open(&mut self) -> Result<Session, Trouble> {
        // It counts as failed until it brought an answer: TLS 1.3 shows only then whether the KME
        // takes our certificate.
        self.connect = Connect::Failed;
        Session::open(self.kme.target.clone(), CONNECT_LIMIT)
            .await
            .map_err(|error| Trouble::Failed(failure(&error)))
    }
}

async fn answer(session: &mut Session, request: &[u8]) -> Result<Answer, Trouble> {
    let unanswered = |error: &SessionError| Trouble::Unanswered(failure(error));
    session
        .send(request)
        .await
        .map_err(|error| unanswered(&error))?;
    let mut response = Response::default();
    loop {
        let received = session.receive().await;
        match (received, session.reply().is_empty()) {
            (Ok(stream), false) => {
                let answer = response
                    .advance(session.reply(), stream)
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
        400 | 404 | 405 | 413..=415 | 422 => QkdRefusal::BadRequest,
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
