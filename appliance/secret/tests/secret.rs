//! What a [`Secret`] promises to the code that holds it.
#![cfg(test)]
#![forbid(unsafe_code)]

use bartizan_secret::{EmptySlot, LockError, LockedBuffer, SECRET_MAX, Secret, clobber_stack};
use subtle::ConstantTimeEq;

#[test]
fn a_secret_has_1_to_64_bytes() {
    for len in [1, 36, SECRET_MAX] {
        let secret = Secret::from_fn(len, |bytes| bytes.fill(7)).unwrap();
        assert_eq!(secret.expose(), vec![7; len]);
        assert_eq!(secret.len(), len);
    }
    for len in [0, SECRET_MAX + 1, usize::MAX] {
        let refused = Secret::from_fn(len, |_| {});
        assert!(matches!(refused, Err(LockError::Length(wrong)) if wrong == len));
    }
}

#[test]
fn a_fill_that_goes_wrong_yields_no_secret() {
    #[derive(Debug)]
    enum Wrong {
        Lock,
        Fill,
    }
    impl From<LockError> for Wrong {
        fn from(_: LockError) -> Self {
            Self::Lock
        }
    }
    let refused = Secret::try_from_fn(32, |bytes| {
        bytes.fill(7);
        Err(Wrong::Fill)
    });
    assert!(matches!(refused, Err(Wrong::Fill)));
    assert!(matches!(
        Secret::try_from_fn(0, |_| Ok::<_, Wrong>(())),
        Err(Wrong::Lock)
    ));
}

#[test]
fn a_slot_is_zero_when_it_is_taken_again() {
    for _ in 0..600 {
        let secret = Secret::from_fn(SECRET_MAX, |bytes| {
            assert_eq!(bytes, [0; SECRET_MAX]);
            bytes.fill(0xff);
        });
        drop(secret.unwrap());
    }
}

#[test]
fn thousands_of_secrets_live_side_by_side() {
    let secrets: Vec<_> = (0..3000_u32)
        .map(|number| {
            Secret::from_fn(4, |bytes| bytes.copy_from_slice(&number.to_be_bytes())).unwrap()
        })
        .collect();
    for (number, secret) in (0_u32..).zip(&secrets) {
        assert_eq!(secret.expose(), number.to_be_bytes());
    }
    let mut places: Vec<_> = secrets
        .iter()
        .map(|secret| secret.expose().as_ptr().addr())
        .collect();
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), secrets.len());
    assert!(
        places
            .windows(2)
            .all(|pair| pair[1] - pair[0] >= SECRET_MAX)
    );
}

#[test]
fn threads_take_and_give_back_at_the_same_time() {
    std::thread::scope(|scope| {
        for mark in 1..=8_u8 {
            scope.spawn(move || {
                for _ in 0..500 {
                    let held: Vec<_> = (0..20)
                        .map(|_| Secret::from_fn(64, |bytes| bytes.fill(mark)).unwrap())
                        .collect();
                    assert!(held.iter().all(|secret| secret.expose() == [mark; 64]));
                }
            });
        }
    });
}

#[test]
fn comparison_sees_every_byte_and_the_length() {
    let of =
        |bytes: &[u8]| Secret::from_fn(bytes.len(), |slot| slot.copy_from_slice(bytes)).unwrap();
    assert!(bool::from(of(&[1, 2, 3]).ct_eq(&of(&[1, 2, 3]))));
    assert!(!bool::from(of(&[1, 2, 3]).ct_eq(&of(&[1, 2, 4]))));
    assert!(!bool::from(of(&[1, 2, 3]).ct_eq(&of(&[1, 2, 3, 0]))));
}

#[test]
fn what_is_received_beyond_its_length_is_wiped() {
    let mut slot = EmptySlot::new().unwrap();
    slot.bytes_mut().fill(9);
    let secret = slot.into_secret(10).unwrap();
    assert_eq!(secret.expose(), [9; 10]);
    assert_eq!(secret.expose_slot()[10..], [0; SECRET_MAX - 10]);
    assert!(EmptySlot::new().unwrap().into_secret(0).is_err());
    assert!(
        EmptySlot::new()
            .unwrap()
            .into_secret(SECRET_MAX + 1)
            .is_err()
    );
}

#[test]
fn nothing_prints_the_bytes() {
    let secret = Secret::from_fn(4, |bytes| bytes.fill(0xab)).unwrap();
    assert_eq!(format!("{secret:?}"), "Secret(..)");
    let mut buffer = LockedBuffer::new(4).unwrap();
    buffer.as_mut_slice().fill(0xab);
    assert_eq!(format!("{buffer:?}"), "LockedBuffer(4 bytes)");
}

#[test]
fn a_buffer_has_the_length_that_was_asked_for() {
    let mut buffer = LockedBuffer::new(70_000).unwrap();
    assert_eq!(buffer.as_slice(), vec![0; 70_000]);
    buffer.as_mut_slice().fill(1);
    buffer.wipe();
    assert_eq!(buffer.as_slice(), vec![0; 70_000]);
    assert!(matches!(LockedBuffer::new(0), Err(LockError::Length(0))));
    assert!(LockedBuffer::new(usize::MAX).is_err());
}

#[test]
fn the_dead_stack_can_be_clobbered_from_a_small_thread() {
    let small = std::thread::Builder::new().stack_size(256 * 1024);
    small.spawn(clobber_stack).unwrap().join().unwrap();
}
