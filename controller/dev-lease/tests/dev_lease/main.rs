//! What the development signer signs, the gateway's own verifier reads.

#[cfg(test)]
mod signer;
