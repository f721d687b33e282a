//! X25519 by the vectors of RFC 7748, and what gives no secret.

use bartizan_core::classical::{ExchangeError, Initiator, LEN, respond};

use crate::plain::hex;

/// Entropy that is this private key.
fn of(private: [u8; LEN]) -> impl FnMut(&mut [u8]) {
    move |out| out.copy_from_slice(&private)
}

fn bytes(hex: &str) -> [u8; LEN] {
    core::array::from_fn(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
}

fn x25519(scalar: [u8; LEN], point: [u8; LEN]) -> [u8; LEN] {
    let (own, _) = Initiator::generate(&mut of(scalar)).unwrap();
    own.finish(&point).unwrap().expose().try_into().unwrap()
}

/// RFC 7748, 5.2.
#[test]
fn the_vectors_of_rfc_7748_come_out() {
    let once = x25519(
        bytes("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"),
        bytes("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"),
    );
    assert_eq!(
        hex(&once),
        "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"
    );
    let mut point = core::array::from_fn(|at| if at == 0 { 9 } else { 0 });
    let mut scalar = point;
    for round in 1..=1000 {
        (scalar, point) = (x25519(scalar, point), scalar);
        if round == 1 {
            assert_eq!(
                hex(&scalar),
                "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"
            );
        }
    }
    assert_eq!(
        hex(&scalar),
        "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"
    );
}

#[test]
fn both_ends_agree() {
    let (own, public) = Initiator::generate(&mut of([3; LEN])).unwrap();
    let (answer, theirs) = respond(&public, &mut of([5; LEN])).unwrap();
    assert_eq!(own.finish(&answer).unwrap().expose(), theirs.expose());
}

#[test]
fn what_does_not_contribute_is_refused() {
    // Points of small order: zero comes out whatever the private key is.
    let one: [u8; LEN] = core::array::from_fn(|at| u8::from(at == 0));
    for public in [&[0; LEN][..], &one, &[9; LEN - 1], &[9; LEN + 1], &[]] {
        let refused = respond(public, &mut of([7; LEN]));
        assert!(
            matches!(refused, Err(ExchangeError::PublicKey)),
            "{public:?}"
        );
        let (own, _) = Initiator::generate(&mut of([7; LEN])).unwrap();
        let refused = own.finish(public);
        assert!(
            matches!(refused, Err(ExchangeError::PublicKey)),
            "{public:?}"
        );
    }
}
