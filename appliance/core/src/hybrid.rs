//! One key out of the shares of all sources, bound to everything that both ends have said.
//!
//! HKDF-SHA-384 (RFC 5869), a two-step key derivation in the shape of NIST SP 800-56C r2, 5. With
//! `F(a, b, ..)` for the fields in a row, each behind its length in 4 bytes, and integers in 4
//! (epoch: 8) bytes, the highest first:
//!
//! ```text
//! transcript = SHA-384(F("bartizan transcript 1",
//!                tunnel, epoch, "initiator", nonce, spi, sources, encapsulation key, public key,
//!                QKD key id,
//!                tunnel, epoch, "responder", nonce, spi, sources, ciphertext, public key,
//!                QKD key id))
//! context    = F("bartizan hybrid 1", initiator, responder, tunnel, epoch, initiator's spi,
//!                responder's spi, suite, mode, combiner, QKD key id, KEM parameter set, transcript)
//! labelled   = F("qkd", share) F("kem", share) F("x25519", share)    of the sources in use
//! shares     = labelled                                               combiner hmac
//!              F("xor", share XOR ..)                                 combiner xor
//!              F("xorhmac", HMAC-SHA-384(transcript, F("forward") labelled)
//!                       XOR HMAC-SHA-384(transcript, F("backward") labelled, the last first))
//!                                                                     combiner xorhmac
//! prk        = HKDF-Extract(salt: transcript, shares)
//! key(x)     = HKDF-Expand(prk, F(x) context)
//! tag(side)  = the first 32 bytes of HMAC-SHA-384(key("confirm " side),
//!                F("bartizan tag 1", side, transcript))
//! ```
//!
//! The initiator sends under `key("esp initiator")`, the responder under `key("esp responder")`:
//! cipher key, then salt. `sources` is three bytes, QKD, KEM and X25519, each 0 or 1; what is absent is empty.
//!
//! Every intermediate value lives in a locked slot or on the stack, which is overwritten at the end.

mod transcript;

use bartizan_model::ids::NodeId;
use bartizan_model::message::{Answer, Offer, Side};
use bartizan_model::policy::{Combiner, Mode, ParameterSet, Suite};
use bartizan_model::report::SourceSet;
use bartizan_secret::{LockError, Secret, clobber_stack};
use hkdf::{Hkdf, HkdfExtract};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha384;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use self::transcript::{Fields, Transcript, encode, length, side as side_label, transcript};
use crate::lease::Lease;

/// Bytes of a confirmation tag.
pub const TAG_LEN: usize = 32;

/// Bytes of a confirmation key.
const CONFIRMATION_KEY_LEN: usize = 48;

/// What a key is bound to; the rest of it stands in the offer and the answer.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The lower node.
    pub initiator: &'a NodeId,
    /// The higher node.
    pub responder: &'a NodeId,
    /// What the keys are for.
    pub suite: Suite,
    /// What the SAs are for.
    pub mode: Mode,
    /// How the shares become one.
    pub combiner: Combiner,
    /// The policy's parameter set; counts only where the answer's set has the KEM.
    pub parameter_set: Option<ParameterSet>,
    /// The initiator's half.
    pub offer: &'a Offer,
    /// The responder's half; its set is the one in use.
    pub answer: &'a Answer,
}

/// What the sources have given; exactly those of the answer's set.
#[derive(Clone, Copy, Debug)]
pub struct Shares<'a> {
    /// The QKD key.
    pub qkd: Option<&'a Secret>,
    /// The KEM's shared secret.
    pub kem: Option<&'a Secret>,
    /// The X25519 shared secret.
    pub classical: Option<&'a Secret>,
}

impl<'a> Shares<'a> {
    /// Those that there are, labelled, in the one order.
    fn labelled(&self) -> impl DoubleEndedIterator<Item = (&'static [u8], &'a Secret)> + Clone {
        let all: [(&[u8], _); 3] = [
            (b"qkd", self.qkd),
            (b"kem", self.kem),
            (b"x25519", self.classical),
        ];
        all.into_iter()
            .filter_map(|(label, share)| Some((label, share?)))
    }
}

/// The keys of one SA pair, and what shows that the peer has the same.
#[derive(Debug)]
pub struct Derived {
    /// What the peer sends under: cipher key, then salt.
    pub inbound: Secret,
    /// What this end sends under.
    pub outbound: Secret,
    /// This end's tag, for the peer.
    pub tag: [u8; TAG_LEN],
    /// The tag that the peer must show; whoever knew it could pose as the peer.
    expected: Secret,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum DeriveError {
    /// The answer's set is empty.
    #[error("a key needs a source")]
    NoSource,
    /// The shares are not those of the answer's set, or the set is not one that was offered.
    #[error("the shares are not those that both ends agreed on")]
    SetMismatch,
    /// Offer and answer are not of one exchange between these nodes.
    #[error("the answer does not belong to the offer")]
    ExchangeMismatch,
    /// XOR of shares of different lengths.
    #[error("shares of different lengths cannot be XORed")]
    UnequalLengths,
    /// A share, or what XOR made of them, is zero: no source gives that.
    #[error("a share is all zero")]
    ZeroShare,
    /// No function gives or takes a key of this length.
    #[error("no key has this length")]
    Length,
    /// No slot for a secret.
    #[error(transparent)]
    Lock(#[from] LockError),
}

impl Derived {
    /// Says, in constant time, whether this is the peer's tag.
    pub fn confirmed_by(&self, tag: &[u8; TAG_LEN]) -> bool {
        self.expected.expose().ct_eq(tag).into()
    }
}

/// Derives the keys of the end that is `side`; there is none without a live lease.
///
/// # Errors
///
/// [`DeriveError`] if the shares, the offer and the answer do not fit together, a share is zero,
/// or there is no slot.
pub fn derive(
    context: &Context<'_>,
    shares: &Shares<'_>,
    side: Side,
    _lease: &Lease,
) -> Result<Derived, DeriveError> {
    check_exchange(context)?;
    check_shares(context, shares)?;
    let derived = combine_and_expand(context, shares, side);
    clobber_stack();
    derived
}

fn check_exchange(context: &Context<'_>) -> Result<(), DeriveError> {
    let Context { offer, answer, .. } = context;
    let one_exchange = context.initiator < context.responder
        && offer.side == Side::Initiator
        && answer.side == Side::Responder
        && offer.tunnel == answer.tunnel
        && offer.epoch == answer.epoch;
    if !one_exchange {
        return Err(DeriveError::ExchangeMismatch);
    }

    let used = answer.sources;
    let offered = (offer.sources.qkd || !used.qkd)
        && (offer.sources.kem || !used.kem)
        && (offer.sources.classical || !used.classical);
    let named = if used.qkd {
        answer.qkd_key.is_some() && answer.qkd_key == offer.qkd_key
    } else {
        answer.qkd_key.is_none()
    };
    let parameters = context.parameter_set.is_some() || !used.kem;
    if !(offered && named && parameters) {
        return Err(DeriveError::SetMismatch);
    }
    Ok(())
}

fn check_shares(context: &Context<'_>, shares: &Shares<'_>) -> Result<(), DeriveError> {
    let used = context.answer.sources;
    if used == SourceSet::NONE {
        return Err(DeriveError::NoSource);
    }
    let given = SourceSet {
        qkd: shares.qkd.is_some(),
        kem: shares.kem.is_some(),
        classical: shares.classical.is_some(),
    };
    if given != used {
        return Err(DeriveError::SetMismatch);
    }
    for (_, share) in shares.labelled() {
        refuse_zero(share)?;
    }
    Ok(())
}

fn refuse_zero(share: &Secret) -> Result<(), DeriveError> {
    let any = share.expose().iter().fold(0, |any, byte| any | byte);
    if bool::from(any.ct_eq(&0)) {
        return Err(DeriveError::ZeroShare);
    }
    Ok(())
}

/// Never inlined: its frame must be dead when [`derive()`] overwrites the stack.
#[inline(never)]
fn combine_and_expand(
    context: &Context<'_>,
    shares: &Shares<'_>,
    side: Side,
) -> Result<Derived, DeriveError> {
    let transcript = transcript(context.offer, context.answer);
    let keys = Keys {
        prk: extract(context.combiner, shares, &transcript)?,
        context: encode(context, &transcript),
    };
    let esp_len = context.suite.key_len();
    let initiators = keys.expand(b"esp initiator", esp_len)?;
    let responders = keys.expand(b"esp responder", esp_len)?;
    let (outbound, inbound, other) = match side {
        Side::Initiator => (initiators, responders, Side::Responder),
        Side::Responder => (responders, initiators, Side::Initiator),
    };

    let own = keys.tag(side, &transcript)?;
    let mut tag = [0; TAG_LEN];
    tag.copy_from_slice(own.expose());
    Ok(Derived {
        inbound,
        outbound,
        tag,
        expected: keys.tag(other, &transcript)?,
    })
}

fn extract(
    combiner: Combiner,
    shares: &Shares<'_>,
    salt: &Transcript,
) -> Result<Hkdf<Sha384>, DeriveError> {
    let mut extract = HkdfExtract::<Sha384>::new(Some(salt));
    let mut input = |label: &[u8], share: &Secret| {
        for field in [label, share.expose()] {
            extract.input_ikm(&length(field));
            extract.input_ikm(field);
        }
    };
    match combiner {
        Combiner::Hmac => {
            for (label, share) in shares.labelled() {
                input(label, share);
            }
        }
        Combiner::Xor => input(b"xor", &xor_all(shares)?),
        Combiner::XorHmac => {
            let forward = digest(b"forward", shares.labelled(), salt)?;
            let backward = digest(b"backward", shares.labelled().rev(), salt)?;
            input(b"xorhmac", &xor(&forward, &backward)?);
        }
    }
    let (prk, hkdf) = extract.finalize();
    drop(Zeroizing::new(prk));
    Ok(hkdf)
}

/// The XOR of all shares.
fn xor_all(shares: &Shares<'_>) -> Result<Secret, DeriveError> {
    let mut labelled = shares.labelled();
    let (_, first) = labelled.next().ok_or(DeriveError::NoSource)?;
    let mut all = Secret::from_fn(first.len(), |all| all.copy_from_slice(first.expose()))?;
    for (_, share) in labelled {
        all = xor(&all, share)?;
    }
    Ok(all)
}

/// HMAC-SHA-384 under `salt` over a label and the shares in this order.
fn digest<'a>(
    order: &[u8],
    shares: impl Iterator<Item = (&'static [u8], &'a Secret)>,
    salt: &Transcript,
) -> Result<Secret, DeriveError> {
    let mut mac = Hmac::<Sha384>::new_from_slice(salt).map_err(|_| DeriveError::Length)?;
    let mut field = |bytes: &[u8]| {
        mac.update(&length(bytes));
        mac.update(bytes);
    };
    field(order);
    for (label, share) in shares {
        field(label);
        field(share.expose());
    }
    let whole = Zeroizing::new(mac.finalize().into_bytes());
    Ok(Secret::from_fn(whole.len(), |out| {
        out.copy_from_slice(&whole);
    })?)
}

fn xor(one: &Secret, other: &Secret) -> Result<Secret, DeriveError> {
    if one.len() != other.len() {
        return Err(DeriveError::UnequalLengths);
    }
    let both = Secret::from_fn(one.len(), |out| {
        for ((out, one), other) in out.iter_mut().zip(one.expose()).zip(other.expose()) {
            *out = one ^ other;
        }
    })?;
    refuse_zero(&both)?;
    Ok(both)
}

/// The extracted key, and what every expansion of it is bound to.
struct Keys {
    prk: Hkdf<Sha384>,
    context: Fields,
}

impl Keys {
    fn expand(&self, label: &[u8], len: usize) -> Result<Secret, DeriveError> {
        let info = [&length(label), label, self.context.as_bytes()];
        Secret::try_from_fn(len, |key| {
            self.prk
                .expand_multi_info(&info, key)
                .map_err(|_| DeriveError::Length)
        })
    }

    fn tag(&self, side: Side, transcript: &Transcript) -> Result<Secret, DeriveError> {
        let label: &[u8] = match side {
            Side::Initiator => b"confirm initiator",
            Side::Responder => b"confirm responder",
        };
        let key = self.expand(label, CONFIRMATION_KEY_LEN)?;
        let mut said = Fields::default();
        said.field(b"bartizan tag 1")
            .field(side_label(side))
            .field(transcript);
        Secret::try_from_fn(TAG_LEN, |tag| {
            let mut mac =
                Hmac::<Sha384>::new_from_slice(key.expose()).map_err(|_| DeriveError::Length)?;
            mac.update(said.as_bytes());
            let whole = Zeroizing::new(mac.finalize().into_bytes());
            for (out, byte) in tag.iter_mut().zip(whole.iter()) {
                *out = *byte;
            }
            Ok(())
        })
    }
}
