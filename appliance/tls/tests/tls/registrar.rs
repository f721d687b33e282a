//! Bootstrap and enrolment: certificates that name no node, keys of the maker.

use std::sync::Arc;

use crate::parties::{Ca, Certified, LIMIT, Tpm, tcp};
use bartizan_model::config::Der;
use bartizan_model::ids::NodeId;
use bartizan_tls::{
    Anchors, Application, Curve, Encounter, Identity, TlsError, accept_box, connect_bootstrap,
    connect_registrar, registrar, registrar_client, unauthenticated_bootstrap_client,
};
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384};
use rustls::{ClientConfig, NamedGroup, ServerConfig};
use tokio::io::AsyncReadExt as _;

#[tokio::test]
async fn a_box_enrols_with_its_makers_key_of_either_curve() {
    let (ca, owner) = owner();
    for curve in [Curve::P256, Curve::P384] {
        let (chain, key) = idevid(curve);
        assert_eq!(Curve::of_certificate(&chain[0].0).unwrap(), curve);
        let (signer, tpm) = Tpm::idevid(&key, curve);
        let enrols = Application::Enrolment;
        let config = registrar_client(&chain, Arc::new(signer), &ca.anchors(), enrols).unwrap();
        let (near, far) = enrol(config, &owner, "owner").await;
        let (near, far) = (near.unwrap(), far.unwrap());

        assert_eq!(near.application, Application::Enrolment);
        assert_eq!(far.application, Application::Enrolment);
        assert_eq!(far.chain, chain);
        assert_eq!(near.channel_binding, far.channel_binding);
        assert_eq!(group(&near), NamedGroup::X25519MLKEM768);
        assert_eq!(tpm.signatures(), 1);
    }
}

#[tokio::test]
async fn a_registrar_must_be_the_node_that_was_asked_and_of_the_owners() {
    let (ca, owner) = owner();
    let foreign = Ca::new();
    for (anchors, name) in [(ca.anchors(), "other"), (foreign.anchors(), "owner")] {
        let (near, _far) = enrol(as_box(&anchors).0, &owner, name).await;
        assert!(matches!(near, Err(TlsError::Handshake(_))));
    }
}

#[tokio::test]
async fn a_bootstrap_server_may_be_anyone_that_holds_its_key() {
    let foreign = Ca::new();
    let (id, _tpm) = foreign.issue(&["whoever"]).identity();
    let server = registrar(&id).unwrap();
    for host in ["bootstrap.example", "192.0.2.1", "2001:db8::1"] {
        let (chain, key) = idevid(Curve::P384);
        let (signer, _tpm) = Tpm::idevid(&key, Curve::P384);
        let config = unauthenticated_bootstrap_client(&chain, Arc::new(signer)).unwrap();
        let (near, far) = tcp().await;
        let (near, far) = tokio::join!(
            connect_bootstrap(near, config, host, LIMIT),
            accept_box(far, server.clone(), LIMIT)
        );
        assert_eq!(near.unwrap().application, Application::Http);
        assert_eq!(far.unwrap().application, Application::Http);
    }
}

/// Whoever shows another's certificate is refused, at either end.
#[tokio::test]
async fn a_certificate_without_its_key_is_refused() {
    let (ca, owner) = owner();
    let (chain, _its_key) = idevid(Curve::P256);
    let (_its_chain, key) = idevid(Curve::P256);
    let (signer, _tpm) = Tpm::idevid(&key, Curve::P256);
    let enrols = Application::Enrolment;
    let config = registrar_client(&chain, Arc::new(signer), &ca.anchors(), enrols).unwrap();
    let (near, far) = enrol(config, &owner, "owner").await;
    assert!(matches!(far, Err(TlsError::Handshake(_))));
    if let Ok(mut near) = near {
        assert!(near.stream.read_u8().await.is_err());
    }

    let foreign = Ca::new();
    let (shown, held) = (foreign.issue(&["x"]), foreign.issue(&["x"]));
    let (signer, _tpm) = Tpm::with(&held.key);
    let server = registrar(&Identity::new(&shown.chain, Arc::new(signer)).unwrap()).unwrap();
    let (chain, key) = idevid(Curve::P256);
    let (signer, tpm) = Tpm::idevid(&key, Curve::P256);
    let config = unauthenticated_bootstrap_client(&chain, Arc::new(signer)).unwrap();
    let (near, far) = tcp().await;
    let (near, _far) = tokio::join!(
        connect_bootstrap(near, config, "host", LIMIT),
        accept_box(far, server, LIMIT)
    );
    assert!(matches!(near, Err(TlsError::Handshake(_))));
    assert_eq!(tpm.signatures(), 0);
}

#[tokio::test]
async fn a_client_without_a_certificate_meets_no_registrar() {
    let (ca, owner) = owner();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca.certificate()).unwrap();
    let bare = ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (_near, far) = enrol(Arc::new(bare), &owner, "owner").await;
    assert!(matches!(far, Err(TlsError::Handshake(_))));
}

/// A server that does not speak enrolment is noticed before a word of it is said.
#[tokio::test]
async fn an_enrolment_is_spoken_only_with_who_speaks_it() {
    let (ca, owner) = owner();
    let mut deaf = ServerConfig::clone(&owner);
    deaf.alpn_protocols = Vec::new();
    let (config, _tpm) = as_box(&ca.anchors());
    let (near, _far) = enrol(config.clone(), &Arc::new(deaf.clone()), "owner").await;
    assert!(matches!(near, Err(TlsError::OtherApplication)));

    deaf.alpn_protocols = vec![b"http/1.1".to_vec()];
    let (near, _far) = enrol(config, &Arc::new(deaf), "owner").await;
    assert!(matches!(near, Err(TlsError::Handshake(_))));
}

fn owner() -> (Ca, Arc<ServerConfig>) {
    let ca = Ca::new();
    let Certified { chain, key } = ca.issue(&["owner"]);
    let (signer, _tpm) = Tpm::with(&key);
    let id = Identity::new(&chain, Arc::new(signer)).unwrap();
    let server = registrar(&id).unwrap();
    (ca, server)
}

/// A box that wants to enrol.
fn as_box(anchors: &Anchors) -> (Arc<ClientConfig>, Tpm) {
    let (chain, key) = idevid(Curve::P256);
    let (signer, tpm) = Tpm::idevid(&key, Curve::P256);
    let enrols = Application::Enrolment;
    let config = registrar_client(&chain, Arc::new(signer), anchors, enrols).unwrap();
    (config, tpm)
}

/// A certificate that names no node, signed by itself, as a box without a maker's one has.
fn idevid(curve: Curve) -> (Vec<Der>, KeyPair) {
    let key = KeyPair::generate_for(match curve {
        Curve::P256 => &PKCS_ECDSA_P256_SHA256,
        Curve::P384 => &PKCS_ECDSA_P384_SHA384,
    })
    .unwrap();
    let mut params = CertificateParams::default();
    let serial = DnType::CustomDnType(vec![2, 5, 4, 5]);
    params.distinguished_name.push(serial, "ek-0011");
    let certificate = params.self_signed(&key).unwrap();
    (vec![Der(certificate.der().to_vec())], key)
}

async fn enrol(
    config: Arc<ClientConfig>,
    owner: &Arc<ServerConfig>,
    name: &str,
) -> (Result<Encounter, TlsError>, Result<Encounter, TlsError>) {
    let (near, far) = tcp().await;
    let name = NodeId::try_from(name).unwrap();
    tokio::join!(
        connect_registrar(near, config, &name, LIMIT),
        accept_box(far, owner.clone(), LIMIT)
    )
}

fn group(encounter: &Encounter) -> NamedGroup {
    let session = encounter.stream.get_ref().1;
    session.negotiated_key_exchange_group().unwrap().name()
}
