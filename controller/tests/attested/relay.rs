//! A middle box that ends TLS at both sides and passes the messages on.

use core::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};

use bartizan_bootstrap_protocol::enrol::Reason;
use bartizan_model::config::Der;
use bartizan_tls::{Application, Identity, accept_box, registrar};
use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;

use crate::boxes::{self, Ways, meet};
use crate::owner::{LIMIT, Owner};

/// Has the worst that a middle box may have: a certificate of the owner's in the controller's name, and, for its own
/// link, the key that the box shows.
pub(crate) fn start(owner: &Owner, tpm: &crate::tpm::Tpm) -> Receiver<(SocketAddr, [u8; 32])> {
    let identity = controller(owner);
    let (far, anchors, idevid) = (owner.registrar.unwrap(), owner.anchors(), tpm.link());
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut far = meet(far, &anchors, &idevid, Application::Enrolment).await;
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let near = listener.local_addr().unwrap();
            tell.send((near, far.channel_binding)).unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let config = registrar(&identity).unwrap();
            let mut near = accept_box(stream, config, LIMIT).await.unwrap();
            // Until either end has enough of it.
            let _over = tokio::io::copy_bidirectional(&mut near.stream, &mut far.stream).await;
        });
    });
    told
}

/// A certificate of the owner's in the controller's name, with its key.
pub(crate) fn controller(owner: &Owner) -> Identity {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["controller".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &owner.ca).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = any_supported_type(&key).unwrap();
    Identity::new(&[Der(certificate.der().to_vec())], key).unwrap()
}

fn enrol_through_a_relay(ways: impl FnOnce([u8; 32]) -> Ways<'static>) -> boxes::Result {
    let mut owner = Owner::new();
    let mut tpm = owner.tpm();
    owner.add(&tpm.serial(), "gw-a.example");
    owner.start();
    let (relay, far) = start(&owner, &tpm).recv_timeout(LIMIT).unwrap();
    let (anchors, anchor) = (owner.anchors(), owner.anchor());
    boxes::at(
        relay,
        &anchors,
        &anchor,
        &mut tpm,
        &owner.signing,
        &ways(far),
    )
}

#[test]
fn evidence_that_a_middle_box_passes_on_is_refused() {
    let refused = enrol_through_a_relay(|_far| Ways::default()).refusal();
    assert_eq!(refused, Reason::Evidence);
}

/// What the binding is for: a box that binds to whatever the far link has, which is no binding, is relayed.
#[test]
fn without_the_binding_the_same_relay_succeeds() {
    let ways = |far| Ways {
        channel: Some(far),
        ..Ways::default()
    };
    enrol_through_a_relay(ways).enrolment();
}
