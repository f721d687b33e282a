//! The supervisor's decisions, without a socket or a clock: who is here, what each may have now.

use std::collections::{BTreeMap, BTreeSet};

use bartizan_model::ids::{NodeId, Reqid};
use bartizan_model::lifecycle::{Event, Lifecycle};
use bartizan_model::message::{Achieved, Edge, Memory, Role, RoleToSupervisor};
use bartizan_model::report::{Snapshot, TunnelReport};
use bartizan_model::time::BootTime;
use bartizan_process::{Exit, Fault};

use crate::config::Required;
use crate::roles::{EDGES, ROLES, edges_of, row_of};

/// The most names that the roles may count under, together.
const COUNTERS_MAX: usize = 256;

/// The most bytes of such a name.
const COUNTER_NAME_MAX: usize = 64;

/// The most tunnels that the engine may report: what one edit may have.
const TUNNELS_MAX: usize = 12_000;

/// What the loop does next, in this order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Act {
    /// Make the edge and send each of its roles its end.
    Grant(Edge),
    /// Send the role its configuration.
    Start(Role),
    /// Tell a started role the state.
    Tell(Role, Lifecycle),
    /// Check the descriptor that came along and give it to the service manager.
    StoreRunning,
}

/// How far a role has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Standing {
    /// Connected; nothing granted.
    Joined,
    /// Locked down as required; it may have ends.
    LockedDown,
    /// At work.
    Started,
}

/// Everything that the supervisor knows.
#[derive(Debug)]
pub struct Supervisor {
    node: NodeId,
    required: Required,
    state: Lifecycle,
    /// Whether a policy stands, as the engine last said; a restored one does before the first lease.
    in_force: bool,
    roles: BTreeMap<Role, Standing>,
    achieved: BTreeMap<Role, Achieved>,
    granted: BTreeSet<Edge>,
    lease_ends: Option<BootTime>,
    tunnels: BTreeMap<Reqid, TunnelReport>,
    counters: BTreeMap<String, u64>,
}

impl Supervisor {
    /// Begins the life of an appliance that has an owner.
    pub fn owned(node: NodeId, required: Required) -> Self {
        let state = Lifecycle::Factory.after(Event::BootedOwned);
        Self {
            node,
            required,
            state: state.unwrap_or(Lifecycle::Factory),
            in_force: false,
            roles: BTreeMap::new(),
            achieved: BTreeMap::new(),
            granted: BTreeSet::new(),
            lease_ends: None,
            tunnels: BTreeMap::new(),
            counters: BTreeMap::new(),
        }
    }

    /// Where the appliance stands.
    pub fn state(&self) -> Lifecycle {
        self.state
    }

    /// A process of this role has connected: true if it is the only one.
    pub fn joins(&mut self, role: Role) -> bool {
        if self.roles.contains_key(&role) {
            return false;
        }
        self.roles.insert(role, Standing::Joined);
        true
    }

    /// The process of a role is gone.
    ///
    /// # Errors
    ///
    /// [`Fault`] with [`Exit::Unavailable`]: everything ends with it. Only a process that was not
    /// locked down yet had nothing, and leaves no gap.
    pub fn leaves(&mut self, role: Role) -> Result<(), Fault> {
        match self.roles.remove(&role) {
            None | Some(Standing::Joined) => Ok(()),
            Some(Standing::LockedDown | Standing::Started) => {
                Err(Fault::new(Exit::Unavailable, format!("{role:?} is gone")))
            }
        }
    }

    /// A role has said something.
    ///
    /// # Errors
    ///
    /// [`Fault`] that ends everything: [`Exit::NoPerm`] if the role is less locked down than
    /// required, [`Exit::Protocol`] if it may not say this, [`Exit::TempFail`] if no lease is live.
    pub fn hears(
        &mut self,
        now: BootTime,
        role: Role,
        message: RoleToSupervisor,
    ) -> Result<Vec<Act>, Fault> {
        use RoleToSupervisor as Said;

        match (self.roles.get(&role), role, message) {
            (Some(Standing::Joined), _, Said::LockedDown(achieved)) => {
                self.locked_down(role, achieved)
            }
            (Some(Standing::Started), Role::Engine, Said::LeaseAccepted(lives)) => {
                self.lease_ends = Some(now.after(lives));
                let mut acts = self.step(Event::LeaseAccepted)?;
                acts.extend(self.policy_in_force(self.in_force)?);
                Ok(acts)
            }
            (Some(Standing::Started), Role::Engine, Said::LeaseLost) => {
                self.step(Event::LeaseLost)?;
                Err(Fault::new(Exit::TempFail, "quarantined: no live lease"))
            }
            (Some(Standing::Started), Role::Engine, Said::PolicyInForce(stands)) => {
                self.policy_in_force(stands)
            }
            (Some(Standing::Started), Role::Engine, Said::Tunnel(report)) => {
                self.tunnels.insert(report.reqid, *report);
                within(self.tunnels.len(), TUNNELS_MAX)
            }
            (Some(Standing::Started), Role::Engine, Said::TunnelGone(reqid)) => {
                self.tunnels.remove(&reqid);
                Ok(Vec::new())
            }
            (Some(Standing::Started), _, Said::Counted { name, total }) => {
                self.counted(role, &name, total)
            }
            (Some(Standing::Started), Role::Control, Said::Running) => Ok(vec![Act::StoreRunning]),
            _ => Err(Fault::new(
                Exit::Protocol,
                format!("{role:?} said what it may not say"),
            )),
        }
    }

    /// Counts something that the supervisor itself refused.
    pub fn count(&mut self, name: &str) {
        let total = self
            .counters
            .entry(format!("supervisor.{name}"))
            .or_default();
        *total = total.saturating_add(1);
    }

    /// What the status tool shows.
    pub fn snapshot(&self, now: BootTime) -> Snapshot {
        Snapshot {
            node: self.node.clone(),
            lifecycle: self.state,
            at: now,
            lease: self
                .lease_ends
                .map(|end| end.since(now))
                .filter(|rest| !rest.is_zero()),
            tunnels: self.tunnels.values().cloned().collect(),
            achieved: self
                .achieved
                .iter()
                .map(|(role, achieved)| (*role, *achieved))
                .collect(),
            counters: self
                .counters
                .iter()
                .map(|(name, total)| (name.clone(), *total))
                .collect(),
        }
    }

    fn locked_down(&mut self, role: Role, achieved: Achieved) -> Result<Vec<Act>, Fault> {
        let keeps_secrets = row_of(role).is_some_and(|row| row.secrets);
        if let Some(missing) = missing(&self.required, keeps_secrets, &achieved) {
            return Err(Fault::new(
                Exit::NoPerm,
                format!("{role:?} is not locked down as required: {missing}"),
            ));
        }
        self.achieved.insert(role, achieved);
        self.roles.insert(role, Standing::LockedDown);
        Ok(self.hand_out())
    }

    fn policy_in_force(&mut self, stands: bool) -> Result<Vec<Act>, Fault> {
        self.in_force = stands;
        match (self.state, stands) {
            (Lifecycle::Attested, true) => self.step(Event::PolicyInForce),
            (Lifecycle::Operational, false) => self.step(Event::PolicyWithdrawn),
            // The engine repeats what is known already.
            _ => Ok(Vec::new()),
        }
    }

    fn counted(&mut self, role: Role, name: &str, total: u64) -> Result<Vec<Act>, Fault> {
        if name.len() > COUNTER_NAME_MAX {
            return Err(too_much());
        }
        let name = format!("{role:?}.{name}").to_lowercase();
        self.counters.insert(name, total);
        within(self.counters.len(), COUNTERS_MAX)
    }

    /// Takes the step of the appliance's life and does what the new state asks for.
    fn step(&mut self, event: Event) -> Result<Vec<Act>, Fault> {
        let before = self.state;
        self.state = before
            .after(event)
            .map_err(|unexpected| Fault::because(Exit::Protocol, "lifecycle", unexpected))?;
        if self.state == before {
            return Ok(Vec::new());
        }
        let mut acts: Vec<_> = self
            .roles
            .iter()
            .filter(|(_, standing)| **standing == Standing::Started)
            .map(|(role, _)| Act::Tell(*role, self.state))
            .collect();
        acts.extend(self.hand_out());
        Ok(acts)
    }

    /// Grants each edge of the state whose roles are both ready, then starts who has all its ends.
    fn hand_out(&mut self) -> Vec<Act> {
        let mut acts = Vec::new();
        for row in &EDGES {
            let ready = row.between.iter().all(|role| {
                matches!(
                    self.roles.get(role),
                    Some(Standing::LockedDown | Standing::Started)
                )
            });
            if ready && row.granted.contains(&self.state) && self.granted.insert(row.edge) {
                acts.push(Act::Grant(row.edge));
            }
        }
        for row in &ROLES {
            let waits = self.roles.get(&row.role) == Some(&Standing::LockedDown);
            let mut edges = edges_of(row.role, self.state).peekable();
            let has_some = edges.peek().is_some();
            if waits && has_some && edges.all(|edge| self.granted.contains(&edge.edge)) {
                self.roles.insert(row.role, Standing::Started);
                acts.push(Act::Start(row.role));
                acts.push(Act::Tell(row.role, self.state));
            }
        }
        acts
    }
}

/// Names what a process's lock-down lacks of what is required.
pub fn missing(
    required: &Required,
    keeps_secrets: bool,
    achieved: &Achieved,
) -> Option<&'static str> {
    let memory = match (keeps_secrets, required.memory, achieved.memory) {
        (true, _, Memory::Secret) | (true, Memory::Locked, Memory::Locked) => true,
        (false, _, memory) => memory == Memory::NoSecrets,
        (true, _, _) => false,
    };
    let facts = [
        (achieved.landlock >= required.landlock, "landlock"),
        (achieved.seccomp || !required.seccomp, "seccomp"),
        (achieved.no_new_privs, "no_new_privs"),
        (achieved.undumpable, "undumpable"),
        (achieved.capabilities, "capabilities"),
        (memory, "memory"),
    ];
    facts
        .iter()
        .find(|(holds, _)| !holds)
        .map(|(_, name)| *name)
}

fn within(number: usize, limit: usize) -> Result<Vec<Act>, Fault> {
    if number > limit {
        Err(too_much())
    } else {
        Ok(Vec::new())
    }
}

fn too_much() -> Fault {
    Fault::new(Exit::Protocol, "a role reports more than there can be")
}
