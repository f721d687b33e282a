//! `traffic-selector`: which packets an entry is about.

use bartizan_model::policy::{Prefix, TrafficSelector};

use crate::error::RpcError;
use crate::policy::view::View;
use crate::tree::Tree;

/// IANA protocol numbers whose headers begin with two ports: TCP, UDP, DCCP, SCTP.
const WITH_PORTS: [u8; 4] = [6, 17, 33, 132];

pub(crate) fn read(selector: &View<'_>) -> Result<TrafficSelector, RpcError> {
    let local = prefix(selector, "local-prefix")?;
    let remote = prefix(selector, "remote-prefix")?;
    if local.address().is_ipv4() != remote.address().is_ipv4() {
        return Err(selector.invalid("remote-prefix", "not of the local prefix's family"));
    }
    let protocol = match selector.text("inner-protocol") {
        None | Some("any") => None,
        // The kernel takes 0 for any.
        Some("0") => {
            return Err(selector.refused("inner-protocol", "protocol 0 cannot be told from any"));
        }
        Some(_) => selector.number("inner-protocol")?,
    };
    Ok(TrafficSelector {
        local,
        remote,
        protocol,
        local_port: port(selector, "local-ports", protocol)?,
        remote_port: port(selector, "remote-ports", protocol)?,
    })
}

pub(crate) fn write(selector: &TrafficSelector, tree: &mut Tree) {
    tree.set("local-prefix", selector.local);
    tree.set("remote-prefix", selector.remote);
    if let Some(protocol) = selector.protocol {
        tree.set("inner-protocol", protocol);
    }
    for (name, port) in [
        ("local-ports", selector.local_port),
        ("remote-ports", selector.remote_port),
    ] {
        if let Some(port) = port {
            tree.add(name, |range| {
                range.set("start", port);
                range.set("end", port);
            });
        }
    }
}

fn prefix(selector: &View<'_>, name: &str) -> Result<Prefix, RpcError> {
    let text = selector.required(name)?;
    let prefix = text.split_once('/').and_then(|(address, length)| {
        Prefix::new(address.parse().ok()?, length.parse().ok()?).ok()
    });
    prefix.ok_or_else(|| selector.invalid(name, "not a prefix"))
}

/// Reads the one port that the kernel's selector has room for; `None` is any.
fn port(selector: &View<'_>, name: &str, protocol: Option<u8>) -> Result<Option<u16>, RpcError> {
    let mut ranges = selector.instances(name);
    let Some(range) = ranges.next() else {
        return Ok(None);
    };
    if let Some(second) = ranges.next() {
        return Err(second.not_programmable("an entry has room for one port a side"));
    }
    let start: u16 = range.required_value("start")?;
    let end: u16 = range.required_value("end")?;
    match (start, end) {
        (0, 0 | u16::MAX) => Ok(None),
        _ if end < start => Err(range.violation("a range ends before it begins")),
        _ if start != end => Err(range.not_programmable("a range of ports cannot be programmed")),
        _ if protocol.is_some_and(|protocol| WITH_PORTS.contains(&protocol)) => Ok(Some(start)),
        _ => Err(range.not_programmable("a port needs a protocol that has ports")),
    }
}
