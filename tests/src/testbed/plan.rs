//! Plans for the controller: the two gateways of the topology and tunnels between them.

use core::{fmt::Write as _, net::IpAddr};

use super::{
    netns::Netns,
    topology::{Family, Side, Topology},
};

/// What a tunnel covers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Covers {
    /// Tunnel mode, one LAN to the other.
    Lans(Family),
    /// Tunnel mode, every packet between any two addresses.
    Any(Family),
    /// Transport mode, the gateways' own addresses.
    Hosts(Family),
    /// Tunnel mode, IPv4, one LAN to the other: UDP from and to this port.
    Port(u16),
}

/// A tunnel of a plan.
#[derive(Clone, Debug)]
pub struct Tunnel {
    /// Its number.
    pub id: u32,
    /// What it covers.
    pub covers: Covers,
    /// `required` or `optional`.
    pub qkd: Option<&'static str>,
    /// `required` or `optional`.
    pub kem: Option<&'static str>,
    /// `required` or `optional`.
    pub x25519: Option<&'static str>,
    /// `hmac`, `xor` or `xorhmac`.
    pub combiner: &'static str,
    /// Packets that may come late or twice without being lost or taken.
    pub replay_window: u32,
    /// Seconds until a successor is wanted, and until the pair is dead.
    pub lifetime: (u64, u64),
}

impl Covers {
    /// Two hosts whose packets it protects.
    pub fn hosts(self, topology: &Topology) -> [(&Netns, IpAddr); 2] {
        Side::BOTH.map(|side| {
            let place = topology.side(side);
            match self {
                Self::Lans(family) => (&place.lan, side.lan_host(family)),
                Self::Port(_) => (&place.lan, side.lan_host(Family::V4)),
                Self::Any(family) | Self::Hosts(family) => (&place.gateway, side.wan(family)),
            }
        })
    }
}

impl Tunnel {
    /// Both sources required, an hour.
    pub fn new(id: u32, covers: Covers) -> Self {
        Self {
            id,
            covers,
            qkd: Some("required"),
            kem: Some("required"),
            x25519: None,
            combiner: "hmac",
            replay_window: 4096,
            lifetime: (2400, 3600),
        }
    }

    fn write(&self, text: &mut String) -> core::fmt::Result {
        let pair = |of: &dyn Fn(Side) -> String| {
            let [a, b] = Side::BOTH.map(of);
            format!("[\"{a}\", \"{b}\"]")
        };
        let (soft, hard) = self.lifetime;
        writeln!(text, "\n[[tunnel]]\nid = {}", self.id)?;
        writeln!(text, "between = {}", pair(&|side| side.node().to_owned()))?;
        match self.covers {
            Covers::Lans(_) | Covers::Any(_) | Covers::Port(_) => {
                let family = match self.covers {
                    Covers::Lans(family) | Covers::Any(family) => family,
                    Covers::Port(_) | Covers::Hosts(_) => Family::V4,
                };
                writeln!(text, "mode = \"tunnel\"")?;
                writeln!(
                    text,
                    "endpoints = {}",
                    pair(&|side| side.wan(family).to_string())
                )?;
            }
            Covers::Hosts(family) => {
                writeln!(text, "mode = \"transport\"")?;
                writeln!(
                    text,
                    "endpoints = {}",
                    pair(&|side| side.wan(family).to_string())
                )?;
            }
        }
        match self.covers {
            Covers::Lans(family) => {
                writeln!(text, "networks = {}", pair(&|side| side.lan_prefix(family)))?;
            }
            Covers::Any(Family::V4) => writeln!(text, "networks = [\"0.0.0.0/0\", \"0.0.0.0/0\"]")?,
            Covers::Any(Family::V6) => writeln!(text, "networks = [\"::/0\", \"::/0\"]")?,
            Covers::Port(port) => {
                let networks = pair(&|side| side.lan_prefix(Family::V4));
                writeln!(text, "networks = {networks}")?;
                writeln!(text, "protocol = 17\nports = [{port}, {port}]")?;
            }
            Covers::Hosts(_) => {}
        }
        if let Some(need) = self.qkd {
            writeln!(text, "qkd = \"{need}\"")?;
        }
        if let Some(need) = self.kem {
            writeln!(
                text,
                "kem = {{ need = \"{need}\", parameter-set = \"ml-kem-768\" }}"
            )?;
        }
        if let Some(need) = self.x25519 {
            writeln!(text, "x25519 = \"{need}\"")?;
        }
        writeln!(text, "combiner = \"{}\"", self.combiner)?;
        writeln!(text, "replay-window = {}", self.replay_window)?;
        writeln!(
            text,
            "soft = {{ seconds = {soft} }}\nhard = {{ seconds = {hard} }}"
        )
    }
}

/// The plan with these tunnels.
pub fn plan(tunnels: &[Tunnel]) -> String {
    let mut text = String::new();
    for side in Side::BOTH {
        let (v4, v6) = (side.wan(Family::V4), side.wan(Family::V6));
        writeln!(
            text,
            "[node.\"{}\"]\naddresses = [\"{v4}\", \"{v6}\"]\nsae = \"{}\"",
            side.node(),
            side.sae()
        )
        .expect("write to memory");
    }
    for tunnel in tunnels {
        tunnel.write(&mut text).expect("write to memory");
    }
    text
}
