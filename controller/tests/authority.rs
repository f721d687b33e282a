//! The owner's CA: what it certifies, and by which keys.

#![cfg_attr(
    test,
    expect(clippy::disallowed_methods, reason = "a test starts other processes")
)]

#[cfg(test)]
mod tests {
    use core::time::Duration;
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::sync::atomic::{AtomicU32, Ordering};

    use bartizan_controller::authority::{Authority, AuthorityError, CaKey, Subject, TokenKey};
    use bartizan_controller::chains::{ChainError, Roots, Usage};
    use bartizan_evidence::lease::OwnerTime;
    use bartizan_model::config::Der;
    use bartizan_model::ids::{NodeId, SaeId};
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair,
        PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PublicKeyData as _, SignatureAlgorithm,
    };

    const NOW: OwnerTime = OwnerTime(1_800_000_000);
    const DAY: Duration = Duration::from_hours(24);

    #[test]
    fn a_certificate_of_either_curve_leads_to_its_ca_for_a_day() {
        for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384] {
            let ca = ca(algorithm);
            let authority = of_file(&ca);
            let roots = Roots::new(&[Der(ca.der().to_vec())]).unwrap();
            let key = key();
            let issued = authority
                .certify(Subject::Node(&node()), &key, NOW, DAY)
                .unwrap();
            let check = |at| roots.check(&issued.chain, Usage::Device, OwnerTime(at));
            assert_eq!(check(NOW.0).unwrap(), key);
            assert_eq!(check(NOW.0 + 86_399).unwrap(), key);
            assert!(matches!(check(NOW.0 + 86_401), Err(ChainError::Path(_))));
            assert!(matches!(check(NOW.0 - 301), Err(ChainError::Path(_))));
        }
    }

    #[test]
    fn another_ca_s_certificate_leads_nowhere() {
        let (ca, other) = (ca(&PKCS_ECDSA_P384_SHA384), ca(&PKCS_ECDSA_P384_SHA384));
        let roots = Roots::new(&[Der(other.der().to_vec())]).unwrap();
        let issued = of_file(&ca).certify(Subject::Node(&node()), &key(), NOW, DAY);
        let checked = roots.check(&issued.unwrap().chain, Usage::Device, NOW);
        assert!(matches!(checked, Err(ChainError::Path(_))), "{checked:?}");
    }

    #[test]
    fn what_is_no_endorsement_certificate_is_not_taken_for_one() {
        let ca = ca(&PKCS_ECDSA_P384_SHA384);
        let roots = Roots::new(&[Der(ca.der().to_vec())]).unwrap();
        let issued = of_file(&ca).certify(Subject::Node(&node()), &key(), NOW, DAY);
        let checked = roots.check(&issued.unwrap().chain, Usage::Endorsement, NOW);
        assert!(matches!(checked, Err(ChainError::Usage)), "{checked:?}");
    }

    #[test]
    fn a_gateway_s_certificate_names_it_and_an_sae_s_does_not() {
        let authority = of_file(&ca(&PKCS_ECDSA_P384_SHA384));
        let node = node();
        let chain = authority.certify(Subject::Node(&node), &key(), NOW, DAY);
        let named = |chain: &[Der]| {
            let chain: Vec<_> = chain.iter().map(|der| der.0.clone().into()).collect();
            bartizan_tls::peer_node(&chain)
        };
        assert_eq!(named(&chain.unwrap().chain).unwrap(), node);
        let sae = SaeId::try_from("SAE_A~1").unwrap();
        let chain = authority.certify(Subject::Sae(&sae), &key(), NOW, DAY);
        assert!(named(&chain.unwrap().chain).is_err());
    }

    #[test]
    fn only_p_256_keys_are_certified() {
        let authority = of_file(&ca(&PKCS_ECDSA_P384_SHA384));
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        let key = key.subject_public_key_info();
        let refused = authority.certify(Subject::Node(&node()), &key, NOW, DAY);
        assert!(matches!(refused, Err(AuthorityError::Subject)));
    }

    #[test]
    fn a_key_that_is_not_the_ca_s_is_refused() {
        let (ca, other) = (ca(&PKCS_ECDSA_P384_SHA384), ca(&PKCS_ECDSA_P384_SHA384));
        let certificate = Der(ca.der().to_vec());
        let key = Authority::file_key(&certificate, &other.key().serialize_der()).unwrap();
        let refused = Authority::new(&[certificate], key);
        assert!(matches!(refused, Err(AuthorityError::OtherKey)));
    }

    /// `SoftHSM`: the key is put into the token by its own tool and used through PKCS#11.
    #[test]
    fn a_key_in_a_token_certifies_like_one_in_a_file() {
        // The library finds its tokens by its environment alone, so this runs in a process of its own.
        let Some(folder) = std::env::var_os(TOKEN) else {
            let token = Token::new();
            let this = "tests::a_key_in_a_token_certifies_like_one_in_a_file";
            let output = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", this, "--nocapture"])
                .env(TOKEN, &token.0)
                .env("SOFTHSM2_CONF", config(&token.0))
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            return;
        };
        let ca = ca(&PKCS_ECDSA_P384_SHA384);
        import(Path::new(&folder), &ca);
        let certificate = Der(ca.der().to_vec());
        let key = TokenKey::open(Path::new(MODULE), "owner", "ca", "1234").unwrap();
        let authority =
            Authority::new(std::slice::from_ref(&certificate), CaKey::Token(key)).unwrap();
        let roots = Roots::new(&[certificate]).unwrap();
        let key = self::key();
        let issued = authority
            .certify(Subject::Node(&node()), &key, NOW, DAY)
            .unwrap();
        let checked = roots.check(&issued.chain, Usage::Device, NOW);
        assert_eq!(checked.unwrap(), key);
    }

    /// The variable that tells the second process where its token is.
    const TOKEN: &str = "BARTIZAN_TEST_TOKEN";

    const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

    /// A `SoftHSM` of this process alone.
    struct Token(PathBuf);

    impl Token {
        fn new() -> Self {
            let folder = folder();
            fs::create_dir_all(folder.join("tokens")).unwrap();
            let tokens = folder.join("tokens");
            let lines = format!("directories.tokendir = {}\n", tokens.display());
            fs::write(config(&folder), lines).unwrap();
            let label = ["--label", "owner", "--so-pin", "1234"];
            util(&folder, &[&["--init-token", "--free"], &label[..]].concat());
            Self(folder)
        }
    }

    fn config(folder: &Path) -> PathBuf {
        folder.join("softhsm2.conf")
    }

    fn import(folder: &Path, ca: &CertifiedIssuer<'static, KeyPair>) {
        let key = folder.join("key.pem");
        fs::write(&key, ca.key().serialize_pem()).unwrap();
        let key = key.to_str().unwrap();
        let what = ["--import", key, "--token", "owner"];
        util(
            folder,
            &[&what[..], &["--label", "ca", "--id", "01"]].concat(),
        );
    }

    fn util(folder: &Path, arguments: &[&str]) {
        let output = Command::new("softhsm2-util")
            .args(arguments)
            .args(["--pin", "1234"])
            .env("SOFTHSM2_CONF", config(folder))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    impl Drop for Token {
        fn drop(&mut self) {
            let _nobody_minds = fs::remove_dir_all(&self.0);
        }
    }

    fn folder() -> PathBuf {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("bartizan-authority-{}-{number}", std::process::id());
        std::env::temp_dir().join(name)
    }

    fn ca(algorithm: &'static SignatureAlgorithm) -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "an owner");
        let key = KeyPair::generate_for(algorithm).unwrap();
        CertifiedIssuer::self_signed(params, key).unwrap()
    }

    fn of_file(ca: &CertifiedIssuer<'static, KeyPair>) -> Authority {
        let certificate = Der(ca.der().to_vec());
        let key = Authority::file_key(&certificate, &ca.key().serialize_der()).unwrap();
        Authority::new(&[certificate], key).unwrap()
    }

    fn key() -> Vec<u8> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        key.subject_public_key_info()
    }

    fn node() -> NodeId {
        NodeId::try_from("gw-a.example").unwrap()
    }
}
