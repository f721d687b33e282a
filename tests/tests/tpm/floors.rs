//! The floors: they only rise.

use bartizan_model::{
    identity::{Floor, Floors},
    lifecycle::Lifecycle,
    message::{FromTpm, ToTpm},
};

use crate::boot::Boot;
use crate::role::{BOOTSTRAP, ORDER, Role};

fn raise(floor: Floor, to: u64) -> ToTpm {
    ToTpm::RaiseFloor {
        order: ORDER,
        floor,
        to,
    }
}

pub(crate) fn floors(role: &mut Role) -> Floors {
    role.enter(Lifecycle::Enrolling);
    role.identity().floors
}

#[test]
fn a_floor_rises_and_never_falls() {
    let mut role = Role::start(Boot::approved());
    assert_eq!(floors(&mut role), Floors::default());
    for to in [1, 1, 7, u64::MAX - 1] {
        let raised = role.ask(BOOTSTRAP, &raise(Floor::Ownership, to));
        assert_eq!(raised, FromTpm::Done(ORDER), "{to}");
        assert_eq!(floors(&mut role).ownership, Some(to));
    }
    for lower in [0, 7, u64::MAX - 2] {
        let code = role.refused(BOOTSTRAP, &raise(Floor::Ownership, lower));
        assert_eq!(code, 0x84, "TPM_RC_VALUE");
    }
    let time = role.ask(BOOTSTRAP, &raise(Floor::Time, 1_800_000_000));
    assert_eq!(time, FromTpm::Done(ORDER));
    let expected = Floors {
        ownership: Some(u64::MAX - 1),
        rollback: None,
        time: Some(1_800_000_000),
    };
    assert_eq!(floors(&mut role), expected);
    // It is the TPM that remembers.
    assert_eq!(floors(&mut role.again()), expected);
}

#[test]
fn with_a_key_every_floor_stands() {
    let mut role = Role::start(Boot::approved());
    role.enter(Lifecycle::Enrolling);
    role.ask(BOOTSTRAP, &raise(Floor::Ownership, 3));
    role.enrol();
    let expected = Floors {
        ownership: Some(3),
        rollback: Some(0),
        time: Some(0),
    };
    assert_eq!(floors(&mut role), expected);
}

#[test]
fn an_index_of_another_size_is_no_floor() {
    let boot = Boot::approved();
    let define = [
        "0x1808001",
        "-C",
        "o",
        "-s",
        "4",
        "-a",
        "ownerread|ownerwrite|authread",
    ];
    boot.tool("tpm2_nvdefine", &define);
    std::fs::write(boot.folder.join("four"), [9; 4]).unwrap();
    boot.tool("tpm2_nvwrite", &["0x1808001", "-C", "o", "-i", "four"]);
    let mut role = Role::start(boot);
    assert_eq!(floors(&mut role).ownership, None);
    let raised = role.ask(BOOTSTRAP, &raise(Floor::Ownership, 2));
    assert_eq!(raised, FromTpm::Done(ORDER));
    assert_eq!(floors(&mut role).ownership, Some(2));
}
