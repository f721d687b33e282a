//! Both lives, state by event, as their golden matrix: a change of a table is a change of
//! `transition_tables.txt`, and somebody reads it.
#![cfg(test)]

use std::fmt::Write as _;

use bartizan_core::generation::{Event, State};
use bartizan_model::lifecycle::{self, Lifecycle};

const GOLDEN: &str = include_str!("transition_tables.txt");

#[test]
fn the_tables_are_those_that_were_read() {
    let tables = tables();
    let lines = tables.lines().zip(GOLDEN.lines());
    for (number, (now, golden)) in lines.enumerate() {
        assert_eq!(now, golden, "line {}; the whole:\n{tables}", number + 1);
    }
    assert_eq!(tables.len(), GOLDEN.len(), "the whole:\n{tables}");
}

fn tables() -> String {
    let mut out = String::from("# One generation\n");
    for state in State::ALL {
        writeln!(out, "\n{state:?}").unwrap();
        for event in Event::ALL {
            if let Ok((next, actions)) = state.after(event) {
                writeln!(out, "  {event:?} -> {next:?} {actions:?}").unwrap();
            }
        }
        let refused = Event::ALL
            .into_iter()
            .filter(|event| state.after(*event).is_err());
        writeln!(out, "  refused: {}", list(refused)).unwrap();
    }
    out.push_str("\n# The appliance\n");
    for state in Lifecycle::ALL {
        writeln!(out, "\n{state:?}").unwrap();
        for event in lifecycle::Event::ALL {
            if let Ok(next) = state.after(event) {
                writeln!(out, "  {event:?} -> {next:?}").unwrap();
            }
        }
        let refused = lifecycle::Event::ALL.into_iter();
        let refused = refused.filter(|event| state.after(*event).is_err());
        writeln!(out, "  refused: {}", list(refused)).unwrap();
    }
    out
}

fn list(events: impl Iterator<Item = impl std::fmt::Debug>) -> String {
    let names: Vec<String> = events.map(|event| format!("{event:?}")).collect();
    names.join(", ")
}
