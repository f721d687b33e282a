//! The programmer of one gateway, driven as its process drives it.

use std::time::{Duration, Instant};

use bartizan_model::{
    config::XfrmConfig,
    ids::OrderId,
    message::{EngineToXfrm, SaId, SaInstall, SaListed, XfrmToEngine},
    policy::{Direction, Policy},
};
use bartizan_process::{Received, boot_time};
use bartizan_secret::Secret;
use bartizan_tests::testbed::{
    netns::Netns,
    topology::{Side, Topology},
};
use bartizan_xfrm::{Kernel, Programmer};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::orders::{Tunnel, config, key};

/// A gateway's programmer.
#[derive(Debug)]
pub(crate) struct Station {
    pub(crate) programmer: Programmer,
    next: u64,
}

impl Station {
    /// Does what the role does up to its first order.
    pub(crate) fn begin(namespace: &Netns, config: &XfrmConfig) -> Self {
        let mut programmer = namespace.enter(|| Programmer::block_all().unwrap());
        programmer.begin(config).unwrap();
        Self {
            programmer,
            next: 0,
        }
    }

    /// Both gateways'.
    pub(crate) fn begin_both(topology: &Topology) -> [Self; 2] {
        Side::BOTH.map(|side| Self::begin(&topology.side(side).gateway, &config(side)))
    }

    /// Carries out orders in one go.
    pub(crate) fn orders(&mut self, orders: Vec<(Make, Option<Secret>)>) -> Vec<XfrmToEngine> {
        let orders: Vec<_> = orders
            .into_iter()
            .map(|(make, secret)| {
                self.next += 1;
                Received {
                    message: make(OrderId(self.next)),
                    secret,
                    fd: None,
                }
            })
            .collect();
        self.programmer.carry_out(&orders)
    }

    /// Carries out one order that has one reply.
    pub(crate) fn order(&mut self, make: Make, secret: Option<Secret>) -> XfrmToEngine {
        let mut replies = self.orders(vec![(make, secret)]);
        assert_eq!(replies.len(), 1, "{replies:?}");
        replies.remove(0)
    }

    pub(crate) fn done(&mut self, make: Make, secret: Option<Secret>) {
        let reply = self.order(make, secret);
        assert_eq!(reply, XfrmToEngine::Done(OrderId(self.next)));
    }

    pub(crate) fn install(&mut self, sa: SaInstall) {
        let secret = key(sa.id.spi.into());
        self.done(install_sa(sa), Some(secret));
    }

    pub(crate) fn extend(&mut self, sa: SaInstall) -> XfrmToEngine {
        self.order(extend_sa(sa), None)
    }

    /// Both entries of a tunnel.
    pub(crate) fn protect(&mut self, side: Side, tunnel: Tunnel) {
        for direction in [Direction::Outbound, Direction::Inbound] {
            self.done(install_policy(tunnel.entry(side, direction)), None);
        }
    }

    /// The SAs that stand.
    pub(crate) fn list(&mut self) -> Vec<SaListed> {
        let replies = self.orders(vec![(
            Box::new(|order| EngineToXfrm::ListSas { order }),
            None,
        )]);
        let count = replies.len();
        let mut all = Vec::new();
        for (place, reply) in replies.into_iter().enumerate() {
            let XfrmToEngine::Listed { sas, last, .. } = reply else {
                panic!("{reply:?}");
            };
            assert!(sas.len() <= 32);
            assert_eq!(last, place + 1 == count);
            all.extend(sas);
        }
        all
    }

    pub(crate) fn stands(&mut self, id: SaId) -> bool {
        self.list().iter().any(|sa| sa.id == id)
    }

    /// Attends for `time`, and returns what there was to report, with the time since the call.
    pub(crate) fn attend_for(&mut self, time: Duration) -> Vec<(Duration, XfrmToEngine)> {
        let mut all = Vec::new();
        let started = Instant::now();
        while started.elapsed() < time {
            self.round(started + time);
            let reports = self.programmer.attend().unwrap();
            all.extend(
                reports
                    .into_iter()
                    .map(|report| (started.elapsed(), report)),
            );
        }
        all
    }

    /// Attends until something was reported.
    pub(crate) fn report(&mut self, limit: Duration) -> XfrmToEngine {
        let deadline = Instant::now() + limit;
        loop {
            let reports = self.programmer.attend().unwrap();
            if let Some(report) = reports.into_iter().next() {
                return report;
            }
            assert!(Instant::now() < deadline, "nothing to report");
            self.round(deadline);
        }
    }

    fn round(&self, deadline: Instant) {
        let mut rest = deadline.saturating_duration_since(Instant::now());
        if let Some(due) = self.programmer.deadline() {
            rest = rest.min(due.since(boot_time()));
        }
        let mut fds = self
            .programmer
            .descriptors()
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
        poll(&mut fds, Some(&Timespec::try_from(rest).unwrap())).unwrap();
    }
}

/// Makes an order of its number.
pub(crate) type Make = Box<dyn FnOnce(OrderId) -> EngineToXfrm>;

pub(crate) fn install_policy(policy: Policy) -> Make {
    Box::new(|order| EngineToXfrm::InstallPolicy {
        order,
        policy: Box::new(policy),
    })
}

pub(crate) fn remove_policy(policy: Policy) -> Make {
    Box::new(|order| EngineToXfrm::RemovePolicy {
        order,
        policy: Box::new(policy),
    })
}

pub(crate) fn install_sa(sa: SaInstall) -> Make {
    Box::new(|order| EngineToXfrm::InstallSa {
        order,
        sa: Box::new(sa),
    })
}

pub(crate) fn extend_sa(sa: SaInstall) -> Make {
    Box::new(|order| EngineToXfrm::ExtendSa {
        order,
        sa: Box::new(sa),
    })
}

pub(crate) fn remove_sa(sa: SaId) -> Make {
    Box::new(move |order| EngineToXfrm::RemoveSa { order, sa })
}

pub(crate) fn remove_all_sas() -> Make {
    Box::new(|order| EngineToXfrm::RemoveAllSas { order })
}

pub(crate) fn remove_other_policies() -> Make {
    Box::new(|order| EngineToXfrm::RemoveOtherPolicies { order })
}

/// A second way to ask the kernel of a namespace.
pub(crate) fn kernel(namespace: &Netns) -> Kernel {
    namespace.enter(|| Kernel::open().unwrap())
}
