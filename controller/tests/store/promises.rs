//! The same promises in both places.

use bartizan_controller::device::{Act, Class, Refused, Repin, State};
use bartizan_controller::plan::Plan;
use bartizan_controller::reqids::Reqids;
use bartizan_controller::store::{DeviceError, Kept, Place, Store, StoreError};
use bartizan_model::identity::Farewell;

use crate::cluster::Cluster;
use crate::file::Folder;
use crate::fleet::{
    NOW, attestation, certificate, enrolled, enrolment, fail, failures, new, operator, serial,
};

#[tokio::test]
async fn a_file_keeps_the_promises() {
    let folder = Folder::new();
    promises(&folder.place()).await;
}

#[tokio::test]
async fn a_database_keeps_the_promises() {
    let cluster = Cluster::start();
    promises(&cluster.place()).await;
}

async fn promises(place: &Place) {
    what_is_known_twice_is_refused(place).await;
    a_failure_outlives_the_controller(place).await;
    histories_are_bounded_and_proofs_wash_no_failure_away(place).await;
    one_tpm_is_one_device(place).await;
    what_operators_do_is_audited(place).await;
    the_plan_is_found_again(place).await;
    devices_are_listed_in_pages(place).await;
}

async fn what_is_known_twice_is_refused(place: &Place) {
    let store = Store::open(place).await.unwrap();
    store.add(new(1), &operator(), NOW).await.unwrap();
    let again = store.add(new(1), &operator(), NOW).await;
    assert!(matches!(again, Err(DeviceError::Known(_))), "{again:?}");
    let mut same_node = new(2);
    same_node.node = new(1).node;
    let taken = store.add(same_node, &operator(), NOW).await;
    assert!(
        matches!(&taken, Err(DeviceError::NodeTaken { serial, .. }) if *serial == new(1).serial),
        "{taken:?}"
    );
    assert_eq!(store.device(&serial(2)).await.unwrap(), None);
    let device = store.device_of(&new(1).node).await.unwrap().unwrap();
    assert_eq!(*device.serial(), serial(1));
    let unknown = store.attest(&serial(2), &attestation(1), NOW).await;
    assert!(
        matches!(unknown, Err(DeviceError::Unknown(_))),
        "{unknown:?}"
    );
}

async fn a_failure_outlives_the_controller(place: &Place) {
    let before = {
        let store = Store::open(place).await.unwrap();
        let serial = enrolled(&store, 10).await;
        fail(&store, &serial, Class::State, "PCR 11 is another").await;
        store.device(&serial).await.unwrap().unwrap()
    };
    let store = Store::open(place).await.unwrap();
    let after = store.device(&serial(10)).await.unwrap().unwrap();
    assert_eq!(after, before);
    assert_eq!(after.state(), State::Quarantined(Class::State));
    let proved = store.attest(&serial(10), &attestation(1), NOW).await;
    assert_eq!(proved.unwrap().state(), State::Quarantined(Class::State));
    let approved = store
        .approve(&serial(10), Repin::Keep, &operator(), NOW)
        .await;
    assert_eq!(approved.unwrap().state(), State::Enrolled);
}

async fn histories_are_bounded_and_proofs_wash_no_failure_away(place: &Place) {
    let store = Store::open(place).await.unwrap();
    let serial = enrolled(&store, 20).await;
    fail(&store, &serial, Class::State, "the one").await;
    for number in 0..40 {
        let mut attestation = attestation(2);
        attestation.certificate = Some(certificate(20, number));
        store.attest(&serial, &attestation, NOW).await.unwrap();
    }
    let verdicts = store.verdicts(&serial).await.unwrap();
    assert_eq!(failures(&verdicts), ["the one"]);
    assert_eq!(verdicts.len(), 32 + 1);
    let certificates = store.certificates(&serial).await.unwrap();
    assert_eq!(certificates.len(), 16);
    assert_eq!(certificates[0], certificate(20, 39));
    for number in 0..130 {
        fail(&store, &serial, Class::Evidence, &number.to_string()).await;
    }
    let verdicts = store.verdicts(&serial).await.unwrap();
    let texts = failures(&verdicts);
    assert_eq!(texts.len(), 128);
    assert!(texts.contains(&"129") && !texts.contains(&"the one"));
}

/// Every key of a TPM is its own device's, under whatever serial it comes again.
async fn one_tpm_is_one_device(place: &Place) {
    let store = Store::open(place).await.unwrap();
    let first = enrolled(&store, 30).await;
    store.add(new(31), &operator(), NOW).await.unwrap();
    for part in 0..4 {
        let (mut enrolment, known) = (enrolment(31), enrolment(30).identity);
        match part {
            0 => enrolment.identity.endorsement[0] = known.endorsement[0].clone(),
            1 => enrolment.identity.endorsement[1] = known.endorsement[1].clone(),
            2 => enrolment.identity.ak = known.ak,
            _ => enrolment.identity.idevid = known.idevid,
        }
        let taken = store.enrol(&serial(31), &enrolment, NOW).await;
        assert!(
            matches!(&taken, Err(DeviceError::KeyTaken(owner)) if *owner == first),
            "{taken:?}"
        );
    }
    let standing = store.device(&serial(31)).await.unwrap().unwrap();
    assert_eq!(standing.state(), State::Expected);
    let other = store.enrol(&first, &enrolment(32), NOW).await;
    assert!(
        matches!(other, Err(DeviceError::Refused(Refused::OtherTpm))),
        "{other:?}"
    );
    // Retired keys stay denied.
    let (retire, operator) = (Farewell::Retire, operator());
    store.part(&first, retire, &operator, NOW).await.unwrap();
    let taken = store.enrol(&serial(31), &enrolment(30), NOW).await;
    assert!(matches!(taken, Err(DeviceError::KeyTaken(_))), "{taken:?}");
}

async fn what_operators_do_is_audited(place: &Place) {
    let store = Store::open(place).await.unwrap();
    let serial = enrolled(&store, 40).await;
    store.demand(&serial, &operator(), NOW).await.unwrap();
    store.revoke(&serial, &operator(), NOW).await.unwrap();
    let refused = store.revoke(&serial, &operator(), NOW).await;
    assert!(refused.is_err());
    let audited = store.audited().await.unwrap();
    let acts = audited
        .iter()
        .filter(|act| act.serial.as_ref() == Some(&serial));
    let acts: Vec<_> = acts.map(|audited| audited.act).collect();
    assert_eq!(acts, [Act::Revoke, Act::Attest, Act::Add]);
    assert!(audited.iter().all(|act| act.actor == operator()));
}

async fn the_plan_is_found_again(place: &Place) {
    let text = "[node.a]\naddresses = [\"192.0.2.1\"]\n[node.b]\naddresses = [\"192.0.2.2\"]\n\
        [[tunnel]]\nid = 1\nbetween = [\"a\", \"b\"]\nmode = \"tunnel\"\n\
        networks = [\"10.1.0.0/16\", \"11.1.0.0/16\"]\n\
        kem = { need = \"required\", parameter-set = \"ml-kem-768\" }\n";
    let (document, plan) = Plan::parse(text).unwrap();
    let reqids = Reqids::default().for_plan(&plan);
    let kept = Kept { document, reqids };
    {
        let store = Store::open(place).await.unwrap();
        assert_eq!(store.plan().await.unwrap(), Kept::default());
        let decide = |standing: &Kept| {
            assert_eq!(*standing, Kept::default());
            Ok::<_, StoreError>(kept.clone())
        };
        store.replace_plan(&operator(), NOW, decide).await.unwrap();
    }
    let store = Store::open(place).await.unwrap();
    assert_eq!(store.plan().await.unwrap(), kept);
}

async fn devices_are_listed_in_pages(place: &Place) {
    let store = Store::open(place).await.unwrap();
    let all = store.devices(None).await.unwrap();
    let serials: Vec<_> = all.iter().map(|device| device.serial().clone()).collect();
    assert!(serials.is_sorted() && serials.len() >= 5, "{serials:?}");
    let rest = store.devices(Some(&serials[1])).await.unwrap();
    assert_eq!(rest, all[2..]);
    assert_eq!(store.nodes().await.unwrap().len(), serials.len());
}
