//! Credentials that are made without a TPM, opened by one (swtpm, through tpm2-tools).

#![cfg_attr(
    test,
    expect(clippy::disallowed_methods, reason = "a test starts other processes")
)]

#[cfg(test)]
mod swtpm;

#[cfg(test)]
mod tests {
    use bartizan_controller::credential::{Protector, make};
    use bartizan_evidence::structures::{Public, endorsement_template};

    use crate::swtpm::Swtpm;

    #[test]
    fn a_tpm_opens_what_was_made_for_its_rsa_key() {
        opens("rsa");
    }

    #[test]
    fn a_tpm_opens_what_was_made_for_its_ecc_key() {
        opens("ecc");
    }

    #[test]
    fn a_tpm_does_not_open_what_was_made_for_another_name() {
        let tpm = Swtpm::start();
        let (endorsement, mut name) = keys(&tpm, "rsa");
        name.0[10] ^= 1;
        let made = make(&Protector::new(&endorsement).unwrap(), &name).unwrap();
        assert_eq!(activate(&tpm, &made.blob, &made.encrypted_secret), None);
    }

    fn opens(algorithm: &str) {
        let tpm = Swtpm::start();
        let (endorsement, name) = keys(&tpm, algorithm);
        assert!(endorsement_template(&endorsement).is_some());
        let made = make(&Protector::new(&endorsement).unwrap(), &name).unwrap();
        let opened = activate(&tpm, &made.blob, &made.encrypted_secret);
        assert_eq!(opened.as_deref(), Some(made.secret.as_slice()));
    }

    /// Makes an endorsement key and an attestation key.
    fn keys(tpm: &Swtpm, algorithm: &str) -> (Public, bartizan_evidence::structures::Name) {
        tpm.run(&[
            "tpm2_createek",
            "-G",
            algorithm,
            "-c",
            "ek.ctx",
            "-u",
            "ek.pub",
        ]);
        tpm.run(&["tpm2_flushcontext", "-t"]);
        tpm.run(&[
            "tpm2_createak",
            "-C",
            "ek.ctx",
            "-c",
            "ak.ctx",
            "-G",
            "ecc",
            "-g",
            "sha256",
            "-s",
            "ecdsa",
            "-u",
            "ak.pub",
        ]);
        tpm.run(&["tpm2_flushcontext", "-t"]);
        (tpm.public("ek.pub"), tpm.public("ak.pub").name())
    }

    /// What the TPM finds in a credential; `None` if it refuses it.
    fn activate(tpm: &Swtpm, blob: &[u8], secret: &[u8]) -> Option<Vec<u8>> {
        // The file format of tpm2-tools: a magic number, a version, and both structures.
        let header = [0xba, 0xdc, 0xc0, 0xde, 0, 0, 0, 1];
        tpm.write("credential", &[&header, blob, secret].concat());
        tpm.run(&["tpm2_startauthsession", "--policy-session", "-S", "session"]);
        tpm.run(&["tpm2_policysecret", "-S", "session", "-c", "e"]);
        let opened = tpm.try_run(&[
            "tpm2_activatecredential",
            "-c",
            "ak.ctx",
            "-C",
            "ek.ctx",
            "-i",
            "credential",
            "-o",
            "opened",
            "-P",
            "session:session",
        ]);
        opened.then(|| tpm.read("opened"))
    }
}
