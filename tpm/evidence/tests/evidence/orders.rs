//! Orders that end ownership: one form, and never a lease.

use bartizan_evidence::lease::{self, LeaseError, OwnerTime};
use bartizan_evidence::order::{ORDER_MAX, Order, OrderError, verify};
use bartizan_model::identity::Farewell;
use bartizan_model::ids::{NodeId, Nonce, Thumbprint};

use crate::verifier::{PINNED, STRANGER, claims};

fn order(farewell: Farewell) -> Order {
    Order {
        node: NodeId::try_from("gw-a.example").unwrap(),
        ldevid: Thumbprint([0x1d; 32]),
        nonce: Nonce([0x4e; 32]),
        issued: OwnerTime(1_800_000_000),
        farewell,
    }
}

#[test]
fn what_was_signed_is_what_is_read() {
    for farewell in [Farewell::Release, Farewell::Retire] {
        let order = order(farewell);
        let signed = PINNED.sign(&order.encode());
        assert_eq!(verify(&signed, &PINNED.keys()).unwrap(), order);
        assert!(matches!(
            verify(&STRANGER.sign(&order.encode()), &PINNED.keys()),
            Err(OrderError::Signature(_))
        ));
    }
    assert!(matches!(
        verify(&vec![0; ORDER_MAX + 1], &PINNED.keys()),
        Err(OrderError::TooLong)
    ));
}

#[test]
fn a_lease_is_no_order_and_an_order_no_lease() {
    let lease = PINNED.sign(&claims().encode());
    assert!(matches!(
        verify(&lease, &PINNED.keys()),
        Err(OrderError::Form | OrderError::Malformed(_))
    ));
    let order = PINNED.sign(&order(Farewell::Retire).encode());
    assert!(matches!(
        lease::verify(&order, &PINNED.keys()),
        Err(LeaseError::Form | LeaseError::Malformed(_))
    ));
}

#[test]
fn an_order_has_one_form() {
    let payload = order(Farewell::Release).encode();
    for at in 0..payload.len() {
        let mut changed = payload.clone();
        changed[at] ^= 0x01;
        if let Ok(read) = verify(&PINNED.sign(&changed), &PINNED.keys()) {
            assert_eq!(read.encode(), changed, "byte {at}");
        }
        let cut = PINNED.sign(&payload[..at]);
        assert!(verify(&cut, &PINNED.keys()).is_err());
    }
    let unknown = [&payload[..payload.len() - 1], &[2]].concat();
    assert!(matches!(
        verify(&PINNED.sign(&unknown), &PINNED.keys()),
        Err(OrderError::Form)
    ));
}
