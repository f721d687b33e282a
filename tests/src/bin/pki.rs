//! Makes a test PKI: `pki DIR [--controller NAME] [--gateway NODE=SAE]... [--kme NAME]...`.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

use bartizan_tests::pki::Pki;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let Some(directory) = words.next() else {
        return usage();
    };
    let pki = Pki::create(Path::new(&directory));
    while let Some(flag) = words.next() {
        let Some(name) = words.next() else {
            return usage();
        };
        let made = match (flag.as_str(), name.split_once('=')) {
            ("--controller", None) => pki.controller(&name),
            ("--kme", None) => pki.kme(&name),
            ("--gateway", Some((node, sae))) => pki.gateway(node, sae),
            _ => return usage(),
        };
        println!("{}", made.display());
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("usage: pki DIR [--controller NAME] [--gateway NODE=SAE]... [--kme NAME]...");
    ExitCode::from(64)
}
