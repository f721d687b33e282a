//! How many files the controller may have open: each gateway is one.

use bartizan_process::journal::{self, Level};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Fewer than this are not enough for a thousand gateways, those that come anew, operators and a
/// database.
const ENOUGH: u64 = 4096;

/// Takes as many as the service manager lets it have. What programs begin with is 1024, for the sake
/// of those that call `select(2)`; this one does not.
pub(crate) fn raise() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        let words = format_args!("the number of open files stays as it was: {error}");
        journal::log(Level::Warn, words);
    }
    if let Some(most) = limit.maximum.filter(|most| *most < ENOUGH) {
        let words = format_args!("at most {most} open files: {ENOUGH} are for 1000 gateways");
        journal::log(Level::Warn, words);
    }
}
