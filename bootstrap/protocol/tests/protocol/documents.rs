//! Documents in JSON: those of the standards as the standards have them, and ours.

use bartizan_bootstrap_protocol::conveyed::{ConveyedError, Host, Information, Server};
use bartizan_bootstrap_protocol::restconf::{self, Tag};
use bartizan_bootstrap_protocol::site::Site;
use bartizan_bootstrap_protocol::sztp::{
    Answer, BODY_MAX, Progress, Question, Reporting, Step, SztpError, TEXT_MAX, Wanted,
};
use bartizan_bootstrap_protocol::voucher::{Bound, Voucher, VoucherError};
use bartizan_model::config::Artifacts;
use bartizan_model::ids::Nonce;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::parties::{Party, onboarding, site, voucher_for};

pub(crate) fn changed(json: &[u8], pointer: &str, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut document: Value = serde_json::from_slice(json).unwrap();
    change(document.pointer_mut(pointer).expect(pointer));
    serde_json::to_vec(&document).unwrap()
}

#[test]
fn a_voucher_has_the_members_of_the_standard() {
    let owner = Party::new("owner", 2);
    let mut voucher = voucher_for(&owner);
    let document: Value = serde_json::from_slice(&voucher.encode().unwrap()).unwrap();
    let members = document["ietf-voucher:voucher"].as_object().unwrap();
    let names: Vec<_> = members.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "assertion",
            "bartizan:owner-ml-dsa-65",
            "bartizan:ownership-epoch",
            "created-on",
            "domain-cert-revocation-checks",
            "expires-on",
            "idevid-issuer",
            "pinned-domain-cert",
            "serial-number",
        ]
    );
    assert_eq!(members["created-on"], "2026-11-23T12:00:00Z");
    assert_eq!(members["assertion"], "verified");
    assert_eq!(members["bartizan:ownership-epoch"], 3);
    assert_eq!(
        Voucher::decode(&voucher.encode().unwrap()).unwrap(),
        voucher
    );

    voucher.bound = Bound::nonce(&Nonce([9; 32]));
    voucher.idevid_issuer = None;
    voucher.revocation_checks = None;
    assert_eq!(
        Voucher::decode(&voucher.encode().unwrap()).unwrap(),
        voucher
    );
    voucher.bound = Bound::Nonce(vec![1; 7]);
    assert!(matches!(voucher.encode(), Err(VoucherError::Nonce)));
}

#[test]
fn a_voucher_that_is_not_whole_is_none() {
    let owner = Party::new("owner", 2);
    let good = voucher_for(&owner).encode().unwrap();
    let voucher = "/ietf-voucher:voucher";
    let member = |name: &str, value: Value| {
        Voucher::decode(&changed(&good, voucher, |place| place[name] = value)).unwrap_err()
    };
    let malformed = |error: VoucherError| {
        assert!(matches!(error, VoucherError::Malformed(_)), "{error:?}");
    };
    malformed(member("created-on", json!("yesterday")));
    malformed(member("created-on", json!("2026-11-23T12:00:00+01:00")));
    malformed(member("assertion", json!("guessed")));
    malformed(member("pinned-domain-cert", json!("not base64!")));
    malformed(member("bartizan:ownership-epoch", json!(-1)));
    malformed(member("bartizan:ownership-epoch", json!("3")));
    malformed(member("something", json!(1)));
    assert!(matches!(
        member("nonce", json!("AAAAAAAAAAA=")),
        VoucherError::Bound
    ));
    assert!(matches!(
        member("serial-number", json!("")),
        VoucherError::Serial(_)
    ));
    let error = member("pinned-domain-cert", json!("AAAA"));
    assert!(matches!(error, VoucherError::PinnedDomainCert(_)));
    assert!(matches!(
        member("bartizan:owner-ml-dsa-65", json!("AAAA")),
        VoucherError::OwnerKey
    ));
    let unbound = changed(&good, voucher, |place| {
        place.as_object_mut().unwrap().remove("expires-on");
    });
    assert!(matches!(
        Voucher::decode(&unbound),
        Err(VoucherError::Bound)
    ));
    let renewed = changed(&unbound, voucher, |place| {
        place["last-renewal-date"] = json!("2027-11-23T12:00:00Z");
        place["nonce"] = json!("AAAAAAAAAAA=");
    });
    assert!(matches!(
        Voucher::decode(&renewed),
        Err(VoucherError::Renewal)
    ));
    // A member that is there twice means one thing to one reader and another to the next.
    let twice = String::from_utf8(good).unwrap();
    let twice = twice.replacen(
        "\"assertion\":",
        "\"assertion\":\"logged\",\"assertion\":",
        1,
    );
    assert!(matches!(
        Voucher::decode(twice.as_bytes()),
        Err(VoucherError::Malformed(_))
    ));
}

#[test]
fn conveyed_information_comes_back_as_it_was() {
    let owner = Party::new("owner", 2);
    let redirect = Information::Redirect(vec![
        Server {
            host: Host::try_from("bootstrap.example").unwrap(),
            port: 8443,
            trust_anchor: vec![owner.root()],
        },
        Server {
            host: Host::try_from("2001:db8::5").unwrap(),
            port: 443,
            trust_anchor: Vec::new(),
        },
    ]);
    for information in [redirect, onboarding(&owner)] {
        let json = information.encode().unwrap();
        assert_eq!(Information::decode(&json).unwrap(), information);
    }
    // As others write it: the port by default, more about the image than we look at.
    let json = br#"{"ietf-sztp-conveyed-info:redirect-information":
        {"bootstrap-server":[{"address":"sztp1.example.com"}]}}"#;
    let Information::Redirect(servers) = Information::decode(json).unwrap() else {
        panic!("a redirect");
    };
    assert_eq!(servers[0].port, 443);
    let image = changed(
        &onboarding(&owner).encode().unwrap(),
        "/ietf-sztp-conveyed-info:onboarding-information/boot-image",
        |image| {
            image["download-uri"] = json!(["https://example.com/image"]);
            image["image-verification"] =
                json!([{"hash-algorithm": "sha-256", "hash-value": "00"}]);
        },
    );
    assert_eq!(Information::decode(&image).unwrap(), onboarding(&owner));
}

#[test]
fn conveyed_information_beyond_its_limits_is_refused() {
    let owner = Party::new("owner", 2);
    let good = onboarding(&owner).encode().unwrap();
    let top = "/ietf-sztp-conveyed-info:onboarding-information";
    let without = |name: &str| {
        changed(&good, top, |place| {
            place.as_object_mut().unwrap().remove(name);
        })
    };
    for name in ["configuration", "configuration-handling"] {
        let error = Information::decode(&without(name)).unwrap_err();
        assert!(matches!(error, ConveyedError::Configuration), "{error:?}");
    }
    let both = br#"{"ietf-sztp-conveyed-info:redirect-information":{"bootstrap-server":[]},
        "ietf-sztp-conveyed-info:onboarding-information":{}}"#;
    assert!(matches!(
        Information::decode(both),
        Err(ConveyedError::Malformed(_))
    ));
    let servers = |servers: Value| {
        let document =
            json!({"ietf-sztp-conveyed-info:redirect-information": {"bootstrap-server": servers}});
        Information::decode(&serde_json::to_vec(&document).unwrap()).unwrap_err()
    };
    assert!(matches!(servers(json!([])), ConveyedError::Servers));
    let many = vec![json!({"address": "a.example"}); 5];
    assert!(matches!(servers(json!(many)), ConveyedError::Servers));
    for host in [
        "",
        "a b",
        "-a.example",
        "224.0.0.1",
        "0.0.0.0",
        "1.2.3",
        "a..b",
        "a/b",
        "ä",
    ] {
        let error = servers(json!([{"address": host}]));
        assert!(matches!(error, ConveyedError::Host), "{host}: {error:?}");
    }
    assert!(matches!(
        servers(json!([{"address": "a.example", "port": 0}])),
        ConveyedError::Host
    ));
    assert!(matches!(
        servers(json!([{"address": "a.example", "trust-anchor": "AAAA"}])),
        ConveyedError::TrustAnchor(_)
    ));
}

#[test]
fn questions_and_answers_are_those_of_the_standard() {
    let question = Question {
        hw_model: Some("model-x".into()),
        os_name: Some("vendor-os".into()),
        os_version: Some("17.3".into()),
        nonce: Some(Nonce([0; 32])),
        data: Wanted::Signed,
    };
    let body = json!({"ietf-sztp-bootstrap-server:input": {
        "signed-data-preferred": [null],
        "hw-model": "model-x",
        "os-name": "vendor-os",
        "os-version": "17.3",
        "nonce": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    }});
    assert_eq!(
        serde_json::from_slice::<Value>(&question.encode()).unwrap(),
        body
    );
    assert_eq!(Question::decode(&question.encode()), Ok(question));
    // RFC 8572, 7.2 and RFC 9646: a box of another make says less, or more.
    let least = Question::decode(br#"{"ietf-sztp-bootstrap-server:input":{}}"#).unwrap();
    assert_eq!((least.nonce, least.data), (None, Wanted::Any));
    let more = br#"{"ietf-sztp-bootstrap-server:input":{"ietf-sztp-csr:csr-support":{}}}"#;
    assert!(Question::decode(more).is_ok());

    let answer = Answer {
        artifacts: Artifacts {
            conveyed_information: vec![1],
            owner_certificate: vec![2],
            ownership_voucher: vec![3],
        },
        reporting: Reporting::Verbose,
    };
    let body = json!({"ietf-sztp-bootstrap-server:output": {
        "reporting-level": "verbose",
        "conveyed-information": "AQ==",
        "owner-certificate": "Ag==",
        "ownership-voucher": "Aw==",
    }});
    assert_eq!(
        serde_json::from_slice::<Value>(&answer.encode()).unwrap(),
        body
    );
    assert_eq!(Answer::decode(&answer.encode()), Ok(answer));

    let progress = Progress {
        step: Step::BootImageMismatch,
        message: Some("1.4.1".into()),
    };
    let body = json!({"ietf-sztp-bootstrap-server:input": {
        "progress-type": "boot-image-mismatch",
        "message": "1.4.1",
    }});
    assert_eq!(
        serde_json::from_slice::<Value>(&progress.encode()).unwrap(),
        body
    );
    assert_eq!(Progress::decode(&progress.encode()), Ok(progress));
}

#[test]
fn data_without_a_signature_is_no_answer() {
    for also in [
        "",
        r#","owner-certificate":"Ag==""#,
        r#","ownership-voucher":"Ag==""#,
    ] {
        let body = format!(
            r#"{{"ietf-sztp-bootstrap-server:output":{{"conveyed-information":"AQ=="{also}}}}}"#
        );
        assert_eq!(Answer::decode(body.as_bytes()), Err(SztpError::Unsigned));
    }
}

#[test]
fn bodies_beyond_their_limits_are_refused() {
    assert_eq!(
        Answer::decode(&vec![b' '; BODY_MAX + 1]),
        Err(SztpError::TooLong)
    );
    let input = |members: &str| format!(r#"{{"ietf-sztp-bootstrap-server:input":{{{members}}}}}"#);
    let text = "a".repeat(TEXT_MAX + 1);
    let long = input(&format!(r#""hw-model":"{text}""#));
    assert_eq!(Question::decode(long.as_bytes()), Err(SztpError::Text));
    let short = input(r#""nonce":"AAAAAAAAAAAAAAAAAAAAAA==""#);
    assert_eq!(Question::decode(short.as_bytes()), Err(SztpError::Nonce));
    let script = input(r#""progress-type":"pre-script-initiated""#);
    let error = Progress::decode(script.as_bytes()).unwrap_err();
    assert!(
        matches!(error, SztpError::Malformed { line: 1, .. }),
        "{error}"
    );
}

#[test]
fn errors_of_restconf_are_said_and_heard() {
    for tag in Tag::ALL {
        assert_eq!(restconf::decode(&restconf::encode(tag)), Ok(tag));
        assert!((400..=500).contains(&tag.status()));
    }
    let theirs = br#"{"ietf-restconf:errors":{"error":[{"error-type":"protocol",
        "error-tag":"invalid-value","error-path":"/a","error-message":"text"}]}}"#;
    assert_eq!(restconf::decode(theirs), Ok(Tag::InvalidValue));
    assert!(restconf::decode(br#"{"ietf-restconf:errors":{"error":[]}}"#).is_err());
}

proptest! {
    #[test]
    fn no_text_makes_a_reader_of_documents_panic(text in "\\PC{0,200}") {
        read_all(text.as_bytes());
    }

    #[test]
    fn no_damage_makes_a_reader_of_documents_panic(
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let documents = [
            GOOD.0.encode().unwrap(),
            GOOD.1.encode().unwrap(),
            GOOD.2.encode().unwrap(),
        ];
        for mut damaged in documents {
            for (place, byte) in &places {
                *place.get_mut(&mut damaged) = *byte;
            }
            read_all(&damaged);
        }
    }
}

static GOOD: std::sync::LazyLock<(Voucher, Information, Site)> = std::sync::LazyLock::new(|| {
    let owner = Party::new("owner", 2);
    (voucher_for(&owner), onboarding(&owner), site(&owner))
});

/// What is read is written and read as the same.
fn read_all(bytes: &[u8]) {
    if let Ok(voucher) = Voucher::decode(bytes) {
        let again = Voucher::decode(&voucher.encode().unwrap()).unwrap();
        assert_eq!(again, voucher);
    }
    if let Ok(information) = Information::decode(bytes) {
        let again = Information::decode(&information.encode().unwrap()).unwrap();
        assert_eq!(again, information);
    }
    if let Ok(site) = Site::decode(bytes) {
        assert_eq!(Site::decode(&site.encode().unwrap()).unwrap(), site);
    }
    if let Ok(question) = Question::decode(bytes) {
        assert_eq!(Question::decode(&question.encode()), Ok(question));
    }
    if let Ok(answer) = Answer::decode(bytes) {
        assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
    }
    if let Ok(progress) = Progress::decode(bytes) {
        assert_eq!(Progress::decode(&progress.encode()), Ok(progress));
    }
    if let Ok(tag) = restconf::decode(bytes) {
        assert_eq!(restconf::decode(&restconf::encode(tag)), Ok(tag));
    }
}
