//! How ownership ends in the TPM.

use bartizan_model::{
    identity::{Farewell, Floor, LdevidFound},
    lifecycle::Lifecycle,
    message::{FromTpm, RoleToSupervisor, SupervisorToRole, ToTpm},
};

use crate::boot::Boot;
use crate::floors::floors;
use crate::role::{BOOTSTRAP, CONTROL, ORDER, Role, sign_ldevid, wait_for};

/// A box under a voucher of epoch 4, which then loses its owner.
fn after(how: Farewell) -> Role {
    let mut role = Role::start(Boot::approved());
    role.enter(Lifecycle::Enrolling);
    let raise = ToTpm::RaiseFloor {
        order: ORDER,
        floor: Floor::Ownership,
        to: 4,
    };
    assert_eq!(role.ask(BOOTSTRAP, &raise), FromTpm::Done(ORDER));
    role.enrol();
    role.supervisor
        .send(&SupervisorToRole::Farewell(how))
        .unwrap();
    loop {
        let said = wait_for(&mut role.supervisor);
        if let RoleToSupervisor::Gone(gone) = said {
            assert_eq!(gone, how);
            break;
        }
        assert!(matches!(said, RoleToSupervisor::Counted { .. }), "{said:?}");
    }
    role.enter(Lifecycle::Attesting);
    assert_eq!(role.refused(CONTROL, &sign_ldevid()), 0x18b);
    role
}

fn persistent(role: &Role) -> String {
    let listed = role.boot.tool("tpm2_getcap", &["handles-persistent"]);
    String::from_utf8(listed).unwrap().to_lowercase()
}

#[test]
fn a_released_box_is_as_from_the_factory_but_for_the_floor() {
    let role = after(Farewell::Release);
    let standing = persistent(&role);
    for handle in ["0x81008001", "0x81020000", "0x81020001"] {
        assert!(!standing.contains(handle), "{standing}");
    }
    let mut role = role.again();
    assert_eq!(role.found.ldevid, LdevidFound::Absent);
    assert!(!role.found.retired);
    // The voucher of epoch 4 counts no more.
    assert_eq!(floors(&mut role).ownership, Some(5));
    role.enrol();
}

#[test]
fn a_retired_box_knows_that_it_is() {
    let role = after(Farewell::Retire);
    let mut role = role.again();
    assert_eq!(role.found.ldevid, LdevidFound::Absent);
    assert!(role.found.retired);
    assert_eq!(floors(&mut role).ownership, Some(5));
    let role = role.again();
    assert!(role.found.retired);
    // What the mark does not survive, as it says of itself.
    role.boot.tool("tpm2_clear", &[]);
    assert!(!role.again().found.retired);
}

#[test]
fn a_box_whose_tpm_refuses_to_be_cleared_is_retired_all_the_same() {
    let mut role = Role::start(Boot::approved());
    role.enter(Lifecycle::Enrolling);
    role.enrol();
    role.boot.tool("tpm2_clearcontrol", &["-C", "p", "s"]);
    role.supervisor
        .send(&SupervisorToRole::Farewell(Farewell::Retire))
        .unwrap();
    // It ends, for it did not do what was asked.
    let _fault = role.ended();
    let role = Role::start(role.boot);
    assert_eq!(role.found.ldevid, LdevidFound::Absent);
    assert!(role.found.retired);
}
