use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn at(millis: u64) -> BootTime {
    BootTime(Duration::from_millis(millis))
}

fn node(name: &str) -> NodeId {
    NodeId::try_from(name).unwrap()
}

fn link(name: &str, dials: bool) -> PeerLink {
    PeerLink {
        node: node(name),
        address: "192.0.2.1:9061".parse().unwrap(),
        dials,
    }
}

/// Wants a link and dials it.
fn dialling(links: &mut Links, name: &str) -> ConnectionId {
    assert_eq!(links.want(link(name, true)), Ok(Vec::new()));
    attempt(links, at(0)).unwrap()
}

fn attempt(links: &mut Links, now: BootTime) -> Option<ConnectionId> {
    match links.dial(now).as_slice() {
        [] => None,
        [Action::Dial { id, .. }] => Some(*id),
        other => panic!("{other:?}"),
    }
}

fn adopted(links: &mut Links, name: &str, now: BootTime) -> (ConnectionId, Option<ConnectionId>) {
    let verdict = links.accepted(&node(name), now);
    let Verdict::Adopted { id, replaces } = verdict else {
        panic!("{verdict:?}");
    };
    (id, replaces)
}

#[test]
fn a_link_is_dialled_once_and_again_after_a_wait_that_grows() {
    let mut links = Links::default();
    let mut id = dialling(&mut links, "b");
    let mut now = at(0);
    let mut waits = Vec::new();
    for _ in 0..8 {
        assert_eq!(attempt(&mut links, now), None, "one attempt at a time");
        assert_eq!(links.deadline(), None);
        assert_eq!(links.ended(id, &node("b"), End::Lost, now, u32::MAX), []);
        let retry = links.deadline().unwrap();
        assert_eq!(attempt(&mut links, now), None);
        waits.push(retry.since(now).as_millis());
        now = retry;
        id = attempt(&mut links, now).unwrap();
    }
    assert_eq!(waits, [199, 399, 799, 1599, 3199, 6399, 9999, 9999]);
    assert!(links.dialled(id, &node("b"), now));
    assert_eq!(links.connection_of(&node("b")), Some(id));
}

#[test]
fn a_connection_that_stood_makes_up_for_failures() {
    for (stood, wait) in [(1000, 3199), (5000, 199)] {
        let mut links = Links::default();
        let mut id = dialling(&mut links, "b");
        let mut now = at(0);
        for _ in 0..4 {
            links.ended(id, &node("b"), End::Lost, now, 0);
            now = links.deadline().unwrap();
            id = attempt(&mut links, now).unwrap();
        }
        links.dialled(id, &node("b"), now);
        now = now.after(Duration::from_millis(stood));
        let actions = links.ended(id, &node("b"), End::Lost, now, u32::MAX);
        assert_eq!(actions, [Action::Disconnected(node("b"))]);
        assert_eq!(links.deadline().unwrap().since(now).as_millis(), wait);
    }
}

#[test]
fn only_a_wanted_node_that_is_not_ours_to_dial_is_adopted() {
    let mut links = Links::default();
    links.want(link("a", false)).unwrap();
    links.want(link("b", true)).unwrap();
    assert_eq!(links.accepted(&node("c"), at(0)), Verdict::Unknown);
    assert_eq!(links.accepted(&node("b"), at(0)), Verdict::OursToDial);
    adopted(&mut links, "a", at(0));
    links.unwant(&node("a"));
    assert_eq!(links.accepted(&node("a"), at(0)), Verdict::Unknown);
}

#[test]
fn a_second_connection_of_a_node_replaces_the_first() {
    let mut links = Links::default();
    links.want(link("a", false)).unwrap();
    let (first, replaced) = adopted(&mut links, "a", at(0));
    assert_eq!(replaced, None);
    let (second, replaced) = adopted(&mut links, "a", at(1));
    assert_eq!(replaced, Some(first));
    // The end of the first says nothing about the second.
    assert_eq!(links.ended(first, &node("a"), End::Nonsense, at(2), 0), []);
    assert_eq!(links.connection_of(&node("a")), Some(second));
    let actions = links.ended(second, &node("a"), End::Lost, at(3), 0);
    assert_eq!(actions, [Action::Disconnected(node("a"))]);
    adopted(&mut links, "a", at(3));
}

#[test]
fn a_node_that_connects_over_and_over_is_slowed_down() {
    let mut links = Links::default();
    links.want(link("a", false)).unwrap();
    let mut last = None;
    for _ in 0..8 {
        let (id, replaces) = adopted(&mut links, "a", at(0));
        assert_eq!(replaces, last);
        last = Some(id);
    }
    assert_eq!(links.accepted(&node("a"), at(0)), Verdict::TooOften);
    assert_eq!(links.connection_of(&node("a")), last, "the last one stands");
    adopted(&mut links, "a", at(1000));
}

#[test]
fn a_node_that_talks_nonsense_is_left_alone_for_a_while() {
    let over = at(0).after(PENALTY);
    for engine in [true, false] {
        let mut links = Links::default();
        links.want(link("a", false)).unwrap();
        let (listened, _) = adopted(&mut links, "a", at(0));
        let dialled = dialling(&mut links, "b");
        links.dialled(dialled, &node("b"), at(0));
        for (name, id) in [("a", listened), ("b", dialled)] {
            let actions = if engine {
                links.bar(&node(name), at(0))
            } else {
                links.ended(id, &node(name), End::Nonsense, at(0), 0)
            };
            assert!(actions.contains(&Action::Disconnected(node(name))));
            assert_eq!(actions.contains(&Action::Drop(id)), engine);
        }
        assert_eq!(links.accepted(&node("a"), at(29_999)), Verdict::Barred);
        assert_eq!(attempt(&mut links, at(29_999)), None);
        assert_eq!(links.deadline(), Some(over));
        adopted(&mut links, "a", over);
        assert!(attempt(&mut links, over).is_some());
    }
}

#[test]
fn another_word_of_the_engine_ends_what_stands_and_the_same_does_not() {
    let mut links = Links::default();
    let id = dialling(&mut links, "b");
    links.dialled(id, &node("b"), at(0));
    assert_eq!(links.want(link("b", true)), Ok(Vec::new()));
    let mut elsewhere = link("b", true);
    elsewhere.address.set_port(1);
    let ended = [Action::Drop(id), Action::Disconnected(node("b"))];
    assert_eq!(links.want(elsewhere), Ok(ended.to_vec()));
    let next = attempt(&mut links, at(0)).unwrap();
    assert_eq!(links.want(link("b", false)), Ok(vec![Action::Drop(next)]));
    assert!(!links.dialled(next, &node("b"), at(0)), "it comes too late");
    assert_eq!(attempt(&mut links, at(0)), None);
    adopted(&mut links, "b", at(0));
}

#[test]
fn few_are_dialled_at_once_and_whoever_waits_longest_comes_first() {
    let mut links = Links::default();
    for number in 0..20 {
        links.want(link(&format!("n{number:02}"), true)).unwrap();
    }
    let first = links.dial(at(0));
    assert_eq!(first.len(), DIALS_MAX);
    assert_eq!((links.dial(at(0)), links.deadline()), (Vec::new(), None));
    for action in &first {
        if let Action::Dial { id, node, .. } = action {
            links.ended(*id, node, End::Lost, at(10), 0);
        }
    }
    for action in links.dial(at(60_000)) {
        assert!(!first.iter().any(|other| match (other, &action) {
            (Action::Dial { node: one, .. }, Action::Dial { node: other, .. }) => one == other,
            _ => false,
        }));
    }
}

#[test]
fn there_are_only_so_many_links() {
    let mut links = Links::default();
    for number in 0..LINKS_MAX {
        links.want(link(&format!("n{number}"), false)).unwrap();
    }
    assert_eq!(links.want(link("one-more", false)), Err(TooMany));
    assert_eq!(links.want(link("n0", false)), Ok(Vec::new()));
}

#[test]
fn a_node_behind_a_mapped_address_is_expected() {
    let mut links = Links::default();
    links.want(link("a", false)).unwrap();
    assert!(links.expects("192.0.2.1".parse().unwrap()));
    assert!(links.expects("::ffff:192.0.2.1".parse().unwrap()));
    assert!(!links.expects("192.0.2.2".parse().unwrap()));
}

proptest! {
    /// Whatever happens in whatever order: what the engine is told is true, every connection that
    /// was replaced or is wanted no more is dropped, and nobody is dialled twice at once.
    #[test]
    fn the_engine_is_told_the_truth(events in proptest::collection::vec((0_u8..9, 0_usize..3, 0_u64..4000), 0..120)) {
        let names = ["a", "b", "c"];
        let mut links = Links::default();
        let mut now = 0;
        // What runs, and whether the engine was told that it stands.
        let mut running: BTreeMap<ConnectionId, (usize, bool)> = BTreeMap::new();
        let mut connected: BTreeMap<usize, ConnectionId> = BTreeMap::new();
        for (event, who, wait) in events {
            now += wait;
            let name = node(names[who]);
            let mine: Vec<_> = running.iter().filter(|(_, (of, _))| *of == who).map(|(id, (_, up))| (*id, *up)).collect();
            let mut actions = match event {
                0 => links.want(link(names[who], true)).unwrap(),
                1 => links.want(link(names[who], false)).unwrap(),
                2 => links.unwant(&name),
                3 => links.bar(&name, at(now)),
                4 => {
                    if let Verdict::Adopted { id, replaces } = links.accepted(&name, at(now)) {
                        prop_assert_eq!(replaces, connected.get(&who).copied());
                        if let Some(replaced) = replaces {
                            running.remove(&replaced);
                        }
                        running.insert(id, (who, true));
                        connected.insert(who, id);
                    }
                    Vec::new()
                }
                5 | 6 => {
                    for (id, up) in mine {
                        if !up {
                            if links.dialled(id, &name, at(now)) {
                                running.insert(id, (who, true));
                                prop_assert!(connected.insert(who, id).is_none());
                            } else {
                                running.remove(&id);
                            }
                        }
                    }
                    Vec::new()
                }
                _ => {
                    let end = if event == 7 { End::Lost } else { End::Nonsense };
                    let mut actions = Vec::new();
                    for (id, _) in mine {
                        running.remove(&id);
                        actions.extend(links.ended(id, &name, end, at(now), 0));
                    }
                    actions
                }
            };
            actions.extend(links.dial(at(now)));
            for action in actions {
                match action {
                    Action::Drop(id) => prop_assert!(running.remove(&id).is_some()),
                    Action::Disconnected(gone) => {
                        let who = names.iter().position(|name| *name == gone.as_str()).unwrap();
                        prop_assert!(connected.remove(&who).is_some());
                    }
                    Action::Dial { id, node, .. } => {
                        let who = names.iter().position(|name| *name == node.as_str()).unwrap();
                        prop_assert!(!running.values().any(|(of, _)| *of == who));
                        running.insert(id, (who, false));
                    }
                }
            }
            for (who, name) in names.iter().enumerate() {
                prop_assert_eq!(links.connection_of(&node(name)), connected.get(&who).copied());
                prop_assert!(running.values().filter(|(of, _)| *of == who).count() <= 1);
            }
        }
    }
}
