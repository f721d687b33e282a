//! What the kernel says of this process (`/proc/self/status`, `proc_pid_status(5)`).

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::thread::CapabilitySet;

use super::{LockdownError, kernel};

/// The file, open from before the lock-down; read once.
pub(super) struct Status(OwnedFd);

/// What of it counts here.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) threads: u64,
    pub(super) no_new_privs: bool,
    /// A seccomp filter is in force.
    pub(super) filtered: bool,
    inheritable: Option<u64>,
    permitted: Option<u64>,
    effective: Option<u64>,
    /// Empty on a kernel without ambient capabilities.
    ambient: u64,
}

impl Facts {
    /// Says whether the process has exactly the capabilities `kept`, and passes on none.
    pub(super) fn holds_only(&self, kept: CapabilitySet) -> bool {
        let kept = Some(kept.bits());
        self.permitted == kept
            && self.effective == kept
            && self.inheritable == Some(0)
            && self.ambient == 0
    }
}

impl Status {
    pub(super) fn open() -> Result<Self, LockdownError> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::open("/proc/self/status", flags, Mode::empty())
            .map(Self)
            .map_err(kernel("/proc/self/status"))
    }

    /// Reads it as it is at this moment; with no other call than `read`, which every filter permits.
    pub(super) fn read(self) -> Result<Facts, LockdownError> {
        let mut text = Vec::new();
        let mut part = [0; 4096];
        loop {
            let read = rustix::io::read(&self.0, &mut part).map_err(kernel("/proc/self/status"))?;
            match part.get(..read) {
                Some(bytes) if !bytes.is_empty() => text.extend_from_slice(bytes),
                _ => return Ok(parse(&String::from_utf8_lossy(&text))),
            }
        }
    }
}

fn parse(text: &str) -> Facts {
    let mut facts = Facts::default();
    for (name, value) in text.lines().filter_map(|line| line.split_once(":\t")) {
        let set = || u64::from_str_radix(value, 16).ok();
        match name {
            "Threads" => facts.threads = value.parse().unwrap_or_default(),
            "NoNewPrivs" => facts.no_new_privs = value == "1",
            "Seccomp" => facts.filtered = value == "2",
            "CapInh" => facts.inheritable = set(),
            "CapPrm" => facts.permitted = set(),
            "CapEff" => facts.effective = set(),
            "CapAmb" => facts.ambient = set().unwrap_or(u64::MAX),
            _ => {}
        }
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Name:\tx\nThreads:\t1\nCapInh:\t0000000000000000\n\
        CapPrm:\t0000000000001000\nCapEff:\t0000000000001000\nCapBnd:\t000001ffffffffff\n\
        CapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n";

    #[test]
    fn what_the_kernel_says_is_taken_at_its_word() {
        let facts = parse(TEXT);
        assert_eq!(facts.threads, 1);
        assert!(facts.no_new_privs && facts.filtered);
        assert!(facts.holds_only(CapabilitySet::NET_ADMIN));
        assert!(!facts.holds_only(CapabilitySet::empty()));
    }

    #[test]
    fn what_the_kernel_does_not_say_does_not_hold() {
        let facts = parse("");
        assert!(!facts.no_new_privs && !facts.filtered);
        assert!(!facts.holds_only(CapabilitySet::empty()));
    }

    #[test]
    fn an_ambient_capability_is_one_too_many() {
        let facts = parse(&TEXT.replace("CapAmb:\t0000000000000000", "CapAmb:\t0000000000001000"));
        assert!(!facts.holds_only(CapabilitySet::NET_ADMIN));
    }
}
