//! What a frame on the line between the gateways is.

use core::{
    fmt::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// The kinds of frame; all but the last may be seen.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// ESP (RFC 4303).
    Esp {
        /// Of the SA.
        spi: u32,
        /// The low half of the sequence number.
        sequence: u32,
    },
    /// The TLS connection between the peers: TCP between the gateways' own addresses, the peer port at one end.
    Peer,
    /// ARP.
    Arp,
    /// Neighbour discovery: ICMPv6 133 to 137.
    NeighbourDiscovery,
    /// ICMP 3/4 or ICMPv6 2.
    PathMtu,
    /// Anything else; with what it is.
    Violation(String),
}

/// What the line is between.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Line {
    /// The gateways' own addresses on it.
    pub gateways: Vec<IpAddr>,
    /// The TCP port of the peer role.
    pub peer_port: u16,
}

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const FRAGMENT: u8 = 44;
const ESP: u8 = 50;
const ICMPV6: u8 = 58;

impl Line {
    /// Says what a packet is, given its Ethernet type.
    pub fn classify(&self, ethertype: u16, packet: &[u8]) -> Kind {
        let classified = match ethertype {
            ETHERTYPE_ARP => Some(Kind::Arp),
            ETHERTYPE_IPV4 => self.ipv4(packet),
            ETHERTYPE_IPV6 => self.ipv6(packet),
            _ => None,
        };
        classified.unwrap_or_else(|| Kind::Violation(describe(ethertype, packet)))
    }

    fn ipv4(&self, packet: &[u8]) -> Option<Kind> {
        let length = usize::from(packet.first()? & 0x0f) * 4;
        let ends = [
            IpAddr::from(Ipv4Addr::from(*array(packet, 12)?)),
            IpAddr::from(Ipv4Addr::from(*array(packet, 16)?)),
        ];
        let first = u16::from_be_bytes(*array(packet, 6)?) << 3 == 0;
        self.transport(*packet.get(9)?, packet.get(length..)?, ends, first)
    }

    fn ipv6(&self, packet: &[u8]) -> Option<Kind> {
        let ends = [
            IpAddr::from(Ipv6Addr::from(*array(packet, 8)?)),
            IpAddr::from(Ipv6Addr::from(*array(packet, 24)?)),
        ];
        let (next, rest) = (*packet.get(6)?, packet.get(40..)?);
        if next == FRAGMENT {
            let first = u16::from_be_bytes(*array(rest, 2)?) & 0xfff8 == 0;
            return self.transport(*rest.first()?, rest.get(8..)?, ends, first);
        }
        self.transport(next, rest, ends, true)
    }

    /// `first` is false for a later fragment, which has no header of its own: only ESP may come in fragments.
    fn transport(
        &self,
        protocol: u8,
        content: &[u8],
        ends: [IpAddr; 2],
        first: bool,
    ) -> Option<Kind> {
        let between_gateways = ends.iter().all(|end| self.gateways.contains(end));
        match protocol {
            ESP if between_gateways && !first => Some(Kind::Esp {
                spi: 0,
                sequence: 0,
            }),
            ESP if between_gateways => Some(Kind::Esp {
                spi: u32::from_be_bytes(*array(content, 0)?),
                sequence: u32::from_be_bytes(*array(content, 4)?),
            }),
            TCP if between_gateways && first => {
                let ports =
                    [array(content, 0)?, array(content, 2)?].map(|port| u16::from_be_bytes(*port));
                ports.contains(&self.peer_port).then_some(Kind::Peer)
            }
            ICMP if first && content.get(..2)? == [3, 4] => Some(Kind::PathMtu),
            ICMPV6 if first => match content.first()? {
                2 => Some(Kind::PathMtu),
                133..=137 => Some(Kind::NeighbourDiscovery),
                _ => None,
            },
            _ => None,
        }
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<&[u8; N]> {
    bytes.get(at..)?.first_chunk()
}

/// A forbidden packet as its reader wants it: who, to whom, what, and how it begins.
fn describe(ethertype: u16, packet: &[u8]) -> String {
    let mut beginning = String::new();
    for byte in packet.iter().take(64) {
        write!(beginning, "{byte:02x}").expect("write to memory");
    }
    let who = match ethertype {
        ETHERTYPE_IPV4 => who(packet, 12, 16, 9, |bytes: [u8; 4]| {
            Ipv4Addr::from(bytes).into()
        }),
        ETHERTYPE_IPV6 => who(packet, 8, 24, 6, |bytes: [u8; 16]| {
            Ipv6Addr::from(bytes).into()
        }),
        _ => None,
    };
    format!(
        "ethertype {ethertype:04x} {} {beginning}",
        who.unwrap_or_default()
    )
}

fn who<const N: usize>(
    packet: &[u8],
    source: usize,
    destination: usize,
    protocol: usize,
    address: fn([u8; N]) -> IpAddr,
) -> Option<String> {
    let (source, destination) = (array(packet, source)?, array(packet, destination)?);
    let protocol = packet.get(protocol)?;
    Some(format!(
        "{} > {} protocol {protocol}",
        address(*source),
        address(*destination)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        Line {
            gateways: vec![
                [192, 0, 2, 1].into(),
                [192, 0, 2, 2].into(),
                ipv6(1).into(),
                ipv6(2).into(),
            ],
            peer_port: 9061,
        }
    }

    fn ipv6(last: u16) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, last)
    }

    fn v4(protocol: u8, source: [u8; 4], destination: [u8; 4], content: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; 20];
        packet[0] = 0x45;
        packet[9] = protocol;
        packet[12..16].copy_from_slice(&source);
        packet[16..20].copy_from_slice(&destination);
        packet.extend_from_slice(content);
        packet
    }

    fn v6(next: u8, source: Ipv6Addr, destination: Ipv6Addr, content: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; 40];
        packet[0] = 0x60;
        packet[6] = next;
        packet[8..24].copy_from_slice(&source.octets());
        packet[24..40].copy_from_slice(&destination.octets());
        packet.extend_from_slice(content);
        packet
    }

    const A: [u8; 4] = [192, 0, 2, 1];
    const B: [u8; 4] = [192, 0, 2, 2];

    #[track_caller]
    fn assert_violation(ethertype: u16, packet: &[u8]) {
        let kind = line().classify(ethertype, packet);
        assert!(matches!(kind, Kind::Violation(_)), "{kind:?}");
    }

    #[test]
    fn what_may_be_seen_is_named() {
        let esp = v4(50, A, B, &[0, 0, 1, 2, 0, 0, 0, 9, 1, 2, 3]);
        let kind = Kind::Esp {
            spi: 0x102,
            sequence: 9,
        };
        assert_eq!(line().classify(ETHERTYPE_IPV4, &esp), kind);
        let esp = v6(50, ipv6(1), ipv6(2), &[0, 0, 1, 2, 0, 0, 0, 9]);
        assert_eq!(line().classify(ETHERTYPE_IPV6, &esp), kind);
        let peer = v4(6, A, B, &[200, 0, 0x23, 0x65, 0, 0]);
        assert_eq!(line().classify(ETHERTYPE_IPV4, &peer), Kind::Peer);
        assert_eq!(line().classify(ETHERTYPE_ARP, &[]), Kind::Arp);
        let solicitation = v6(58, ipv6(1), ipv6(2), &[135, 0]);
        assert_eq!(
            line().classify(ETHERTYPE_IPV6, &solicitation),
            Kind::NeighbourDiscovery
        );
        let too_big = v6(58, ipv6(1), ipv6(2), &[2, 0]);
        assert_eq!(line().classify(ETHERTYPE_IPV6, &too_big), Kind::PathMtu);
        assert_eq!(
            line().classify(ETHERTYPE_IPV4, &v4(1, A, B, &[3, 4])),
            Kind::PathMtu
        );
    }

    #[test]
    fn a_later_fragment_of_esp_is_esp_and_of_tcp_a_violation() {
        let mut fragment = v4(50, A, B, &[1, 2, 3]);
        fragment[7] = 1;
        assert!(matches!(
            line().classify(ETHERTYPE_IPV4, &fragment),
            Kind::Esp { .. }
        ));
        let mut fragment = v4(6, A, B, &[200, 0, 0x23, 0x65]);
        fragment[7] = 1;
        assert_violation(ETHERTYPE_IPV4, &fragment);
        let inner = [50, 0, 0, 8, 0, 0, 0, 1, 7, 7];
        let fragment = v6(44, ipv6(1), ipv6(2), &inner);
        assert!(matches!(
            line().classify(ETHERTYPE_IPV6, &fragment),
            Kind::Esp { .. }
        ));
    }

    #[test]
    fn anything_else_is_a_violation() {
        assert_violation(ETHERTYPE_IPV4, &v4(1, A, B, &[8, 0]));
        assert_violation(ETHERTYPE_IPV4, &v4(6, A, B, &[200, 0, 0x23, 0x66]));
        assert_violation(
            ETHERTYPE_IPV4,
            &v4(6, [10, 1, 0, 2], B, &[200, 0, 0x23, 0x65]),
        );
        assert_violation(ETHERTYPE_IPV4, &v4(50, [10, 1, 0, 2], B, &[0; 8]));
        assert_violation(
            ETHERTYPE_IPV4,
            &v4(17, [10, 1, 0, 2], [10, 2, 0, 2], &[0; 8]),
        );
        assert_violation(ETHERTYPE_IPV6, &v6(58, ipv6(1), ipv6(2), &[143, 0]));
        assert_violation(
            ETHERTYPE_IPV6,
            &v6(0, ipv6(1), ipv6(2), &[58, 0, 0, 0, 0, 0, 0, 0, 135]),
        );
        assert_violation(ETHERTYPE_IPV4, &v4(50, A, B, &[0; 3]));
        assert_violation(ETHERTYPE_IPV4, &[]);
        assert_violation(0x88cc, &[0; 60]);
    }
}
