//! What the verifier's keys sign, gateways read.
#![cfg(test)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use bartizan_evidence::cose::VerifierKeys;
use bartizan_evidence::lease::{self, Claims, OwnerTime, Status};
use bartizan_model::ids::{NodeId, Nonce, Thumbprint};
use bartizan_signer::{Signer, SignerError, public_keys};

#[test]
fn what_is_signed_verifies_under_these_keys_alone() {
    let signer = Signer::generate().unwrap();

    let bytes = signer.sign(&claims().encode()).unwrap();

    assert_eq!(lease::verify(&bytes, &pinned(&signer)).unwrap(), claims());
    let other = Signer::generate().unwrap();
    assert!(lease::verify(&bytes, &pinned(&other)).is_err());
}

#[test]
fn saved_keys_are_the_same_keys_and_private() {
    let directory = fresh_directory("saved");
    let signer = Signer::generate().unwrap();

    signer.save(&directory).unwrap();
    let loaded = Signer::load(&directory).unwrap();

    assert_eq!(loaded.public_keys(), signer.public_keys());
    assert_eq!(public_keys(&directory).unwrap(), signer.public_keys());
    let bytes = loaded.sign(&claims().encode()).unwrap();
    assert!(lease::verify(&bytes, &pinned(&signer)).is_ok());
    for entry in fs::read_dir(&directory).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let again = Signer::generate().unwrap().save(&directory);
    assert!(matches!(again, Err(SignerError::File(_))));
}

#[test]
fn a_damaged_or_missing_key_file_is_refused() {
    let directory = fresh_directory("damaged");
    assert!(matches!(
        Signer::load(&directory),
        Err(SignerError::File(_))
    ));

    Signer::generate().unwrap().save(&directory).unwrap();
    fs::write(directory.join("ml-dsa-65.p8"), b"not a key").unwrap();
    assert!(matches!(
        Signer::load(&directory),
        Err(SignerError::Key { .. })
    ));
    fs::write(directory.join("es384.pub"), b"not a key").unwrap();
    assert!(matches!(
        public_keys(&directory),
        Err(SignerError::Public(_))
    ));
}

fn claims() -> Claims {
    Claims {
        node: NodeId::try_from("gw-a.example").unwrap(),
        ldevid: Thumbprint([1; 32]),
        nonce: Nonce([2; 32]),
        issued: OwnerTime(1_800_000_000),
        expires: OwnerTime(1_800_000_300),
        status: Status::Affirming,
    }
}

fn pinned(signer: &Signer) -> VerifierKeys {
    let keys = signer.public_keys();
    VerifierKeys::new(&keys.es384, &keys.ml_dsa_65).unwrap()
}

/// An empty directory of this test run's own.
fn fresh_directory(name: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("signer-{name}"));
    if directory.exists() {
        fs::remove_dir_all(&directory).unwrap();
    }
    fs::create_dir_all(&directory).unwrap();
    directory
}
