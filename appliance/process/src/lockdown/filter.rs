//! From the table of calls to the kernel's filter.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use super::LockdownError;
use super::calls::{ANSWERED, Answer, Arg, Call, PERMITTED, Who};

/// Puts the filters in force; false where the kernel has none.
///
/// # Errors
///
/// [`LockdownError::Filter`] if they cannot be compiled.
pub(super) fn enforce(process: Who) -> Result<bool, LockdownError> {
    // The kernel takes the sternest answer of all filters, so the last one, which ends the process,
    // must let pass what the others only answer.
    let mut programs = ANSWERED
        .iter()
        .filter(|answer| answer.who.holds(process))
        .map(answered)
        .collect::<Result<Vec<_>, _>>()?;
    programs.push(permitted(process)?);
    Ok(programs
        .iter()
        .all(|program| seccompiler::apply_filter(program).is_ok()))
}

fn permitted(process: Who) -> Result<BpfProgram, LockdownError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for call in PERMITTED.iter().filter(|call| call.who.holds(process)) {
        rules
            .entry(call.number)
            .or_default()
            .extend(alternatives(call)?);
    }
    let for_process = ANSWERED.iter().filter(|answer| answer.who.holds(process));
    for number in for_process.flat_map(|answer| answer.numbers) {
        rules.insert(*number, Vec::new());
    }
    compile(rules, SeccompAction::KillProcess, SeccompAction::Allow)
}

fn answered(answer: &Answer) -> Result<BpfProgram, LockdownError> {
    let rules = answer
        .numbers
        .iter()
        .map(|number| (*number, Vec::new()))
        .collect();
    compile(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(answer.errno),
    )
}

fn alternatives(call: &Call) -> Result<Vec<SeccompRule>, LockdownError> {
    call.only
        .iter()
        .map(|all| {
            let conditions = all.iter().map(condition).collect::<Result<_, _>>()?;
            SeccompRule::new(conditions).map_err(LockdownError::Filter)
        })
        .collect()
}

fn condition(arg: &Arg) -> Result<SeccompCondition, LockdownError> {
    let operator = SeccompCmpOp::MaskedEq(u64::from(arg.mask));
    let value = u64::from(arg.value);
    SeccompCondition::new(arg.place, SeccompCmpArgLen::Dword, operator, value)
        .map_err(LockdownError::Filter)
}

fn compile(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, LockdownError> {
    let arch = std::env::consts::ARCH
        .try_into()
        .map_err(LockdownError::Filter)?;
    SeccompFilter::new(rules, otherwise, matched, arch)
        .and_then(BpfProgram::try_from)
        .map_err(LockdownError::Filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_has_a_reason_and_no_role_may_start_a_program() {
        for call in PERMITTED {
            assert!(!call.reason.is_empty());
        }
        for forbidden in [
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_clone3,
            #[cfg(target_arch = "x86_64")]
            libc::SYS_fork,
            #[cfg(target_arch = "x86_64")]
            libc::SYS_vfork,
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_io_uring_setup,
            libc::SYS_bpf,
            libc::SYS_kill,
            libc::SYS_capset,
            libc::SYS_setsid,
        ] {
            assert!(PERMITTED.iter().all(|call| call.number != forbidden));
        }
    }

    #[test]
    fn a_call_that_is_permitted_with_any_argument_has_no_second_row_for_the_same_process() {
        for (place, call) in PERMITTED.iter().enumerate() {
            for other in PERMITTED.iter().skip(place + 1) {
                if call.number == other.number {
                    assert!(!call.only.is_empty() && !other.only.is_empty(), "{call:?}");
                }
            }
        }
    }
}
