use std::collections::{BTreeMap, BTreeSet};

use bartizan_model::ids::SaeId;
use proptest::prelude::*;

use super::*;
use crate::stream::Qos;

const ID: StreamId = StreamId([7; 16]);
const OTHER: StreamId = StreamId([8; 16]);

fn at(millis: u64) -> BootTime {
    BootTime(Duration::from_millis(millis))
}

fn end(millis: u64) -> BootTime {
    at(millis).after(ORDER_LIMIT)
}

fn streams() -> Streams {
    Streams::new(Terms {
        peer: SaeId::try_from("sae-b").unwrap(),
        source: "qkd://sae-a@kme-a".into(),
        destination: "qkd://sae-b@sae-b".into(),
        least_rate: 256,
    })
}

fn order(number: u64) -> Tag {
    Tag::Order(OrderId(number))
}

fn qos() -> Qos {
    Qos {
        chunk: 32,
        max_bps: 25_600,
        min_bps: 256,
        jitter: 0,
        priority: 0,
        timeout: 1000,
        ttl: 100,
    }
}

fn opened(stream: StreamId) -> Said {
    Said::Opened {
        stream,
        qos: Some(qos()),
        peer: false,
    }
}

fn key() -> Said {
    let secret = Secret::from_fn(32, |bytes| bytes.fill(9)).unwrap();
    Said::Key(secret, None)
}

/// The one task among the actions.
fn task(actions: Vec<Action>) -> Task {
    let mut tasks = actions.into_iter().filter_map(|action| match action {
        Action::Do(task) => Some(task),
        Action::Announce(_) | Action::Refuse(..) => None,
    });
    let task = tasks.next().expect("a task");
    assert_eq!(tasks.next(), None);
    task
}

fn place(task: &Task) -> Place {
    let Ask::Stream(Call::Get { place, .. }) = &task.ask else {
        panic!("no chunk is asked for: {task:?}")
    };
    *place
}

/// What comes of an answer.
fn hear(
    streams: &mut Streams,
    task: &Task,
    said: Result<Said, QkdRefusal>,
    millis: u64,
) -> Vec<Action> {
    let mut out = Vec::new();
    assert!(streams.said(task, said, at(millis), &mut out).is_none());
    out
}

/// A stream that is open, and the task of its first order.
fn begun() -> (Streams, Task) {
    let mut streams = streams();
    let mut out = Vec::new();
    streams.new_key(order(1), end(0), at(0), &mut out);
    let open = task(out);
    assert_eq!(open.tag, Tag::Open);
    let out = hear(&mut streams, &open, Ok(opened(ID)), 0);
    assert!(out.contains(&Action::Announce(ID)));
    (streams, task(out))
}

#[test]
fn the_first_order_opens_a_stream_and_each_gets_an_index_of_its_own() {
    let (mut streams, first) = begun();
    assert_eq!(
        place(&first),
        Place {
            stream: ID,
            index: 0
        }
    );
    for index in 1..5 {
        let mut out = Vec::new();
        streams.new_key(order(9), end(0), at(0), &mut out);
        assert_eq!(place(&task(out)), Place { stream: ID, index });
    }
    let got = streams
        .said(&first, Ok(key()), at(5), &mut Vec::new())
        .unwrap();
    assert_eq!((got.tag, got.place), (order(1), place(&first)));
}

#[test]
fn each_status_of_a_chunk_has_its_reaction() {
    for (status, refusal) in [
        (Status::NoPeer, QkdRefusal::Unavailable),
        (Status::NoKey, QkdRefusal::Unavailable),
        (Status::Timeout, QkdRefusal::TimedOut),
    ] {
        let (mut streams, mut get) = begun();
        let named = place(&get);
        let mut now = 0;
        let mut waits = 0;
        // The same chunk is asked for later and later, and no longer than the order lasts.
        let end = loop {
            let out = hear(&mut streams, &get, Ok(Said::Refused(status)), now);
            if let [Action::Refuse(tag, reason)] = out[..] {
                break (tag, reason);
            }
            get = task(out);
            assert_eq!(place(&get), named);
            let begins = get.not_before.0.as_millis().try_into().unwrap();
            assert!(now < begins);
            (now, waits) = (begins, waits + 1);
        };
        assert_eq!(end, (order(1), refusal));
        assert!((5..20).contains(&waits) && now < 3000, "{waits} {now}");
    }
}

#[test]
fn a_peer_that_has_not_joined_is_told_again() {
    let (mut streams, get) = begun();
    let no_peer = || Ok(Said::Refused(Status::NoPeer));
    let soon = hear(&mut streams, &get, no_peer(), 500);
    assert!(!soon.contains(&Action::Announce(ID)));
    let later = hear(&mut streams, &get, no_peer(), 1000);
    assert!(later.contains(&Action::Announce(ID)));
}

#[test]
fn a_stream_that_is_gone_is_opened_anew_a_few_times() {
    let (mut streams, mut get) = begun();
    let gone = || Ok(Said::Refused(Status::NoConnection));
    for _ in 1..STREAM_TRIES {
        let open = task(hear(&mut streams, &get, gone(), 10));
        assert_eq!(open.tag, Tag::Open);
        get = task(hear(&mut streams, &open, Ok(opened(OTHER)), 20));
        assert_eq!(place(&get).stream, OTHER);
    }
    let out = hear(&mut streams, &get, gone(), 30);
    assert_eq!(out, [Action::Refuse(order(1), QkdRefusal::BadRequest)]);
}

#[test]
fn metadata_that_need_more_room_get_it_once_within_reason() {
    let (mut streams, get) = begun();
    let more = task(hear(&mut streams, &get, Ok(Said::Metadata(200)), 0));
    let Ask::Stream(Call::Get { metadata, .. }) = &more.ask else {
        panic!("no chunk")
    };
    assert_eq!((*metadata, place(&more)), (200, place(&get)));
    for size in [0, 200, METADATA_MAX + 1] {
        let out = hear(&mut streams, &more, Ok(Said::Metadata(size)), 0);
        assert_eq!(out, [Action::Refuse(order(1), QkdRefusal::BadReply)]);
    }
}

#[test]
fn a_proposal_is_taken_within_bounds_and_once() {
    let offer = |change: fn(&mut Qos)| {
        let mut streams = streams();
        let mut out = Vec::new();
        streams.new_key(order(1), end(0), at(0), &mut out);
        let open = task(out);
        let mut offered = qos();
        change(&mut offered);
        let out = hear(&mut streams, &open, Ok(Said::Offered(offered)), 0);
        (streams, out, offered)
    };
    let (mut streams, out, offered) = offer(|qos| qos.ttl = 5);
    let again = task(out);
    let Ask::Stream(Call::Open { qos, .. }) = &again.ask else {
        panic!("not opened")
    };
    assert_eq!(*qos, offered);
    let out = hear(&mut streams, &again, Ok(Said::Offered(offered)), 0);
    assert_eq!(out, [Action::Refuse(order(1), QkdRefusal::BadRequest)]);

    let changes: [fn(&mut Qos); 4] = [
        |qos| qos.chunk = 16,
        |qos| qos.min_bps = 255,
        |qos| qos.max_bps = 255,
        |qos| qos.ttl = 3,
    ];
    for change in changes {
        let (_, out, offered) = offer(change);
        let refused = [Action::Refuse(order(1), QkdRefusal::BadRequest)];
        assert_eq!(out, refused, "{offered:?}");
    }
}

#[test]
fn a_taken_name_is_followed_by_the_next_one() {
    let mut streams = streams();
    let mut out = Vec::new();
    streams.new_key(order(1), end(0), at(0), &mut out);
    let mut open = task(out);
    let taken = || Ok(Said::Refused(Status::Taken));
    for _ in 1..4 {
        open = task(hear(&mut streams, &open, taken(), 0));
        assert_eq!(open.tag, Tag::Open);
    }
    let out = hear(&mut streams, &open, taken(), 0);
    assert_eq!(out, [Action::Refuse(order(1), QkdRefusal::BadRequest)]);
    let mut out = Vec::new();
    streams.new_key(order(2), end(100), at(100), &mut out);
    let at_once = [Action::Refuse(order(2), QkdRefusal::BadRequest)];
    assert_eq!(out, at_once, "not asked again so soon");
    let mut out = Vec::new();
    streams.new_key(order(3), end(1100), at(1100), &mut out);
    assert_eq!(task(out).tag, Tag::Open);
}

#[test]
fn a_stream_in_use_is_followed_by_another_and_closed_later() {
    let (mut streams, _) = begun();
    let mut out = Vec::new();
    // Of an order that came after the opening.
    streams.new_key(order(2), end(0), at(0), &mut out);
    assert_eq!(streams.deadline(), Some(at(75_000)));
    let mut out = Vec::new();
    streams.tick(at(75_000), &mut out);
    let open = task(out);
    assert_eq!(open.tag, Tag::Open);
    let mut out = Vec::new();
    streams.new_key(order(3), end(75_001), at(75_001), &mut out);
    assert_eq!(place(&task(out)).stream, ID, "the old one until then");
    hear(&mut streams, &open, Ok(opened(OTHER)), 75_100);
    let mut out = Vec::new();
    streams.new_key(order(4), end(75_101), at(75_101), &mut out);
    assert_eq!(
        place(&task(out)),
        Place {
            stream: OTHER,
            index: 0
        }
    );
    assert_eq!(streams.deadline(), Some(at(85_100)));
    let mut out = Vec::new();
    streams.tick(at(85_100), &mut out);
    let close = task(out);
    assert_eq!(close.ask, Ask::Stream(Call::Close { stream: ID }));
}

#[test]
fn a_stream_whose_time_is_over_is_not_used() {
    let (mut streams, _) = begun();
    let mut out = Vec::new();
    streams.new_key(order(2), end(100_000), at(100_000), &mut out);
    assert_eq!(task(out).tag, Tag::Open);
}

#[test]
fn a_named_chunk_waits_until_its_stream_is_joined() {
    let mut streams = streams();
    let named = Place {
        stream: ID,
        index: 5,
    };
    let mut out = Vec::new();
    streams.same_key(order(1), named, end(0), at(0), &mut out);
    let join = task(out);
    assert_eq!(join.tag, Tag::Join(ID));
    let mut out = Vec::new();
    streams.join(ID, at(1), &mut out);
    streams.same_key(order(2), named, end(1), at(1), &mut out);
    assert_eq!(out, [], "it is being joined");
    streams.cancel(OrderId(2));
    let get = task(hear(&mut streams, &join, Ok(opened(ID)), 2));
    assert_eq!((get.tag, place(&get)), (order(1), named));
    // Lost at the KME: joined anew, and the order is served.
    let gone = Ok(Said::Refused(Status::NoConnection));
    let join = task(hear(&mut streams, &get, gone, 3));
    assert_eq!(join.tag, Tag::Join(ID));
    let taken = Ok(Said::Refused(Status::Taken));
    let get = task(hear(&mut streams, &join, taken, 4));
    assert_eq!(place(&get), named);
}

#[test]
fn of_a_peers_streams_the_last_two_are_joined() {
    let mut streams = streams();
    for number in 1..=3 {
        let mut out = Vec::new();
        let named = Place {
            stream: StreamId([number; 16]),
            index: 0,
        };
        streams.same_key(order(number.into()), named, end(0), at(0), &mut out);
        let refused = Action::Refuse(order(1), QkdRefusal::WrongKeyId);
        assert_eq!(out.contains(&refused), number == 3);
    }
    assert_eq!(streams.joined.len(), 2);
}

#[test]
fn an_order_that_waits_for_too_long_is_refused() {
    let mut streams = streams();
    let mut out = Vec::new();
    streams.new_key(order(1), end(0), at(0), &mut out);
    assert_eq!(streams.deadline(), Some(at(3000)));
    let mut out = Vec::new();
    streams.tick(at(3000), &mut out);
    assert_eq!(out, [Action::Refuse(order(1), QkdRefusal::TimedOut)]);
}

/// What a KME that does as it likes answers.
fn answer() -> impl Strategy<Value = u8> {
    0_u8..12
}

fn said(kind: u8, task: &Task, fresh: &mut u8) -> Result<Said, QkdRefusal> {
    let open = if let Ask::Stream(Call::Open { stream, .. }) = &task.ask {
        Some(*stream)
    } else {
        None
    };
    match (kind, open) {
        (0..=3, Some(StreamId::NEW)) => {
            *fresh += 1;
            Ok(opened(StreamId([*fresh; 16])))
        }
        (0..=3, Some(stream)) => Ok(opened(stream)),
        (0..=3, None) => Ok(key()),
        (4, _) => Ok(Said::Refused(Status::NoPeer)),
        (5, _) => Ok(Said::Refused(Status::NoKey)),
        (6, _) => Ok(Said::Refused(Status::NoConnection)),
        (7, _) => Ok(Said::Refused(Status::Taken)),
        (8, _) => Ok(Said::Refused(Status::Timeout)),
        (9, _) => Ok(Said::Offered(qos())),
        (10, _) => Ok(Said::Metadata(100)),
        _ => Err(QkdRefusal::Unreachable),
    }
}

proptest! {
    /// Whatever a KME answers: every order is served or refused, once, and in its time; and no chunk is
    /// asked for by two orders for fresh keys.
    #[test]
    fn every_order_ends_once_and_no_chunk_is_used_twice(
        answers in proptest::collection::vec((answer(), 0_u64..400), 1..200),
        named in proptest::collection::vec(any::<bool>(), 1..20),
    ) {
        let mut streams = streams();
        let (mut fresh, mut now) = (100, 0);
        let mut tasks: Vec<Task> = Vec::new();
        let mut open: BTreeMap<u64, BootTime> = BTreeMap::new();
        let mut used: BTreeMap<(StreamId, u32), Tag> = BTreeMap::new();
        let mut names = BTreeSet::new();
        let mut orders = named.iter();
        let mut number = 0;
        let mut answers = answers.into_iter();
        loop {
            let mut out = Vec::new();
            if let Some(is_named) = orders.next() {
                number += 1;
                open.insert(number, end(now));
                if *is_named {
                    let place = Place { stream: StreamId([u8::try_from(number % 3).unwrap() + 1; 16]), index: 1 };
                    names.insert(number);
                    streams.same_key(order(number), place, end(now), at(now), &mut out);
                } else {
                    streams.new_key(order(number), end(now), at(now), &mut out);
                }
            }
            streams.tick(at(now), &mut out);
            let next = tasks.iter().position(|task| task.not_before <= at(now));
            let step = answers.next();
            if let Some(index) = next {
                let task = tasks.remove(index);
                let kind = step.map_or(11, |(kind, _)| kind);
                let answer = said(kind, &task, &mut fresh);
                if let Some(got) = streams.said(&task, answer, at(now), &mut out) {
                    let Tag::Order(OrderId(id)) = got.tag else { panic!("{got:?}") };
                    prop_assert!(open.remove(&id).is_some(), "served twice");
                }
            } else if step.is_none() && open.is_empty() {
                break;
            }
            for action in out {
                match action {
                    Action::Do(task) => {
                        if let Ask::Stream(Call::Get { place, .. }) = &task.ask
                            && let Tag::Order(OrderId(id)) = task.tag
                            && !names.contains(&id)
                        {
                            let by = used.entry((place.stream, place.index)).or_insert(task.tag);
                            prop_assert_eq!(*by, task.tag, "a chunk for two orders");
                        }
                        tasks.push(task);
                    }
                    Action::Refuse(Tag::Order(OrderId(id)), _) => {
                        prop_assert!(open.remove(&id).is_some(), "refused twice");
                    }
                    Action::Refuse(..) | Action::Announce(_) => {}
                }
            }
            now += step.map_or(100, |(_, wait)| wait);
            prop_assert!(now < 1_000_000, "it does not end");
            // What a worker does not begin in time is refused by who hands it out.
            for task in tasks.extract_if(.., |task| task.deadline <= at(now)) {
                let mut out = Vec::new();
                streams.said(&task, Err(QkdRefusal::TimedOut), at(now), &mut out);
                for action in out {
                    if let Action::Refuse(Tag::Order(OrderId(id)), _) = action {
                        prop_assert!(open.remove(&id).is_some(), "refused twice");
                    }
                }
            }
        }
    }
}
