//! How many copies of a key a channel leaves in a process.
#![cfg(test)]
#![forbid(unsafe_code)]
#![expect(
    clippy::arithmetic_side_effects,
    reason = "an overflow fails the test, as it should"
)]

#[path = "../../secret/tests/support/mod.rs"]
mod support;

use bartizan_model::ids::{KeyId, OrderId};
use bartizan_model::message::{EngineToQkd, QkdToEngine};
use bartizan_process::Channel;
use bartizan_secret::{Secret, ZeroOnFree, clobber_stack};
use support::{Looked, part, plant, refuse_memfd_secret, scan, show};

#[global_allocator]
static HEAP: ZeroOnFree = ZeroOnFree;

#[test]
fn a_key_on_its_way_is_in_the_slots_of_both_ends_and_nowhere_else() {
    const NAME: &str = "a_key_on_its_way_is_in_the_slots_of_both_ends_and_nowhere_else";
    if let Some(part) = part() {
        if part == "mlock" {
            refuse_memfd_secret();
        }
        let (mut engine, mut qkd) = Channel::<QkdToEngine, EngineToQkd>::pair().unwrap();
        let kept = Secret::from_fn(32, plant).unwrap();
        let sent = Secret::from_fn(32, plant).unwrap();
        let message = QkdToEngine::Key {
            order: OrderId(1),
            key: KeyId::try_from("a-key").unwrap(),
        };
        qkd.send_secret(&message, sent).unwrap();
        let received = engine.recv().unwrap().unwrap().secret.unwrap();
        clobber_stack();
        show("both");
        drop(kept);
        show("received");
        drop(received);
        show("none");
        return;
    }
    for (part, both, received) in [("mlock", 2, 1), ("memfd_secret", 0, 0)] {
        let mut child = Looked::start(NAME, part);
        for (word, expected) in [("both", both), ("received", received), ("none", 0)] {
            assert_eq!(child.word(), word);
            let found = scan(child.pid());
            assert_eq!(found.in_all(), expected, "{part}, {word}: {found:#?}");
            if word != "none" {
                child.go_on();
            }
        }
        assert!(child.end().success());
    }
}
