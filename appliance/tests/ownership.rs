//! What is kept of an owner: one document, whole or not at all, and nothing that does not count.
#![cfg(test)]
#![forbid(unsafe_code)]

mod owner;

use std::fs;
use std::path::{Path, PathBuf};

use bartizan::ownership::{Owned, OwnershipError};
use bartizan::store::{DOCUMENT, Kept, Store};
use bartizan_model::config::Der;
use bartizan_model::identity::Farewell;
use bartizan_model::ownership::{Interface, Ownership, Port, Route};
use owner::Owner;

#[test]
fn what_is_kept_is_read_again() {
    let folder = Folder::new();
    let store = Store::open(&folder.0).unwrap();
    assert!(matches!(store.read().unwrap(), Kept::Nobody));
    for _ in 0..2 {
        let owned = owner::owned();
        store.keep(&owned).unwrap();
        let again = Store::open(&folder.0).unwrap();
        assert!(matches!(again.read().unwrap(), Kept::Owner(kept) if *kept == owned));
    }
    assert_eq!(folder.names(), [DOCUMENT]);
}

#[test]
fn a_draft_that_was_not_finished_changes_nothing() {
    let folder = Folder::new();
    let store = Store::open(&folder.0).unwrap();
    let owned = owner::owned();
    store.keep(&owned).unwrap();
    fs::write(folder.0.join("draft"), b"{\"version\":1").unwrap();
    assert!(matches!(store.read().unwrap(), Kept::Owner(kept) if *kept == owned));
    store.keep(&owned).unwrap();
    assert_eq!(folder.names(), [DOCUMENT]);
}

#[test]
fn an_end_that_was_begun_is_remembered_until_it_is_done() {
    for farewell in [Farewell::Release, Farewell::Retire] {
        let folder = Folder::new();
        let store = Store::open(&folder.0).unwrap();
        store.keep(&owner::owned()).unwrap();
        store.begin_end(farewell).unwrap();
        assert!(matches!(store.read().unwrap(), Kept::Ending(kept) if kept == farewell));
        store.forget().unwrap();
        assert!(matches!(store.read().unwrap(), Kept::Nobody));
        assert_eq!(folder.names(), [""; 0]);
    }
}

#[test]
fn no_byte_of_the_document_can_change() {
    let folder = Folder::new();
    let store = Store::open(&folder.0).unwrap();
    store.keep(&owner::owned()).unwrap();
    let path = folder.0.join(DOCUMENT);
    let whole = fs::read(&path).unwrap();
    let text = String::from_utf8(whole.clone()).unwrap();
    for (what, changed) in [
        ("nothing in it", String::new()),
        ("the end missing", text[..text.len() - 1].to_owned()),
        ("more behind it", format!("{text} ")),
        (
            "a version",
            text.replacen("\"version\":1", "\"version\":2", 1),
        ),
        ("an unknown key", text.replacen('{', "{\"x\":1,", 1)),
        ("a key twice", text.replacen('{', "{\"version\":1,", 1)),
        ("a space", text.replacen(':', ": ", 1)),
        ("a port", text.replacen(":9061", ":0", 1)),
        (
            "a name",
            text.replacen("gateway.example", "gateway2.example", 1),
        ),
    ] {
        assert_ne!(changed, text, "{what}");
        fs::write(&path, changed).unwrap();
        assert!(matches!(store.read().unwrap(), Kept::Broken(_)), "{what}");
    }
    fs::write(&path, whole).unwrap();
    assert!(matches!(store.read().unwrap(), Kept::Owner(_)));
}

#[test]
fn a_rule_that_is_broken_is_named() {
    type Break<'a> = (&'a str, &'a dyn Fn(&mut Ownership));
    let address = |text: &str| text.parse().unwrap();
    let port = |addresses, dhcp| Interface {
        port: Port::Wan0,
        addresses,
        dhcp,
    };
    let breaks: [Break<'_>; 15] = [
        ("anchors", &|it| it.anchors.clear()),
        ("ldevid", &|it| it.ldevid = vec![it.ldevid[0].clone(); 9]),
        ("verifier.es384", &|it| it.verifier.es384.truncate(96)),
        ("verifier.ml-dsa-65", &|it| it.verifier.ml_dsa_65.push(0)),
        ("call-home", &|it| it.call_home.set_port(0)),
        ("registrar", &|it| it.registrar.set_ip(address("0.0.0.0"))),
        ("addresses", &|it| it.addresses.clear()),
        ("addresses", &|it| it.addresses.push(it.addresses[0])),
        ("peer-port", &|it| it.peer_port = 0),
        ("kmes", &|it| it.kmes = vec![it.kmes[0].clone(); 5]),
        ("kmes.link", &|it| it.kmes.push(it.kmes[0].clone())),
        ("network.interfaces", &|it| {
            it.network.interfaces = vec![port(vec![(address("192.0.2.1"), 33)], false)];
        }),
        ("network.interfaces", &|it| {
            it.network.interfaces = vec![port(vec![], true), port(vec![], true)];
        }),
        ("network.routes", &|it| {
            it.network.routes = vec![Route {
                destination: bartizan_model::policy::Prefix::ANY_V4,
                gateway: address("2001:db8::1"),
                port: Port::Wan0,
            }];
        }),
        ("network.dns", &|it| {
            it.network.dns = vec![address("224.0.0.1")];
        }),
    ];
    for (field, change) in breaks {
        let mut ownership = Owner::new().ownership();
        change(&mut ownership);
        match Owned::new(ownership) {
            Err(OwnershipError::Rule(broken)) => assert_eq!(broken.field, field),
            other => panic!("{field}: {other:?}"),
        }
    }
}

#[test]
fn a_certificate_that_no_anchor_stands_behind_does_not_count() {
    let issuer = Owner::new();
    let stranger = Owner::new();
    for (what, change) in [
        ("another anchor", stranger.ownership().anchors),
        ("the leaf itself", issuer.ownership().ldevid),
        ("garbage", vec![Der(vec![0x30])]),
    ] {
        let mut ownership = issuer.ownership();
        ownership.anchors = change;
        let refused = Owned::new(ownership);
        assert!(matches!(refused, Err(OwnershipError::Chain(_))), "{what}");
    }
    let mut damaged = issuer.ownership();
    let last = damaged.ldevid[0].0.len() - 1;
    damaged.ldevid[0].0[last] ^= 1;
    assert!(matches!(Owned::new(damaged), Err(OwnershipError::Chain(_))));
}

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("bartizan-ownership-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn names(&self) -> Vec<String> {
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        let entries = fs::read_dir(&self.0).unwrap();
        entries.map(|entry| name(&entry.unwrap().path())).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}
