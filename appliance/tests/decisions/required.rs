//! What of the lock-down may be missing, and who says so.

use bartizan::config::Required;
use bartizan::lockdown::missing;
use bartizan_model::message::{Achieved, Memory, Role, RoleToSupervisor as Said};
use bartizan_process::Exit;

use crate::locked::achieved;
use crate::{NOW, supervisor};

#[test]
fn less_than_required_stops_everything() {
    let all = |change: fn(&mut Achieved)| {
        let mut achieved = achieved(Role::Engine);
        change(&mut achieved);
        achieved
    };
    for (what, less) in [
        ("landlock", all(|achieved| achieved.landlock = 6)),
        ("seccomp", all(|achieved| achieved.seccomp = false)),
        (
            "no_new_privs",
            all(|achieved| achieved.no_new_privs = false),
        ),
        ("undumpable", all(|achieved| achieved.undumpable = false)),
        (
            "capabilities",
            all(|achieved| achieved.capabilities = false),
        ),
        ("memory", all(|achieved| achieved.memory = Memory::Locked)),
        (
            "memory",
            all(|achieved| achieved.memory = Memory::NoSecrets),
        ),
    ] {
        let mut supervisor = supervisor();
        supervisor.joins(Role::Engine);
        let fault = supervisor
            .hears(NOW, Role::Engine, Said::LockedDown(less))
            .unwrap_err();
        assert_eq!(fault.exit(), Exit::NoPerm);
        assert!(fault.to_string().ends_with(what), "{fault}");
    }
}

#[test]
fn a_kernel_that_lacks_something_is_named_in_the_configuration() {
    let uml = required("landlock = 0\nseccomp = false\nmemory = \"mlock\"");
    let mut least = achieved(Role::Engine);
    least.landlock = 0;
    least.seccomp = false;
    least.memory = Memory::Locked;
    assert_eq!(missing(&uml, true, &least), None);
    assert_eq!(
        missing(&uml, true, &achieved(Role::Engine)),
        None,
        "more is never wrong"
    );
    assert_eq!(
        missing(&uml, false, &least),
        Some("memory"),
        "a role that should hold no secret"
    );
    for change in [
        |achieved: &mut Achieved| achieved.no_new_privs = false,
        |achieved: &mut Achieved| achieved.undumpable = false,
        |achieved: &mut Achieved| achieved.capabilities = false,
    ] {
        let mut less = least;
        change(&mut less);
        assert!(
            missing(&uml, true, &less).is_some(),
            "not for the configuration to waive"
        );
    }
}

fn required(table: &str) -> Required {
    let shipped = include_str!("../../appliance.toml");
    let start = shipped.find("[required]").unwrap();
    let text = format!("{}[required]\n{table}\n", &shipped[..start]);
    bartizan::config::Config::parse(&text).unwrap().required
}
