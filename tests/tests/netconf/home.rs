//! What the supervisor has a say in: which network the controller is called over, and by which certificate.

use bartizan_model::message::{ControlToEngine, RoleToSupervisor, SupervisorToRole};
use bartizan_model::report::NetworkState;
use bartizan_netconf::client::Request;
use bartizan_tests::pki::Valid;

use crate::LEASED;
use crate::controller::{Owner, Session, data};
use crate::gateway::Gateway;

#[test]
fn over_another_network_the_controller_is_called_anew() {
    let owner = Owner::new();
    let mut gateway = Gateway::start(&owner);
    let mut before = owner.accept();
    assert_eq!(data(before.ask(&Request::State)).network, None);
    assert_eq!(gateway.role.hear(), RoleToSupervisor::Home(true));

    // The controller of before says nothing more, as if its network were gone.
    let trial = SupervisorToRole::Network(NetworkState::OnTrial);
    gateway.role.tell(&trial);
    gateway.role.tell(&SupervisorToRole::CallAnew);
    assert_eq!(gateway.role.hear(), RoleToSupervisor::Home(false));
    assert_eq!(gateway.role.hear(), RoleToSupervisor::CallingAnew);

    let mut after = owner.accept();
    let told = data(after.ask(&Request::State)).network;
    assert_eq!(told, Some(NetworkState::OnTrial));
    assert_eq!(gateway.role.hear(), RoleToSupervisor::Home(true));
    assert!(gateway.role.runs());
}

#[test]
fn the_order_to_call_anew_is_answered_also_where_nobody_was_reached() {
    let owner = Owner::new();
    let mut gateway = Gateway::start(&owner);
    // It has a connection, and no session yet.
    let _silent = owner.accept_tcp();
    gateway.role.tell(&SupervisorToRole::CallAnew);
    assert_eq!(gateway.role.hear(), RoleToSupervisor::CallingAnew);
    let mut session = owner.accept();
    data(session.ask(&Request::State));
    assert_eq!(gateway.role.hear(), RoleToSupervisor::Home(true));
}

#[test]
fn a_renewed_certificate_is_kept_and_shown_and_no_other() {
    let owner = Owner::new();
    let mut gateway = Gateway::start(&owner);
    let mut session = owner.accept();
    let grant = |lease, ldevid| Request::Grant { lease, ldevid };

    let stranger = owner.ca.issue_valid(&["gw-a.example"], Valid::Always);
    let other = owner.ca.issue_again(&["gw-b.example"], &gateway.certified);
    for (number, wrong) in (1..).zip([stranger.chain(), &other]) {
        session.ask(&grant(b"lease", wrong)).unwrap_err();
        gateway.role.wait_count("ldevid-refused", number);
    }

    // It comes with a lease, and counts if that does: the engine hears of the lease alone.
    let renewed = owner.ca.issue_again(&["gw-a.example"], &gateway.certified);
    assert_ne!(shown(&session), renewed[0].0);
    session.send(&grant(b"lease", &renewed));
    assert_eq!(gateway.hear(), ControlToEngine::Lease(b"lease".to_vec()));
    gateway.say(&LEASED);
    session.reply().unwrap();
    // What it said of its session was heard, and passed over, while it counted.
    let kept = RoleToSupervisor::Ldevid(renewed.clone());
    assert_eq!(gateway.role.hear(), kept);

    gateway
        .role
        .tell(&SupervisorToRole::Ldevid(renewed.clone()));
    gateway.role.wait_count("ldevid-renewed", 1);
    drop(session);
    let session = owner.accept();
    assert_eq!(shown(&session), renewed[0].0);
}

/// The certificate that the gateway has shown in this session.
fn shown(session: &Session) -> &[u8] {
    let chain = session.stream.conn.peer_certificates();
    chain.expect("a certificate").first().expect("a leaf")
}
