//! Manifests through the public door: whose count, what a box takes of them, and where parts are.

#[cfg(test)]
mod signed;
