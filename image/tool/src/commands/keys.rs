//! `image keys`: every key that an image needs, new. Keys that are there are never touched.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;

use bartizan_signer::Signer;

use crate::arguments::Arguments;
use crate::fault::Fault;
use crate::files::{read, run, write};

/// Makes a folder of keys that only its owner reads.
pub(crate) fn keys(arguments: &Arguments) -> Result<String, Fault> {
    let [folder] = arguments.files()?;
    let shown = folder.display().to_string();
    if folder.exists() {
        return Err(Fault::Exists(shown));
    }
    let make = |path: &std::path::Path| {
        (DirBuilder::new().mode(0o700).create(path)).map_err(|cause| Fault::Write {
            file: path.display().to_string(),
            cause,
        })
    };
    make(folder)?;
    let owner = String::from_utf8_lossy(&read("/proc/sys/kernel/random/uuid".as_ref())?)
        .trim()
        .to_owned();
    for name in ["PK", "KEK", "db"] {
        let (key, certificate) = (format!("{name}.key"), format!("{name}.crt"));
        let subject = format!("/CN=Bartizan {name}/");
        let request = "req -new -x509 -newkey rsa:2048 -sha256 -days 7300 -noenc";
        let mut words: Vec<&str> = request.split(' ').collect();
        words.extend(["-subj", &subject, "-keyout", &key, "-out", &certificate]);
        run("openssl", folder, &words)?;
        let der = format!("{name}.der");
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
    let generate = "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out pcr.key";
    run("openssl", folder, &generate.split(' ').collect::<Vec<_>>())?;
    let public = run("openssl", folder, &["pkey", "-in", "pcr.key", "-pubout"])?;
    write(&folder.join("pcr.pub"), &[&public])?;
    let release = folder.join("release");
    make(&release)?;
    let signer = Signer::generate().map_err(Fault::Keys)?;
    signer.save(&release).map_err(Fault::Keys)?;
    Ok(format!("{shown}\n"))
}
