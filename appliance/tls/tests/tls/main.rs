//! Whole handshakes over loopback, with the key behind a tpm edge.

#[cfg(test)]
mod clock;
#[cfg(test)]
mod handshake;
#[cfg(test)]
mod parties;
#[cfg(test)]
mod registrar;
#[cfg(test)]
mod renewal;
#[cfg(test)]
mod signer;
