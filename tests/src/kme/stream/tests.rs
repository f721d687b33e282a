use std::path::Path;

use super::super::fault::{Plan, Request};
use super::super::key::Link;
use super::super::store::{Pace, Store};
use super::*;

/// One KME of link 1.
struct Node {
    store: Store,
    streams: Streams,
    plan: Plan,
}

impl Node {
    fn new(name: &str, keys: u64, rendezvous: Option<&Path>) -> Self {
        let pace = Pace {
            rate: 10,
            capacity: keys,
            outages: None,
        };
        Self {
            store: Store::new(Link::new(1), pace, 1),
            streams: Streams::new(name.into(), 7, rendezvous.map(Into::into), 2),
            plan: Plan::default(),
        }
    }

    fn call(&mut self, caller: &str, call: &Call) -> Answer {
        self.call_at(caller, call, Duration::ZERO)
    }

    fn call_at(&mut self, caller: &str, call: &Call, now: Duration) -> Answer {
        let behaviours = self.plan.meet(match call {
            Call::Open { .. } => Request::Open,
            Call::Get { .. } => Request::Get,
            Call::Close { .. } => Request::Close,
        });
        self.streams
            .answer(Some(caller), call, &mut self.store, &behaviours, now)
    }
}

fn qos() -> Qos {
    Qos {
        chunk: 32,
        max_bps: 100_000,
        min_bps: 256,
        jitter: 0,
        priority: 0,
        timeout: 1000,
        ttl: 60,
        mimetype: "application/json".into(),
    }
}

fn open(own: &str, other: &str, stream: StreamId) -> Call {
    Call::Open {
        source: format!("qkd://{own}@kme"),
        destination: format!("qkd://{other}@kme"),
        qos: qos(),
        stream,
    }
}

const NEW: StreamId = StreamId([0; 16]);

fn get(stream: StreamId, index: u32) -> Call {
    Call::Get {
        stream,
        index,
        metadata: 64,
    }
}

fn opened(answer: &Answer) -> StreamId {
    match answer {
        Answer::Opened {
            status: Status::Successful | Status::PeerNotConnected,
            stream,
            ..
        } => *stream,
        Answer::Opened { .. } | Answer::Chunk { .. } | Answer::Metadata(_) | Answer::Status(_) => {
            panic!("{answer:?}")
        }
    }
}

fn chunk_of(answer: &Answer) -> Vec<u8> {
    match answer {
        Answer::Chunk { chunk, .. } => chunk.clone(),
        Answer::Opened { .. } | Answer::Metadata(_) | Answer::Status(_) => panic!("{answer:?}"),
    }
}

#[test]
fn both_ends_of_a_stream_get_the_same_chunk_under_an_index_once() {
    let (mut a, mut b) = (Node::new("a", 9, None), Node::new("b", 9, None));
    let stream = opened(&a.call("sae-a", &open("sae-a", "sae-b", NEW)));
    assert_eq!(
        opened(&b.call("sae-b", &open("sae-b", "sae-a", stream))),
        stream
    );
    let here = chunk_of(&a.call("sae-a", &get(stream, 3)));
    assert_eq!(here.len(), 32);
    assert_eq!(chunk_of(&b.call("sae-b", &get(stream, 3))), here);
    assert_ne!(chunk_of(&b.call("sae-b", &get(stream, 4))), here);
    assert_eq!(
        a.call("sae-a", &get(stream, 3)),
        Answer::Status(Status::InsufficientKey)
    );
}

#[test]
fn each_status_comes_when_it_should() {
    let folder = std::env::temp_dir().join(format!("rendezvous-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let (mut a, mut b) = (
        Node::new("a", 2, Some(&folder)),
        Node::new("b", 2, Some(&folder)),
    );
    let status = |answer: Answer| match answer {
        Answer::Status(status) | Answer::Opened { status, .. } => status,
        Answer::Chunk { .. } | Answer::Metadata(_) => panic!("{answer:?}"),
    };
    let first = a.call("sae-a", &open("sae-a", "sae-b", NEW));
    assert_eq!(status(first.clone()), Status::PeerNotConnected);
    let stream = opened(&first);
    assert_eq!(
        status(a.call("sae-a", &get(stream, 0))),
        Status::GetBeforePeer
    );
    let again = a.call("sae-a", &open("sae-a", "sae-b", stream));
    assert_eq!(status(again), Status::IdInUse);
    let foreign = b.call("sae-b", &open("sae-b", "sae-c", stream));
    assert_eq!(status(foreign), Status::NoConnection);
    let posing = b.call("sae-c", &open("sae-b", "sae-a", stream));
    assert_eq!(status(posing), Status::NoConnection);
    let second = b.call("sae-b", &open("sae-b", "sae-a", stream));
    assert_eq!(status(second), Status::Successful);

    let mut little = get(stream, 0);
    if let Call::Get { metadata, .. } = &mut little {
        *metadata = 3;
    }
    assert_eq!(a.call("sae-a", &little), Answer::Metadata(18));
    for index in 0..2 {
        assert_eq!(chunk_of(&a.call("sae-a", &get(stream, index))).len(), 32);
    }
    assert_eq!(
        status(a.call("sae-a", &get(stream, 2))),
        Status::InsufficientKey
    );

    assert_eq!(
        status(b.call("sae-b", &Call::Close { stream })),
        Status::Successful
    );
    assert_eq!(
        status(b.call("sae-b", &Call::Close { stream })),
        Status::NoConnection
    );
    assert_eq!(
        status(a.call("sae-a", &get(stream, 5))),
        Status::GetBeforePeer
    );
    let after_ttl = a.call_at("sae-a", &get(stream, 5), Duration::from_mins(1));
    assert_eq!(status(after_ttl), Status::NoConnection);

    let mut greedy = open("sae-a", "sae-b", NEW);
    if let Call::Open { qos, .. } = &mut greedy {
        qos.min_bps = 1_000_000;
        qos.chunk = 4096;
    }
    let Answer::Opened { status, qos, .. } = a.call("sae-a", &greedy) else {
        panic!("no counter-proposal")
    };
    assert_eq!(status, Status::QosNotMet);
    assert_eq!((qos.chunk, qos.min_bps), (1024, 10 * 1024 * 8));
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_misbehaving_kme_gives_what_was_ordered() {
    let mut kme = Node::new("a", 100, None);
    let stream = opened(&kme.call("sae-a", &open("sae-a", "sae-b", NEW)));
    let honest = chunk_of(&kme.call("sae-a", &get(stream, 0)));
    for (order, index, expected) in [
        ("zero-key", 1, vec![0; 32]),
        ("repeated-key", 1, vec![0; 32]),
        ("no-key", 1, vec![]),
    ] {
        kme.plan.honest();
        kme.plan.order(order).unwrap();
        let answer = kme.call("sae-a", &get(stream, index + kme.store_next()));
        assert_eq!(chunk_of(&answer), expected, "{order}");
    }
    kme.plan.honest();
    kme.plan.order("wrong-id on=get").unwrap();
    let answer = kme.call("sae-a", &get(stream, 50));
    assert!(
        matches!(answer, Answer::Chunk { index: 51, .. }),
        "{answer:?}"
    );
    kme.plan.honest();
    kme.plan.order("code 4 on=open").unwrap();
    let refused = kme.call("sae-a", &open("sae-a", "sae-b", NEW));
    assert_eq!(refused, Answer::Status(Status::NoConnection));
    assert_eq!(honest.len(), 32);
}

impl Node {
    /// An index that no call has used: how many calls there were.
    fn store_next(&self) -> u32 {
        let calls: u64 = self.plan.counts().values().sum();
        u32::try_from(calls).unwrap()
    }
}
