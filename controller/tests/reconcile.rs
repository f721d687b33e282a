//! Every edit leads from what runs to what should.

#[cfg(test)]
mod tests {
    use bartizan_controller::reconcile::{Step, halves, step};
    use bartizan_model::ids::{EntryName, Reqid};
    use bartizan_model::policy::{Action, Direction, Policy, Prefix, TrafficSelector};
    use proptest::prelude::*;

    #[test]
    fn the_same_needs_no_edit_whatever_its_numbers() {
        let desired = entries(&[(1, 1), (2, 2)]);
        let mut running = desired.clone();
        for entry in &mut running {
            entry.priority += 5;
        }
        assert_eq!(step(&running, &desired), Step::Nothing);
        assert_eq!(step(&[], &[]), Step::Nothing);
    }

    #[test]
    fn entries_that_change_places_are_sent_whole() {
        let (one, two) = (entries(&[(1, 1), (2, 2)]), entries(&[(2, 2), (1, 1)]));
        assert_eq!(step(&one, &two), Step::Replace);
        // A new one before an old one, too: a change would add it at the end.
        assert_eq!(step(&entries(&[(1, 1)]), &two), Step::Replace);
    }

    #[test]
    fn a_change_says_only_what_differs() {
        let running = entries(&[(1, 1), (2, 2), (3, 3)]);
        let desired = entries(&[(1, 1), (3, 30), (4, 4)]);
        let expected = Step::Change {
            remove: vec![name(2)],
            put: entries(&[(3, 30), (4, 4)]),
        };
        assert_eq!(step(&running, &desired), expected);
    }

    #[test]
    fn halves_part_no_tunnel() {
        assert_eq!(halves(&entries(&[])), None);
        assert_eq!(halves(&entries(&[(1, 1), (2, 1)])), None);
        for tunnels in 2..9_u8 {
            let entries_of = |n: u8| [2 * n, 2 * n + 1].map(|name| (name, u32::from(n) + 1));
            let all: Vec<_> = (0..tunnels).flat_map(entries_of).collect();
            let all = entries(&all);
            let (first, second) = halves(&all).unwrap();
            assert_eq!([first, second].concat(), all);
            assert_ne!(first.last().unwrap().reqid, second.first().unwrap().reqid);
            assert!(first.len().abs_diff(second.len()) <= 2);
        }
    }

    proptest! {
        #[test]
        fn any_edit_leads_there(
            running in prop::collection::vec((0..8_u8, 1..3_u32), 0..8),
            desired in prop::collection::vec((0..8_u8, 1..3_u32), 0..8),
        ) {
            let (running, desired) = (entries(&once_each(running)), entries(&once_each(desired)));
            let after = match step(&running, &desired) {
                Step::Nothing => running,
                Step::Replace => desired.clone(),
                Step::Change { remove, put } => {
                    let mut after = running;
                    after.retain(|entry| !remove.contains(&entry.name));
                    for entry in put {
                        match after.iter_mut().find(|known| known.name == entry.name) {
                            Some(known) => *known = entry,
                            None => after.push(entry),
                        }
                    }
                    after
                }
            };
            prop_assert_eq!(after, desired);
        }
    }

    fn once_each(mut entries: Vec<(u8, u32)>) -> Vec<(u8, u32)> {
        let mut seen = std::collections::BTreeSet::new();
        entries.retain(|(name, _)| seen.insert(*name));
        entries
    }

    fn entries(of: &[(u8, u32)]) -> Vec<Policy> {
        let entry = |&(number, reqid): &(u8, u32)| Policy {
            name: name(number),
            priority: 1000,
            direction: Direction::Outbound,
            reqid: Reqid::try_from(reqid).unwrap(),
            selector: TrafficSelector {
                local: Prefix::ANY_V4,
                remote: Prefix::ANY_V4,
                protocol: None,
                local_port: None,
                remote_port: None,
            },
            action: Action::Discard,
        };
        of.iter().map(entry).collect()
    }

    fn name(number: u8) -> EntryName {
        EntryName::try_from(format!("entry {number}")).unwrap()
    }
}
