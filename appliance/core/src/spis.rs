//! The numbers of SAs: ours unique at this gateway, the peers' unique at their address.

use std::collections::{BTreeMap, BTreeSet};

use bartizan_model::ids::{Reqid, Spi};
use bartizan_model::message::SaId;

use crate::lease::Entropy;

/// How often a random number that is taken is drawn again; with a working source once is enough.
const TRIES: usize = 64;

/// Every SPI in use.
#[derive(Debug, Default)]
pub(crate) struct Spis {
    inbound: BTreeSet<Spi>,
    outbound: BTreeMap<SaId, Reqid>,
}

impl Spis {
    /// Takes a random SPI for an inbound SA; `None` if the entropy source is stuck.
    pub(crate) fn fresh(&mut self, entropy: Entropy<'_>) -> Option<Spi> {
        for _ in 0..TRIES {
            let mut bytes = [0; 4];
            entropy(&mut bytes);
            if let Ok(spi) = Spi::try_from(u32::from_ne_bytes(bytes))
                && self.inbound.insert(spi)
            {
                return Some(spi);
            }
        }
        None
    }

    /// Takes the SPI of an inbound SA that stands already.
    pub(crate) fn take_inbound(&mut self, spi: Spi) {
        self.inbound.insert(spi);
    }

    /// Takes what the peer chose; false if another SA has it.
    pub(crate) fn take_outbound(&mut self, sa: SaId, reqid: Reqid) -> bool {
        if self.outbound.contains_key(&sa) {
            return false;
        }
        self.outbound.insert(sa, reqid);
        true
    }

    /// Gives an inbound SPI back.
    pub(crate) fn free_inbound(&mut self, spi: Spi) {
        self.inbound.remove(&spi);
    }

    /// Gives an outbound one back.
    pub(crate) fn free_outbound(&mut self, sa: SaId) {
        self.outbound.remove(&sa);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_spi_is_reserved_or_given_twice() {
        let mut draws = [255_u32, 256, 256, 257].into_iter();
        let mut entropy = |bytes: &mut [u8]| {
            bytes.copy_from_slice(&draws.next().unwrap().to_ne_bytes());
        };
        let mut spis = Spis::default();
        assert_eq!(spis.fresh(&mut entropy), Spi::try_from(256).ok());
        assert_eq!(spis.fresh(&mut entropy), Spi::try_from(257).ok());
    }

    #[test]
    fn a_stuck_source_of_randomness_ends() {
        let mut spis = Spis::default();
        assert!(spis.fresh(&mut |bytes| bytes.fill(0)).is_none());
    }
}
