//! `image keys`: every key that an image needs, new or taken over. Keys that are there are never
//! touched.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use bartizan_evidence::pcr_key::PcrSigningKey;
use bartizan_signer::Signer;

use crate::arguments::Arguments;
use crate::fault::Fault;
use crate::files::{read, run, write};

/// Makes a folder of keys that only its owner reads. With `--from`, those that are in another folder
/// are taken, all or none of a kind; what is derived of them is made anew.
pub(crate) fn keys(arguments: &Arguments) -> Result<String, Fault> {
    let [folder] = arguments.files()?;
    let shown = folder.display().to_string();
    if folder.exists() {
        return Err(Fault::Exists(shown));
    }
    let from = arguments.optional("--from").map(Path::new);
    make_folder(folder)?;
    let owner = String::from_utf8_lossy(&read("/proc/sys/kernel/random/uuid".as_ref())?)
        .trim()
        .to_owned();
    for name in ["PK", "KEK", "db"] {
        match from {
            Some(from) => take(from, folder, name)?,
            None => make(folder, name)?,
        }
        let (certificate, der) = (format!("{name}.crt"), format!("{name}.der"));
        let words = ["x509", "-in", &certificate, "-outform", "DER", "-out", &der];
        run("openssl", folder, &words)?;
        let list = format!("{name}.esl");
        let words = ["--owner", &owner, "--type", "x509", "--output", &list, &der];
        run("sbsiglist", folder, &words)?;
    }
    // PK vouches for itself and for KEK, and KEK for db.
    for (name, by) in [("PK", "PK"), ("KEK", "PK"), ("db", "KEK")] {
        let (key, certificate) = (format!("{by}.key"), format!("{by}.crt"));
        let (list, signed) = (format!("{name}.esl"), format!("{name}.auth"));
        let words = [
            "--key",
            &key,
            "--cert",
            &certificate,
            "--output",
            &signed,
            name,
            &list,
        ];
        run("sbvarsign", folder, &words)?;
    }
    if let Some(from) = from {
        copy(from, folder, PCR_KEY)?;
    } else {
        let generate = "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out pcr.key";
        run("openssl", folder, &generate.split(' ').collect::<Vec<_>>())?;
    }
    let public = run("openssl", folder, &["pkey", "-in", PCR_KEY, "-pubout"])?;
    PcrSigningKey::from_pem(&public).map_err(Fault::PcrKey)?;
    write(&folder.join("pcr.pub"), &[&public])?;
    let release = folder.join("release");
    make_folder(&release)?;
    let signer = match from {
        Some(from) => Signer::load(&from.join("release")),
        None => Signer::generate(),
    };
    let signer = signer.map_err(Fault::Keys)?;
    signer.save(&release).map_err(Fault::Keys)?;
    Ok(format!("{shown}\n"))
}

const PCR_KEY: &str = "pcr.key";

fn make_folder(path: &Path) -> Result<(), Fault> {
    (DirBuilder::new().mode(0o700).create(path)).map_err(|cause| Fault::Write {
        file: path.display().to_string(),
        cause,
    })
}

/// A new key with a certificate of its own.
fn make(folder: &Path, name: &str) -> Result<(), Fault> {
    let (key, certificate) = (format!("{name}.key"), format!("{name}.crt"));
    let subject = format!("/CN=Bartizan {name}/");
    let request = "req -new -x509 -newkey rsa:2048 -sha256 -days 7300 -noenc";
    let mut words: Vec<&str> = request.split(' ').collect();
    words.extend(["-subj", &subject, "-keyout", &key, "-out", &certificate]);
    run("openssl", folder, &words).map(|_said| ())
}

/// A key that is there, if the certificate beside it is of this key, and both are what firmware takes.
fn take(from: &Path, folder: &Path, name: &str) -> Result<(), Fault> {
    let (key, certificate) = (format!("{name}.key"), format!("{name}.crt"));
    copy(from, folder, &key)?;
    copy(from, folder, &certificate)?;
    let of_key = run("openssl", folder, &["pkey", "-in", &key, "-pubout"])?;
    let words = ["x509", "-in", &certificate, "-noout", "-pubkey"];
    let of_certificate = run("openssl", folder, &words)?;
    if of_key != of_certificate {
        return Err(Fault::Value("the certificate of an existing key"));
    }
    let words = ["x509", "-in", &certificate, "-noout", "-text"];
    let text = run("openssl", folder, &words)?;
    let text = String::from_utf8_lossy(&text);
    if text.contains("Public Key Algorithm: rsaEncryption") && text.contains("(2048 bit)") {
        Ok(())
    } else {
        Err(Fault::Value("an existing key, which is not RSA-2048,"))
    }
}

/// Copies a file that only its owner reads.
fn copy(from: &Path, folder: &Path, name: &str) -> Result<(), Fault> {
    let bytes = read(&from.join(name))?;
    let file = folder.join(name);
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(0o600);
    let written = options
        .open(&file)
        .and_then(|mut out| out.write_all(&bytes));
    written.map_err(|cause| Fault::Write {
        file: file.display().to_string(),
        cause,
    })
}
