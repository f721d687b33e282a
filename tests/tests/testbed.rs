//! The testbed itself: each property that the other tests rest on.

use std::{process::Command, time::Duration};

use bartizan_tests::{
    in_guest,
    testbed::{
        boot::{Boot, Clock},
        process::run,
    },
};

#[test]
fn a_guest_runs_the_test_that_booted_it() {
    in_guest!(Boot::uml(), || {
        assert_eq!(run(Command::new("id").arg("-u")), "0\n");
    });
}

#[test]
fn a_vm_has_landlock_and_secret_memory() {
    in_guest!(Boot::vm(), || {
        let modules = std::fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
        println!("lsm {modules}");
    });
}

#[test]
fn virtual_time_passes_an_hour_in_no_time() {
    let boot = Boot::uml()
        .clock(Clock::Virtual)
        .limit(Duration::from_secs(30));
    in_guest!(boot, || {
        std::thread::sleep(Duration::from_hours(1));
    });
}
