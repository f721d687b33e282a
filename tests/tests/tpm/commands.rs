//! What is sent to the TPM, counted before it.

use bartizan_model::{
    identity::PcrSelection,
    lifecycle::Lifecycle,
    message::{FromTpm, ToTpm},
};

use crate::proxy::command;
use crate::role::{CONTROL, ORDER, Role, sign_ldevid, verify};

/// A discrete TPM takes 30 to 120 ms for each.
#[test]
fn an_attestation_costs_one_signature_and_one_quote() {
    let (mut role, key) = Role::owned();
    role.enter(Lifecycle::Operational);
    let counted = |role: &Role| {
        [command::SIGN, command::QUOTE, command::CERTIFY].map(|code| role.boot.proxy.count(code))
    };
    let before = counted(&role);
    let checked = role.boot.proxy.count(command::VERIFY_SIGNATURE);
    for round in 1..=20 {
        verify(&key, &role.ask(CONTROL, &sign_ldevid()));
        let attest = ToTpm::Attest {
            order: ORDER,
            binding: [5; 32],
            pcrs: PcrSelection(0x00ff_ffff),
        };
        let attested = role.ask(CONTROL, &attest);
        assert!(matches!(attested, FromTpm::Attested { .. }), "{attested:?}");
        let now = counted(&role);
        assert_eq!(now, [before[0] + round, before[1] + round, before[2]]);
    }
    // The policy's signature was checked when the role started, and never again.
    for code in [command::VERIFY_SIGNATURE, command::LOAD_EXTERNAL] {
        assert_eq!(role.boot.proxy.count(code), checked);
    }
}
