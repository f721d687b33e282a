//! A certificate that is renewed while the process runs, and what a connection is bound to.

use crate::parties::{Ca, LIMIT, tcp};
use bartizan_model::ids::NodeId;
use bartizan_tls::{Established, TlsError, accept, client, connect, server};
use rustls::pki_types::CertificateDer;

#[tokio::test]
async fn a_renewed_certificate_is_shown_from_the_next_handshake_at_both_ends() {
    let ca = Ca::new();
    let (a, b) = (ca.issue(&["gw-a"]), ca.issue(&["gw-b"]));
    let ((near_id, _near_tpm), (far_id, _far_tpm)) = (a.identity(), b.identity());
    let near_config = client(&near_id, &ca.anchors()).unwrap();
    let far_config = server(&far_id, &ca.anchors()).unwrap();
    let run = async || {
        let (near, far) = tcp().await;
        let name = node("gw-b");
        let (near, far) = tokio::join!(
            connect(near, near_config.clone(), &name, LIMIT),
            accept(far, far_config.clone(), LIMIT),
        );
        (near.unwrap(), far.unwrap())
    };

    let before = run().await;
    let (newer_a, newer_b) = (ca.renew(&["gw-a"], &a.key), ca.renew(&["gw-b"], &b.key));
    near_id.clone().renew(&newer_a).unwrap();
    far_id.renew(&newer_b).unwrap();
    let after = run().await;

    assert_eq!(shown(&before.0), a_der(&b.chain[0].0));
    assert_eq!(shown(&before.1), a_der(&a.chain[0].0));
    assert_eq!(shown(&after.0), a_der(&newer_b[0].0));
    assert_eq!(shown(&after.1), a_der(&newer_a[0].0));
    assert_eq!(before.0.ldevid, after.0.ldevid);
}

#[tokio::test]
async fn no_certificate_over_another_key_or_of_another_node_takes_the_place() {
    let ca = Ca::new();
    let (a, other) = (ca.issue(&["gw-a"]), ca.issue(&["gw-a"]));
    let (id, _tpm) = a.identity();
    let later = ca.renew(&["gw-a"], &a.key);
    assert!(matches!(id.check_renewal(&later), Ok(())));
    assert!(matches!(
        id.check_renewal(&other.chain),
        Err(TlsError::OtherKey)
    ));
    assert!(matches!(id.renew(&other.chain), Err(TlsError::OtherKey)));
    assert!(matches!(
        id.renew(&ca.renew(&["gw-b"], &a.key)),
        Err(TlsError::OtherNode { .. })
    ));
    assert!(matches!(
        id.renew(&ca.renew(&["gw-a", "gw-b"], &a.key)),
        Err(TlsError::Name(_))
    ));
    assert!(matches!(id.renew(&[]), Err(TlsError::NoCertificate)));

    // The one that stood is still shown.
    let (far_id, _tpm) = ca.issue(&["gw-b"]).identity();
    let (near, far) = tcp().await;
    let name = node("gw-b");
    let (near, far) = tokio::join!(
        connect(near, client(&id, &ca.anchors()).unwrap(), &name, LIMIT),
        accept(far, server(&far_id, &ca.anchors()).unwrap(), LIMIT),
    );
    near.unwrap();
    assert_eq!(shown(&far.unwrap()), a_der(&a.chain[0].0));
}

/// Both ends of a connection have one binding; a middle box that terminates TLS has two.
#[tokio::test]
async fn every_connection_has_a_binding_of_its_own() {
    let ca = Ca::new();
    let (near_id, _tpm) = ca.issue(&["gw-a"]).identity();
    let (far_id, _tpm) = ca.issue(&["gw-b"]).identity();
    let near_config = client(&near_id, &ca.anchors()).unwrap();
    let far_config = server(&far_id, &ca.anchors()).unwrap();
    let mut bindings = Vec::new();
    for _ in 0..3 {
        let (near, far) = tcp().await;
        let name = node("gw-b");
        let (near, far) = tokio::join!(
            connect(near, near_config.clone(), &name, LIMIT),
            accept(far, far_config.clone(), LIMIT),
        );
        let (near, far) = (near.unwrap(), far.unwrap());
        assert_eq!(near.channel_binding, far.channel_binding);
        assert_ne!(near.channel_binding, [0; 32]);
        assert!(!bindings.contains(&near.channel_binding));
        bindings.push(near.channel_binding);
    }
}

fn shown(end: &Established) -> CertificateDer<'static> {
    end.stream.get_ref().1.peer_certificates().unwrap()[0].clone()
}

fn a_der(bytes: &[u8]) -> CertificateDer<'static> {
    CertificateDer::from(bytes.to_vec())
}

fn node(name: &str) -> NodeId {
    NodeId::try_from(name).unwrap()
}
