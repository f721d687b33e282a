//! A tunnel by hand with fixed keys: to test the kernel and the testbed, and as the bare line of benches.

use super::{
    netns::Netns,
    topology::{Family, Side, Topology},
};

/// Protects everything between the two LANs, both families, by `ip xfrm`.
///
/// `limit` is appended to each SA, such as `limit time-hard 3600`.
pub fn protect(topology: &Topology, limit: &str) {
    for side in Side::BOTH {
        let lines: Vec<String> = [Family::V4, Family::V6]
            .into_iter()
            .flat_map(|family| lines(side, family, limit))
            .collect();
        topology.side(side).gateway.ip(&lines);
    }
}

/// The bytes and packets of the SA with this SPI, as the kernel counts them.
///
/// # Panics
/// If there is none.
pub fn passed(gateway: &Netns, spi: u32) -> (u64, u64) {
    let spi = format!("spi {spi:#010x}");
    let printed = gateway.run("ip", &["-s", "xfrm", "state"]);
    let (_, state) = printed
        .split_once(&spi)
        .unwrap_or_else(|| panic!("no SA with {spi} in\n{printed}"));
    let (_, current) = state
        .split_once("lifetime current:")
        .expect("counters of the SA");
    let number = |after: &str| {
        let (before, _) = current.split_once(after).expect("a counter of the SA");
        let digits = before
            .rsplit(|c: char| !c.is_ascii_digit())
            .next()
            .unwrap_or_default();
        digits.parse().expect("a number of the SA")
    };
    (number("(bytes)"), number("(packets)"))
}

/// The SPI of what `side` sends.
pub fn spi(side: Side, family: Family) -> u32 {
    match (side, family) {
        (Side::A, Family::V4) => 0x1001,
        (Side::B, Family::V4) => 0x1002,
        (Side::A, Family::V6) => 0x1003,
        (Side::B, Family::V6) => 0x1004,
    }
}

fn lines(side: Side, family: Family, limit: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for sender in Side::BOTH {
        let receiver = sender.other();
        let (source, destination) = (sender.wan(family), receiver.wan(family));
        let spi = spi(sender, family);
        // 32 bytes of key and 4 of salt, other for every SA.
        let key = format!("{spi:08x}").repeat(9);
        lines.push(format!(
            "xfrm state add src {source} dst {destination} proto esp spi {spi:#x} reqid 1 mode tunnel \
             replay-window 128 flag esn aead rfc4106(gcm(aes)) 0x{key} 128 {limit}"
        ));
        let directions: &[&str] = if sender == side {
            &["out"]
        } else {
            &["in", "fwd"]
        };
        for direction in directions {
            lines.push(format!(
                "xfrm policy add src {} dst {} dir {direction} tmpl src {source} dst {destination} proto esp reqid 1 \
                 mode tunnel",
                sender.lan_prefix(family),
                receiver.lan_prefix(family)
            ));
        }
    }
    lines
}
