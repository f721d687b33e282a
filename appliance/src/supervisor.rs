//! The supervisor's decisions, without a socket or a clock: who is here, what each may have now.

use std::collections::{BTreeMap, BTreeSet};

use bartizan_model::config::Der;
use bartizan_model::identity::{Farewell, TpmFound};
use bartizan_model::ids::{Reqid, SaeId};
use bartizan_model::lifecycle::{Event, Lifecycle};
use bartizan_model::message::{Achieved, Edge, Role, RoleToSupervisor};
use bartizan_model::ownership::Ownership;
use bartizan_model::report::{
    NetworkState, QkdReport, QuarantineReason, TunnelReport, VersionsReport,
};
use bartizan_model::time::{BootTime, KnownTime};
use bartizan_process::{Exit, Fault};

use crate::act::Act;
use crate::boot::{Beginning, Settled, beginning, settle};
use crate::config::Required;
use crate::lockdown::missing;
use crate::ownership::Owned;
use crate::roles::{EDGES, EdgeRow, ROLES, edges_of, row_of};
use crate::rollback::{Proof, Rollback};
use crate::store::Kept;

mod tell;
mod versions;

/// The most tunnels that the engine may report: what one edit may have.
const TUNNELS_MAX: usize = 12_000;

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
    required: Required,
    state: Lifecycle,
    kept: Kept,
    /// Whether the TPM has been looked into.
    found: bool,
    quarantine: Option<QuarantineReason>,
    time: KnownTime,
    /// The end that tpm was told to bring about.
    farewell: Option<Farewell>,
    rollback: Rollback,
    proof: Proof,
    versions: Option<VersionsReport>,
    home: bool,
    network: NetworkState,
    /// Whether a policy stands, as the engine last said; a restored one does before the first lease.
    in_force: bool,
    roles: BTreeMap<Role, Standing>,
    achieved: BTreeMap<Role, Achieved>,
    granted: BTreeSet<Edge>,
    lease_ends: Option<BootTime>,
    tunnels: BTreeMap<Reqid, TunnelReport>,
    qkd: BTreeMap<SaeId, QkdReport>,
    counters: BTreeMap<String, u64>,
}

impl Supervisor {
    /// Begins a boot with what the state folder keeps; what the TPM holds decides how it goes on.
    pub fn new(required: Required, kept: Kept) -> Self {
        Self {
            required,
            state: Lifecycle::Factory,
            kept,
            found: false,
            quarantine: None,
            time: KnownTime::default(),
            farewell: None,
            rollback: Rollback::Settled,
            proof: Proof::Operation,
            versions: None,
            home: false,
            network: NetworkState::default(),
            in_force: false,
            roles: BTreeMap::new(),
            achieved: BTreeMap::new(),
            granted: BTreeSet::new(),
            lease_ends: None,
            tunnels: BTreeMap::new(),
            qkd: BTreeMap::new(),
            counters: BTreeMap::new(),
        }
    }

    /// Whose the appliance is, if anybody's.
    pub fn owned(&self) -> Option<&Owned> {
        if let Kept::Owner(owned) = &self.kept {
            Some(owned)
        } else {
            None
        }
    }

    /// The ownership that counts only if the TPM keeps its LDevID.
    pub fn pending(&self) -> Option<&Owned> {
        if let Kept::Pending(owned) = &self.kept {
            Some(owned)
        } else {
            None
        }
    }

    /// What is known of the owner's time.
    pub fn time(&self) -> KnownTime {
        self.time
    }

    /// Whether a session with the controller stands.
    pub fn home(&self) -> bool {
        self.home
    }

    /// How the owner's network stands.
    pub fn network(&self) -> NetworkState {
        self.network
    }

    /// The owner's network stands otherwise: true if that is new.
    pub fn network_is(&mut self, state: NetworkState) -> bool {
        core::mem::replace(&mut self.network, state) != state
    }

    /// Where the appliance stands.
    pub fn state(&self) -> Lifecycle {
        self.state
    }

    /// Whether a role is at work.
    pub fn is_started(&self, role: Role) -> bool {
        self.roles.get(&role) == Some(&Standing::Started)
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
                acts.extend(self.raise_rollback());
                Ok(acts)
            }
            (Some(Standing::Started), Role::Engine, Said::LeaseLost) => {
                self.step(Event::LeaseLost)?;
                Err(Fault::new(Exit::TempFail, "quarantined: no live lease"))
            }
            (Some(Standing::Started), Role::Engine, Said::PolicyInForce(stands)) => {
                let mut acts = self.policy_in_force(stands)?;
                acts.extend(self.raise_rollback());
                Ok(acts)
            }
            (Some(Standing::Started), Role::Engine, Said::Tunnel(report)) => {
                self.tunnels.insert(report.reqid, *report);
                within(self.tunnels.len(), TUNNELS_MAX)
            }
            (Some(Standing::Started), Role::Engine, Said::Qkd(report)) => {
                self.qkd.insert(report.peer.clone(), *report);
                Ok(Vec::new())
            }
            (Some(Standing::Started), Role::Engine, Said::QkdGone(peer)) => {
                self.qkd.remove(&peer);
                Ok(Vec::new())
            }
            (Some(Standing::Started), Role::Engine, Said::TunnelGone(reqid)) => {
                self.tunnels.remove(&reqid);
                Ok(Vec::new())
            }
            (Some(Standing::Started), _, Said::Counted { name, total }) => {
                self.counted(role, &name, total)
            }
            (Some(Standing::Started), Role::Control, Said::Running) => Ok(vec![Act::StoreRunning]),
            (Some(Standing::Started), Role::Control, Said::Home(stands)) => {
                self.home = stands;
                Ok(Vec::new())
            }
            (Some(Standing::Started), Role::Control, Said::CallingAnew) => {
                Ok(vec![Act::CalledAnew])
            }
            (Some(Standing::Started), Role::Control, Said::Ldevid(chain)) => Ok(self.renew(chain)),
            (Some(Standing::Started), Role::Tpm, Said::Found(found)) if !self.found => {
                self.begin(found)
            }
            (Some(Standing::Started), Role::Tpm, Said::Gone(farewell))
                if self.farewell == Some(farewell) =>
            {
                Ok(self.end(farewell))
            }
            (Some(Standing::Started), Role::Tpm, Said::RollbackFloor(stands))
                if matches!(self.rollback, Rollback::Told(_)) =>
            {
                Ok(self.raised(stands))
            }
            (Some(Standing::Started), Role::Updater, Said::Versions(report)) => {
                self.versions_stand(*report)
            }
            (Some(Standing::Started), Role::Updater, Said::Overdue) => Ok(vec![Act::StartAnew]),
            (Some(Standing::Started), Role::Bootstrap, Said::OwnerFound) => {
                self.step(Event::OwnerFound)
            }
            (Some(Standing::Started), Role::Bootstrap, Said::Enrolled(ownership))
                if self.state == Lifecycle::Enrolling && self.pending().is_none() =>
            {
                self.enrol(*ownership)
            }
            (Some(Standing::Started), Role::Bootstrap, Said::LdevidKept)
                if self.pending().is_some() =>
            {
                self.step(Event::LdevidStored)?;
                Ok(vec![Act::Confirm, Act::BeginAgain("enrolled")])
            }
            (Some(Standing::Started), Role::Engine, Said::OwnerTime(moment)) => {
                let owner = Some(moment);
                Ok(self.learn(KnownTime { floor: 0, owner }))
            }
            (Some(Standing::Started), Role::Engine, Said::Ordered(farewell))
                if self.farewell.is_none() && self.owned().is_some() =>
            {
                self.farewell = Some(farewell);
                Ok(vec![Act::BeginEnd(farewell), Act::Dismiss(farewell)])
            }
            _ => Err(Fault::new(
                Exit::Protocol,
                format!("{role:?} said what it may not say"),
            )),
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

    /// Goes on from what the TPM holds.
    fn begin(&mut self, found: TpmFound) -> Result<Vec<Act>, Fault> {
        self.found = true;
        let (kept, settled) = settle(found, core::mem::replace(&mut self.kept, Kept::Nobody));
        self.kept = kept;
        let since = self.owned().map_or(0, Owned::since);
        self.learn(KnownTime {
            floor: found.floors.time.unwrap_or_default().max(since),
            owner: None,
        });
        let mut acts: Vec<_> = settled
            .map(|settled| match settled {
                Settled::Confirmed => Act::Confirm,
                Settled::Discarded => Act::Discard,
            })
            .into_iter()
            .collect();
        acts.extend(self.set_out(found)?);
        Ok(acts)
    }

    fn set_out(&mut self, found: TpmFound) -> Result<Vec<Act>, Fault> {
        match beginning(found, &self.kept) {
            Beginning::With(event) => self.step(event),
            Beginning::Quarantine(reason) => {
                self.quarantine = Some(reason);
                let mut acts = self.step(Event::BootedUnapproved)?;
                let cause = if let Kept::Broken(error) = &self.kept {
                    format!(": {}", chain_of(error))
                } else {
                    String::new()
                };
                acts.push(Act::Warn(format!("quarantined: {reason:?}{cause}")));
                Ok(acts)
            }
            Beginning::Finish(farewell) => {
                self.farewell = Some(farewell);
                Ok(vec![Act::Dismiss(farewell)])
            }
        }
    }

    /// Takes the owner that bootstrap has enrolled with. The TPM keeps the LDevID only once the
    /// ownership is on the disk, and only then does it count.
    fn enrol(&mut self, ownership: Ownership) -> Result<Vec<Act>, Fault> {
        let owned = Owned::new(ownership)
            .map_err(|error| Fault::because(Exit::Protocol, "the ownership", error))?;
        self.kept = Kept::Pending(Box::new(owned));
        Ok(vec![Act::KeepPending, Act::KeepLdevid])
    }

    /// Adds what is known of the owner's time, and tells those that judge certificates by it.
    fn learn(&mut self, time: KnownTime) -> Vec<Act> {
        let known = self.time.and(time);
        if known == self.time {
            return Vec::new();
        }
        self.time = known;
        [Role::Control, Role::Peer, Role::Qkd]
            .into_iter()
            .filter(|role| self.is_started(*role))
            .map(Act::Time)
            .collect()
    }

    /// Takes a certificate that the controller sent, if it is one for us.
    fn renew(&mut self, chain: Vec<Der>) -> Vec<Act> {
        let Some(owned) = self.owned() else {
            return Vec::new();
        };
        match owned.renewed(chain) {
            Ok(renewed) => {
                let floor = renewed.since();
                self.kept = Kept::Owner(Box::new(renewed));
                let known = self.learn(KnownTime { floor, owner: None });
                let told = [Role::Control, Role::Peer].into_iter();
                let told = told.filter(|role| self.is_started(*role));
                core::iter::once(Act::Keep)
                    .chain(told.map(Act::Renew))
                    .chain(known)
                    .collect()
            }
            Err(error) => {
                self.count("ldevid-refused");
                let text = format!("a renewed LDevID is refused: {}", chain_of(&error));
                vec![Act::Warn(text)]
            }
        }
    }

    /// The owner's keys are gone.
    fn end(&mut self, farewell: Farewell) -> Vec<Act> {
        self.kept = Kept::Nobody;
        let how = match farewell {
            Farewell::Release => "released",
            Farewell::Retire => "retired",
        };
        vec![Act::Forget, Act::BeginAgain(how)]
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

    /// Whether an edge is handed out. In quarantine a boot may report only where it knows its owner
    /// and the owner can know it.
    fn has(&self, row: &EdgeRow) -> bool {
        let may_report = self
            .quarantine
            .is_none_or(|reason| reason == QuarantineReason::Unapproved);
        row.granted.contains(&self.state) && may_report
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
            if ready && self.has(row) && self.granted.insert(row.edge) {
                acts.push(Act::Grant(row.edge));
            }
        }
        for row in &ROLES {
            let waits = self.roles.get(&row.role) == Some(&Standing::LockedDown);
            let mut edges = edges_of(row.role, self.state)
                .filter(|edge| self.has(edge))
                .peekable();
            let works = edges.peek().is_some() || row.alone.contains(&self.state);
            if waits && works && edges.all(|edge| self.granted.contains(&edge.edge)) {
                self.roles.insert(row.role, Standing::Started);
                acts.push(Act::Start(row.role));
                acts.push(Act::Tell(row.role, self.state));
            }
        }
        acts
    }
}

/// An error and what caused it, in one line.
fn chain_of(error: &dyn core::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        text = format!("{text}: {deeper}");
        cause = deeper.source();
    }
    text
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
