//! Others read what we make and make what we read: OpenSSL the ECDSA half and the certificates,
//! AWS-LC the ML-DSA half.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use aws_lc_rs::digest::{SHA512, digest};
use aws_lc_rs::signature::{
    KeyPair as _, ML_DSA_65, ML_DSA_65_SIGNING, PqdsaKeyPair, UnparsedPublicKey,
};
use bartizan_bootstrap_protocol::cms::{self, ContentType, MlDsa65Key, Signer};
use bartizan_bootstrap_protocol::voucher;
use bartizan_evidence::cose::Algorithm;
use der::asn1::{Any, ObjectIdentifier, OctetString};
use der::{Decode as _, Sequence, Tag};

use crate::message::{Outer, signers};
use crate::parties::{NOW, Party, Scene};

/// A folder of its own for one test, in the folder for that.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[expect(clippy::disallowed_methods, reason = "another program is the judge")]
fn openssl(folder: &Path, arguments: &str) -> String {
    let done = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "openssl {arguments}: {said}");
    String::from_utf8(done.stdout).unwrap()
}

fn write_party(folder: &Path, party: &Party) {
    fs::write(folder.join("root.pem"), party.ca.pem()).unwrap();
    fs::write(folder.join("key.pem"), party.key.serialize_pem()).unwrap();
    fs::write(folder.join("leaf.der"), party.leaf.as_der()).unwrap();
    openssl(folder, "x509 -inform DER -in leaf.der -out leaf.pem");
}

#[test]
fn openssl_reads_the_ecdsa_half_of_a_voucher() {
    let folder = folder("openssl-reads");
    let scene = Scene::new();
    write_party(&folder, &scene.maker);
    let half = cms::half(&scene.voucher(), Algorithm::Es384).unwrap();
    fs::write(folder.join("half.der"), half).unwrap();
    openssl(
        &folder,
        "cms -verify -binary -inform DER -in half.der -CAfile root.pem -purpose any -out voucher.json",
    );
    let read = fs::read(folder.join("voucher.json")).unwrap();
    assert_eq!(read, scene.voucher.encode().unwrap());
    let shown = openssl(&folder, "cms -cmsout -print -inform DER -in half.der");
    for part in [
        "1.2.840.113549.1.9.16.1.40",
        "ecdsa-with-SHA384",
        "signingTime",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn openssl_makes_the_ecdsa_half_of_a_voucher() {
    let folder = folder("openssl-makes");
    let scene = Scene::new();
    write_party(&folder, &scene.maker);
    let json = scene.voucher.encode().unwrap();
    fs::write(folder.join("voucher.json"), &json).unwrap();
    openssl(
        &folder,
        "cms -sign -binary -nodetach -nosmimecap -md sha384 -outform DER -in voucher.json \
         -econtent_type 1.2.840.113549.1.9.16.1.40 -signer leaf.pem -inkey key.pem -out half.der",
    );
    let es384 = fs::read(folder.join("half.der")).unwrap();
    let ours = scene.maker.sign(&voucher::draft(&json, None));
    let ml_dsa_65 = cms::half(&ours, Algorithm::MlDsa65).unwrap();
    let mut artifacts = scene.artifacts();
    artifacts.ownership_voucher = cms::join(&es384, &ml_dsa_65).unwrap();
    assert!(scene.taken(&artifacts).is_ok());
    // And alone it is not enough.
    artifacts.ownership_voucher = es384;
    assert!(scene.taken(&artifacts).is_err());
}

#[test]
fn openssl_packs_and_unpacks_certificates() {
    let folder = folder("openssl-certificates");
    let scene = Scene::new();
    write_party(&folder, &scene.owner);
    openssl(
        &folder,
        "crl2pkcs7 -nocrl -certfile leaf.pem -certfile root.pem -outform DER -out theirs.der",
    );
    let mut artifacts = scene.artifacts();
    artifacts.owner_certificate = fs::read(folder.join("theirs.der")).unwrap();
    assert!(scene.taken(&artifacts).is_ok());

    fs::write(folder.join("ours.der"), scene.owner_certificate()).unwrap();
    let shown = openssl(&folder, "pkcs7 -inform DER -in ours.der -print_certs");
    assert_eq!(shown.matches("BEGIN CERTIFICATE").count(), 2, "{shown}");
}

/// RFC 5652, 5.3.
#[derive(Sequence)]
struct SignerInfo {
    version: u8,
    identifier: Any,
    digest_algorithm: Any,
    attributes: Any,
    signature_algorithm: Identifier,
    signature: OctetString,
}

#[derive(Sequence)]
struct Identifier {
    oid: ObjectIdentifier,
}

#[test]
fn another_implementation_checks_the_ml_dsa_half_of_a_voucher() {
    let scene = Scene::new();
    let half = cms::half(&scene.voucher(), Algorithm::MlDsa65).unwrap();
    let outer = Outer::from_der(&half).unwrap();
    let [signer] = signers(&outer).try_into().unwrap();
    let signer: SignerInfo = signer.decode_as().unwrap();
    assert_eq!(signer.version, 3);
    let oid = signer.signature_algorithm.oid.to_string();
    assert_eq!(oid, "2.16.840.1.101.3.4.3.18");

    // The attributes are signed as a SET OF, and one of them is the digest of the content.
    let attributes = Any::new(Tag::Set, signer.attributes.value()).unwrap();
    let attributes = der::Encode::to_der(&attributes).unwrap();
    let content = digest(&SHA512, &scene.voucher.encode().unwrap());
    let digested = attributes
        .windows(64)
        .any(|window| window == content.as_ref());
    assert!(digested, "the digest of the content is signed");
    let key = scene.maker.ml_dsa_key();
    let key = UnparsedPublicKey::new(&ML_DSA_65, key.as_bytes());
    key.verify(&attributes, signer.signature.as_bytes())
        .unwrap();
    assert!(
        key.verify(&attributes[1..], signer.signature.as_bytes())
            .is_err()
    );
}

#[test]
fn another_implementation_makes_the_ml_dsa_half_of_a_voucher() {
    let scene = Scene::new();
    let pair = PqdsaKeyPair::generate(&ML_DSA_65_SIGNING).unwrap();
    let key = MlDsa65Key::from_bytes(pair.public_key().as_ref()).unwrap();
    let json = scene.voucher.encode().unwrap();
    let draft = voucher::draft(&json, Some(NOW));
    let es384 = scene
        .maker
        .es384(&draft.to_be_signed(Algorithm::Es384).unwrap());
    let mut ml_dsa_65 = [0; 3309];
    let attributes = draft.to_be_signed(Algorithm::MlDsa65).unwrap();
    pair.sign(&attributes, &mut ml_dsa_65).unwrap();
    let certificates = [scene.maker.leaf.clone()];
    let message = draft
        .assemble(&certificates, &es384, &key, &ml_dsa_65)
        .unwrap();
    let signer = Signer::Is(&scene.maker.leaf);
    let opened = cms::open(&message, ContentType::Voucher, signer, &key).unwrap();
    assert_eq!(opened, json);
}
