//! Evidence through the public door: from what a TPM signed to the verdict.

#[cfg(test)]
mod cli;
#[cfg(test)]
mod event_logs;
#[cfg(test)]
mod ldevid;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod machine;
#[cfg(test)]
mod orders;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod quotes;
#[cfg(test)]
mod references;
#[cfg(test)]
mod structures;
#[cfg(test)]
mod swtpm;
#[cfg(test)]
mod verdicts;
#[cfg(test)]
#[path = "../lease/verifier.rs"]
mod verifier;
