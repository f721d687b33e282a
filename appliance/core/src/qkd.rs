//! Orders to the KME link, and what its keys must be to count.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bartizan_model::ids::{Epoch, KeyId, OrderId, Reqid};
use bartizan_model::report::QkdRefusal;
use bartizan_secret::{Secret, clobber_stack};
use sha2::{Digest, Sha256};

/// Bytes of a QKD key as the qkd role asks for it.
pub(crate) const QKD_KEY_LEN: usize = 32;

/// How many keys and key ids are remembered: at one rekey a minute in each of 1000 tunnels, of the
/// last 16 minutes; a KME that repeats itself does so sooner.
const SEEN_MAX: usize = 16 * 1024;

/// Which generation waits for a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) reqid: Reqid,
    pub(crate) epoch: Epoch,
    /// The id that the peer named, or `None` for a new key.
    pub(crate) key: Option<KeyId>,
}

/// The KME link as the engine sees it.
#[derive(Debug, Default)]
pub(crate) struct Qkd {
    available: bool,
    wanted: BTreeMap<OrderId, Wanted>,
    seen: Seen,
}

impl Qkd {
    /// The end of the edge was granted.
    pub(crate) fn set_available(&mut self) {
        self.available = true;
    }

    /// Whether anybody can be asked.
    pub(crate) fn is_available(&self) -> bool {
        self.available
    }

    /// Says whether a peer may name this key: not one that was seen before.
    pub(crate) fn is_fresh(&self, key: &KeyId) -> bool {
        !self.seen.contains(&digest(b"id", key.as_str().as_bytes()))
    }

    /// Remembers who waits for the reply to an order.
    pub(crate) fn expect(&mut self, order: OrderId, wanted: Wanted) {
        self.wanted.insert(order, wanted);
    }

    /// Forgets an order; false if it was answered already.
    pub(crate) fn forget(&mut self, order: OrderId) -> bool {
        self.wanted.remove(&order).is_some()
    }

    /// Who waits for the reply to this order; nobody does after [`Qkd::forget`].
    pub(crate) fn answered(&mut self, order: OrderId) -> Option<Wanted> {
        self.wanted.remove(&order)
    }

    /// Judges a delivered key: of the right name and length, not zero, never seen before. A key or id
    /// that counts once counts never again.
    ///
    /// # Errors
    ///
    /// [`QkdRefusal`]; the key is wiped.
    pub(crate) fn judge(
        &mut self,
        wanted: &Wanted,
        id: &KeyId,
        key: Option<Secret>,
    ) -> Result<Secret, QkdRefusal> {
        let key = key.ok_or(QkdRefusal::BadReply)?;
        if wanted.key.as_ref().is_some_and(|named| named != id) {
            return Err(QkdRefusal::WrongKeyId);
        }
        if key.len() != QKD_KEY_LEN {
            return Err(QkdRefusal::WrongLength);
        }
        if key.expose().iter().fold(0, |any, byte| any | byte) == 0 {
            return Err(QkdRefusal::ZeroKey);
        }
        let of_id = self.seen.insert(digest(b"id", id.as_str().as_bytes()));
        let of_key = self.seen.insert(digest(b"key", key.expose()));
        clobber_stack();
        if of_id && of_key {
            Ok(key)
        } else {
            Err(QkdRefusal::RepeatedKey)
        }
    }
}

type Fingerprint = [u8; 32];

/// Of 256 random bits a SHA-256 tells nothing.
fn digest(label: &[u8], bytes: &[u8]) -> Fingerprint {
    Sha256::new()
        .chain_update(label)
        .chain_update(bytes)
        .finalize()
        .into()
}

/// The last fingerprints.
#[derive(Debug, Default)]
struct Seen {
    known: BTreeSet<Fingerprint>,
    order: VecDeque<Fingerprint>,
}

impl Seen {
    fn contains(&self, fingerprint: &Fingerprint) -> bool {
        self.known.contains(fingerprint)
    }

    /// False if it was there.
    fn insert(&mut self, fingerprint: Fingerprint) -> bool {
        if !self.known.insert(fingerprint) {
            return false;
        }
        self.order.push_back(fingerprint);
        if self.order.len() > SEEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(key: Option<&str>) -> Wanted {
        Wanted {
            reqid: Reqid::try_from(1).unwrap(),
            epoch: Epoch(1),
            key: key.map(id),
        }
    }

    fn id(text: &str) -> KeyId {
        KeyId::try_from(text).unwrap()
    }

    fn key(byte: u8, len: usize) -> Secret {
        Secret::from_fn(len, |bytes| bytes.fill(byte)).unwrap()
    }

    #[test]
    fn a_key_counts_once_under_whatever_name() {
        let mut qkd = Qkd::default();
        let any = wanted(None);
        assert!(qkd.judge(&any, &id("a"), Some(key(1, 32))).is_ok());
        for (name, byte) in [("b", 1), ("a", 2)] {
            let repeated = qkd.judge(&any, &id(name), Some(key(byte, 32)));
            assert_eq!(repeated.unwrap_err(), QkdRefusal::RepeatedKey);
        }
        assert!(!qkd.is_fresh(&id("a")));
    }

    #[test]
    fn what_is_no_good_key_is_refused_by_its_name() {
        let mut qkd = Qkd::default();
        for (named, secret, refusal) in [
            (None, Some(key(0, 32)), QkdRefusal::ZeroKey),
            (None, Some(key(1, 31)), QkdRefusal::WrongLength),
            (None, Some(key(1, 33)), QkdRefusal::WrongLength),
            (None, None, QkdRefusal::BadReply),
            (Some("other"), Some(key(1, 32)), QkdRefusal::WrongKeyId),
        ] {
            let judged = qkd.judge(&wanted(named), &id("a"), secret);
            assert_eq!(judged.unwrap_err(), refusal);
        }
        assert!(
            qkd.judge(&wanted(Some("a")), &id("a"), Some(key(1, 32)))
                .is_ok()
        );
    }

    #[test]
    fn memory_of_keys_is_bounded() {
        let mut seen = Seen::default();
        for number in 0..=SEEN_MAX {
            assert!(seen.insert(digest(b"", &number.to_ne_bytes())));
        }
        assert_eq!(seen.known.len(), SEEN_MAX);
        assert!(!seen.contains(&digest(b"", &0_usize.to_ne_bytes())));
        assert!(seen.contains(&digest(b"", &SEEN_MAX.to_ne_bytes())));
    }
}
