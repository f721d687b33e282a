//! Whatever is changed in good evidence, the verdict falls, and by the right rule.

use bartizan_evidence::quote::Quote;
use bartizan_evidence::verdict::Rule;
use bartizan_model::identity::PcrSelection;
use proptest::prelude::*;

use crate::machine::{Machine, QUALIFYING};

fn selection(machine: &Machine) -> PcrSelection {
    PcrSelection(machine.pcrs.keys().fold(0, |bits, pcr| bits | 1 << pcr))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_changed_byte_of_a_quote_is_a_wrong_signature(at: prop::sample::Index, bit in 0..8_u8) {
        let machine = Machine::clean();
        let mut quoted = machine.tpm.quote(&machine.pcrs, |_| {});
        let at = at.index(quoted.attest.len());
        quoted.attest[at] ^= 1 << bit;
        let refused = Quote::verify(&quoted, &machine.tpm.ak(), &QUALIFYING, selection(&machine));
        prop_assert_eq!(refused.unwrap_err().rule, Rule::V4);
    }

    #[test]
    fn a_changed_byte_of_a_signature_is_refused(at: prop::sample::Index, bit in 0..8_u8) {
        let machine = Machine::clean();
        let mut quoted = machine.tpm.quote(&machine.pcrs, |_| {});
        let at = at.index(quoted.signature.len());
        quoted.signature[at] ^= 1 << bit;
        let refused = Quote::verify(&quoted, &machine.tpm.ak(), &QUALIFYING, selection(&machine));
        prop_assert!(matches!(refused.unwrap_err().rule, Rule::V4 | Rule::V14));
    }

    #[test]
    fn a_changed_value_of_a_pcr_is_refused(which: prop::sample::Index, at in 0..32_usize, bit in 0..8_u8) {
        let machine = Machine::clean();
        let mut quoted = machine.tpm.quote(&machine.pcrs, |_| {});
        let which = which.index(quoted.pcrs.len());
        quoted.pcrs[which].1[at] ^= 1 << bit;
        let refused = Quote::verify(&quoted, &machine.tpm.ak(), &QUALIFYING, selection(&machine));
        prop_assert_eq!(refused.unwrap_err().rule, Rule::V3);
    }

    /// Data of events is described, not measured: changing it may go unseen, and changes no value.
    #[test]
    fn a_changed_byte_of_a_log_falls_or_changes_nothing(at: prop::sample::Index, bit in 0..8_u8) {
        let clean = Machine::clean();
        let mut machine = Machine::clean();
        let at = at.index(machine.firmware_log.len());
        machine.firmware_log[at] ^= 1 << bit;
        let verdict = machine.verdict();
        if verdict.is_clean() {
            prop_assert_eq!(verdict, clean.verdict());
        } else {
            let known = verdict.failures.iter().all(|failure| {
                matches!(failure.rule, Rule::V12 | Rule::V14)
            });
            prop_assert!(known, "{:?}", verdict.failures);
        }
    }

    #[test]
    fn a_changed_byte_of_userspaces_log_falls_or_changes_nothing(at: prop::sample::Index, bit in 0..8_u8) {
        let clean = Machine::clean();
        let mut machine = Machine::clean();
        let at = at.index(machine.userspace_log.len());
        machine.userspace_log[at] ^= 1 << bit;
        let verdict = machine.verdict();
        if verdict.is_clean() {
            prop_assert_eq!(verdict, clean.verdict());
        }
    }

    #[test]
    fn any_bytes_have_a_verdict(firmware in prop::collection::vec(any::<u8>(), 0..512), userspace in ".{0,64}") {
        let mut machine = Machine::clean();
        machine.firmware_log = firmware;
        machine.userspace_log = userspace.into_bytes();
        prop_assert!(!machine.verdict().is_clean());
    }
}
