//! PID 1 of every guest.
#![forbid(unsafe_code)]

fn main() {
    bartizan_tests::testbed::guest::init();
}
