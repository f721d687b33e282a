//! The control role's real process against a controller, and against what is none.
#![cfg(test)]
#![forbid(unsafe_code)]

mod controller;
mod gateway;
mod home;
mod metrics;
mod stock;

use std::io::Write as _;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use bartizan_model::ids::{EntryName, Nonce};
use bartizan_model::lifecycle::Lifecycle;
use bartizan_model::message::{
    ControlToEngine, EditRefusal, EngineToControl, LeaseRefusal, Memory,
};
use bartizan_model::policy::Policy;
use bartizan_model::report::{Alarm, Notice};
use bartizan_netconf::client::{Reply, Request};
use bartizan_netconf::{ErrorTag, Running};
use bartizan_tests::pki::Valid;
use controller::{Owner, Session, data};
use gateway::{Gateway, policy};

const LEASED: EngineToControl = EngineToControl::LeaseAccepted(Duration::from_mins(5));

fn grant(lease: &[u8]) -> Request<'_> {
    Request::Grant { lease, ldevid: &[] }
}

fn alarm() -> EngineToControl {
    EngineToControl::Notice(Box::new(Notice::Alarm {
        entry: EntryName::try_from("out/a/in/b").unwrap(),
        alarm: Alarm::PeerUnreachable,
    }))
}

#[test]
fn the_role_is_locked_down_and_holds_no_secret_memory() {
    let owner = Owner::new();
    let gateway = Gateway::start(&owner);
    let achieved = gateway.role.achieved();
    assert!(achieved.seccomp && achieved.undumpable && achieved.no_new_privs);
    assert_eq!(achieved.memory, Memory::NoSecrets);
}

#[test]
fn a_gateway_calls_home_and_is_steered() {
    let owner = Owner::new();
    let mut gateway = Gateway::start(&owner);
    gateway.role.enter(Lifecycle::Attesting);
    gateway.say(&EngineToControl::LeaseNonce(Nonce([3; 32])));
    let mut session = owner.accept();
    // What the supervisor and the engine said takes its own way.
    let deadline = Instant::now() + Duration::from_secs(20);
    let state = loop {
        let state = data(session.ask(&Request::State));
        if (state.nonce.is_some() && state.lifecycle.is_some()) || Instant::now() > deadline {
            break state;
        }
    };
    assert_eq!(state.nonce, Some(Nonce([3; 32])));
    assert_eq!(state.lifecycle, Some(Lifecycle::Attesting));
    assert_eq!(state.node.unwrap().as_str(), "gw-a.example");

    // Without a lease nothing is steered.
    let policies = [policy(1), policy(2)];
    session.send(&Request::Replace(&policies));
    let edit = gateway.edit(&policies);
    gateway.say(&EngineToControl::EditRefused {
        edit,
        entry: policies[0].name.clone(),
        reason: EditRefusal::NotAttested,
    });
    let errors = session.reply().unwrap_err();
    assert_eq!(errors[0].tag, ErrorTag::AccessDenied);
    assert_eq!(errors[0].app_tag.as_deref(), Some("not-attested"));

    session.send(&grant(b"not a lease"));
    let lease = gateway.hear();
    assert_eq!(lease, ControlToEngine::Lease(b"not a lease".to_vec()));
    gateway.say(&EngineToControl::LeaseRefused(LeaseRefusal::Malformed));
    assert_eq!(
        session.reply().unwrap_err()[0].app_tag.as_deref(),
        Some("malformed")
    );
    session.send(&grant(b"a lease"));
    gateway.hear();
    gateway.say(&LEASED);
    assert_eq!(session.reply().unwrap(), Reply::Ok);

    session.send(&Request::Replace(&policies));
    let edit = gateway.edit(&policies);
    gateway.say(&EngineToControl::EditAccepted(edit));
    assert_eq!(session.reply().unwrap(), Reply::Ok);
    assert_eq!(
        data(session.ask(&Request::Configuration)).policies,
        policies
    );
}

#[test]
fn the_copy_of_running_is_with_the_supervisor_before_the_controller_is_answered() {
    let owner = Owner::new();
    let mut gateway = Gateway::start(&owner);
    let mut session = owner.accept();
    let policies = [policy(1)];
    session.send(&Request::Replace(&policies));
    let edit = gateway.edit(&policies);
    gateway.say(&EngineToControl::EditAccepted(edit));
    assert_eq!(session.reply().unwrap(), Reply::Ok);
    // The answer is here, so the copy is too: no waiting.
    let copy = gateway.role.running_by_now();
    gateway::assert_sealed(&copy);

    // The next start has it, offers it to the engine at once and shows it.
    let mut gateway = Gateway::restart(&owner, copy);
    assert!(matches!(gateway.hear(), ControlToEngine::BeginRestore(_)));
    assert_eq!(
        gateway.hear(),
        ControlToEngine::Put(Box::new(policies[0].clone()))
    );
    let ControlToEngine::CommitEdit(edit) = gateway.hear() else {
        panic!("the restoration ends");
    };
    gateway.say(&EngineToControl::EditAccepted(edit));
    let mut session = owner.accept();
    assert_eq!(
        data(session.ask(&Request::Configuration)).policies,
        policies
    );
}

#[test]
fn a_copy_that_is_none_leaves_a_gateway_that_asks_for_everything() {
    let owner = Owner::new();
    let copy = gateway::memfd(b"no copy");
    let _gateway = Gateway::restart(&owner, copy);
    let mut session = owner.accept();
    assert_eq!(data(session.ask(&Request::Configuration)).policies, []);
}

#[test]
fn ten_thousand_entries_go_to_the_engine_in_one_edit() {
    const ENTRIES: u32 = 10_000;
    let owner = Owner::new();
    let mut gateway = Gateway::start(&owner);
    let mut session = owner.accept();
    let policies: Vec<Policy> = (1..=ENTRIES).map(policy).collect();
    session.send(&Request::Replace(&policies));
    let edit = gateway.edit(&policies);
    gateway.say(&EngineToControl::EditAccepted(edit));
    assert_eq!(session.reply().unwrap(), Reply::Ok);
    let copy = gateway.role.wait_running();
    gateway::assert_sealed(&copy);
    assert_eq!(
        Running::from_copy(&gateway::read(&copy)).unwrap().len(),
        10_000
    );
    assert_eq!(
        data(session.ask(&Request::Configuration)).policies,
        policies
    );
}

#[test]
fn only_the_controller_is_spoken_with() {
    let owner = Owner::new();
    let mut gateway = Gateway::start(&owner);
    // Another node of the owner's, a stranger, and one who never says who it is.
    let node = owner.identity(&["gw-b.example"], Valid::Always);
    let mut refused = 0;
    for identity in [
        node,
        Owner::new().identity(&["controller.example"], Valid::Always),
    ] {
        assert!(
            owner
                .accept_as(&identity)
                .is_none_or(|mut session| session.greeted().is_err())
        );
        refused += 1;
        gateway.role.wait_count("controller-refused", refused);
    }
    drop(owner.accept_tcp());
    gateway.role.wait_count("controller-refused", refused + 1);
    assert_eq!(
        data(owner.accept().ask(&Request::State))
            .node
            .unwrap()
            .as_str(),
        "gw-a.example"
    );
    assert!(gateway.role.runs());
}

#[test]
fn a_session_that_ends_is_followed_by_another() {
    let owner = Owner::new();
    let mut gateway = Gateway::start(&owner);
    let close = |session: &mut Session| {
        assert_eq!(session.ask(&Request::Close).unwrap(), Reply::Ok);
    };
    let cut = |session: &mut Session| session.stream.sock.shutdown(Shutdown::Both).unwrap();
    let rave = |session: &mut Session| session.stream.write_all(b"\n#nonsense").unwrap();
    let ends: [&dyn Fn(&mut Session); 3] = [&close, &cut, &rave];
    let counted = ["closed", "lost", "broken"];
    for (end, counted) in ends.into_iter().zip(counted) {
        let mut session = owner.accept();
        data(session.ask(&Request::State));
        end(&mut session);
        gateway
            .role
            .wait_count(&format!("netconf-sessions-{counted}"), 1);
    }
    gateway.role.wait_count("netconf-sessions", 3);
    assert!(gateway.role.runs());
}

#[test]
fn an_edit_outlives_its_session() {
    let owner = Owner::new();
    let mut gateway = Gateway::start(&owner);
    let mut session = owner.accept();
    let policies = [policy(1)];
    session.send(&Request::Replace(&policies));
    let edit = gateway.edit(&policies);
    drop(session);
    gateway.say(&EngineToControl::EditAccepted(edit));
    gateway.role.wait_running();
    let mut session = owner.accept();
    assert_eq!(
        data(session.ask(&Request::Configuration)).policies,
        policies
    );
}

#[test]
fn a_subscriber_hears_of_events() {
    let owner = Owner::new();
    let mut gateway = Gateway::start(&owner);
    let mut session = owner.accept();
    assert_eq!(session.ask(&Request::Subscribe).unwrap(), Reply::Ok);
    gateway.say(&alarm());
    let EngineToControl::Notice(notice) = alarm() else {
        unreachable!("an alarm is a notice");
    };
    assert_eq!(session.notice(), *notice);
}

#[test]
fn a_controller_that_does_not_read_never_holds_the_engine_up() {
    let owner = Owner::new();
    let mut gateway = Gateway::start(&owner);
    let mut session = owner.accept();
    assert_eq!(session.ask(&Request::Subscribe).unwrap(), Reply::Ok);
    // Far more than all buffers hold; each `say` waits until the role has taken it or its queue has.
    for _ in 0..60_000 {
        gateway.say(&alarm());
    }
    gateway.role.wait_count("netconf-subscribers-too-slow", 1);
    drop(session);
    let mut session = owner.accept();
    data(session.ask(&Request::State));
    assert!(gateway.role.runs());
}
