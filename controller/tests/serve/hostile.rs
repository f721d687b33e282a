//! Who must not get in, and what who got in may not do to the others.

use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::gateway::{Done, Played, Script, dial};
use crate::owner::{Ca, LIMIT, Owner, node, plan, text};

#[test]
fn only_nodes_of_the_controller_get_in() {
    let owner = Owner::start(&["a"]);
    let foreign = Ca::new();
    for (stranger, counter) in [
        (owner.identity(&["c"]), "unknown-node"),
        (foreign.identity(&["a"]), "handshake-refused"),
    ] {
        let before = owner.status().counters.get(counter).copied().unwrap_or(0);
        let gateway = Played::call_home_as(&owner, stranger, Script::default());
        gateway.next(|done| match done {
            Done::Ended => Some(()),
            other => panic!("{other:?}"),
        });
        let status = owner.status_when(counter, |status| {
            status.counters.get(counter) > Some(&before)
        });
        assert_eq!(node(&status, "a").sessions, 0);
    }
}

/// Whatever a certified gateway says, the session of the other goes on: it gets its plan.
#[test]
fn a_gateway_that_talks_nonsense_harms_no_other() {
    let mut owner = Owner::start(&["a", "b"]);
    let good = Played::call_home(&owner, "b", Script::default());
    let long = vec![b'a'; 200_000];
    let nonsense: [&[u8]; 7] = [
        b"",
        b"\xff\xfe\x00nonsense]]>]]>",
        b"<hello/>]]>]]>",
        b"<?xml version=\"1.0\"?><!DOCTYPE x [<!ENTITY y \"z\">]><hello>&y;</hello>]]>]]>",
        b"<rpc-reply xmlns=\"urn:ietf:params:xml:ns:netconf:base:1.0\" message-id=\"1\"><ok/></rpc-reply>]]>]]>",
        &long,
        b"<hello xmlns=\"urn:ietf:params:xml:ns:netconf:base:1.0\"><capabilities><capability>urn:ietf:params:netconf:base:1.0</capability></capabilities><session-id>1</session-id></hello>]]>]]><rpc-reply xmlns=\"urn:ietf:params:xml:ns:netconf:base:1.0\" message-id=\"77\"><ok/></rpc-reply>]]>]]>",
    ];
    let identity = owner.identity(&["a"]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for (number, words) in nonsense.iter().enumerate() {
        runtime.block_on(async {
            let anchors = owner.ca.anchors();
            let mut link = dial(&identity, &anchors, owner.address).await.unwrap();
            link.stream.write_all(words).await.unwrap();
            link.stream.flush().await.unwrap();
            if words.is_empty() {
                // Gone before its hello.
                return;
            }
            let mut heard = Vec::new();
            // The controller ends it, with its own hello at most before.
            let _closed_or_reset = link.stream.read_to_end(&mut heard).await;
            assert!(heard.starts_with(b"<") || heard.is_empty());
        });
        let sessions = u64::try_from(number).unwrap() + 1;
        owner.status_when("over", |status| {
            let a = node(status, "a");
            a.sessions == sessions && a.address.is_none()
        });
    }
    owner.applied(&plan([1]));
    good.next(|done| matches!(done, Done::Edited { .. }).then_some(()));
    assert_eq!(node(&owner.status(), "b").sessions, 1);
    assert!(owner.lives());
    drop(good);
}

/// Connections that never begin TLS fill their own address's share; what is established goes on,
/// and the share comes back.
#[test]
fn silent_connections_harm_no_session() {
    let owner = Owner::start(&["a", "b"]);
    let good = Played::call_home(&owner, "a", Script::default());
    owner.status_when("connected", |status| {
        node(status, "a").connected_for.is_some()
    });
    let silent: Vec<_> = (0..40)
        .map(|_| TcpStream::connect(owner.address).unwrap())
        .collect();
    owner.status_when("a crowd", |status| {
        status.counters.get("handshake-crowd") >= Some(&30)
    });
    owner.applied(&plan([1]));
    good.next(|done| matches!(done, Done::Edited { .. }).then_some(()));
    drop(silent);
    drop(good);
    owner.status_when("gone", |status| node(status, "a").address.is_none());
    // Until the controller has seen the silent ones go, it may take nobody of this address: a gateway
    // calls again then.
    #[expect(clippy::disallowed_methods, reason = "a limit for the whole test")]
    let begun = Instant::now();
    loop {
        let again = Played::call_home(&owner, "a", Script::default());
        let led = again.next(|done| match done {
            Done::Edited { .. } => Some(true),
            Done::Ended => Some(false),
            Done::Leased => None,
        });
        if led {
            break;
        }
        assert!(begun.elapsed() < LIMIT, "the share does not come back");
    }
}

#[test]
fn a_gateway_that_answers_nothing_keeps_nobody_waiting() {
    let owner = Owner::start(&["a", "b"]);
    let (identity, anchors) = (owner.identity(&["a"]), owner.ca.anchors());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _silent = runtime
        .block_on(dial(&identity, &anchors, owner.address))
        .unwrap();
    let other = Played::call_home(&owner, "b", Script::default());
    owner.applied(&plan([1]));
    other.next(|done| matches!(done, Done::Edited { .. }).then_some(()));
    assert!(node(&owner.status(), "a").connected_for.is_some());
}

#[test]
fn a_command_that_is_none_is_refused() {
    let owner = Owner::start(&["a"]);
    for words in [
        "\n",
        "{}\n",
        "\"status\" trailing\n",
        "{\"apply\":{}}\n",
        "[[[[[[",
    ] {
        let mut stream = UnixStream::connect(owner.socket()).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(words.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
        assert!(answer.contains("refused"), "{words}: {answer}");
    }
    assert_eq!(owner.status().version, 1);
}

/// Whatever the socket's mode lets through, another user is not listened to.
#[test]
fn another_user_commands_nothing() {
    let root = rustix::process::geteuid().is_root();
    let skip = std::env::var_os("BARTIZAN_ALLOW_SKIP").is_some();
    assert!(root || skip, "only root can play another user");
    if !root {
        return;
    }
    let owner = Owner::start(&["a", "b"]);
    let file = owner.write("empty.toml", "");
    for words in [&["status"][..], &["apply", &file]] {
        let output = owner.as_another_user(words).output().unwrap();
        assert!(!output.status.success(), "{}", text(&output));
        assert!(text(&output).contains("cannot speak"), "{}", text(&output));
    }
    let status = owner.status();
    assert_eq!(status.counters["command-of-another-user"], 2);
    assert!(status.tunnels.is_empty());
}

#[test]
fn a_controller_has_as_many_files_as_the_service_manager_lets_it() {
    // As a service begins: with what select(2) can bear.
    let limit = getrlimit(Resource::Nofile);
    let few = Rlimit {
        current: Some(512),
        ..limit
    };
    setrlimit(Resource::Nofile, few).unwrap();
    let owner = Owner::start(&["a"]);
    let most = limit.maximum.unwrap();
    assert!(most > 512, "nothing to raise");
    assert_eq!(owner.files(), [most, most]);
}
