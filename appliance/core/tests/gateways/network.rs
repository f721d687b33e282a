//! The connection of the pair: ordered, lossy only as a whole.

use core::time::Duration;

use bartizan_core::exchange::Input;
use bartizan_model::ids::NodeId;
use bartizan_model::message::{EngineToPeer, PeerMessage, PeerToEngine};

use crate::policies::node;
use crate::world::{Event, World, micros};

/// The connection of the pair.
#[derive(Debug, Default)]
pub(crate) struct Link {
    pub(crate) number: u64,
    pub(crate) up: bool,
    connecting: bool,
    pub(crate) wanted: [bool; 2],
    /// The connection that each end believes in.
    pub(crate) known: [Option<u64>; 2],
    delivered: [Duration; 2],
}

impl World {
    pub(crate) fn order_peer(&mut self, who: usize, order: EngineToPeer) {
        match order {
            EngineToPeer::Link(_) => {
                self.link.wanted[who] = true;
                self.try_connect();
            }
            EngineToPeer::Unlink(_) => {
                self.link.wanted[who] = false;
                self.cut();
            }
            EngineToPeer::Send { to, message } => {
                assert_eq!(to, node(1 - who));
                self.invariants.say(&self.gateways, who, self.now, &message);
                self.said.push((who, (*message).clone()));
                if self.cut_at == Some(self.said.len() - 1) {
                    self.cut();
                    return;
                }
                let lease = matches!(*message, PeerMessage::Lease(_));
                if lease && self.refuse_leases_of == Some(who) {
                    return;
                }
                let number = self.link.number;
                if self.link.up && self.link.known[who] == Some(number) {
                    let took = Duration::from_micros(self.rng.below(micros(self.weather.network)));
                    let at = self.link.delivered[1 - who].max(self.now + took);
                    self.link.delivered[1 - who] = at;
                    self.at(at - self.now, Event::Deliver(1 - who, number, *message));
                }
            }
            EngineToPeer::Close(_) => {
                self.gateways[who].closed += 1;
                self.cut();
            }
        }
    }

    pub(crate) fn try_connect(&mut self) {
        let idle = !self.link.up && !self.link.connecting;
        if idle && self.link.wanted == [true; 2] && self.link.known == [None; 2] {
            self.link.connecting = true;
            let wait = Duration::from_micros(self.rng.below(micros(self.weather.reconnect)));
            self.at(wait, Event::Connect);
        }
    }

    pub(crate) fn connect(&mut self) {
        self.link.connecting = false;
        if self.link.wanted != [true; 2] || self.link.known != [None; 2] {
            return self.try_connect();
        }
        self.link.number += 1;
        self.link.up = true;
        let number = self.link.number;
        for who in [0, 1] {
            let wait = Duration::from_micros(self.rng.below(micros(self.weather.network)));
            self.link.delivered[who] = self.now + wait;
            self.at(wait, Event::Linked(who, number));
        }
    }

    pub(crate) fn linked(&mut self, who: usize, number: u64) {
        if self.link.up && self.link.number == number && self.link.wanted[who] {
            self.link.known[who] = Some(number);
            let (node, ldevid) = (node(1 - who), self.gateways[1 - who].ldevid);
            let input = Input::Peer(PeerToEngine::Connected { node, ldevid });
            self.handle(who, input);
        }
    }

    pub(crate) fn cut(&mut self) {
        if !core::mem::take(&mut self.link.up) {
            return self.try_connect();
        }
        let number = self.link.number;
        for who in [0, 1] {
            let wait = Duration::from_micros(self.rng.below(micros(self.weather.notice)));
            self.at(wait, Event::Unlinked(who, number));
        }
    }

    pub(crate) fn unlinked(&mut self, who: usize, number: u64) {
        if self.link.known[who] == Some(number) {
            self.link.known[who] = None;
            let input = Input::Peer(PeerToEngine::Disconnected(node(1 - who)));
            self.handle(who, input);
        }
        self.try_connect();
    }

    pub(crate) fn deliver(&mut self, to: usize, number: u64, message: PeerMessage) {
        if self.link.up && self.link.number == number && self.link.known[to] == Some(number) {
            let from: NodeId = node(1 - to);
            let message = Box::new(message);
            self.handle(to, Input::Peer(PeerToEngine::Received { from, message }));
        }
    }
}
