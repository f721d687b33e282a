//! Boxes that their maker gave certificates: they come under its serial numbers, and may get one for key managers.

use bartizan_bootstrap_protocol::certificate::Certificate;
use bartizan_bootstrap_protocol::enrol::Reason;
use bartizan_controller::chains::spki;
use bartizan_controller::device::{Bytes, Kme, State};
use bartizan_model::config::{Groups, KmeInterface, KmeTransport};
use bartizan_model::ids::{NodeId, SaeId};

use crate::boxes::{Ways, enrol};
use crate::owner::Owner;
use crate::tpm::{Maker, Tpm};

const NODE: &str = "gw-a.example";
const SERIAL: &str = "BZ-0001";

/// An owner that expects this box, with its TPM.
fn expecting(kmes: Vec<Kme>) -> (Owner, Tpm) {
    let mut owner = Owner::new();
    let mut tpm = owner.tpm();
    tpm.certify_by(&owner.box_maker, SERIAL);
    owner.add_certified(SERIAL, NODE, kmes);
    owner.start();
    (owner, tpm)
}

fn refused(owner: &mut Owner, tpm: &mut Tpm, words: &str) {
    let refused = enrol(owner, tpm, &Ways::default()).refusal();
    assert_eq!(refused, Reason::Identity);
    owner.logged(words);
    owner.stop();
    assert_eq!(owner.device(SERIAL).state(), State::Expected);
}

#[test]
fn a_box_with_its_maker_s_certificates_enrols_under_its_serial_number() {
    let (mut owner, mut tpm) = expecting(Vec::new());
    let enrolment = enrol(&owner, &mut tpm, &Ways::default()).enrolment();
    assert_eq!(enrolment.node.as_str(), NODE);
    owner.stop();
    assert_eq!(owner.device(SERIAL).state(), State::Enrolled);
}

#[test]
fn a_box_of_another_maker_is_refused() {
    let (mut owner, mut tpm) = expecting(Vec::new());
    tpm.certify_by(&Maker::new(), SERIAL);
    refused(
        &mut owner,
        &mut tpm,
        "the IDevID key: the certificate leads to none of the pinned roots",
    );
}

#[test]
fn a_box_that_claims_a_serial_number_its_certificates_do_not_name_is_refused() {
    let (mut owner, mut tpm) = expecting(Vec::new());
    tpm.certify_by(&owner.box_maker, "BZ-0002");
    let ways = Ways {
        serial: Some(SERIAL),
        ..Ways::default()
    };
    let refused = enrol(&owner, &mut tpm, &ways).refusal();
    assert_eq!(refused, Reason::Identity);
    owner.logged("the certificate of the IDevID key has another serial number");
    owner.stop();
    assert_eq!(owner.device(SERIAL).state(), State::Expected);
}

#[test]
fn an_attestation_key_that_is_not_in_its_certificate_is_refused() {
    let (mut owner, mut tpm) = expecting(Vec::new());
    let mut other = owner.tpm();
    other.certify_by(&owner.box_maker, SERIAL);
    tpm.borrow_ak_certificate(&other);
    refused(
        &mut owner,
        &mut tpm,
        "the attestation key is not the one in its certificate",
    );
}

#[test]
fn a_box_without_certificates_is_not_taken_for_one_that_has_them() {
    let (mut owner, _) = expecting(Vec::new());
    let mut bare = owner.tpm();
    let ways = Ways {
        serial: Some(SERIAL),
        ..Ways::default()
    };
    let refused = enrol(&owner, &mut bare, &ways).refusal();
    assert_eq!(refused, Reason::Identity);
    owner.logged("the IDevID key: there is no certificate");
    owner.stop();
    assert_eq!(owner.device(SERIAL).state(), State::Expected);
}

#[test]
fn key_managers_know_the_box_by_a_certificate_over_its_ldevid_key() {
    let sae = SaeId::try_from("sae-a").unwrap();
    let kme = Kme {
        address: "192.0.2.9:8443".parse().unwrap(),
        name: NodeId::try_from("kme.example").unwrap(),
        anchors: vec![Bytes(Owner::new().anchor().0)],
        sae: sae.clone(),
        groups: Groups::HybridOnly,
        interface: KmeInterface::Etsi014,
        transport: KmeTransport::Tls,
        link: None,
        least_rate: 0,
    };
    let (owner, mut tpm) = expecting(vec![kme]);
    let enrolment = enrol(&owner, &mut tpm, &Ways::default()).enrolment();
    let [kme] = &enrolment.kmes[..] else {
        panic!("{:?}", enrolment.kmes);
    };
    let leaf = &kme.chain[0];
    assert_eq!(spki(leaf).unwrap(), spki(&enrolment.ldevid[0]).unwrap());
    Certificate::from_der(&leaf.0).unwrap();
    let shown = leaf.0.windows(sae.as_str().len());
    assert!(
        shown
            .into_iter()
            .any(|part| part == sae.as_str().as_bytes())
    );
}
