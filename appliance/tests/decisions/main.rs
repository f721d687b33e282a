//! The supervisor's decisions: who gets what, when, and what ends everything.
#![cfg(test)]
#![forbid(unsafe_code)]

use std::time::Duration;

use bartizan::act::Act;
use bartizan::config::Required;
use bartizan::roles::{ROLES, edges_of};
use bartizan::store::Kept;
use bartizan::supervisor::Supervisor;
use bartizan_model::identity::{Farewell, LdevidFound, TpmFound};
use bartizan_model::lifecycle::Lifecycle;
use bartizan_model::message::{Edge, Role, RoleToSupervisor as Said};
use bartizan_model::report::{VersionReport, VersionStanding, VersionsReport};
use bartizan_model::time::{BootTime, KnownTime, OwnerMoment};
use bartizan_process::{Exit, Fault};

#[path = "../locked/mod.rs"]
mod locked;
#[path = "../owner/mod.rs"]
mod owner;
mod required;

use locked::achieved;

const NOW: BootTime = BootTime(Duration::from_secs(1000));
const MOMENT: OwnerMoment = OwnerMoment {
    seconds: 1_800_000_000,
    at: BootTime(Duration::from_mins(15)),
};
const LEASE: Duration = Duration::from_mins(5);

#[test]
fn a_role_gets_nothing_before_it_is_locked_down() {
    let mut supervisor = supervisor();
    for row in ROLES {
        assert!(supervisor.joins(row.role));
    }
    supervisor
        .hears(NOW, Role::Tpm, Said::LockedDown(achieved(Role::Tpm)))
        .unwrap();
    find(&mut supervisor, LdevidFound::Usable);
    for role in [Role::Engine, Role::Xfrm] {
        let acts = supervisor
            .hears(NOW, role, Said::LockedDown(achieved(role)))
            .unwrap();
        let granted = acts.contains(&Act::Grant(Edge::EngineXfrm));
        assert_eq!(
            granted,
            role == Role::Xfrm,
            "both ends at once, when both are ready"
        );
        assert!(!acts.contains(&Act::Grant(Edge::ControlEngine)));
    }
}

#[test]
fn while_attesting_the_roles_of_an_owned_appliance_are_at_work() {
    let mut supervisor = supervisor();
    let acts = lock_all_down(&mut supervisor);
    assert_eq!(supervisor.state(), Lifecycle::Attesting);
    let granted = [Edge::ControlEngine, Edge::EngineXfrm, Edge::ControlTpm];
    for row in bartizan::roles::EDGES {
        let expected = usize::from(granted.contains(&row.edge));
        assert_eq!(
            count(&acts, Act::Grant(row.edge)),
            expected,
            "{:?}",
            row.edge
        );
    }
    for row in ROLES {
        let expected = usize::from(!matches!(
            row.role,
            Role::Peer | Role::Qkd | Role::Bootstrap
        ));
        assert_eq!(
            count(&acts, Act::Start(row.role)),
            expected,
            "{:?}",
            row.role
        );
    }
}

#[test]
fn a_role_is_started_after_its_ends_and_told_the_state() {
    let mut supervisor = supervisor();
    let mut acts = lock_all_down(&mut supervisor);
    acts.extend(
        supervisor
            .hears(NOW, Role::Engine, Said::LeaseAccepted(LEASE))
            .unwrap(),
    );
    for row in ROLES.iter().filter(|row| row.role != Role::Bootstrap) {
        let start = place(&acts, Act::Start(row.role)).unwrap();
        let state = match row.role {
            Role::Peer | Role::Qkd => Lifecycle::Attested,
            Role::Tpm | Role::Updater => Lifecycle::Factory,
            Role::Engine | Role::Xfrm | Role::Control | Role::Bootstrap => Lifecycle::Attesting,
        };
        assert_eq!(acts.get(start + 1), Some(&Act::Tell(row.role, state)));
        for edge in edges_of(row.role, state) {
            assert!(
                place(&acts, Act::Grant(edge.edge)).unwrap() < start,
                "{:?}",
                edge.edge
            );
        }
    }
}

#[test]
fn peer_and_qkd_get_their_ends_with_the_first_lease() {
    let mut supervisor = supervisor();
    lock_all_down(&mut supervisor);
    let acts = supervisor
        .hears(NOW, Role::Engine, Said::LeaseAccepted(LEASE))
        .unwrap();
    assert_eq!(supervisor.state(), Lifecycle::Attested);
    for edge in [
        Edge::EnginePeer,
        Edge::EngineQkd,
        Edge::PeerTpm,
        Edge::QkdTpm,
    ] {
        assert_eq!(count(&acts, Act::Grant(edge)), 1, "{edge:?}");
    }
    assert_eq!(
        count(&acts, Act::Tell(Role::Engine, Lifecycle::Attested)),
        1
    );
    let again = supervisor
        .hears(NOW, Role::Engine, Said::LeaseAccepted(LEASE))
        .unwrap();
    assert_eq!(again, [], "a renewal changes nothing");
}

#[test]
fn an_image_closes_the_epochs_before_it_once_it_protects_traffic_on_a_lease_and_not_before() {
    let mut supervisor = supervisor().running(Some(7));
    let raise = Act::RaiseRollback(7);
    let mut acts = lock_all_down(&mut supervisor);
    let mut hear = |role, said| supervisor.hears(NOW, role, said).unwrap();
    // A policy that was restored stands before the first lease of a boot.
    acts.extend(hear(Role::Engine, Said::PolicyInForce(true)));
    assert!(!acts.contains(&raise));
    let acts = hear(Role::Engine, Said::LeaseAccepted(LEASE));
    let told = Act::Tell(Role::Tpm, Lifecycle::Operational);
    assert_eq!(count(&acts, raise.clone()), 1);
    assert!(place(&acts, told) < place(&acts, raise.clone()));
    assert_eq!(hear(Role::Engine, Said::LeaseAccepted(LEASE)), []);
    // What the TPM did not do is asked for again; what it did is not.
    for short in [None, Some(6)] {
        let acts = hear(Role::Tpm, Said::RollbackFloor(short));
        assert!(matches!(acts.as_slice(), [Act::Warn(_)]), "{acts:?}");
        let again = hear(Role::Engine, Said::LeaseAccepted(LEASE));
        assert_eq!(again, core::slice::from_ref(&raise));
    }
    assert_eq!(hear(Role::Tpm, Said::RollbackFloor(Some(7))), []);
    assert_eq!(hear(Role::Engine, Said::LeaseAccepted(LEASE)), []);
    let unasked = supervisor.hears(NOW, Role::Tpm, Said::RollbackFloor(Some(7)));
    assert_eq!(unasked.unwrap_err().exit(), Exit::Protocol);
}

#[test]
fn where_a_version_is_judged_no_floor_rises_before_its_blessing() {
    let mut supervisor = supervisor().running(Some(7)).judged(true);
    let mut acts = lock_all_down(&mut supervisor);
    let mut hear = |role, said| supervisor.hears(NOW, role, said).unwrap();
    let raise = Act::RaiseRollback(7);
    acts.extend(hear(Role::Engine, Said::PolicyInForce(true)));
    acts.extend(hear(Role::Engine, Said::LeaseAccepted(LEASE)));
    let on_trial = VersionStanding::OnTrial { left: 2 };
    acts.extend(hear(Role::Updater, versions(on_trial)));
    acts.extend(hear(Role::Engine, Said::LeaseAccepted(LEASE)));
    assert!(!acts.contains(&raise));
    let acts = hear(Role::Updater, versions(VersionStanding::Blessed));
    assert_eq!(acts, [raise]);
    assert_eq!(hear(Role::Engine, Said::LeaseAccepted(LEASE)), []);
}

#[test]
fn what_is_overdue_starts_the_machine_anew_in_any_state() {
    let mut supervisor = supervisor();
    supervisor.joins(Role::Updater);
    let achieved = Said::LockedDown(achieved(Role::Updater));
    supervisor.hears(NOW, Role::Updater, achieved).unwrap();
    let acts = supervisor.hears(NOW, Role::Updater, Said::Overdue).unwrap();
    assert_eq!(supervisor.state(), Lifecycle::Factory);
    assert_eq!(acts, [Act::StartAnew]);
}

fn versions(standing: VersionStanding) -> Said {
    Said::Versions(Box::new(VersionsReport {
        running: VersionReport {
            version: "2".to_owned(),
            standing,
        },
        others: Vec::new(),
    }))
}

#[test]
fn what_is_no_image_raises_no_floor() {
    let mut supervisor = supervisor().running(None);
    lock_all_down(&mut supervisor);
    for said in [Said::LeaseAccepted(LEASE), Said::PolicyInForce(true)] {
        let acts = supervisor.hears(NOW, Role::Engine, said).unwrap();
        assert!(!acts.iter().any(|act| matches!(act, Act::RaiseRollback(_))));
    }
    assert_eq!(supervisor.state(), Lifecycle::Operational);
}

#[test]
fn a_role_that_comes_late_gets_what_the_others_have() {
    let mut supervisor = supervisor();
    for row in ROLES.iter().filter(|row| row.role != Role::Qkd) {
        supervisor.joins(row.role);
        supervisor
            .hears(NOW, row.role, Said::LockedDown(achieved(row.role)))
            .unwrap();
    }
    find(&mut supervisor, LdevidFound::Usable);
    supervisor
        .hears(NOW, Role::Engine, Said::LeaseAccepted(LEASE))
        .unwrap();
    supervisor.joins(Role::Qkd);
    let acts = supervisor
        .hears(NOW, Role::Qkd, Said::LockedDown(achieved(Role::Qkd)))
        .unwrap();
    assert_eq!(
        acts,
        [
            Act::Grant(Edge::EngineQkd),
            Act::Grant(Edge::QkdTpm),
            Act::Start(Role::Qkd),
            Act::Tell(Role::Qkd, Lifecycle::Attested),
        ]
    );
}

#[test]
fn the_state_follows_the_policies() {
    let mut supervisor = supervisor();
    lock_all_down(&mut supervisor);
    supervisor
        .hears(NOW, Role::Engine, Said::PolicyInForce(true))
        .unwrap();
    assert_eq!(
        supervisor.state(),
        Lifecycle::Attesting,
        "no lease, no operation"
    );
    supervisor
        .hears(NOW, Role::Engine, Said::LeaseAccepted(LEASE))
        .unwrap();
    assert_eq!(
        supervisor.state(),
        Lifecycle::Operational,
        "the policies of before the restart"
    );
    for (stands, state) in [
        (true, Lifecycle::Operational),
        (true, Lifecycle::Operational),
        (false, Lifecycle::Attested),
        (false, Lifecycle::Attested),
    ] {
        supervisor
            .hears(NOW, Role::Engine, Said::PolicyInForce(stands))
            .unwrap();
        assert_eq!(supervisor.state(), state);
    }
}

#[test]
fn a_lost_lease_ends_everything() {
    for operational in [false, true] {
        let mut supervisor = supervisor();
        lock_all_down(&mut supervisor);
        if operational {
            supervisor
                .hears(NOW, Role::Engine, Said::LeaseAccepted(LEASE))
                .unwrap();
            supervisor
                .hears(NOW, Role::Engine, Said::PolicyInForce(true))
                .unwrap();
        }
        let fault = supervisor
            .hears(NOW, Role::Engine, Said::LeaseLost)
            .unwrap_err();
        assert_eq!(fault.exit(), Exit::TempFail);
        assert_eq!(supervisor.state(), Lifecycle::Quarantined);
    }
}

#[test]
fn the_death_of_any_role_that_was_locked_down_ends_everything() {
    for row in ROLES {
        let mut supervisor = supervisor();
        lock_all_down(&mut supervisor);
        assert_eq!(exit(supervisor.leaves(row.role)), Some(Exit::Unavailable));
    }
}

#[test]
fn one_that_was_not_locked_down_may_come_again() {
    let mut supervisor = supervisor();
    assert!(supervisor.joins(Role::Tpm));
    assert!(!supervisor.joins(Role::Tpm), "not twice at a time");
    assert_eq!(exit(supervisor.leaves(Role::Tpm)), None);
    assert!(supervisor.joins(Role::Tpm));
}

#[test]
fn owner_time_is_told_to_those_that_judge_certificates_and_never_goes_back() {
    let mut supervisor = supervisor();
    let acts = lock_all_down(&mut supervisor);
    assert!(acts.contains(&Act::Start(Role::Control)));
    let floor = supervisor.owned().unwrap().since();
    assert_eq!(supervisor.time(), KnownTime { floor, owner: None });

    let acts = supervisor
        .hears(NOW, Role::Engine, Said::OwnerTime(MOMENT))
        .unwrap();
    // Peer and qkd are not at work yet; they are told before they start.
    assert_eq!(acts, [Act::Time(Role::Control)]);
    assert_eq!(supervisor.time().owner, Some(MOMENT));
    supervisor
        .hears(NOW, Role::Engine, Said::LeaseAccepted(LEASE))
        .unwrap();
    let [earlier, later] =
        [MOMENT.seconds - 1, MOMENT.seconds + 1].map(|seconds| OwnerMoment { seconds, ..MOMENT });
    let acts = supervisor.hears(NOW, Role::Engine, Said::OwnerTime(earlier));
    assert_eq!(acts.unwrap(), []);
    assert_eq!(supervisor.time().owner, Some(MOMENT));
    let acts = supervisor.hears(NOW, Role::Engine, Said::OwnerTime(later));
    let told = [Role::Control, Role::Peer, Role::Qkd];
    assert_eq!(acts.unwrap(), told.map(Act::Time));
    assert_eq!(supervisor.time().owner, Some(later));
}

#[test]
fn a_role_says_only_what_its_row_allows() {
    for row in ROLES {
        // The TPM is looked into once; bootstrap has no part where there is an owner.
        let mut said = vec![
            Said::LockedDown(achieved(row.role)),
            found(LdevidFound::Usable),
            Said::Gone(Farewell::Retire),
            Said::OwnerFound,
            Said::Enrolled(Box::new(owner::owned().ownership().clone())),
            Said::LdevidKept,
        ];
        if row.role != Role::Engine {
            said.extend([
                Said::LeaseAccepted(LEASE),
                Said::LeaseLost,
                Said::PolicyInForce(true),
                Said::Ordered(Farewell::Release),
                Said::OwnerTime(MOMENT),
                tunnel_gone(),
            ]);
        }
        if row.role != Role::Updater {
            said.extend([Said::Overdue, versions(VersionStanding::Blessed)]);
        }
        if row.role != Role::Control {
            said.extend([Said::Running, Said::Home(true), Said::CallingAnew]);
            said.push(Said::Ldevid(Vec::new()));
        }
        for said in said {
            let mut supervisor = supervisor();
            lock_all_down(&mut supervisor);
            supervisor
                .hears(NOW, Role::Engine, Said::LeaseAccepted(LEASE))
                .unwrap();
            let fault = supervisor.hears(NOW, row.role, said.clone()).unwrap_err();
            assert_eq!(fault.exit(), Exit::Protocol, "{:?} {said:?}", row.role);
        }
    }
}

#[test]
fn a_role_that_is_not_started_has_nothing_to_say() {
    let mut supervisor = supervisor();
    supervisor.joins(Role::Peer);
    let counted = Said::Counted {
        name: "x".into(),
        total: 1,
    };
    assert!(supervisor.hears(NOW, Role::Peer, counted.clone()).is_err());
    supervisor.joins(Role::Qkd);
    supervisor
        .hears(NOW, Role::Qkd, Said::LockedDown(achieved(Role::Qkd)))
        .unwrap();
    assert!(
        supervisor.hears(NOW, Role::Qkd, counted).is_err(),
        "no lease, no start"
    );
}

#[test]
fn what_the_roles_count_is_shown_and_bounded() {
    let mut supervisor = supervisor();
    lock_all_down(&mut supervisor);
    let counted = |name: String, total| Said::Counted { name, total };
    supervisor
        .hears(NOW, Role::Control, counted("edits".into(), 1))
        .unwrap();
    supervisor
        .hears(NOW, Role::Control, counted("edits".into(), 2))
        .unwrap();
    supervisor.count("connections-refused");
    let shown = supervisor.snapshot(NOW).counters;
    assert!(shown.contains(&("control.edits".to_owned(), 2)));
    assert!(shown.contains(&("supervisor.connections-refused".to_owned(), 1)));

    assert!(
        supervisor
            .hears(NOW, Role::Control, counted("n".repeat(65), 1))
            .is_err()
    );
    let flood = (0..300).map(|n| supervisor.hears(NOW, Role::Tpm, counted(n.to_string(), 1)));
    assert!(flood.filter(Result::is_err).count() > 0);
}

#[test]
fn the_snapshot_shows_the_lease_as_it_runs_out() {
    let mut supervisor = supervisor();
    lock_all_down(&mut supervisor);
    assert_eq!(supervisor.snapshot(NOW).lease, None);
    supervisor
        .hears(NOW, Role::Engine, Said::LeaseAccepted(LEASE))
        .unwrap();
    let shown = supervisor.snapshot(NOW.after(Duration::from_secs(100)));
    assert_eq!(shown.lease, Some(Duration::from_secs(200)));
    assert_eq!(shown.lifecycle, Lifecycle::Attested);
    assert_eq!(shown.achieved.len(), ROLES.len());
    assert_eq!(supervisor.snapshot(NOW.after(LEASE)).lease, None);
}

#[test]
fn only_control_has_a_copy_of_running_stored() {
    let mut supervisor = supervisor();
    lock_all_down(&mut supervisor);
    let acts = supervisor.hears(NOW, Role::Control, Said::Running).unwrap();
    assert_eq!(acts, [Act::StoreRunning]);
}

fn supervisor() -> Supervisor {
    Supervisor::new(Required::ALL, Kept::Owner(Box::new(owner::owned())))
}

/// Everyone joins and reports in the order of the table; the TPM holds a usable LDevID.
fn lock_all_down(supervisor: &mut Supervisor) -> Vec<Act> {
    let mut acts = all_join(supervisor);
    acts.extend(find(supervisor, LdevidFound::Usable));
    acts
}

/// Everyone joins and reports in the order of the table.
fn all_join(supervisor: &mut Supervisor) -> Vec<Act> {
    let mut acts = Vec::new();
    for row in ROLES {
        assert!(supervisor.joins(row.role));
        let locked_down = Said::LockedDown(achieved(row.role));
        acts.extend(supervisor.hears(NOW, row.role, locked_down).unwrap());
    }
    acts
}

fn find(supervisor: &mut Supervisor, ldevid: LdevidFound) -> Vec<Act> {
    supervisor.hears(NOW, Role::Tpm, found(ldevid)).unwrap()
}

fn found(ldevid: LdevidFound) -> Said {
    Said::Found(TpmFound {
        ldevid,
        retired: false,
        floors: bartizan_model::identity::Floors::default(),
    })
}

fn tunnel_gone() -> Said {
    Said::TunnelGone(1.try_into().unwrap())
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "an act is written at the call"
)]
fn count(acts: &[Act], act: Act) -> usize {
    acts.iter().filter(|other| **other == act).count()
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "an act is written at the call"
)]
fn place(acts: &[Act], act: Act) -> Option<usize> {
    acts.iter().position(|other| *other == act)
}

fn exit(outcome: Result<(), Fault>) -> Option<Exit> {
    outcome.err().map(|fault| fault.exit())
}
