//! A gateway that calls home: TLS and NETCONF as they ship, an engine that says what a test wants.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};

use bartizan_model::ids::{EditId, EntryName, Epoch, NodeId, Nonce, Spi};
use bartizan_model::lifecycle::Lifecycle;
use bartizan_model::message::{ControlToEngine, EditRefusal, EngineToControl};
use bartizan_model::policy::{Action, Combiner, Direction, ParameterSet, Policy};
use bartizan_model::report::{Mix, Notice, PairReport, SourceSet, TunnelReport, TunnelState};
use bartizan_model::time::BootTime;
use bartizan_netconf::server::{Gateway, Session};
use bartizan_netconf::{SessionId, UnixTime};
use bartizan_tls::{Anchors, Established, Identity, accept, server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::owner::{LIMIT, Owner};

/// How the engine behaves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Script {
    /// Tunnels stay without SAs until [`Played::establish`].
    pub(crate) slow: bool,
    /// Every edit is refused so.
    pub(crate) refuses_edits: Option<EditRefusal>,
}

/// What the controller did.
#[derive(Debug)]
pub(crate) enum Done {
    /// It gave something for a lease.
    Leased,
    /// An edit: how many entries it put and took out, and what stands now.
    Edited {
        put: usize,
        removed: usize,
        running: Vec<Policy>,
    },
    Ended,
}

/// A gateway on a thread of its own; gone when dropped.
pub(crate) struct Played {
    pub(crate) done: Receiver<Done>,
    say: UnboundedSender<Say>,
}

enum Say {
    Establish,
    Word(Box<EngineToControl>),
}

impl Played {
    /// Calls home as `node`, whose certificate the owner signed.
    pub(crate) fn call_home(owner: &Owner, node: &str, script: Script) -> Self {
        Self::call_home_as(owner, owner.identity(&[node]), script)
    }

    pub(crate) fn call_home_as(owner: &Owner, identity: Identity, script: Script) -> Self {
        let (say, heard) = unbounded_channel();
        let (tell, done) = channel();
        let (anchors, address) = (owner.ca.anchors(), owner.address);
        let engine = Engine::new(script, tell);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(engine.work(&identity, &anchors, address, heard));
        });
        Self { done, say }
    }

    /// The next thing of interest that the controller does.
    pub(crate) fn next<T>(&self, mut of_interest: impl FnMut(Done) -> Option<T>) -> T {
        loop {
            if let Some(found) = of_interest(self.done.recv_timeout(LIMIT).unwrap()) {
                return found;
            }
        }
    }

    /// Lets every tunnel have a new pair of SAs.
    pub(crate) fn establish(&self) {
        self.say.send(Say::Establish).unwrap();
    }

    pub(crate) fn say(&self, word: EngineToControl) {
        self.say.send(Say::Word(Box::new(word))).unwrap();
    }
}

/// Takes TLS as a gateway does: it dials, and is the server.
pub(crate) async fn dial(
    identity: &Identity,
    anchors: &Anchors,
    address: SocketAddr,
) -> Option<Established> {
    let stream = TcpStream::connect(address).await.ok()?;
    let config = server(identity, anchors).unwrap();
    accept(stream, config, LIMIT).await.ok()
}

struct Engine {
    script: Script,
    tell: Sender<Done>,
    running: BTreeMap<EntryName, Policy>,
    edit: Vec<ControlToEngine>,
    reports: BTreeMap<EntryName, TunnelReport>,
}

impl Engine {
    fn new(script: Script, tell: Sender<Done>) -> Self {
        Self {
            script,
            tell,
            running: BTreeMap::new(),
            edit: Vec::new(),
            reports: BTreeMap::new(),
        }
    }

    async fn work(
        mut self,
        identity: &Identity,
        anchors: &Anchors,
        address: SocketAddr,
        mut heard: UnboundedReceiver<Say>,
    ) {
        let Some(established) = dial(identity, anchors, address).await else {
            let _nobody_asks = self.tell.send(Done::Ended);
            return;
        };
        let mut stream = established.stream;
        let mut gateway = Gateway::new(NodeId::try_from(identity.node().as_str()).unwrap());
        gateway.entered(Lifecycle::Attesting);
        gateway.heard(EngineToControl::LeaseNonce(Nonce([1; 32])));
        let mut session = Session::new(SessionId(1));
        let mut chunk = vec![0; 64 * 1024];
        loop {
            self.carry_orders(&mut gateway, &mut session);
            while !session.output().is_empty() {
                let Ok(sent) = stream.write(session.output()).await else {
                    let _nobody_asks = self.tell.send(Done::Ended);
                    return;
                };
                session.sent(sent);
                let _seen_at_the_next_write = stream.flush().await;
                self.carry_orders(&mut gateway, &mut session);
            }
            tokio::select! {
                read = stream.read(&mut chunk) => {
                    let len = read.unwrap_or_default();
                    if len == 0 {
                        let _nobody_asks = self.tell.send(Done::Ended);
                        return;
                    }
                    session.receive(&chunk[..len]);
                }
                said = heard.recv() => match said {
                    None => return,
                    Some(Say::Establish) => {
                        for word in self.establish() {
                            Self::hear(&mut gateway, &mut session, word);
                        }
                    }
                    Some(Say::Word(word)) => Self::hear(&mut gateway, &mut session, *word),
                },
            }
        }
    }

    fn carry_orders(&mut self, gateway: &mut Gateway, session: &mut Session) {
        session.advance(gateway);
        while let Some(order) = gateway.next_order() {
            for word in self.answer(order) {
                Self::hear(gateway, session, word);
            }
            session.advance(gateway);
        }
    }

    fn hear(gateway: &mut Gateway, session: &mut Session, word: EngineToControl) {
        let heard = gateway.heard(word);
        if let Some(verdict) = heard.verdict {
            session.answer(verdict);
        }
        if let Some(notice) = heard.notice {
            session.notify(&notice, UnixTime(Duration::ZERO));
        }
    }

    fn answer(&mut self, order: ControlToEngine) -> Vec<EngineToControl> {
        match order {
            ControlToEngine::Lease(_) => {
                let _nobody_asks = self.tell.send(Done::Leased);
                Vec::new()
            }
            ControlToEngine::BeginEdit(_) | ControlToEngine::BeginRestore(_) => {
                self.edit.clear();
                Vec::new()
            }
            ControlToEngine::CommitEdit(id) => self.commit(id),
            part => {
                self.edit.push(part);
                Vec::new()
            }
        }
    }

    fn commit(&mut self, edit: EditId) -> Vec<EngineToControl> {
        if let Some(reason) = self.script.refuses_edits {
            let entry = EntryName::try_from("the entry").unwrap();
            return vec![EngineToControl::EditRefused {
                edit,
                entry,
                reason,
            }];
        }
        let (mut put, mut removed) = (0, 0);
        for part in std::mem::take(&mut self.edit) {
            match part {
                ControlToEngine::Put(policy) => {
                    put += 1;
                    self.running.insert(policy.name.clone(), *policy);
                }
                ControlToEngine::Remove(name) => {
                    removed += 1;
                    self.running.remove(&name);
                }
                other => panic!("{other:?} in an edit"),
            }
        }
        let mut running: Vec<_> = self.running.values().cloned().collect();
        running.sort_by_key(|policy| policy.priority);
        let _nobody_asks = self.tell.send(Done::Edited {
            put,
            removed,
            running,
        });
        let mut words = vec![EngineToControl::EditAccepted(edit)];
        if !self.script.slow {
            words.extend(self.establish());
        }
        words
    }

    /// A new generation for every tunnel.
    fn establish(&mut self) -> Vec<EngineToControl> {
        let mut words = Vec::new();
        for policy in self.running.values() {
            let (Action::Protect(protect), Direction::Outbound) =
                (&policy.action, policy.direction)
            else {
                continue;
            };
            let epoch = self.reports.get(&policy.name).map_or(1, |report| {
                report.current.as_ref().map_or(1, |pair| pair.epoch.0 + 1)
            });
            let spi = |base| Spi::try_from(base + u32::from(policy.reqid)).unwrap();
            let sources = SourceSet {
                qkd: false,
                kem: true,
                classical: false,
            };
            let pair = PairReport {
                epoch: Epoch(epoch),
                inbound: spi(0x1000_0000),
                outbound: spi(0x2000_0000),
                sources: Some(sources),
                since: BootTime::default(),
            };
            let report = TunnelReport {
                entry: policy.name.clone(),
                tunnel: protect.keying.tunnel,
                peer: protect.keying.peer.clone(),
                reqid: policy.reqid,
                state: TunnelState::Protected,
                current: Some(pair.clone()),
                rekeys: epoch - 1,
                alarm: None,
            };
            self.reports.insert(policy.name.clone(), report.clone());
            words.push(EngineToControl::Tunnel(Box::new(report)));
            words.push(EngineToControl::Notice(Box::new(Notice::Established {
                entry: policy.name.clone(),
                pair,
                mix: Mix {
                    sources,
                    parameter_set: Some(ParameterSet::MlKem768),
                    combiner: Combiner::Hmac,
                },
            })));
        }
        words
    }
}
