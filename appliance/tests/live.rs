//! The supervisor as it ships, against roles and a service manager that the test plays.
#![cfg(test)]
#![forbid(unsafe_code)]
#![expect(
    clippy::arithmetic_side_effects,
    reason = "an overflow fails the test, as it should"
)]

mod locked;
mod owner;
mod support;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::time::Instant;

use bartizan::store::{Kept, Store};
use bartizan_model::config::Purpose;
use bartizan_model::identity::{Farewell, LdevidFound};
use bartizan_model::lifecycle::Lifecycle;
use bartizan_model::message::{
    Edge, EngineToPeer, PeerToEngine, Role, RoleConfig, RoleToSupervisor as Said, SupervisorToRole,
};
use bartizan_model::report::Snapshot;
use bartizan_process::{Channel, ChannelError};
use locked::achieved;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use support::{Live, PATIENCE, Setup, bartizanctl, next, refused, root, started, uid_of};

const LEASE: std::time::Duration = std::time::Duration::from_mins(5);

#[test]
fn each_role_gets_its_ends_and_its_configuration() {
    if !root() {
        return;
    }
    let live = Live::ready();
    let mut engine = live.join(Role::Engine);
    let _xfrm = live.join(Role::Xfrm);
    let mut control = live.join(Role::Control);
    let _tpm = live.join(Role::Tpm);

    let (ends, config, _) = started(&mut engine);
    let edges: BTreeSet<_> = ends.iter().map(|(edge, _)| *edge).collect();
    assert_eq!(edges, [Edge::ControlEngine, Edge::EngineXfrm].into());
    let RoleConfig::Engine(config) = config else {
        panic!("{config:?}")
    };
    assert_eq!(config.node.as_str(), "gateway.example");
    assert_eq!(config.verifier.es384, vec![4; 97]);
    assert_eq!(config.verifier.ml_dsa_65, vec![5; 1952]);
    let told = next(&mut engine).unwrap().message;
    assert_eq!(told, SupervisorToRole::Lifecycle(Lifecycle::Attesting));

    let (_ends, config, passed) = started(&mut control);
    let RoleConfig::Control(config) = config else {
        panic!("{config:?}")
    };
    assert!(!config.restored && passed.is_none());
    assert_eq!(config.chain.len(), 1);
}

#[test]
fn the_ends_of_an_edge_are_joined() {
    if !root() {
        return;
    }
    let live = Live::ready();
    let mut roles = live.join_all();
    let place = |role| move |(other, _): &(Role, _)| *other == role;
    let engine = roles.iter().position(place(Role::Engine)).unwrap();
    let peer = roles.iter().position(place(Role::Peer)).unwrap();
    roles[engine].1.send(&Said::LeaseAccepted(LEASE)).unwrap();

    let (mut ends, config, _) = started(&mut roles[peer].1);
    assert!(matches!(config, RoleConfig::Peer(_)));
    let at = ends
        .iter()
        .position(|(edge, _)| *edge == Edge::EnginePeer)
        .unwrap();
    let mut peer = Channel::<EngineToPeer, PeerToEngine>::new(ends.remove(at).1).unwrap();
    let fd = loop {
        let received = next(&mut roles[engine].1).unwrap();
        if received.message == SupervisorToRole::End(Edge::EnginePeer) {
            break received.fd.unwrap();
        }
    };
    let mut engine = Channel::<PeerToEngine, EngineToPeer>::new(fd).unwrap();
    let node = bartizan_model::ids::NodeId::try_from("gw-b.example").unwrap();
    engine.send(&EngineToPeer::Unlink(node.clone())).unwrap();
    assert_eq!(
        peer.recv().unwrap().unwrap().message,
        EngineToPeer::Unlink(node)
    );
    assert_eq!(live.notice().0, "STATUS=Attested");
}

#[test]
fn a_foreign_user_and_a_second_connection_are_refused_and_counted() {
    if !root() {
        return;
    }
    let live = Live::ready();
    for uid in [0, uid_of(Role::Updater) + 1] {
        assert!(refused(&mut live.connect(uid)), "{uid}");
    }
    let mut first = live.connect(uid_of(Role::Tpm));
    live.status(|_| true);
    assert!(refused(&mut live.connect(uid_of(Role::Tpm))));
    first.send(&Said::LockedDown(achieved(Role::Tpm))).unwrap();
    let counted = ("supervisor.connections-refused".to_owned(), 3);
    let snapshot = live.status(|snapshot| !snapshot.achieved.is_empty());
    assert!(
        snapshot.counters.contains(&counted),
        "{:?}",
        snapshot.counters
    );
}

#[test]
fn the_end_of_any_role_is_the_end_of_all() {
    if !root() {
        return;
    }
    for place in 0..bartizan::roles::ROLES.len() {
        let live = Live::ready();
        let mut roles = live.join_all();
        roles.remove(place);
        assert_eq!(live.ended(), Some(69));
        for (role, mut end) in roles {
            let closed = loop {
                match next(&mut end) {
                    Ok(_) => {}
                    Err(error) => break error,
                }
            };
            assert!(matches!(closed, ChannelError::Closed), "{role:?}: {closed}");
        }
    }
}

#[test]
fn a_role_that_breaks_the_rules_is_the_end_of_all() {
    if !root() {
        return;
    }
    let live = Live::ready();
    let mut less = achieved(Role::Engine);
    less.seccomp = false;
    live.connect(uid_of(Role::Engine))
        .send(&Said::LockedDown(less))
        .unwrap();
    assert_eq!(live.ended(), Some(77));

    let live = Live::ready();
    let garbage = live.connect(uid_of(Role::Engine));
    rustix::net::send(&garbage, &[0x7f; 40], rustix::net::SendFlags::NOSIGNAL).unwrap();
    assert_eq!(live.ended(), Some(76));

    let live = Live::ready();
    live.join(Role::Engine)
        .send(&Said::LeaseAccepted(LEASE))
        .unwrap();
    assert_eq!(live.ended(), Some(76));
}

#[test]
fn a_lost_lease_is_the_end_of_all() {
    if !root() {
        return;
    }
    let live = Live::ready();
    let mut roles = live.join_all();
    roles[0].1.send(&Said::LeaseAccepted(LEASE)).unwrap();
    assert_eq!(live.notice().0, "STATUS=Attested");
    roles[0].1.send(&Said::PolicyInForce(true)).unwrap();
    assert_eq!(live.notice().0, "STATUS=Operational");
    live.status(|snapshot| snapshot.lifecycle == Lifecycle::Operational);
    roles[0].1.send(&Said::LeaseLost).unwrap();
    assert_eq!(live.ended(), Some(75));
}

#[test]
fn the_copy_of_running_goes_to_the_service_manager_and_comes_back() {
    if !root() {
        return;
    }
    let live = Live::ready();
    let mut roles = live.join_all();
    let control = &mut roles[2].1;
    control
        .send_fd(&Said::Running, copy("policies", true))
        .unwrap();
    assert_eq!(live.notice().0, "FDSTOREREMOVE=1\nFDNAME=running");
    let (text, stored) = live.notice();
    assert_eq!(text, "FDSTORE=1\nFDNAME=running\nFDPOLL=0");
    drop(live);

    let again = Live::start(Setup {
        running: stored,
        ..Setup::default()
    });
    again.is_ready();
    let mut roles: Vec<_> = [Role::Engine, Role::Xfrm, Role::Tpm]
        .map(|role| again.join(role))
        .into();
    roles.push(again.join(Role::Control));
    let (_, config, passed) = started(roles.last_mut().unwrap());
    assert!(matches!(config, RoleConfig::Control(config) if config.restored));
    let mut text = String::new();
    let mut file = File::from(passed.unwrap());
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "policies");
}

#[test]
fn a_copy_that_can_still_be_changed_is_not_stored() {
    if !root() {
        return;
    }
    let live = Live::ready();
    let mut roles = live.join_all();
    roles[2]
        .1
        .send_fd(&Said::Running, copy("policies", false))
        .unwrap();
    assert_eq!(live.ended(), Some(76));
}

#[test]
fn a_stored_copy_that_can_still_be_changed_is_not_handed_on() {
    if !root() {
        return;
    }
    let running = Some(copy("policies", false));
    let live = Live::start(Setup {
        running,
        ..Setup::default()
    });
    live.is_ready();
    let mut roles =
        [Role::Engine, Role::Xfrm, Role::Tpm, Role::Control].map(|role| live.join(role));
    let (_, config, passed) = started(&mut roles[3]);
    assert!(matches!(config, RoleConfig::Control(config) if !config.restored));
    assert!(passed.is_none());
}

#[test]
fn the_supervisor_is_locked_down_and_alive() {
    if !root() {
        return;
    }
    let live = Live::ready();
    assert_eq!(live.any_notice().0, "WATCHDOG=1");
    let text = std::fs::read_to_string(format!("/proc/{}/status", live.child.id())).unwrap();
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap()
            .trim()
    };
    assert_eq!(field("Seccomp:"), "2");
    assert_eq!(field("NoNewPrivs:"), "1");
    for set in ["CapPrm:", "CapEff:", "CapInh:", "CapAmb:"] {
        assert_eq!(u64::from_str_radix(field(set), 16), Ok(0), "{set}");
    }
}

#[test]
fn what_is_wrong_at_the_start_is_said_by_the_exit_code() {
    if !root() {
        return;
    }
    let shipped = Setup::default().config;
    let wrong = |from: &str, to: &str| Setup {
        config: shipped.replace(from, to),
        ..Setup::default()
    };
    for (what, setup, code) in [
        ("an unknown key", wrong("[state]", "[state]\nx = 1"), 78),
        ("no such file", wrong("voucher-root.pem", "other.pem"), 78),
        ("no certificate", wrong("voucher-root.pem", "passwd"), 78),
        (
            "a key of another length",
            wrong("voucher-ml-dsa-65.pub", "voucher-root.pem"),
            78,
        ),
        ("no state folder", wrong("\"state\"", "\"nowhere\""), 74),
        (
            "root",
            Setup {
                uid: 0,
                ..Setup::default()
            },
            77,
        ),
        (
            "a newer kernel wanted",
            wrong("landlock = 7", "landlock = 99"),
            77,
        ),
        (
            "no sockets",
            Setup {
                sockets: false,
                ..Setup::default()
            },
            64,
        ),
    ] {
        assert_eq!(Live::start(setup).ended(), Some(code), "{what}");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test's own deadline")]
fn the_status_tool_shows_what_the_supervisor_knows() {
    if !root() {
        return;
    }
    let live = Live::ready();
    let _roles = live.join_all();
    // The role that joined last is not answered: what it achieved is known a little later.
    let asked = Instant::now();
    loop {
        let json: Snapshot =
            serde_json::from_str(&bartizanctl(&live, &["status", "--json"])).unwrap();
        if json.achieved.len() == bartizan::roles::ROLES.len() {
            break;
        }
        assert!(asked.elapsed() < PATIENCE, "{json:?}");
    }
    let table = bartizanctl(&live, &["status"]);
    assert!(
        table.starts_with(
            "node   gateway.example\n\
             owner  controller.example, epoch 3; no session\n\
             state  Attesting\n\
             lease  none\n"
        ),
        "{table}"
    );
    assert!(table.contains("\nengine     7         yes"), "{table}");
}

#[test]
fn an_owner_that_was_enrolled_with_is_kept_and_all_begin_again() {
    if !root() {
        return;
    }
    let live = Live::start(unowned());
    live.is_ready();
    let _xfrm = live.join(Role::Xfrm);
    let mut bootstrap = live.join(Role::Bootstrap);
    let mut tpm = live.join(Role::Tpm);
    let (ends, config, _) = started(&mut bootstrap);
    assert_eq!(ends.len(), 1);
    let RoleConfig::Bootstrap(config) = config else {
        panic!("{config:?}")
    };
    assert_eq!(config.purpose, Purpose::Enrol);
    assert_eq!(config.hw_model, "Bartizan 1");
    assert_eq!(config.sources.servers.len(), 1);
    let discovering = next(&mut tpm).unwrap().message;
    assert!(matches!(
        discovering,
        SupervisorToRole::Lifecycle(Lifecycle::Factory)
    ));
    bootstrap.send(&Said::OwnerFound).unwrap();
    assert_eq!(live.notice().0, "STATUS=Enrolling");
    let owned = owner::owned();
    let ownership = Box::new(owned.ownership().clone());
    bootstrap.send(&Said::Enrolled(ownership)).unwrap();
    let state = live.dir.join("state");
    while next(&mut bootstrap).unwrap().message != SupervisorToRole::KeepLdevid {}
    let kept = Store::open(&state).unwrap().read().unwrap();
    assert!(matches!(kept, Kept::Pending(kept) if *kept == owned));
    bootstrap.send(&Said::LdevidKept).unwrap();
    loop {
        match next(&mut bootstrap) {
            Ok(_) => {}
            Err(error) => break assert!(matches!(error, ChannelError::Closed), "{error}"),
        }
    }
    let kept = Store::open(&state).unwrap().read().unwrap();
    assert!(matches!(kept, Kept::Owner(kept) if *kept == owned));
    assert_eq!(live.ended(), Some(75));
}

#[test]
fn what_is_plugged_in_later_is_told_to_bootstrap() {
    if !root() {
        return;
    }
    let mut setup = unowned();
    setup.config = setup.config.replace("/media/bartizan", "media/stick");
    let live = Live::start(setup);
    live.is_ready();
    let mut bootstrap = live.join(Role::Bootstrap);
    let _tpm = live.join(Role::Tpm);
    started(&mut bootstrap);
    let stick = live.dir.join("media/stick");
    std::fs::create_dir_all(&stick).unwrap();
    for name in [
        "conveyed-information",
        "owner-certificate",
        "ownership-voucher",
    ] {
        std::fs::write(stick.join(format!("{name}.cms")), name).unwrap();
    }
    let sources = loop {
        if let SupervisorToRole::Sources(sources) = next(&mut bootstrap).unwrap().message {
            break sources;
        }
    };
    let media = sources.media.unwrap();
    assert_eq!(media.ownership_voucher, b"ownership-voucher");
}

#[test]
fn an_ownership_that_does_not_count_is_quarantine() {
    if !root() {
        return;
    }
    let live = Live::start(Setup {
        kept: b"{}".to_vec(),
        ..Setup::default()
    });
    live.is_ready();
    let _tpm = live.join(Role::Tpm);
    let table = bartizanctl(&live, &["status"]);
    let told = "owner  none\nstate  Quarantined: what is known of the owner cannot be read\n";
    assert!(table.starts_with(told), "{table}");
}

#[test]
fn an_ordered_end_forgets_the_owner() {
    if !root() {
        return;
    }
    let live = Live::ready();
    let mut roles = live.join_all();
    let state = live.dir.join("state");
    roles[0].1.send(&Said::Ordered(Farewell::Release)).unwrap();
    let (_, tpm) = roles
        .iter_mut()
        .find(|(role, _)| *role == Role::Tpm)
        .unwrap();
    while !matches!(
        next(tpm).unwrap().message,
        SupervisorToRole::Farewell(Farewell::Release)
    ) {}
    let store = Store::open(&state).unwrap();
    assert!(matches!(
        store.read().unwrap(),
        Kept::Ending(Farewell::Release)
    ));
    tpm.send(&Said::Gone(Farewell::Release)).unwrap();
    loop {
        match next(tpm) {
            Ok(_) => {}
            Err(error) => break assert!(matches!(error, ChannelError::Closed), "{error}"),
        }
    }
    assert!(matches!(store.read().unwrap(), Kept::Nobody));
    assert_eq!(live.ended(), Some(75));
}

/// A box that has no owner.
fn unowned() -> Setup {
    Setup {
        kept: Vec::new(),
        found: LdevidFound::Absent,
        ..Setup::default()
    }
}

/// A memfd with this text, sealed or not.
fn copy(text: &str, sealed: bool) -> OwnedFd {
    let fd = memfd_create("running", MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC).unwrap();
    let mut file = File::from(fd);
    file.write_all(text.as_bytes()).unwrap();
    let fd = OwnedFd::from(file);
    if sealed {
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
        fcntl_add_seals(&fd, seals).unwrap();
    }
    fd
}
