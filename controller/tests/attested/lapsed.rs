//! A box that was off for so long that its certificate has ended: it proves itself as ever, gets a
//! new one, and nothing else before it comes with that.

use bartizan_controller::device::{Class, State};
use bartizan_evidence::lease::Status;
use bartizan_model::config::Der;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use crate::boxes::{Ways as Enrolling, enrol};
use crate::gateway::{Done, Played, Ways};
use crate::owner::Owner;
use crate::tpm::Tpm;

const NODE: &str = "gw-a.example";

#[test]
fn a_box_that_was_off_for_a_day_comes_back_by_itself() {
    let (owner, tpm) = enrolled();
    let ended = ended(&owner, &tpm.ldevid);
    let gateway = Played::call_home(&owner, tpm, &ended, Ways::default());
    let (mut challenged, mut renewed, mut leased) = (false, None, false);
    loop {
        match gateway.next(Some) {
            Done::Challenged => challenged = true,
            Done::Renewed(chain) => renewed = Some(chain),
            Done::Leased(claims) => {
                assert_eq!(claims.status, Status::Affirming);
                assert!(challenged, "a lease rests on evidence");
                assert!(!core::mem::replace(&mut leased, true), "one lease");
            }
            Done::Ordered(order) => panic!("{order:?}"),
            Done::Edited(policies) => panic!("{policies:?}"),
            Done::Ended => break,
            Done::Read(_) | Done::Proved(_) => {}
        }
    }
    assert!(leased);
    let renewed = renewed.unwrap();
    assert_ne!(renewed, ended);

    // With that it stays: a second lease comes in one session.
    let gateway = Played::again(&owner, gateway.tpm, &renewed, Ways::default());
    assert_eq!(gateway.leased(), Status::Affirming);
    assert_eq!(gateway.leased(), Status::Affirming);
}

#[test]
fn a_tampered_box_whose_certificate_has_ended_gets_no_other() {
    let (mut owner, mut tpm) = enrolled();
    let serial = tpm.serial();
    let ended = ended(&owner, &tpm.ldevid);
    tpm.tamper(11);
    let gateway = Played::call_home(&owner, tpm, &ended, Ways::default());
    owner.logged("its certificate has ended");
    owner.logged("failed by");
    owner.stop();
    let quarantined = State::Quarantined(Class::State);
    assert_eq!(owner.device(&serial).state(), quarantined);
    loop {
        match gateway.next(Some) {
            Done::Challenged | Done::Read(_) | Done::Proved(_) => {}
            Done::Ended => break,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_ended_certificate_over_another_key_is_turned_away() {
    let (owner, mut tpm) = enrolled();
    tpm.ldevid = KeyPair::generate().unwrap();
    let ended = ended(&owner, &tpm.ldevid);
    let gateway = Played::call_home(&owner, tpm, &ended, Ways::default());
    gateway.ended_without_a_lease();
    owner.logged("the certificate is not over the device");
}

/// An owner with one enrolled box.
fn enrolled() -> (Owner, Tpm) {
    let mut owner = Owner::new();
    let mut tpm = owner.tpm();
    owner.add(&tpm.serial(), NODE);
    owner.start();
    enrol(&owner, &mut tpm, &Enrolling::default()).enrolment();
    (owner, tpm)
}

/// The owner's certificate over a key, of long ago.
fn ended(owner: &Owner, key: &KeyPair) -> Vec<Der> {
    let mut params = CertificateParams::new(vec![NODE.to_owned()]).unwrap();
    params.not_after = date_time_ymd(2001, 1, 1);
    let certificate = params.signed_by(key, &owner.ca).unwrap();
    vec![Der(certificate.der().to_vec())]
}
