use core::time::Duration;

use bartizan_controller::device::{
    Attestation, Bytes, Certificate, Class, Clock, Device, EndorsementPin, Enrolment, Failure,
    Identity, Kind, NewDevice, Pins, Refused, Repin, Serial, Site, State,
};
use bartizan_evidence::lease::OwnerTime;
use bartizan_model::identity::{Farewell, Floors};
use bartizan_model::ids::{NodeId, Thumbprint};

const NOW: OwnerTime = OwnerTime(1_800_000_000);

#[test]
fn another_tpm_under_a_known_serial_is_refused() {
    let mut device = enrolled();
    for change in [
        |identity: &mut Identity| identity.endorsement[0].name = Bytes(vec![9]),
        |identity: &mut Identity| identity.endorsement[0].certificate = Bytes(vec![9]),
        |identity: &mut Identity| identity.ak = Bytes(vec![9]),
        |identity: &mut Identity| identity.idevid = Bytes(vec![9]),
        |identity: &mut Identity| identity.endorsement.clear(),
    ] {
        let mut enrolment = enrolment(1);
        change(&mut enrolment.identity);
        let before = device.clone();
        let refused = device.enrol(&enrolment, NOW).unwrap_err();
        assert!(matches!(
            refused,
            Refused::OtherTpm | Refused::NoEndorsement
        ));
        assert_eq!(device, before);
    }
    assert_eq!(device.enrol(&enrolment(1), NOW), Ok(State::Enrolled));
}

#[test]
fn a_failure_is_not_cleared_by_time_nor_by_proofs_of_the_same_boot() {
    let mut device = enrolled();
    device.fail(&failure(Class::State, 1), NOW).unwrap();
    let later = NOW.after(Duration::from_hours(24 * 365 * 100));
    let state = device.attest(&attestation(1), later).unwrap();
    assert_eq!(state, State::Quarantined(Class::State));
    assert_eq!(device.lease_end(), None);
    assert_eq!(device.quarantine().unwrap().since, NOW);
}

#[test]
fn a_clean_boot_clears_a_state_failure_and_no_other() {
    for (class, expected) in [
        (Class::State, State::Enrolled),
        (Class::Malformed, State::Quarantined(Class::Malformed)),
        (Class::Evidence, State::Quarantined(Class::Evidence)),
        (Class::Identity, State::Quarantined(Class::Identity)),
    ] {
        let mut device = enrolled();
        device.fail(&failure(class, 1), NOW).unwrap();
        assert_eq!(device.attest(&attestation(2), NOW), Ok(expected));
        assert_eq!(device.quarantine().is_none(), expected == State::Enrolled);
    }
}

/// Whoever cannot show which boot failed cannot show that another is clean.
#[test]
fn a_failure_without_its_boot_waits_for_an_operator() {
    let mut device = enrolled();
    let mut failure = failure(Class::State, 1);
    failure.clock = None;
    device.fail(&failure, NOW).unwrap();
    let standing = State::Quarantined(Class::State);
    assert_eq!(device.attest(&attestation(2), NOW), Ok(standing));
    assert_eq!(device.approve(Repin::Keep), Ok(State::Enrolled));
}

#[test]
fn the_first_failure_of_a_quarantine_is_the_one_that_is_shown() {
    let mut device = enrolled();
    device.fail(&failure(Class::Evidence, 1), NOW).unwrap();
    let mut lighter = failure(Class::State, 2);
    lighter.text = "later".to_owned();
    device
        .fail(&lighter, NOW.after(Duration::from_mins(1)))
        .unwrap();
    assert_eq!(device.state(), State::Quarantined(Class::Evidence));
    assert_eq!(device.quarantine().unwrap().text, "PCR 11 is another");
    assert_eq!(device.totals().failed, 2);
}

#[test]
fn a_failure_before_the_first_enrolment_leaves_the_tpm_unknown() {
    let mut device = Device::new(new());
    device.fail(&failure(Class::Evidence, 1), NOW).unwrap();
    let standing = State::Quarantined(Class::Evidence);
    assert_eq!(device.enrol(&enrolment(2), NOW), Ok(standing));
    assert_eq!((device.identity(), device.certificate()), (None, None));
    assert_eq!(device.approve(Repin::Keep), Ok(State::Expected));
}

#[test]
fn pins_stand_until_an_operator_lets_them_be_taken_anew() {
    let mut device = enrolled();
    let pinned = device.pins().cloned();
    let mut attestation = attestation(1);
    attestation.pins.0.insert(0, Bytes(vec![7; 32]));
    device.attest(&attestation, NOW).unwrap();
    assert_eq!(device.pins(), pinned.as_ref());

    device.fail(&failure(Class::State, 1), NOW).unwrap();
    device.approve(Repin::Keep).unwrap();
    assert_eq!(device.pins(), pinned.as_ref());
    device.fail(&failure(Class::State, 1), NOW).unwrap();
    device.approve(Repin::Anew).unwrap();
    assert_eq!(device.pins(), None);
    device.attest(&attestation, NOW).unwrap();
    assert_eq!(device.pins(), Some(&attestation.pins));
}

/// `TPM2_Clear` deletes the floors of a TPM, and not the ones here.
#[test]
fn floors_only_rise() {
    for floors in [
        floors(Some(2), Some(4)),
        floors(Some(3), Some(3)),
        floors(None, None),
    ] {
        let mut device = enrolled();
        let before = device.clone();
        let mut attestation = attestation(2);
        attestation.floors = floors;
        let refused = device.attest(&attestation, NOW);
        assert!(matches!(refused, Err(Refused::BelowFloor { .. })));
        let mut enrolment = enrolment(2);
        enrolment.floors = floors;
        let refused = device.enrol(&enrolment, NOW);
        assert!(matches!(refused, Err(Refused::BelowFloor { .. })));
        assert_eq!(device, before);
    }
    let mut device = enrolled();
    let mut attestation = attestation(1);
    attestation.floors = floors(Some(3), Some(9));
    device.attest(&attestation, NOW).unwrap();
    assert_eq!(device.floors().rollback, Some(9));
}

#[test]
fn what_the_device_must_be_told_is_owed_until_it_confirms() {
    for (farewell, state) in [
        (Farewell::Release, State::Released),
        (Farewell::Retire, State::Retired),
    ] {
        let mut device = enrolled();
        assert_eq!(device.part(farewell), Ok(state));
        assert_eq!(device.farewell(), Some(farewell));
        assert!(device.attest(&attestation(2), NOW).is_err());
        assert_eq!(device.parted(), Ok(state));
        assert_eq!(device.farewell(), None);
        assert_eq!(device.parted(), Err(Refused::NothingOwed));
    }
    // Nothing is owed to who never came.
    let mut device = Device::new(new());
    device.part(Farewell::Release).unwrap();
    assert_eq!(device.farewell(), None);
}

#[test]
fn words_of_a_device_are_one_bounded_line() {
    let mut device = enrolled();
    let mut failure = failure(Class::Evidence, 1);
    failure.text = "x\n\u{1b}[2J".to_owned() + &"y".repeat(1 << 20);
    device.fail(&failure, NOW).unwrap();
    let text = &device.quarantine().unwrap().text;
    assert!(text.len() < 4096 && !text.chars().any(char::is_control));
}

#[test]
fn a_record_is_what_it_was_written_as() {
    let mut device = enrolled();
    device.fail(&failure(Class::Evidence, 1), NOW).unwrap();
    let json = serde_json::to_string(&device).unwrap();
    assert_eq!(serde_json::from_str::<Device>(&json).unwrap(), device);
}

fn new() -> NewDevice {
    NewDevice {
        serial: Serial::try_from("BZ-0001").unwrap(),
        node: NodeId::try_from("gw-a.example").unwrap(),
        kind: Kind::Idevid,
        site: Site::default(),
    }
}

fn enrolled() -> Device {
    let mut device = Device::new(new());
    assert_eq!(device.enrol(&enrolment(1), NOW), Ok(State::Enrolled));
    device
}

fn enrolment(boot: u32) -> Enrolment {
    Enrolment {
        identity: Identity {
            endorsement: vec![EndorsementPin {
                name: Bytes(vec![1; 34]),
                certificate: Bytes(vec![2; 32]),
            }],
            ak: Bytes(vec![3; 90]),
            idevid: Bytes(vec![4; 120]),
        },
        pins: Pins([(0, Bytes(vec![0; 32])), (7, Bytes(vec![7; 32]))].into()),
        clock: clock(boot),
        floors: floors(Some(3), Some(4)),
        epoch: Some(3),
        certificate: Certificate {
            key: Thumbprint([5; 32]),
            der: Bytes(vec![6; 500]),
            not_after: NOW.after(Duration::from_hours(24)),
        },
    }
}

fn attestation(boot: u32) -> Attestation {
    Attestation {
        pins: enrolment(boot).pins,
        clock: clock(boot),
        floors: floors(Some(3), Some(4)),
        lease_end: NOW.after(Duration::from_mins(5)),
        certificate: None,
    }
}

fn failure(class: Class, boot: u32) -> Failure {
    Failure {
        class,
        rule: "V13".to_owned(),
        text: "PCR 11 is another".to_owned(),
        clock: Some(clock(boot)),
    }
}

fn clock(boot: u32) -> Clock {
    Clock {
        clock: 1000,
        reset_count: boot,
        restart_count: 0,
        safe: true,
    }
}

fn floors(ownership: Option<u64>, rollback: Option<u64>) -> Floors {
    Floors {
        ownership,
        rollback,
        time: None,
    }
}
