//! What the host and a machine say to each other over the machine's second serial line: a line of JSON each.

use std::io::Write;

use serde::{Deserialize, Serialize};

/// To the machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(super) enum Order {
    /// Touch the box: a process outside the appliance extends PCR 11.
    Tamper,
}

/// From the machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(super) enum Word {
    /// PCR 11 is extended.
    Tampered,
    /// An SA went; so many are left in the kernel.
    Associations(usize),
    /// The process that held the keys has ended.
    KeysGone,
}

/// Says it.
///
/// # Panics
/// If the line is gone.
pub(super) fn say(line: &mut impl Write, word: &impl Serialize) {
    let mut text = serde_json::to_string(word).expect("a word is plain data");
    text.push('\n');
    line.write_all(text.as_bytes())
        .expect("a serial line that stands");
}
