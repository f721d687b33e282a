//! What a policy or an SA applies to, as `struct xfrm_selector` says it.

use bartizan_model::ids::Reqid;
use bartizan_model::policy::{Direction, Prefix, TrafficSelector};

use crate::wire::{Reader, Writer, family};

/// Bytes of `struct xfrm_selector`.
pub(crate) const SELECTOR: usize = 56;

/// Which packets, as they stand on the wire, and whose entry it is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct KernelSelector {
    source: Prefix,
    destination: Prefix,
    upper: Upper,
    owner: Owner,
}

/// The protocol above IP and its ports; of ICMP they are the type (source) and the code
/// (destination).
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Upper {
    /// `None` is any.
    pub protocol: Option<u8>,
    /// `None` is any.
    pub source_port: Option<u16>,
    /// `None` is any.
    pub destination_port: Option<u16>,
}

/// Whose entry it is, kept in the selector's `user` field.
///
/// The kernel never looks at that field when it matches a packet, but two policies whose selectors
/// differ in it are two policies. So an entry of the controller can have any selector and still
/// neither replace nor remove a built-in policy or another tunnel's.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Owner {
    /// Block-all and bypasses; also what SAs carry.
    BuiltIn,
    /// The controller's entry with this reqid.
    Entry(Reqid),
}

impl KernelSelector {
    /// Checks a selector; `None` for two address families, and for protocol 0, which the kernel
    /// would take for any.
    pub fn new(source: Prefix, destination: Prefix, upper: Upper, owner: Owner) -> Option<Self> {
        let one_family = source.address().is_ipv4() == destination.address().is_ipv4();
        if !one_family || upper.protocol == Some(0) {
            return None;
        }
        Some(Self {
            source,
            destination,
            upper,
            owner,
        })
    }

    /// Turns a traffic selector the way that packets of `direction` go; `None` as in
    /// [`KernelSelector::new`].
    pub fn of(selector: &TrafficSelector, direction: Direction, owner: Owner) -> Option<Self> {
        let (source, source_port, destination, destination_port) = match direction {
            Direction::Outbound => (
                selector.local,
                selector.local_port,
                selector.remote,
                selector.remote_port,
            ),
            Direction::Inbound => (
                selector.remote,
                selector.remote_port,
                selector.local,
                selector.local_port,
            ),
        };
        let upper = Upper {
            protocol: selector.protocol,
            source_port,
            destination_port,
        };
        Self::new(source, destination, upper, owner)
    }

    /// The same for the answers to these packets.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            upper: Upper {
                protocol: self.upper.protocol,
                source_port: self.upper.destination_port,
                destination_port: self.upper.source_port,
            },
            owner: self.owner,
        }
    }

    /// Where packets come from.
    pub fn source(self) -> Prefix {
        self.source
    }

    /// Where they go to.
    pub fn destination(self) -> Prefix {
        self.destination
    }

    /// What is above IP.
    pub fn upper(self) -> Upper {
        self.upper
    }

    /// Whose entry it is.
    pub fn owner(self) -> Owner {
        self.owner
    }

    /// The address family's number.
    pub(crate) fn family(self) -> u16 {
        family(self.destination.address())
    }

    pub(crate) fn encode(self, writer: &mut Writer<'_>) {
        let (destination_port, destination_mask) = port(self.upper.destination_port);
        let (source_port, source_mask) = port(self.upper.source_port);
        writer.address(self.destination.address());
        writer.address(self.source.address());
        writer.be16(destination_port);
        writer.be16(destination_mask);
        writer.be16(source_port);
        writer.be16(source_mask);
        writer.u16(self.family());
        writer.u8(self.destination.length());
        writer.u8(self.source.length());
        writer.u8(self.upper.protocol.unwrap_or(0));
        writer.zeros(3);
        writer.u32(0); // any interface
        writer.u32(match self.owner {
            Owner::BuiltIn => 0,
            Owner::Entry(reqid) => reqid.into(),
        });
    }

    /// Reads a selector; `None` for one that this type cannot say, so none of ours.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let destination = reader.address()?;
        let source = reader.address()?;
        let destination_port = (reader.be16()?, reader.be16()?);
        let source_port = (reader.be16()?, reader.be16()?);
        let family = reader.u16()?;
        let destination_length = reader.u8()?;
        let source_length = reader.u8()?;
        let protocol = reader.u8()?;
        reader.skip(3)?;
        let interface = reader.u32()?;
        let user = reader.u32()?;
        let whole = |(port, mask)| mask == u16::MAX || (port, mask) == (0, 0);
        if interface != 0 || !whole(destination_port) || !whole(source_port) {
            return None;
        }
        let port = |(port, mask)| (mask == u16::MAX).then_some(port);
        let upper = Upper {
            protocol: (protocol != 0).then_some(protocol),
            source_port: port(source_port),
            destination_port: port(destination_port),
        };
        Self::new(
            Prefix::new(source.of_family(family)?, source_length).ok()?,
            Prefix::new(destination.of_family(family)?, destination_length).ok()?,
            upper,
            Reqid::try_from(user).map_or(Owner::BuiltIn, Owner::Entry),
        )
    }
}

fn port(port: Option<u16>) -> (u16, u16) {
    port.map_or((0, 0), |port| (port, u16::MAX))
}
