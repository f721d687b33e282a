//! Messages that are wrong in themselves.

use bartizan_netconf::Framing;
use bartizan_netconf::server::Ended;

use crate::bench::{Bench, one, refused};
use crate::documents::{
    GET_CONFIG, OUTBOUND, discard, edit, edit_config, edit_with, into_outbound,
};

#[test]
fn unknown_leaves_are_refused() {
    let entry = OUTBOUND.replacen("<mode>", "<colour>red</colour><mode>", 1);
    let refused = Bench::new().refused(&edit(&entry));
    assert_eq!(refused.tag, "unknown-element");
    let way = "/nsfikels:ipsec-policy-config/nsfikels:processing-info/nsfikels:ipsec-sa-cfg";
    assert_eq!(refused.path, Some(into_outbound(way)));
    assert_eq!(
        refused.info.as_deref(),
        Some("<bad-element>colour</bad-element>")
    );
}

#[test]
fn wrong_namespaces_are_refused() {
    let foreign = OUTBOUND.replacen(
        "<hybrid-keying xmlns=\"urn:bartizan:yang:bartizan-ikeless\">",
        "<hybrid-keying xmlns=\"urn:example:other\">",
        1,
    );
    let refused = Bench::new().refused(&edit(&foreign));
    assert_eq!(refused.tag, "unknown-namespace");
    assert_eq!(refused.path, Some(into_outbound("")));
    let info = "<bad-element>hybrid-keying</bad-element>\
                <bad-namespace>urn:example:other</bad-namespace>";
    assert_eq!(refused.info.as_deref(), Some(info));

    // Our leaf in RFC 9061's namespace, and the other way round.
    let ours = OUTBOUND.replacen(
        "urn:bartizan:yang:bartizan-ikeless",
        "urn:ietf:params:xml:ns:yang:ietf-i2nsf-ikeless",
        1,
    );
    assert_eq!(Bench::new().refused(&edit(&ours)).tag, "unknown-element");
    let theirs = OUTBOUND.replacen(
        "<mode>",
        "<mode xmlns=\"urn:bartizan:yang:bartizan-ikeless\">",
        1,
    );
    assert_eq!(
        Bench::new().refused(&edit(&theirs)).tag,
        "unknown-namespace"
    );

    let none = edit_config("", "<ipsec-ikeless xmlns=\"\"><spd/></ipsec-ikeless>");
    assert_eq!(Bench::new().refused(&none).tag, "unknown-namespace");
    let other = edit_config(
        "",
        "<interfaces xmlns=\"urn:ietf:params:xml:ns:yang:ietf-interfaces\"/>",
    );
    let refused = Bench::new().refused(&other);
    assert_eq!(refused.tag, "unknown-namespace");
    assert_eq!(
        refused.path.as_deref(),
        Some("/nc:rpc/nc:edit-config/nc:config")
    );
}

#[test]
fn what_stands_twice_is_refused() {
    let twice = format!("{}{}", discard("a", 1), discard("a", 2));
    let refused = Bench::new().refused(&edit(&twice));
    assert_eq!(refused.tag, "data-exists");
    assert_eq!(
        refused.path.as_deref(),
        Some("/nsfikels:ipsec-ikeless/nsfikels:spd/nsfikels:spd-entry[nsfikels:name='a']")
    );
    let leaf = OUTBOUND.replacen("<reqid>1</reqid>", "<reqid>1</reqid><reqid>1</reqid>", 1);
    let refused = Bench::new().refused(&edit(&leaf));
    assert_eq!(refused.tag, "bad-element");
    assert_eq!(refused.path, Some(into_outbound("/nsfikels:reqid")));

    let ports = "<local-ports><start>80</start><end>80</end></local-ports>";
    let list = OUTBOUND.replacen(ports, &ports.repeat(2), 1);
    assert_eq!(Bench::new().refused(&edit(&list)).tag, "data-exists");
}

#[test]
fn a_document_type_or_an_entity_is_refused() {
    let laughs = "<!DOCTYPE l [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;&a;&a;\">]>";
    let message = crate::bench::rpc(&edit(&discard("&b;", 1)));
    for message in [
        format!("{laughs}{message}"),
        format!("<?xml version=\"1.0\"?>{laughs}{message}"),
        message,
        crate::bench::rpc(&edit(&discard("&nbsp;", 1))),
        crate::bench::rpc(&edit(&discard("&#0;", 1))),
        crate::bench::rpc(&edit(&discard("&#x1;", 1))),
        crate::bench::rpc(&format!("<?php x?>{GET_CONFIG}")),
        crate::bench::rpc(GET_CONFIG).replace("101", "&x;"),
    ] {
        let mut bench = Bench::new();
        bench.send(&message);
        let reply = bench.messages().remove(0);
        assert_eq!(refused(&reply).tag, "malformed-message", "{message}");
        assert!(bench.gateway.running().is_empty());
        assert_eq!(bench.orders, []);
    }
    // XML's own five, and characters by number, are text.
    let mut bench = Bench::new();
    bench.ok(&edit(&discard(
        "a&lt;&amp;&gt;&quot;&apos;&#65;<![CDATA[<&]]>",
        1,
    )));
    assert_eq!(bench.names(), ["a<&>\"'A<&"]);
}

#[test]
fn what_is_no_xml_is_refused() {
    let good = crate::bench::rpc(GET_CONFIG);
    for message in [
        "<",
        "rpc",
        "<rpc",
        &good.replace("</rpc>", ""),
        &good.replace("</rpc>", "</rpc></rpc>"),
        &format!("{good}{good}"),
        &good.replace("<running/>", "<running></source>"),
        &good.replace("<running/>", "<a:running/>"),
        &good.replace("<running/>", "<run ning=x/>"),
        &good.replace("<running/>", "<running a='1' a='2'/>"),
        &good.replace("<running/>", "<running a='<'/>"),
        &good.replace("<running/>", "<1running/>"),
        &good.replace("<running/>", "<running/>\u{1}"),
        &good.replace("<running/>", "<!-- -- --><running/>"),
        &good.replace("<rpc", "<?xml version=\"1.0\" encoding=\"latin1\"?><rpc"),
    ] {
        let mut bench = Bench::new();
        bench.send(message);
        let reply = bench.messages().remove(0);
        assert_eq!(refused(&reply).tag, "malformed-message", "{message}");
    }
}

#[test]
fn base_1_0_never_hears_of_malformed_messages() {
    let mut bench = Bench::speaking(Framing::EndOfMessage);
    bench.send("<rpc");
    let reply = bench.messages().remove(0);
    assert_eq!(refused(&reply).tag, "operation-failed");
    assert!(bench.ask(GET_CONFIG).contains("<data/>"));
}

#[test]
fn nonsense_in_repetition_ends_the_session() {
    let mut bench = Bench::new();
    for _ in 0..16 {
        bench.send("<nonsense/>");
        assert_eq!(bench.session.ended(), None);
    }
    bench.send("<nonsense/>");
    assert_eq!(bench.session.ended(), Some(Ended::Nonsense));
    assert_eq!(bench.messages().len(), 17);
}

#[test]
fn a_request_has_a_message_id_and_its_reply_all_its_attributes() {
    let base = "urn:ietf:params:xml:ns:netconf:base:1.0";
    let mut bench = Bench::new();
    bench.send(&format!("<rpc xmlns=\"{base}\"><get/></rpc>"));
    let refused = refused(&bench.messages().remove(0));
    assert_eq!(refused.tag, "missing-attribute");
    let info = "<bad-attribute>message-id</bad-attribute><bad-element>rpc</bad-element>";
    assert_eq!(refused.info.as_deref(), Some(info));

    bench.send(&format!(
        "<n:rpc xmlns:n=\"{base}\" xmlns=\"urn:example:other\" message-id='a\"&lt;&amp;1' \
         xmlns:ex=\"urn:ex\" ex:user=\"me\"><n:close-session/></n:rpc>"
    ));
    let reply = bench.messages().remove(0);
    let expected = format!(
        "<rpc-reply xmlns=\"{base}\" xmlns:n=\"{base}\" message-id=\"a&quot;&lt;&amp;1\" \
         xmlns:ex=\"urn:ex\" ex:user=\"me\"><ok/></rpc-reply>"
    );
    assert!(reply.ends_with(&expected), "{reply}");
}

#[test]
fn operations_that_need_other_capabilities_are_not_supported() {
    for operation in [
        "<lock><target><running/></target></lock>",
        "<unlock><target><running/></target></unlock>",
        "<commit/>",
        "<discard-changes/>",
        "<validate><source><running/></source></validate>",
        "<copy-config/>",
        "<delete-config/>",
        "<reboot/>",
    ] {
        let refused = Bench::new().refused(operation);
        assert_eq!(refused.tag, "operation-not-supported", "{operation}");
    }
    let schema = "<get-schema xmlns=\"urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring\"/>";
    assert_eq!(Bench::new().refused(schema).tag, "unknown-namespace");
    assert_eq!(Bench::new().refused("").tag, "missing-element");
    assert_eq!(Bench::new().refused("<get/><get/>").tag, "unknown-element");
}

#[test]
fn parameters_are_checked() {
    let entry = discard("a", 1);
    let cases = [
        (
            edit(&entry).replace("<running/>", "<candidate/>"),
            "operation-not-supported",
            "target",
        ),
        (
            edit(&entry).replace("<target><running/></target>", ""),
            "missing-element",
            "target",
        ),
        (
            edit(&entry).replace("<running/>", ""),
            "missing-element",
            "target",
        ),
        (
            edit_with("<error-option>continue-on-error</error-option>", &entry),
            "operation-not-supported",
            "error-option",
        ),
        (
            edit_with("<error-option>none</error-option>", &entry),
            "invalid-value",
            "error-option",
        ),
        (
            edit_with("<default-operation>create</default-operation>", &entry),
            "invalid-value",
            "default-operation",
        ),
        (
            edit_with("<test-option>never</test-option>", &entry),
            "invalid-value",
            "test-option",
        ),
        (
            edit(&entry).replace(
                "</edit-config>",
                "<test-option>set</test-option></edit-config>",
            ),
            "bad-element",
            "test-option",
        ),
        (
            "<edit-config><target><running/></target></edit-config>".into(),
            "missing-element",
            "config",
        ),
        (
            "<edit-config><target><running/></target><url>file:///x</url></edit-config>".into(),
            "operation-not-supported",
            "url",
        ),
    ];
    for (operation, tag, way) in cases {
        let refused = Bench::new().refused(&operation);
        assert_eq!(refused.tag, tag, "{operation}");
        assert_eq!(
            refused.path,
            Some(format!("/nc:rpc/nc:edit-config/nc:{way}"))
        );
    }
    for operation in [
        "<get-config/>",
        "<get-config><source><startup/></source></get-config>",
        "<get-config><source><running/><running/></source></get-config>",
        "<get><filter type=\"xpath\" select=\"/\"/></get>",
        "<get><with-defaults xmlns=\"urn:ietf:params:xml:ns:yang:ietf-netconf-with-defaults\"/></get>",
        "<kill-session/>",
        "<kill-session><session-id>x</session-id></kill-session>",
        "<kill-session><session-id>7</session-id></kill-session>",
        "<kill-session><session-id>8</session-id></kill-session>",
        "<close-session><now/></close-session>",
    ] {
        Bench::new().refused(operation);
    }
}

#[test]
fn attributes_are_checked() {
    let cases = [
        (
            "<spd-entry>",
            "<spd-entry operation=\"delete\">",
            "unknown-attribute",
        ),
        (
            "<spd-entry>",
            "<spd-entry nc:operation=\"move\">",
            "bad-attribute",
        ),
        (
            "<spd-entry>",
            "<spd-entry nc:operation=\"none\">",
            "bad-attribute",
        ),
        (
            "<spd-entry>",
            "<spd-entry nc:colour=\"red\">",
            "unknown-attribute",
        ),
        (
            "<spd-entry>",
            "<spd-entry xmlns:yang=\"urn:ietf:params:xml:ns:yang:1\" yang:insert=\"before\">",
            "missing-attribute",
        ),
        (
            "<spd-entry>",
            "<spd-entry xmlns:yang=\"urn:ietf:params:xml:ns:yang:1\" yang:insert=\"between\">",
            "bad-attribute",
        ),
        (
            "<spd-entry>",
            "<spd-entry xmlns:yang=\"urn:ietf:params:xml:ns:yang:1\" yang:insert=\"after\" \
         yang:key=\"[name='z']\">",
            "bad-attribute",
        ),
    ];
    for (replaced, replacement, tag) in cases {
        let refused = Bench::new().refused(&edit(&OUTBOUND.replacen(replaced, replacement, 1)));
        assert_eq!(refused.tag, tag, "{replacement}");
        let path = refused.path.unwrap();
        assert!(path.starts_with("/nsfikels:ipsec-ikeless/nsfikels:spd/nsfikels:spd-entry"));
    }
}

#[test]
fn state_cannot_be_written() {
    let state = edit_config(
        "",
        "<gateway xmlns=\"urn:bartizan:yang:bartizan-ikeless\"><lifecycle>attested</lifecycle></gateway>",
    );
    let refused = Bench::new().refused(&state);
    assert_eq!(refused.tag, "operation-not-supported");
    assert_eq!(
        refused.path.as_deref(),
        Some("/bartizan:gateway/bartizan:lifecycle")
    );
}

#[test]
fn text_between_elements_is_refused() {
    let refused = Bench::new().refused(&edit(&OUTBOUND.replacen("<mode>", "tunnel<mode>", 1)));
    assert_eq!(refused.tag, "bad-element");
    let refused = Bench::new().refused(&edit(&OUTBOUND.replacen(
        "<reqid>1</reqid>",
        "<reqid><x/></reqid>",
        1,
    )));
    assert_eq!(refused.tag, "bad-element");
    assert_eq!(refused.path, Some(into_outbound("/nsfikels:reqid")));
}

#[test]
fn a_hello_is_due_first() {
    for first in [
        crate::bench::rpc(GET_CONFIG),
        "<hello xmlns=\"urn:ietf:params:xml:ns:netconf:base:1.0\"/>".into(),
        "<hello xmlns=\"urn:ietf:params:xml:ns:netconf:base:1.0\"><capabilities><capability>\
         urn:ietf:params:netconf:base:2.0</capability></capabilities></hello>"
            .into(),
        "<hello xmlns=\"urn:ietf:params:xml:ns:netconf:base:1.0\"><capabilities><capability>\
         urn:ietf:params:netconf:base:1.1</capability></capabilities><session-id>1</session-id>\
         </hello>"
            .into(),
        " ".repeat(70_000),
    ] {
        let mut session = bartizan_netconf::server::Session::new(bartizan_netconf::SessionId(1));
        let mut gateway = Bench::new().gateway;
        let mut bytes = Vec::new();
        bartizan_netconf::frame(&first, Framing::EndOfMessage, &mut bytes);
        session.receive(&bytes);
        session.advance(&mut gateway);
        assert_eq!(session.ended(), Some(Ended::Hello));
    }
}

#[test]
fn an_error_tells_where_in_words_of_declared_prefixes() {
    let mut bench = Bench::new();
    let chain =
        "<ldevid-chain xmlns=\"urn:bartizan:yang:bartizan-attestation\">AA==</ldevid-chain>";
    let chain = edit_config(
        "",
        &format!("<gateway xmlns=\"urn:bartizan:yang:bartizan-ikeless\">{chain}</gateway>"),
    );
    for (operation, prefixes) in [
        (
            edit(&OUTBOUND.replacen("<reqid>1", "<reqid>0", 1)),
            vec![("nsfikels", "urn:ietf:params:xml:ns:yang:ietf-i2nsf-ikeless")],
        ),
        (
            edit(&OUTBOUND.replacen("<combiner>hmac", "<combiner>md5", 1)),
            vec![
                ("nsfikels", "urn:ietf:params:xml:ns:yang:ietf-i2nsf-ikeless"),
                ("bartizan", "urn:bartizan:yang:bartizan-ikeless"),
            ],
        ),
        (
            chain,
            vec![
                ("bartizan", "urn:bartizan:yang:bartizan-ikeless"),
                ("batt", "urn:bartizan:yang:bartizan-attestation"),
            ],
        ),
    ] {
        let reply = bench.ask(&operation);
        let path = one(&reply, "error-path").unwrap();
        for (prefix, uri) in prefixes {
            assert!(path.contains(&format!("/{prefix}:")), "{reply}");
            assert!(
                reply.contains(&format!("xmlns:{prefix}=\"{uri}\"")),
                "{reply}"
            );
        }
        assert_eq!(one(&reply, "error-type").as_deref(), Some("application"));
    }
}
