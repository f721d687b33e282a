//! Secrets that only an approved boot gets back.

use bartizan_secret::Secret;
use bartizan_tpm::{Sealed, TpmError};

use crate::boot::Boot;

#[test]
fn a_sealed_secret_opens_only_in_an_approved_boot() {
    let boot = Boot::approved();
    let mut tpm = boot.open();
    let measured = boot.measured();
    let secret = Secret::from_fn(32, |bytes| bytes.fill(0x5a)).unwrap();
    let sealed = Sealed::seal(&mut tpm, &measured, &secret).unwrap();
    for _ in 0..10 {
        let opened = sealed.unseal(&mut tpm, &measured).unwrap();
        assert_eq!(opened.expose(), [0x5a; 32]);
    }
    drop(tpm);
    let sealed = Sealed::from_bytes(&sealed.to_bytes().unwrap()).unwrap();
    let mut tpm = boot.open();
    assert_eq!(
        sealed.unseal(&mut tpm, &measured).unwrap().expose(),
        [0x5a; 32]
    );
    boot.extend(11);
    for _ in 0..2 {
        let refused = sealed.unseal(&mut tpm, &measured);
        let refused = matches!(refused, Err(TpmError::Refused { code, .. }) if code == 0x9d);
        assert!(refused);
    }
}

/// The secret passes the proxy, as it would pass a discrete TPM's bus, twice.
#[test]
fn a_secret_never_passes_the_bus() {
    let boot = Boot::approved();
    let mut tpm = boot.open();
    let measured = boot.measured();
    let secret = Secret::from_fn(32, |bytes| {
        bytes.copy_from_slice(b"ThisIsTheSecretThatMustNotPass!!");
    });
    let secret = secret.unwrap();
    let sealed = Sealed::seal(&mut tpm, &measured, &secret).unwrap();
    sealed.unseal(&mut tpm, &measured).unwrap();
    assert!(!boot.proxy.passed(secret.expose()));
    // And that the proxy would see it.
    boot.tool(
        "tpm2_hash",
        &[
            "-C",
            "n",
            "-o",
            "hash",
            "-g",
            "sha256",
            "pcr-public-key.pem",
        ],
    );
    assert!(boot.proxy.passed(b"-----BEGIN PUBLIC KEY-----"));
}
