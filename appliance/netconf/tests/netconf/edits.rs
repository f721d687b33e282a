//! What edits do, and what the engine is told of them.

use bartizan_model::ids::{EntryName, Nonce};
use bartizan_model::message::{ControlToEngine, EditRefusal, EngineToControl, LeaseRefusal};

use crate::bench::{Bench, all, refused, rpc};
use crate::documents::{
    GET_CONFIG, OUTBOUND, discard, edit, edit_config, edit_with, grant, into_outbound,
};

fn name(name: &str) -> EntryName {
    EntryName::try_from(name).unwrap()
}

/// An entry with an operation, by its name alone.
fn by_name(name: &str, operation: &str) -> String {
    format!("<spd-entry nc:operation=\"{operation}\"><name>{name}</name></spd-entry>")
}

fn three() -> Bench {
    let mut bench = Bench::new();
    let entries = [discard("a", 1), discard("b", 2), discard("c", 3)].concat();
    bench.ok(&edit(&entries));
    bench.orders.clear();
    bench
}

/// The words to the engine without the frame of the edit.
fn changes(bench: &mut Bench) -> Vec<String> {
    let orders = core::mem::take(&mut bench.orders);
    let (first, rest) = orders.split_first().unwrap();
    let (last, changes) = rest.split_last().unwrap();
    match (first, last) {
        (ControlToEngine::BeginEdit(begun), ControlToEngine::CommitEdit(ended)) => {
            assert_eq!(begun, ended);
        }
        other => panic!("{other:?}"),
    }
    changes
        .iter()
        .map(|change| match change {
            ControlToEngine::Put(policy) => format!("+{}@{}", policy.name, policy.priority),
            ControlToEngine::Remove(name) => format!("-{name}"),
            ControlToEngine::BeginEdit(_)
            | ControlToEngine::BeginRestore(_)
            | ControlToEngine::CommitEdit(_)
            | ControlToEngine::Lease(_)
            | ControlToEngine::Order(_) => panic!("{change:?}"),
        })
        .collect()
}

#[test]
fn an_edit_reaches_the_engine_whole_and_stands_once_it_is_accepted() {
    let mut bench = Bench::new();
    bench.send(&rpc(&edit(&[discard("a", 1), discard("b", 2)].concat())));
    assert!(bench.messages().is_empty(), "no answer before the engine's");
    assert!(bench.gateway.running().is_empty());
    let Some(ControlToEngine::CommitEdit(id)) = bench.orders.last().cloned() else {
        panic!("{:?}", bench.orders);
    };
    assert_eq!(changes(&mut bench), ["+a@1000", "+b@1001"]);
    assert!(bench.engine_says(EngineToControl::EditAccepted(id)));
    assert!(bench.messages().remove(0).contains("<ok/>"));
    assert_eq!(bench.names(), ["a", "b"]);
}

#[test]
fn what_the_engine_refuses_does_not_stand_and_the_leaf_is_named() {
    use EditRefusal as R;
    let cases = [
        (
            R::ReqidTaken,
            "invalid-value",
            "reqid-taken",
            "/nsfikels:reqid",
        ),
        (
            R::SelectorTaken,
            "invalid-value",
            "selector-taken",
            "/nsfikels:ipsec-policy-config/nsfikels:traffic-selector",
        ),
        (R::NotMirrored, "invalid-value", "not-mirrored", ""),
        (
            R::TunnelTaken,
            "invalid-value",
            "tunnel-taken",
            "/bartizan:hybrid-keying/bartizan:tunnel-id",
        ),
        (R::HalfTunnel, "data-missing", "half-tunnel", ""),
        (
            R::PeerIsSelf,
            "invalid-value",
            "peer-is-self",
            "/bartizan:hybrid-keying/bartizan:peer-node",
        ),
        (
            R::PeerContradicts,
            "invalid-value",
            "peer-contradicts",
            "/bartizan:hybrid-keying/bartizan:peer-node",
        ),
        (
            R::NoSource,
            "invalid-value",
            "no-source",
            "/bartizan:hybrid-keying",
        ),
        (R::TooMany, "resource-denied", "entries", ""),
    ];
    for (reason, tag, app_tag, way) in cases {
        let mut bench = Bench::new();
        bench.send(&rpc(&edit(OUTBOUND)));
        let Some(ControlToEngine::CommitEdit(edit)) = bench.orders.last().cloned() else {
            panic!("no edit");
        };
        let entry = name("out/10.1.0.0/in/10.2.0.0");
        let word = EngineToControl::EditRefused {
            edit,
            entry,
            reason,
        };
        assert!(!bench.engine_says(word), "nothing to copy");
        let refused = refused(&bench.messages().remove(0));
        assert_eq!(refused.tag, tag);
        assert_eq!(refused.app_tag.as_deref(), Some(app_tag));
        assert_eq!(refused.path, Some(into_outbound(way)));
        assert!(bench.gateway.running().is_empty());
    }
}

#[test]
fn without_a_lease_access_is_denied_whatever_the_edit_does() {
    for operation in [edit(OUTBOUND), edit(""), edit(&by_name("a", "remove"))] {
        let mut bench = Bench::new();
        bench.send(&rpc(&operation));
        let Some(ControlToEngine::CommitEdit(edit)) = bench.orders.last().cloned() else {
            panic!("the engine is asked");
        };
        bench.engine_says(EngineToControl::EditRefused {
            edit,
            entry: name("-"),
            reason: EditRefusal::NotAttested,
        });
        let refused = refused(&bench.messages().remove(0));
        assert_eq!(refused.tag, "access-denied");
        assert_eq!(refused.app_tag.as_deref(), Some("not-attested"));
        assert_eq!(refused.path.as_deref(), Some("/nsfikels:ipsec-ikeless"));
    }
}

#[test]
fn requests_that_follow_an_edit_wait_for_its_answer() {
    let mut bench = Bench::new();
    bench.send(&rpc(&edit(&discard("a", 1))));
    bench.send(&rpc(GET_CONFIG));
    assert!(bench.messages().is_empty());
    assert!(!bench.session.wants_input());
    bench.accept();
    let replies = bench.messages();
    assert_eq!(replies.len(), 2);
    assert!(replies[0].contains("<ok/>"));
    assert_eq!(all(&replies[1], "name"), ["a"]);
    assert!(bench.session.wants_input());
}

#[test]
fn the_verdict_of_an_edit_outlives_its_session_and_is_nobody_elses_answer() {
    let mut bench = Bench::new();
    bench.send(&rpc(&edit(&discard("a", 1))));
    let old = core::mem::replace(&mut bench, Bench::new());
    bench.gateway = old.gateway;
    bench.orders = old.orders;
    bench.send(&rpc(GET_CONFIG));
    assert!(bench.messages().is_empty(), "the engine has yet to answer");
    bench.accept();
    let replies = bench.messages();
    assert_eq!(replies.len(), 1);
    assert_eq!(all(&replies[0], "name"), ["a"]);
}

#[test]
fn operations_on_entries_do_what_they_say() {
    let mut bench = three();
    bench.ok(&edit(&by_name("b", "delete")));
    assert_eq!(changes(&mut bench), ["-b"]);
    let refused = bench.refused(&edit(&by_name("b", "delete")));
    assert_eq!(refused.tag, "data-missing");
    assert_eq!(
        refused.path.as_deref(),
        Some("/nsfikels:ipsec-ikeless/nsfikels:spd/nsfikels:spd-entry[nsfikels:name='b']")
    );
    bench.ok(&edit(&by_name("b", "remove")));
    assert!(changes(&mut bench).is_empty());

    let create =
        |reqid| discard("a", reqid).replace("<spd-entry>", "<spd-entry nc:operation='create'>");
    assert_eq!(bench.refused(&edit(&create(9))).tag, "data-exists");
    bench.ok(&edit(&create(9).replace(">a<", ">d<")));
    assert_eq!(changes(&mut bench), ["+d@1003"]);

    let replace = OUTBOUND
        .replace("<spd-entry>", "<spd-entry nc:operation='replace'>")
        .replace("out/10.1.0.0/in/10.2.0.0", "a");
    bench.ok(&edit(&replace));
    assert_eq!(changes(&mut bench), ["+a@1000"], "it keeps its place");
    assert_eq!(bench.names(), ["a", "c", "d"]);
}

#[test]
fn deletes_carry_other_leaves_and_lack_mandatory_ones() {
    let mut bench = three();
    let entry = "<spd-entry nc:operation=\"delete\"><name>b</name><reqid>99</reqid>\
                 <ipsec-policy-config><processing-info><action>bypass</action></processing-info>\
                 </ipsec-policy-config></spd-entry>";
    bench.ok(&edit(entry));
    assert_eq!(changes(&mut bench), ["-b"]);
}

#[test]
fn a_merge_changes_the_leaves_it_names() {
    let mut bench = Bench::new();
    bench.ok(&edit(OUTBOUND));
    bench.orders.clear();
    let merge = |inner: &str| {
        edit(&format!(
            "<spd-entry><name>out/10.1.0.0/in/10.2.0.0</name>{inner}</spd-entry>"
        ))
    };
    let keying = |inner: &str| {
        merge(&format!(
            "<hybrid-keying xmlns=\"urn:bartizan:yang:bartizan-ikeless\">{inner}</hybrid-keying>"
        ))
    };
    bench.ok(&keying("<soft-lifetime><time>60</time></soft-lifetime>"));
    let reply = bench.ask(GET_CONFIG);
    assert!(reply.contains("<soft-lifetime><time>60</time><bytes>1000000</bytes></soft-lifetime>"));
    assert_eq!(changes(&mut bench), ["+out/10.1.0.0/in/10.2.0.0@1000"]);

    bench.ok(&keying("<soft-lifetime><time>60</time></soft-lifetime>"));
    assert!(
        changes(&mut bench).is_empty(),
        "nothing is to be programmed again"
    );

    bench.ok(&keying("<qkd nc:operation=\"delete\"/>"));
    assert!(!bench.ask(GET_CONFIG).contains("<qkd>"));
    assert_eq!(
        bench.refused(&keying("<qkd nc:operation=\"delete\"/>")).tag,
        "data-missing"
    );
    assert_eq!(
        bench
            .refused(&keying("<kem nc:operation=\"remove\"/>"))
            .app_tag
            .as_deref(),
        Some("must-violation")
    );
    assert_eq!(
        bench
            .refused(&keying("<tunnel-id nc:operation=\"create\">5</tunnel-id>"))
            .tag,
        "data-exists"
    );
    assert_eq!(
        bench
            .refused(&keying("<tunnel-id nc:operation=\"remove\"/>"))
            .tag,
        "missing-element"
    );
    // A port is taken out by its key and another put in its place, in any order.
    let ports = |first: &str, second: &str| {
        merge(&format!(
            "<ipsec-policy-config><traffic-selector>{first}{second}</traffic-selector>\
             </ipsec-policy-config>"
        ))
    };
    let (out, into) = (
        "<local-ports nc:operation=\"delete\"><start>80</start><end>80</end></local-ports>",
        "<local-ports><start>443</start><end>443</end></local-ports>",
    );
    assert_eq!(
        bench.refused(&ports(into, "")).app_tag.as_deref(),
        Some("not-programmable")
    );
    bench.ok(&ports(into, out));
    let reply = bench.ask(GET_CONFIG);
    assert!(reply.contains("<local-ports><start>443</start><end>443</end></local-ports>"));
    assert!(!reply.contains("<start>80</start>"));
}

#[test]
fn an_entry_that_no_longer_protects_loses_its_keys() {
    let mut bench = Bench::new();
    bench.ok(&edit(OUTBOUND));
    bench.ok(&edit(
        "<spd-entry><name>out/10.1.0.0/in/10.2.0.0</name><ipsec-policy-config><processing-info>\
         <action>discard</action></processing-info></ipsec-policy-config></spd-entry>",
    ));
    let reply = bench.ask(GET_CONFIG);
    assert!(reply.contains("<action>discard</action>"));
    assert!(!reply.contains("hybrid-keying"));
}

#[test]
fn the_default_operation_holds_for_what_says_nothing() {
    let mut bench = three();
    let none = "<default-operation>none</default-operation>";
    let refused = bench.refused(&edit_with(none, &discard("d", 4)));
    assert_eq!(refused.tag, "data-missing");
    bench.ok(&edit_with(
        none,
        &[by_name("a", "delete"), discard("b", 2)].concat(),
    ));
    assert_eq!(changes(&mut bench), ["-a"]);
    bench.ok(&edit_with(
        "<default-operation>replace</default-operation>",
        &discard("d", 4),
    ));
    assert_eq!(changes(&mut bench), ["-b", "-c", "+d@1000"]);
    assert_eq!(bench.names(), ["d"]);
}

#[test]
fn the_whole_spd_is_replaced_or_taken_out() {
    let ikeless = |attributes: &str, spd: &str| {
        edit_config(
            "",
            &format!(
                "<ipsec-ikeless xmlns=\"urn:ietf:params:xml:ns:yang:ietf-i2nsf-ikeless\" \
                 {attributes}>{spd}</ipsec-ikeless>"
            ),
        )
    };
    let spd = format!("<spd nc:operation=\"replace\">{}</spd>", discard("c", 3));
    let mut bench = three();
    bench.ok(&ikeless("", &spd));
    assert_eq!(changes(&mut bench), ["-a", "-b", "+c@1000"]);
    let refused = bench.refused(&ikeless("nc:operation=\"create\"", ""));
    assert_eq!(refused.tag, "data-exists");
    bench.ok(&ikeless("nc:operation=\"delete\"", ""));
    assert_eq!(changes(&mut bench), ["-c"]);
    assert_eq!(
        bench.refused(&ikeless("nc:operation=\"delete\"", "")).tag,
        "data-missing"
    );
    bench.ok(&ikeless("nc:operation=\"remove\"", "<spd/>"));
}

#[test]
fn entries_are_put_where_their_user_wants_them() {
    let placed = |name: &str, place: &str| {
        edit(&discard(name, 9).replace(
            "<spd-entry>",
            &format!("<spd-entry xmlns:yang=\"urn:ietf:params:xml:ns:yang:1\" {place}>"),
        ))
    };
    let mut bench = three();
    bench.ok(&placed("d", "yang:insert=\"first\""));
    assert_eq!(bench.names(), ["d", "a", "b", "c"]);
    assert_eq!(
        changes(&mut bench),
        ["+d@1000", "+a@1001", "+b@1002", "+c@1003"]
    );
    bench.ok(&placed(
        "e",
        "yang:insert=\"after\" yang:key=\"[name='a']\"",
    ));
    assert_eq!(bench.names(), ["d", "a", "e", "b", "c"]);
    bench.orders.clear();
    bench.ok(&placed(
        "c",
        "yang:insert=\"before\" yang:key=\"[x:name=&quot;d&quot;]\"",
    ));
    assert_eq!(bench.names(), ["c", "d", "a", "e", "b"]);
    bench.ok(&placed("d", "yang:insert=\"last\""));
    assert_eq!(bench.names(), ["c", "a", "e", "b", "d"]);
    bench.ok(&edit(&discard("f", 10)));
    assert_eq!(bench.names(), ["c", "a", "e", "b", "d", "f"]);
}

#[test]
fn an_edit_with_one_wrong_entry_changes_nothing() {
    let mut bench = three();
    let entries = [
        discard("d", 4),
        by_name("a", "delete"),
        discard("e", 0),
        discard("f", 6),
    ];
    let refused = bench.refused(&edit_with(
        "<error-option>rollback-on-error</error-option>",
        &entries.concat(),
    ));
    assert_eq!(refused.tag, "invalid-value");
    assert_eq!(
        refused.path.as_deref(),
        Some(
            "/nsfikels:ipsec-ikeless/nsfikels:spd/nsfikels:spd-entry[nsfikels:name='e']\
             /nsfikels:reqid"
        )
    );
    assert_eq!(bench.names(), ["a", "b", "c"]);
}

#[test]
fn a_test_changes_nothing_and_finds_what_is_wrong() {
    let mut bench = three();
    let test = "<test-option>test-only</test-option>";
    bench.ok(&edit_with(test, &discard("d", 4)));
    assert!(bench.orders.is_empty());
    assert_eq!(bench.names(), ["a", "b", "c"]);
    assert_eq!(
        bench.refused(&edit_with(test, &discard("d", 0))).tag,
        "invalid-value"
    );
    for set in ["set", "test-then-set"] {
        bench.ok(&edit_with(
            &format!("<test-option>{set}</test-option>"),
            &discard("d", 4),
        ));
    }
    assert_eq!(bench.names(), ["a", "b", "c", "d"]);
}

#[test]
fn a_lease_is_judged_before_it_is_answered() {
    let mut bench = Bench::new();
    bench
        .gateway
        .heard(EngineToControl::LeaseNonce(Nonce([1; 32])));
    bench.send(&rpc(&grant("AQIDBA==")));
    assert!(bench.messages().is_empty());
    assert_eq!(bench.orders, [ControlToEngine::Lease(vec![1, 2, 3, 4])]);
    bench.engine_says(EngineToControl::LeaseRefused(LeaseRefusal::Nonce));
    let refused = refused(&bench.messages().remove(0));
    assert_eq!(refused.tag, "invalid-value");
    assert_eq!(refused.app_tag.as_deref(), Some("nonce"));
    assert_eq!(
        refused.path.as_deref(),
        Some("/bartizan:gateway/bartizan:lease")
    );
    assert!(!bench.ask("<get/>").contains("<lease>"));

    bench.send(&rpc(&grant("AQIDBA==")));
    bench.engine_says(EngineToControl::LeaseAccepted(
        core::time::Duration::from_mins(5),
    ));
    assert!(bench.messages().remove(0).contains("<ok/>"));
    assert!(bench.ask(GET_CONFIG).contains("<lease>AQIDBA==</lease>"));
}

#[test]
fn a_lease_stands_alone_and_is_not_taken_back() {
    let lease =
        "<gateway xmlns=\"urn:bartizan:yang:bartizan-ikeless\"><lease>AQ==</lease></gateway>";
    let ikeless = "<ipsec-ikeless xmlns=\"urn:ietf:params:xml:ns:yang:ietf-i2nsf-ikeless\"/>";
    let way = Some("/bartizan:gateway/bartizan:lease");
    let refused = Bench::new().refused(&edit_config("", &format!("{lease}{ikeless}")));
    assert_eq!(refused.tag, "operation-not-supported");
    assert_eq!(refused.path.as_deref(), way);
    let deleted = lease.replace("<lease>AQ==", "<lease nc:operation=\"delete\">");
    let refused = Bench::new().refused(&edit_config("", &deleted));
    assert_eq!(refused.tag, "operation-not-supported");
    assert_eq!(refused.path.as_deref(), way);
    for bad in ["", "A", "A===", "!!!!"] {
        let refused = Bench::new().refused(&grant(bad));
        assert_eq!(refused.tag, "invalid-value", "{bad}");
        assert_eq!(refused.path.as_deref(), way);
    }
}
