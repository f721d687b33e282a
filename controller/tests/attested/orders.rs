//! What an operator orders of a gateway, and what becomes of it.

use bartizan_bootstrap_protocol::enrol::Reason;
use bartizan_controller::device::State;
use bartizan_evidence::lease::Status;
use bartizan_model::identity::Farewell;

use crate::boxes::{Ways as Enrolling, enrol};
use crate::gateway::{Done, Played, Ways};
use crate::owner::{Owner, Pace};

/// So seldom that no lease is renewed within a test.
const SELDOM: Pace = Pace {
    cadence: 3600,
    lease: 14_400,
    poll: 3600,
};

#[test]
fn an_attestation_that_is_demanded_is_asked_for_at_once() {
    let mut owner = Owner::new();
    let mut tpm = owner.tpm();
    let serial = tpm.serial();
    owner.add(&serial, "gw-a.example");
    owner.configure(SELDOM);
    owner.start();
    let enrolment = enrol(&owner, &mut tpm, &Enrolling::default()).enrolment();
    let gateway = Played::call_home(&owner, tpm, &enrolment.ldevid, Ways::default());
    assert_eq!(gateway.leased(), Status::Affirming);
    owner.order(&["device", "attest", &serial, "--wait", "30"]);
    assert_eq!(gateway.leased(), Status::Affirming);
    // Tampered with: the demand finds it, an hour before the cadence would.
    gateway.tpm.lock().unwrap().tamper(11);
    owner.order(&["device", "attest", &serial]);
    assert_eq!(gateway.leased(), Status::Contraindicated);
    owner.logged("V13");
}

#[test]
fn a_retired_box_is_ordered_to_forget_and_never_taken_in_again() {
    let mut owner = Owner::new();
    let mut tpm = owner.tpm();
    let serial = tpm.serial();
    owner.add(&serial, "gw-a.example");
    owner.start();
    let enrolment = enrol(&owner, &mut tpm, &Enrolling::default()).enrolment();
    let gateway = Played::call_home(&owner, tpm, &enrolment.ldevid, Ways::default());
    assert_eq!(gateway.leased(), Status::Affirming);
    owner.order(&["device", "retire", &serial]);
    let farewell = gateway.next(|done| match done {
        Done::Ordered(order) => Some(order.farewell),
        _ => None,
    });
    assert_eq!(farewell, Farewell::Retire);
    owner.logged("took the order: retire");
    let mut tpm = gateway.tpm.lock().unwrap();
    let refused = enrol(&owner, &mut tpm, &Enrolling::default()).refusal();
    drop(tpm);
    assert_eq!(refused, Reason::Refused);
    owner.logged("is retired");
    owner.stop();
    let device = owner.device(&serial);
    assert_eq!((device.state(), device.farewell()), (State::Retired, None));
}
