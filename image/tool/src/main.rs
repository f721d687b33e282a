//! The image tool: from the tree to signed files that may be handed over, and what is in them.
#![forbid(unsafe_code)]

mod arguments;
mod commands;
mod fault;
mod files;

use std::io::Write;
use std::process::ExitCode;

use arguments::Arguments;
use fault::Fault;

const USAGE: &str = "\
usage: image keys [--from KEYS] KEYS
       image build --tree DIR --binaries DIR --configuration DIR --cache DIR --keys KEYS
                   --version VERSION --epoch NUMBER OUT
       image rim --keys KEYS --name NAME BUILT
       image sbom --lock FILE --namespace URI BUILT
       image bundle --keys KEYS --machine NAME --min-version VERSION BUILT BUNDLE
       image verify --keys KEYS BUNDLE
       image inspect --keys KEYS BUNDLE
       image flash --keys KEYS [--enrol KEYS] BUNDLE DISK

KEYS     a folder: PK, KEK, db (.key, .crt, .auth), pcr (.key, .pub), and release/, the keys that
         sign reference values and manifests; `keys` makes it, and refuses one that is there;
         with --from of the keys of another (PK, KEK, db: .key, .crt; pcr.key; release/)
         `verify` needs the public ones alone: db.crt, the .auth, pcr.pub and release/*.pub
BUILT    the folder that `build` wrote; `rim` and `sbom` add rim.cose and sbom.json to it
DISK     a whole disk that nothing uses, or a file of a disk's size; all that is on it is lost.
         With --enrol, a box whose firmware is in setup mode takes PK, KEK and db from it
";

/// sysexits: the command line is wrong.
const USAGE_ERROR: u8 = 64;
/// sysexits: something is not as it must be.
const DATA_ERROR: u8 = 65;

fn main() -> ExitCode {
    match run() {
        Ok(text) => {
            print(&mut std::io::stdout(), &text);
            ExitCode::SUCCESS
        }
        Err(fault) => {
            let mut text = format!("image: {fault}");
            let mut cause = std::error::Error::source(&fault);
            while let Some(error) = cause {
                text.push_str(": ");
                text.push_str(&error.to_string());
                cause = error.source();
            }
            text.push('\n');
            print(&mut std::io::stderr(), &text);
            if matches!(fault, Fault::Usage(_)) {
                USAGE_ERROR.into()
            } else {
                DATA_ERROR.into()
            }
        }
    }
}

fn run() -> Result<String, Fault> {
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let arguments = Arguments::parse(words)?;
    match command.as_str() {
        "keys" => commands::keys(&arguments),
        "build" => commands::build(&arguments),
        "rim" => commands::rim(&arguments),
        "sbom" => commands::sbom(&arguments),
        "bundle" => commands::bundle(&arguments),
        "verify" => commands::verify(&arguments),
        "flash" => commands::flash(&arguments),
        "inspect" => commands::inspect(&arguments),
        _ => Err(Fault::Usage(USAGE.to_owned())),
    }
}

fn print(out: &mut dyn Write, text: &str) {
    // A reader that went away has seen what it wanted.
    let _gone = out.write_all(text.as_bytes());
}
