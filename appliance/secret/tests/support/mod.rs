//! A look at a process from outside: the same test, run again as a child that does one thing and
//! then waits to be looked at.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Set in the child; its value says which part it plays.
const PART: &str = "BARTIZAN_TEST_PART";

/// The bytes that are planted, under a mask, so that looking for them plants none.
const MASKED: [u8; 32] = *b"\x1d\x8fthe-pattern-under-a-mask\xe3\x02\x9b\x44\x71\x5a";
const MASK: u8 = 0xc3;

/// Writes the pattern over `target` again and again.
pub(crate) fn plant(target: &mut [u8]) {
    for (byte, masked) in target.iter_mut().zip(MASKED.iter().cycle()) {
        *byte = masked ^ MASK;
    }
}

/// The part that this process plays, if it is the child.
pub(crate) fn part() -> Option<String> {
    std::env::var(PART).ok()
}

/// Says a word to the parent and waits until it has looked.
pub(crate) fn show(word: &str) {
    println!("\n@{word}");
    std::io::stdout().flush().unwrap();
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
}

/// A child that plays a part of the test of this name.
pub(crate) struct Looked {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Looked {
    pub(crate) fn start(test: &str, part: &str) -> Self {
        Self::spawn(command(test, part))
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            stdin,
            stdout,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the child's next word.
    pub(crate) fn word(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(
                self.stdout.read_line(&mut line).unwrap(),
                0,
                "the child ended early"
            );
            if let Some(word) = line.trim_end().strip_prefix('@') {
                return word.to_owned();
            }
        }
    }

    /// Lets the child go on.
    pub(crate) fn go_on(&mut self) {
        self.stdin.write_all(b"\n").unwrap();
    }

    /// Lets the child go on and waits for its end.
    pub(crate) fn end(mut self) -> std::process::ExitStatus {
        self.go_on();
        self.child.wait().unwrap()
    }
}

/// The command that runs this test again as a child.
#[expect(
    clippy::disallowed_methods,
    reason = "a test of what is seen from outside"
)]
pub(crate) fn command(test: &str, part: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(PART, part);
    command
}

/// Makes the kernel answer as one that has no `memfd_secret`.
pub(crate) fn refuse_memfd_secret() {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter_all_threads};
    const ENOSYS: u32 = 38;
    let filter = SeccompFilter::new(
        [(libc::SYS_memfd_secret, Vec::new())].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(ENOSYS),
        std::env::consts::ARCH.try_into().unwrap(),
    );
    apply_filter_all_threads(&BpfProgram::try_from(filter.unwrap()).unwrap()).unwrap();
}

/// Where a pattern was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Copies by the name and the flags of the mapping that holds them.
    pub(crate) copies: BTreeMap<String, usize>,
}

impl Found {
    pub(crate) fn in_all(&self) -> usize {
        self.copies.values().sum()
    }
}

/// Looks for the pattern in every readable byte of a process.
pub(crate) fn scan(pid: u32) -> Found {
    scan_for(pid, &pattern())
}

/// Looks for other bytes in every readable byte of a process.
pub(crate) fn scan_for(pid: u32, secret: &[u8]) -> Found {
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut found = Found::default();
    let mut read_any = false;
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (from, to) = fields.next().unwrap().split_once('-').unwrap();
        let from = u64::from_str_radix(from, 16).unwrap();
        let to = u64::from_str_radix(to, 16).unwrap();
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        // Guard pages, vvar and memfd_secret refuse; whatever can be read is looked at.
        if memory.read_exact_at(&mut bytes, from).is_ok() {
            read_any = true;
            let count = count(&bytes, secret);
            if count > 0 {
                *found.copies.entry(line.to_owned()).or_default() += count;
            }
        }
    }
    assert!(read_any, "nothing of the process could be read");
    found
}

/// The pattern itself.
pub(crate) fn pattern() -> Vec<u8> {
    MASKED.iter().map(|byte| byte ^ MASK).collect()
}

/// Counts a secret in some bytes: raw, and in hex of either case.
pub(crate) fn count(bytes: &[u8], secret: &[u8]) -> usize {
    let hex = hex(secret);
    let upper = hex.to_uppercase();
    let needles = [secret, hex.as_bytes(), upper.as_bytes()];
    let first = needles.map(|needle| needle[0]);
    let mut copies = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if first.contains(byte) {
            copies += needles
                .iter()
                .filter(|needle| bytes[at..].starts_with(needle))
                .count();
        }
    }
    copies
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
