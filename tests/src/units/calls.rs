//! System call filters, by the groups of the machine's own systemd and the numbers of its kernel's headers.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};
use serde::{Deserialize, Serialize};

use super::{UnitError, service::Execution};
use crate::testbed::process::run;

/// The numbers of the one architecture that the testbeds run on.
const HEADER: &str = "/usr/include/x86_64-linux-gnu/asm/unistd_64.h";
const ARCH: TargetArch = TargetArch::x86_64;

/// Always permitted: `SystemCallFilter=` in `systemd.exec(5)`.
const ALWAYS: &str = "@default";

/// The address families that are known here.
const FAMILIES: [(&str, u32); 4] = [
    ("AF_UNIX", 1),
    ("AF_INET", 2),
    ("AF_INET6", 10),
    ("AF_NETLINK", 16),
];

/// The calls that protect memory, with the index of the argument that says how.
const PROTECTING: [(&str, u8); 3] = [("mmap", 2), ("mprotect", 2), ("pkey_mprotect", 2)];

const EPERM: u32 = 1;
const EAFNOSUPPORT: u32 = 97;
const PROT_WRITE: u64 = 2;
const PROT_EXEC: u64 = 4;

/// The machine's system calls.
#[derive(Debug)]
pub(super) struct SystemCalls {
    groups: BTreeMap<String, Vec<String>>,
    numbers: BTreeMap<String, i64>,
}

/// What a service may call; in numbers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Filter {
    /// The only calls that are let through.
    calls: Option<BTreeSet<i64>>,
    /// The only address families of a socket, and the call that makes one.
    families: Option<(i64, BTreeSet<u32>)>,
    /// The calls that may not make memory executable, with the index of the argument; the first may if it is not
    /// writable as well.
    protecting: Vec<(i64, u8)>,
}

impl SystemCalls {
    /// Asks the machine.
    ///
    /// # Errors
    /// If it has no headers.
    pub(super) fn read() -> Result<Self, UnitError> {
        let listed = run(Command::new("systemd-analyze").args(["--no-pager", "syscall-filter"]));
        let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut group = String::new();
        for line in listed.lines() {
            let word = line.trim();
            if line.starts_with('@') {
                word.clone_into(&mut group);
            } else if !word.is_empty() && !word.starts_with('#') {
                groups
                    .entry(group.clone())
                    .or_default()
                    .push(word.to_owned());
            }
        }
        let header = fs::read_to_string(HEADER).map_err(|cause| UnitError::Read {
            path: Path::new(HEADER).to_owned(),
            cause,
        })?;
        let number = |line: &str| {
            let (name, number) = line.strip_prefix("#define __NR_")?.split_once(' ')?;
            Some((name.to_owned(), number.trim().parse().ok()?))
        };
        Ok(Self {
            groups,
            numbers: header.lines().filter_map(number).collect(),
        })
    }

    /// Turns the words of a unit file into numbers.
    ///
    /// # Errors
    /// If one of them is not known.
    pub(super) fn filter(&self, execution: &Execution) -> Result<Filter, UnitError> {
        let mut filter = Filter::default();
        if let Some(words) = &execution.calls {
            let mut calls = BTreeSet::new();
            for word in words.iter().map(String::as_str).chain([ALWAYS]) {
                self.collect(word, &mut calls)?;
            }
            filter.calls = Some(calls);
        }
        if let Some(words) = &execution.families {
            let number = |word: &String| {
                let known = FAMILIES.iter().find(|(name, _)| name == word);
                known
                    .map(|(_, number)| *number)
                    .ok_or_else(|| UnitError::Call(word.clone()))
            };
            let families = words.iter().map(number).collect::<Result<_, _>>()?;
            filter.families = Some((self.number("socket")?, families));
        }
        if execution.no_writable_code {
            for (name, argument) in PROTECTING {
                filter.protecting.push((self.number(name)?, argument));
            }
        }
        Ok(filter)
    }

    fn collect(&self, word: &str, calls: &mut BTreeSet<i64>) -> Result<(), UnitError> {
        if !word.starts_with('@') {
            calls.insert(self.number(word)?);
            return Ok(());
        }
        let group = self
            .groups
            .get(word)
            .ok_or_else(|| UnitError::Call(word.to_owned()))?;
        for member in group {
            if member.starts_with('@') {
                self.collect(member, calls)?;
            } else {
                // A group names calls of every architecture.
                calls.extend(self.numbers.get(member));
            }
        }
        Ok(())
    }

    fn number(&self, name: &str) -> Result<i64, UnitError> {
        let number = self.numbers.get(name).copied();
        number.ok_or_else(|| UnitError::Call(name.to_owned()))
    }
}

impl Filter {
    /// Binds the calling process, and what it becomes, to the filter.
    ///
    /// # Panics
    /// If the kernel does not take it.
    pub(super) fn apply(&self) {
        if let Some((socket, families)) = &self.families {
            let none_of_them = families
                .iter()
                .map(|family| condition(0, SeccompCmpOp::Ne, (*family).into()));
            let rules = BTreeMap::from([(*socket, rule(none_of_them.collect()))]);
            install(
                rules,
                SeccompAction::Allow,
                SeccompAction::Errno(EAFNOSUPPORT),
            );
        }
        let mut rules = BTreeMap::new();
        for (at, &(call, argument)) in self.protecting.iter().enumerate() {
            let forbidden = if at == 0 {
                PROT_WRITE | PROT_EXEC
            } else {
                PROT_EXEC
            };
            let all_set = condition(argument, SeccompCmpOp::MaskedEq(forbidden), forbidden);
            rules.insert(call, rule(vec![all_set]));
        }
        if !rules.is_empty() {
            install(rules, SeccompAction::Allow, SeccompAction::Errno(EPERM));
        }
        // The last: it does not let a process install filters.
        if let Some(calls) = &self.calls {
            let rules = calls.iter().map(|&call| (call, Vec::new())).collect();
            install(rules, SeccompAction::Errno(EPERM), SeccompAction::Allow);
        }
    }
}

fn install(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    matched: SeccompAction,
) {
    let filter = SeccompFilter::new(rules, otherwise, matched, ARCH).expect("a filter that can be");
    let program = BpfProgram::try_from(filter).expect("a filter that can be compiled");
    apply_filter(&program).expect("install a filter");
}

fn rule(conditions: Vec<SeccompCondition>) -> Vec<SeccompRule> {
    vec![SeccompRule::new(conditions).expect("a rule that can be")]
}

fn condition(argument: u8, comparison: SeccompCmpOp, value: u64) -> SeccompCondition {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, comparison, value)
        .expect("a condition that can be")
}

#[cfg(test)]
mod tests {
    use super::{
        super::{file::names, service::Service},
        *,
    };

    #[test]
    fn every_filter_that_ships_is_known() {
        let machine = SystemCalls::read().unwrap();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../appliance/units");
        for unit in names(&folder, ".service").unwrap() {
            let service = Service::read(&folder, &unit).unwrap();
            let filter = machine.filter(&service.execution).unwrap();
            let calls = filter.calls.unwrap();
            assert!(
                calls.contains(&machine.number("sendmsg").unwrap()),
                "{unit}"
            );
            assert!(
                !calls.contains(&machine.number("ptrace").unwrap()),
                "{unit}"
            );
            assert_eq!(filter.protecting.len(), PROTECTING.len(), "{unit}");
            assert!(filter.families.is_some(), "{unit}");
        }
    }

    #[test]
    fn what_no_machine_knows_is_refused() {
        let machine = SystemCalls::read().unwrap();
        for word in ["@nothing", "nothing"] {
            let execution = Execution {
                calls: Some(vec![word.to_owned()]),
                ..Execution::default()
            };
            assert!(machine.filter(&execution).is_err(), "{word}");
        }
    }
}
