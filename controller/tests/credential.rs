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
    use bartizan_evidence::structures::{Attributes, Public, endorsement_template};

    use crate::swtpm::Swtpm;

    #[test]
    fn a_tpm_opens_what_was_made_for_its_rsa_key() {
        opens("rsa");
    }

    #[test]
    fn a_tpm_opens_what_was_made_for_its_ecc_key() {
        opens("ecc");
    }

    /// By the template H-3: with SHA-384 and AES-256, and used with its empty authorization.
    #[test]
    fn a_tpm_opens_what_was_made_for_its_p_384_key() {
        opens("ecc384");
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
        let attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign";
        tpm.run(&[
            "tpm2_createprimary",
            "-C",
            "e",
            "-G",
            "ecc256:ecdsa-sha256:null",
            "-a",
            attributes,
            "-c",
            "ak.ctx",
        ]);
        tpm.run(&["tpm2_flushcontext", "-t"]);
        tpm.run(&["tpm2_readpublic", "-c", "ak.ctx", "-o", "ak.pub"]);
        tpm.run(&["tpm2_flushcontext", "-t"]);
        (tpm.public("ek.pub"), tpm.public("ak.pub").name())
    }

    /// What the TPM finds in a credential; `None` if it refuses it.
    fn activate(tpm: &Swtpm, blob: &[u8], secret: &[u8]) -> Option<Vec<u8>> {
        // The file format of tpm2-tools: a magic number, a version, and both structures.
        let header = [0xba, 0xdc, 0xc0, 0xde, 0, 0, 0, 1];
        tpm.write("credential", &[&header, blob, secret].concat());
        let mut command = vec![
            "tpm2_activatecredential",
            "-c",
            "ak.ctx",
            "-C",
            "ek.ctx",
            "-i",
            "credential",
            "-o",
            "opened",
        ];
        // The low templates have their policy alone.
        let endorsement = tpm.public("ek.pub");
        if !endorsement.attributes.contains(Attributes::USER_WITH_AUTH) {
            tpm.run(&["tpm2_startauthsession", "--policy-session", "-S", "session"]);
            tpm.run(&["tpm2_policysecret", "-S", "session", "-c", "e"]);
            command.extend(["-P", "session:session"]);
        }
        tpm.try_run(&command).then(|| tpm.read("opened"))
    }
}
