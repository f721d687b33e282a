//! Policies as the kernel takes and shows them: `struct xfrm_userpolicy_info` and its templates.

use core::net::IpAddr;

use bartizan_model::policy::Mode;

use crate::numbers::{ESP, NO_LIMIT, attribute as number};
use crate::sa::mode_number;
use crate::selector::{KernelSelector, SELECTOR};
use crate::wire::{Reader, Writer, attribute, family};

/// Which packets a policy is looked up for; the order is the kernel's (`XFRM_POLICY_IN` ...).
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum KernelDirection {
    /// To this gateway itself.
    In,
    /// From this gateway, its own packets and forwarded ones.
    Out,
    /// Forwarded ones, before they go out.
    Forward,
}

impl KernelDirection {
    /// All three.
    pub const ALL: [Self; 3] = [Self::In, Self::Out, Self::Forward];

    fn number(self) -> u8 {
        match self {
            Self::In => 0,
            Self::Out => 1,
            Self::Forward => 2,
        }
    }

    fn of_number(number: u8) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|direction| direction.number() == number)
    }
}

/// What the kernel tells policies apart by, beside their index.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct PolicyId {
    /// Which packets are looked up.
    pub direction: KernelDirection,
    /// Which of them match.
    pub selector: KernelSelector,
}

/// One policy of the kernel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KernelPolicy {
    /// Its name.
    pub id: PolicyId,
    /// The lowest one that matches decides.
    pub priority: u32,
    /// What happens to a packet.
    pub verdict: Verdict,
}

/// What happens to a packet that a policy matches.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Dropped.
    Block,
    /// Passes as it is.
    Pass,
    /// Passes under an SA of the template, else is dropped.
    Protect(Template),
}

/// Which SAs a policy takes (`struct xfrm_user_tmpl`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Template {
    /// The sender's address in the outer header.
    pub source: IpAddr,
    /// The receiver's.
    pub destination: IpAddr,
    /// The SAs' reqid.
    pub reqid: u32,
    /// The SAs' mode.
    pub mode: Mode,
}

impl KernelPolicy {
    /// The body of NEWPOLICY and UPDPOLICY.
    pub(crate) fn encode(&self, writer: &mut Writer<'_>) {
        self.id.selector.encode(writer);
        for _ in 0..4 {
            writer.u64(NO_LIMIT);
        }
        writer.zeros(32); // no limits in seconds
        writer.zeros(32); // what was used so far
        writer.u32(self.priority);
        writer.u32(0); // the kernel chooses the index
        writer.u8(self.id.direction.number());
        writer.u8(match self.verdict {
            Verdict::Block => BLOCK,
            Verdict::Pass | Verdict::Protect(_) => ALLOW,
        });
        writer.u8(0); // no flags
        writer.u8(0); // shared by all
        writer.align(8);
        if let Verdict::Protect(template) = self.verdict {
            writer.attribute(number::TEMPLATE, |w| template.encode(w));
        }
    }
}

impl Template {
    fn encode(&self, writer: &mut Writer<'_>) {
        writer.address(self.destination);
        writer.be32(0); // any SPI
        writer.u8(ESP);
        writer.zeros(3);
        writer.u16(family(self.destination));
        writer.zeros(2);
        writer.address(self.source);
        writer.u32(self.reqid);
        writer.u8(mode_number(self.mode));
        writer.u8(0); // shared by all
        writer.u8(0); // not optional
        writer.zeros(1);
        for _ in 0..3 {
            writer.u32(u32::MAX); // the reqid decides, not the algorithm
        }
    }
}

/// The reqid of the first template.
pub(crate) fn template_reqid(attributes: Reader<'_>) -> Option<u32> {
    let mut reader = Reader::new(attribute(attributes, number::TEMPLATE)?);
    reader.skip(24 + 4 + 16)?;
    reader.u32()
}

/// `struct xfrm_userpolicy_id`, by what the policy applies to.
pub(crate) fn encode_id(id: &PolicyId, writer: &mut Writer<'_>) {
    id.selector.encode(writer);
    writer.u32(0);
    writer.u8(id.direction.number());
    writer.zeros(3);
}

/// `struct xfrm_userpolicy_id`, by the kernel's index.
pub(crate) fn encode_index(direction: KernelDirection, index: u32, writer: &mut Writer<'_>) {
    writer.zeros(SELECTOR);
    writer.u32(index);
    writer.u8(direction.number());
    writer.zeros(3);
}

/// A policy as the kernel shows it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PolicyShown {
    /// Which packets are looked up.
    pub direction: KernelDirection,
    /// The kernel's number of it.
    pub index: u32,
    /// Which packets match, or a selector that is none of ours.
    pub selector: Option<KernelSelector>,
    /// The lowest one that matches decides.
    pub priority: u32,
    /// Whether it drops packets.
    pub blocks: bool,
    /// The reqid of its template, if it has one.
    pub reqid: Option<u32>,
}

impl PolicyShown {
    /// Its name, unless its selector is none of ours.
    pub fn id(&self) -> Option<PolicyId> {
        let direction = self.direction;
        self.selector.map(|selector| PolicyId {
            direction,
            selector,
        })
    }

    /// `struct xfrm_userpolicy_info` and its attributes; `None` also for a policy of a socket.
    pub(crate) fn decode(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let selector = KernelSelector::decode(reader.bytes(SELECTOR)?);
        reader.skip(64 + 32)?;
        let priority = reader.u32()?;
        let index = reader.u32()?;
        let direction = KernelDirection::of_number(reader.u8()?)?;
        let blocks = reader.u8()? == BLOCK;
        reader.skip(2 + 4)?;
        Some(Self {
            direction,
            index,
            selector,
            priority,
            blocks,
            reqid: template_reqid(reader),
        })
    }
}

const ALLOW: u8 = 0;

const BLOCK: u8 = 1;
