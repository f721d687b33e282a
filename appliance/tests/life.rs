//! The appliance's life as the supervisor leads it: how a boot begins, how ownership begins, is
//! renewed and ends.
#![cfg(test)]
#![forbid(unsafe_code)]

mod locked;
mod owner;

use std::time::Duration;

use bartizan::act::Act;
use bartizan::config::Required;
use bartizan::ownership::{Owned, OwnershipError};
use bartizan::roles::{ROLES, edges_of};
use bartizan::store::Kept;
use bartizan::supervisor::Supervisor;
use bartizan_model::identity::{Farewell, LdevidFound, TpmFound};
use bartizan_model::lifecycle::Lifecycle;
use bartizan_model::message::{Edge, Role, RoleToSupervisor as Said};
use bartizan_model::report::QuarantineReason as Reason;
use bartizan_model::time::BootTime;
use bartizan_process::Exit;
use locked::achieved;
use owner::Owner;

const NOW: BootTime = BootTime(Duration::from_secs(1000));

#[test]
fn before_the_tpm_is_looked_into_tpm_and_updater_alone_are_at_work() {
    for kept in [Kept::Nobody, owner(), broken()] {
        let mut supervisor = Supervisor::new(Required::ALL, kept);
        let acts = join_all(&mut supervisor);
        // Updater judges in whatever state, and nobody is its neighbour.
        let expected = [Role::Tpm, Role::Updater]
            .map(|role| [Act::Start(role), Act::Tell(role, Lifecycle::Factory)])
            .concat();
        assert_eq!(acts, expected);
        assert_eq!(supervisor.state(), Lifecycle::Factory);
    }
}

#[test]
fn how_a_boot_begins_is_decided_by_the_tpm_and_what_is_kept() {
    use LdevidFound::{Absent, Foreign, Unusable, Usable};
    use Lifecycle::{Attesting, Discovering, Quarantined};

    for (ldevid, kept, state, reason) in [
        (Absent, Kept::Nobody, Discovering, None),
        (Absent, owner(), Quarantined, Some(Reason::ClearedTpm)),
        (Absent, broken(), Quarantined, Some(Reason::BrokenOwnership)),
        (Usable, Kept::Nobody, Quarantined, Some(Reason::NoOwnership)),
        (Usable, owner(), Attesting, None),
        (Usable, broken(), Quarantined, Some(Reason::BrokenOwnership)),
        (
            Unusable,
            Kept::Nobody,
            Quarantined,
            Some(Reason::NoOwnership),
        ),
        (Unusable, owner(), Quarantined, Some(Reason::Unapproved)),
        (Foreign, Kept::Nobody, Quarantined, Some(Reason::ForeignTpm)),
        (Foreign, owner(), Quarantined, Some(Reason::ForeignTpm)),
    ] {
        let case = format!("{ldevid:?} {kept:?}");
        let (supervisor, acts) = begin(kept, ldevid);
        assert_eq!(supervisor.state(), state, "{case}");
        assert_eq!(supervisor.snapshot(NOW).quarantine, reason, "{case}");
        let warned = acts.iter().any(|act| matches!(act, Act::Warn(_)));
        assert_eq!(warned, reason.is_some(), "{case}");
    }
}

#[test]
fn a_retired_box_gives_nobody_anything() {
    let (supervisor, acts) = begin_with(Kept::Nobody, LdevidFound::Absent, true);
    assert_eq!(supervisor.state(), Lifecycle::Decommissioned);
    let only = [Role::Tpm, Role::Updater].map(|role| Act::Tell(role, Lifecycle::Decommissioned));
    assert_eq!(acts, only);
}

#[test]
fn while_there_is_no_owner_bootstrap_and_the_tpm_are_joined_and_xfrm_works_alone() {
    let (_, acts) = begin(Kept::Nobody, LdevidFound::Absent);
    let granted: Vec<_> = granted(&acts).collect();
    assert_eq!(granted, [Edge::BootstrapTpm]);
    assert_eq!(started(&acts), [Role::Xfrm, Role::Bootstrap]);
}

#[test]
fn in_quarantine_only_a_boot_that_is_not_approved_may_report() {
    for (ldevid, kept, reports) in [
        (LdevidFound::Unusable, owner(), true),
        (LdevidFound::Usable, Kept::Nobody, false),
        (LdevidFound::Usable, broken(), false),
        (LdevidFound::Absent, owner(), false),
        (LdevidFound::Foreign, owner(), false),
    ] {
        let (_, acts) = begin(kept, ldevid);
        let edges: &[Edge] = if reports { &[Edge::BootstrapTpm] } else { &[] };
        assert_eq!(granted(&acts).collect::<Vec<_>>(), edges, "{ldevid:?}");
        let roles: &[Role] = if reports {
            &[Role::Xfrm, Role::Bootstrap]
        } else {
            &[Role::Xfrm]
        };
        assert_eq!(started(&acts), roles, "{ldevid:?}");
    }
}

#[test]
fn an_owner_that_is_found_is_enrolled_with_once_and_kept() {
    let ownership = Owner::new().ownership();
    let enrolled = || Said::Enrolled(Box::new(ownership.clone()));
    let (mut supervisor, _) = begin(Kept::Nobody, LdevidFound::Absent);
    let early = supervisor.hears(NOW, Role::Bootstrap, enrolled());
    assert_eq!(early.unwrap_err().exit(), Exit::Protocol);

    let (mut supervisor, _) = begin(Kept::Nobody, LdevidFound::Absent);
    let acts = supervisor
        .hears(NOW, Role::Bootstrap, Said::OwnerFound)
        .unwrap();
    assert_eq!(supervisor.state(), Lifecycle::Enrolling);
    assert!(acts.contains(&Act::Tell(Role::Tpm, Lifecycle::Enrolling)));
    let again = supervisor.hears(NOW, Role::Bootstrap, Said::OwnerFound);
    assert_eq!(again.unwrap_err().exit(), Exit::Protocol);
    let acts = supervisor.hears(NOW, Role::Bootstrap, enrolled()).unwrap();
    assert_eq!(acts, [Act::KeepPending, Act::KeepLdevid]);
    assert_eq!(supervisor.pending().map(Owned::ownership), Some(&ownership));
    assert!(supervisor.owned().is_none());
    assert_eq!(supervisor.state(), Lifecycle::Enrolling);
    let acts = supervisor
        .hears(NOW, Role::Bootstrap, Said::LdevidKept)
        .unwrap();
    assert_eq!(acts, [Act::Confirm, Act::BeginAgain("enrolled")]);
}

#[test]
fn enrolment_takes_its_steps_in_order_and_once() {
    let ownership = Owner::new().ownership();
    let enrolled = || Said::Enrolled(Box::new(ownership.clone()));
    for said in [
        vec![Said::LdevidKept],
        vec![Said::OwnerFound, Said::LdevidKept],
        vec![Said::OwnerFound, enrolled(), enrolled()],
    ] {
        let (mut supervisor, _) = begin(Kept::Nobody, LdevidFound::Absent);
        let mut outcome = Ok(Vec::new());
        for said in said {
            assert!(outcome.is_ok());
            outcome = supervisor.hears(NOW, Role::Bootstrap, said);
        }
        assert_eq!(outcome.unwrap_err().exit(), Exit::Protocol);
    }
}

#[test]
fn an_ownership_that_breaks_a_rule_is_not_kept() {
    let mut ownership = Owner::new().ownership();
    ownership.peer_port = 0;
    let (mut supervisor, _) = begin(Kept::Nobody, LdevidFound::Absent);
    supervisor
        .hears(NOW, Role::Bootstrap, Said::OwnerFound)
        .unwrap();
    let fault = supervisor
        .hears(NOW, Role::Bootstrap, Said::Enrolled(Box::new(ownership)))
        .unwrap_err();
    assert_eq!(fault.exit(), Exit::Protocol);
    assert!(supervisor.owned().is_none());
}

#[test]
fn a_renewed_certificate_is_kept_and_told_to_who_shows_it() {
    let issuer = Owner::new();
    let kept = Kept::Owner(Box::new(Owned::new(issuer.ownership()).unwrap()));
    let (mut supervisor, _) = begin(kept, LdevidFound::Usable);
    let renewed = vec![issuer.certify(&[owner::NODE])];
    let acts = supervisor
        .hears(NOW, Role::Control, Said::Ldevid(renewed.clone()))
        .unwrap();
    assert_eq!(acts, [Act::Keep, Act::Renew(Role::Control)]);
    let now = supervisor.owned().unwrap().ownership();
    assert_eq!(now.ldevid, renewed);

    let lease = Said::LeaseAccepted(Duration::from_mins(1));
    supervisor.hears(NOW, Role::Engine, lease).unwrap();
    let acts = supervisor
        .hears(NOW, Role::Control, Said::Ldevid(renewed))
        .unwrap();
    let both = [Act::Keep, Act::Renew(Role::Control), Act::Renew(Role::Peer)];
    assert_eq!(acts, both);
}

#[test]
fn a_certificate_of_another_key_node_or_issuer_is_refused_and_counted() {
    let issuer = Owner::new();
    let other_key = rcgen::KeyPair::generate().unwrap();
    for (what, chain) in [
        ("nothing", vec![]),
        ("no certificate", vec![bartizan_model::config::Der(vec![1])]),
        (
            "another key",
            vec![issuer.certify_key(&[owner::NODE], &other_key)],
        ),
        ("another node", vec![issuer.certify(&["other.example"])]),
        ("two names", vec![issuer.certify(&[owner::NODE, "b"])]),
        (
            "another issuer",
            vec![Owner::new().certify_key(&[owner::NODE], &other_key)],
        ),
    ] {
        let owned = Owned::new(issuer.ownership()).unwrap();
        let before = owned.clone();
        let kept = Kept::Owner(Box::new(owned));
        let (mut supervisor, _) = begin(kept, LdevidFound::Usable);
        let acts = supervisor
            .hears(NOW, Role::Control, Said::Ldevid(chain))
            .unwrap();
        assert!(matches!(acts.as_slice(), [Act::Warn(_)]), "{what}");
        assert_eq!(supervisor.owned(), Some(&before), "{what}");
        let counted = ("supervisor.ldevid-refused".to_owned(), 1);
        assert!(supervisor.snapshot(NOW).counters.contains(&counted));
    }
}

#[test]
fn an_ordered_end_is_noted_before_the_keys_go_and_done_after() {
    for farewell in [Farewell::Release, Farewell::Retire] {
        let other = match farewell {
            Farewell::Release => Farewell::Retire,
            Farewell::Retire => Farewell::Release,
        };
        let (mut supervisor, _) = begin(owner(), LdevidFound::Usable);
        let acts = supervisor
            .hears(NOW, Role::Engine, Said::Ordered(farewell))
            .unwrap();
        let noted = [Act::BeginEnd(farewell), Act::Dismiss(farewell)];
        assert_eq!(acts, noted);
        for wrong in [Said::Ordered(other), Said::Ordered(farewell)] {
            let fault = supervisor.hears(NOW, Role::Engine, wrong).unwrap_err();
            assert_eq!(fault.exit(), Exit::Protocol, "an end is ordered once");
        }
        let fault = supervisor
            .hears(NOW, Role::Tpm, Said::Gone(other))
            .unwrap_err();
        assert_eq!(fault.exit(), Exit::Protocol, "another end than ordered");
        let acts = supervisor
            .hears(NOW, Role::Tpm, Said::Gone(farewell))
            .unwrap();
        assert!(matches!(acts.as_slice(), [Act::Forget, Act::BeginAgain(_)]));
        assert!(supervisor.owned().is_none());
    }
}

#[test]
fn an_end_that_was_begun_is_carried_through_whatever_the_tpm_holds() {
    for farewell in [Farewell::Release, Farewell::Retire] {
        for ldevid in [
            LdevidFound::Absent,
            LdevidFound::Usable,
            LdevidFound::Unusable,
            LdevidFound::Foreign,
        ] {
            let (mut supervisor, acts) = begin(Kept::Ending(farewell), ldevid);
            assert_eq!(acts, [Act::Dismiss(farewell)]);
            assert_eq!(supervisor.state(), Lifecycle::Factory);
            let acts = supervisor
                .hears(NOW, Role::Tpm, Said::Gone(farewell))
                .unwrap();
            assert_eq!(acts.first(), Some(&Act::Forget));
        }
    }
}

#[test]
fn the_snapshot_shows_whose_the_box_is() {
    let (mut supervisor, _) = begin(owner(), LdevidFound::Usable);
    supervisor
        .hears(NOW, Role::Control, Said::Home(true))
        .unwrap();
    let snapshot = supervisor.snapshot(NOW);
    assert!(snapshot.home);
    let owner = snapshot.owner.unwrap();
    assert_eq!(owner.node.as_str(), owner::NODE);
    assert_eq!(owner.controller.as_str(), "controller.example");
    assert_eq!(owner.epoch, 3);
}

/// A document that does not count.
fn broken() -> Kept {
    Kept::Broken(OwnershipError::Version(9))
}

fn owner() -> Kept {
    Kept::Owner(Box::new(owner::owned()))
}

fn begin(kept: Kept, ldevid: LdevidFound) -> (Supervisor, Vec<Act>) {
    begin_with(kept, ldevid, false)
}

/// Everyone joins, then tpm says what it found; returns what followed from that.
fn begin_with(kept: Kept, ldevid: LdevidFound, retired: bool) -> (Supervisor, Vec<Act>) {
    let mut supervisor = Supervisor::new(Required::ALL, kept);
    join_all(&mut supervisor);
    let found = Said::Found(TpmFound {
        ldevid,
        retired,
        floors: bartizan_model::identity::Floors::default(),
    });
    let acts = supervisor.hears(NOW, Role::Tpm, found).unwrap();
    for row in ROLES {
        let state = supervisor.state();
        let has_ends = edges_of(row.role, state).next().is_some();
        let works = has_ends || row.alone.contains(&state);
        let started = acts.contains(&Act::Start(row.role));
        assert!(works || !started, "{:?} in {state:?}", row.role);
    }
    (supervisor, acts)
}

fn join_all(supervisor: &mut Supervisor) -> Vec<Act> {
    let mut acts = Vec::new();
    for row in ROLES {
        assert!(supervisor.joins(row.role));
        let said = Said::LockedDown(achieved(row.role));
        acts.extend(supervisor.hears(NOW, row.role, said).unwrap());
    }
    acts
}

fn granted(acts: &[Act]) -> impl Iterator<Item = Edge> {
    acts.iter().filter_map(|act| {
        if let Act::Grant(edge) = act {
            Some(*edge)
        } else {
            None
        }
    })
}

fn started(acts: &[Act]) -> Vec<Role> {
    let role = |act: &Act| {
        if let Act::Start(role) = act {
            Some(*role)
        } else {
            None
        }
    };
    acts.iter().filter_map(role).collect()
}
