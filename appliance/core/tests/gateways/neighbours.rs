//! The engine's neighbours: they carry out what it orders, and hand on what they hear.

use core::time::Duration;

use bartizan_core::exchange::{Input, Output};
use bartizan_model::ids::OrderId;
use bartizan_model::message::{
    EngineToControl, EngineToQkd, EngineToXfrm, LeaseRefusal, RoleToSupervisor, XfrmToEngine,
};

use crate::gateway::KernelFault;
use crate::world::{Event, World, micros};

impl World {
    /// Takes everything that the engine has to say.
    pub(crate) fn pump(&mut self, who: usize) {
        loop {
            let gateway = &mut self.gateways[who];
            let (boot, room) = (gateway.boot(self.now), gateway.room);
            let engine = gateway.engine.as_mut();
            let Some(output) = engine.and_then(|engine| engine.poll_output(boot, room)) else {
                return;
            };
            self.route(who, output);
        }
    }

    pub(crate) fn route(&mut self, who: usize, output: Output) {
        let life = self.gateways[who].life;
        match output {
            Output::Xfrm(order, key) => {
                self.invariants.order(&self.gateways, who, self.now, &order);
                self.gateways[who].outstanding += 1;
                let most = &mut self.gateways[who].most_outstanding;
                *most = self.gateways[who].outstanding.max(*most);
                let took = Duration::from_micros(self.rng.below(micros(self.weather.kernel)));
                let at = self.gateways[who].xfrm_free.max(self.now) + took;
                self.gateways[who].xfrm_free = at;
                let key = key.map(|key| key.expose().to_vec());
                self.at(at - self.now, Event::Execute(who, life, order, key));
            }
            Output::Qkd(order) => {
                if matches!(
                    order,
                    EngineToQkd::NewKey { .. } | EngineToQkd::SameKey { .. }
                ) {
                    self.invariants.fetch(&self.gateways, who, self.now);
                }
                let took = Duration::from_micros(self.rng.below(micros(self.weather.kme)));
                if let Some((reply, key)) = self.kmes.ask(who, &order, &mut self.rng) {
                    let input = Input::Qkd(reply, key);
                    self.at(took, Event::Engine(who, life, input));
                }
            }
            Output::Peer(order) => self.order_peer(who, order),
            Output::Control(message) => self.hear_control(who, message),
            Output::Supervisor(message) => self.hear_supervisor(who, message),
        }
    }

    pub(crate) fn hear_control(&mut self, who: usize, message: EngineToControl) {
        let now = self.now;
        let life = self.gateways[who].life;
        let gateway = &mut self.gateways[who];
        match message {
            EngineToControl::LeaseNonce(nonce) => {
                if gateway.nonce.is_none_or(|(known, _)| known != nonce) {
                    gateway.nonce = Some((nonce, now));
                }
            }
            EngineToControl::EditAccepted(id) => {
                for (name, policy) in gateway.staged.remove(&id).unwrap_or_default() {
                    match policy {
                        Some(policy) => gateway.running.insert(name, policy),
                        None => gateway.running.remove(&name),
                    };
                }
            }
            EngineToControl::EditRefused {
                edit,
                entry,
                reason,
            } => {
                gateway.staged.remove(&edit);
                gateway.edit_refusals.push((entry, reason));
            }
            EngineToControl::LeaseAccepted(lives) => {
                gateway.lease_end = gateway.lease_end.max(now + lives);
                if !gateway.room.peer {
                    self.at(Duration::from_millis(20), Event::Grant(who, life));
                }
            }
            EngineToControl::LeaseRefused(refusal) => {
                gateway.lease_refusals.push(refusal);
                if refusal == LeaseRefusal::Status {
                    self.invariants.condemned(who);
                }
                self.at(Duration::from_secs(2), Event::Attest(who, life));
            }
            EngineToControl::Tunnel(report) => {
                self.invariants.reported(who);
                gateway.reports.insert(report.reqid, *report);
            }
            EngineToControl::TunnelGone(reqid) => {
                gateway.reports.remove(&reqid);
            }
            EngineToControl::OrderAccepted => {
                gateway.orders.push(Ok(()));
                gateway.lease_end = Duration::ZERO;
                self.invariants.condemned(who);
            }
            EngineToControl::OrderRefused(refusal) => gateway.orders.push(Err(refusal)),
            EngineToControl::Qkd(_) | EngineToControl::QkdGone(_) => {}
            EngineToControl::Notice(notice) => gateway.notices.push(*notice),
        }
    }

    pub(crate) fn hear_supervisor(&mut self, who: usize, message: RoleToSupervisor) {
        match message {
            RoleToSupervisor::LeaseLost => {
                self.gateways[who].lost += 1;
                assert!(
                    self.gateways[who].kernel.sas.is_empty(),
                    "the lease is lost, and SAs stand"
                );
                // The supervisor ends, and systemd starts everything again.
                self.restart(who, Duration::from_secs(2));
            }
            RoleToSupervisor::Ordered(farewell) => {
                let gateway = &mut self.gateways[who];
                assert_eq!(gateway.orders.last(), Some(&Ok(())));
                assert!(
                    gateway.kernel.sas.is_empty(),
                    "the ownership is over, and SAs stand"
                );
                gateway.farewells.push(farewell);
                // It has an owner again before long.
                self.restart(who, Duration::from_secs(2));
            }
            RoleToSupervisor::Counted { name, total } => {
                self.gateways[who].counters.insert(name, total);
            }
            RoleToSupervisor::PolicyInForce(in_force) => self.gateways[who].in_force = in_force,
            RoleToSupervisor::LockedDown(_)
            | RoleToSupervisor::Versions(_)
            | RoleToSupervisor::Overdue
            | RoleToSupervisor::LeaseAccepted(_)
            | RoleToSupervisor::OwnerTime(_)
            | RoleToSupervisor::Tunnel(_)
            | RoleToSupervisor::TunnelGone(_)
            | RoleToSupervisor::Qkd(_)
            | RoleToSupervisor::QkdGone(_)
            | RoleToSupervisor::Running => {}
            RoleToSupervisor::Home(_)
            | RoleToSupervisor::CallingAnew
            | RoleToSupervisor::Ldevid(_)
            | RoleToSupervisor::Found(_)
            | RoleToSupervisor::OwnerFound
            | RoleToSupervisor::Enrolled(_)
            | RoleToSupervisor::LdevidKept
            | RoleToSupervisor::RollbackFloor(_)
            | RoleToSupervisor::Gone(_) => panic!("not the engine's word: {message:?}"),
        }
    }

    pub(crate) fn execute(&mut self, who: usize, order: EngineToXfrm, key: Option<Vec<u8>>) {
        let now = self.now;
        let gateway = &mut self.gateways[who];
        let (number, outcome) = match order {
            EngineToXfrm::InstallPolicy { order, policy } => {
                let at = (policy.direction, policy.selector);
                gateway.kernel.policies.insert(at, *policy);
                (order, Ok(()))
            }
            EngineToXfrm::RemovePolicy { order, policy } => {
                let at = (policy.direction, policy.selector);
                gateway.kernel.policies.remove(&at);
                (order, Ok(()))
            }
            EngineToXfrm::RemoveOtherPolicies { order } => (order, Ok(())),
            EngineToXfrm::InstallSa { order, sa } => {
                let fault = gateway.kernel_faults.pop_front();
                let key = key.expect("an SA without a key");
                self.invariants.install(who, &sa, &key);
                match fault {
                    None => (order, gateway.kernel.install(now, *sa, key)),
                    Some(KernelFault::Refuses) => (order, Err(105)),
                    Some(KernelFault::DoneUnknown) => {
                        gateway.kernel.install(now, *sa, key).unwrap();
                        return self.reply(who, XfrmToEngine::Unknown(order));
                    }
                    Some(KernelFault::LostUnknown) => {
                        return self.reply(who, XfrmToEngine::Unknown(order));
                    }
                }
            }
            EngineToXfrm::ExtendSa { order, sa } => (order, gateway.kernel.extend(now, &sa)),
            EngineToXfrm::RemoveSa { order, sa } => (order, gateway.kernel.remove(sa)),
            EngineToXfrm::RemoveAllSas { order } => {
                gateway.kernel.sas.clear();
                gateway.kernel.touch();
                (order, Ok(()))
            }
            EngineToXfrm::ListSas { order } => return self.list(who, order),
        };
        self.reply(
            who,
            match outcome {
                Ok(()) => XfrmToEngine::Done(number),
                Err(errno) => XfrmToEngine::Refused {
                    order: number,
                    errno,
                },
            },
        );
    }

    pub(crate) fn list(&mut self, who: usize, order: OrderId) {
        let listed = self.gateways[who].kernel.list(self.now);
        for part in listed.chunks(32) {
            let sas = part.to_vec();
            let last = false;
            self.reply(who, XfrmToEngine::Listed { order, sas, last });
        }
        let (sas, last) = (Vec::new(), true);
        self.reply(who, XfrmToEngine::Listed { order, sas, last });
    }

    pub(crate) fn reply(&mut self, who: usize, reply: XfrmToEngine) {
        if !matches!(reply, XfrmToEngine::Listed { last: false, .. }) {
            self.gateways[who].outstanding -= 1;
        }
        let life = self.gateways[who].life;
        let wait = Duration::from_micros(200);
        self.at(wait, Event::Engine(who, life, Input::Xfrm(reply)));
    }

    pub(crate) fn expire(&mut self, who: usize) {
        let life = self.gateways[who].life;
        for (sa, hard) in self.gateways[who].kernel.expire(self.now) {
            let reqid = u32::from(sa.reqid);
            let sa = sa.id;
            let input = Input::Xfrm(XfrmToEngine::Expired { sa, reqid, hard });
            self.at(Duration::from_millis(1), Event::Engine(who, life, input));
        }
    }
}
