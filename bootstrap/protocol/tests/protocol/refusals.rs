//! What a box refuses, each for its own reason and in the order of the checks.

use bartizan_bootstrap_protocol::bootstrap::{Found, REDIRECTS_MAX, Refusal, Trail};
use bartizan_bootstrap_protocol::certificate::CertificateError;
use bartizan_bootstrap_protocol::cms::{self, CmsError};
use bartizan_bootstrap_protocol::conveyed::{
    self, BootImage, ConveyedError, Host, Information, Server,
};
use bartizan_bootstrap_protocol::serial::Serial;
use bartizan_bootstrap_protocol::version::OsVersion;
use bartizan_bootstrap_protocol::voucher::{self, Assertion, Bound, VoucherError};
use bartizan_evidence::cose::Algorithm;
use bartizan_evidence::lease::OwnerTime;
use bartizan_model::ids::Nonce;
use rcgen::date_time_ymd;

use crate::parties::{NOW, Party, Scene, site};

const QUESTION: Nonce = Nonce([7; 32]);

fn image(scene: &mut Scene, name: &str, version: &str) {
    let Information::Onboarding(onboarding) = &mut scene.information else {
        panic!("onboarding information");
    };
    onboarding.boot_image = Some(BootImage {
        os_name: Some(name.into()),
        os_version: Some(OsVersion::try_from(version).unwrap()),
    });
}

macro_rules! assert_refused {
    ($result:expr, $pattern:pat) => {
        match $result {
            Err($pattern) => {}
            other => panic!("{other:?}"),
        }
    };
}

#[test]
fn a_box_finds_its_owner() {
    let scene = Scene::new();
    let Ok(Found::Owner(owner)) = scene.carried() else {
        panic!("an owner");
    };
    assert_eq!(owner.epoch, 3);
    assert_eq!(owner.site, site(&scene.owner));
}

#[test]
fn a_voucher_with_the_box_s_nonce_needs_no_end() {
    let mut scene = Scene::new();
    scene.voucher.bound = Bound::nonce(&QUESTION);
    assert!(scene.asked(QUESTION).is_ok());
    assert_refused!(scene.asked(Nonce([8; 32])), Refusal::Nonce);
    assert_refused!(scene.carried(), Refusal::Nonce);
    // A question does not make one that ends count for longer.
    scene.voucher.bound = Bound::Expires(OwnerTime(NOW.0 - 1));
    assert_refused!(scene.asked(QUESTION), Refusal::Expired);
}

#[test]
fn a_voucher_for_another_box_is_refused() {
    let mut scene = Scene::new();
    scene.voucher.serial = Serial::try_from("BZ-0002").unwrap();
    assert_refused!(scene.carried(), Refusal::Serial);

    let mut scene = Scene::new();
    scene.voucher.idevid_issuer = Some(vec![4, 1, 0]);
    assert_refused!(scene.carried(), Refusal::IdevidIssuer);
    scene.device.idevid_issuer = None;
    assert_refused!(scene.carried(), Refusal::IdevidIssuer);
    scene.voucher.idevid_issuer = None;
    assert!(scene.carried().is_ok());
}

#[test]
fn a_voucher_that_asks_for_what_a_box_cannot_do_is_refused() {
    let mut scene = Scene::new();
    scene.voucher.assertion = Assertion::Proximity;
    assert_refused!(scene.carried(), Refusal::Assertion);
    scene.voucher.assertion = Assertion::Logged;
    scene.voucher.revocation_checks = Some(true);
    assert_refused!(scene.carried(), Refusal::RevocationChecks);
    scene.voucher.revocation_checks = None;
    assert!(scene.carried().is_ok());
}

#[test]
fn an_expired_voucher_is_refused_by_the_floor_of_time_alone() {
    let mut scene = Scene::new();
    scene.voucher.bound = Bound::Expires(OwnerTime(NOW.0 - 1));
    scene.voucher.created = OwnerTime(NOW.0 - 2);
    assert_refused!(scene.carried(), Refusal::Expired);
    scene.device.time_floor = OwnerTime(NOW.0 - 1);
    assert!(scene.carried().is_ok(), "the last second counts");
    // A box that knows nothing of the time does not guess.
    scene.device.time_floor = OwnerTime(0);
    scene.voucher.created = OwnerTime(NOW.0 - 2);
    assert!(scene.carried().is_ok());
}

#[test]
fn it_is_no_earlier_than_the_maker_made_the_voucher() {
    let mut scene = Scene::new();
    scene.device.time_floor = OwnerTime(0);
    let since = |scene: &Scene| match scene.carried().unwrap() {
        Found::Owner(owner) => owner.since,
        Found::Elsewhere(_) => panic!("an owner"),
    };
    assert_eq!(since(&scene), NOW);
    scene.device.time_floor = OwnerTime(NOW.0 + 5);
    assert_eq!(since(&scene), OwnerTime(NOW.0 + 5));

    scene.device.time_floor = OwnerTime(0);
    scene.voucher.bound = Bound::Expires(OwnerTime(NOW.0 - 1));
    assert_refused!(scene.carried(), Refusal::Expired);

    // Nor does an owner's certificate that ended before it count.
    let past = |params: &mut rcgen::CertificateParams| {
        params.not_after = date_time_ymd(2026, 1, 1);
    };
    let mut scene = Scene::of(Party::new("maker", 1), Party::with("owner", 2, past));
    scene.device.time_floor = OwnerTime(0);
    assert_refused!(scene.carried(), Refusal::Owner(CertificateError::Expired));
    scene.voucher.created = OwnerTime(0);
    assert!(scene.carried().is_ok());
}

#[test]
fn either_signature_is_needed_on_the_voucher_and_on_what_is_conveyed() {
    let scene = Scene::new();
    let whole = scene.artifacts();
    for (left, missing) in [
        (Algorithm::Es384, Algorithm::MlDsa65),
        (Algorithm::MlDsa65, Algorithm::Es384),
    ] {
        let mut stripped = whole.clone();
        stripped.ownership_voucher = cms::half(&whole.ownership_voucher, left).unwrap();
        match scene.taken(&stripped) {
            Err(Refusal::VoucherSignature(CmsError::Missing(it))) => assert_eq!(it, missing),
            other => panic!("{other:?}"),
        }
        let mut stripped = whole.clone();
        stripped.conveyed_information = cms::half(&whole.conveyed_information, left).unwrap();
        match scene.taken(&stripped) {
            Err(Refusal::ConveyedSignature(CmsError::Missing(it))) => assert_eq!(it, missing),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_foreign_maker_s_signatures_do_not_count() {
    let mut scene = Scene::new();
    let foreign = Party::new("maker", 3);
    let json = scene.voucher.encode().unwrap();
    let draft = voucher::draft(&json, None);

    let mut artifacts = scene.artifacts();
    artifacts.ownership_voucher = foreign.sign(&draft);
    assert_refused!(
        scene.taken(&artifacts),
        Refusal::VoucherSignature(CmsError::Certificate(CertificateError::NoPath))
    );
    // The right certificate and a foreign second key, and the other way round.
    artifacts.ownership_voucher = scene.maker.sign_with(&draft, &foreign);
    assert_refused!(
        scene.taken(&artifacts),
        Refusal::VoucherSignature(CmsError::Signer(Algorithm::MlDsa65))
    );
    artifacts.ownership_voucher = foreign.sign_with(&draft, &scene.maker);
    assert_refused!(
        scene.taken(&artifacts),
        Refusal::VoucherSignature(CmsError::Certificate(CertificateError::NoPath))
    );
    // An owner is no maker.
    core::mem::swap(&mut scene.maker, &mut scene.owner);
    artifacts.ownership_voucher = scene.voucher();
    assert_refused!(scene.taken(&artifacts), Refusal::VoucherSignature(_));
}

#[test]
fn a_foreign_owner_is_refused() {
    let mut scene = Scene::new();
    let mine = scene.artifacts();
    scene.owner = Party::new("owner", 2);
    let mut artifacts = scene.artifacts();
    artifacts
        .ownership_voucher
        .clone_from(&mine.ownership_voucher);
    assert_refused!(
        scene.taken(&artifacts),
        Refusal::Owner(CertificateError::NoPath)
    );
    // The right owner's certificate does not make a foreigner's word the owner's.
    artifacts
        .owner_certificate
        .clone_from(&mine.owner_certificate);
    assert_refused!(
        scene.taken(&artifacts),
        Refusal::ConveyedSignature(CmsError::Signer(Algorithm::Es384))
    );
}

#[test]
fn what_is_conveyed_needs_the_owner_s_second_key_as_well() {
    let scene = Scene::new();
    let foreign = Party::new("foreign", 9);
    let json = scene.information.encode().unwrap();
    let mut artifacts = scene.artifacts();
    artifacts.conveyed_information = scene
        .owner
        .sign_with(&conveyed::draft(&json, None), &foreign);
    assert_refused!(
        scene.taken(&artifacts),
        Refusal::ConveyedSignature(CmsError::Signer(Algorithm::MlDsa65))
    );
}

#[test]
fn messages_do_not_stand_for_each_other() {
    let scene = Scene::new();
    let mut artifacts = scene.artifacts();
    let json = scene.information.encode().unwrap();
    artifacts.ownership_voucher = scene.maker.sign(&conveyed::draft(&json, None));
    assert_refused!(
        scene.taken(&artifacts),
        Refusal::VoucherSignature(CmsError::ContentType)
    );
    artifacts.ownership_voucher = scene.maker.sign(&voucher::draft(&json, None));
    assert_refused!(
        scene.taken(&artifacts),
        Refusal::Voucher(VoucherError::Malformed(_))
    );
    artifacts = scene.artifacts();
    artifacts.owner_certificate = scene.voucher();
    assert_refused!(scene.taken(&artifacts), Refusal::OwnerCertificate(_));
}

#[test]
fn a_voucher_of_an_earlier_ownership_is_refused_after_a_transfer() {
    let mut scene = Scene::new();
    let earlier = scene.artifacts();
    assert!(scene.taken(&earlier).is_ok());
    scene.device.ownership_floor = 4;
    assert_refused!(scene.taken(&earlier), Refusal::Epoch { epoch: 3, floor: 4 });
    scene.voucher.epoch = 4;
    assert!(scene.carried().is_ok());
}

#[test]
fn an_os_version_that_is_not_the_one_that_runs_is_refused() {
    let mut scene = Scene::new();
    image(&mut scene, "bartizan", "1.4.1");
    assert_refused!(scene.carried(), Refusal::OsVersionOlder { .. });
    image(&mut scene, "bartizan", "1.10");
    assert_refused!(scene.carried(), Refusal::OsVersionNewer { .. });
    image(&mut scene, "another", "1.4.2");
    assert_refused!(scene.carried(), Refusal::OsName);
    image(&mut scene, "bartizan", "1.4.2.0");
    assert!(scene.carried().is_ok());
}

#[test]
fn a_script_is_refused() {
    let scene = Scene::new();
    let json = String::from_utf8(scene.information.encode().unwrap()).unwrap();
    for script in ["pre-configuration-script", "post-configuration-script"] {
        let json = json.replacen(
            "\"configuration-handling\"",
            &format!("\"{script}\":\"IyEvYmluL3NoCg==\",\"configuration-handling\""),
            1,
        );
        let mut artifacts = scene.artifacts();
        let draft = conveyed::draft(json.as_bytes(), None);
        artifacts.conveyed_information = scene.owner.sign(&draft);
        assert_refused!(
            scene.taken(&artifacts),
            Refusal::Conveyed(ConveyedError::Script)
        );
    }
}

#[test]
fn the_first_failed_check_is_the_reason() {
    // Everything is wrong; one after the other is mended.
    let mut scene = Scene::new();
    let foreign = Party::new("foreign", 9);
    scene.voucher.serial = Serial::try_from("BZ-0002").unwrap();
    scene.voucher.bound = Bound::Expires(OwnerTime(0));
    scene.voucher.epoch = 0;
    image(&mut scene, "bartizan", "1.0");
    let mut artifacts = scene.artifacts();
    let json = scene.information.encode().unwrap();
    artifacts.conveyed_information = foreign.sign(&conveyed::draft(&json, None));
    artifacts.owner_certificate = cms::chain(core::slice::from_ref(&foreign.leaf)).unwrap();
    artifacts.ownership_voucher =
        foreign.sign(&voucher::draft(&scene.voucher.encode().unwrap(), None));

    assert_refused!(scene.taken(&artifacts), Refusal::VoucherSignature(_));
    artifacts.ownership_voucher = scene.voucher();
    assert_refused!(scene.taken(&artifacts), Refusal::Serial);
    scene.voucher.serial = scene.device.serial.clone();
    artifacts.ownership_voucher = scene.voucher();
    assert_refused!(scene.taken(&artifacts), Refusal::Expired);
    scene.voucher.bound = Bound::Expires(NOW);
    artifacts.ownership_voucher = scene.voucher();
    assert_refused!(scene.taken(&artifacts), Refusal::Owner(_));
    artifacts.owner_certificate = scene.owner_certificate();
    assert_refused!(scene.taken(&artifacts), Refusal::ConveyedSignature(_));
    artifacts.conveyed_information = scene.conveyed();
    assert_refused!(scene.taken(&artifacts), Refusal::OsVersionOlder { .. });
    image(&mut scene, "bartizan", "1.4.2");
    artifacts.conveyed_information = scene.conveyed();
    assert_refused!(
        scene.taken(&artifacts),
        Refusal::Epoch { epoch: 0, floor: 3 }
    );
    scene.device.ownership_floor = 0;
    assert!(scene.taken(&artifacts).is_ok());
}

#[test]
fn a_certificate_that_ended_before_the_floor_does_not_sign() {
    let past = |params: &mut rcgen::CertificateParams| {
        params.not_after = date_time_ymd(2026, 1, 1);
    };
    let scene = Scene::of(Party::with("maker", 1, past), Party::new("owner", 2));
    assert_refused!(
        scene.carried(),
        Refusal::VoucherSignature(CmsError::Certificate(CertificateError::Expired))
    );
    let scene = Scene::of(Party::new("maker", 1), Party::with("owner", 2, past));
    assert_refused!(scene.carried(), Refusal::Owner(CertificateError::Expired));
}

#[test]
fn a_box_is_sent_elsewhere_four_times_and_no_more() {
    let mut scene = Scene::new();
    let server = Server {
        host: Host::try_from("bootstrap.example").unwrap(),
        port: 8443,
        trust_anchor: vec![scene.owner.root()],
    };
    scene.information = Information::Redirect(vec![server.clone()]);
    let artifacts = scene.artifacts();
    let mut trail = Trail::default();
    for _ in 0..REDIRECTS_MAX {
        let (_, asked) = trail.ask(&scene.device, QUESTION);
        let Ok(Found::Elsewhere(mut servers)) = asked.answered(&artifacts, &scene.device) else {
            panic!("another server");
        };
        let (next, onwards) = servers.pop().unwrap();
        assert_eq!((next, servers.len()), (server.clone(), 0));
        trail = onwards;
    }
    let (_, asked) = trail.ask(&scene.device, QUESTION);
    assert_refused!(
        asked.answered(&artifacts, &scene.device),
        Refusal::Redirects
    );
}
