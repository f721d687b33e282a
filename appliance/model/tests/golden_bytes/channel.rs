//! What is no message does not pass a channel; what is one arrives as it was sent.

use core::fmt::Debug;
use std::os::fd::OwnedFd;

use bartizan_process::{Beside, Channel, ChannelError, Vocabulary, socket_pair};
use bartizan_secret::Secret;
use rustix::net::{SendFlags, send};

use crate::samples;

#[test]
fn every_message_of_every_direction_passes_and_nothing_else_does() {
    direction(&samples::supervisor_to_role());
    direction(&samples::role_to_supervisor());
    direction(&samples::control_to_engine());
    direction(&samples::engine_to_control());
    direction(&samples::engine_to_xfrm());
    direction(&samples::xfrm_to_engine());
    direction(&samples::engine_to_peer());
    direction(&samples::peer_to_engine());
    direction(&samples::engine_to_qkd());
    direction(&samples::qkd_to_engine());
    direction(&samples::to_tpm());
    direction(&samples::from_tpm());
}

fn direction<T: Vocabulary + Debug + PartialEq>(samples: &[T]) {
    for sample in samples {
        passes(sample);
        let body = postcard::to_allocvec(sample).unwrap();
        for len in 1..body.len() {
            assert!(is_malformed(&received::<T>(&body[..len])), "{sample:?}");
        }
        for extra in [&[0][..], &[0xff], &body] {
            let longer = [&body, extra].concat();
            assert!(is_malformed(&received::<T>(&longer)), "{sample:?}");
        }
    }
    let variants = samples
        .iter()
        .map(|sample| postcard::to_allocvec(sample).unwrap()[0]);
    for unknown in (variants.max().unwrap()..=u8::MAX).skip(1) {
        assert!(is_malformed(&received::<T>(&[unknown; 64])));
    }
    let mut long = vec![0; T::CAP];
    long.push(0);
    assert!(matches!(received::<T>(&long), Err(ChannelError::TooLong)));
}

fn passes<T: Vocabulary + Debug + PartialEq>(message: &T) {
    let (mut near, mut far) = Channel::<T, T>::pair().unwrap();
    match message.beside() {
        Beside::Nothing | Beside::MaybeDescriptor => near.send(message).unwrap(),
        Beside::Secret => near.send_secret(message, secret()).unwrap(),
        Beside::Descriptor => near.send_fd(message, descriptor()).unwrap(),
    }
    let received = far.recv().unwrap().unwrap();
    assert_eq!(&received.message, message);
    assert_eq!(
        received.secret.is_some(),
        message.beside() == Beside::Secret
    );
    assert_eq!(
        received.fd.is_some(),
        message.beside() == Beside::Descriptor
    );

    // With anything else beside it, it cannot even be sent.
    let refused = |sent| matches!(sent, Err(ChannelError::Beside));
    match message.beside() {
        Beside::Nothing => {
            assert!(refused(near.send_secret(message, secret())));
            assert!(refused(near.send_fd(message, descriptor())));
        }
        Beside::MaybeDescriptor => assert!(refused(near.send_secret(message, secret()))),
        Beside::Secret => {
            assert!(refused(near.send(message)));
            assert!(refused(near.send_fd(message, descriptor())));
        }
        Beside::Descriptor => {
            assert!(refused(near.send(message)));
            assert!(refused(near.send_secret(message, secret())));
        }
    }
}

/// What a channel makes of a body that nobody's `send` has made.
fn received<T: Vocabulary + Debug>(body: &[u8]) -> Result<T, ChannelError> {
    let (near, far) = socket_pair().unwrap();
    let mut channel = Channel::<T, T>::new(near).unwrap();
    let head = if T::SLOT { vec![0; 65] } else { Vec::new() };
    send(&far, &[&head, body].concat(), SendFlags::empty()).unwrap();
    channel.recv().map(|received| received.unwrap().message)
}

fn is_malformed<T>(received: &Result<T, ChannelError>) -> bool {
    matches!(received, Err(ChannelError::Malformed(_)))
}

fn secret() -> Secret {
    Secret::from_fn(32, |bytes| bytes.fill(1)).unwrap()
}

fn descriptor() -> OwnedFd {
    socket_pair().unwrap().0
}
