//! Two gateways, what lies behind them, and the line between them.
//!
//! ```text
//!   lan-a --- gw-a --- wan (a bridge: capture, delay, loss, cut) --- gw-b --- lan-b
//!             |  |                                                   |  |
//!             |  +---------------- controller (a bridge) ------------+  |
//!           kme-a ----------------------------------------------------- kme-b
//! ```

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::{path::Path, time::Duration};

use super::netns::{Netns, ip_batch};

/// A gateway's interfaces.
pub const LINES: [&str; 4] = ["wan", "lan", "management", "kme"];

/// Which gateway.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Side {
    /// The first.
    A,
    /// The second.
    B,
}

/// Which version of IP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// One gateway's namespaces.
#[derive(Debug)]
pub struct Gateway {
    /// Which.
    pub side: Side,
    /// The gateway; its interfaces are `wan`, `lan`, `management` and `kme`.
    pub gateway: Netns,
    /// A host of the network that it protects.
    pub lan: Netns,
    /// Where its KME runs.
    pub kme: Netns,
}

/// All of it.
#[derive(Debug)]
pub struct Topology {
    /// Gateway A.
    pub a: Gateway,
    /// Gateway B.
    pub b: Gateway,
    /// Where the controller runs.
    pub controller: Netns,
    /// The line between the gateways: the bridge `bridge` with the ports `a` and `b`.
    pub wan: Netns,
}

impl Side {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The one opposite.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// `a` or `b`: the end of every name of its namespaces, and its port of the line's bridge.
    pub fn letter(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    /// The gateway's address on the line to the other.
    pub fn wan(self, family: Family) -> IpAddr {
        address(family, [192, 0, 2], 0xff, self.number())
    }

    /// The gateway's address in its LAN.
    pub fn lan_gateway(self, family: Family) -> IpAddr {
        address(family, [10, self.number(), 0], self.number().into(), 1)
    }

    /// The host's address in the LAN.
    pub fn lan_host(self, family: Family) -> IpAddr {
        address(family, [10, self.number(), 0], self.number().into(), 2)
    }

    /// The LAN, as a selector has it.
    pub fn lan_prefix(self, family: Family) -> String {
        let number = self.number();
        match family {
            Family::V4 => format!("10.{number}.0.0/24"),
            Family::V6 => format!("2001:db8:{number}::/64"),
        }
    }

    /// The gateway's address towards the controller.
    pub fn management(self, family: Family) -> IpAddr {
        address(family, [198, 51, 100], 0xc, self.number())
    }

    /// The gateway's address towards its KME.
    pub fn kme_client(self, family: Family) -> IpAddr {
        address(
            family,
            [10, 100, self.number()],
            0xa0 + u16::from(self.number()),
            1,
        )
    }

    /// Its KME's address.
    pub fn kme(self, family: Family) -> IpAddr {
        address(
            family,
            [10, 100, self.number()],
            0xa0 + u16::from(self.number()),
            2,
        )
    }

    /// Its KME's address towards the other KME.
    pub fn quantum(self, family: Family) -> IpAddr {
        address(family, [203, 0, 113], 0xff0, self.number())
    }

    fn number(self) -> u8 {
        match self {
            Self::A => 1,
            Self::B => 2,
        }
    }
}

/// The controller's address.
pub fn controller(family: Family) -> IpAddr {
    address(family, [198, 51, 100], 0xc, 254)
}

impl Topology {
    /// Makes and wires all of it; every address answers at once, nothing is protected yet.
    pub fn new() -> Self {
        let topology = Self::wire();
        for gateway in [&topology.a, &topology.b] {
            gateway.configure();
            gateway.raise();
        }
        topology
    }

    /// Makes and wires all of it but the gateways: their namespaces join each line to a tap, for a virtual machine that
    /// calls [`configure_guest`].
    pub fn for_guests() -> Self {
        let topology = Self::wire();
        topology.a.join_taps();
        topology.b.join_taps();
        topology
    }

    fn wire() -> Self {
        let topology = Self {
            a: Gateway::new(Side::A),
            b: Gateway::new(Side::B),
            controller: Netns::new("controller"),
            wan: Netns::new("wan"),
        };
        // The bridges are to forward, not to take part.
        for namespace in [&topology.wan, &topology.controller] {
            namespace.ip(&["link add bridge type bridge forward_delay 0 mcast_snooping 0"]);
        }
        for name in ["all", "default", "bridge"] {
            topology
                .wan
                .sysctl(&format!("ipv6/conf/{name}/disable_ipv6"), "1");
        }
        ip_batch(&[], &links());
        topology.wan.ip(&bridge_lines());
        topology
            .controller
            .ip(&[bridge_lines(), addresses("bridge", controller)].concat());
        topology
    }

    /// One of the gateways.
    pub fn side(&self, side: Side) -> &Gateway {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }

    /// Cuts the line: what is sent is lost, no end sees its carrier go.
    pub fn cut(&self) {
        self.wan
            .ip(&["link set dev a nomaster", "link set dev b nomaster"]);
    }

    /// Joins a cut line again.
    pub fn heal(&self) {
        self.wan.ip(&[
            "link set dev a master bridge",
            "link set dev b master bridge",
        ]);
    }

    /// Gives the line a delay each way and a loss in percent each way; both may be zero.
    pub fn degrade(&self, delay: Duration, loss_percent: u8) {
        for side in Side::BOTH {
            let (delay, loss) = (
                format!("{}us", delay.as_micros()),
                format!("{loss_percent}%"),
            );
            self.wan.run(
                "tc",
                &[
                    "qdisc",
                    "replace",
                    "dev",
                    side.letter(),
                    "root",
                    "netem",
                    "limit",
                    "100000",
                    "delay",
                    &delay,
                    "loss",
                    &loss,
                ],
            );
        }
    }
}

impl Default for Topology {
    fn default() -> Self {
        Self::new()
    }
}

impl Gateway {
    fn new(side: Side) -> Self {
        let named = |prefix: &str| Netns::new(&format!("{prefix}-{}", side.letter()));
        let gateway = named("gw");
        // What the kernel says of its multicast groups when a link comes up is over before a capture begins: it does
        // not wait for duplicate address detection, and repeats itself after 1 ms.
        gateway.sysctl("ipv6/conf/default/accept_dad", "0");
        gateway.sysctl("ipv6/conf/default/mldv2_unsolicited_report_interval", "1");
        Self {
            side,
            gateway,
            lan: named("lan"),
            kme: named("kme"),
        }
    }

    fn configure(&self) {
        let side = self.side;
        for (name, value) in gateway_settings() {
            self.gateway.sysctl(&name, value);
        }
        self.gateway.ip(&inner_lines(side));
        self.configure_hosts();
    }

    /// Brings the gateway's interface on the line to the other up, with its addresses and routes.
    pub fn raise(&self) {
        self.gateway.ip(&outer_lines(self.side));
    }

    /// Joins each line of the gateway to a tap of its own, for a virtual machine to take.
    fn join_taps(&self) {
        for name in ["all", "default"] {
            self.gateway
                .sysctl(&format!("ipv6/conf/{name}/disable_ipv6"), "1");
        }
        let lines = LINES.map(|line| {
            [
                format!("link add {line}-join type bridge forward_delay 0 mcast_snooping 0"),
                format!("tuntap add dev {line}-tap mode tap"),
                format!("link set dev {line} master {line}-join"),
                format!("link set dev {line}-tap master {line}-join"),
                format!("link set dev {line} up"),
                format!("link set dev {line}-tap up"),
                format!("link set dev {line}-join up"),
            ]
        });
        self.gateway.ip(&lines.concat());
        self.configure_hosts();
    }

    fn configure_hosts(&self) {
        let side = self.side;
        let mut lines = addresses("lan", |family| side.lan_host(family));
        lines.extend(both(|family| {
            let all = match family {
                Family::V4 => "0.0.0.0/0",
                Family::V6 => "::/0",
            };
            format!("route add {all} via {}", side.lan_gateway(family))
        }));
        self.lan.ip(&lines);

        let lines = [
            addresses("client", |family| side.kme(family)),
            addresses("quantum", |family| side.quantum(family)),
        ]
        .concat();
        self.kme.ip(&lines);
    }
}

/// The network card of a virtual gateway on line `line`, for QEMU.
pub fn network_card(side: Side, line: &str) -> [String; 4] {
    let address = mac(side, line);
    [
        "-netdev".to_owned(),
        format!("tap,id={line},ifname={line}-tap,script=no,downscript=no"),
        "-device".to_owned(),
        format!("virtio-net-pci,netdev={line},mac={address}"),
    ]
}

/// Gives the machine that this is the names, addresses and routes of a gateway.
///
/// # Panics
/// If it lacks one of the four [`network_card`]s.
pub fn configure_guest(side: Side) {
    let cards: Vec<(String, String)> = std::fs::read_dir("/sys/class/net")
        .expect("list the network cards")
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let address = std::fs::read_to_string(path.join("address")).ok()?;
            let name = path.file_name()?.to_str()?.to_owned();
            Some((address.trim().to_owned(), name))
        })
        .collect();
    let mut names = vec!["link set lo up".to_owned()];
    for line in LINES {
        let address = mac(side, line);
        let (_, name) = cards
            .iter()
            .find(|(other, _)| *other == address)
            .unwrap_or_else(|| panic!("no network card {address} for {line}: {cards:?}"));
        names.push(format!("link set dev {name} name {line}"));
    }
    ip_batch(&[], &names);
    for (name, value) in gateway_settings() {
        std::fs::write(Path::new("/proc/sys/net").join(&name), value)
            .unwrap_or_else(|cause| panic!("cannot set {name}: {cause}"));
    }
    ip_batch(&[], &[inner_lines(side), outer_lines(side)].concat());
}

fn mac(side: Side, line: &str) -> String {
    let card = LINES.iter().position(|&other| other == line);
    let card = card.unwrap_or_else(|| panic!("no line is named {line}"));
    format!("52:54:00:00:{:02x}:{card:02x}", side.number())
}

/// What a gateway's kernel is told while its links are there, and still down.
fn gateway_settings() -> Vec<(String, &'static str)> {
    let mut settings = vec![
        ("ipv4/ip_forward".to_owned(), "1"),
        ("ipv6/conf/all/forwarding".to_owned(), "1"),
        ("ipv4/conf/all/rp_filter".to_owned(), "0"),
    ];
    for line in LINES {
        settings.extend([
            (format!("ipv4/conf/{line}/rp_filter"), "0"),
            // What the kernel says of its multicast groups when a link comes up is over before a capture begins: it
            // does not wait for duplicate address detection, and repeats itself after 1 ms.
            (format!("ipv6/conf/{line}/accept_dad"), "0"),
            (
                format!("ipv6/conf/{line}/mldv2_unsolicited_report_interval"),
                "1",
            ),
        ]);
    }
    settings
}

/// The gateway's interfaces but the one on the line to the other gateway.
fn inner_lines(side: Side) -> Vec<String> {
    [
        addresses("lan", |family| side.lan_gateway(family)),
        addresses("management", |family| side.management(family)),
        addresses("kme", |family| side.kme_client(family)),
    ]
    .concat()
}

/// That one, and what is reached by it.
fn outer_lines(side: Side) -> Vec<String> {
    let other = side.other();
    let mut lines = addresses("wan", |family| side.wan(family));
    lines.extend(both(|family| {
        format!(
            "route add {} via {}",
            other.lan_prefix(family),
            other.wan(family)
        )
    }));
    lines
}

/// Every pair of virtual Ethernet ends.
fn links() -> Vec<String> {
    let mut lines =
        vec!["link add quantum netns kme-a type veth peer name quantum netns kme-b".to_owned()];
    for side in Side::BOTH {
        let letter = side.letter();
        lines.extend([
            format!("link add wan netns gw-{letter} type veth peer name {letter} netns wan"),
            format!("link add management netns gw-{letter} type veth peer name {letter} netns controller"),
            format!("link add lan netns gw-{letter} type veth peer name lan netns lan-{letter}"),
            format!("link add kme netns gw-{letter} type veth peer name client netns kme-{letter}"),
        ]);
    }
    lines
}

fn bridge_lines() -> Vec<String> {
    let mut lines = vec!["link set bridge up".to_owned()];
    for side in Side::BOTH {
        let letter = side.letter();
        lines.extend([
            format!("link set dev {letter} master bridge"),
            format!("link set dev {letter} up"),
        ]);
    }
    lines
}

/// Brings an interface up with its two addresses; they answer at once, without duplicate address detection.
fn addresses(interface: &str, address: impl Fn(Family) -> IpAddr) -> Vec<String> {
    vec![
        format!("link set dev {interface} up"),
        format!("addr add {}/24 dev {interface}", address(Family::V4)),
        format!("addr add {}/64 dev {interface} nodad", address(Family::V6)),
    ]
}

fn both(line: impl Fn(Family) -> String) -> [String; 2] {
    [line(Family::V4), line(Family::V6)]
}

fn address(family: Family, v4: [u8; 3], v6: u16, last: u8) -> IpAddr {
    let [first, second, third] = v4;
    match family {
        Family::V4 => Ipv4Addr::new(first, second, third, last).into(),
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, v6, 0, 0, 0, 0, last.into()).into(),
    }
}
