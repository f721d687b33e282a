//! How far it is: a bar where somebody looks on, a line for each tenth elsewhere.

use std::io::{IsTerminal as _, Write as _, stderr};

use bartizan_image::flash::Progress;

pub(super) struct Shown {
    all: u64,
    bar: bool,
    last: Option<(&'static str, u64)>,
}

const WIDTH: usize = 40;

impl Shown {
    pub(super) fn new(all: u64) -> Self {
        Self {
            all,
            bar: stderr().is_terminal(),
            last: None,
        }
    }

    pub(super) fn show(&mut self, progress: Progress) {
        let (what, done) = match progress {
            Progress::Written(done) => ("written", done),
            Progress::ReadBack(done) => ("read back", done),
        };
        let percent = done
            .saturating_mul(100)
            .checked_div(self.all)
            .unwrap_or(100);
        let step = if self.bar { 1 } else { 10 };
        let over = percent.checked_rem(step).unwrap_or_default();
        let now = (what, percent.saturating_sub(over));
        if self.last == Some(now) {
            return;
        }
        self.last = Some(now);
        let (_, percent) = now;
        // Whoever does not listen has the result in the end.
        let _unheard = if self.bar {
            let full = usize::try_from(percent).unwrap_or_default();
            let full = full.saturating_mul(WIDTH).checked_div(100).unwrap_or(WIDTH);
            let bar = "#".repeat(full);
            write!(stderr(), "\r[{bar:<WIDTH$}] {percent:>3} % {what:<9}")
        } else {
            writeln!(stderr(), "{percent} % {what}")
        };
    }

    pub(super) fn end(&self) {
        if self.bar && self.last.is_some() {
            let _unheard = writeln!(stderr());
        }
    }
}
