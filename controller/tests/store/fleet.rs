//! Devices to try the store with.

use bartizan_controller::device::{
    Actor, Attestation, Bytes, Certificate, Class, Clock, EndorsementPin, Enrolment, Failure,
    Identity, Kind, NewDevice, Occasion, Outcome, Pins, Serial, Site, Verdict,
};
use bartizan_controller::store::Store;
use bartizan_evidence::lease::OwnerTime;
use bartizan_model::identity::Floors;
use bartizan_model::ids::{NodeId, Thumbprint};

pub(crate) const NOW: OwnerTime = OwnerTime(1_800_000_000);

pub(crate) fn operator() -> Actor {
    Actor::new("a test")
}

pub(crate) fn serial(number: u32) -> Serial {
    Serial::try_from(format!("BZ-{number:05}")).unwrap()
}

pub(crate) fn new(number: u32) -> NewDevice {
    NewDevice {
        serial: serial(number),
        node: NodeId::try_from(format!("gw-{number}.example")).unwrap(),
        kind: Kind::Idevid,
        site: Site::default(),
    }
}

/// What the TPM of this number proves.
pub(crate) fn enrolment(tpm: u32) -> Enrolment {
    let bytes = |label: &str| Bytes(format!("{label} of {tpm}").into_bytes());
    Enrolment {
        identity: Identity {
            endorsement: vec![
                EndorsementPin {
                    name: bytes("an RSA key"),
                    certificate: bytes("its certificate"),
                },
                EndorsementPin {
                    name: bytes("an ECC key"),
                    certificate: bytes("its certificate"),
                },
            ],
            ak: bytes("an attestation key"),
            idevid: bytes("an identity key"),
        },
        pins: Pins([(0, bytes("PCR 0"))].into()),
        clock: clock(1),
        floors: Floors::default(),
        epoch: Some(1),
        certificate: certificate(tpm, 1),
    }
}

pub(crate) fn attestation(boot: u32) -> Attestation {
    Attestation {
        pins: Pins::default(),
        clock: clock(boot),
        floors: Floors::default(),
        lease_end: OwnerTime(NOW.0 + 300),
        certificate: None,
    }
}

pub(crate) fn certificate(tpm: u32, number: u64) -> Certificate {
    Certificate {
        key: Thumbprint([u8::try_from(tpm % 256).unwrap(); 32]),
        der: Bytes(vec![0x30; 600]),
        not_after: OwnerTime(NOW.0 + number),
    }
}

pub(crate) fn failure(class: Class, text: &str) -> Failure {
    Failure {
        class,
        rule: "V13".to_owned(),
        text: text.to_owned(),
        clock: Some(clock(1)),
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

/// Adds a device and enrols it.
pub(crate) async fn enrolled(store: &Store, number: u32) -> Serial {
    let new = new(number);
    store.add(new, &operator(), NOW).await.unwrap();
    let serial = serial(number);
    store.enrol(&serial, &enrolment(number), NOW).await.unwrap();
    serial
}

pub(crate) async fn fail(store: &Store, serial: &Serial, class: Class, text: &str) {
    let occasion = Occasion::Attestation;
    let failed = store
        .fail(serial, occasion, &failure(class, text), NOW)
        .await;
    failed.unwrap();
}

/// The texts of the failures that are kept.
pub(crate) fn failures(verdicts: &[Verdict]) -> Vec<&str> {
    verdicts
        .iter()
        .filter_map(|verdict| match &verdict.outcome {
            Outcome::Failed { text, .. } => Some(text.as_str()),
            Outcome::Passed => None,
        })
        .collect()
}
