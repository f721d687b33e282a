//! A steady flow both ways, judged packet by packet.

use core::time::Duration;

use bartizan_model::message::SaId;
use bartizan_model::policy::Direction;

use crate::kernel::Fate;
use crate::policies::host;
use crate::world::{Event, World, micros};

#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// The tunnel whose networks speak, if they do.
    pub(crate) tunnel: Option<u32>,
    pub(crate) interval: Duration,
    /// Under which the kernel encrypted, and what came out at the other end.
    pub(crate) sent: u64,
    pub(crate) arrived: u64,
    /// For want of an SA at the sender, or of its counterpart at the receiver.
    pub(crate) unsent: u64,
    pub(crate) lost: u64,
    pub(crate) clear: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Packet {
    to: usize,
    sa: SaId,
    key: Vec<u8>,
}

impl World {
    /// Lets the networks behind this tunnel speak from now on.
    pub(crate) fn flow(&mut self, tunnel: u32, interval: Duration) {
        self.traffic = Traffic {
            tunnel: Some(tunnel),
            interval,
            ..Traffic::default()
        };
        self.at(Duration::ZERO, Event::Send(0));
        self.at(interval / 2, Event::Send(1));
    }

    /// The last packets arrive; no more are sent.
    pub(crate) fn ebb(&mut self) {
        self.traffic.tunnel = None;
        self.run(Duration::from_secs(1));
    }

    pub(crate) fn send_packet(&mut self, from: usize) {
        let Some(tunnel) = self.traffic.tunnel else {
            return;
        };
        self.at(self.traffic.interval, Event::Send(from));
        let kernel = &self.gateways[from].kernel;
        match kernel.output(host(from, tunnel), host(1 - from, tunnel)) {
            Fate::Clear => self.traffic.clear += 1,
            Fate::Dropped => self.traffic.unsent += 1,
            Fate::Protected(sa) => {
                self.traffic.sent += 1;
                let key = kernel.sas[&sa].key.clone();
                let to = 1 - from;
                // Packets overtake each other and the words about them.
                let most = 4 * micros(self.weather.network);
                let wait = Duration::from_micros(self.rng.below(most));
                self.at(wait, Event::Arrive(Packet { to, sa, key }));
            }
        }
    }

    pub(crate) fn arrive(&mut self, packet: &Packet) {
        let sas = &self.gateways[packet.to].kernel.sas;
        let taken = sas
            .get(&packet.sa)
            .is_some_and(|sa| sa.install.direction == Direction::Inbound && sa.key == packet.key);
        if taken {
            self.traffic.arrived += 1;
        } else {
            self.traffic.lost += 1;
        }
    }
}
