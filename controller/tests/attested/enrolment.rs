//! What it takes to enrol, and what is refused: coarsely to the box, precisely in the log.

use bartizan_bootstrap_protocol::enrol::Reason;
use bartizan_controller::device::{Class, State};
use bartizan_evidence::structures::{Attributes, Public};
use bartizan_model::config::Der;

use crate::boxes::{Ways, enrol};
use crate::owner::Owner;
use crate::tpm::{Boot, Maker, Tpm};

/// What a box changes of its LDevID key.
type Change = fn(&mut Public);

const NODE: &str = "gw-a.example";

/// An owner that expects the box with this TPM.
fn expecting(owner: &mut Owner, tpm: &Tpm) {
    owner.add(&tpm.serial(), NODE);
    owner.start();
}

#[test]
fn a_box_that_is_what_it_should_be_becomes_the_owner_s() {
    let mut owner = Owner::new();
    let mut tpm = owner.tpm();
    expecting(&mut owner, &tpm);
    let enrolment = enrol(&owner, &mut tpm, &Ways::default()).enrolment();
    assert_eq!(enrolment.node.as_str(), NODE);
    owner.stop();
    let device = owner.device(&tpm.serial());
    assert_eq!(device.state(), State::Enrolled);
    assert_eq!(device.identity().unwrap().ak.0, tpm.identity().ak);
    let certificate = device.certificate().unwrap();
    assert_eq!(Der(certificate.der.0.clone()), enrolment.ldevid[0]);
    assert_eq!(device.clock().unwrap().reset_count, 1);
}

#[test]
fn a_known_box_enrols_again() {
    let mut owner = Owner::new();
    let mut tpm = owner.tpm();
    expecting(&mut owner, &tpm);
    enrol(&owner, &mut tpm, &Ways::default()).enrolment();
    tpm.reboot(Boot::of(crate::owner::IMAGE));
    enrol(&owner, &mut tpm, &Ways::default()).enrolment();
    owner.stop();
    assert_eq!(owner.device(&tpm.serial()).totals().certificates, 2);
}

/// A refusal that anybody could have caused: the device's record knows nothing of it.
fn refused_without_a_trace(ways: &Ways<'_>, reason: Reason, words: &str) {
    let mut owner = Owner::new();
    let mut tpm = owner.tpm();
    expecting(&mut owner, &tpm);
    assert_eq!(enrol(&owner, &mut tpm, ways).refusal(), reason);
    owner.logged(words);
    owner.stop();
    assert_eq!(owner.device(&tpm.serial()).state(), State::Expected);
}

#[test]
fn a_serial_number_that_is_nobody_s_is_refused() {
    let ways = Ways {
        serial: Some("ek-00112233445566778899aabbccddeeff00112233"),
        ..Ways::default()
    };
    refused_without_a_trace(&ways, Reason::Refused, "is no device of ours");
}

#[test]
fn an_unrestricted_attestation_key_is_refused() {
    let ways = Ways {
        identity: Some(|identity| identity.ak[5] ^= 0x01),
        ..Ways::default()
    };
    refused_without_a_trace(
        &ways,
        Reason::Identity,
        "the attestation key is not restricted",
    );
}

#[test]
fn an_imported_attestation_key_is_refused() {
    let ways = Ways {
        identity: Some(|identity| identity.ak[7] ^= 0x02),
        ..Ways::default()
    };
    refused_without_a_trace(
        &ways,
        Reason::Identity,
        "the attestation key is not fixedTPM",
    );
}

#[test]
fn an_attestation_key_named_by_sha_1_is_refused() {
    let ways = Ways {
        identity: Some(|identity| identity.ak[3] = 0x04),
        ..Ways::default()
    };
    refused_without_a_trace(&ways, Reason::Identity, "V4");
}

#[test]
fn a_box_without_an_endorsement_key_is_refused() {
    let ways = Ways {
        identity: Some(|identity| identity.endorsement.clear()),
        ..Ways::default()
    };
    refused_without_a_trace(&ways, Reason::Identity, "there is no endorsement key");
}

#[test]
fn an_endorsement_key_of_another_template_is_refused() {
    let ways = Ways {
        identity: Some(|identity| identity.endorsement[0].public[7] ^= 0x40),
        ..Ways::default()
    };
    refused_without_a_trace(&ways, Reason::Identity, "none of the default templates");
}

#[test]
fn an_endorsement_key_that_is_not_in_its_certificate_is_refused() {
    let mut owner = Owner::new();
    let (mut tpm, other) = (owner.tpm(), owner.tpm());
    expecting(&mut owner, &tpm);
    // The certificate is good, and another TPM's.
    tpm.borrow_certificate(&other);
    let refused = enrol(&owner, &mut tpm, &Ways::default()).refusal();
    assert_eq!(refused, Reason::Identity);
    owner.logged("the endorsement key is not the one in its certificate");
}

#[test]
fn an_endorsement_key_of_an_unknown_maker_is_refused() {
    let mut owner = Owner::new();
    let mut tpm = Tpm::new(&Maker::new(), Boot::of(crate::owner::IMAGE));
    expecting(&mut owner, &tpm);
    let refused = enrol(&owner, &mut tpm, &Ways::default()).refusal();
    assert_eq!(refused, Reason::Identity);
    owner.logged("leads to none of the pinned roots");
}

#[test]
fn a_second_tpm_under_a_known_serial_number_is_refused() {
    let mut owner = Owner::new();
    let (mut tpm, mut other) = (owner.tpm(), owner.tpm());
    expecting(&mut owner, &tpm);
    enrol(&owner, &mut tpm, &Ways::default()).enrolment();
    let serial = tpm.serial();
    let ways = Ways {
        serial: Some(&serial),
        ..Ways::default()
    };
    assert_eq!(enrol(&owner, &mut other, &ways).refusal(), Reason::Identity);
    owner.logged("the serial number is not that of the endorsement key");
    owner.stop();
    assert_eq!(owner.device(&serial).state(), State::Enrolled);
}

#[test]
fn a_software_attestation_key_beside_a_real_tpm_is_refused() {
    let mut owner = Owner::new();
    let mut tpm = owner.tpm();
    expecting(&mut owner, &tpm);
    // The TPM opens no credential for a Name that is none of its objects'; whoever has the key in software guesses.
    let ways = Ways {
        no_proof: true,
        ..Ways::default()
    };
    assert_eq!(enrol(&owner, &mut tpm, &ways).refusal(), Reason::Identity);
    owner.logged("the proof of the credential is wrong");
    owner.stop();
    assert_eq!(owner.device(&tpm.serial()).state(), State::Expected);
}

#[test]
fn an_ldevid_key_of_other_attributes_or_policy_is_refused_and_recorded() {
    let changes: [(Change, &str); 2] = [
        (
            |key| key.attributes = key.attributes | Attributes::USER_WITH_AUTH,
            "the LDevID has other attributes",
        ),
        (
            |key| key.auth_policy[0] ^= 1,
            "the LDevID has another policy",
        ),
    ];
    for (change, words) in changes {
        let mut owner = Owner::new();
        let mut tpm = owner.tpm();
        expecting(&mut owner, &tpm);
        let ways = Ways {
            ldevid: Some(change),
            ..Ways::default()
        };
        assert_eq!(enrol(&owner, &mut tpm, &ways).refusal(), Reason::Identity);
        owner.logged(words);
        owner.stop();
        let state = owner.device(&tpm.serial()).state();
        assert_eq!(state, State::Quarantined(Class::Identity));
    }
}

#[test]
fn a_box_that_runs_something_else_is_quarantined_until_it_boots_clean() {
    let mut owner = Owner::new();
    let mut tpm = owner.tpm();
    expecting(&mut owner, &tpm);
    tpm.reboot(Boot::of("another image"));
    let refused = enrol(&owner, &mut tpm, &Ways::default()).refusal();
    assert_eq!(refused, Reason::State);
    owner.logged("V13");
    owner.stop();
    let state = owner.device(&tpm.serial()).state();
    assert_eq!(state, State::Quarantined(Class::State));
    owner.start();
    tpm.reboot(Boot::of(crate::owner::IMAGE));
    enrol(&owner, &mut tpm, &Ways::default()).enrolment();
}

#[test]
fn a_log_that_does_not_explain_the_quote_is_refused() {
    let changes: [fn(&mut Vec<u8>); 2] = [
        |log| {
            // The last event is dropped.
            let event = 4 + 4 + 4 + 2 + 32 + 4 + crate::owner::IMAGE.len();
            log.truncate(log.len() - event);
        },
        |log| {
            let last = log.len() - crate::owner::IMAGE.len() - 5;
            log[last] ^= 1;
        },
    ];
    for change in changes {
        let mut owner = Owner::new();
        let mut tpm = owner.tpm();
        expecting(&mut owner, &tpm);
        let ways = Ways {
            log: Some(change),
            ..Ways::default()
        };
        assert_eq!(enrol(&owner, &mut tpm, &ways).refusal(), Reason::State);
        owner.logged("V12");
    }
}

#[test]
fn a_box_in_quarantine_is_heard_and_gets_no_certificate() {
    let mut owner = Owner::new();
    let mut tpm = owner.tpm();
    expecting(&mut owner, &tpm);
    enrol(&owner, &mut tpm, &Ways::default()).enrolment();
    tpm.tamper(11);
    let ways = Ways {
        quarantine: true,
        ..Ways::default()
    };
    assert_eq!(enrol(&owner, &mut tpm, &ways).refusal(), Reason::State);
    owner.stop();
    let device = owner.device(&tpm.serial());
    assert_eq!(device.state(), State::Quarantined(Class::State));
    assert_eq!(device.totals().certificates, 1);
}

/// A challenge is not answered for ever: the nonce and the credential are gone with the connection.
#[test]
fn a_box_that_falls_silent_is_dropped_at_the_deadline() {
    let mut owner = Owner::new();
    let mut tpm = owner.tpm();
    expecting(&mut owner, &tpm);
    let ways = Ways {
        falls_silent: true,
        ..Ways::default()
    };
    let dropped = enrol(&owner, &mut tpm, &ways);
    assert!(matches!(dropped, crate::boxes::Result::Dropped));
    owner.logged("the box took too long");
    owner.stop();
    assert_eq!(owner.device(&tpm.serial()).state(), State::Expected);
}

#[test]
fn evidence_for_another_session_is_refused() {
    let ways = Ways {
        channel: Some([9; 32]),
        ..Ways::default()
    };
    refused_without_a_trace(&ways, Reason::Evidence, "V7");
}
