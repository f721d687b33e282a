//! Leases through the public door: what is read, by whom else, and what is refused.

#[cfg(test)]
mod claims;
#[cfg(test)]
mod envelope;
#[cfg(test)]
mod interop;
#[cfg(test)]
mod verifier;
