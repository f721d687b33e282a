//! Which connection is the link to which node: without I/O and clock.
//!
//! One end of a pair dials, the other listens; the engine says which. A node has at most one
//! connection that counts; an accepted one replaces the one before, for the dialling end knows
//! better which of the two is dead.

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use bartizan_model::ids::NodeId;
use bartizan_model::message::PeerLink;
use bartizan_model::time::BootTime;
use bartizan_tls::Backoff;

use crate::pace::Pace;

/// The most links; each may have a connection, and a process has 1024 descriptors.
pub(crate) const LINKS_MAX: usize = 512;
/// Attempts to dial at once; each takes a thread for its handshake.
pub(crate) const DIALS_MAX: usize = 8;
/// How long a node that talks nonsense is left alone.
pub(crate) const PENALTY: Duration = Duration::from_secs(30);
/// A connection that stood so long makes up for the failures before it.
const STABLE: Duration = Duration::from_secs(5);

const BACKOFF: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
/// How often a node may replace its own connection.
const ADOPTIONS: Pace = Pace::new(8, Duration::from_secs(1));

/// One connection among all there ever were, or one attempt to make one.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct ConnectionId(u64);

/// What the loop must do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Action {
    /// Open a connection to this node.
    Dial {
        id: ConnectionId,
        node: NodeId,
        address: SocketAddr,
    },
    /// End this connection, or the attempt to make it.
    Drop(ConnectionId),
    /// Tell the engine.
    Disconnected(NodeId),
}

/// Whether an accepted connection is taken for a link.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    /// It is; the one that it replaces is to be dropped.
    Adopted {
        id: ConnectionId,
        replaces: Option<ConnectionId>,
    },
    /// No tunnel needs this node.
    Unknown,
    /// It is ours to dial.
    OursToDial,
    /// It talked nonsense lately.
    Barred,
    /// It connects too often.
    TooOften,
}

/// How a connection or an attempt ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// The network, or the other end.
    Lost,
    /// By what the node said.
    Nonsense,
}

#[derive(Debug)]
struct Link {
    address: SocketAddr,
    dials: bool,
    state: State,
    backoff: Backoff,
    /// Not dialled and not adopted before.
    wait: BootTime,
    adoptions: Pace,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Down,
    Dialling(ConnectionId),
    Up { id: ConnectionId, since: BootTime },
}

/// All links.
#[derive(Debug, Default)]
pub(crate) struct Links {
    links: BTreeMap<NodeId, Link>,
    last: u64,
}

/// More links than there may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct TooMany;

impl Links {
    /// The engine wants this link; another word on the same node ends what stands.
    ///
    /// # Errors
    ///
    /// [`TooMany`].
    pub(crate) fn want(&mut self, wanted: PeerLink) -> Result<Vec<Action>, TooMany> {
        let PeerLink {
            node,
            address,
            dials,
        } = wanted;
        let mut actions = Vec::new();
        if let Some(link) = self.links.get_mut(&node) {
            if (link.address, link.dials) != (address, dials) {
                link.end(&node, &mut actions);
                (link.address, link.dials) = (address, dials);
            }
            return Ok(actions);
        }
        if self.links.len() >= LINKS_MAX {
            return Err(TooMany);
        }
        let link = Link {
            address,
            dials,
            state: State::Down,
            backoff: BACKOFF,
            wait: BootTime::default(),
            adoptions: ADOPTIONS,
        };
        self.links.insert(node, link);
        Ok(actions)
    }

    /// The engine needs this link no more.
    pub(crate) fn unwant(&mut self, node: &NodeId) -> Vec<Action> {
        let mut actions = Vec::new();
        if let Some(mut link) = self.links.remove(node) {
            link.end(node, &mut actions);
        }
        actions
    }

    /// The node talks nonsense: its connection ends, and the next is not made or taken for a while.
    pub(crate) fn bar(&mut self, node: &NodeId, now: BootTime) -> Vec<Action> {
        let mut actions = Vec::new();
        if let Some(link) = self.links.get_mut(node) {
            link.end(node, &mut actions);
            link.wait = now.after(PENALTY);
        }
        actions
    }

    /// What is to be dialled now.
    pub(crate) fn dial(&mut self, now: BootTime) -> Vec<Action> {
        let mut dialling = self
            .links
            .values()
            .filter(|link| link.is_dialling())
            .count();
        let mut actions = Vec::new();
        // Whoever waits longest comes first, so that the dead do not stand before the living.
        let mut due: Vec<_> = self
            .links
            .iter_mut()
            .filter(|(_, link)| link.is_due(now))
            .collect();
        due.sort_by_key(|(_, link)| link.wait);
        for (node, link) in due {
            if dialling >= DIALS_MAX {
                break;
            }
            dialling = dialling.saturating_add(1);
            self.last = self.last.saturating_add(1);
            let id = ConnectionId(self.last);
            link.state = State::Dialling(id);
            actions.push(Action::Dial {
                id,
                node: node.clone(),
                address: link.address,
            });
        }
        actions
    }

    /// An attempt succeeded; false if it is wanted no more and is to be dropped.
    pub(crate) fn dialled(&mut self, id: ConnectionId, node: &NodeId, now: BootTime) -> bool {
        match self.links.get_mut(node) {
            Some(link) if link.state == State::Dialling(id) => {
                link.state = State::Up { id, since: now };
                true
            }
            _ => false,
        }
    }

    /// A node connected to us and proved who it is.
    pub(crate) fn accepted(&mut self, node: &NodeId, now: BootTime) -> Verdict {
        let Some(link) = self.links.get_mut(node) else {
            return Verdict::Unknown;
        };
        if link.dials {
            return Verdict::OursToDial;
        }
        if now < link.wait {
            return Verdict::Barred;
        }
        if link.adoptions.take(now).is_err() {
            return Verdict::TooOften;
        }
        let replaces = link.connection();
        self.last = self.last.saturating_add(1);
        let id = ConnectionId(self.last);
        link.state = State::Up { id, since: now };
        Verdict::Adopted { id, replaces }
    }

    /// A connection or an attempt of this node ended; one that does not count any more may end in
    /// silence.
    pub(crate) fn ended(
        &mut self,
        id: ConnectionId,
        node: &NodeId,
        end: End,
        now: BootTime,
        entropy: u32,
    ) -> Vec<Action> {
        let Some(link) = self.links.get_mut(node) else {
            return Vec::new();
        };
        if link.connection() != Some(id) {
            return Vec::new();
        }
        let mut actions = Vec::new();
        if let State::Up { since, .. } = link.state {
            actions.push(Action::Disconnected(node.clone()));
            if now.since(since) >= STABLE {
                link.backoff.succeeded();
            }
        }
        link.state = State::Down;
        let wait = match end {
            End::Nonsense => PENALTY,
            End::Lost if link.dials => link.backoff.failed(entropy),
            End::Lost => Duration::ZERO,
        };
        link.wait = now.after(wait);
        actions
    }

    /// The connection of a node, if it stands.
    pub(crate) fn connection_of(&self, node: &NodeId) -> Option<ConnectionId> {
        match self.links.get(node)?.state {
            State::Up { id, .. } => Some(id),
            State::Down | State::Dialling(_) => None,
        }
    }

    /// Whether a node that may connect to us lives at this address.
    pub(crate) fn expects(&self, source: IpAddr) -> bool {
        let source = source.to_canonical();
        self.links
            .values()
            .any(|link| !link.dials && link.address.ip().to_canonical() == source)
    }

    /// When [`Links::dial`] has something to do without an event.
    pub(crate) fn deadline(&self) -> Option<BootTime> {
        if self
            .links
            .values()
            .filter(|link| link.is_dialling())
            .count()
            >= DIALS_MAX
        {
            return None;
        }
        self.links
            .values()
            .filter(|link| link.dials && link.state == State::Down)
            .map(|link| link.wait)
            .min()
    }
}

impl Link {
    fn connection(&self) -> Option<ConnectionId> {
        match self.state {
            State::Down => None,
            State::Dialling(id) | State::Up { id, .. } => Some(id),
        }
    }

    fn is_dialling(&self) -> bool {
        matches!(self.state, State::Dialling(_))
    }

    fn is_due(&self, now: BootTime) -> bool {
        self.dials && self.state == State::Down && self.wait <= now
    }

    fn end(&mut self, node: &NodeId, actions: &mut Vec<Action>) {
        actions.extend(self.connection().map(Action::Drop));
        if matches!(self.state, State::Up { .. }) {
            actions.push(Action::Disconnected(node.clone()));
        }
        self.state = State::Down;
    }
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "an overflow fails the test, as it should"
)]
mod tests;
