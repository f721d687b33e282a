use super::*;
use proptest::prelude::*;

fn at(millis: u64) -> BootTime {
    BootTime(Duration::from_millis(millis))
}

fn task(id: u64, begins: u64) -> Task {
    Task {
        tag: Tag::Order(OrderId(id)),
        peer: SaeId::try_from("sae-b").unwrap(),
        ask: Ask::NewKey,
        deadline: at(begins).after(ORDER_LIMIT),
        not_before: at(begins),
        tries: 0,
    }
}

fn with_orders(count: u64) -> Dispatch {
    let mut dispatch = Dispatch::new();
    for id in 0..count {
        dispatch.take(task(id, 0));
    }
    dispatch
}

fn ids(tasks: &[Task]) -> Vec<u64> {
    let id = |task: &Task| match task.tag {
        Tag::Order(OrderId(id)) => id,
        Tag::Prefetch | Tag::Open | Tag::Join(_) | Tag::Close => u64::MAX,
    };
    tasks.iter().map(id).collect()
}

fn alone(dispatch: &mut Dispatch, now: BootTime) -> Option<(usize, Task)> {
    let (worker, mut tasks) = dispatch.assign(now, |_| 1)?;
    assert_eq!(tasks.len(), 1);
    Some((worker, tasks.remove(0)))
}

fn done(dispatch: &mut Dispatch, worker: usize, link: Link) -> Vec<u64> {
    let tasks: Vec<Task> = dispatch
        .finish(worker, link)
        .into_iter()
        .flatten()
        .collect();
    ids(&tasks)
}

#[test]
fn a_standing_connection_is_used_before_another_is_opened() {
    let mut dispatch = with_orders(1);
    let (first, _) = alone(&mut dispatch, at(0)).unwrap();
    assert_eq!(done(&mut dispatch, first, Link::Up), [0]);
    for id in 1..3 {
        dispatch.take(task(id, 0));
    }
    assert_eq!(alone(&mut dispatch, at(0)).unwrap().0, first);
    assert_ne!(alone(&mut dispatch, at(0)).unwrap().0, first);
}

#[test]
fn no_more_is_worked_on_than_there_are_workers() {
    let mut dispatch = with_orders(100);
    for _ in 0..WORKERS {
        assert!(alone(&mut dispatch, at(0)).is_some());
    }
    assert!(alone(&mut dispatch, at(0)).is_none());
}

#[test]
fn tasks_of_one_kind_and_peer_go_together_and_orders_before_the_rest() {
    let mut dispatch = Dispatch::new();
    let prefetch = Task {
        tag: Tag::Prefetch,
        ..task(9, 0)
    };
    let of_other = Task {
        peer: SaeId::try_from("sae-c").unwrap(),
        ..task(5, 0)
    };
    let named = Task {
        ask: Ask::SameKey(KeyId::try_from("k").unwrap()),
        ..task(6, 0)
    };
    let alone = Task {
        tries: 1,
        ..task(7, 0)
    };
    for task in [
        prefetch.clone(),
        task(1, 0),
        of_other,
        named,
        alone,
        task(2, 0),
        task(3, 500),
    ] {
        dispatch.take(task);
    }
    let mut assigned = Vec::new();
    while let Some((_, tasks)) = dispatch.assign(at(0), |_| 16) {
        assigned.push(ids(&tasks));
    }
    assert_eq!(assigned, [vec![1, 2, u64::MAX], vec![5], vec![6], vec![7]]);
    assert_eq!(dispatch.deadline(at(0)), Some(at(500)));
    dispatch.take(prefetch);
    let (_, tasks) = dispatch.assign(at(500), |_| 16).unwrap();
    assert_eq!(ids(&tasks), [3, u64::MAX]);
}

#[test]
fn a_request_has_no_more_than_the_kme_takes() {
    let mut dispatch = with_orders(10);
    let (_, tasks) = dispatch.assign(at(0), |_| 4).unwrap();
    assert_eq!(ids(&tasks), [0, 1, 2, 3]);
}

#[test]
fn a_kme_that_is_away_is_tried_by_one_worker_after_a_wait() {
    let mut dispatch = with_orders(3);
    let (worker, _) = alone(&mut dispatch, at(0)).unwrap();
    dispatch.finish(worker, Link::Down);
    let given_up = dispatch.connected(Connect::Failed, at(10), u32::MAX);
    assert_eq!(ids(&given_up), [1, 2]);
    assert!(dispatch.is_away(at(20)));

    dispatch.take(task(3, 20));
    dispatch.take(task(4, 20));
    assert_eq!(alone(&mut dispatch, at(20)), None);
    let retry = dispatch.deadline(at(20)).unwrap();
    assert!(at(110) <= retry && retry <= at(210));
    let (worker, _) = alone(&mut dispatch, retry).unwrap();
    assert_eq!(alone(&mut dispatch, retry), None, "one at a time");

    dispatch.finish(worker, Link::Up);
    dispatch.connected(Connect::Done, at(300), 0);
    assert!(alone(&mut dispatch, at(300)).is_some());
    dispatch.take(task(5, 300));
    assert!(alone(&mut dispatch, at(300)).is_some(), "many again");
}

#[test]
fn a_failed_connection_beside_a_standing_one_gives_nothing_up() {
    let mut dispatch = with_orders(3);
    let (first, _) = alone(&mut dispatch, at(0)).unwrap();
    dispatch.finish(first, Link::Up);
    assert_eq!(alone(&mut dispatch, at(0)).unwrap().0, first);
    let (second, _) = alone(&mut dispatch, at(0)).unwrap();
    dispatch.finish(second, Link::Down);
    dispatch.take(task(7, 0));
    assert_eq!(dispatch.connected(Connect::Failed, at(0), 0), []);
    assert_eq!(alone(&mut dispatch, at(1)), None);
    dispatch.finish(first, Link::Up);
    assert_eq!(ids(&[alone(&mut dispatch, at(1)).unwrap().1]), [7]);
}

#[test]
fn a_cancelled_order_gets_no_reply_and_its_companions_do() {
    let mut dispatch = with_orders(3);
    let (worker, _) = dispatch.assign(at(0), |_| 2).unwrap();
    dispatch.cancel(OrderId(0));
    dispatch.cancel(OrderId(2));
    let finished = dispatch.finish(worker, Link::Up);
    assert_eq!(finished.len(), 2);
    assert!(finished[0].is_none() && finished[1].is_some());
    assert_eq!(alone(&mut dispatch, at(0)), None);
    assert_eq!(dispatch.expire(at(u64::MAX)), []);
}

#[test]
fn a_lost_connection_is_not_used() {
    let mut dispatch = with_orders(1);
    let (worker, _) = alone(&mut dispatch, at(0)).unwrap();
    dispatch.lost(worker);
    assert_eq!(done(&mut dispatch, worker, Link::Up), [0], "it is busy");
    dispatch.lost(worker);
    assert!(!dispatch.has_link());
}

proptest! {
    /// Whatever happens, each order has one fate, and each is over in time.
    #[test]
    fn every_order_has_one_fate(
        events in proptest::collection::vec((0_u8..5, 0..WORKERS, 0_u64..3000), 0..200),
        batch in 1_usize..5,
    ) {
        let mut dispatch = Dispatch::new();
        let mut open = std::collections::BTreeSet::new();
        let mut now = 0;
        let mut next = 0;
        for (event, worker, wait) in events {
            now += wait;
            match event {
                0 | 1 => {
                    dispatch.take(task(next, now));
                    open.insert(next);
                    next += 1;
                }
                2 => {
                    let id = next.saturating_sub(2);
                    dispatch.cancel(OrderId(id));
                    open.remove(&id);
                }
                3 => {
                    let done = done(&mut dispatch, worker, Link::Up);
                    prop_assert!(done.iter().all(|id| open.remove(id)));
                    dispatch.connected(Connect::Done, at(now), 0);
                }
                _ => {
                    let done = done(&mut dispatch, worker, Link::Down);
                    prop_assert!(done.iter().all(|id| open.remove(id)));
                    let given_up = dispatch.connected(Connect::Failed, at(now), u32::MAX);
                    prop_assert!(ids(&given_up).iter().all(|id| open.remove(id)));
                }
            }
            let expired = dispatch.expire(at(now));
            prop_assert!(ids(&expired).iter().all(|id| open.remove(id)));
            while let Some((_, tasks)) = dispatch.assign(at(now), |_| batch) {
                prop_assert!(tasks.len() <= batch);
                prop_assert!(ids(&tasks).iter().all(|id| open.contains(id)));
                prop_assert!(tasks.iter().all(|task| at(now) < task.deadline));
            }
        }
        for worker in 0..WORKERS {
            let done = done(&mut dispatch, worker, Link::Up);
            prop_assert!(done.iter().all(|id| open.remove(id)));
        }
        let expired = dispatch.expire(at(now).after(ORDER_LIMIT));
        prop_assert!(ids(&expired).iter().all(|id| open.remove(id)));
        prop_assert!(open.is_empty());
    }
}
