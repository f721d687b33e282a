//! Keys that live as long as a test.

use std::{fs, path::Path, process::Command};

use bartizan_tests::testbed::process::run;

/// Who owns the names in `PK.auth` and its neighbours; any value does.
const OWNER: &str = "5f0f4b9e-7d3b-4f5a-9c50-3c1d3ab1c001";

/// Makes the folder `KEYS` of `image/README.md`, and a stranger's key beside it.
pub(crate) fn make(folder: &Path) {
    fs::create_dir(folder).unwrap();
    let tool = |program: &str| {
        let mut command = Command::new(program);
        command.current_dir(folder);
        command
    };
    for name in ["PK", "KEK", "db", "stranger"] {
        run(tool("openssl")
            .args([
                "req", "-new", "-x509", "-newkey", "rsa:2048", "-sha256", "-nodes",
            ])
            .args(["-days", "3650", "-subj", &format!("/CN=throw-away {name}/")])
            .args(["-keyout", &format!("{name}.key")])
            .args(["-out", &format!("{name}.crt")]));
    }
    run(tool("openssl")
        .args("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out pcr.key".split(' ')));
    run(tool("openssl").args("pkey -in pcr.key -pubout -out pcr.pub".split(' ')));
    for (name, by) in [("PK", "PK"), ("KEK", "PK"), ("db", "KEK")] {
        let list = format!("{name}.esl");
        run(tool("cert-to-efi-sig-list").args(["-g", OWNER, &format!("{name}.crt"), &list]));
        run(tool("sign-efi-sig-list")
            .args([
                "-g",
                OWNER,
                "-k",
                &format!("{by}.key"),
                "-c",
                &format!("{by}.crt"),
            ])
            .args([name, &list, &format!("{name}.auth")]));
    }
}

/// Takes the signature off a PE file and signs it anew, or not.
pub(crate) fn sign_anew(file: &Path, keys: &Path, by: Option<&str>) {
    run(Command::new("sbattach").arg("--remove").arg(file));
    let Some(by) = by else { return };
    run(Command::new("sbsign")
        .arg("--key")
        .arg(keys.join(format!("{by}.key")))
        .arg("--cert")
        .arg(keys.join(format!("{by}.crt")))
        .arg("--output")
        .arg(file)
        .arg(file));
}
