use core::fmt::Write as _;

use bartizan_controller::device::{Class, Event, State};

/// A change of the table changes this file, for everybody to see: `BARTIZAN_BLESS=1` writes it.
#[test]
fn the_life_of_a_device_is_this_table() {
    let mut text = String::new();
    for state in State::ALL {
        for event in Event::ALL {
            let next = match state.after(event) {
                Ok(next) => next.to_string(),
                Err(_) => "refused".to_owned(),
            };
            writeln!(text, "{state} + {event:?} = {next}").unwrap();
        }
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/device/table.txt");
    if std::env::var_os("BARTIZAN_BLESS").is_some() {
        std::fs::write(file, &text).unwrap();
    }
    assert_eq!(text, include_str!("table.txt"));
}

#[test]
fn only_a_state_failure_is_cleared_by_a_boot_and_none_by_a_proof_of_the_same() {
    for class in Class::ALL {
        let failed = State::Quarantined(class);
        assert_eq!(failed.after(Event::Passed), Ok(failed));
        let expected = if class == Class::State {
            State::Enrolled
        } else {
            failed
        };
        assert_eq!(failed.after(Event::PassedAfterBoot), Ok(expected));
    }
}

#[test]
fn the_graver_failure_stays() {
    for one in Class::ALL {
        for other in Class::ALL {
            let state = State::Quarantined(one).after(Event::Failed(other));
            assert_eq!(state, Ok(State::Quarantined(one.max(other))));
        }
    }
}

#[test]
fn nothing_leads_out_of_retirement() {
    for event in Event::ALL {
        assert!(State::Retired.after(event).is_err());
    }
}

#[test]
fn only_a_transfer_brings_a_revoked_or_released_device_back() {
    for state in [State::Revoked, State::Released] {
        for event in Event::ALL {
            match state.after(event) {
                Ok(State::Expected) => assert_eq!(event, Event::Transferred),
                Ok(State::Retired) => assert_eq!(event, Event::Retired),
                Ok(next) => panic!("{state} + {event:?} = {next}"),
                Err(_) => {}
            }
        }
    }
}
