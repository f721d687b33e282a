//! From what the owner writes to what both ends are told.

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "small numbers of a test")]
mod tests {
    use core::fmt::Write as _;
    use std::collections::{BTreeMap, BTreeSet};

    use bartizan_controller::plan::{Plan, Tunnel, policies};
    use bartizan_controller::reqids::Reqids;
    use bartizan_model::ids::NodeId;
    use bartizan_model::policy::{Action, Direction, Policy, Protect, TrafficSelector};
    use proptest::prelude::*;

    const GOOD: &str = r#"
        [node."gw-a.example"]
        addresses = ["192.0.2.1", "2001:db8::1"]
        sae = "sae-a"

        [node."gw-b.example"]
        addresses = ["192.0.2.2", "2001:db8::2"]
        peer-port = 9000
        sae = "sae-b"

        [[tunnel]]
        id = 1
        between = ["gw-a.example", "gw-b.example"]
        mode = "tunnel"
        networks = ["10.1.0.0/16", "10.2.0.0/16"]
        qkd = "required"
        kem = { need = "optional", parameter-set = "ml-kem-768" }
        soft = { seconds = 3000 }
        hard = { seconds = 3600 }

        [[tunnel]]
        id = 2
        between = ["gw-b.example", "gw-a.example"]
        mode = "transport"
        endpoints = ["2001:db8::2", "2001:db8::1"]
        protocol = 17
        ports = [0, 53]
        kem = { need = "required", parameter-set = "ml-kem-1024" }
        combiner = "hmac"
        soft = { bytes = 1000000 }
    "#;

    /// A change of the good document, the key that is named, and a word of the fault.
    const FAULTS: &[(&str, &str, &str, &str)] = &[
        ("id = 1\n", "id = \"x\"\n", "TOML", "id"),
        ("mode = \"tunnel\"", "mode = \"bypass\"", "TOML", "bypass"),
        ("sae = \"sae-a\"", "sea = \"sae-a\"", "TOML", "sea"),
        ("gw-a.example\"]\n", "GW-A\"]\n", "node.GW-A", "not allowed"),
        (
            "\"192.0.2.2\", ",
            "\"192.0.2.1\", ",
            "node.gw-b.example.addresses",
            "gw-a",
        ),
        (
            "\"192.0.2.2\", ",
            "\"0.0.0.0\", ",
            "node.gw-b.example.addresses",
            "0.0.0.0",
        ),
        (
            "[\"192.0.2.2\", \"2001:db8::2\"]",
            "[]",
            "node.gw-b.example.addresses",
            "address",
        ),
        (
            "peer-port = 9000",
            "peer-port = 0",
            "node.gw-b.example.peer-port",
            "port",
        ),
        (
            "sae = \"sae-a\"",
            "sae = \"s/a\"",
            "node.gw-a.example.sae",
            "not allowed",
        ),
        (
            "sae = \"sae-a\"",
            "",
            "tunnel[0].qkd",
            "gw-a.example has no sae",
        ),
        (
            "qkd = \"required\"",
            "qkd = \"required\"\nqkd-priority = 8",
            "tunnel[0].qkd-priority",
            "0 to 7",
        ),
        (
            "qkd = \"required\"",
            "qkd-priority = 7",
            "tunnel[0].qkd-priority",
            "without qkd",
        ),
        (
            "qkd = \"required\"",
            "qkd-minimum-keys-per-hour = 7",
            "tunnel[0].qkd-minimum-keys-per-hour",
            "without qkd",
        ),
        (
            "[\"gw-a.example\", \"gw-b.example\"]",
            "[\"gw-a.example\", \"gw-x\"]",
            "tunnel[0].between",
            "gw-x",
        ),
        (
            "[\"gw-a.example\", \"gw-b.example\"]",
            "[\"gw-a.example\", \"gw-a.example\"]",
            "tunnel[0].between",
            "two",
        ),
        (
            "networks = [\"10.1.0.0/16\", \"10.2.0.0/16\"]",
            "",
            "tunnel[0].networks",
            "networks",
        ),
        (
            "\"10.1.0.0/16\"",
            "\"10.1.0.1/16\"",
            "tunnel[0].networks",
            "10.1.0.1/16",
        ),
        (
            "\"10.1.0.0/16\"",
            "\"10.1.0.0\"",
            "tunnel[0].networks",
            "10.1.0.0",
        ),
        (
            "\"10.1.0.0/16\"",
            "\"10.1.0.0/33\"",
            "tunnel[0].networks",
            "longer",
        ),
        (
            "\"10.1.0.0/16\"",
            "\"2001:db8::/32\"",
            "tunnel[0].networks",
            "family",
        ),
        (
            "\"2001:db8::2\", \"2001:db8::1\"]\n        prot",
            "\"2001:db8::2\", \"192.0.2.1\"]\n        prot",
            "tunnel[1].endpoints",
            "family",
        ),
        (
            "\"2001:db8::2\", \"2001:db8::1\"]\n        prot",
            "\"2001:db8::2\", \"2001:db8::3\"]\n        prot",
            "tunnel[1].endpoints",
            "gw-a.example",
        ),
        ("protocol = 17", "protocol = 0", "tunnel[1].protocol", "any"),
        ("protocol = 17", "protocol = 1", "tunnel[1].ports", "ports"),
        (
            "combiner = \"hmac\"",
            "replay-window = 33",
            "tunnel[1].replay-window",
            "multiple",
        ),
        (
            "combiner = \"hmac\"",
            "dial = \"higher\"",
            "tunnel[1].dial",
            "otherwise",
        ),
        (
            "combiner = \"hmac\"",
            "networks = [\"10.0.0.0/8\", \"10.1.0.0/16\"]",
            "tunnel[1].networks",
            "endpoints",
        ),
        (
            "soft = { seconds = 3000 }",
            "soft = { seconds = 3600 }",
            "tunnel[0].soft.seconds",
            "3600",
        ),
        (
            "soft = { seconds = 3000 }",
            "",
            "tunnel[0].soft.seconds",
            "3600",
        ),
        (
            "hard = { seconds = 3600 }",
            "hard = { packets = 0 }",
            "tunnel[0].hard.packets",
            "at least 1",
        ),
        ("id = 2", "id = 1", "tunnel[1].id", "tunnel[0]"),
        (
            "kem = { need = \"required\", parameter-set = \"ml-kem-1024\" }",
            "",
            "tunnel[1]",
            "source",
        ),
    ];

    #[test]
    fn both_ends_of_a_tunnel_mirror_each_other() {
        let (_, plan) = Plan::parse(GOOD).unwrap();
        let reqids = Reqids::default().for_plan(&plan);
        let [a, b] = ["gw-a.example", "gw-b.example"].map(|name| of(&plan, &reqids, name));

        assert_mirrored(&plan, &reqids);
        let names: Vec<_> = a.iter().map(|policy| policy.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "out/192.0.2.1/in/192.0.2.2/1",
                "out/192.0.2.2/in/192.0.2.1/1",
                "out/2001:db8::1/in/2001:db8::2/2",
                "out/2001:db8::2/in/2001:db8::1/2",
            ]
        );
        let there = protect(&a[0]);
        assert_eq!(there.keying.peer_address.to_string(), "192.0.2.2:9000");
        assert_eq!(
            there.keying.qkd.as_ref().unwrap().peer_sae.as_str(),
            "sae-b"
        );
        let back = protect(&b[0]);
        assert_eq!(back.keying.peer_address.to_string(), "192.0.2.1:9061");
        assert_eq!(back.keying.qkd.as_ref().unwrap().peer_sae.as_str(), "sae-a");
        // The port is on A's side; at A it is the local one.
        assert_eq!(
            (a[2].selector.local_port, a[2].selector.remote_port),
            (Some(53), None)
        );
        assert_eq!(
            (b[2].selector.local_port, b[2].selector.remote_port),
            (None, Some(53))
        );
        assert!(protect(&a[2]).keying.qkd.is_none());
    }

    #[test]
    fn the_example_is_a_plan() {
        let (_, plan) = Plan::parse(include_str!("../examples/tunnels.toml")).unwrap();
        assert_mirrored(&plan, &Reqids::default().for_plan(&plan));
    }

    #[test]
    fn every_fault_is_named_by_its_key() {
        for &(from, to, key, word) in FAULTS {
            assert!(GOOD.contains(from), "{from}");
            let errors = Plan::parse(&GOOD.replacen(from, to, 1)).unwrap_err();
            let named = errors
                .all()
                .iter()
                .any(|error| error.key == key && error.fault.contains(word));
            assert!(named, "{from} -> {to}: {errors}");
        }
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let bad = GOOD
            .replace("protocol = 17", "protocol = 0")
            .replace("10.1.0.0/16", "10.1.0.1/16")
            .replace("peer-port = 9000", "peer-port = 0");
        let errors = Plan::parse(&bad).unwrap_err();
        let keys: Vec<_> = errors
            .all()
            .iter()
            .map(|error| error.key.as_str())
            .collect();
        assert!(
            keys.starts_with(&["node.gw-b.example.peer-port", "tunnel[0].between"]),
            "{keys:?}"
        );
    }

    #[test]
    fn a_node_holds_twelve_thousand_entries_and_not_one_tunnel_more() {
        let most = 6000;
        assert_eq!(Plan::parse(&pair_with(most)).unwrap().1.tunnels.len(), most);
        let errors = Plan::parse(&pair_with(most + 1)).unwrap_err();
        assert_eq!(errors.all()[0].key, "tunnel[6000]");
    }

    #[test]
    fn a_tunnel_keeps_its_number_and_no_other_inherits_it() {
        let (_, plan) = Plan::parse(&pair_with(3)).unwrap();
        let first = Reqids::default().for_plan(&plan);
        let keys: Vec<_> = plan.tunnels.iter().map(Tunnel::key).collect();
        let numbers: BTreeSet<_> = keys.iter().map(|key| first.of(key).unwrap()).collect();
        assert_eq!(numbers.len(), 3);

        // The second goes and a new one comes.
        let mut changed = plan.clone();
        let gone = changed.tunnels.remove(1);
        let mut new = gone.clone();
        new.id.0 = 77;
        changed.tunnels.insert(0, new.clone());
        let second = first.for_plan(&changed);
        assert_eq!(second.of(&keys[0]), first.of(&keys[0]));
        assert_eq!(second.of(&keys[2]), first.of(&keys[2]));
        assert_eq!(second.of(&gone.key()), None);
        assert!(!numbers.contains(&second.of(&new.key()).unwrap()));
    }

    proptest! {
        #[test]
        fn any_plan_gives_mirrored_ends(document in documents()) {
            let (_, plan) = Plan::parse(&document).map_err(|errors| TestCaseError::fail(format!("{errors}\n{document}")))?;
            let reqids = Reqids::default().for_plan(&plan);
            assert_mirrored(&plan, &reqids);
        }
    }

    /// Every entry has its mirror at the peer, and no two entries of a node are alike.
    fn assert_mirrored(plan: &Plan, reqids: &Reqids) {
        let mut all: BTreeMap<&NodeId, Vec<Policy>> = BTreeMap::new();
        for node in plan.nodes.keys() {
            all.insert(node, of(plan, reqids, node.as_str()));
        }
        let count: usize = all.values().map(Vec::len).sum();
        assert_eq!(count, plan.tunnels.len() * 4);
        for (node, entries) in &all {
            let names: BTreeSet<_> = entries.iter().map(|policy| &policy.name).collect();
            assert_eq!(names.len(), entries.len());
            for (place, policy) in entries.iter().enumerate() {
                assert_eq!(usize::try_from(policy.priority).unwrap(), 1000 + place);
                let here = protect(policy);
                let peer = &all[&here.keying.peer];
                let twin = peer.iter().find(|twin| twin.name == policy.name).unwrap();
                let there = protect(twin);

                assert_ne!(policy.direction, twin.direction);
                assert_eq!(policy.reqid, twin.reqid);
                assert_eq!(mirrored(&policy.selector), twin.selector);
                assert_eq!(there.keying.peer, **node);
                assert_eq!((here.local, here.remote), (there.remote, there.local));
                assert_eq!(
                    (here.mode, here.df, here.suite, here.replay_window),
                    (there.mode, there.df, there.suite, there.replay_window)
                );
                let (ours, theirs) = (&here.keying, &there.keying);
                assert_eq!(
                    (
                        ours.tunnel,
                        ours.dial,
                        ours.kem,
                        ours.combiner,
                        ours.soft,
                        ours.hard
                    ),
                    (
                        theirs.tunnel,
                        theirs.dial,
                        theirs.kem,
                        theirs.combiner,
                        theirs.soft,
                        theirs.hard
                    )
                );
                let need = |protect: &Protect| protect.keying.qkd.as_ref().map(|qkd| qkd.need);
                assert_eq!(need(here), need(there));
                // The other half at the same node: the same tunnel the other way.
                let half = entries
                    .iter()
                    .find(|half| half.reqid == policy.reqid && half.direction != policy.direction);
                let half = half.unwrap();
                assert_eq!(
                    (half.selector, &half.action),
                    (policy.selector, &policy.action)
                );
            }
        }
    }

    fn mirrored(selector: &TrafficSelector) -> TrafficSelector {
        TrafficSelector {
            local: selector.remote,
            remote: selector.local,
            protocol: selector.protocol,
            local_port: selector.remote_port,
            remote_port: selector.local_port,
        }
    }

    fn of(plan: &Plan, reqids: &Reqids, node: &str) -> Vec<Policy> {
        let node = NodeId::try_from(node).unwrap();
        let policies = policies(plan, &node, |tunnel| reqids.of(tunnel)).unwrap();
        let (out, inward): (Vec<_>, Vec<_>) = policies
            .iter()
            .partition(|policy| policy.direction == Direction::Outbound);
        assert_eq!(out.len(), inward.len());
        policies
    }

    fn protect(policy: &Policy) -> &Protect {
        match &policy.action {
            Action::Protect(protect) => protect,
            Action::Discard => panic!("not protected: {}", policy.name),
        }
    }

    fn pair_with(tunnels: usize) -> String {
        let mut text = String::from(
            "[node.a]\naddresses = [\"192.0.2.1\"]\n[node.b]\naddresses = [\"192.0.2.2\"]\n",
        );
        for id in 0..tunnels {
            let (high, low) = (id / 256, id % 256);
            write!(
                text,
                "[[tunnel]]\nid = {id}\nbetween = [\"a\", \"b\"]\nmode = \"tunnel\"\n\
                 networks = [\"10.{high}.{low}.0/24\", \"11.{high}.{low}.0/24\"]\n\
                 kem = {{ need = \"required\", parameter-set = \"ml-kem-768\" }}\n"
            )
            .unwrap();
        }
        text
    }

    /// Good documents: two to four nodes, each tunnel between other networks.
    fn documents() -> impl Strategy<Value = String> {
        let tunnel = (
            (0..4_usize, 1..4_usize, any::<bool>()),
            prop::sample::select(vec!["required", "optional", ""]),
            prop::sample::select(vec!["required", "optional"]),
            prop::sample::select(vec!["ml-kem-512", "ml-kem-768", "ml-kem-1024"]),
            prop::sample::select(vec!["hmac", "xor", "xorhmac"]),
            prop::option::of(prop::sample::select(vec!["required", "optional"])),
            prop::option::of((1..u64::MAX / 4, 1..1000_u64)),
            prop::option::of((any::<u16>(), any::<u16>())),
        );
        (2..5_usize, prop::collection::vec(tunnel, 0..12)).prop_map(|(nodes, tunnels)| {
            let mut text = String::new();
            for node in 0..nodes {
                write!(
                    text,
                    "[node.n{node}]\naddresses = [\"192.0.2.{node}\", \"2001:db8::{node}\"]\n\
                     sae = \"sae-{node}\"\n"
                )
                .unwrap();
            }
            for (id, tunnel) in tunnels.into_iter().enumerate() {
                let ((one, step, wide), qkd, need, set, combiner, x25519, lifetime, ports) = tunnel;
                let one = one % nodes;
                let other = (one + 1 + step % (nodes - 1)) % nodes;
                let networks = if wide {
                    format!("\"2001:db8:{id}::/48\", \"::/0\"")
                } else {
                    format!("\"10.{id}.0.0/16\", \"0.0.0.0/0\"")
                };
                write!(
                    text,
                    "[[tunnel]]\nid = {id}\nbetween = [\"n{one}\", \"n{other}\"]\nmode = \"tunnel\"\n\
                     networks = [{networks}]\ncombiner = \"{combiner}\"\n\
                     kem = {{ need = \"{need}\", parameter-set = \"{set}\" }}\n"
                )
                .unwrap();
                if !qkd.is_empty() {
                    writeln!(text, "qkd = \"{qkd}\"\nqkd-priority = {}", id % 8).unwrap();
                    writeln!(text, "qkd-minimum-keys-per-hour = {id}").unwrap();
                }
                if let Some(need) = x25519 {
                    writeln!(text, "x25519 = \"{need}\"").unwrap();
                }
                if let Some((soft, more)) = lifetime {
                    let hard = soft + more;
                    writeln!(text, "soft = {{ packets = {soft} }}\nhard = {{ packets = {hard} }}")
                        .unwrap();
                }
                if let Some((near, far)) = ports {
                    writeln!(text, "protocol = 6\nports = [{near}, {far}]").unwrap();
                }
            }
            text
        })
    }
}
