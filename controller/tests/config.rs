//! The controller's own configuration.

#[cfg(test)]
mod tests {
    use core::time::Duration;
    use std::fs;
    use std::path::PathBuf;

    use bartizan_controller::config::{Config, ConfigError};
    use bartizan_controller::store::Place;
    use rcgen::{CertificateParams, KeyPair};

    const GOOD: &str = include_str!("../examples/controller.toml");

    #[test]
    fn the_example_is_a_configuration() {
        let folder = Folder::new("example");
        let config = folder.read(GOOD).unwrap();
        assert_eq!(config.listen.port(), 4335);
        assert_eq!(config.identity.node().as_str(), "controller.example");
        assert_eq!(config.nodes.len(), 2);
        assert_eq!(
            (config.lease_cadence, config.lease, config.poll),
            (
                Duration::from_mins(1),
                Duration::from_mins(5),
                Duration::from_secs(30)
            )
        );
        let file = folder.0.join("controller.store");
        assert!(matches!(config.store, Place::File(place) if place == file));
        assert!(config.rest.is_none() && config.makers.is_empty());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let folder = Folder::new("wrong");
        let mut errors = Vec::new();
        for (from, to) in [
            ("listen = ", "listem = "),
            ("[::]:4335", "localhost"),
            ("cadence-seconds = 60", "cadence-seconds = 0"),
            ("cadence-seconds = 60", "cadence-seconds = 84"),
            ("seconds = 300", "seconds = 86401"),
            ("poll-seconds = 30", "poll-seconds = 0"),
            ("gw-b.example", "GW-B"),
            ("key.pem", "certificate.pem"),
            ("\"owner-ca.pem\"", "\"absent.pem\""),
            ("\"owner-ca.pem\"", "\"key.pem\""),
            ("\"certificate.pem\"", "\"owner-ca.pem\""),
            ("state = ", "# state = "),
            (
                "[lease]",
                "[postgresql]\nconnection = \"host=/run\"\n[lease]",
            ),
            (
                "[lease]",
                "[[maker]]\nes384 = \"owner-ca.pem\"\nml-dsa-65 = \"key.pem\"\n[lease]",
            ),
            ("[lease]", "[rest]\nlisten = \"[::1]:1\"\n[lease]"),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let error = folder.read(&GOOD.replacen(from, to, 1)).unwrap_err();
            errors.push(match error {
                ConfigError::Malformed(_) => "malformed",
                ConfigError::Times(_) => "times",
                ConfigError::Lease { .. } => "lease",
                ConfigError::Node { .. } => "node",
                ConfigError::Pem { .. } => "pem",
                ConfigError::Tls(_) => "tls",
                ConfigError::File { .. } => "file",
                ConfigError::Key(_) => "key",
                ConfigError::Place => "place",
                ConfigError::Database(_) => "database",
                ConfigError::Maker(_) => "maker",
                ConfigError::Owner(_) => "owner",
                ConfigError::Attested(_) => "attested",
            });
        }
        let expected = [
            "malformed",
            "malformed",
            "times",
            "lease",
            "lease",
            "times",
            "node",
            "pem",
            "pem",
            "tls",
            "tls",
            "place",
            "place",
            "maker",
            "malformed",
        ];
        assert_eq!(errors, expected);
        let absent = Config::read(&folder.0.join("absent.toml"));
        assert!(matches!(absent, Err(ConfigError::File { .. })));
    }

    #[test]
    fn a_lease_that_would_end_between_two_renewals_is_refused_with_what_to_write() {
        let folder = Folder::new("lease");
        let lease = |cadence: u64, seconds: u64| {
            let text = GOOD.replacen("seconds = 300", &format!("seconds = {seconds}"), 1);
            let cadence = format!("cadence-seconds = {cadence}");
            folder.read(&text.replacen("cadence-seconds = 60", &cadence, 1))
        };
        let refused = lease(60, 215).unwrap_err().to_string();
        assert!(
            refused.contains("lease.seconds = 215: write 216 to 86400"),
            "{refused}"
        );
        assert!(lease(60, 216).is_ok() && lease(1, 4).is_ok() && lease(24_000, 86_400).is_ok());
        assert!(lease(1, 3).is_err());
        let seldom = lease(24_001, 86_400).unwrap_err().to_string();
        assert!(seldom.contains("at most 24000"), "{seldom}");
        assert!(lease(u64::MAX >> 1, 86_400).is_err());
    }

    #[test]
    fn a_database_over_the_network_needs_somebody_to_vouch_for_it() {
        let folder = Folder::new("database");
        let database = "[postgresql]\nconnection = \"host=db.example\"\n[lease]";
        let text = GOOD.replacen("state = ", "# ", 1);
        let text = text.replacen("[lease]", database, 1);
        let refused = folder.read(&text).unwrap_err();
        assert!(matches!(refused, ConfigError::Database(_)), "{refused}");
        let text = text.replacen("[lease]", "anchors = \"owner-ca.pem\"\n[lease]", 1);
        let config = folder.read(&text).unwrap();
        assert!(matches!(config.store, Place::Database(_)));
    }

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("bartizan-config-{name}-{}", std::process::id());
            let folder = std::env::temp_dir().join(name);
            fs::create_dir_all(&folder).unwrap();
            for (name, certificate, key) in [
                ("controller.example", "certificate.pem", "key.pem"),
                ("owner.example", "owner-ca.pem", "owner-key.pem"),
            ] {
                let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
                let pair = KeyPair::generate().unwrap();
                let issued = params.self_signed(&pair).unwrap();
                fs::write(folder.join(certificate), issued.pem()).unwrap();
                fs::write(folder.join(key), pair.serialize_pem()).unwrap();
            }
            Self(folder)
        }

        fn read(&self, text: &str) -> Result<Config, ConfigError> {
            let path = self.0.join("controller.toml");
            fs::write(&path, text).unwrap();
            Config::read(&path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }
}
