//! `yanglint` judges our module and every document that we write, against the published modules.
//!
//! The published modules are no part of the tree: they are looked for in the folder that
//! `BARTIZAN_YANG` names, and in folders `*/yang` beside the checkout.

use core::time::Duration;
use std::path::{Path, PathBuf};
use std::process::Command;

use bartizan_model::config::KmeInterface;
use bartizan_model::ids::{Epoch, Nonce, Spi, TunnelId};
use bartizan_model::lifecycle::Lifecycle;
use bartizan_model::message::EngineToControl;
use bartizan_model::policy::{Combiner, ParameterSet};
use bartizan_model::report::{
    Alarm, BudgetLevel, BudgetReport, Latency, LinkCounts, LinkReason, LinkReport, LinkState, Mix,
    Notice, PairReport, QkdRefusal, QkdReport, SourceSet, TunnelReport, TunnelState,
};
use bartizan_model::time::BootTime;
use bartizan_netconf::UnixTime;

use crate::bench::{Bench, all, one, rpc};
use crate::documents::{GET_CONFIG, OUTBOUND, discard, edit};

const IKELESS: &str = "ietf-i2nsf-ikeless@2021-07-14.yang";

/// What the hello names besides.
const MODULES: [&str; 2] = [
    "ietf-tcg-algs@2024-12-05.yang",
    "ietf-tpm-remote-attestation@2024-12-05.yang",
];

/// What the YANG library is written in.
const LIBRARY: [&str; 2] = [
    "ietf-datastores@2018-02-14.yang",
    "ietf-yang-library@2019-01-04.yang",
];

const OURS: [&str; 2] = [
    "bartizan-ikeless@2026-01-15.yang",
    "bartizan-attestation@2026-02-02.yang",
];

/// The features that the hello names.
const FEATURES: [&str; 4] = [
    "ietf-netconf:writable-running,rollback-on-error",
    "ietf-i2nsf-ikeless:ikeless-notification",
    "ietf-tcg-algs:tpm20",
    "ietf-tpm-remote-attestation:",
];

/// `yanglint` with the modules of the gateway.
struct Yanglint {
    published: PathBuf,
}

impl Yanglint {
    /// `None`, with a line that says so, where the published modules are not.
    fn new() -> Option<Self> {
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        let beside = std::fs::read_dir(beside).unwrap();
        let beside = beside.map(|entry| entry.unwrap().path().join("yang"));
        let named = std::env::var_os("BARTIZAN_YANG").map(PathBuf::from);
        let mut folders = named.into_iter().chain(beside);
        let published = folders.find(|folder| folder.join(IKELESS).exists());
        if published.is_none() {
            assert!(
                std::env::var_os("CI").is_none(),
                "CI has the published YANG modules"
            );
            println!("SKIPPED: no folder has {IKELESS}; BARTIZAN_YANG may name one");
        }
        Some(Self {
            published: published?,
        })
    }

    #[expect(clippy::disallowed_methods, reason = "a test with a judge of its own")]
    fn command(&self) -> Command {
        let mut command = Command::new("yanglint");
        command
            .arg("-p")
            .arg(&self.published)
            .arg("-p")
            .arg(folder());
        command
    }

    /// Validates a document; gives what `yanglint` says against it.
    fn judge(&self, kind: &str, document: &str) -> Result<(), String> {
        let file = std::env::temp_dir().join(format!(
            "bartizan-netconf-{}-{:?}.xml",
            std::process::id(),
            std::thread::current().id()
        ));
        std::fs::write(&file, document).unwrap();
        let mut command = self.command();
        for features in FEATURES {
            command.args(["-F", features]);
        }
        let output = command
            .args(["-t", kind])
            .arg(self.published.join("ietf-netconf@2011-06-01.yang"))
            .arg(self.published.join(IKELESS))
            // All of a library's module is mandatory, its deprecated half too.
            .args(
                (kind == "get")
                    .then_some(LIBRARY)
                    .into_iter()
                    .flatten()
                    .map(|module| self.published.join(module)),
            )
            .args(MODULES.map(|module| self.published.join(module)))
            .args(OURS.map(|module| folder().join(module)))
            .arg(&file)
            .output()
            .expect("yanglint (package libyang2-tools) runs");
        std::fs::remove_file(&file).unwrap();
        if output.status.success() {
            return Ok(());
        }
        Err(String::from_utf8(output.stderr).unwrap())
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("yang")
}

/// The content of `data`, which is the document that the modules are about.
fn data(reply: &str) -> String {
    one(reply, "data").unwrap()
}

/// A gateway with something in every leaf that it can tell.
fn full() -> Bench {
    let mut bench = Bench::new();
    let inbound = OUTBOUND
        .replace("out/10.1.0.0/in/10.2.0.0", "in/10.2.0.0/out/10.1.0.0")
        .replace("outbound", "inbound")
        .replace("<df-bit>clear", "<df-bit>copy")
        .replace("<dial>lower", "<dial>higher")
        .replace("<combiner>hmac", "<combiner>xor")
        .replace("<peer-port>9061", "<peer-port>9062");
    bench.ok(&edit(&[OUTBOUND.into(), inbound, discard("d", 3)].concat()));
    bench.gateway.entered(Lifecycle::Operational);
    bench
        .gateway
        .heard(EngineToControl::LeaseNonce(Nonce([0xA5; 32])));
    for (reqid, state, alarm) in [
        (1, TunnelState::Protected, None),
        (
            2,
            TunnelState::Blocked,
            Some(Alarm::Qkd(QkdRefusal::RepeatedKey)),
        ),
    ] {
        bench
            .gateway
            .heard(EngineToControl::Tunnel(Box::new(TunnelReport {
                entry: format!("out/{reqid}").try_into().unwrap(),
                tunnel: TunnelId(reqid),
                peer: "gw-b.example".try_into().unwrap(),
                reqid: reqid.try_into().unwrap(),
                state,
                current: (state == TunnelState::Protected).then(pair),
                rekeys: 12,
                alarm,
            })));
    }
    let link = LinkReport {
        kme: "kme.example".try_into().unwrap(),
        peer: "sae-b".try_into().unwrap(),
        interface: KmeInterface::Etsi014,
        state: LinkState::Degraded,
        reason: Some(LinkReason::Slow),
        said: Some("wait".try_into().unwrap()),
        stored_keys: Some(40),
        prefetched: 3,
        rate: Some(3600),
        latency: Some(Latency { p50: 3, p99: 9 }),
        counts: LinkCounts::default(),
    };
    let budget = BudgetReport {
        level: BudgetLevel::Low,
        left: Some(43),
        reserve: 50,
        rate: Some(3600),
        minimum: 10,
        tunnels: 100,
        waiting: 7,
        taken: 1000,
        refused: 1,
        without: 2,
    };
    bench
        .gateway
        .heard(EngineToControl::Qkd(Box::new(QkdReport {
            peer: "sae-b".try_into().unwrap(),
            budget,
            links: vec![link],
        })));
    bench
}

fn pair() -> PairReport {
    PairReport {
        epoch: Epoch(3),
        inbound: Spi::try_from(256).unwrap(),
        outbound: Spi::try_from(u32::MAX).unwrap(),
        sources: Some(SourceSet {
            qkd: true,
            kem: true,
            classical: false,
        }),
        since: BootTime(Duration::from_secs(5)),
    }
}

#[test]
fn our_modules_stand_on_the_published_ones() {
    let Some(yanglint) = Yanglint::new() else {
        return;
    };
    for (module, node) in OURS.into_iter().zip(["hybrid-keying", "channel-binding"]) {
        let output = yanglint
            .command()
            .args(["-f", "tree"])
            .arg(folder().join(module))
            .output()
            .expect("yanglint (package libyang2-tools) runs");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
        assert!(output.status.success());
        let tree = String::from_utf8(output.stdout).unwrap();
        assert!(tree.contains(node), "{tree}");
    }
}

#[test]
fn the_configuration_that_the_gateway_shows_is_valid() {
    let Some(yanglint) = Yanglint::new() else {
        return;
    };
    let document = data(&full().ask(GET_CONFIG));
    assert_eq!(yanglint.judge("config", &document), Ok(()));
    // The judge judges.
    let wrong = document.replace("<reqid>3</reqid>", "<reqid>3</reqid><colour/>");
    assert!(yanglint.judge("config", &wrong).is_err());
}

#[test]
fn the_state_that_the_gateway_shows_is_valid() {
    let Some(yanglint) = Yanglint::new() else {
        return;
    };
    let reply = full().ask(
        "<get><filter><gateway xmlns=\"urn:bartizan:yang:bartizan-ikeless\"/>\
         <ipsec-ikeless xmlns=\"urn:ietf:params:xml:ns:yang:ietf-i2nsf-ikeless\"/>\
         <rats-support-structures \
         xmlns=\"urn:ietf:params:xml:ns:yang:ietf-tpm-remote-attestation\"/></filter></get>",
    );
    assert_eq!(yanglint.judge("data", &data(&reply)), Ok(()));
}

#[test]
fn the_yang_library_is_valid_and_names_what_there_is() {
    let Some(yanglint) = Yanglint::new() else {
        return;
    };
    let reply = full().ask(
        "<get><filter><yang-library xmlns=\"urn:ietf:params:xml:ns:yang:ietf-yang-library\"/>\
         </filter></get>",
    );
    let library = data(&reply);
    assert_eq!(yanglint.judge("get", &library), Ok(()));
    let names = all(&library, "name");
    let modules = names.iter().skip(1).zip(all(&library, "revision"));
    let mut files = modules.filter(|(name, _)| name.contains('-'));
    let exists = |(name, revision): (&String, String)| {
        let file = format!("{name}@{revision}.yang");
        yanglint.published.join(&file).exists() || folder().join(&file).exists()
    };
    assert_eq!(files.clone().count(), 15);
    assert!(files.all(exists), "{library}");
}

#[test]
fn the_edits_that_the_owner_sends_are_valid() {
    use bartizan_netconf::client::{Client, Request};

    let Some(yanglint) = Yanglint::new() else {
        return;
    };
    let mut bench = full();
    let mut client = Client::new();
    let hello = bench_hello(&mut bench);
    client.receive(&hello).unwrap();
    client.sent(client.output().len());
    let reply = bench
        .ask(GET_CONFIG)
        .replace("message-id=\"101\"", "message-id=\"1\"");
    client.send(&Request::Configuration).unwrap();
    client.sent(client.output().len());
    let framed = format!("\n#{}\n{reply}\n##\n", reply.len());
    let received = client.receive(framed.as_bytes()).unwrap();
    let bartizan_netconf::client::Received::Reply {
        outcome: Ok(bartizan_netconf::client::Reply::Data(data)),
        ..
    } = &received[0]
    else {
        panic!("{received:?}");
    };
    assert_eq!(data.policies.len(), 3);
    let names = [data.policies[2].name.clone()];
    for request in [
        Request::Replace(&data.policies),
        Request::Change {
            remove: &names,
            put: &data.policies[..2],
        },
        Request::Grant {
            lease: &[1, 2, 3],
            ldevid: &[],
        },
        Request::Configuration,
        Request::State,
        Request::Everything,
        Request::Close,
    ] {
        client.send(&request).unwrap();
        let framed = String::from_utf8(client.output().to_vec()).unwrap();
        client.sent(framed.len());
        let (_, message) = framed.split_once("<?xml").unwrap();
        let message = message.strip_suffix("\n##\n").unwrap();
        assert_eq!(
            yanglint.judge("nc-rpc", &format!("<?xml{message}")),
            Ok(()),
            "{request:?}"
        );
    }
}

fn bench_hello(bench: &mut Bench) -> Vec<u8> {
    let mut session = bartizan_netconf::server::Session::new(bartizan_netconf::SessionId(1));
    session.advance(&mut bench.gateway);
    session.output().to_vec()
}

#[test]
fn notifications_are_valid() {
    let Some(yanglint) = Yanglint::new() else {
        return;
    };
    let entry = || "out/a/in/b".try_into().unwrap();
    let notices = [
        Notice::Established {
            entry: entry(),
            pair: pair(),
            mix: Mix {
                sources: SourceSet {
                    qkd: false,
                    kem: true,
                    classical: false,
                },
                parameter_set: Some(ParameterSet::MlKem1024),
                combiner: Combiner::Xor,
            },
        },
        Notice::Expired {
            entry: entry(),
            spi: Spi::try_from(4096).unwrap(),
            hard: true,
        },
        Notice::Alarm {
            entry: entry(),
            alarm: Alarm::PeerNoLease,
        },
        Notice::NotProgrammed {
            entry: entry(),
            errno: 17,
        },
        Notice::Programmed { entries: 2 },
        Notice::QkdBudget {
            peer: "sae-b".try_into().unwrap(),
            level: BudgetLevel::Low,
        },
        Notice::QkdLink {
            peer: "sae-b".try_into().unwrap(),
            kme: "kme.example".try_into().unwrap(),
            state: LinkState::Degraded,
            reason: Some(LinkReason::PeerWithout),
        },
    ];
    let mut bench = Bench::new();
    bench.ok("<create-subscription xmlns=\"urn:ietf:params:xml:ns:netconf:notification:1.0\"/>");
    for notice in notices {
        bench
            .session
            .notify(&notice, UnixTime(Duration::from_hours(500_000)));
        let message = bench.messages().remove(0);
        assert_eq!(yanglint.judge("nc-notif", &message), Ok(()), "{notice:?}");
    }
}

#[test]
fn what_the_gateway_takes_of_the_good_entry_is_valid_too() {
    let Some(yanglint) = Yanglint::new() else {
        return;
    };
    let message = rpc(&edit(OUTBOUND));
    assert_eq!(yanglint.judge("nc-rpc", &message), Ok(()));
}
