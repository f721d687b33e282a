//! Subtree filters give what RFC 6241, 6 says, and the keys of what they give.

use bartizan_model::ids::Nonce;
use bartizan_model::lifecycle::Lifecycle;
use bartizan_model::message::EngineToControl;

use crate::bench::{Bench, all};
use crate::documents::{OUTBOUND, discard, edit};

const IKELESS: &str = "urn:ietf:params:xml:ns:yang:ietf-i2nsf-ikeless";

fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.ok(&edit(
        &[discard("a", 1), discard("b", 2), OUTBOUND.into()].concat(),
    ));
    bench.gateway.entered(Lifecycle::Operational);
    bench
        .gateway
        .heard(EngineToControl::LeaseNonce(Nonce([7; 32])));
    bench
}

fn get(filter: &str) -> String {
    bench().ask(&format!(
        "<get><filter type=\"subtree\">{filter}</filter></get>"
    ))
}

fn entries(inner: &str) -> String {
    get(&format!(
        "<ipsec-ikeless xmlns=\"{IKELESS}\"><spd>{inner}</spd></ipsec-ikeless>"
    ))
}

#[test]
fn no_filter_gives_all_and_an_empty_one_nothing() {
    let reply = bench().ask("<get/>");
    for part in [
        "<spd-entry>",
        "<lease-nonce>",
        "<lifecycle>operational<",
        "<streams>",
    ] {
        assert!(reply.contains(part), "{part}");
    }
    assert!(get("").contains("<data/>"));
}

#[test]
fn configuration_has_no_state() {
    let reply = bench().ask("<get-config><source><running/></source></get-config>");
    assert!(reply.contains("<spd-entry>"));
    for state in ["<lease-nonce>", "<lifecycle>", "<streams>", "<node>"] {
        assert!(!reply.contains(state), "{state}");
    }
}

#[test]
fn a_selection_gives_the_whole_subtree() {
    let reply = get("<gateway xmlns=\"urn:bartizan:yang:bartizan-ikeless\"/>");
    assert!(reply.contains("<node>gw-a.example</node>"));
    assert!(!reply.contains("<spd>"));
    assert_eq!(
        all(
            &get(&format!("<ipsec-ikeless xmlns=\"{IKELESS}\"/>")),
            "name"
        )
        .len(),
        3
    );
    assert_eq!(all(&entries("<spd-entry/>"), "name").len(), 3);
}

#[test]
fn a_content_match_gives_the_entries_it_holds_for() {
    let reply = entries("<spd-entry><name>b</name></spd-entry>");
    assert_eq!(all(&reply, "name"), ["b"]);
    assert_eq!(all(&reply, "reqid"), ["2"]);
    let reply = entries("<spd-entry><reqid> 2 </reqid><direction/></spd-entry>");
    assert_eq!(all(&reply, "name"), ["b"], "the key is given too");
    assert_eq!(all(&reply, "direction"), ["outbound"]);
    assert!(!reply.contains("<local-prefix>"));
    assert!(entries("<spd-entry><name>z</name></spd-entry>").contains("<data/>"));
    assert!(entries("<spd-entry><name>b</name><reqid>1</reqid></spd-entry>").contains("<data/>"));
}

#[test]
fn several_filters_of_one_list_give_the_union() {
    let reply = entries(
        "<spd-entry><name>a</name><reqid/></spd-entry><spd-entry><name>b</name><direction/></spd-entry>\
         <spd-entry><name>b</name><reqid/></spd-entry>",
    );
    assert_eq!(all(&reply, "name"), ["a", "b"]);
    assert_eq!(all(&reply, "reqid"), ["1", "2"]);
    assert_eq!(all(&reply, "direction"), ["outbound"]);
}

#[test]
fn a_deep_selection_reaches_our_module() {
    let reply = entries(
        "<spd-entry><hybrid-keying xmlns=\"urn:bartizan:yang:bartizan-ikeless\"><kem/></hybrid-keying>\
         </spd-entry>",
    );
    assert_eq!(all(&reply, "parameter-set"), ["ml-kem-768"]);
    assert_eq!(all(&reply, "name").len(), 1);
    assert!(!reply.contains("<qkd>"));
}

#[test]
fn namespaces_select_and_an_empty_one_is_open() {
    assert!(get("<ipsec-ikeless xmlns=\"urn:example\"/>").contains("<data/>"));
    assert!(
        get("<ipsec-ikeless/>").contains("<data/>"),
        "the base namespace is another"
    );
    assert!(get("<ipsec-ikeless xmlns=\"\"/>").contains("<spd-entry>"));
}

#[test]
fn our_data_have_no_attributes_to_match() {
    let reply = get(&format!("<ipsec-ikeless xmlns=\"{IKELESS}\" x=\"1\"/>"));
    assert!(reply.contains("<data/>"));
}
