//! What `ip xfrm` shows is what was ordered.

use std::fmt::Write;

use bartizan_model::policy::{
    Action, Direction, DontFragment, Lifetime, Mode, Policy, TrafficSelector,
};
use bartizan_tests::{
    in_guest,
    testbed::{
        boot::Boot,
        netns::Netns,
        topology::{Family, Side, Topology},
    },
};

use crate::{
    orders::{FAMILIES, MODES, Tunnel},
    station::{Station, install_policy, remove_policy},
};

#[test]
fn an_sa_stands_as_ordered() {
    in_guest!(Boot::uml(), || {
        let topology = Topology::new();
        let [mut a, _b] = Station::begin_both(&topology);
        let mut spi = 0x8000_0000;
        let mut expected = Vec::new();
        for family in FAMILIES {
            for mode in MODES {
                for sender in Side::BOTH {
                    spi += 1;
                    let tunnel = Tunnel::new(family, mode);
                    let mut sa = tunnel.sa(Side::A, sender, spi, hard());
                    sa.soft = soft();
                    if spi % 4 == 1 {
                        sa.df = DontFragment::Copy;
                    }
                    expected.push(shown_sa(tunnel, sender, spi, sa.df));
                    a.install(sa);
                }
            }
        }
        let mut shown = blocks(&topology.a.gateway, "state");
        shown.sort();
        expected.sort();
        assert_eq!(shown, expected);
    });
}

#[test]
fn a_policy_stands_as_ordered_and_falls_without_a_trace() {
    in_guest!(Boot::uml(), || {
        let topology = Topology::new();
        let [mut a, _b] = Station::begin_both(&topology);
        policies_stand_and_fall(&topology.a.gateway, &mut a);
    });
}

/// Installs entries of all kinds, compares what the kernel shows, takes them out again.
pub(crate) fn policies_stand_and_fall(gateway: &Netns, station: &mut Station) {
    let built_in = blocks(gateway, "policy");
    let mut entries = Vec::new();
    let mut expected = Vec::new();
    for family in FAMILIES {
        for mode in MODES {
            let tunnel = Tunnel::new(family, mode);
            for direction in [Direction::Outbound, Direction::Inbound] {
                entries.push(tunnel.entry(Side::A, direction));
            }
            expected.extend(shown_policies(tunnel));
        }
    }
    entries.extend(discards());
    expected.extend(shown_discards());
    for entry in &entries {
        station.done(install_policy(entry.clone()), None);
    }
    let mut shown = blocks(gateway, "policy");
    shown.retain(|block| !built_in.contains(block));
    shown.sort();
    expected.sort();
    assert_eq!(shown, expected);

    for entry in entries {
        station.done(remove_policy(entry), None);
    }
    assert_eq!(blocks(gateway, "policy"), built_in);
}

#[test]
fn what_is_built_in_stands_and_nothing_else() {
    in_guest!(Boot::uml(), || {
        let topology = Topology::new();
        let gateway = &topology.b.gateway;
        let programmer = gateway.enter(|| bartizan_xfrm::Programmer::block_all().unwrap());
        let mut shown = blocks(gateway, "policy");
        shown.sort();
        let mut expected = shown_first_act();
        expected.sort();
        assert_eq!(shown, expected);
        drop(programmer);

        let _station = Station::begin(gateway, &crate::orders::config(Side::B));
        let mut shown = blocks(gateway, "policy");
        shown.sort();
        expected.extend(shown_bypasses(Side::B));
        expected.sort();
        assert_eq!(shown, expected);
    });
}

fn soft() -> Lifetime {
    Lifetime {
        seconds: Some(200),
        bytes: Some(1_000),
        packets: None,
    }
}

fn hard() -> Lifetime {
    Lifetime {
        seconds: Some(300),
        bytes: None,
        packets: Some(5_000_000_000),
    }
}

/// What `ip -s xfrm` shows, a block an object, without what the kernel chooses: times, indices, and
/// the bits of replay windows.
fn blocks(namespace: &Netns, what: &str) -> Vec<String> {
    let shown = namespace.run("ip", &["-s", "xfrm", what]);
    let mut blocks: Vec<String> = Vec::new();
    for line in shown.lines() {
        if line.starts_with("src ") {
            blocks.push(String::new());
        }
        let line = line.trim();
        let bits = line
            .split(' ')
            .all(|word| word.len() == 8 && word.chars().all(|c| c.is_ascii_hexdigit()));
        if bits || line.starts_with("add ") {
            continue;
        }
        let line = match line.split_once(" index ") {
            Some((before, after)) => {
                let (_index, after) = after.split_once(' ').unwrap();
                format!("{before} {after}")
            }
            None => line.to_owned(),
        };
        let block = blocks.last_mut().unwrap();
        // Said by kernels that have another type too.
        block.push_str(&line.replace(" ptype main", ""));
        block.push('\n');
    }
    blocks
}

fn shown_sa(tunnel: Tunnel, sender: Side, spi: u32, df: DontFragment) -> String {
    let (family, receiver) = (tunnel.family, sender.other());
    let (source, destination) = (sender.wan(family), receiver.wan(family));
    let reqid = tunnel.reqid;
    let width = match family {
        Family::V4 => 32,
        Family::V6 => 128,
    };
    let (mode, selector) = match tunnel.mode {
        Mode::Tunnel => (
            "tunnel",
            [sender, receiver].map(|side| side.lan_prefix(family)),
        ),
        Mode::Transport => (
            "transport",
            [source, destination].map(|address| format!("{address}/{width}")),
        ),
    };
    let flags = match (tunnel.mode, family, df) {
        (Mode::Tunnel, Family::V4, DontFragment::Clear) => "nopmtudisc esn (0x10000100)",
        _ => "esn (0x10000000)",
    };
    let (window, words) = if sender == Side::A {
        (32, 1)
    } else {
        (4096, 128)
    };
    let key = hex(crate::orders::key(spi).expose());
    let [from, to] = selector;
    format!(
        "src {source} dst {destination}\n\
         proto esp spi {spi:#010x}({spi}) reqid {reqid}({reqid:#010x}) mode {mode}\n\
         replay-window 0 seq 0x00000000 flag {flags}\n\
         aead rfc4106(gcm(aes)) 0x{key} (288 bits) 128\n\
         anti-replay esn context:\n\
         seq-hi 0x0, seq 0x0, oseq-hi 0x0, oseq 0x0\n\
         replay_window {window}, bitmap-length {words}\n\
         sel src {from} dst {to} uid 0\n\
         lifetime config:\n\
         limit: soft 1000(bytes), hard (INF)(bytes)\n\
         limit: soft (INF)(packets), hard 5000000000(packets)\n\
         expire add: soft 200(sec), hard 300(sec)\n\
         expire use: soft 0(sec), hard 0(sec)\n\
         lifetime current:\n\
         0(bytes), 0(packets)\n\
         stats:\n\
         replay-window 0 replay 0 failed 0\n"
    )
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

fn shown_policies(tunnel: Tunnel) -> Vec<String> {
    let Tunnel {
        family,
        mode,
        reqid,
        ..
    } = tunnel;
    let place = 1000 + reqid;
    let prefix = |side: Side| match (mode, family) {
        (Mode::Tunnel, _) => side.lan_prefix(family),
        (Mode::Transport, Family::V4) => format!("{}/32", side.wan(family)),
        (Mode::Transport, Family::V6) => format!("{}/128", side.wan(family)),
    };
    let (local, remote) = (prefix(Side::A), prefix(Side::B));
    let template = |from: Side| {
        let mode = match mode {
            Mode::Tunnel => "tunnel",
            Mode::Transport => "transport",
        };
        format!(
            "tmpl src {} dst {}\n\
             proto esp spi 0x00000000(0) reqid {reqid}({reqid:#010x}) mode {mode}\n\
             level required share any\n\
             enc-mask ffffffff auth-mask ffffffff comp-mask ffffffff\n",
            from.wan(family),
            from.other().wan(family)
        )
    };
    let (ours, theirs) = (template(Side::A), template(Side::B));
    let mut policies = vec![
        shown_policy(&local, &remote, reqid, "out action allow", place, &ours),
        shown_policy(&remote, &local, reqid, "in action allow", place, &theirs),
    ];
    if mode == Mode::Tunnel {
        let forwarded = "fwd action allow";
        policies.push(shown_policy(
            &remote, &local, reqid, forwarded, place, &theirs,
        ));
        let permit = (1 << 31) + reqid;
        let out = "out action allow";
        policies.push(shown_policy(&local, &remote, reqid, forwarded, permit, ""));
        policies.push(shown_policy(&remote, &local, reqid, out, permit, ""));
    }
    policies
}

/// One entry with a protocol and ports each way.
fn discards() -> Vec<Policy> {
    let mut entry = Tunnel::new(Family::V4, Mode::Tunnel).entry(Side::A, Direction::Outbound);
    entry.action = Action::Discard;
    entry.priority = 0;
    entry.reqid = 90.try_into().unwrap();
    entry.selector = TrafficSelector {
        protocol: Some(17),
        local_port: Some(53),
        remote_port: Some(5353),
        ..entry.selector
    };
    let mut inbound = entry.clone();
    inbound.direction = Direction::Inbound;
    vec![entry, inbound]
}

fn shown_discards() -> Vec<String> {
    let [local, remote] = Side::BOTH.map(|side| side.lan_prefix(Family::V4));
    let from = format!("{remote} dst {local} proto udp sport 5353 dport 53");
    let to = format!("{local} dst {remote} proto udp sport 53 dport 5353");
    [
        (&to, "out action block"),
        (&from, "in action block"),
        (&from, "fwd action block"),
    ]
    .map(|(selector, verdict)| shown(selector, 90, verdict, 1000, ""))
    .to_vec()
}

fn shown_first_act() -> Vec<String> {
    let mut policies = Vec::new();
    for any in ["0.0.0.0/0", "::/0"] {
        for direction in ["in", "out", "fwd"] {
            let verdict = format!("{direction} action block");
            policies.push(shown_policy(any, any, 0, &verdict, u32::MAX, ""));
        }
    }
    for kind in 133..=137 {
        for verdict in ["in action allow", "out action allow", "fwd action block"] {
            let selector = format!("::/0 dst ::/0 proto ipv6-icmp type {kind}");
            policies.push(shown(&selector, 0, verdict, 100, ""));
        }
    }
    for selector in [
        "0.0.0.0/0 dst 0.0.0.0/0 proto icmp type 3 code 4",
        "::/0 dst ::/0 proto ipv6-icmp type 2",
    ] {
        policies.push(shown(selector, 0, "in action allow", 100, ""));
        policies.push(shown(selector, 0, "out action allow", u32::MAX - 1, ""));
    }
    for verdict in ["in action allow", "out action allow"] {
        policies.push(shown_policy("::1/128", "::1/128", 0, verdict, 100, ""));
    }
    policies
}

fn shown_bypasses(side: Side) -> Vec<String> {
    let mut policies = Vec::new();
    for family in FAMILIES {
        let (any, width) = match family {
            Family::V4 => ("0.0.0.0/0", 32),
            Family::V6 => ("::/0", 128),
        };
        for own in [
            side.wan(family),
            side.management(family),
            side.kme_client(family),
        ] {
            let own = format!("{own}/{width}");
            policies.push(shown_policy(&own, any, 0, "fwd action block", 100, ""));
            for (other, port, served) in [
                (any.to_owned(), 9061, true),
                (format!("{}/{width}", side.kme(family)), 8443, false),
            ] {
                let out = format!("{own} dst {other} proto tcp");
                let back = format!("{other} dst {own} proto tcp");
                for (there, here) in [("dport", "sport"), ("sport", "dport")] {
                    if there == "sport" && !served {
                        continue;
                    }
                    let selector = format!("{out} {there} {port}");
                    policies.push(shown(&selector, 0, "out action allow", 100, ""));
                    let selector = format!("{back} {here} {port}");
                    policies.push(shown(&selector, 0, "in action allow", 100, ""));
                }
            }
        }
        // The owner, from whatever address the gateway has.
        let owner = bartizan_tests::testbed::topology::controller(family);
        let asked = format!("{any} dst {owner}/{width} proto tcp dport 4335");
        let answered = format!("{owner}/{width} dst {any} proto tcp sport 4335");
        for (selector, own) in [(asked, "out action allow"), (answered, "in action allow")] {
            policies.push(shown(&selector, 0, own, 100, ""));
            policies.push(shown(&selector, 0, "fwd action block", 100, ""));
        }
    }
    policies
}

fn shown_policy(
    from: &str,
    to: &str,
    owner: u32,
    verdict: &str,
    priority: u32,
    rest: &str,
) -> String {
    shown(&format!("{from} dst {to}"), owner, verdict, priority, rest)
}

fn shown(selector: &str, owner: u32, verdict: &str, priority: u32, rest: &str) -> String {
    format!(
        "src {selector} uid {owner}\n\
         dir {verdict} priority {priority} share any flag  (0x00000000)\n\
         lifetime config:\n\
         limit: soft (INF)(bytes), hard (INF)(bytes)\n\
         limit: soft (INF)(packets), hard (INF)(packets)\n\
         expire add: soft 0(sec), hard 0(sec)\n\
         expire use: soft 0(sec), hard 0(sec)\n\
         lifetime current:\n\
         0(bytes), 0(packets)\n\
         {rest}"
    )
}
