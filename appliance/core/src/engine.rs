//! Every tunnel and the gate before them.

use bartizan_evidence::cose::KeyError;
use bartizan_model::config::EngineConfig;
use bartizan_model::time::BootTime;

use crate::exchange::{Input, Output, Room};
use crate::lease::{Entropy, Keeper};

/// The engine, without I/O, clock or randomness of its own.
///
/// After every [`Engine::handle`] poll [`Engine::poll_output`] until it says `None`, then wait until
/// [`Engine::deadline`] at most and hand it [`Input::Tick`].
#[derive(Debug)]
pub struct Engine {
    keeper: Keeper,
}

impl Engine {
    /// Starts: asks the kernel which SAs stand, and for a lease.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if a pinned verifier key is none.
    pub fn new(
        config: &EngineConfig,
        now: BootTime,
        entropy: Entropy<'_>,
    ) -> Result<Self, KeyError> {
        Ok(Self {
            keeper: Keeper::new(config, now, entropy)?,
        })
    }

    /// Takes one input, and every deadline that has passed before it.
    pub fn handle(&mut self, now: BootTime, _input: Input, entropy: Entropy<'_>) {
        if self.keeper.nonce_due() <= now {
            self.keeper.renew_nonce(now, entropy);
        }
    }

    /// Gives the next message for a neighbour that can take it.
    pub fn poll_output(&mut self, _now: BootTime, _room: Room) -> Option<Output> {
        None
    }

    /// When [`Input::Tick`] is due at the latest.
    pub fn deadline(&self) -> Option<BootTime> {
        Some(self.keeper.nonce_due())
    }
}
