//! The keys that the TPM makes from its seeds, and what proves where they are.

use aws_lc_rs::hmac;
use bartizan_evidence::{
    quote::{AttestationKey, verify_certified},
    structures::{Curve, Hash, Key, Public, endorsement_template},
};
use bartizan_model::{
    config::Der,
    identity::{Credential, KeyName, TpmIdentity},
    lifecycle::Lifecycle,
    message::{FromTpm, ToTpm},
};
use bartizan_tpm::{
    DeviceKey, DeviceKeys, EndorsementKind, Tpm,
    provision::{Certificates, certify, endorsement_public, write_certificates},
};

use crate::boot::{Boot, hex, read};
use crate::role::{BOOTSTRAP, MESSAGE, ORDER, Role, verify};

/// Something that begins as a certificate does, of this length.
fn certificate(length: u16) -> Vec<u8> {
    let content = vec![0x42; usize::from(length)];
    [&[0x30, 0x82], &length.to_be_bytes()[..], &content].concat()
}

fn identity(role: &mut Role) -> TpmIdentity {
    role.enter(Lifecycle::Discovering);
    role.identity()
}

/// As a TPM's maker leaves it, with every kind of endorsement key.
fn endorse(tpm: &mut Tpm) {
    for (kind, length) in EndorsementKind::ALL.into_iter().zip([900, 800, 1500]) {
        let which = Certificates::Endorsement(kind);
        write_certificates(tpm, which, &[certificate(length)]).unwrap();
    }
}

#[test]
fn a_box_describes_itself() {
    let boot = Boot::unapproved();
    let chains = [[700, 1100], [701, 1101], [702, 1102]].map(|lengths| lengths.map(certificate));
    {
        let mut tpm = boot.open();
        endorse(&mut tpm);
        for (which, chain) in [
            Certificates::EndorsementChain,
            Certificates::Device(DeviceKey::Attestation),
            Certificates::Device(DeviceKey::Idevid),
        ]
        .into_iter()
        .zip(&chains)
        {
            write_certificates(&mut tpm, which, chain).unwrap();
        }
    }
    let mut role = Role::start(boot);
    let identity = identity(&mut role);
    assert_eq!(&identity.manufacturer, b"IBM\0");
    let templates: Vec<_> = identity
        .endorsement
        .iter()
        .map(|key| endorsement_template(&Public::parse(&key.public).unwrap()).unwrap())
        .map(|template| format!("{template:?}"))
        .collect();
    assert_eq!(templates, ["H3", "L2", "L1"]);
    let lengths = [900, 800, 1500].map(certificate).map(Der);
    let found = identity.endorsement.map_certificates();
    assert_eq!(found, lengths);
    let [endorsement_chain, ak_chain, idevid_chain] = chains.map(|chain| chain.map(Der).to_vec());
    assert_eq!(identity.endorsement_chain, endorsement_chain);
    assert_eq!(identity.ak_chain, ak_chain);
    assert_eq!(identity.idevid_chain, idevid_chain);

    // TPM2_Clear takes nothing of it.
    role.boot.tool("tpm2_clear", &[]);
    let again = crate::device_keys::identity(&mut role.again());
    assert_eq!(again.endorsement_chain, endorsement_chain);
    assert_eq!(again.ak, identity.ak);
}

trait MapCertificates {
    fn map_certificates(&self) -> [Der; 3];
}

impl MapCertificates for Vec<bartizan_model::identity::Endorsement> {
    fn map_certificates(&self) -> [Der; 3] {
        let certificates: Vec<_> = self.iter().map(|key| key.certificate.clone()).collect();
        certificates.try_into().unwrap()
    }
}

/// The templates H-3, as the document has them and as the tools of others make them.
#[test]
fn the_device_keys_are_those_of_the_tcg() {
    let boot = Boot::unapproved();
    let keys = DeviceKeys::open(&mut boot.open()).unwrap();
    for (key, unique, attributes, policy) in [
        (
            DeviceKey::Attestation,
            "IAK",
            "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|adminwithpolicy|sign|restricted",
            "129d94ebf84556652c6eef43bbb757512ac87e52be7b349ca6ce4d826f749fcf\
             672f51716c5cbb605f313bf345aab312",
        ),
        (
            DeviceKey::Idevid,
            "IDEVID",
            "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|adminwithpolicy|sign",
            "4db1aa836d0b5615df6ee53a40ef70c61c217f4303d44695925972bc927006cf\
             a5cbdf6dc18c4dbe329b2f1542c3dd33",
        ),
    ] {
        // x as a TPM2B in the tool's byte order, y empty.
        let x = unique.as_bytes();
        let length = u16::try_from(x.len()).unwrap().to_le_bytes();
        let mut buffer = [&length[..], x].concat();
        buffer.resize(2 + 128, 0);
        buffer.resize(2 * (2 + 128), 0);
        std::fs::write(boot.folder.join("unique"), buffer).unwrap();
        let arguments = ["-C", "e", "-g", "sha384", "-G", "ecc384:ecdsa-sha384:null"];
        let more = [
            "-a", attributes, "-L", policy, "-u", "unique", "-c", "key", "-f", "pem", "-o",
            "key.pem",
        ];
        boot.tool("tpm2_createprimary", &[&arguments[..], &more].concat());
        boot.tool("tpm2_flushcontext", &["-t"]);
        boot.tool(
            "openssl",
            &[
                "pkey", "-pubin", "-in", "key.pem", "-outform", "DER", "-out", "key.der",
            ],
        );
        let public = Public::parse(keys.public(key)).unwrap();
        assert_eq!(public.spki(), read(&boot.folder.join("key.der")), "{key:?}");
        let p384 = matches!(
            public.key,
            Key::Ecc {
                curve: Curve::P384,
                ..
            }
        );
        assert!(p384 && public.name_hash == Hash::Sha384);
    }
}

#[test]
fn the_attestation_key_vouches_for_the_idevid() {
    let boot = Boot::unapproved();
    let mut tpm = boot.open();
    let keys = DeviceKeys::open(&mut tpm).unwrap();
    for _ in 0..5 {
        let certified = certify(&mut tpm, &keys, DeviceKey::Idevid, b"a maker's nonce").unwrap();
        let ak = AttestationKey::parse(keys.public(DeviceKey::Attestation)).unwrap();
        let public = verify_certified(&certified, &ak, b"a maker's nonce").unwrap();
        assert_eq!(public.encode(), keys.public(DeviceKey::Idevid));
    }
}

#[test]
fn the_idevid_signs() {
    let mut role = Role::start(Boot::unapproved());
    let idevid = Public::parse(&identity(&mut role).idevid).unwrap();
    let digest = Hash::Sha384.digest(&[MESSAGE]);
    let sign = |digest: &[u8]| ToTpm::Sign {
        order: ORDER,
        key: KeyName::Idevid,
        digest: digest.to_vec(),
    };
    for _ in 0..10 {
        verify(&idevid, &role.ask(BOOTSTRAP, &sign(&digest)));
    }
    for wrong in [&digest[..32], &[], &[1; 64]] {
        assert_eq!(role.refused(BOOTSTRAP, &sign(wrong)), 0x95);
    }
}

/// `tpm2_makecredential` makes the credential, without a TPM.
fn make_credential(boot: &Boot, endorsement: &[u8], ak: &[u8], secret: &[u8]) -> Credential {
    let length = u16::try_from(endorsement.len()).unwrap().to_be_bytes();
    let write = |name: &str, bytes: &[u8]| std::fs::write(boot.folder.join(name), bytes).unwrap();
    write("ek.pub", &[&length, endorsement].concat());
    write("secret", secret);
    let name = Public::parse(ak).unwrap().name().0;
    let name = hex(&name);
    let arguments = [
        "-T", "none", "-u", "ek.pub", "-s", "secret", "-n", &name, "-o", "made",
    ];
    boot.tool("tpm2_makecredential", &arguments);
    // A magic number and a version, then both structures.
    let made = read(&boot.folder.join("made"));
    assert_eq!(made[..8], [0xba, 0xdc, 0xc0, 0xde, 0, 0, 0, 1]);
    let length = 2 + usize::from(u16::from_be_bytes([made[8], made[9]]));
    let (blob, secret) = made[8..].split_at(length);
    Credential {
        endorsement: 0,
        blob: blob.to_vec(),
        secret: secret.to_vec(),
    }
}

#[test]
fn a_credential_that_others_made_is_opened_and_proved() {
    let boot = Boot::unapproved();
    endorse(&mut boot.open());
    let mut role = Role::start(boot);
    let identity = identity(&mut role);
    role.enter(Lifecycle::Enrolling);
    let secret = b"a secret that is for one TPM, 32";
    let context = [0x77; 32];
    let proof = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), &context);
    for (number, key) in identity.endorsement.iter().enumerate() {
        let made = make_credential(&role.boot, &key.public, &identity.ak, secret);
        let activate = |credential| ToTpm::Activate {
            order: ORDER,
            credential,
            context,
        };
        let credential = Credential {
            endorsement: u8::try_from(number).unwrap(),
            ..made
        };
        for _ in 0..3 {
            let reply = role.ask(BOOTSTRAP, &activate(credential.clone()));
            let FromTpm::Activated { proof: given, .. } = reply else {
                panic!("endorsement key {number}: {reply:?}");
            };
            assert_eq!(given, proof.as_ref());
        }
        // For another key of the same TPM, damaged, cut, for no key.
        let mut damaged = credential.clone();
        *damaged.blob.last_mut().unwrap() ^= 1;
        let cut = Credential {
            blob: credential.blob[..credential.blob.len() - 1].to_vec(),
            ..credential.clone()
        };
        let nobody = Credential {
            endorsement: 3,
            ..credential.clone()
        };
        let other = Credential {
            endorsement: u8::try_from((number + 1) % 3).unwrap(),
            ..credential.clone()
        };
        for wrong in [damaged, cut, nobody, other] {
            role.refused(BOOTSTRAP, &activate(wrong));
        }
        let elsewhere = make_credential(&role.boot, &key.public, &identity.idevid, secret);
        role.refused(BOOTSTRAP, &activate(elsewhere));
    }
    assert!(!role.boot.proxy.passed(secret), "the secret passed the bus");
}

/// On a TPM whose maker left its endorsement key at its handle, and on one that has no room.
#[test]
fn an_endorsement_key_is_found_or_made() {
    let boot = Boot::unapproved();
    let mut tpm = boot.open();
    for kind in EndorsementKind::ALL {
        let made = endorsement_public(&mut tpm, kind).unwrap();
        assert_eq!(endorsement_public(&mut tpm, kind).unwrap(), made);
    }
    drop(tpm);
    let taken = boot.tool("tpm2_getcap", &["handles-persistent"]);
    let taken = String::from_utf8(taken).unwrap().to_lowercase();
    for handle in ["0x81010001", "0x8101000a", "0x81010016"] {
        assert!(taken.contains(handle), "{taken}");
    }
    // Another key at the handle is not taken for it.
    let before = endorsement_public(&mut boot.open(), EndorsementKind::P256).unwrap();
    boot.tool("tpm2_evictcontrol", &["-c", "0x8101000a"]);
    boot.make_other();
    boot.tool("tpm2_evictcontrol", &["-c", "other", "0x8101000a"]);
    boot.tool("tpm2_flushcontext", &["-t"]);
    let after = endorsement_public(&mut boot.open(), EndorsementKind::P256).unwrap();
    assert_eq!(after, before);
}
