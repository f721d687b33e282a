//! The LDevID key: only an approved boot uses it.

use bartizan_evidence::{pcr_key, quote::AttestationKey};
use bartizan_model::{
    identity::{Floor, LdevidFound},
    lifecycle::Lifecycle,
    message::{FromTpm, ToTpm},
};
use bartizan_tests::{
    pki::LoopbackTpm,
    testbed::{boot::scratch_folder, measured::PolicyKey},
};
use bartizan_tpm::{DeviceKey, DeviceKeys, Fresh, Ldevid, Measured, Tpm, TpmError};

use crate::boot::{Boot, sha256};
use crate::role::{BOOTSTRAP, CONTROL, MESSAGE, ORDER, Role, sign_ldevid, verify};

/// `TPM_RC_POLICY_FAIL`, without the number of the session that it is about.
const POLICY_FAIL: u32 = 0x9d;

/// `TPM_RC_HANDLE` for the first handle.
const HANDLE: u32 = 0x18b;

#[test]
fn a_key_is_made_once_and_found_again() {
    let boot = Boot::approved();
    let made = {
        let mut tpm = boot.open();
        assert!(matches!(Ldevid::open(&mut tpm), Err(TpmError::NoLdevid)));
        let made = Ldevid::create(&mut tpm, &boot.measured()).unwrap();
        let again = Ldevid::create(&mut tpm, &boot.measured());
        assert!(matches!(again, Err(TpmError::LdevidStands)));
        made.public_key().to_vec()
    };
    let mut tpm = boot.open();
    assert_eq!(Ldevid::open(&mut tpm).unwrap().public_key(), made);
}

/// What the registrar checks of the key, and the attestation key's word on it.
#[test]
fn the_key_is_what_the_registrar_asks_for() {
    let boot = Boot::approved();
    let mut tpm = boot.open();
    let keys = DeviceKeys::open(&mut tpm).unwrap();
    let fresh = Fresh::create(&mut tpm, &boot.measured()).unwrap();
    let certified = fresh.certify(&mut tpm, &keys, &[9; 32]).unwrap();

    let attestation = AttestationKey::parse(keys.public(DeviceKey::Attestation)).unwrap();
    let public =
        bartizan_evidence::quote::verify_certified(&certified, &attestation, &[9; 32]).unwrap();
    let pem = std::fs::read(boot.folder.join("pcr-public-key.pem")).unwrap();
    let signer = pcr_key::PcrSigningKey::from_pem(&pem).unwrap();
    pcr_key::check_ldevid(&public, &signer.name(), &[0; 32]).unwrap();
    // And that it was looked at.
    pcr_key::check_ldevid(&public, &signer.name(), &[1; 32]).unwrap_err();

    let kept = fresh.keep(&mut tpm).unwrap();
    assert_eq!(kept.public_key(), public.spki());
}

/// The TPM has three slots for objects and no resource manager: a handle that leaks shows at once.
#[test]
fn a_thousand_signatures_fit_into_three_slots() {
    let boot = Boot::approved();
    let mut tpm = boot.open();
    let measured = boot.measured();
    let ldevid = Ldevid::create(&mut tpm, &measured).unwrap();
    for number in 0..1000_u32 {
        let digest = sha256(&number.to_be_bytes());
        ldevid.sign(&mut tpm, &measured, &digest).unwrap();
    }
}

/// A TPM takes a loss of power after the use of a key for a guess at it, and after a few guesses it
/// locks its keys; ours is not among them.
#[test]
fn losses_of_power_lock_no_key() {
    let (state, folder) = (scratch_folder(), scratch_folder());
    PolicyKey::generate().leave(&[(11, [0; 32])].into(), &folder);
    let measured = Measured::open(&folder);
    {
        let swtpm = LoopbackTpm::start(&state);
        Ldevid::create(&mut Tpm::open(&swtpm.tcti()).unwrap(), &measured).unwrap();
    }
    for _loss in 0..8 {
        let mut swtpm = LoopbackTpm::start(&state);
        let mut tpm = Tpm::open(&swtpm.tcti()).unwrap();
        let ldevid = Ldevid::open(&mut tpm).unwrap();
        let digest = sha256(MESSAGE);
        ldevid.sign(&mut tpm, &measured, &digest).unwrap();
        swtpm.kill();
    }
    std::fs::remove_dir_all(state).unwrap();
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_box_without_a_key_signs_nothing_and_lives() {
    let mut role = Role::start(Boot::approved());
    assert_eq!(role.found.ldevid, LdevidFound::Absent);
    role.enter(Lifecycle::Attesting);
    for _ in 0..2 {
        assert_eq!(role.refused(CONTROL, &sign_ldevid()), HANDLE);
    }
}

#[test]
fn a_pcr_11_that_a_foreign_process_extends_takes_the_key_away() {
    let (mut role, key) = Role::owned();
    role.enter(Lifecycle::Attesting);
    verify(&key, &role.ask(CONTROL, &sign_ldevid()));

    role.boot.extend(11);
    for _ in 0..2 {
        let code = role.refused(CONTROL, &sign_ldevid());
        assert_eq!(code & 0xff, POLICY_FAIL, "{code:#x}");
    }
    let role = role.again();
    assert_eq!(role.found.ldevid, LdevidFound::Unusable);
}

#[test]
fn a_pcr_7_of_other_keys_takes_the_key_away() {
    let (mut role, _key) = Role::owned();
    role.boot.extend(7);
    role.enter(Lifecycle::Attesting);
    let code = role.refused(CONTROL, &sign_ldevid());
    assert_eq!(code & 0xff, POLICY_FAIL, "{code:#x}");
    assert_eq!(role.again().found.ldevid, LdevidFound::Unusable);
}

/// An update: another PCR 11, signed by the same key.
#[test]
fn another_approved_boot_uses_the_same_key() {
    let boot = Boot::unapproved();
    let signer = PolicyKey::generate();
    boot.approve(&signer, [0; 32]);
    let mut role = Role::start(boot);
    role.enter(Lifecycle::Enrolling);
    let key = role.enrol();

    let value = role.boot.extend(11);
    role.boot.approve(&signer, value);
    let mut role = role.again();
    assert_eq!(role.found.ldevid, LdevidFound::Usable);
    role.enter(Lifecycle::Attesting);
    verify(&key, &role.ask(CONTROL, &sign_ldevid()));

    // The same value, signed by somebody else.
    role.boot.approve(&PolicyKey::generate(), value);
    assert_eq!(role.again().found.ldevid, LdevidFound::Unusable);
}

#[test]
fn a_signature_file_with_a_wrong_signature_approves_nothing() {
    let boot = Boot::approved();
    let file = boot.folder.join("pcr-signature.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let signature = json["sha256"][0]["sig"].as_str().unwrap().to_owned();
    let turned = if signature.starts_with('A') { "B" } else { "A" };
    json["sha256"][0]["sig"] = format!("{turned}{}", &signature[1..]).into();
    std::fs::write(&file, json.to_string()).unwrap();
    let refused = Fresh::create(&mut boot.open(), &boot.measured());
    assert!(matches!(refused, Err(TpmError::Refused { .. })));
}

#[test]
fn files_that_are_none_approve_nothing() {
    for text in [
        "",
        "{",
        "[]",
        r#"{"sha256": [{"pcrs": [11], "pol": "00"}]}"#,
    ] {
        let boot = Boot::approved();
        std::fs::write(boot.folder.join("pcr-signature.json"), text).unwrap();
        let refused = Fresh::create(&mut boot.open(), &boot.measured());
        let refused = matches!(refused, Err(TpmError::Refused { code, .. }) if code == POLICY_FAIL);
        assert!(refused, "{text}");
    }
}

/// The key's own word on it, from the other vendor's tools.
#[test]
fn a_password_session_opens_nothing() {
    let (role, _key) = Role::owned();
    let boot = &role.boot;
    std::fs::write(boot.folder.join("digest"), sha256(MESSAGE)).unwrap();
    let sign = |key: &str| {
        let options = [
            "-g",
            "sha256",
            "-s",
            "ecdsa",
            "-d",
            "digest",
            "-o",
            "signature",
        ];
        boot.try_tool("tpm2_sign", &[&["-c", key], &options[..]].concat())
    };
    let refused = sign("0x81008001");
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success());
    // TPM_RC_AUTH_UNAVAILABLE: there is no value by which it could be used.
    assert!(text.contains("0x12f") || text.contains("0x12F"), "{text}");

    // The same way works with a key that has a value.
    boot.make_other();
    let signed = sign("other");
    assert!(signed.status.success(), "{signed:?}");
}

#[test]
fn only_one_key_is_kept_in_a_start() {
    let mut role = Role::start(Boot::approved());
    role.enter(Lifecycle::Enrolling);
    assert_eq!(role.refused(BOOTSTRAP, &ToTpm::KeepLdevid(ORDER)), HANDLE);
    let first = role.enrol();
    for again in [
        ToTpm::KeepLdevid(ORDER),
        ToTpm::CreateLdevid {
            order: ORDER,
            qualifying: [1; 32],
        },
    ] {
        assert_eq!(role.ask(BOOTSTRAP, &again), FromTpm::NotPermitted(ORDER));
    }
    // It is of use at once.
    role.enter(Lifecycle::Attesting);
    verify(&first, &role.ask(CONTROL, &sign_ldevid()));
}

#[test]
fn a_key_of_another_make_at_the_handle_is_foreign() {
    let boot = Boot::approved();
    boot.make_other();
    boot.tool("tpm2_evictcontrol", &["-c", "other", "0x81008001"]);
    let mut role = Role::start(boot);
    assert_eq!(role.found.ldevid, LdevidFound::Foreign);
    role.enter(Lifecycle::Quarantined);
    assert_eq!(role.refused(CONTROL, &sign_ldevid()), HANDLE);
}

#[test]
fn a_floor_that_is_gone_makes_the_key_foreign() {
    for floor in [Floor::Ownership, Floor::Rollback, Floor::Time] {
        let (role, _key) = Role::owned();
        let index = match floor {
            Floor::Ownership => "0x1808001",
            Floor::Rollback => "0x1808002",
            Floor::Time => "0x1808003",
        };
        role.boot.tool("tpm2_nvundefine", &[index]);
        assert_eq!(role.again().found.ldevid, LdevidFound::Foreign, "{floor:?}");
    }
}

/// What only the supervisor's file then tells apart from a box that is nobody's.
#[test]
fn after_a_clear_the_key_is_gone_and_the_box_is_itself() {
    let (mut role, key) = Role::owned();
    let identity = |role: &mut Role| {
        role.enter(Lifecycle::Enrolling);
        role.identity()
    };
    let before = identity(&mut role);
    role.boot.tool("tpm2_clear", &[]);
    let mut role = role.again();
    assert_eq!(role.found.ldevid, LdevidFound::Absent);
    let after = identity(&mut role);
    assert_eq!((after.ak, after.idevid), (before.ak, before.idevid));
    assert_eq!(after.floors, bartizan_model::identity::Floors::default());
    assert_ne!(role.enrol().spki(), key.spki());
}
