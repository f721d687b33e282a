//! What can be found in the memory of a process.

use std::{fmt::Write as _, fs::File, io::BufRead as _, os::unix::fs::FileExt as _};

use base64ct::{Base64, Encoding as _};
use rustix::process::Pid;

/// How many forms of a secret are looked for.
pub const FORMS: usize = 4;

/// A key raw, in hex of either case, and in base64. Half of each is enough.
pub fn forms_of(key: &[u8]) -> [Vec<u8>; FORMS] {
    let hex = key.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("what the kernel writes");
        hex
    });
    let forms = [
        key.to_vec(),
        hex.clone().into_bytes(),
        hex.to_uppercase().into_bytes(),
        Base64::encode_string(key).into_bytes(),
    ];
    forms.map(|mut form| {
        form.truncate(form.len() / 2);
        form
    })
}

/// How often any of the patterns stands in the memory of a process.
///
/// # Panics
/// If this is not root.
pub fn copies(pid: Pid, patterns: &[Vec<u8>]) -> usize {
    let pid = pid.as_raw_nonzero();
    let memory = File::open(format!("/proc/{pid}/mem")).expect("this test needs root");
    let maps =
        std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("what the kernel writes");
    let mut copies = 0;
    for line in maps.lines() {
        let (range, _) = line.split_once(' ').expect("what the kernel writes");
        let (from, to) = range.split_once('-').expect("what the kernel writes");
        let from = u64::from_str_radix(from, 16).expect("what the kernel writes");
        let to = u64::from_str_radix(to, 16).expect("what the kernel writes");
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        // Guard pages, vvar and secret memory refuse; whatever can be read is looked at.
        if memory.read_exact_at(&mut bytes, from).is_ok() {
            copies += patterns
                .iter()
                .map(|pattern| count(&bytes, pattern))
                .sum::<usize>();
        }
    }
    copies
}

fn count(mut bytes: &[u8], pattern: &[u8]) -> usize {
    let mut copies = 0;
    // The library's own search for a byte is quick, also in a test that is not optimized.
    while let Ok(1..) = bytes.skip_until(pattern[0]) {
        copies += usize::from(bytes.starts_with(&pattern[1..]));
    }
    copies
}
