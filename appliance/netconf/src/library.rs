//! The YANG library (RFC 8525): which modules the gateway knows, in the hello and as data.

use crate::namespace::Namespace;
use crate::schema::YANG_LIBRARY;
use crate::tree::Tree;

/// A module that the gateway implements.
struct Module {
    name: &'static str,
    revision: &'static str,
    namespace: &'static str,
    features: &'static [&'static str],
}

const IMPLEMENTED: [Module; 6] = [
    Module {
        name: "ietf-i2nsf-ikeless",
        revision: "2021-07-14",
        namespace: Namespace::Ikeless.uri(),
        features: &["ikeless-notification"],
    },
    Module {
        name: "bartizan-ikeless",
        revision: "2026-01-15",
        namespace: Namespace::Bartizan.uri(),
        features: &[],
    },
    Module {
        name: "ietf-tcg-algs",
        revision: "2024-12-05",
        namespace: Namespace::Algorithms.uri(),
        features: &["tpm20"],
    },
    Module {
        name: "ietf-tpm-remote-attestation",
        revision: "2024-12-05",
        namespace: Namespace::Attestation.uri(),
        features: &[],
    },
    Module {
        name: "bartizan-attestation",
        revision: "2026-02-02",
        namespace: Namespace::BartizanAttestation.uri(),
        features: &[],
    },
    Module {
        name: "ietf-yang-library",
        revision: "2019-01-04",
        namespace: Namespace::Library.uri(),
        features: &[],
    },
];

/// Modules that the others only take definitions from.
const IMPORTED: [(&str, &str); 9] = [
    ("iana-hardware", "2018-03-13"),
    ("ietf-crypto-types", "2024-10-10"),
    ("ietf-datastores", "2018-02-14"),
    ("ietf-hardware", "2018-03-13"),
    ("ietf-i2nsf-ikec", "2021-07-14"),
    ("ietf-inet-types", "2013-07-15"),
    ("ietf-keystore", "2024-10-10"),
    ("ietf-netconf-acm", "2018-02-14"),
    ("ietf-yang-types", "2013-07-15"),
];

/// The capabilities by which the hello says the same.
pub(crate) fn capabilities() -> Vec<String> {
    let mut capabilities = Vec::new();
    for module in &IMPLEMENTED {
        let Module {
            name,
            revision,
            namespace,
            features,
        } = module;
        let mut uri = format!("{namespace}?module={name}&revision={revision}");
        if !features.is_empty() {
            uri.push_str("&features=");
            uri.push_str(&features.join(","));
        }
        capabilities.push(uri);
    }
    let revision = "2019-01-04";
    let content = content_id();
    capabilities.push(format!(
        "urn:ietf:params:netconf:capability:yang-library:1.1?revision={revision}\
         &content-id={content}"
    ));
    capabilities
}

/// The library as data.
pub(crate) fn data() -> Tree {
    const ALL: &str = "all";
    let mut library = Tree::empty(&YANG_LIBRARY);
    library.add("module-set", |set| {
        set.set("name", ALL);
        for module in &IMPLEMENTED {
            set.add("module", |entry| {
                entry.set("name", module.name);
                entry.set("revision", module.revision);
                entry.set("namespace", module.namespace);
                for feature in module.features {
                    entry.set("feature", feature);
                }
            });
        }
        for (name, revision) in IMPORTED {
            set.add("import-only-module", |entry| {
                entry.set("name", name);
                entry.set("revision", revision);
                entry.set("namespace", format!("urn:ietf:params:xml:ns:yang:{name}"));
            });
        }
    });
    library.add("schema", |schema| {
        schema.set("name", ALL);
        schema.set("module-set", ALL);
    });
    library.add("datastore", |datastore| {
        datastore.set("name", "ds:running");
        datastore.set("schema", ALL);
    });
    library.set("content-id", content_id());
    library
}

/// Changes with what it stands for: FNV-1a over it.
fn content_id() -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut add = |text: &str| {
        for byte in text.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    for module in &IMPLEMENTED {
        add(module.name);
        add(module.revision);
        module.features.iter().copied().for_each(&mut add);
    }
    for (name, revision) in IMPORTED {
        add(name);
        add(revision);
    }
    format!("{hash:016x}")
}
