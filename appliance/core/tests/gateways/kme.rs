//! A pair of KMEs over one QKD link, honest or not.

use std::collections::BTreeMap;

use bartizan_model::ids::{KeyId, OrderId, StreamName};
use bartizan_model::message::{EngineToQkd, QkdToEngine};
use bartizan_model::report::QkdRefusal;
use bartizan_secret::Secret;

use crate::rng::Rng;

/// How one KME behaves.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Mode {
    #[default]
    Honest,
    Refuses,
    Hangs,
    ZeroKey,
    RepeatsKey,
    RepeatsId,
    ShortKey,
    /// The other side has another key under the same name.
    Asymmetric,
    /// Gives another key than was asked for by name.
    WrongKey,
}

#[derive(Debug, Default)]
pub(crate) struct Kmes {
    pub(crate) modes: [Mode; 2],
    /// What the other side will get, by name.
    held: [BTreeMap<KeyId, Vec<u8>>; 2],
    last: [Option<(KeyId, Vec<u8>)>; 2],
    /// Who was to join which stream.
    pub(crate) joined: Vec<(usize, StreamName)>,
    /// The keys that the link has brought and nobody took; without a number there is always one.
    pub(crate) stored: Option<u64>,
    /// How many each side was given.
    pub(crate) given: [u64; 2],
    numbers: u64,
}

impl Kmes {
    /// The answer, and the key beside it; nothing if the KME hangs.
    pub(crate) fn ask(
        &mut self,
        who: usize,
        order: &EngineToQkd,
        rng: &mut Rng,
    ) -> Option<(QkdToEngine, Option<Secret>)> {
        if let EngineToQkd::Join { stream, .. } = order {
            self.joined.push((who, stream.clone()));
        }
        let refused = |order, reason| Some((QkdToEngine::Refused { order, reason }, None));
        match (order, self.modes[who]) {
            (EngineToQkd::Cancel(_) | EngineToQkd::Join { .. } | EngineToQkd::Unused { .. }, _)
            | (_, Mode::Hangs) => None,
            (
                EngineToQkd::NewKey { order, .. } | EngineToQkd::SameKey { order, .. },
                Mode::Refuses,
            ) => refused(*order, QkdRefusal::Unavailable),
            (EngineToQkd::NewKey { order, .. }, _) if self.stored == Some(0) => {
                refused(*order, QkdRefusal::Unavailable)
            }
            (EngineToQkd::NewKey { order, .. }, mode) => {
                self.stored = self.stored.map(|stored| stored - 1);
                self.given[who] += 1;
                let (id, key) = self.new_key(who, mode, rng);
                Some(reply(*order, id, &key))
            }
            (EngineToQkd::SameKey { order, key: id, .. }, mode) => {
                let Some(mut key) = self.held[who].remove(id) else {
                    return refused(*order, QkdRefusal::BadRequest);
                };
                self.given[who] += 1;
                match mode {
                    Mode::ZeroKey => key.fill(0),
                    Mode::ShortKey => key.truncate(16),
                    Mode::Asymmetric => key[0] ^= 1,
                    Mode::WrongKey => {
                        return Some(reply(*order, "another".try_into().unwrap(), &key));
                    }
                    Mode::RepeatsKey => {
                        let last = self.last[who].get_or_insert((id.clone(), key));
                        key = last.1.clone();
                    }
                    Mode::Honest | Mode::RepeatsId | Mode::Refuses | Mode::Hangs => {}
                }
                Some(reply(*order, id.clone(), &key))
            }
        }
    }

    fn new_key(&mut self, who: usize, mode: Mode, rng: &mut Rng) -> (KeyId, Vec<u8>) {
        self.numbers += 1;
        let mut id = KeyId::try_from(format!("key-{}", self.numbers)).unwrap();
        let mut key = vec![0; 32];
        rng.fill(&mut key);
        match mode {
            Mode::ZeroKey => key.fill(0),
            Mode::ShortKey => key.truncate(31),
            Mode::RepeatsKey | Mode::RepeatsId => {
                if let Some((last_id, last_key)) = &self.last[who] {
                    if mode == Mode::RepeatsKey {
                        key.clone_from(last_key);
                    } else {
                        id = last_id.clone();
                    }
                }
            }
            Mode::Honest | Mode::Asymmetric | Mode::WrongKey | Mode::Refuses | Mode::Hangs => {}
        }
        self.last[who] = Some((id.clone(), key.clone()));
        let mut other = key.clone();
        if mode == Mode::Asymmetric {
            other[0] ^= 1;
        }
        self.held[1 - who].insert(id.clone(), other);
        (id, key)
    }
}

fn reply(order: OrderId, id: KeyId, key: &[u8]) -> (QkdToEngine, Option<Secret>) {
    let secret = Secret::from_fn(key.len(), |bytes| bytes.copy_from_slice(key)).unwrap();
    (QkdToEngine::Key { order, key: id }, Some(secret))
}
