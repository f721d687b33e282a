//! Randomness from the kernel.

use bartizan_process::Fault;
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

/// The kernel's generator, for a caller that cannot be told that it failed: [`Entropy::check`]
/// tells, before anything made of it leaves the process.
#[derive(Debug, Default)]
pub(crate) struct Entropy {
    failed: Option<Errno>,
}

impl Entropy {
    /// Fills `bytes`; waits in early boot until the generator is seeded.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            match getrandom(&mut *rest, GetRandomFlags::empty()) {
                Ok(filled) => rest = rest.get_mut(filled..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(errno) => {
                    self.failed = Some(errno);
                    return;
                }
            }
        }
    }

    /// Says whether every byte so far was random.
    ///
    /// # Errors
    ///
    /// [`Fault`] if one was not.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        match self.failed {
            None => Ok(()),
            Some(errno) => Err(Fault::os("the kernel gives no randomness", errno)),
        }
    }
}

#[cfg(test)]
impl Entropy {
    /// One that has failed.
    pub(crate) fn broken() -> Self {
        Self {
            failed: Some(Errno::NOSYS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_byte_is_filled_however_many() {
        let mut entropy = Entropy::default();
        let mut seen = BTreeSet::new();
        // The kernel gives at most 2^25 - 1 bytes a call, and may be interrupted beyond 256.
        for len in [0, 1, 32, 64, 257, 100_000] {
            let mut bytes = vec![0; len];
            entropy.fill(&mut bytes);
            for chunk in bytes.chunks_exact(32) {
                assert!(seen.insert(chunk.to_vec()));
            }
        }
        assert!(entropy.check().is_ok());
    }

    #[test]
    fn a_failure_is_not_forgotten() {
        let mut entropy = Entropy::broken();
        entropy.fill(&mut [0; 32]);
        assert!(entropy.check().is_err());
    }
}
