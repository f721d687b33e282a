//! What is left of a key in the process that fetched it: nothing, while its connection stands.

use std::fmt::Write as _;
use std::fs::File;
use std::io::BufRead as _;
use std::os::unix::fs::FileExt as _;

use base64ct::{Base64, Encoding as _};
use rustix::process::Pid;

use crate::link::{KME, Setup};

#[test]
fn no_form_of_a_key_stays_in_the_process_that_fetched_it() {
    let setup = Setup::new();
    let (kme_a, kme_b) = (setup.kme("kme-a"), setup.kme("kme-b"));
    let mut a = setup.gateway("sae-a", &kme_a);
    let mut b = setup.gateway("sae-b", &kme_b);
    let mut forms = Vec::new();
    // Whole, in pieces, in chunks and escaped: each takes another way through the buffers.
    for order in ["honest", "chunked", "escaped", "drip 1", "refuse"] {
        kme_a.order("honest");
        kme_a.order(order);
        if let Ok((name, key)) = a.new_key("sae-b") {
            forms.extend(forms_of(key.expose()));
            let (_, same) = b.same_key("sae-a", name.as_str()).unwrap();
            assert_eq!(key.expose(), same.expose());
        }
    }
    assert_eq!(forms.len(), 4 * FORMS);
    for gateway in [&a, &b] {
        let pid = gateway.role.pid();
        assert!(
            copies(pid, &[format!("{KME}:").into_bytes()]) > 0,
            "the search finds nothing that is there"
        );
        assert_eq!(copies(pid, &forms), 0, "in {pid:?}");
    }
}

const FORMS: usize = 4;

/// The key raw, in hex of either case, and as the KME wrote it. Half of each is enough.
fn forms_of(key: &[u8]) -> [Vec<u8>; FORMS] {
    let hex = key.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
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
fn copies(pid: Pid, patterns: &[Vec<u8>]) -> usize {
    let pid = pid.as_raw_nonzero();
    let memory = File::open(format!("/proc/{pid}/mem")).expect("this test needs root");
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut copies = 0;
    for line in maps.lines() {
        let (range, _) = line.split_once(' ').unwrap();
        let (from, to) = range.split_once('-').unwrap();
        let from = u64::from_str_radix(from, 16).unwrap();
        let to = u64::from_str_radix(to, 16).unwrap();
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
