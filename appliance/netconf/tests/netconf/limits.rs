//! Each limit holds, and one more is refused while nothing changes.

use bartizan_netconf::{Framing, limits};

use crate::bench::{Bench, one, refused, rpc};
use crate::documents::{GET_CONFIG, discard, edit, grant, into_outbound};

/// A request padded with white space to this many bytes.
fn padded(operation: &str, len: usize) -> String {
    let message = rpc(operation);
    let padding = " ".repeat(len - message.len());
    message.replace("</rpc>", &format!("{padding}</rpc>"))
}

#[test]
fn a_message_has_16_mib() {
    for framing in [Framing::Chunked, Framing::EndOfMessage] {
        let mut bench = Bench::speaking(framing);
        bench.send(&padded(&edit(&discard("a", 1)), limits::BODY));
        bench.accept();
        assert!(bench.messages().remove(0).contains("<ok/>"));

        bench.orders.clear();
        bench.send(&padded(&edit(&discard("b", 2)), limits::BODY + 1));
        let reply = bench.messages().remove(0);
        assert!(reply.contains("message-id=\"101\""), "{reply}");
        let refused = refused(&reply);
        assert_eq!(refused.tag, "too-big");
        assert_eq!(refused.app_tag.as_deref(), Some("body"));
        assert_eq!(bench.orders, []);
        assert_eq!(bench.names(), ["a"], "the session goes on");
    }
}

#[test]
fn an_edit_has_12_000_entries() {
    let entries: Vec<String> = (1..=12_001)
        .map(|reqid| discard(&format!("entry/{reqid}"), reqid))
        .collect();
    let mut bench = Bench::new();
    let refused = bench.refused(&edit(&entries.concat()));
    assert_eq!(refused.tag, "too-big");
    assert_eq!(refused.app_tag.as_deref(), Some("entries"));
    assert_eq!(
        refused.path.as_deref(),
        Some(
            "/nsfikels:ipsec-ikeless/nsfikels:spd/nsfikels:spd-entry[nsfikels:name='entry/12001']"
        )
    );
    bench.ok(&edit(&entries[..12_000].concat()));
    assert_eq!(bench.gateway.running().len(), limits::ENTRIES);

    // The configuration has no more room than one edit, either.
    let refused = bench.refused(&edit(&entries[12_000]));
    assert_eq!(refused.tag, "resource-denied");
    assert_eq!(refused.app_tag.as_deref(), Some("entries"));
    let swap = format!(
        "<spd-entry nc:operation=\"delete\"><name>entry/1</name></spd-entry>{}",
        entries[12_000]
    );
    bench.ok(&edit(&swap));
    assert_eq!(bench.gateway.running().len(), limits::ENTRIES);
}

#[test]
fn a_list_inside_an_entry_has_16_instances() {
    let entry = |ports: u16| {
        let ports = (1..=ports).map(|port| {
            format!("<local-ports><start>{port}</start><end>{port}</end></local-ports>")
        });
        let ports = ports.collect::<Vec<_>>().concat();
        let entry = crate::documents::OUTBOUND.replacen(
            "<inner-protocol>6</inner-protocol>",
            &format!("<inner-protocol>6</inner-protocol>{ports}"),
            1,
        );
        entry.replacen(
            "<local-ports><start>80</start><end>80</end></local-ports>",
            "",
            1,
        )
    };
    let refused = Bench::new().refused(&edit(&entry(16)));
    assert_eq!(
        refused.app_tag.as_deref(),
        Some("not-programmable"),
        "the list itself is read"
    );
    let refused = Bench::new().refused(&edit(&entry(17)));
    assert_eq!(refused.tag, "too-big");
    assert_eq!(refused.app_tag.as_deref(), Some("entries"));
    let way = "/nsfikels:ipsec-policy-config/nsfikels:traffic-selector\
               /nsfikels:local-ports[nsfikels:start='17'][nsfikels:end='17']";
    assert_eq!(refused.path, Some(into_outbound(way)));
}

#[test]
fn elements_nest_32_deep() {
    // rpc, get and filter are three of them.
    let filter = |depth: usize| {
        let (open, close) = ("<a>".repeat(depth - 3), "</a>".repeat(depth - 3));
        format!("<get><filter>{open}{close}</filter></get>")
    };
    let mut bench = Bench::new();
    assert!(bench.ask(&filter(32)).contains("<data/>"));
    let refused = bench.refused(&filter(33));
    assert_eq!(refused.tag, "too-big");
    assert_eq!(refused.app_tag.as_deref(), Some("depth"));
    // Also where nothing is looked at, and far beyond.
    let comment = "<x>".repeat(100_000);
    let deep = format!("<get><filter>{comment}</filter></get>");
    assert_eq!(bench.refused(&deep).app_tag.as_deref(), Some("depth"));
}

#[test]
fn a_leaf_has_4_kib() {
    let filter = |len: usize| {
        format!(
            "<get><filter><ipsec-ikeless xmlns=\"urn:ietf:params:xml:ns:yang:ietf-i2nsf-ikeless\">\
             <spd><spd-entry><name>{}</name></spd-entry></spd></ipsec-ikeless></filter></get>",
            "n".repeat(len)
        )
    };
    let mut bench = Bench::new();
    assert!(bench.ask(&filter(limits::LEAF)).contains("<data/>"));
    let refused = bench.refused(&filter(limits::LEAF + 1));
    assert_eq!(refused.tag, "too-big");
    assert_eq!(refused.app_tag.as_deref(), Some("leaf"));

    // In an entry the name has its own, shorter limit; both are told with the way to the leaf.
    let refused = bench.refused(&edit(&discard(&"n".repeat(limits::LEAF), 1)));
    assert_eq!(refused.tag, "invalid-value");
    let refused = bench.refused(&edit(&discard(&"n".repeat(limits::LEAF + 1), 1)));
    assert_eq!(refused.tag, "too-big");
    assert_eq!(
        refused.path.as_deref(),
        Some("/nsfikels:ipsec-ikeless/nsfikels:spd/nsfikels:spd-entry/nsfikels:name")
    );
    // However the text is cut by references and comments.
    let cut = "n&#110;<!-- -->".repeat(limits::LEAF / 2 + 1);
    assert_eq!(
        bench.refused(&edit(&discard(&cut, 1))).app_tag.as_deref(),
        Some("leaf")
    );
    bench.ok(&edit(&discard(&"n".repeat(255), 1)));
    assert_eq!(
        bench.refused(&edit(&discard(&"n".repeat(256), 1))).tag,
        "invalid-value"
    );
}

#[test]
fn a_lease_has_8_kib() {
    // base64 of 8 KiB and of one byte more.
    let most = format!("{}AAA=", "AAAA".repeat(2730));
    let more = "AAAA".repeat(2731);
    let mut bench = Bench::new();
    bench.send(&rpc(&grant(&most)));
    assert_eq!(bench.orders.len(), 1);
    let mut bench = Bench::new();
    assert_eq!(bench.refused(&grant(&more)).tag, "invalid-value");
    let wrapped = format!("{most}{}", " ".repeat(limits::LEASE_TEXT));
    let refused = bench.refused(&grant(&wrapped));
    assert_eq!(refused.tag, "too-big");
    assert_eq!(refused.app_tag.as_deref(), Some("leaf"));
}

fn declarations(count: u32) -> String {
    let declarations = (0..count).map(|n| format!("xmlns:a{n}=\"u\" "));
    declarations.collect::<Vec<_>>().concat()
}

#[test]
fn a_tag_has_4_kib_and_16_attributes() {
    let mut bench = Bench::new();
    for operation in [
        format!("<get xmlns:a=\"{}\"/>", "u".repeat(limits::TAG)),
        format!("<{}/>", "n".repeat(limits::TAG + 1)),
        format!("<get {}/>", declarations(17)),
    ] {
        let refused = bench.refused(&operation);
        assert_eq!(refused.tag, "too-big");
        assert_eq!(refused.app_tag.as_deref(), Some("tag"));
    }
    let sixteen = declarations(16);
    assert!(bench.ask(&format!("<get {sixteen}/>")).contains("<data>"));
}

#[test]
fn a_filter_has_1024_elements() {
    let filter = |elements| format!("<get><filter>{}</filter></get>", "<a/>".repeat(elements));
    let mut bench = Bench::new();
    assert!(bench.ask(&filter(limits::FILTER)).contains("<data/>"));
    let refused = bench.refused(&filter(limits::FILTER + 1));
    assert_eq!(refused.tag, "too-big");
    assert_eq!(refused.app_tag.as_deref(), Some("filter"));
}

#[test]
fn names_come_back_as_they_were_given() {
    let given = [
        "out/10.1.0.0/in/10.2.0.0_1",
        " spaced ",
        "ünï/\"'<&>_",
        "]]>",
    ];
    let entries: String = given
        .iter()
        .zip(1..)
        .map(|(name, reqid)| {
            let escaped = name
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;");
            discard(&escaped, reqid)
        })
        .collect();
    let mut bench = Bench::new();
    bench.ok(&edit(&entries));
    assert_eq!(bench.names(), given);
    let reply = bench.ask(GET_CONFIG);
    assert!(one(&reply, "data").is_some());
}
