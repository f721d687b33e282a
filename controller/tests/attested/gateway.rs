//! A gateway that calls home and is attested: TLS and NETCONF as they ship, a TPM and an engine as a test wants them.

use core::time::Duration;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bartizan_evidence::binding;
use bartizan_evidence::cose::VerifierKeys;
use bartizan_evidence::lease::{Claims, Status, verify};
use bartizan_evidence::order::{self, Order};
use bartizan_model::config::Der;
use bartizan_model::identity::Log;
use bartizan_model::ids::{NodeId, Nonce};
use bartizan_model::lifecycle::Lifecycle;
use bartizan_model::message::{ControlToEngine, EngineToControl, LeaseRefusal};
use bartizan_model::policy::Policy;
use bartizan_netconf::server::{Finding, Gateway, Heard, Inquiry, Session};
use bartizan_netconf::{LogPart, SessionId};
use bartizan_tls::{Identity, accept, server};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::owner::{LIMIT, Owner};
use crate::tpm::Tpm;

/// What the controller did.
#[derive(Debug)]
pub(crate) enum Done {
    /// It asked for a quote.
    Challenged,
    /// It read a log.
    Read(Log),
    /// It gave a lease.
    Leased(Box<Claims>),
    /// It gave that lease this long after it had asked for the quote.
    Proved(Duration),
    Ordered(Box<Order>),
    /// It renewed the certificate.
    Renewed(Vec<Der>),
    /// It changed the policies to these.
    Edited(Vec<Policy>),
    /// The session is over.
    Ended,
}

/// How the gateway behaves, where it does not behave as it should.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ways {
    /// It shows the first quote again.
    pub(crate) replays: bool,
    /// It binds its quote to another session.
    pub(crate) unbound: bool,
    /// It shows a higher floor of rollback than its TPM's.
    pub(crate) flatters: bool,
    /// It takes so long over a quote.
    pub(crate) quotes_in: Duration,
}

/// A gateway on a thread of its own.
pub(crate) struct Played {
    pub(crate) done: Receiver<Done>,
    pub(crate) tpm: Arc<Mutex<Tpm>>,
}

impl Played {
    /// Calls home with the certificate of an enrolment.
    pub(crate) fn call_home(owner: &Owner, tpm: Tpm, ldevid: &[Der], ways: Ways) -> Self {
        let tpm = Arc::new(Mutex::new(tpm));
        Self::again(owner, tpm, ldevid, ways)
    }

    /// Calls home with the TPM of an earlier session.
    pub(crate) fn again(owner: &Owner, tpm: Arc<Mutex<Tpm>>, ldevid: &[Der], ways: Ways) -> Self {
        let (tell, done) = channel();
        let key = tpm.lock().unwrap().ldevid.serialize_der();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key));
        let identity = Identity::new(ldevid, any_supported_type(&key).unwrap()).unwrap();
        let (anchors, address) = (owner.anchors(), owner.home.unwrap());
        let keys = owner.verifier_keys();
        let engine = Engine {
            ways,
            keys,
            tell,
            tpm: Arc::clone(&tpm),
            nonce: 1,
            works: false,
            first: None,
            challenged: Instant::now(),
            edit: Vec::new(),
            running: Vec::new(),
        };
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let stream = TcpStream::connect(address).await.unwrap();
                let config = server(&identity, &anchors).unwrap();
                let tell = engine.tell.clone();
                if let Ok(met) = accept(stream, config, LIMIT).await {
                    let node = identity.node().clone();
                    engine.work(met.stream, met.channel_binding, node).await;
                }
                let _nobody_asks = tell.send(Done::Ended);
            });
        });
        Self { done, tpm }
    }

    /// The next thing of interest that the controller does.
    pub(crate) fn next<T>(&self, mut of_interest: impl FnMut(Done) -> Option<T>) -> T {
        loop {
            if let Some(found) = of_interest(self.done.recv_timeout(LIMIT).unwrap()) {
                return found;
            }
        }
    }

    /// The status of the next lease.
    pub(crate) fn leased(&self) -> Status {
        self.next(|done| match done {
            Done::Leased(claims) => Some(claims.status),
            _ => None,
        })
    }

    /// Waits for the end, without a lease that affirms before it.
    pub(crate) fn ended_without_a_lease(&self) {
        self.next(|done| match done {
            Done::Leased(claims) if claims.status == Status::Affirming => panic!("{claims:?}"),
            Done::Ended => Some(()),
            _ => None,
        });
    }
}

struct Engine {
    ways: Ways,
    keys: VerifierKeys,
    tell: Sender<Done>,
    tpm: Arc<Mutex<Tpm>>,
    nonce: u8,
    works: bool,
    first: Option<bartizan_model::identity::Quoted>,
    /// When a quote was asked for last.
    challenged: Instant,
    edit: Vec<ControlToEngine>,
    running: Vec<Policy>,
}

impl Engine {
    async fn work(
        mut self,
        mut stream: tokio_rustls::TlsStream<TcpStream>,
        channel: [u8; 32],
        node: NodeId,
    ) {
        let mut gateway = Gateway::new(node);
        gateway.entered(Lifecycle::Attesting);
        gateway.heard(self.nonce());
        let mut session = Session::new(SessionId(1));
        let mut chunk = vec![0; 64 * 1024];
        loop {
            self.carry(&mut gateway, &mut session, &channel);
            while !session.output().is_empty() {
                let Ok(sent) = stream.write(session.output()).await else {
                    return;
                };
                session.sent(sent);
                let _seen_at_the_next_write = stream.flush().await;
                self.carry(&mut gateway, &mut session, &channel);
            }
            let len = stream.read(&mut chunk).await.unwrap_or_default();
            if len == 0 {
                return;
            }
            session.receive(&chunk[..len]);
        }
    }

    fn carry(&mut self, gateway: &mut Gateway, session: &mut Session, channel: &[u8; 32]) {
        session.advance(gateway);
        loop {
            if let Some(order) = gateway.next_order() {
                for word in self.answer(order, gateway) {
                    let heard = gateway.heard(word);
                    Self::pass_on(heard, session);
                }
            } else if let Some(inquiry) = gateway.next_inquiry() {
                let finding = self.find(inquiry, channel);
                let heard = gateway.found(Ok(finding), Duration::ZERO);
                Self::pass_on(heard, session);
            } else {
                return;
            }
            session.advance(gateway);
        }
    }

    fn pass_on(heard: Heard, session: &mut Session) {
        if let Some(verdict) = heard.verdict {
            session.answer(verdict);
        }
    }

    fn find(&mut self, inquiry: Inquiry, channel: &[u8; 32]) -> Finding {
        let mut tpm = self.tpm.lock().unwrap();
        match inquiry {
            Inquiry::Quote { nonce, bound, pcrs } => {
                self.challenged = Instant::now();
                let _nobody_asks = self.tell.send(Done::Challenged);
                let channel = if self.ways.unbound { [9; 32] } else { *channel };
                let bound = binding::attest(&nonce, &channel, &bound.unwrap().0);
                let mut floors = tpm.floors;
                let qualifying = binding::floors(&bound, &floors);
                let mut quoted = tpm.quote(&qualifying, pcrs);
                // That time passes is what is tested.
                std::thread::sleep(self.ways.quotes_in);
                if self.ways.replays {
                    quoted = self.first.get_or_insert(quoted).clone();
                }
                if self.ways.flatters {
                    floors.rollback = Some(9);
                }
                Finding::Quoted {
                    quoted: Box::new(quoted),
                    floors: Some(floors),
                }
            }
            Inquiry::Log { log, offset } => {
                if offset == 0 {
                    let _nobody_asks = self.tell.send(Done::Read(log));
                }
                let bytes = match log {
                    Log::Firmware => tpm.boot.log.clone(),
                    Log::Userspace | Log::Ima => Vec::new(),
                };
                let size = u32::try_from(bytes.len()).unwrap();
                let bytes = bytes
                    .get(usize::try_from(offset).unwrap()..)
                    .unwrap_or_default();
                Finding::Log(LogPart {
                    offset,
                    bytes: bytes.to_vec(),
                    size,
                })
            }
            Inquiry::Ldevid(chain) => {
                let _nobody_asks = self.tell.send(Done::Renewed(chain));
                Finding::Ldevid
            }
        }
    }

    fn nonce(&self) -> EngineToControl {
        EngineToControl::LeaseNonce(Nonce([self.nonce; 32]))
    }

    fn answer(&mut self, order: ControlToEngine, gateway: &mut Gateway) -> Vec<EngineToControl> {
        match order {
            ControlToEngine::Lease(lease) => {
                let claims = verify(&lease, &self.keys).unwrap();
                assert_eq!(claims.nonce, Nonce([self.nonce; 32]));
                self.nonce = self.nonce.wrapping_add(1);
                let (status, lives) = (claims.status, claims.lifetime());
                let _nobody_asks = self.tell.send(Done::Leased(Box::new(claims)));
                let took = self.challenged.elapsed();
                let _nobody_asks = self.tell.send(Done::Proved(took));
                if status != Status::Affirming {
                    gateway.entered(Lifecycle::Quarantined);
                    return vec![
                        EngineToControl::LeaseRefused(LeaseRefusal::Status),
                        self.nonce(),
                    ];
                }
                if !self.works {
                    self.works = true;
                    gateway.entered(Lifecycle::Attested);
                }
                vec![EngineToControl::LeaseAccepted(lives), self.nonce()]
            }
            ControlToEngine::Order(signed) => {
                let order = order::verify(&signed, &self.keys).unwrap();
                assert_eq!(order.nonce, Nonce([self.nonce; 32]));
                let _nobody_asks = self.tell.send(Done::Ordered(Box::new(order)));
                vec![EngineToControl::OrderAccepted]
            }
            ControlToEngine::BeginEdit(_) | ControlToEngine::BeginRestore(_) => {
                self.edit.clear();
                Vec::new()
            }
            ControlToEngine::CommitEdit(edit) => {
                for part in std::mem::take(&mut self.edit) {
                    match part {
                        ControlToEngine::Put(policy) => self.running.push(*policy),
                        ControlToEngine::Remove(name) => {
                            self.running.retain(|policy| policy.name != name);
                        }
                        other => panic!("{other:?} in an edit"),
                    }
                }
                let _nobody_asks = self.tell.send(Done::Edited(self.running.clone()));
                vec![EngineToControl::EditAccepted(edit)]
            }
            part => {
                self.edit.push(part);
                Vec::new()
            }
        }
    }
}
