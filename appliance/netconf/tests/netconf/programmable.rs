//! What RFC 9061 allows and the gateway cannot program is refused with the way to the leaf; what no
//! YANG reader takes is refused too.

use core::fmt::Write as _;

use crate::bench::{Bench, Refused};
use crate::documents::{OUTBOUND, edit, into_outbound};

/// Sends the good entry with one text replaced.
fn with(replaced: &str, replacement: &str) -> Refused {
    let entry = OUTBOUND.replacen(replaced, replacement, 1);
    assert_ne!(entry, OUTBOUND, "{replaced}");
    Bench::new().refused(&edit(&entry))
}

/// A way below the entry; its first step may be the short name of a container.
fn way(short: &str) -> String {
    let mut way = String::new();
    let mut prefix = "nsfikels";
    for step in short.split('/').filter(|step| !step.is_empty()) {
        let (name, keys) = step.split_once('[').unwrap_or((step, ""));
        let names: &[&str] = match name {
            "TS" => &["ipsec-policy-config", "traffic-selector"],
            "PI" => &["ipsec-policy-config", "processing-info"],
            "SA" => &["ipsec-policy-config", "processing-info", "ipsec-sa-cfg"],
            "HK" => {
                prefix = "bartizan";
                &["hybrid-keying"]
            }
            name => &[name],
        };
        for name in names {
            write!(way, "/{prefix}:{name}").unwrap();
        }
        for key in keys.split_terminator('[') {
            write!(way, "[{prefix}:{key}").unwrap();
        }
    }
    into_outbound(&way)
}

/// What is replaced, by what, the error, and the way to it.
const NOT_PROGRAMMABLE: &str = "
<action>protect|<action>bypass|invalid-value not-programmable|PI/action
<end>80<|<end>90<|invalid-value not-programmable|TS/local-ports[start='80'][end='90']
<end>80<|<end>70<|operation-failed must-violation|TS/local-ports[start='80'][end='70']
<inner-protocol>6<|<inner-protocol>1<|invalid-value not-programmable|TS/local-ports[start='80'][end='80']
<inner-protocol>6<|<inner-protocol>any<|invalid-value not-programmable|TS/local-ports[start='80'][end='80']
<inner-protocol>6<|<inner-protocol>0<|invalid-value not-programmable|TS/inner-protocol
10.2.0.0/24|2001:db8::/64|invalid-value|TS/remote-prefix
size>1024<|size>0<|invalid-value not-programmable|ipsec-policy-config/anti-replay-window-size
size>1024<|size>33<|invalid-value not-programmable|ipsec-policy-config/anti-replay-window-size
size>1024<|size>4128<|invalid-value not-programmable|ipsec-policy-config/anti-replay-window-size
<pfp-flag>false|<pfp-flag>true|invalid-value not-programmable|SA/pfp-flag
<ext-seq-num>true|<ext-seq-num>false|invalid-value not-programmable|SA/ext-seq-num
<ext-seq-num>true</ext-seq-num>||invalid-value not-programmable|SA/ext-seq-num
<mode>|<seq-overflow>true</seq-overflow><mode>|invalid-value not-programmable|SA/seq-overflow
<mode>|<stateful-frag-check>true</stateful-frag-check><mode>|invalid-value not-programmable|SA/stateful-frag-check
<mode>tunnel|<mode>transport|unknown-element|SA/tunnel
<tfc-pad>false|<tfc-pad>true|invalid-value not-programmable|SA/esp-algorithms/tfc-pad
<encryption>|<integrity>12</integrity><encryption>|invalid-value not-programmable|SA/esp-algorithms/integrity
<encryption>|<integrity>2</integrity><encryption>|invalid-value weak-algorithm|SA/esp-algorithms/integrity
<encryption>|<encryption><id>1</id></encryption><encryption>|invalid-value not-programmable|SA/esp-algorithms/encryption[id='3']
<algorithm-type>20|<algorithm-type>3|invalid-value weak-algorithm|SA/esp-algorithms/encryption[id='3']/algorithm-type
<algorithm-type>20|<algorithm-type>2|invalid-value weak-algorithm|SA/esp-algorithms/encryption[id='3']/algorithm-type
<algorithm-type>20|<algorithm-type>11|invalid-value weak-algorithm|SA/esp-algorithms/encryption[id='3']/algorithm-type
<algorithm-type>20|<algorithm-type>12|invalid-value not-programmable|SA/esp-algorithms/encryption[id='3']/algorithm-type
<algorithm-type>20|<algorithm-type>28|invalid-value not-programmable|SA/esp-algorithms/encryption[id='3']/algorithm-type
<key-length>256|<key-length>128|invalid-value not-programmable|SA/esp-algorithms/encryption[id='3']/key-length
<key-length>256|<key-length>32|invalid-value not-programmable|SA/esp-algorithms/encryption[id='3']/key-length
<key-length>256</key-length>||invalid-value not-programmable|SA/esp-algorithms/encryption[id='3']/key-length
<df-bit>clear|<df-bit>set|invalid-value not-programmable|SA/tunnel/df-bit
<df-bit>|<bypass-dscp>false</bypass-dscp><df-bit>|invalid-value not-programmable|SA/tunnel/bypass-dscp
<df-bit>|<dscp-mapping><id>1</id></dscp-mapping><df-bit>|invalid-value not-programmable|SA/tunnel/dscp-mapping[id='1']
<remote>192.0.2.2|<remote>2001:db8::2|invalid-value|SA/tunnel/remote
<remote>192.0.2.2|<remote>224.0.0.1|invalid-value not-programmable|SA/tunnel/remote
<remote>192.0.2.2|<remote>0.0.0.0|invalid-value not-programmable|SA/tunnel/remote
<rekey-mode>delegated|<rekey-mode>controller|operation-not-supported|HK/rekey-mode
<peer-node>gw-b.example|<peer-node>GW-B|invalid-value|HK/peer-node
<peer-port>9061|<peer-port>0|invalid-value|HK/peer-port
<peer-address>192.0.2.2|<peer-address>::|invalid-value not-programmable|HK/peer-address
<peer-sae-id>sae-b|<peer-sae-id>../b|invalid-value|HK/qkd/peer-sae-id
<time>3000|<time>3600|operation-failed must-violation|HK/soft-lifetime
<bytes>1000000</bytes>||operation-failed must-violation|HK/soft-lifetime
<time>3000|<time>0|invalid-value|HK/soft-lifetime/time
<reqid>1<|<reqid>0<|invalid-value|reqid
<reqid>1<|<reqid>4294967296<|invalid-value|reqid
";

#[test]
fn the_good_entry_is_taken() {
    let mut bench = Bench::new();
    bench.ok(&edit(OUTBOUND));
    assert_eq!(bench.gateway.running().len(), 1);
}

#[test]
fn what_cannot_be_programmed_is_refused_by_its_leaf() {
    for case in NOT_PROGRAMMABLE.trim().lines() {
        let [replaced, replacement, error, short] = case.split('|').collect::<Vec<_>>()[..] else {
            panic!("{case}");
        };
        let refused = with(replaced, replacement);
        let (tag, app_tag) = error.split_once(' ').unzip();
        assert_eq!(refused.tag, tag.unwrap_or(error), "{case}: {refused:?}");
        assert_eq!(refused.app_tag.as_deref(), app_tag, "{case}");
        assert_eq!(refused.path, Some(way(short)), "{case}");
    }
}

#[test]
fn an_entry_without_encryption_is_refused() {
    let (before, rest) = OUTBOUND.split_once("<encryption>").unwrap();
    let (_, after) = rest.split_once("</encryption>").unwrap();
    let refused = Bench::new().refused(&edit(&format!("{before}{after}")));
    assert_eq!(refused.tag, "invalid-value");
    assert_eq!(refused.app_tag.as_deref(), Some("weak-algorithm"));
    assert_eq!(refused.path, Some(way("SA/esp-algorithms/encryption")));
}

#[test]
fn an_entry_lacks_nothing_that_is_mandatory() {
    let cases = [
        ("<direction>outbound</direction>", "direction"),
        (
            "<local-prefix>10.1.0.0/24</local-prefix>",
            "TS/local-prefix",
        ),
        ("<local>192.0.2.1</local>", "SA/tunnel/local"),
        ("<tunnel-id>1</tunnel-id>", "HK/tunnel-id"),
        ("<peer-node>gw-b.example</peer-node>", "HK/peer-node"),
        ("<peer-address>192.0.2.2</peer-address>", "HK/peer-address"),
        ("<need>required</need>", "HK/qkd/need"),
        (
            "<parameter-set>ml-kem-768</parameter-set>",
            "HK/kem/parameter-set",
        ),
    ];
    for (removed, short) in cases {
        let refused = with(removed, "");
        assert_eq!(refused.tag, "missing-element", "{removed}");
        assert_eq!(refused.path, Some(way(short)));
        let (_, name) = short.rsplit_once('/').unwrap_or(("", short));
        let info = format!("<bad-element>{name}</bad-element>");
        assert_eq!(refused.info, Some(info));
    }
    let (before, rest) = OUTBOUND.split_once("<hybrid-keying").unwrap();
    let (_, after) = rest.split_once("</hybrid-keying>").unwrap();
    let refused = Bench::new().refused(&edit(&format!("{before}{after}")));
    assert_eq!(refused.tag, "missing-element");
    assert_eq!(refused.path, Some(way("HK")));

    let refused = Bench::new().refused(&edit("<spd-entry><reqid>1</reqid></spd-entry>"));
    assert_eq!(refused.tag, "missing-element");
    assert_eq!(
        refused.info.as_deref(),
        Some("<bad-element>name</bad-element>")
    );
}

#[test]
fn a_key_needs_a_source() {
    let without_qkd = OUTBOUND.replacen(
        "<qkd><need>required</need><peer-sae-id>sae-b</peer-sae-id></qkd>",
        "",
        1,
    );
    Bench::new().ok(&edit(&without_qkd));
    let (before, rest) = without_qkd.split_once("<kem>").unwrap();
    let (_, after) = rest.split_once("</kem>").unwrap();
    let refused = Bench::new().refused(&edit(&format!("{before}{after}")));
    assert_eq!(refused.tag, "operation-failed");
    assert_eq!(refused.app_tag.as_deref(), Some("must-violation"));
    assert_eq!(refused.path, Some(way("HK")));
}

#[test]
fn texts_that_are_no_values_are_refused() {
    let cases = [
        ("<direction>outbound", "<direction>out", "direction"),
        ("<reqid>1", "<reqid>one", "reqid"),
        ("<reqid>1", "<reqid>-1", "reqid"),
        ("10.1.0.0/24", "10.1.0.0/240", "TS/local-prefix"),
        ("<ext-seq-num>true", "<ext-seq-num>yes", "SA/ext-seq-num"),
        ("<tunnel-id>1", "<tunnel-id>4294967296", "HK/tunnel-id"),
        (
            "<peer-address>192.0.2.2",
            "<peer-address>gw-b",
            "HK/peer-address",
        ),
        ("<combiner>hmac", "<combiner>sum", "HK/combiner"),
        ("ml-kem-768", "kyber768", "HK/kem/parameter-set"),
    ];
    for (replaced, replacement, short) in cases {
        let refused = with(replaced, replacement);
        assert_eq!(refused.tag, "invalid-value", "{replacement}");
        assert_eq!(refused.path, Some(way(short)), "{replacement}");
    }
}

#[test]
fn a_discarding_entry_has_no_keys() {
    let refused = with("<action>protect", "<action>discard");
    assert_eq!(refused.tag, "unknown-element");
    assert_eq!(refused.path, Some(way("SA")));
}

#[test]
fn transport_mode_protects_between_two_addresses() {
    let (before, rest) = OUTBOUND.split_once("<tunnel>").unwrap();
    let (_, after) = rest.split_once("</tunnel>").unwrap();
    let transport = format!("{before}{after}").replace("<mode>tunnel", "<mode>transport");
    let refused = Bench::new().refused(&edit(&transport));
    assert_eq!(refused.tag, "invalid-value");
    assert_eq!(refused.path, Some(way("TS/local-prefix")));
    let transport = transport
        .replace("10.1.0.0/24", "192.0.2.1/32")
        .replace("10.2.0.0/24", "192.0.2.2/32");
    Bench::new().ok(&edit(&transport));
}

#[test]
fn an_sa_of_a_controller_is_refused_by_its_path() {
    let sad = "<ipsec-ikeless xmlns=\"urn:ietf:params:xml:ns:yang:ietf-i2nsf-ikeless\"><sad>\
               <sad-entry><name>out/a/in/b_1</name><ipsec-sa-config><spi>1</spi>\
               </ipsec-sa-config></sad-entry></sad></ipsec-ikeless>";
    let refused = Bench::new().refused(&crate::documents::edit_config("", sad));
    assert_eq!(refused.tag, "operation-not-supported");
    assert_eq!(
        refused.path.as_deref(),
        Some(
            "/nsfikels:ipsec-ikeless/nsfikels:sad\
             /nsfikels:sad-entry[nsfikels:name='out/a/in/b_1']"
        )
    );
}
