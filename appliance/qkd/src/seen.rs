//! Keys that came before.

use core::hash::BuildHasher as _;
use std::collections::{BTreeSet, VecDeque};
use std::hash::RandomState;

use bartizan_model::ids::KeyId;
use bartizan_secret::{Secret, clobber_stack};

/// How many keys are remembered; the engine's transcript keeps an older one from being used twice.
const REMEMBERED: usize = 16 * 1024;

/// The keys and names that came last, as 64-bit marks under a secret of this process, from which no
/// key can be found.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    keys: Marks,
    names: Marks,
}

/// Whether a key came before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Novelty {
    New,
    Repeated,
}

impl Seen {
    /// Remembers a key and its name.
    pub(crate) fn remember(&mut self, name: &KeyId, key: &Secret) -> Novelty {
        let names = self.names.remember(name.as_str().as_bytes());
        let keys = self.keys.remember(key.expose());
        clobber_stack();
        match (names, keys) {
            (Novelty::New, Novelty::New) => Novelty::New,
            _ => Novelty::Repeated,
        }
    }
}

#[derive(Debug, Default)]
struct Marks {
    hasher: RandomState,
    known: BTreeSet<u64>,
    /// In the order in which they came.
    order: VecDeque<u64>,
}

impl Marks {
    fn remember(&mut self, bytes: &[u8]) -> Novelty {
        let mark = self.hasher.hash_one(bytes);
        if !self.known.insert(mark) {
            return Novelty::Repeated;
        }
        self.order.push_back(mark);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        Novelty::New
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> Secret {
        Secret::from_fn(32, |bytes| {
            bytes[..8].copy_from_slice(&number.to_be_bytes());
        })
        .unwrap()
    }

    fn name(number: usize) -> KeyId {
        KeyId::try_from(number.to_string()).unwrap()
    }

    #[test]
    fn a_key_or_a_name_counts_once() {
        let mut seen = Seen::default();
        assert_eq!(seen.remember(&name(1), &key(1)), Novelty::New);
        assert_eq!(seen.remember(&name(1), &key(2)), Novelty::Repeated);
        assert_eq!(seen.remember(&name(2), &key(1)), Novelty::Repeated);
        assert_eq!(seen.remember(&name(3), &key(2)), Novelty::Repeated);
        assert_eq!(seen.remember(&name(4), &key(4)), Novelty::New);
    }

    #[test]
    fn the_memory_has_an_end() {
        let mut marks = Marks::default();
        for number in 0..=REMEMBERED {
            assert_eq!(marks.remember(&number.to_be_bytes()), Novelty::New);
        }
        assert_eq!(
            (marks.known.len(), marks.order.len()),
            (REMEMBERED, REMEMBERED)
        );
        assert_eq!(marks.remember(&REMEMBERED.to_be_bytes()), Novelty::Repeated);
        assert_eq!(marks.remember(&0_usize.to_be_bytes()), Novelty::New);
    }
}
