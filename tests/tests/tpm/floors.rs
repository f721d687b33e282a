//! The floors: they only rise.

use bartizan_evidence::{
    binding,
    quote::{AttestationKey, Quote},
};
use bartizan_model::{
    identity::{Floor, Floors, PcrSelection},
    lifecycle::Lifecycle,
    message::{FromTpm, RoleToSupervisor, SupervisorToRole, ToTpm},
};

use crate::boot::Boot;
use crate::role::{BOOTSTRAP, CONTROL, ORDER, PEER, QKD, Role, wait_for};

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
fn the_rollback_floor_rises_at_the_supervisors_word_while_the_box_works_and_at_nobody_elses() {
    let (mut role, _key) = Role::owned();
    let tell = |role: &mut Role, to| {
        let order = SupervisorToRole::RaiseRollback(to);
        role.supervisor.send(&order).unwrap();
        loop {
            let word = wait_for(&mut role.supervisor);
            if let RoleToSupervisor::RollbackFloor(stands) = word {
                return stands;
            }
            assert!(matches!(word, RoleToSupervisor::Counted { .. }), "{word:?}");
        }
    };
    for state in Lifecycle::ALL {
        role.enter(state);
        let expected = (state == Lifecycle::Operational).then_some(4);
        assert_eq!(tell(&mut role, 4), expected, "{state:?}");
        for edge in [CONTROL, PEER, QKD, BOOTSTRAP] {
            let refused = role.ask(edge, &raise(Floor::Rollback, 9));
            assert_eq!(refused, FromTpm::NotPermitted(ORDER), "{state:?} {edge}");
        }
    }
    role.enter(Lifecycle::Operational);
    assert_eq!(tell(&mut role, 3), Some(4), "it does not fall");
    assert_eq!(tell(&mut role, 6), Some(6));
    let mut role = role.again();
    assert_eq!(floors(&mut role).rollback, Some(6));
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
fn a_quote_is_bound_to_the_floors_that_stand_in_the_tpm() {
    let (mut role, _key) = Role::owned();
    let stood = floors(&mut role);
    let ak = AttestationKey::parse(&role.identity().ak).unwrap();
    let pcrs = PcrSelection(1 << 7);
    let attest = ToTpm::Attest {
        order: ORDER,
        binding: [3; 32],
        pcrs,
    };
    let attested = |role: &mut Role| {
        role.enter(Lifecycle::Operational);
        let reply = role.ask(CONTROL, &attest);
        let FromTpm::Attested { quoted, floors, .. } = reply else {
            panic!("{reply:?}");
        };
        let bound = binding::floors(&[3; 32], &floors);
        Quote::verify(&quoted, &ak, &bound, pcrs).unwrap();
        (quoted, floors)
    };
    let (quoted, shown) = attested(&mut role);
    assert_eq!(shown, stood);
    let other = Floors {
        rollback: Some(9),
        ..stood
    };
    let other = binding::floors(&[3; 32], &other);
    Quote::verify(&quoted, &ak, &other, pcrs).unwrap_err();
    // Whoever holds the owner's authorization takes one away under the role.
    role.boot.tool("tpm2_nvundefine", &["0x1808002", "-C", "o"]);
    let gone = Floors {
        rollback: None,
        ..stood
    };
    assert_eq!(attested(&mut role).1, gone);
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
