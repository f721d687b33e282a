//! A guest's clock that is wrong, while its owner's is right: a kernel has one for all, so the owner's programs are
//! shown another by libfaketime.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};

const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// How far the owner's programs are ahead of the guest's clock.
#[derive(Debug)]
pub struct OwnersClock(PathBuf);

impl OwnersClock {
    /// Keeps what it says in a file of that name.
    ///
    /// # Panics
    /// If libfaketime is missing.
    pub fn new(file: &Path) -> Self {
        assert!(Path::new(LIBRARY).exists(), "no {LIBRARY}: libfaketime");
        let clock = Self(file.to_owned());
        clock.write(0);
        clock
    }

    /// What a program of the owner's is started with.
    pub fn environment(&self) -> Vec<(String, String)> {
        let of = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        vec![
            of("LD_PRELOAD", LIBRARY),
            of("FAKETIME_TIMESTAMP_FILE", &self.0.display().to_string()),
            of("FAKETIME_NO_CACHE", "1"),
            of("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            of("NO_FAKE_STAT", "1"),
        ]
    }

    /// Sets the guest's clock to so many seconds since 1970; the owner's goes on. None of its programs may run.
    ///
    /// # Panics
    /// If the kernel does not take it.
    pub fn set_guests(&self, to: i64) {
        let now = clock_gettime(ClockId::Realtime);
        let then = Timespec { tv_sec: to, ..now };
        clock_settime(ClockId::Realtime, then).expect("set the clock");
        self.write(self.read() + now.tv_sec - to);
    }

    fn read(&self) -> i64 {
        let text = fs::read_to_string(&self.0).expect("read the owner's clock");
        text.trim().parse().expect("an offset")
    }

    fn write(&self, ahead: i64) {
        fs::write(&self.0, format!("{ahead:+}\n")).expect("write the owner's clock");
    }
}
