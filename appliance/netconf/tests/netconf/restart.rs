//! The keyless copy: what stood before a restart of the processes stands after it.

use bartizan_model::message::{ControlToEngine, EditRefusal, EngineToControl};
use bartizan_netconf::{CopyError, Running};

use crate::bench::{Bench, rpc};
use crate::documents::{GET_CONFIG, OUTBOUND, discard, edit};

fn copied() -> (Vec<u8>, String) {
    let mut bench = Bench::new();
    let entries = [discard("b", 2), OUTBOUND.into(), discard("a", 1)].concat();
    bench.ok(&edit(&entries));
    (bench.gateway.running().to_copy(), bench.ask(GET_CONFIG))
}

fn restored() -> (Bench, String) {
    let (copy, shown) = copied();
    let mut bench = Bench::new();
    bench.gateway.restore(Running::from_copy(&copy).unwrap());
    (bench, shown)
}

#[test]
fn a_restored_configuration_is_offered_to_the_engine_and_shown_as_it_was() {
    let (mut bench, shown) = restored();
    bench.send(&rpc(GET_CONFIG));
    assert!(bench.messages().is_empty(), "the engine has yet to answer");
    assert!(matches!(bench.orders[0], ControlToEngine::BeginRestore(_)));
    let names: Vec<_> = bench
        .orders
        .iter()
        .filter_map(|order| match order {
            ControlToEngine::Put(policy) => Some(policy.name.as_str()),
            ControlToEngine::BeginEdit(_)
            | ControlToEngine::BeginRestore(_)
            | ControlToEngine::Remove(_)
            | ControlToEngine::CommitEdit(_)
            | ControlToEngine::Lease(_)
            | ControlToEngine::Order(_) => None,
        })
        .collect();
    assert_eq!(names, ["b", "out/10.1.0.0/in/10.2.0.0", "a"]);
    bench.accept();
    assert_eq!(bench.messages(), [shown]);

    // What follows is told as the change that it is.
    bench.orders.clear();
    bench.ok(&edit(&discard("c", 3)));
    assert_eq!(bench.orders.len(), 3, "{:?}", bench.orders);
    assert_eq!(bench.names().len(), 4);
}

#[test]
fn a_restoration_that_is_refused_leaves_nothing() {
    let (mut bench, _) = restored();
    bench.send(&rpc(GET_CONFIG));
    let Some(ControlToEngine::CommitEdit(edit)) = bench.orders.last().cloned() else {
        panic!("{:?}", bench.orders);
    };
    let changed = bench.engine_says(EngineToControl::EditRefused {
        edit,
        entry: "-".try_into().unwrap(),
        reason: EditRefusal::NotAttested,
    });
    assert!(changed, "the copy is emptied too");
    assert!(bench.messages()[0].contains("<data/>"));
}

#[test]
fn what_is_no_copy_is_refused() {
    let (copy, _) = copied();
    assert_eq!(Running::from_copy(&[]), Err(CopyError::Malformed));
    for len in 0..copy.len() {
        assert_eq!(
            Running::from_copy(&copy[..len]),
            Err(CopyError::Malformed),
            "{len}"
        );
    }
    let longer = [copy.as_slice(), &[0]].concat();
    assert_eq!(Running::from_copy(&longer), Err(CopyError::Malformed));
    let mut newer = copy.clone();
    newer[0] += 1;
    assert_eq!(Running::from_copy(&newer), Err(CopyError::Malformed));
}
