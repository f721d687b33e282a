//! What is shown while the demonstration runs: one line that changes on a terminal, plain lines
//! elsewhere.

use std::{
    io::{IsTerminal, Write, stderr},
    time::Instant,
};

/// The progress line; on standard error, so that `--json` stays clean.
#[derive(Debug)]
pub(super) struct Progress {
    begin: Instant,
    terminal: bool,
    passing: bool,
}

impl Progress {
    /// Starts the clock.
    pub(super) fn start() -> Self {
        Self {
            begin: Instant::now(),
            terminal: stderr().is_terminal(),
            passing: false,
        }
    }

    /// Tells of a step that stays on the screen.
    pub(super) fn step(&mut self, text: &str) {
        let wipe = if self.passing { "\r\x1b[K" } else { "" };
        self.passing = false;
        Self::write(&format!(
            "{wipe}{:6.1}s  {text}\n",
            self.begin.elapsed().as_secs_f32()
        ));
    }

    /// Shows something that passes; a terminal alone is told.
    pub(super) fn passing(&mut self, text: &str) {
        if self.terminal {
            self.passing = true;
            Self::write(&format!(
                "\r\x1b[K\x1b[2m{:6.1}s  {text}\x1b[0m",
                self.begin.elapsed().as_secs_f32()
            ));
        }
    }

    fn write(text: &str) {
        // Nobody is left to tell when standard error is gone.
        let mut out = stderr();
        if out.write_all(text.as_bytes()).is_ok() {
            out.flush().unwrap_or_default();
        }
    }
}
