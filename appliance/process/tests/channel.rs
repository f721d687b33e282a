//! A channel carries what its vocabulary allows, and nothing else.
#![cfg(test)]
#![forbid(unsafe_code)]

use std::io::{IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use bartizan_model::ids::{KeyId, OrderId};
use bartizan_model::lifecycle::Lifecycle;
use bartizan_model::message::{
    Edge, EngineToQkd, FromTpm, QkdToEngine, RoleToSupervisor, SupervisorToRole, ToTpm,
};
use bartizan_process::{Channel, ChannelError, QUEUE_ROOM, Received, Vocabulary, socket_pair};
use bartizan_secret::Secret;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, send, sendmsg};

type Engine = Channel<QkdToEngine, EngineToQkd>;
type Supervisor = Channel<RoleToSupervisor, SupervisorToRole>;
type Tpm = Channel<ToTpm, FromTpm>;

#[test]
fn a_key_arrives_with_its_message_and_is_the_same() {
    let (mut engine, mut qkd) = Engine::pair().unwrap();
    for len in [1, 32, 64] {
        let key = Secret::from_fn(len, |bytes| bytes.fill(0xa5)).unwrap();
        qkd.send_secret(&key_message(7), key).unwrap();
        let received = engine.recv().unwrap().unwrap();
        assert_eq!(received.message, key_message(7));
        assert_eq!(received.secret.unwrap().expose(), vec![0xa5; len]);
        assert!(received.fd.is_none());
    }
    assert!(engine.recv().unwrap().is_none());
}

#[test]
fn a_message_without_a_key_shares_the_direction() {
    let (mut engine, mut qkd) = Engine::pair().unwrap();
    let refused = QkdToEngine::Refused {
        order: OrderId(1),
        reason: bartizan_model::report::QkdRefusal::Busy,
    };
    qkd.send(&refused).unwrap();
    let received = engine.recv().unwrap().unwrap();
    assert_eq!(received.message, refused);
    assert!(received.secret.is_none());
}

#[test]
fn a_key_must_not_be_missing_nor_stand_where_none_belongs() {
    let (_engine, mut qkd) = Engine::pair().unwrap();
    assert!(matches!(
        qkd.send(&key_message(1)),
        Err(ChannelError::Beside)
    ));

    let (mut engine, qkd) = raw::<Engine>();
    send_raw(&qkd, &framed(0, &[0; 64], &body(&key_message(1))));
    assert!(matches!(engine.recv(), Err(ChannelError::Beside)));

    let (mut engine, qkd) = raw::<Engine>();
    let refused = QkdToEngine::Refused {
        order: OrderId(1),
        reason: bartizan_model::report::QkdRefusal::Busy,
    };
    send_raw(&qkd, &framed(32, &[9; 64], &body(&refused)));
    assert!(matches!(engine.recv(), Err(ChannelError::Beside)));
}

#[test]
fn a_secret_longer_than_its_slot_is_refused() {
    let (mut engine, qkd) = raw::<Engine>();
    send_raw(&qkd, &framed(65, &[9; 64], &body(&key_message(1))));
    assert!(matches!(engine.recv(), Err(ChannelError::Lock(_))));
}

#[test]
fn a_frame_shorter_than_its_slot_is_refused() {
    let (mut engine, qkd) = raw::<Engine>();
    send_raw(&qkd, &[0; 64]);
    assert!(matches!(engine.recv(), Err(ChannelError::Beside)));
}

#[test]
fn a_body_at_the_cap_passes_and_one_byte_more_does_not() {
    let (mut tpm, mut role) = Tpm::pair().unwrap();
    let longest = longest_signature();
    tpm.send(&longest).unwrap();
    assert_eq!(role.recv().unwrap().unwrap().message, longest);

    let FromTpm::Signature {
        order,
        mut signature,
    } = longest
    else {
        unreachable!()
    };
    signature.push(0);
    let longer = FromTpm::Signature { order, signature };
    assert!(matches!(tpm.send(&longer), Err(ChannelError::TooLong)));

    let (mut role, tpm) = raw::<Channel<FromTpm, ToTpm>>();
    send_raw(&tpm, &body(&longer));
    assert!(matches!(role.recv(), Err(ChannelError::TooLong)));
}

#[test]
fn an_unknown_variant_and_trailing_bytes_are_refused() {
    let (mut role, tpm) = raw::<Channel<FromTpm, ToTpm>>();
    send_raw(&tpm, &[0x7f]);
    assert!(matches!(role.recv(), Err(ChannelError::Malformed(_))));

    let (mut role, tpm) = raw::<Channel<FromTpm, ToTpm>>();
    let mut two = body(&FromTpm::NotPermitted(OrderId(1)));
    two.push(0);
    send_raw(&tpm, &two);
    assert!(matches!(role.recv(), Err(ChannelError::Malformed(_))));
}

#[test]
fn a_neighbour_that_dies_is_closed_after_its_last_message() {
    let (mut engine, mut qkd) = Engine::pair().unwrap();
    let key = Secret::from_fn(32, |bytes| bytes.fill(1)).unwrap();
    qkd.send_secret(&key_message(1), key).unwrap();
    drop(qkd);
    assert!(engine.recv().unwrap().is_some());
    assert!(matches!(engine.recv(), Err(ChannelError::Closed)));
    let order = EngineToQkd::Cancel(OrderId(1));
    assert!(matches!(engine.send(&order), Err(ChannelError::Closed)));
}

#[test]
fn what_a_slow_neighbour_does_not_take_waits_in_order_and_within_bounds() {
    let (mut engine, mut qkd) = Engine::pair().unwrap();
    let mut sent = 0;
    while engine.has_room() {
        engine.send(&EngineToQkd::Cancel(OrderId(sent))).unwrap();
        sent += 1;
    }
    assert!(engine.wants_write());
    for number in 0..sent {
        let received: Received<EngineToQkd> = loop {
            if let Some(received) = qkd.recv().unwrap() {
                break received;
            }
            engine.flush().unwrap();
        };
        assert_eq!(received.message, EngineToQkd::Cancel(OrderId(number)));
    }
    assert!(!engine.wants_write());
    assert!(sent * 128 >= u64::try_from(QUEUE_ROOM).unwrap());
}

#[test]
fn a_neighbour_that_takes_nothing_is_an_error_in_the_end() {
    let (mut engine, _qkd) = Engine::pair().unwrap();
    let full = loop {
        if let Err(error) = engine.send(&EngineToQkd::Cancel(OrderId(0))) {
            break error;
        }
    };
    assert!(matches!(full, ChannelError::Full));
}

#[test]
fn a_descriptor_passes_with_the_messages_that_carry_one_and_with_no_other() {
    let (mut supervisor, mut role) = Supervisor::pair().unwrap();
    let (near, far) = std::io::pipe().unwrap();
    supervisor
        .send_fd(&SupervisorToRole::End(Edge::EngineQkd), OwnedFd::from(far))
        .unwrap();
    let received = role.recv().unwrap().unwrap();
    let mut passed = std::io::PipeWriter::from(received.fd.unwrap());
    passed.write_all(b"x").unwrap();
    drop(passed);
    assert_eq!(std::io::read_to_string(near).unwrap(), "x");

    let end = SupervisorToRole::End(Edge::EngineQkd);
    assert!(matches!(supervisor.send(&end), Err(ChannelError::Beside)));
    let (_, far) = std::io::pipe().unwrap();
    let lifecycle = SupervisorToRole::Lifecycle(Lifecycle::Attested);
    let sent = supervisor.send_fd(&lifecycle, OwnedFd::from(far));
    assert!(matches!(sent, Err(ChannelError::Beside)));
}

#[test]
fn foreign_descriptors_are_refused() {
    let lifecycle = body(&SupervisorToRole::Lifecycle(Lifecycle::Attested));
    let end = body(&SupervisorToRole::End(Edge::EngineQkd));
    for (body, count) in [(&lifecycle, 1), (&end, 2), (&end, 5)] {
        let (mut role, supervisor) = raw::<Channel<SupervisorToRole, RoleToSupervisor>>();
        send_fds(&supervisor, body, count);
        assert!(matches!(role.recv(), Err(ChannelError::Beside)), "{count}");
    }
}

fn key_message(order: u64) -> QkdToEngine {
    QkdToEngine::Key {
        order: OrderId(order),
        key: KeyId::try_from("a-key").unwrap(),
    }
}

fn longest_signature() -> FromTpm {
    let of = |len| FromTpm::Signature {
        order: OrderId(0),
        signature: vec![0; len],
    };
    let cap = <FromTpm as Vocabulary>::CAP;
    let longest = (0..cap)
        .rev()
        .map(of)
        .find(|message| body(message).len() <= cap)
        .unwrap();
    assert_eq!(body(&longest).len(), cap);
    longest
}

fn body<T: Vocabulary>(message: &T) -> Vec<u8> {
    postcard::to_allocvec(message).unwrap()
}

fn framed(secret_len: u8, slot: &[u8; 64], body: &[u8]) -> Vec<u8> {
    [&[secret_len], slot.as_slice(), body].concat()
}

trait End: Sized {
    fn of(socket: OwnedFd) -> Self;
}

impl<Rx: Vocabulary, Tx: Vocabulary> End for Channel<Rx, Tx> {
    fn of(socket: OwnedFd) -> Self {
        Self::new(socket).unwrap()
    }
}

/// A channel and the bare socket of a neighbour that keeps no rules.
fn raw<C: End>() -> (C, OwnedFd) {
    let (near, far) = socket_pair().unwrap();
    (C::of(near), far)
}

fn send_raw(socket: &OwnedFd, frame: &[u8]) {
    assert_eq!(
        send(socket, frame, SendFlags::NOSIGNAL).unwrap(),
        frame.len()
    );
}

fn send_fds(socket: &OwnedFd, body: &[u8], count: usize) {
    let (near, _far) = rustix::net::socketpair(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::STREAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )
    .unwrap();
    let fds = vec![near.as_fd(); count];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)));
    sendmsg(
        socket,
        &[IoSlice::new(body)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )
    .unwrap();
}
