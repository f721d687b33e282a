//! Plans and states: what an owner relies on.

use bartizan_model::message::{EditRefusal, EngineToControl};
use bartizan_model::policy::Policy;
use bartizan_model::report::{Alarm, Notice, QkdRefusal};

use crate::gateway::{Done, Played, Script};
use crate::owner::{Owner, node, plan, text, tunnel};

#[test]
fn without_a_verifier_plans_are_kept_and_no_lease_is_granted() {
    let owner = Owner::start(&["a", "b"]);
    let gateway = Played::call_home(&owner, "a", Script::default());
    for ids in [1..=1, 1..=2, 1..=3] {
        owner.applied(&plan(ids));
        let edited = gateway.next(Some);
        assert!(matches!(edited, Done::Edited { .. }), "{edited:?}");
    }
    let status = owner.status();
    assert_eq!(
        (node(&status, "a").leases, node(&status, "a").lease_left),
        (0, None)
    );
}

#[test]
fn a_plan_is_applied_at_both_ends_and_the_wait_ends_when_both_protect() {
    let owner = Owner::start(&["a", "b"]);
    let slow = Script {
        slow: true,
        ..Script::default()
    };
    let (a, b) = (
        Played::call_home(&owner, "a", slow),
        Played::call_home(&owner, "b", Script::default()),
    );
    let waiting = owner
        .apply(&plan([1, 2]), &["--wait", "60"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    for gateway in [&a, &b] {
        assert_eq!(edited(gateway), (4, 0, 4));
    }
    // B protects and A does not yet.
    let status = owner.status_when("b protects", |status| {
        let ends = &status.tunnels.first().unwrap().ends;
        ends[1]
            .report
            .as_ref()
            .is_some_and(|end| end.epoch == Some(1))
    });
    assert!(!tunnel(&status, 1).protected && tunnel(&status, 1).protected_after.is_none());
    a.establish();
    let output = waiting.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    for line in [
        "a - b #1 protected at both ends after",
        "a - b #2 protected",
    ] {
        assert!(text(&output).contains(line), "{}", text(&output));
    }

    let status = owner.status();
    for (place, end) in tunnel(&status, 2).ends.iter().enumerate() {
        let report = end.report.as_ref().unwrap();
        assert_eq!(end.node, ["a", "b"][place]);
        assert_eq!(report.state, "protected");
        assert_eq!(report.sources.as_deref(), Some(&["kem".to_owned()][..]));
        assert!(report.inbound.is_some() && report.outbound.is_some());
    }
    assert!(tunnel(&status, 2).protected_after.is_some());
}

#[test]
fn a_wait_that_is_in_vain_says_for_what() {
    let owner = Owner::start(&["a", "b"]);
    let output = owner.apply(&plan([7]), &["--wait", "1"]).output().unwrap();
    assert!(!output.status.success());
    assert!(
        text(&output).contains("not protected: a - b #7"),
        "{}",
        text(&output)
    );
}

#[test]
fn a_plan_with_a_fault_is_refused_by_file_and_key_and_changes_nothing() {
    let owner = Owner::start(&["a", "b"]);
    owner.applied(&plan([1]));
    let bad = plan([1]).replace("10.0.1.0/24", "10.0.1.1/24");
    let output = owner.apply(&bad, &[]).output().unwrap();
    assert!(!output.status.success());
    let fault = "plan.toml: tunnel[0].networks: 10.0.1.1/24";
    assert!(text(&output).contains(fault), "{}", text(&output));

    let strange = plan([1]).replace(
        "[node.a]",
        "[node.c]\naddresses = [\"192.0.2.3\"]\n[node.a]",
    );
    let output = owner.apply(&strange, &[]).output().unwrap();
    assert!(!output.status.success());
    assert!(
        text(&output).contains("node.c: no node of this"),
        "{}",
        text(&output)
    );
    assert_eq!(owner.status().version, 2);
}

#[test]
fn the_plan_outlives_the_controller() {
    let mut owner = Owner::start(&["a", "b"]);
    owner.applied(&plan([1, 2, 3]));
    let before = owner.status();
    owner.restart();
    let after = owner.status();
    assert_eq!(after.tunnels, before.tunnels);
    let gateway = Played::call_home(&owner, "a", Script::default());
    assert_eq!(edited(&gateway), (6, 0, 6));
}

#[test]
fn a_change_of_the_plan_is_a_change_of_what_differs() {
    let owner = Owner::start(&["a", "b"]);
    owner.applied(&plan([1, 2, 3]));
    let gateway = Played::call_home(&owner, "a", Script::default());
    assert_eq!(edited(&gateway), (6, 0, 6));
    owner.applied(&plan([1, 3, 4]));
    assert_eq!(edited(&gateway), (2, 2, 6));
    owner.applied(&plan([]));
    assert_eq!(edited(&gateway), (0, 6, 0));
    owner.status_when("the plan runs", |status| {
        node(status, "a").configuration == "same"
    });
}

#[test]
fn what_changes_places_keeps_its_sas() {
    let owner = Owner::start(&["a", "b"]);
    owner.applied(&plan([1, 2]));
    let gateway = Played::call_home(&owner, "a", Script::default());
    let names = |running: &[Policy]| -> Vec<String> {
        running
            .iter()
            .map(|policy| policy.name.to_string())
            .collect()
    };
    let Done::Edited { running, .. } = next_edit(&gateway) else {
        unreachable!("an edit");
    };
    let before = names(&running);
    owner.applied(&plan([2, 1]));
    let Done::Edited {
        removed, running, ..
    } = next_edit(&gateway)
    else {
        unreachable!("an edit");
    };
    assert_eq!(removed, 0);
    assert_eq!(names(&running), [&before[2..], &before[..2]].concat());
}

#[test]
fn a_refused_edit_is_told_and_tried_again() {
    let owner = Owner::start(&["a", "b"]);
    owner.applied(&plan([1]));
    let refusing = Script {
        refuses_edits: Some(EditRefusal::TooMany),
        ..Script::default()
    };
    let gateway = Played::call_home(&owner, "a", refusing);
    let status = owner.status_when("refused", |status| {
        node(status, "a").configuration == "refused"
    });
    assert!(node(&status, "a").refusal.is_some());
    assert!(!tunnel(&status, 1).protected);
    // The session lives on, and comes back to it.
    owner.status_when("refused again", |status| {
        status.counters.get("edit-refused") >= Some(&2)
    });
    assert_eq!(node(&owner.status(), "a").sessions, 1);
    drop(gateway);

    let gateway = Played::call_home(&owner, "a", Script::default());
    assert_eq!(edited(&gateway), (2, 0, 2));
}

#[test]
fn rekeys_and_alarms_are_seen() {
    let owner = Owner::start(&["a", "b"]);
    owner.applied(&plan([1]));
    let gateway = Played::call_home(&owner, "a", Script::default());
    let (_, _, _) = edited(&gateway);
    gateway.establish();
    gateway.establish();
    let rekeyed = |status: &bartizan_controller::status::Status| {
        let report = tunnel(status, 1).ends[0].report.as_ref();
        report.is_some_and(|report| report.rekeys == 2 && report.epoch == Some(3))
    };
    let status = owner.status_when("two rekeys", rekeyed);
    let entry = tunnel(&status, 1).ends[0].entry.clone();
    gateway.say(EngineToControl::Notice(Box::new(Notice::Alarm {
        entry: entry.as_str().try_into().unwrap(),
        alarm: Alarm::Qkd(QkdRefusal::RepeatedKey),
    })));
    let status = owner.status_when("the alarm", |status| {
        let events = &node(status, "a").events;
        events
            .iter()
            .any(|event| event.event.contains("RepeatedKey"))
    });
    assert!(
        node(&status, "a")
            .events
            .iter()
            .any(|event| event.event == "connected")
    );
}

#[test]
fn a_gateway_that_calls_again_is_the_gateway() {
    let owner = Owner::start(&["a", "b"]);
    owner.applied(&plan([1]));
    let first = Played::call_home(&owner, "a", Script::default());
    assert_eq!(edited(&first), (2, 0, 2));
    let second = Played::call_home(&owner, "a", Script::default());
    assert_eq!(edited(&second), (2, 0, 2));
    first.next(|done| matches!(done, Done::Ended).then_some(()));
    let status = owner.status();
    assert_eq!(node(&status, "a").sessions, 2);
    assert!(node(&status, "a").connected_for.is_some());
    drop(second);
    owner.status_when("gone", |status| node(status, "a").address.is_none());
}

#[test]
fn ten_thousand_entries_go_in_one_edit() {
    let owner = Owner::start_with(&["a", "b"], "poll-seconds = 30");
    let gateway = Played::call_home(&owner, "a", Script::default());
    owner.applied(&plan(1..=5000));
    assert_eq!(edited(&gateway), (10_000, 0, 10_000));
    let status = owner.status_when("the plan runs", |status| {
        node(status, "a").configuration == "same"
    });
    assert_eq!(node(&status, "a").entries, 10_000);
    // One tunnel more is one small edit.
    owner.applied(&plan(1..=5001));
    assert_eq!(edited(&gateway), (2, 0, 10_002));
}

/// With the longest words in every leaf, fewer entries than a gateway holds are longer than a message
/// that it takes.
#[test]
fn what_no_message_holds_goes_in_parts_of_whole_tunnels() {
    let (a, b) = ("a".repeat(64), "b".repeat(64));
    let owner = Owner::start_with(&[&a, &b], "poll-seconds = 30");
    let gateway = Played::call_home(&owner, &a, Script::default());
    owner.applied(&long_plan(&a, &b, 4700));
    let mut standing = 0;
    while standing < 9400 {
        let (put, removed, running) = edited(&gateway);
        assert!(put < 9400 && put % 2 == 0, "{put}");
        assert_eq!((removed, running), (0, standing + put));
        standing = running;
    }
    owner.status_when("the plan runs", |status| {
        node(status, &a).configuration == "same"
    });
}

fn long_plan(a: &str, b: &str, tunnels: u32) -> String {
    let outer = |digit: &str| format!("2001:db8{}", format!(":{}", digit.repeat(4)).repeat(6));
    let (here, there, far) = (outer("1"), outer("2"), outer("3"));
    let nodes = [(a, &here), (b, &there)].map(|(node, address)| {
        format!("[node.{node}]\naddresses = [\"{address}\"]\npeer-port = 65535\nsae = \"{node}\"\n")
    });
    let tunnels = (0..tunnels).map(|id| {
        format!(
            "[[tunnel]]\nid = {}\nbetween = [\"{a}\", \"{b}\"]\nmode = \"tunnel\"\n\
             networks = [\"2001:db8:4444:4444:4444:4444:4444:{id:x}/128\", \"{far}/128\"]\n\
             protocol = 132\nports = [65535, 65534]\nqkd = \"required\"\ncombiner = \"xor\"\n\
             dial = \"higher\"\ndf-bit = \"copy\"\nreplay-window = 4064\n\
             kem = {{ need = \"required\", parameter-set = \"ml-kem-1024\" }}\n\
             soft = {{ seconds = {SOFT}, bytes = {SOFT}, packets = {SOFT} }}\n\
             hard = {{ seconds = {HARD}, bytes = {HARD}, packets = {HARD} }}\n",
            u32::MAX - id
        )
    });
    nodes.concat() + &tunnels.collect::<String>()
}

const SOFT: u64 = HARD - 1;
const HARD: u64 = u64::MAX / 4;

/// Waits for an edit: entries put, entries taken out, entries that stand.
fn edited(gateway: &Played) -> (usize, usize, usize) {
    match next_edit(gateway) {
        Done::Edited {
            put,
            removed,
            running,
        } => (put, removed, running.len()),
        other => panic!("{other:?}"),
    }
}

fn next_edit(gateway: &Played) -> Done {
    gateway.next(|done| matches!(done, Done::Edited { .. }).then_some(done))
}
