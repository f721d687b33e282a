//! Who gets an answer, in which order, and what ends the role.

use bartizan_model::{
    identity::{Floor, KeyName, Log, PcrSelection},
    lifecycle::Lifecycle,
    message::{Edge, FromTpm, Role as Neighbour, SupervisorToRole, ToTpm},
};
use bartizan_process::{Exit, socket_pair};
use bartizan_tpm::{Request, Tpm, TpmError, permits};

use crate::boot::Boot;
use crate::role::{CONTROL, ORDER, PEER, QKD, Role, sign_ldevid, verify, wait_for};

/// The table itself stands beside the code; this shows that the role asks it.
#[test]
fn every_neighbour_gets_what_the_state_grants() {
    let neighbours = [
        Neighbour::Control,
        Neighbour::Peer,
        Neighbour::Qkd,
        Neighbour::Bootstrap,
    ];
    let requests = [
        sign_ldevid(),
        ToTpm::Sign {
            order: ORDER,
            key: KeyName::Idevid,
            digest: vec![1; 48],
        },
        ToTpm::Identity(ORDER),
        ToTpm::Quote {
            order: ORDER,
            qualifying: vec![1; 16],
            pcrs: PcrSelection(1),
        },
        ToTpm::Attest {
            order: ORDER,
            binding: [1; 32],
            pcrs: PcrSelection(1),
        },
        ToTpm::ReadLog {
            order: ORDER,
            log: Log::Firmware,
            offset: 0,
        },
        ToTpm::RaiseFloor {
            order: ORDER,
            floor: Floor::Rollback,
            to: 0,
        },
        ToTpm::RaiseFloor {
            order: ORDER,
            floor: Floor::Time,
            to: 0,
        },
    ];
    let (mut role, _key) = Role::owned();
    let mut granted = 0;
    for state in Lifecycle::ALL {
        role.enter(state);
        for (edge, neighbour) in neighbours.into_iter().enumerate() {
            for request in &requests {
                let reply = role.ask(edge, request);
                if permits(neighbour, state, Request::from(request)) {
                    granted += 1;
                    let refused =
                        matches!(reply, FromTpm::NotPermitted(_) | FromTpm::Failed { .. });
                    assert!(!refused, "{state:?} {neighbour:?} {request:?}: {reply:?}");
                } else {
                    let what = format!("{state:?} {neighbour:?} {request:?}");
                    assert_eq!(reply, FromTpm::NotPermitted(ORDER), "{what}");
                }
            }
        }
    }
    assert_eq!(granted, 32);
}

/// One neighbour's heap of requests does not keep another's one waiting: in every round each has
/// its turn.
#[test]
fn neighbours_take_turns() {
    let (mut role, key) = Role::owned();
    role.enter(Lifecycle::Operational);
    verify(&key, &role.ask(CONTROL, &sign_ldevid()));
    let heap = 300;
    for _number in 0..heap {
        role.edges[PEER].send(&sign_ldevid()).unwrap();
    }
    verify(&key, &role.ask(QKD, &sign_ldevid()));
    let mut answered = 0;
    while role.edges[PEER].recv().unwrap().is_some() {
        answered += 1;
    }
    assert!(answered < heap, "all {answered} came first");
    while answered < heap {
        role.edges[PEER].flush().unwrap();
        wait_for(&mut role.edges[PEER]);
        answered += 1;
    }
}

#[test]
fn a_dead_tpm_ends_the_role() {
    let (mut role, key) = Role::owned();
    role.enter(Lifecycle::Attesting);
    verify(&key, &role.ask(CONTROL, &sign_ldevid()));
    role.boot.swtpm.kill();
    role.edges[CONTROL].send(&sign_ldevid()).unwrap();
    assert_eq!(role.ended().exit(), Exit::IoErr);
}

#[test]
fn a_dead_neighbour_ends_the_role() {
    let mut role = Role::start(Boot::unapproved());
    role.edges.remove(PEER);
    assert_eq!(role.ended().exit(), Exit::Unavailable);
}

#[test]
fn an_end_of_another_edge_ends_the_role() {
    let mut role = Role::start(Boot::unapproved());
    let (end, _other) = socket_pair().unwrap();
    role.supervisor
        .send_fd(&SupervisorToRole::End(Edge::EngineXfrm), end)
        .unwrap();
    assert_eq!(role.ended().exit(), Exit::Protocol);
}

#[test]
fn only_a_device_or_a_swtpm_is_opened() {
    for name in ["", "tabrmd", "mssim:port=2321", "/dev/tpmrm0", "device"] {
        let opened = Tpm::open(name);
        assert!(
            matches!(opened, Err(TpmError::Name | TpmError::Open(_))),
            "{name}"
        );
    }
    let absent = Tpm::open("device:/nonexistent/tpm");
    assert!(matches!(absent, Err(TpmError::Open(_))));
}
