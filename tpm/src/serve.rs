//! The loop: one request at a time, each neighbour in its turn.

use std::os::fd::{AsFd as _, OwnedFd};

use bartizan_model::config::RoleConfig;
use bartizan_model::lifecycle::Lifecycle;
use bartizan_model::message::{Edge, FromTpm, Role, RoleToSupervisor, SupervisorToRole, ToTpm};
use bartizan_process::{Channel, Exit, Fault, Started, SupervisorChannel, boot_time};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::answer::{Prepared, fault, order};
use crate::permission::{Request, permits};

/// Answers until a neighbour, the supervisor or the TPM is gone.
///
/// # Errors
///
/// Always: [`Fault`] says which.
pub fn serve(started: Started<Prepared>) -> Result<(), Fault> {
    if started.config != RoleConfig::Tpm {
        return Err(Fault::new(
            Exit::Protocol,
            "the configuration is another role's",
        ));
    }
    let mut role = TpmRole {
        prepared: started.prepared,
        supervisor: started.supervisor,
        neighbours: Vec::new(),
        // Nothing is permitted until the supervisor has said where the appliance stands.
        state: Lifecycle::Factory,
        counters: Counters::default(),
    };
    role.supervisor
        .send(&RoleToSupervisor::Found(role.prepared.found()))?;
    let mut ends = started.ends;
    for edge in EDGES {
        if let Ok(channel) = ends.take(edge) {
            role.neighbours.push(Neighbour::new(edge, channel)?);
        }
    }
    let mut watchdog = started.watchdog;
    let interval = Timespec::try_from(watchdog.interval())
        .map_err(|_| Fault::new(Exit::Software, "the watchdog's interval is too long"))?;
    loop {
        watchdog.feed(boot_time());
        role.rest(&interval)?;
        role.round()?;
    }
}

/// The edges that end here.
const EDGES: [Edge; 4] = [
    Edge::ControlTpm,
    Edge::PeerTpm,
    Edge::QkdTpm,
    Edge::BootstrapTpm,
];

struct TpmRole {
    prepared: Prepared,
    supervisor: SupervisorChannel,
    neighbours: Vec<Neighbour>,
    state: Lifecycle,
    counters: Counters,
}

struct Neighbour {
    edge: Edge,
    role: Role,
    channel: Channel<ToTpm, FromTpm>,
}

/// What is told to the supervisor by name.
#[derive(Default)]
struct Counters {
    signatures: u64,
    not_permitted: u64,
    refused: u64,
}

impl Neighbour {
    fn new(edge: Edge, channel: Channel<ToTpm, FromTpm>) -> Result<Self, Fault> {
        let role = match edge {
            Edge::ControlTpm => Role::Control,
            Edge::PeerTpm => Role::Peer,
            Edge::QkdTpm => Role::Qkd,
            Edge::BootstrapTpm => Role::Bootstrap,
            Edge::ControlEngine | Edge::EngineXfrm | Edge::EnginePeer | Edge::EngineQkd => {
                return Err(Fault::new(
                    Exit::Protocol,
                    format!("no end of {edge:?} belongs here"),
                ));
            }
        };
        Ok(Self {
            edge,
            role,
            channel,
        })
    }

    fn events(&self) -> PollFlags {
        let mut events = PollFlags::empty();
        events.set(PollFlags::IN, self.channel.has_room());
        events.set(PollFlags::OUT, self.channel.wants_write());
        events
    }
}

impl TpmRole {
    fn rest(&self, interval: &Timespec) -> Result<(), Fault> {
        let mut events = PollFlags::IN;
        events.set(PollFlags::OUT, self.supervisor.wants_write());
        let mut ends = vec![PollFd::from_borrowed_fd(self.supervisor.as_fd(), events)];
        for neighbour in &self.neighbours {
            ends.push(PollFd::from_borrowed_fd(
                neighbour.channel.as_fd(),
                neighbour.events(),
            ));
        }
        match poll(&mut ends, Some(interval)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(Fault::os("poll", errno)),
        }
    }

    fn round(&mut self) -> Result<(), Fault> {
        self.supervisor.flush()?;
        while let Some(received) = self.supervisor.recv()? {
            self.hear(received.message, received.fd)?;
        }
        for index in 0..self.neighbours.len() {
            self.turn(index)?;
        }
        Ok(())
    }

    fn hear(&mut self, message: SupervisorToRole, fd: Option<OwnedFd>) -> Result<(), Fault> {
        match (message, fd) {
            (SupervisorToRole::Lifecycle(state), _) => {
                self.state = state;
                Ok(())
            }
            (SupervisorToRole::End(edge), Some(end)) => {
                if self.neighbours.iter().any(|known| known.edge == edge) {
                    return Err(Fault::new(Exit::Protocol, "the same end was granted twice"));
                }
                let neighbour = Neighbour::new(edge, Channel::new(end)?)?;
                self.neighbours.push(neighbour);
                Ok(())
            }
            (SupervisorToRole::Farewell(how), _) => {
                self.prepared.farewell(how).map_err(fault)?;
                self.supervisor.send(&RoleToSupervisor::Gone(how))?;
                Ok(())
            }
            (SupervisorToRole::RaiseRollback(to), _) => {
                let stands = if self.state == Lifecycle::Operational {
                    self.prepared.raise_rollback(to).map_err(fault)?
                } else {
                    None
                };
                self.supervisor
                    .send(&RoleToSupervisor::RollbackFloor(stands))?;
                Ok(())
            }
            (
                SupervisorToRole::End(_)
                | SupervisorToRole::Start(_)
                | SupervisorToRole::Ldevid(_)
                | SupervisorToRole::Sources(_)
                | SupervisorToRole::Time(_)
                | SupervisorToRole::KeepLdevid
                | SupervisorToRole::Network(_)
                | SupervisorToRole::CallAnew,
                _,
            ) => Err(Fault::new(
                Exit::Protocol,
                "the supervisor spoke out of turn",
            )),
        }
    }

    /// Takes one request of a neighbour, so that none waits for another's queue.
    fn turn(&mut self, index: usize) -> Result<(), Fault> {
        let Some(neighbour) = self.neighbours.get_mut(index) else {
            return Ok(());
        };
        neighbour.channel.flush()?;
        if !neighbour.channel.has_room() {
            return Ok(());
        }
        let Some(received) = neighbour.channel.recv()? else {
            return Ok(());
        };
        let request = received.message;
        let reply = if permits(neighbour.role, self.state, Request::from(&request)) {
            self.prepared.answer(&request).map_err(fault)?
        } else {
            FromTpm::NotPermitted(order(&request))
        };
        neighbour.channel.send(&reply)?;
        self.count(&reply)
    }

    fn count(&mut self, reply: &FromTpm) -> Result<(), Fault> {
        let (name, total) = match reply {
            FromTpm::Signature { .. } => ("tpm-signatures", &mut self.counters.signatures),
            FromTpm::NotPermitted(_) => ("tpm-not-permitted", &mut self.counters.not_permitted),
            FromTpm::Failed { .. } => ("tpm-refused", &mut self.counters.refused),
            FromTpm::Identity { .. }
            | FromTpm::Ldevid { .. }
            | FromTpm::Done(_)
            | FromTpm::Activated { .. }
            | FromTpm::Quoted { .. }
            | FromTpm::Attested { .. }
            | FromTpm::LogPart { .. } => return Ok(()),
        };
        *total = total.saturating_add(1);
        // Totals: where the supervisor does not keep up, the next one says it all.
        if self.supervisor.has_room() {
            self.supervisor.send(&RoleToSupervisor::Counted {
                name: name.to_owned(),
                total: *total,
            })?;
        }
        Ok(())
    }
}
