//! One KME of a pair; see `tests/src/kme/README.md`.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use bartizan_tests::kme::{Door, Form, Groups, Kme, Options, Outages, Pace};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

const USAGE: &str = "usage: kme --listen ADDRESS --name NAME --cert FILE --key FILE \
--client-ca FILE --seed NUMBER [--target NAME] [--rate KEYS-A-SECOND] [--capacity KEYS] \
[--groups hybrid|classical] [--control PATH] [--binary ADDRESS] [--json ADDRESS] \
[--plain-binary ADDRESS] [--plain-json ADDRESS] [--rendezvous FOLDER] [--hops NUMBER] \
[--outage-every SECONDS --outage-lasting SECONDS]";

fn main() -> ExitCode {
    let kme = match options(std::env::args().skip(1))
        .and_then(|options| Kme::start(options).map_err(|error| chain(&error)))
    {
        Ok(kme) => kme,
        Err(error) => {
            // Nobody may read it; the exit code says the same.
            eprintln!("kme: {error}\n{USAGE}");
            return ExitCode::from(64);
        }
    };
    // Whoever asked for port 0 reads the port here; nobody else must.
    println!("listening {}", kme.address());
    for door in kme.doors() {
        println!("listening {door}");
    }
    kme.wait();
    ExitCode::SUCCESS
}

fn options(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut values = BTreeMap::new();
    while let Some(flag) = words.next() {
        let value = words.next().ok_or(format!("{flag} has no value"))?;
        if values.insert(flag.clone(), value).is_some() {
            return Err(format!("{flag} is given twice"));
        }
    }
    let mut take = |flag: &str| values.remove(flag);
    let need = |flag: &str, value: Option<String>| value.ok_or(format!("{flag} is missing"));
    let number =
        |flag: &str, value: String| value.parse().map_err(|_| format!("{flag} takes a number"));
    let name = need("--name", take("--name"))?;
    let mut doors = Vec::new();
    for (flag, form, tls) in [
        ("--binary", Form::Binary, true),
        ("--json", Form::Json, true),
        ("--plain-binary", Form::Binary, false),
        ("--plain-json", Form::Json, false),
    ] {
        if let Some(address) = take(flag) {
            let listen = address
                .parse()
                .map_err(|_| format!("{flag} takes ADDRESS:PORT"))?;
            doors.push(Door { listen, form, tls });
        }
    }
    let outages = match (take("--outage-every"), take("--outage-lasting")) {
        (None, None) => None,
        (Some(every), Some(lasting)) => Some(Outages {
            every: Duration::from_secs(number("--outage-every", every)?),
            lasting: Duration::from_secs(number("--outage-lasting", lasting)?),
            start: SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default(),
        }),
        _ => return Err("--outage-every and --outage-lasting go together".to_owned()),
    };
    let options = Options {
        listen: need("--listen", take("--listen"))?
            .parse()
            .map_err(|_| "--listen takes ADDRESS:PORT")?,
        target: take("--target").unwrap_or_else(|| format!("{name}-target")),
        name,
        chain: certificates(&need("--cert", take("--cert"))?)?,
        key: PrivateKeyDer::from_pem_file(need("--key", take("--key"))?)
            .map_err(|error| format!("--key: {error}"))?,
        client_anchors: certificates(&need("--client-ca", take("--client-ca"))?)?,
        seed: number("--seed", need("--seed", take("--seed"))?)?,
        pace: Pace {
            rate: number("--rate", take("--rate").unwrap_or_else(|| "100".to_owned()))?,
            capacity: number(
                "--capacity",
                take("--capacity").unwrap_or_else(|| "10000".to_owned()),
            )?,
            outages,
        },
        doors,
        rendezvous: take("--rendezvous").map(Into::into),
        hops: u32::try_from(number(
            "--hops",
            take("--hops").unwrap_or_else(|| "0".to_owned()),
        )?)
        .map_err(|_| "--hops takes a small number")?,
        groups: match take("--groups").as_deref() {
            None | Some("hybrid") => Groups::Hybrid,
            Some("classical") => Groups::Classical,
            Some(_) => return Err("--groups takes hybrid or classical".to_owned()),
        },
        control: take("--control").map(Into::into),
    };
    match values.keys().next() {
        Some(flag) => Err(format!("{flag} is not known")),
        None => Ok(options),
    }
}

fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let error = |error| format!("{path}: {error}");
    CertificateDer::pem_file_iter(path)
        .map_err(error)?
        .collect::<Result<_, _>>()
        .map_err(error)
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        None => error.to_string(),
        Some(source) => format!("{error}: {}", chain(source)),
    }
}
