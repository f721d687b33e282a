//! Flashing to media that fail, lie and lose their power.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "an overflow fails the test, as it should"
)]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;

use bartizan_image::flash::{CHUNK, FlashError, Piece, Plan, Region, Target, write};

const SIZE: usize = 6 * CHUNK;
const OLD: u8 = 0xaa;
const NEW: u8 = 0x55;

/// A disk with a cache that counts in chunks: what was not flushed may be lost when the power goes.
#[derive(Default)]
struct Medium {
    /// A byte for each chunk: what it is filled with; `OLD` where nothing was written.
    kept: BTreeMap<u64, u8>,
    cache: BTreeMap<u64, u8>,
    writes: usize,
    fails: Option<(usize, i32)>,
    /// The chunk that keeps what it had, whatever is written there.
    stuck: Option<u64>,
}

impl Medium {
    /// What is there after a loss of power that kept those of the cached writes that `keeps` says.
    fn after_cut(&self, keeps: impl Fn(u64) -> bool) -> BTreeMap<u64, u8> {
        let mut kept = self.kept.clone();
        kept.extend(self.cache.iter().filter(|(at, _)| keeps(**at)));
        kept
    }
}

impl Target for Medium {
    fn read(&mut self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let found = self.cache.get(&offset).or_else(|| self.kept.get(&offset));
        into.fill(*found.unwrap_or(&OLD));
        Ok(())
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if let Some((at, errno)) = self.fails
            && self.writes >= at
        {
            return Err(io::Error::from_raw_os_error(errno));
        }
        self.writes += 1;
        if self.stuck != Some(offset) {
            self.cache.insert(offset, bytes[0]);
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.kept.append(&mut self.cache);
        Ok(())
    }
}

/// A table before and one behind three chunks of contents.
fn plan() -> Plan<'static> {
    let piece = |region, at: usize, chunks: usize, byte| Piece {
        region,
        offset: u64::try_from(at * CHUNK).unwrap(),
        bytes: Cow::Owned(vec![byte; chunks * CHUNK]),
    };
    let last = SIZE / CHUNK - 1;
    Plan {
        no_table: vec![
            piece(Region::NoTable, 0, 1, 0),
            piece(Region::NoTable, last, 1, 0),
        ],
        contents: vec![
            piece(Region::SystemPartition, 1, 1, NEW),
            piece(Region::Root, 2, 2, NEW),
        ],
        table: vec![
            piece(Region::Table, last, 1, NEW),
            piece(Region::Table, 0, 1, NEW),
        ],
    }
}

fn run(medium: &mut Medium) -> Result<(u64, u64), FlashError> {
    let done = write(&plan(), medium, &mut |_| ())?;
    Ok((done.written, done.kept))
}

#[test]
fn no_cut_of_the_power_leaves_a_table_over_other_contents() {
    let chunk = |at: usize| u64::try_from(at * CHUNK).unwrap();
    let (tables, contents) = ([chunk(0), chunk(5)], [chunk(1), chunk(2), chunk(3)]);
    let (mut old, mut none) = (0, 0);
    for cut in 0..7 {
        for kept in 0_u32..64 {
            let mut medium = Medium {
                fails: Some((cut, 5)),
                ..Medium::default()
            };
            run(&mut medium).unwrap_err();
            let chunks = medium.after_cut(|at| kept >> (at / chunk(1)) & 1 == 1);
            let filled = |at: &u64| *chunks.get(at).unwrap_or(&OLD);
            for table in tables.iter().map(filled) {
                match table {
                    OLD => assert!(contents.iter().all(|at| filled(at) == OLD), "{cut} {kept}"),
                    NEW => assert!(contents.iter().all(|at| filled(at) == NEW), "{cut} {kept}"),
                    _ => none += 1,
                }
                old += u32::from(table == OLD);
            }
        }
    }
    assert!(old > 0 && none > 0, "both were met: {old} {none}");
}

#[test]
fn a_flash_that_broke_off_goes_on_where_it_was() {
    let chunk = u64::try_from(CHUNK).unwrap();
    let mut whole = Medium::default();
    assert_eq!(run(&mut whole).unwrap(), (7 * chunk, 0));
    let mut medium = Medium {
        fails: Some((4, 5)),
        ..Medium::default()
    };
    run(&mut medium).unwrap_err();
    medium.fails = None;
    // Both places of the table and two chunks of the contents stand.
    assert_eq!(run(&mut medium).unwrap(), (3 * chunk, 4 * chunk));
    assert_eq!(medium.kept, whole.kept);
}

#[test]
fn a_disk_that_fails_is_told_and_has_no_table() {
    for (errno, told) in [
        (5, "failing"),
        (6, "gone"),
        (19, "gone"),
        (28, "no more room"),
    ] {
        let mut medium = Medium {
            fails: Some((3, errno)),
            ..Medium::default()
        };
        let error = run(&mut medium).unwrap_err().to_string();
        assert!(error.contains("the root at byte 2097152"), "{error}");
        assert!(error.contains(told), "{error}");
        assert_eq!(medium.kept.get(&0), Some(&0));
    }
}

#[test]
fn a_disk_that_says_yes_and_keeps_something_else_is_found_out() {
    let chunk = u64::try_from(CHUNK).unwrap();
    for (stuck, region) in [(3, Region::Root), (1, Region::SystemPartition)] {
        let mut medium = Medium {
            stuck: Some(stuck * chunk),
            ..Medium::default()
        };
        let error = run(&mut medium).unwrap_err();
        assert!(
            matches!(error, FlashError::ReadBack { region: of, offset } if of == region && offset == stuck * chunk),
            "{error}"
        );
        assert_eq!(medium.kept.get(&0), Some(&0), "no table");
    }
}
