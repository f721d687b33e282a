//! `demo [--json]`: see `./demo`, which builds what this needs and gives it namespaces of its own.
#![forbid(unsafe_code)]

use std::{io::IsTerminal, process::ExitCode};

use bartizan_tests::{demo::play, testbed::netns::ip_batch};
use rustix::mount::{MountFlags, mount};

fn main() -> ExitCode {
    let mut json = false;
    for word in std::env::args().skip(1) {
        if word != "--json" {
            eprintln!("usage: ./demo [--json]");
            return ExitCode::from(64);
        }
        json = true;
    }
    // `./demo` has unshared what this hides: names of namespaces, files that a broken run leaves. The machines see
    // /mnt through 9p; /tmp and /run they have of their own.
    let flags = MountFlags::empty();
    std::fs::create_dir_all("/run/netns").expect("make /run/netns");
    for folder in ["/run/netns", "/tmp", "/mnt"] {
        mount("tmpfs", folder, "tmpfs", flags, c"mode=1777").expect("mount a folder of our own");
    }
    ip_batch(&[], &["link set lo up"]);
    let report = play("/mnt/site".as_ref());
    if json {
        let text = serde_json::to_string_pretty(&report).expect("a report is plain data");
        println!("{text}");
    } else {
        println!("\n{}", report.table(std::io::stdout().is_terminal()));
    }
    if report.holds() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
