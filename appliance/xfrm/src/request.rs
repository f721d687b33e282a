//! What the kernel is asked for, one netlink message each.

use bartizan_model::ids::Spi;
use bartizan_model::message::SaId;

use crate::numbers::{flag, message, spd};
use crate::policy::{self, KernelDirection, KernelPolicy, PolicyId};
use crate::sa::{self, KernelSa, Key, SaKey};
use crate::wire::{NoRoom, Writer};

/// One request.
#[derive(Clone, Copy, Debug)]
pub enum Request<'a> {
    /// Add an SA (NEWSA); refused if its name is taken.
    AddSa(&'a KernelSa, SaKey<'a>),
    /// Replace the limits of an SA that stands (UPDSA). The kernel reads a key here and uses it
    /// only where no valid SA stands, so it is given one that nobody knows.
    UpdateSa(&'a KernelSa),
    /// Take an SA out (DELSA).
    DeleteSa(SaId),
    /// Show an SA, key and all (GETSA).
    ShowSa(SaId),
    /// Show what changes of an SA (GETAE).
    CountSa(SaId),
    /// Make a larval SA with an SPI out of a range (ALLOCSPI), to be filled by UPDSA.
    AllocateSpi {
        /// The SA but for its SPI and key.
        sa: &'a KernelSa,
        /// The lowest SPI.
        low: Spi,
        /// The highest SPI.
        high: Spi,
    },
    /// Take all SAs out, larval ones too (FLUSHSA).
    FlushSas,
    /// Add a policy (NEWPOLICY); refused if its name is taken.
    AddPolicy(&'a KernelPolicy),
    /// Add a policy or replace the one of its name (UPDPOLICY).
    PutPolicy(&'a KernelPolicy),
    /// Take a policy out (DELPOLICY).
    DeletePolicy(PolicyId),
    /// Take a policy out by the kernel's number.
    DeletePolicyAt(KernelDirection, u32),
    /// Take all policies out (FLUSHPOLICY).
    FlushPolicies,
    /// Find policies whose prefixes have the length of a site's or more by a hash (NEWSPDINFO). The
    /// kernel does so for single addresses alone, and for each policy that it adds otherwise it
    /// goes through all of those.
    HashPrefixes,
}

impl Request<'_> {
    /// Writes the message into the front of `buffer` and returns its length.
    ///
    /// # Errors
    ///
    /// [`NoRoom`] if it does not fit; the buffer is wiped then.
    pub fn encode(&self, buffer: &mut [u8], seq: u32) -> Result<usize, NoRoom> {
        let (kind, body): (u16, &dyn Fn(&mut Writer<'_>)) = match self {
            Self::AddSa(sa, key) => (message::NEWSA, &|w| sa.encode(Key::Of(*key), w)),
            Self::UpdateSa(sa) => (message::UPDSA, &|w| sa.encode(Key::ThrowAway, w)),
            Self::DeleteSa(id) => (message::DELSA, &|w| sa::encode_id(*id, w)),
            Self::ShowSa(id) => (message::GETSA, &|w| sa::encode_id(*id, w)),
            Self::CountSa(id) => (message::GETAE, &|w| sa::encode_counters_question(*id, w)),
            Self::AllocateSpi { sa, low, high } => {
                (message::ALLOCSPI, &|w| sa.encode_larval(*low, *high, w))
            }
            Self::FlushSas => (message::FLUSHSA, &|w| w.u8(ANY_PROTOCOL)),
            Self::AddPolicy(policy) => (message::NEWPOLICY, &|w| policy.encode(w)),
            Self::PutPolicy(policy) => (message::UPDPOLICY, &|w| policy.encode(w)),
            Self::DeletePolicy(id) => (message::DELPOLICY, &|w| policy::encode_id(id, w)),
            Self::DeletePolicyAt(direction, index) => (message::DELPOLICY, &|w| {
                policy::encode_index(*direction, *index, w);
            }),
            Self::FlushPolicies => (message::FLUSHPOLICY, &|_| ()),
            Self::HashPrefixes => (message::NEWSPDINFO, &|w| {
                w.u32(0);
                w.attribute(spd::IPV4_HASHED, |w| w.bytes(&[SITE_V4; 2]));
                w.attribute(spd::IPV6_HASHED, |w| w.bytes(&[SITE_V6; 2]));
            }),
        };
        Writer::new(buffer).message(kind, flag::REQUEST, seq, body)
    }
}

/// What the kernel can be asked to list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Dump {
    /// All SAs.
    Sas,
    /// All policies.
    Policies,
}

impl Dump {
    /// As [`Request::encode`].
    ///
    /// # Errors
    ///
    /// [`NoRoom`] if it does not fit.
    pub fn encode(self, buffer: &mut [u8], seq: u32) -> Result<usize, NoRoom> {
        let kind = match self {
            Self::Sas => message::GETSA,
            Self::Policies => message::GETPOLICY,
        };
        Writer::new(buffer).message(kind, flag::REQUEST | flag::DUMP, seq, |_| ())
    }
}

/// The shortest prefix of a site, in bits, that is worth a hash.
const SITE_V4: u8 = 16;

/// The same.
const SITE_V6: u8 = 48;

/// Of FLUSHSA.
const ANY_PROTOCOL: u8 = 0;

/// Where `nlmsg_flags` stand in a message.
const FLAGS: core::ops::Range<usize> = 6..8;

/// Asks for an acknowledgement of the message at the front of `message`.
pub(crate) fn ask_acknowledgement(message: &mut [u8]) {
    if let Some(flags) = message.get_mut(FLAGS) {
        flags.copy_from_slice(&(flag::REQUEST | flag::ACK).to_ne_bytes());
    }
}
