//! I1 to I7 of ARCHITECTURE.md, looked at from outside: in the kernels, in the messages, in the
//! leases that the verifier gave.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use bartizan_core::{SETTLE, wheel::GENERATIONS_MAX};
use bartizan_model::ids::{Nonce, Reqid};
use bartizan_model::message::{EngineToXfrm, PeerMessage, SaId, SaInstall};
use bartizan_model::policy::Direction;
use bartizan_model::report::TunnelState;

use crate::gateway::Gateway;
use crate::kernel::Fate;
use crate::policies::host;
use crate::world::World;

/// What has been seen so far.
#[derive(Debug, Default)]
pub(crate) struct Invariants {
    /// Every key that was handed to a kernel, and how often by which gateway for which direction.
    keys: BTreeMap<Vec<u8>, BTreeSet<(usize, Direction)>>,
    /// Since when two outbound SAs stand.
    two_senders: BTreeMap<(usize, Reqid), Duration>,
    /// Where the controller took a tunnel out at one end: the other may still send.
    excused: BTreeSet<(usize, Reqid)>,
    /// Gateways that take their SAs out at once, by verdict or order, until they begin again.
    condemned: BTreeSet<usize>,
    /// The inbound SAs that they took out so: the other ends may still send under these, until they
    /// hear of it or their hard lifetimes end, and under no other.
    taken_out: BTreeSet<SaId>,
    /// Tunnels whose ends lie to each other: what they send under is their own trouble.
    liars: BTreeSet<Reqid>,
    leases: BTreeMap<(usize, Nonce), Duration>,
    /// Kernels that were given faults may need longer for a removal.
    pub(crate) patience: Duration,
    /// The gateways that have reported another state.
    reported: BTreeSet<usize>,
    /// How many SAs that send each kernel was given.
    pub(crate) senders: [u64; 2],
    /// How often each was looked at.
    pub(crate) looked: [u64; 8],
}

/// For the kernel to be told, and to answer, beside the settling itself.
const KERNEL_TIME: Duration = Duration::from_secs(1);

impl Invariants {
    pub(crate) fn check(&mut self, world: &World) {
        for who in [0, 1] {
            if self.condemned.contains(&who) {
                let sas = world.gateways[who].kernel.sas.values();
                let inbound = sas.filter(|sa| sa.install.direction == Direction::Inbound);
                self.taken_out.extend(inbound.map(|sa| sa.install.id));
            }
        }
        for who in [0, 1] {
            self.i1_i2(world, who);
            self.i3(world, who);
            self.i4(world, who);
            self.i6(world, who);
            self.i7_at_rest(world, who);
        }
    }

    /// I1: whoever sends under an epoch has a peer whose inbound stands. I2: under the same key.
    fn i1_i2(&mut self, world: &World, who: usize) {
        let (own, peer) = (&world.gateways[who], &world.gateways[1 - who]);
        for sa in own.kernel.sas.values() {
            if sa.install.direction != Direction::Outbound {
                continue;
            }
            self.looked[1] += 1;
            let counterpart = peer.kernel.sas.get(&sa.install.id);
            let counterpart = counterpart.filter(|sa| sa.install.direction == Direction::Inbound);
            match counterpart {
                Some(counterpart) => {
                    self.looked[2] += 1;
                    assert!(
                        counterpart.key == sa.key,
                        "I2: the keys of {:?} differ at {:?}",
                        sa.install.id,
                        world.now
                    );
                }
                None => assert!(
                    self.liars.contains(&sa.install.reqid)
                        || self.taken_out.contains(&sa.install.id)
                        || self.excused.contains(&(1 - who, sa.install.reqid)),
                    "I1: {} sends under {:?}, which its peer does not take, at {:?}",
                    own.node,
                    sa.install.id,
                    world.now
                ),
            }
        }
        // What its peer sends no more is no excuse any more.
        let sends: BTreeSet<Reqid> = own
            .kernel
            .sas
            .values()
            .filter(|sa| sa.install.direction == Direction::Outbound)
            .map(|sa| sa.install.reqid)
            .collect();
        self.excused
            .retain(|(excused, reqid)| *excused == who || sends.contains(reqid));
    }

    /// I3: at most three generations, one sends.
    fn i3(&mut self, world: &World, who: usize) {
        let mut counts: BTreeMap<(Reqid, Direction), usize> = BTreeMap::new();
        for sa in world.gateways[who].kernel.sas.values() {
            let at = (sa.install.reqid, sa.install.direction);
            *counts.entry(at).or_default() += 1;
        }
        // Nobody can take the older one out while no engine runs.
        let runs = world.gateways[who].engine.is_some();
        self.two_senders.retain(|(gateway, reqid), _| {
            let still = counts.get(&(*reqid, Direction::Outbound)) == Some(&2);
            *gateway != who || (runs && still)
        });
        for ((reqid, direction), count) in counts {
            self.looked[3] += 1;
            assert!(
                count <= GENERATIONS_MAX,
                "I3: {count} generations of {reqid}"
            );
            if direction == Direction::Outbound && count > 1 {
                assert!(count == 2, "I3: {count} senders of {reqid}");
                let since = self.two_senders.get(&(who, reqid)).copied();
                let since = since.unwrap_or(world.now);
                if runs {
                    self.two_senders.insert((who, reqid), since);
                }
                assert!(
                    world.now - since <= SETTLE + KERNEL_TIME + self.patience,
                    "I3: two generations of {reqid} send since {since:?}"
                );
            }
        }
    }

    /// I4: no key outlives the acknowledgement of the outbound SA. Looked at whenever a state has
    /// changed: an engine whose tunnels have nothing coming up has no secret at all, wherever it may
    /// be.
    fn i4(&mut self, world: &World, who: usize) {
        let gateway = &world.gateways[who];
        let (true, Some(engine)) = (self.reported.remove(&who), &gateway.engine) else {
            return;
        };
        let quiet = gateway
            .reports
            .values()
            .all(|report| matches!(report.state, TunnelState::Protected | TunnelState::Blocked));
        if quiet {
            self.looked[4] += 1;
            assert!(
                !format!("{engine:?}").contains("Secret("),
                "I4: {} holds a secret for nothing at {:?}",
                gateway.node,
                world.now
            );
        }
    }

    pub(crate) fn reported(&mut self, who: usize) {
        self.reported.insert(who);
    }

    /// I6: no event order reaches clear traffic.
    fn i6(&mut self, world: &World, who: usize) {
        let gateway = &world.gateways[who];
        // Of thousands a few at a time.
        let first = usize::try_from(world.events).unwrap() % gateway.running.len().max(1);
        for policy in gateway.running.values().cycle().skip(first).take(8) {
            if policy.direction == Direction::Outbound {
                self.looked[6] += 1;
                let tunnel = u32::from(policy.reqid);
                let fate = gateway
                    .kernel
                    .output(host(who, tunnel), host(1 - who, tunnel));
                assert!(fate != Fate::Clear, "I6: clear traffic of {}", gateway.node);
            }
        }
    }

    /// I7, second half: no SA's hard lifetime passes a lease's end.
    fn i7_at_rest(&mut self, world: &World, who: usize) {
        let (own, peer) = (&world.gateways[who], &world.gateways[1 - who]);
        for sa in own.kernel.sas.values() {
            self.looked[7] += 1;
            let own_end = self.law_end(who);
            assert!(
                sa.end <= own_end,
                "I7: {:?} ends at {:?}, after the lease at {own_end:?}",
                sa.install.id,
                sa.end
            );
            assert!(
                sa.end <= peer.owner_end,
                "I7: {:?} ends at {:?}, after the peer's lease at {:?}",
                sa.install.id,
                sa.end,
                peer.owner_end
            );
        }
    }

    /// I7, first half: nothing is installed, extended, fetched or derived without live leases.
    pub(crate) fn order(
        &mut self,
        gateways: &[Gateway; 2],
        who: usize,
        now: Duration,
        order: &EngineToXfrm,
    ) {
        if let EngineToXfrm::InstallSa { .. } | EngineToXfrm::ExtendSa { .. } = order {
            self.live(gateways, who, now, "installs");
        }
    }

    pub(crate) fn fetch(&mut self, gateways: &[Gateway; 2], who: usize, now: Duration) {
        self.live(gateways, who, now, "fetches");
    }

    pub(crate) fn say(
        &mut self,
        gateways: &[Gateway; 2],
        who: usize,
        now: Duration,
        message: &PeerMessage,
    ) {
        if let PeerMessage::Confirm { .. } = message {
            self.live(gateways, who, now, "derives");
        }
    }

    fn live(&mut self, gateways: &[Gateway; 2], who: usize, now: Duration, does: &str) {
        self.looked[0] += 1;
        assert!(
            now < gateways[who].lease_end && now < self.law_end(who),
            "I7: {} {does} without a lease",
            gateways[who].node
        );
        assert!(
            now < gateways[1 - who].owner_end,
            "I7: {} {does} though its peer has no lease",
            gateways[who].node
        );
    }

    /// By the law: when the nonce of its latest lease was made, and the lease's length.
    fn law_end(&self, who: usize) -> Duration {
        let of = self
            .leases
            .range((who, Nonce([0; 32]))..=(who, Nonce([0xff; 32])));
        of.map(|(_, end)| *end).max().unwrap_or_default()
    }

    pub(crate) fn issued(&mut self, who: usize, nonce: Nonce, end: Duration) {
        self.leases.insert((who, nonce), end);
    }

    /// A key is handed over at most once a direction, and the two directions never share one.
    pub(crate) fn install(&mut self, who: usize, sa: &SaInstall, key: &[u8]) {
        assert_eq!(key.len(), sa.suite.key_len());
        if sa.direction == Direction::Outbound {
            self.senders[who] += 1;
        }
        let users = self.keys.entry(key.to_vec()).or_default();
        assert!(
            users.insert((who, sa.direction)),
            "I2: a key was handed over twice"
        );
        let one_way = [(who, sa.direction), (1 - who, other(sa.direction))];
        assert!(
            users.iter().all(|user| one_way.contains(user)),
            "I2: both directions share a key"
        );
    }

    /// The controller took a tunnel out at one end.
    pub(crate) fn withdrawn(&mut self, who: usize, tunnel: u32) {
        self.excused.insert((who, tunnel.try_into().unwrap()));
    }

    /// From now on somebody lies about this tunnel.
    pub(crate) fn excuse_all(&mut self, tunnel: u32) {
        self.liars.insert(tunnel.try_into().unwrap());
    }

    /// A verdict or an order makes a gateway take its SAs out at once.
    pub(crate) fn condemned(&mut self, who: usize) {
        self.condemned.insert(who);
    }

    /// All of a gateway's roles begin again.
    pub(crate) fn begins_again(&mut self, who: usize) {
        self.condemned.remove(&who);
    }
}

fn other(direction: Direction) -> Direction {
    match direction {
        Direction::Inbound => Direction::Outbound,
        Direction::Outbound => Direction::Inbound,
    }
}
