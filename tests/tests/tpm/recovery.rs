//! What others do to the TPM while the role runs.

use bartizan_model::{
    identity::{KeyName, PcrSelection},
    lifecycle::Lifecycle,
    message::{FromTpm, ToTpm},
};

use crate::boot::Boot;
use crate::role::{BOOTSTRAP, CONTROL, ORDER, Role, sign_ldevid, verify};

fn quote() -> ToTpm {
    ToTpm::Quote {
        order: ORDER,
        qualifying: vec![5; 32],
        pcrs: PcrSelection(0x0881),
    }
}

/// The PCRs are as they were in this testbed, where nothing is measured; on a real box they would
/// not be, and the key would be gone.
#[test]
fn a_tpm_that_was_restarted_is_started_up_and_used_again() {
    let (mut role, key) = Role::owned();
    role.enter(Lifecycle::Attesting);
    verify(&key, &role.ask(CONTROL, &sign_ldevid()));
    for _ in 0..3 {
        role.boot.restart();
        verify(&key, &role.ask(CONTROL, &sign_ldevid()));
        role.boot.restart();
        let quoted = role.ask(CONTROL, &quote());
        assert!(matches!(quoted, FromTpm::Quoted { .. }), "{quoted:?}");
    }
}

#[test]
fn a_restart_in_which_nothing_is_measured_again_takes_the_key_away() {
    let boot = Boot::unapproved();
    let signer = bartizan_tests::testbed::measured::PolicyKey::generate();
    let value = boot.extend(11);
    boot.approve(&signer, value);
    let mut role = Role::start(boot);
    role.enter(Lifecycle::Enrolling);
    let key = role.enrol();
    role.enter(Lifecycle::Attesting);
    verify(&key, &role.ask(CONTROL, &sign_ldevid()));
    role.boot.restart();
    let code = role.refused(CONTROL, &sign_ldevid());
    assert_eq!(code & 0xff, 0x9d, "{code:#x}");
}

#[test]
fn a_foreign_process_that_flushes_everything_stops_nothing() {
    let (mut role, key) = Role::owned();
    role.enter(Lifecycle::Attesting);
    for _ in 0..5 {
        for what in ["-t", "-l", "-s"] {
            role.boot.tool("tpm2_flushcontext", &[what]);
        }
        verify(&key, &role.ask(CONTROL, &sign_ldevid()));
    }
}

/// While one asks, the other flushes: whatever is lost in the middle of an answer is tried again,
/// and no answer is wrong.
#[test]
fn a_foreign_process_that_flushes_all_the_time_gets_no_wrong_answer() {
    let (mut role, key) = Role::owned();
    role.enter(Lifecycle::Attesting);
    let mut signed = 0;
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let done = &done;
        let (edges, boot) = (&mut role.edges, &role.boot);
        let flusher = scope.spawn(move || {
            while !done.load(std::sync::atomic::Ordering::SeqCst) {
                boot.try_tool("tpm2_flushcontext", &["-l"]);
                boot.try_tool("tpm2_flushcontext", &["-t"]);
            }
        });
        for _ in 0..100 {
            edges[CONTROL].send(&sign_ldevid()).unwrap();
            let reply = crate::role::wait_for(&mut edges[CONTROL]);
            if matches!(reply, FromTpm::Signature { .. }) {
                verify(&key, &reply);
                signed += 1;
            } else {
                assert!(matches!(reply, FromTpm::Failed { .. }), "{reply:?}");
            }
        }
        done.store(true, std::sync::atomic::Ordering::SeqCst);
        flusher.join().unwrap();
    });
    assert!(signed > 50, "{signed} of 100");
    verify(&key, &role.ask(CONTROL, &sign_ldevid()));
}

#[test]
fn device_keys_that_somebody_evicts_come_back_as_they_were() {
    let mut role = Role::start(Boot::approved());
    role.enter(Lifecycle::Discovering);
    let sign = ToTpm::Sign {
        order: ORDER,
        key: KeyName::Idevid,
        digest: vec![1; 48],
    };
    let before = role.identity();
    for handle in ["0x81020000", "0x81020001"] {
        role.boot.tool("tpm2_evictcontrol", &["-c", handle]);
    }
    let signed = role.ask(BOOTSTRAP, &sign);
    assert!(matches!(signed, FromTpm::Signature { .. }), "{signed:?}");
    role.enter(Lifecycle::Quarantined);
    let quoted = role.ask(BOOTSTRAP, &quote());
    assert!(matches!(quoted, FromTpm::Quoted { .. }), "{quoted:?}");
    let role = role.again();
    let mut role = role;
    role.enter(Lifecycle::Discovering);
    assert_eq!(role.identity(), before);
}
