//! The network of a site, each value checked where it stands.

use core::net::IpAddr;

use bartizan_model::ownership::{Interface, Port, Route, SiteNetwork};
use bartizan_model::policy::Prefix;
use serde::{Deserialize, Serialize};

use super::SiteError;

/// The most addresses of one interface.
const ADDRESSES_MAX: usize = 8;

/// The most static routes.
const ROUTES_MAX: usize = 64;

/// The most servers of a kind.
const SERVERS_MAX: usize = 4;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NetworkMembers {
    #[serde(default)]
    interface: Vec<InterfaceMembers>,
    #[serde(default)]
    route: Vec<RouteMembers>,
    #[serde(default)]
    dns: Vec<IpAddr>,
    #[serde(default)]
    ntp: Vec<IpAddr>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InterfaceMembers {
    name: Port,
    #[serde(default)]
    dhcp: bool,
    #[serde(default)]
    address: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteMembers {
    destination: String,
    gateway: IpAddr,
    interface: Port,
}

impl NetworkMembers {
    pub(super) fn of(network: &SiteNetwork) -> Self {
        let interface = |interface: &Interface| InterfaceMembers {
            name: interface.port,
            dhcp: interface.dhcp,
            address: interface
                .addresses
                .iter()
                .map(|(address, length)| format!("{address}/{length}"))
                .collect(),
        };
        let route = |route: &Route| RouteMembers {
            destination: route.destination.to_string(),
            gateway: route.gateway,
            interface: route.port,
        };
        Self {
            interface: network.interfaces.iter().map(interface).collect(),
            route: network.routes.iter().map(route).collect(),
            dns: network.dns.clone(),
            ntp: network.ntp.clone(),
        }
    }

    pub(super) fn check(self) -> Result<SiteNetwork, SiteError> {
        let mut interfaces: Vec<Interface> = Vec::new();
        for (place, members) in self.interface.into_iter().enumerate() {
            let path = format!("/network/interface/{place}");
            if interfaces.iter().any(|other| other.port == members.name) {
                return Err(SiteError::rule(path, "one for each name"));
            }
            interfaces.push(members.check(&path)?);
        }
        if self.route.len() > ROUTES_MAX {
            return Err(SiteError::rule("/network/route", "at most 64"));
        }
        let routes = self
            .route
            .into_iter()
            .enumerate()
            .map(|(place, route)| route.check(&format!("/network/route/{place}"), &interfaces));
        Ok(SiteNetwork {
            routes: routes.collect::<Result<_, _>>()?,
            interfaces,
            dns: servers("/network/dns", self.dns)?,
            ntp: servers("/network/ntp", self.ntp)?,
        })
    }
}

impl InterfaceMembers {
    fn check(self, path: &str) -> Result<Interface, SiteError> {
        if self.dhcp && !self.address.is_empty() {
            return Err(SiteError::rule(path, "addresses or dhcp, not both"));
        }
        if self.address.len() > ADDRESSES_MAX {
            return Err(SiteError::rule(format!("{path}/address"), "at most 8"));
        }
        let mut addresses: Vec<(IpAddr, u8)> = Vec::new();
        for (place, text) in self.address.iter().enumerate() {
            let path = format!("{path}/address/{place}");
            let address = interface_address(text)
                .ok_or_else(|| SiteError::rule(&path, "not an address with its prefix length"))?;
            if addresses.iter().any(|(other, _)| *other == address.0) {
                return Err(SiteError::rule(path, "an address is there twice"));
            }
            addresses.push(address);
        }
        Ok(Interface {
            port: self.name,
            addresses,
            dhcp: self.dhcp,
        })
    }
}

impl RouteMembers {
    fn check(self, path: &str, interfaces: &[Interface]) -> Result<Route, SiteError> {
        let at = |leaf: &str| format!("{path}/{leaf}");
        let destination = split(&self.destination)
            .and_then(|(address, length)| Prefix::new(address, length).ok())
            .ok_or_else(|| SiteError::rule(at("destination"), "not a prefix"))?;
        if !is_host(self.gateway) || self.gateway.is_ipv4() != destination.address().is_ipv4() {
            let rule = "not the address of a router of the same family";
            return Err(SiteError::rule(at("gateway"), rule));
        }
        let out = interfaces
            .iter()
            .find(|interface| interface.port == self.interface)
            .ok_or_else(|| SiteError::rule(at("interface"), "not an interface of this site"))?;
        if !out.dhcp && !reaches(out, self.gateway) {
            let rule = "not in a prefix of its interface";
            return Err(SiteError::rule(at("gateway"), rule));
        }
        Ok(Route {
            destination,
            gateway: self.gateway,
            port: self.interface,
        })
    }
}

fn servers(path: &str, servers: Vec<IpAddr>) -> Result<Vec<IpAddr>, SiteError> {
    if servers.len() > SERVERS_MAX {
        return Err(SiteError::rule(path, "at most 4"));
    }
    match servers.iter().position(|server| !is_host(*server)) {
        Some(place) => {
            let path = format!("{path}/{place}");
            Err(SiteError::rule(path, "not the address of a server"))
        }
        None => Ok(servers),
    }
}

/// Whether it can be the address of one host on a network.
pub(super) fn is_host(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !address.is_unspecified() && !address.is_multicast() && !address.is_loopback() && !broadcast
}

fn interface_address(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = split(text)?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    (is_host(address) && (1..=width).contains(&length)).then_some((address, length))
}

fn split(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = text.split_once('/')?;
    let digits = (1..=3).contains(&length.len()) && length.bytes().all(|c| c.is_ascii_digit());
    let length = length.parse().ok().filter(|_| digits)?;
    Some((address.parse().ok()?, length))
}

/// Whether a router is a neighbour there.
fn reaches(interface: &Interface, router: IpAddr) -> bool {
    let link_local = matches!(router, IpAddr::V6(router) if router.is_unicast_link_local());
    link_local
        || interface
            .addresses
            .iter()
            .any(|(address, length)| same_prefix(*address, router, *length))
}

fn same_prefix(one: IpAddr, other: IpAddr, length: u8) -> bool {
    let (differ, width) = match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            (u128::from(one.to_bits() ^ other.to_bits()), 32_u32)
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits(), 128),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
    };
    let host = width.saturating_sub(u32::from(length));
    differ.checked_shr(host).unwrap_or_default() == 0
}
