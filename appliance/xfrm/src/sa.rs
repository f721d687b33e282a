//! SAs as the kernel takes and shows them: `struct xfrm_usersa_info` and its attributes.

use core::net::IpAddr;

use bartizan_model::ids::Spi;
use bartizan_model::message::{SaId, SaInstall};
use bartizan_model::policy::{Direction, DontFragment, Lifetime, Mode, Suite};
use bartizan_secret::Secret;
use rustix::rand::{GetRandomFlags, getrandom};

use crate::numbers::{
    ESP, MODE_TRANSPORT, MODE_TUNNEL, NO_LIMIT, STATE_ESN, STATE_NOPMTUDISC, attribute as number,
};
use crate::selector::{KernelSelector, Owner, SELECTOR};
use crate::wire::{Reader, Writer, attribute, family};

/// An SA without its key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KernelSa {
    /// Its name.
    pub id: SaId,
    /// The sender's address.
    pub source: IpAddr,
    /// The tunnel's; 0 is none.
    pub reqid: u32,
    /// Tunnel or transport.
    pub mode: Mode,
    /// The outer header's Don't Fragment bit, in tunnel mode over IPv4.
    pub df: DontFragment,
    /// What it may carry.
    pub selector: KernelSelector,
    /// The algorithms.
    pub suite: Suite,
    /// How many packets the receiver remembers.
    pub replay_window: ReplayWindow,
    /// When it ends.
    pub limits: Limits,
}

impl KernelSa {
    /// Makes an SA of an order, its seconds counted from the installation; `None` if the order
    /// contradicts itself.
    pub fn of(order: &SaInstall) -> Option<Self> {
        let window = ReplayWindow::new(order.replay_window)?;
        if order.source.is_ipv4() != order.id.destination.is_ipv4() {
            return None;
        }
        Some(Self {
            id: order.id,
            source: order.source,
            reqid: order.reqid.into(),
            mode: order.mode,
            df: order.df,
            selector: KernelSelector::of(&order.selector, order.direction, Owner::BuiltIn)?,
            suite: order.suite,
            // The sender remembers nothing; the kernel still wants a window for ESN.
            replay_window: match order.direction {
                Direction::Inbound => window,
                Direction::Outbound => ReplayWindow::SMALLEST,
            },
            limits: Limits::of(order.soft, order.hard)?,
        })
    }

    /// The body of NEWSA with its key, or of UPDSA with a throw-away one.
    pub(crate) fn encode(&self, key: Key<'_>, writer: &mut Writer<'_>) {
        self.encode_info(writer);
        encode_aead(self.suite, key, writer);
        writer.attribute(number::REPLAY_ESN, |w| {
            let words = self.replay_window.words();
            w.u32(words);
            w.zeros(16); // both sequence numbers start at 0
            w.u32(self.replay_window.0);
            for _ in 0..words {
                w.u32(0);
            }
        });
    }

    fn encode_info(&self, writer: &mut Writer<'_>) {
        self.selector.encode(writer);
        writer.address(self.id.destination);
        writer.be32(self.id.spi.into());
        writer.u8(ESP);
        writer.zeros(3);
        writer.address(self.source);
        self.limits.encode(writer);
        writer.zeros(32); // what was used so far
        writer.zeros(12); // statistics
        writer.u32(0); // no ACQUIRE to answer
        writer.u32(self.reqid);
        writer.u16(family(self.id.destination));
        writer.u8(mode_number(self.mode));
        writer.u8(0); // the window stands in REPLAY_ESN
        writer.u8(STATE_ESN | self.df_flag());
        writer.align(8);
    }

    fn df_flag(&self) -> u8 {
        match (self.mode, self.id.destination, self.df) {
            (Mode::Tunnel, IpAddr::V4(_), DontFragment::Clear) => STATE_NOPMTUDISC,
            _ => 0,
        }
    }

    /// The body of ALLOCSPI, which makes a larval SA with an SPI between `low` and `high`.
    pub(crate) fn encode_larval(&self, low: Spi, high: Spi, writer: &mut Writer<'_>) {
        self.encode_info(writer);
        writer.u32(low.into());
        writer.u32(high.into());
    }
}

/// A key in its slot, of the length that its suite takes.
#[derive(Clone, Copy, Debug)]
pub struct SaKey<'a>(&'a Secret);

impl<'a> SaKey<'a> {
    /// Checks the length.
    pub fn new(key: &'a Secret, suite: Suite) -> Option<Self> {
        (key.len() == suite.key_len()).then_some(Self(key))
    }
}

/// Where the key of a message comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Key<'a> {
    /// Out of its slot.
    Of(SaKey<'a>),
    /// Fresh random bytes that nobody keeps.
    ThrowAway,
}

/// How many packets an inbound SA remembers: 32 to 4096, a multiple of 32.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReplayWindow(u32);

impl ReplayWindow {
    /// The smallest one.
    pub const SMALLEST: Self = Self(32);

    /// Checks a window.
    pub fn new(packets: u32) -> Option<Self> {
        let fits = (32..=4096).contains(&packets) && packets.is_multiple_of(32);
        fits.then_some(Self(packets))
    }

    fn words(self) -> u32 {
        self.0 / 32
    }
}

/// The limits of an SA as the kernel counts them (`struct xfrm_lifetime_cfg`).
///
/// Bytes and packets: `u64::MAX` is no limit. Seconds: 0 is no limit; they count from the moment
/// the SA was added, and the kernel's sum is 64 bits wide and wraps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Bytes, soft.
    pub soft_bytes: u64,
    /// Bytes, hard.
    pub hard_bytes: u64,
    /// Packets, soft.
    pub soft_packets: u64,
    /// Packets, hard.
    pub hard_packets: u64,
    /// Seconds since added, soft.
    pub soft_seconds: u64,
    /// Seconds since added, hard.
    pub hard_seconds: u64,
}

impl Limits {
    /// The limits of an order; `None` for a lifetime of 0 seconds, which the kernel would take for
    /// an unlimited one.
    fn of(soft: Lifetime, hard: Lifetime) -> Option<Self> {
        let seconds = |limit: Option<u64>| match limit {
            None => Some(0),
            Some(0) => None,
            // 136 years; much more would come out negative in the kernel's sum.
            Some(limit) => Some(limit.min(u32::MAX.into())),
        };
        Some(Self {
            soft_bytes: soft.bytes.unwrap_or(NO_LIMIT),
            hard_bytes: hard.bytes.unwrap_or(NO_LIMIT),
            soft_packets: soft.packets.unwrap_or(NO_LIMIT),
            hard_packets: hard.packets.unwrap_or(NO_LIMIT),
            soft_seconds: seconds(soft.seconds)?,
            hard_seconds: seconds(hard.seconds)?,
        })
    }

    fn encode(&self, writer: &mut Writer<'_>) {
        writer.u64(self.soft_bytes);
        writer.u64(self.hard_bytes);
        writer.u64(self.soft_packets);
        writer.u64(self.hard_packets);
        writer.u64(self.soft_seconds);
        writer.u64(self.hard_seconds);
        writer.zeros(16); // no limits that count from the first use
    }

    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let limits = Self {
            soft_bytes: reader.u64()?,
            hard_bytes: reader.u64()?,
            soft_packets: reader.u64()?,
            hard_packets: reader.u64()?,
            soft_seconds: reader.u64()?,
            hard_seconds: reader.u64()?,
        };
        reader.skip(16)?;
        Some(limits)
    }
}

/// What went under an SA so far (`struct xfrm_lifetime_cur`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Used {
    /// Bytes.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// When the SA was added: seconds of `CLOCK_REALTIME` as it was set then.
    pub added: u64,
}

impl Used {
    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let used = Self {
            bytes: reader.u64()?,
            packets: reader.u64()?,
            added: reader.u64()?,
        };
        reader.skip(8)?;
        Some(used)
    }
}

/// Sequence numbers of an SA, all 64 bits of them (RFC 4303, 2.2.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Replay {
    /// The last number sent.
    pub sent: u64,
    /// The highest number received.
    pub received: u64,
    /// How many packets are remembered.
    pub window: u32,
}

/// An SA as the kernel shows it; the key that may come with it is not looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SaShown {
    /// Its number, in host order; 0 for a larval one without a number.
    pub spi: u32,
    /// The receiver's address.
    pub destination: IpAddr,
    /// The sender's address.
    pub source: IpAddr,
    /// The protocol: 50 is ESP.
    pub protocol: u8,
    /// The tunnel's; 0 is none.
    pub reqid: u32,
    /// Tunnel or transport, or a mode that is none of ours.
    pub mode: Option<Mode>,
    /// What it may carry, or a selector that is none of ours.
    pub selector: Option<KernelSelector>,
    /// When it ends.
    pub limits: Limits,
    /// What it was used for.
    pub used: Used,
    /// Its sequence numbers, where they are extended ones and shown.
    pub replay: Option<Replay>,
}

impl SaShown {
    /// Its name, for an ESP SA with a number that is not reserved.
    pub fn id(&self) -> Option<SaId> {
        let spi = Spi::try_from(self.spi).ok()?;
        (self.protocol == ESP).then_some(SaId {
            spi,
            destination: self.destination,
        })
    }

    /// `struct xfrm_usersa_info` and the attributes after it.
    pub(crate) fn decode(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let shown = Self::decode_info(&mut reader)?;
        Some(Self {
            replay: attribute(reader, number::REPLAY_ESN).and_then(decode_replay),
            ..shown
        })
    }

    /// `struct xfrm_usersa_info` alone.
    pub(crate) fn decode_info(reader: &mut Reader<'_>) -> Option<Self> {
        let selector = KernelSelector::decode(reader.bytes(SELECTOR)?);
        let destination = reader.address()?;
        let spi = reader.be32()?;
        let protocol = reader.u8()?;
        reader.skip(3)?;
        let source = reader.address()?;
        let limits = Limits::decode(reader)?;
        let used = Used::decode(reader)?;
        reader.skip(12 + 4)?;
        let reqid = reader.u32()?;
        let family = reader.u16()?;
        let mode = match reader.u8()? {
            MODE_TRANSPORT => Some(Mode::Transport),
            MODE_TUNNEL => Some(Mode::Tunnel),
            _ => None,
        };
        reader.skip(2 + 7)?;
        Some(Self {
            spi,
            destination: destination.of_family(family)?,
            source: source.of_family(family)?,
            protocol,
            reqid,
            mode,
            selector,
            limits,
            used,
            replay: None,
        })
    }
}

/// What GETAE tells of an SA: everything that changes, and no key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SaCounters {
    /// What it was used for.
    pub used: Used,
    /// Its sequence numbers, where they are extended ones.
    pub replay: Option<Replay>,
}

impl SaCounters {
    /// `struct xfrm_aevent_id` and the attributes after it.
    pub(crate) fn decode(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        reader.skip(48)?;
        let used = attribute(reader, number::CURRENT_LIFETIME)?;
        Some(Self {
            used: Used::decode(&mut Reader::new(used))?,
            replay: attribute(reader, number::REPLAY_ESN).and_then(decode_replay),
        })
    }
}

/// `struct xfrm_usersa_id`.
pub(crate) fn encode_id(id: SaId, writer: &mut Writer<'_>) {
    writer.address(id.destination);
    writer.be32(id.spi.into());
    writer.u16(family(id.destination));
    writer.u8(ESP);
    writer.align(8);
}

/// `struct xfrm_aevent_id` of a question.
pub(crate) fn encode_counters_question(id: SaId, writer: &mut Writer<'_>) {
    encode_id(id, writer);
    writer.zeros(16 + 4 + 4);
}

pub(crate) fn mode_number(mode: Mode) -> u8 {
    match mode {
        Mode::Transport => MODE_TRANSPORT,
        Mode::Tunnel => MODE_TUNNEL,
    }
}

/// `struct xfrm_algo_aead`. Without randomness for a throw-away key the message is given up.
fn encode_aead(suite: Suite, key: Key<'_>, writer: &mut Writer<'_>) {
    let (name, icv_bits) = match suite {
        Suite::AesGcm256 => (b"rfc4106(gcm(aes))", 128),
    };
    let len = suite.key_len();
    writer.attribute(number::AEAD, |w| {
        w.bytes(name);
        w.zeros(NAME.saturating_sub(name.len()));
        w.u32(u32::try_from(len.saturating_mul(8)).unwrap_or_default());
        w.u32(icv_bits);
        match key {
            Key::Of(SaKey(secret)) => w.bytes(secret.expose()),
            Key::ThrowAway => {
                let filled = w
                    .room(len)
                    .is_some_and(|room| getrandom(room, GetRandomFlags::empty()) == Ok(len));
                if !filled {
                    w.give_up();
                }
            }
        }
    });
}

/// Bytes of an algorithm's name.
const NAME: usize = 64;

fn decode_replay(body: &[u8]) -> Option<Replay> {
    let mut reader = Reader::new(body);
    reader.skip(4)?;
    let sent = reader.u32()?;
    let received = reader.u32()?;
    let sent_high = reader.u32()?;
    let received_high = reader.u32()?;
    let window = reader.u32()?;
    let wide = |high: u32, low: u32| (u64::from(high) << 32) | u64::from(low);
    Some(Replay {
        sent: wide(sent_high, sent),
        received: wide(received_high, received),
        window,
    })
}
