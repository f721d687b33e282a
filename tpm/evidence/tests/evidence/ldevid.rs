//! What an LDevID key must be: its attributes, and the policy that is recomputed from the PCR
//! signing key and PCR 7.

use bartizan_evidence::pcr_key::{
    LDEVID_ATTRIBUTES, PEM_MAX, PcrKeyError, PcrSigningKey, check_ldevid, ldevid_policy,
    policy_authorize,
};
use bartizan_evidence::structures::{Attributes, Curve, EccScheme, Hash, Key, Public};
use bartizan_evidence::verdict::{Class, Rule};

use crate::machine::{PEM, Tpm};

const PCR7: [u8; 32] = [0xa7; 32];

fn signing_key() -> PcrSigningKey {
    PcrSigningKey::from_pem(PEM.as_bytes()).unwrap()
}

fn ldevid() -> Public {
    Public {
        attributes: LDEVID_ATTRIBUTES,
        auth_policy: ldevid_policy(&signing_key().name(), &PCR7).to_vec(),
        ..Tpm::new().public
    }
}

fn refused(public: &Public, pcr7: &[u8; 32]) {
    let failure = check_ldevid(public, &signing_key().name(), pcr7).unwrap_err();
    assert_eq!(failure.rule, Rule::V5);
    assert_eq!(failure.class, Class::Identity);
}

#[test]
fn the_key_with_the_right_attributes_and_policy_is_taken() {
    check_ldevid(&ldevid(), &signing_key().name(), &PCR7).unwrap();
    assert_eq!(LDEVID_ATTRIBUTES, Attributes(0x0004_0432));
}

#[test]
fn another_attribute_is_refused() {
    for bit in 0..32 {
        let mut public = ldevid();
        public.attributes.0 ^= 1 << bit;
        refused(&public, &PCR7);
    }
}

#[test]
fn another_policy_is_refused() {
    refused(&ldevid(), &[0; 32]);
    let mut public = ldevid();
    public.auth_policy.clear();
    refused(&public, &PCR7);
    // PCR 11 alone, or PCR 7 alone.
    public.auth_policy = policy_authorize(&signing_key().name()).to_vec();
    refused(&public, &PCR7);
    public.auth_policy = bartizan_evidence::pcr_key::policy_pcr(&[0; 32], 7, &PCR7).to_vec();
    refused(&public, &PCR7);
}

#[test]
fn another_kind_of_key_is_refused() {
    let mut public = ldevid();
    public.name_hash = Hash::Sha384;
    refused(&public, &PCR7);
    for (curve, scheme) in [
        (Curve::P384, EccScheme::Ecdsa(Hash::Sha256)),
        (Curve::P256, EccScheme::Ecdsa(Hash::Sha384)),
        (Curve::P256, EccScheme::Null),
    ] {
        let mut public = ldevid();
        if let Key::Ecc {
            curve: its_curve,
            scheme: its_scheme,
            ..
        } = &mut public.key
        {
            (*its_curve, *its_scheme) = (curve, scheme);
        }
        refused(&public, &PCR7);
    }
}

#[test]
fn a_pem_file_is_one_rsa_public_key() {
    let key = signing_key();
    assert_eq!(key.to_pem(), PEM);
    assert_eq!(PcrSigningKey::from_spki(key.spki()).unwrap(), key);
    assert_eq!(key.public().spki(), key.spki());
    let pem = |text: &str| PcrSigningKey::from_pem(text.as_bytes());
    assert!(pem(&PEM.replace('\n', "\r\n")).is_ok());
    for bad in [
        "",
        &PEM[1..],
        &PEM.replace("PUBLIC", "PRIVATE"),
        &PEM.replacen("MIIB", "M-IB", 1),
        &(PEM.to_owned() + PEM),
        &(PEM.to_owned() + &" ".repeat(PEM_MAX)),
    ] {
        assert_eq!(pem(bad), Err(PcrKeyError::Pem));
    }
    let ec = Tpm::new().public.spki();
    assert!(matches!(
        PcrSigningKey::from_spki(&ec),
        Err(PcrKeyError::Kind | PcrKeyError::Key(_))
    ));
}
