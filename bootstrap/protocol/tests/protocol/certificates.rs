//! Paths of certificates: which ones count.

use bartizan_bootstrap_protocol::certificate::{Certificate, CertificateError, check_path};
use bartizan_evidence::lease::OwnerTime;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SanType,
    SignatureAlgorithm, date_time_ymd,
};

use crate::parties::{NOW, params};

type Ca = CertifiedIssuer<'static, KeyPair>;

fn key(algorithm: &'static SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(algorithm).unwrap()
}

fn authority(name: &str, below: BasicConstraints) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(below);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn root(algorithm: &'static SignatureAlgorithm) -> Ca {
    let params = authority("root", BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, key(algorithm)).unwrap()
}

fn below(issuer: &Ca, params: CertificateParams) -> Ca {
    CertifiedIssuer::signed_by(params, key(&PKCS_ECDSA_P384_SHA384), issuer).unwrap()
}

fn leaf(issuer: &Ca, change: impl FnOnce(&mut CertificateParams)) -> Certificate {
    let mut params = params("leaf");
    change(&mut params);
    let leaf = params.signed_by(&key(&PKCS_ECDSA_P384_SHA384), issuer);
    Certificate::from_der(leaf.unwrap().der()).unwrap()
}

fn of(ca: &Ca) -> Certificate {
    Certificate::from_der(ca.der()).unwrap()
}

#[test]
fn paths_over_both_curves_count() {
    for algorithm in [&PKCS_ECDSA_P384_SHA384, &PKCS_ECDSA_P256_SHA256] {
        let root = root(algorithm);
        let middle = below(&root, authority("middle", BasicConstraints::Constrained(0)));
        let leaf = leaf(&middle, |_| {});
        check_path(&leaf, &[of(&middle)], &of(&root), NOW).unwrap();
        check_path(&leaf, &[], &of(&middle), NOW).unwrap();
        assert!(matches!(
            check_path(&leaf, &[], &of(&root), NOW),
            Err(CertificateError::NoPath)
        ));
    }
    let other = root(&PKCS_ED25519);
    let leaf = leaf(&other, |_| {});
    assert!(matches!(
        check_path(&leaf, &[], &of(&other), NOW),
        Err(CertificateError::Key)
    ));
}

#[test]
fn a_namesake_of_the_anchor_is_not_the_anchor() {
    let [one, other] = [root(&PKCS_ECDSA_P384_SHA384), root(&PKCS_ECDSA_P384_SHA384)];
    let leaf = leaf(&one, |_| {});
    assert!(matches!(
        check_path(&leaf, &[of(&one)], &of(&other), NOW),
        Err(CertificateError::NoPath)
    ));
}

#[test]
fn only_an_authority_issues() {
    let root = root(&PKCS_ECDSA_P384_SHA384);
    let no_issuer = |params: CertificateParams| {
        let middle = below(&root, params);
        let leaf = leaf(&middle, |_| {});
        assert!(matches!(
            check_path(&leaf, &[of(&middle)], &of(&root), NOW),
            Err(CertificateError::NotAnIssuer)
        ));
        // Nor is it an anchor for others than itself.
        assert!(matches!(
            check_path(&leaf, &[], &of(&middle), NOW),
            Err(CertificateError::NotAnIssuer)
        ));
    };
    no_issuer(params("middle"));
    let mut encrypts = authority("middle", BasicConstraints::Unconstrained);
    encrypts.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    no_issuer(encrypts);
    let mut no_ca = authority("middle", BasicConstraints::Unconstrained);
    no_ca.is_ca = IsCa::ExplicitNoCa;
    no_issuer(no_ca);
}

#[test]
fn a_path_is_no_longer_than_its_authorities_allow() {
    let root = root(&PKCS_ECDSA_P384_SHA384);
    let first = below(&root, authority("first", BasicConstraints::Constrained(0)));
    let second = below(&first, authority("second", BasicConstraints::Unconstrained));
    let last = leaf(&second, |_| {});
    assert!(matches!(
        check_path(&last, &[of(&first), of(&second)], &of(&root), NOW),
        Err(CertificateError::NotAnIssuer)
    ));
    let mut issuers = vec![below(
        &root,
        authority("0", BasicConstraints::Unconstrained),
    )];
    for name in 1..5 {
        let params = authority(&name.to_string(), BasicConstraints::Unconstrained);
        let next = below(issuers.last().unwrap(), params);
        issuers.push(next);
    }
    let others: Vec<_> = issuers.iter().map(of).collect();
    check_path(&leaf(&issuers[3], |_| {}), &others, &of(&root), NOW).unwrap();
    assert!(matches!(
        check_path(&leaf(&issuers[4], |_| {}), &others, &of(&root), NOW),
        Err(CertificateError::TooMany)
    ));
}

#[test]
fn the_floor_of_time_ends_certificates_and_begins_none() {
    let root = root(&PKCS_ECDSA_P384_SHA384);
    let from_2050 = leaf(&root, |params| {
        params.not_before = date_time_ymd(2050, 1, 1);
    });
    check_path(&from_2050, &[], &of(&root), OwnerTime(0)).unwrap();
    let until_2026 = leaf(&root, |params| params.not_after = date_time_ymd(2026, 1, 1));
    check_path(&until_2026, &[], &of(&root), OwnerTime(0)).unwrap();
    assert!(matches!(
        check_path(&until_2026, &[], &of(&root), NOW),
        Err(CertificateError::Expired)
    ));
    let mut ended = authority("middle", BasicConstraints::Unconstrained);
    ended.not_after = date_time_ymd(2026, 1, 1);
    let middle = below(&root, ended);
    assert!(matches!(
        check_path(&leaf(&middle, |_| {}), &[of(&middle)], &of(&root), NOW),
        Err(CertificateError::Expired)
    ));
}

#[test]
fn what_is_not_understood_or_not_for_signing_is_refused() {
    let root = root(&PKCS_ECDSA_P384_SHA384);
    let critical = leaf(&root, |params| {
        let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 1], vec![5, 0]);
        extension.set_criticality(true);
        params.custom_extensions = vec![extension];
    });
    assert!(matches!(
        check_path(&critical, &[], &of(&root), NOW),
        Err(CertificateError::Critical)
    ));
    let encrypts = leaf(&root, |params| {
        params.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
    });
    assert!(matches!(
        check_path(&encrypts, &[], &of(&root), NOW),
        Err(CertificateError::KeyUsage)
    ));
}

#[test]
fn names_are_taken_only_where_there_is_one() {
    let root = root(&PKCS_ECDSA_P384_SHA384);
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let one = leaf(&root, |params| {
        params.subject_alt_names = vec![dns("gw-a.example")];
        params.distinguished_name.push(
            DnType::from_oid(&[2, 5, 4, 5]),
            rcgen::DnValue::PrintableString("BZ-0001".try_into().unwrap()),
        );
        params.use_authority_key_identifier_extension = true;
    });
    assert_eq!(one.dns_name().as_deref(), Some("gw-a.example"));
    assert_eq!(one.subject_serial_number().as_deref(), Some("BZ-0001"));
    let identifier = one.authority_key_identifier().unwrap();
    assert_eq!(identifier[..2], [4, 20], "an OCTET STRING of 20 bytes");
    let two = leaf(&root, |params| {
        params.subject_alt_names = vec![dns("gw-a.example"), dns("gw-b.example")];
    });
    assert_eq!(two.dns_name(), None);
    let none = leaf(&root, |_| {});
    assert_eq!(
        (none.dns_name(), none.subject_serial_number()),
        (None, None)
    );
}
