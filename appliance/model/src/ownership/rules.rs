//! The rules of an ownership that need no certificate to be read.

use core::net::{IpAddr, SocketAddr};

use crate::config::{KmeInterface, KmeTransport};

use super::{Interface, Ownership, SiteNetwork};

/// The most certificates of one list.
const CERTIFICATES_MAX: usize = 8;

/// The most bytes of one certificate.
const CERTIFICATE_MAX: usize = 8 * 1024;

/// The most addresses that a gateway has.
const ADDRESSES_MAX: usize = 16;

/// The most addresses of one interface.
const INTERFACE_ADDRESSES_MAX: usize = 8;

/// The most KMEs beside a gateway.
const KMES_MAX: usize = 4;

const ROUTES_MAX: usize = 64;

const SERVERS_MAX: usize = 4;

const ES384_LEN: usize = 97;

const ML_DSA_65_LEN: usize = 1952;

/// A rule that an ownership breaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct Broken {
    /// Where.
    pub field: &'static str,
    /// Which.
    pub rule: &'static str,
}

impl Ownership {
    /// Checks everything but what stands in certificates.
    ///
    /// # Errors
    ///
    /// [`Broken`] with the first rule that it breaks.
    pub fn check(&self) -> Result<(), Broken> {
        let certificates = |field, list: &[crate::config::Der]| {
            let fits = list.iter().all(|der| der.0.len() <= CERTIFICATE_MAX);
            let holds = (1..=CERTIFICATES_MAX).contains(&list.len()) && fits;
            rule(holds, field, "1 to 8 certificates of at most 8 KiB")
        };
        certificates("anchors", &self.anchors)?;
        certificates("ldevid", &self.ldevid)?;
        rule(
            self.verifier.es384.len() == ES384_LEN,
            "verifier.es384",
            "97 bytes",
        )?;
        rule(
            self.verifier.ml_dsa_65.len() == ML_DSA_65_LEN,
            "verifier.ml-dsa-65",
            "1952 bytes",
        )?;
        server("call-home", self.call_home)?;
        server("registrar", self.registrar)?;
        addresses(&self.addresses)?;
        rule(self.peer_port != 0, "peer-port", "1 to 65535")?;
        rule(self.kmes.len() <= KMES_MAX, "kmes", "at most 4")?;
        for (place, kme) in self.kmes.iter().enumerate() {
            server("kmes.address", kme.address)?;
            certificates("kmes.anchors", &kme.anchors)?;
            certificates("kmes.chain", &kme.chain)?;
            rule(
                kme.transport == KmeTransport::Tls || kme.interface != KmeInterface::Etsi014,
                "kmes.transport",
                "014 is spoken over TLS alone",
            )?;
            let mut later = self.kmes.iter().skip(place.saturating_add(1));
            rule(
                later.all(|other| other.sae == kme.sae),
                "kmes.sae",
                "one name at all KMEs",
            )?;
            let mut others = self.kmes.iter().skip(place.saturating_add(1));
            rule(
                self.kmes.len() == 1
                    || kme.link.is_some() && others.all(|other| other.link != kme.link),
                "kmes.link",
                "several KMEs are told apart by the names of their links",
            )?;
        }
        self.network.check()
    }
}

impl SiteNetwork {
    /// Checks the network of a site.
    ///
    /// # Errors
    ///
    /// [`Broken`] with the first rule that it breaks.
    pub fn check(&self) -> Result<(), Broken> {
        for (place, interface) in self.interfaces.iter().enumerate() {
            interface.check()?;
            let mut later = self.interfaces.iter().skip(place.saturating_add(1));
            rule(
                later.all(|other| other.port != interface.port),
                "network.interfaces",
                "one for each port",
            )?;
        }
        rule(
            self.routes.len() <= ROUTES_MAX,
            "network.routes",
            "at most 64",
        )?;
        for route in &self.routes {
            rule(
                route.destination.address().is_ipv4() == route.gateway.is_ipv4(),
                "network.routes",
                "destination and gateway of one family",
            )?;
            rule(
                is_host(route.gateway),
                "network.routes",
                "the gateway is not the address of a router",
            )?;
        }
        for (field, servers) in [("network.dns", &self.dns), ("network.ntp", &self.ntp)] {
            rule(servers.len() <= SERVERS_MAX, field, "at most 4")?;
            rule(
                servers.iter().copied().all(is_host),
                field,
                "not the address of a server",
            )?;
        }
        Ok(())
    }
}

impl Interface {
    fn check(&self) -> Result<(), Broken> {
        const FIELD: &str = "network.interfaces";
        rule(
            self.addresses.len() <= INTERFACE_ADDRESSES_MAX,
            FIELD,
            "at most 8 addresses",
        )?;
        rule(
            !self.dhcp || self.addresses.is_empty(),
            FIELD,
            "addresses, or DHCP, not both",
        )?;
        self.addresses.iter().try_for_each(|(address, len)| {
            let longest = if address.is_ipv4() { 32 } else { 128 };
            rule(
                is_host(*address) && (1..=longest).contains(len),
                FIELD,
                "not the address of an interface",
            )
        })
    }
}

fn addresses(addresses: &[IpAddr]) -> Result<(), Broken> {
    const FIELD: &str = "addresses";
    let number = (1..=ADDRESSES_MAX).contains(&addresses.len());
    rule(number, FIELD, "a gateway has 1 to 16")?;
    for (place, address) in addresses.iter().enumerate() {
        rule(is_host(*address), FIELD, "not the address of a gateway")?;
        let mut later = addresses.iter().skip(place.saturating_add(1));
        rule(
            later.all(|other| other != address),
            FIELD,
            "one is there twice",
        )?;
    }
    Ok(())
}

fn server(field: &'static str, address: SocketAddr) -> Result<(), Broken> {
    // A server on the gateway itself is unusual, not wrong.
    let ip = address.ip();
    rule(
        address.port() != 0 && (ip.is_loopback() || is_host(ip)),
        field,
        "not the address of a server",
    )
}

/// Whether it can be the address of one host on a network.
fn is_host(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !address.is_unspecified() && !address.is_multicast() && !address.is_loopback() && !broadcast
}

fn rule(holds: bool, field: &'static str, rule: &'static str) -> Result<(), Broken> {
    if holds {
        Ok(())
    } else {
        Err(Broken { field, rule })
    }
}
