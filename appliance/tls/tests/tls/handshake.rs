//! Who may speak with whom, over which groups, and with how many signatures.

use std::sync::Arc;

use crate::parties::{Ca, Certified, LIMIT, Tpm, Valid, tcp};
use aws_lc_rs::digest::{SHA256, digest};
use bartizan_model::config::Groups;
use bartizan_model::ids::NodeId;
use bartizan_tls::{
    Anchors, Clock, Established, Identity, TlsError, accept, call_home_client, client, connect,
    connect_home, kme_client, server, server_name,
};
use rcgen::PublicKeyData as _;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group, sign::any_supported_type};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, HandshakeKind, NamedGroup, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test]
async fn both_ends_know_whom_they_speak_with() {
    let ca = Ca::new();
    let (a, b) = (ca.issue(&["gw-a"]), ca.issue(&["gw-b"]));
    let (near, far) = run(&ca, &a, &ca, &b).await;
    let (mut near, mut far) = (near.unwrap(), far.unwrap());

    assert_eq!(near.node, node("gw-b"));
    assert_eq!(far.node, node("gw-a"));
    for (end, certified) in [(&near, &b), (&far, &a)] {
        let spki = certified.key.subject_public_key_info();
        assert_eq!(end.ldevid.0, digest(&SHA256, &spki).as_ref());
    }
    for end in [&near, &far] {
        let session = end.stream.get_ref().1;
        assert_eq!(group(end), NamedGroup::X25519MLKEM768);
        assert_eq!(
            session.protocol_version(),
            Some(rustls::ProtocolVersion::TLSv1_3)
        );
    }
    assert_eq!(near.channel_binding, far.channel_binding);
    near.stream.write_all(b"to b").await.unwrap();
    near.stream.flush().await.unwrap();
    let mut heard = [0; 4];
    far.stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"to b");
}

#[tokio::test]
async fn every_connection_signs_anew_at_both_ends() {
    let ca = Ca::new();
    let (near_id, near_tpm) = ca.issue(&["gw-a"]).identity();
    let (far_id, far_tpm) = ca.issue(&["gw-b"]).identity();
    let near_config = client(&near_id, &ca.anchors()).unwrap();
    let far_config = server(&far_id, &ca.anchors()).unwrap();

    for connection in 1..=5 {
        let (near, far) = tcp().await;
        let b = node("gw-b");
        let (near, far) = tokio::join!(
            connect(near, near_config.clone(), &b, LIMIT),
            accept(far, far_config.clone(), LIMIT),
        );
        exchange(near.unwrap(), far.unwrap()).await;
        assert_eq!(near_tpm.signatures(), connection);
        assert_eq!(far_tpm.signatures(), connection);
    }
}

/// A client that would resume gets nothing to resume with.
#[tokio::test]
async fn a_server_gives_no_ticket() {
    let ca = Ca::new();
    let (far_id, tpm) = ca.issue(&["gw-b"]).identity();
    let far_config = server(&far_id, &ca.anchors()).unwrap();
    let near_config = stock_client(&ca, &ca.issue(&["gw-a"]), &[kx_group::X25519MLKEM768]);

    for connection in 1..=3 {
        let (near, far) = tcp().await;
        let b = node("gw-b");
        let (near, far) = tokio::join!(
            connect(near, near_config.clone(), &b, LIMIT),
            accept(far, far_config.clone(), LIMIT),
        );
        let near = near.unwrap();
        let kind = near.stream.get_ref().1.handshake_kind();
        assert_eq!(kind, Some(HandshakeKind::Full));
        exchange(near, far.unwrap()).await;
        assert_eq!(tpm.signatures(), connection);
    }
}

/// A server that would resume is not asked to.
#[tokio::test]
async fn a_client_keeps_no_ticket() {
    let ca = Ca::new();
    let (near_id, tpm) = ca.issue(&["gw-a"]).identity();
    let near_config = client(&near_id, &ca.anchors()).unwrap();
    let far_config = stock_server(&ca, &ca.issue(&["gw-b"]), &[kx_group::X25519MLKEM768]);

    for connection in 1..=3 {
        let (near, far) = tcp().await;
        let b = node("gw-b");
        let (near, far) = tokio::join!(
            connect(near, near_config.clone(), &b, LIMIT),
            accept(far, far_config.clone(), LIMIT),
        );
        exchange(near.unwrap(), far.unwrap()).await;
        assert_eq!(tpm.signatures(), connection);
    }
}

#[tokio::test]
async fn the_other_hybrid_group_is_taken_too() {
    let ca = Ca::new();
    let (far_id, _tpm) = ca.issue(&["gw-b"]).identity();
    let far_config = server(&far_id, &ca.anchors()).unwrap();
    let near_config = stock_client(&ca, &ca.issue(&["gw-a"]), &[kx_group::SECP256R1MLKEM768]);
    let (near, far) = pair(near_config, far_config).await;
    assert_eq!(group(&near.unwrap()), NamedGroup::secp256r1MLKEM768);
    far.unwrap();
}

#[tokio::test]
async fn a_classical_client_is_refused() {
    for groups in CLASSICAL {
        let ca = Ca::new();
        let (far_id, tpm) = ca.issue(&["gw-b"]).identity();
        let far_config = server(&far_id, &ca.anchors()).unwrap();
        let near_config = stock_client(&ca, &ca.issue(&["gw-a"]), &[groups]);
        let (near, far) = pair(near_config, far_config).await;
        assert!(near.is_err() && matches!(far, Err(TlsError::Handshake(_))));
        assert_eq!(tpm.signatures(), 0);
    }
}

#[tokio::test]
async fn a_classical_server_is_refused_but_as_a_kme() {
    for groups in CLASSICAL {
        let ca = Ca::new();
        let ours = ca.issue(&["gw-a"]);
        let (near_id, tpm) = ours.identity();
        let far_config = stock_server(&ca, &ca.issue(&["gw-b"]), &[groups]);

        for hybrid in [
            client(&near_id, &ca.anchors()).unwrap(),
            call_home_client(&near_id, &ca.anchors()).unwrap(),
            as_sae(&ca, &ours, Groups::HybridOnly).0,
        ] {
            let (near, _far) = pair(hybrid, far_config.clone()).await;
            assert!(matches!(near, Err(TlsError::Handshake(_))));
        }
        assert_eq!(tpm.signatures(), 0);

        let (classical, _tpm) = as_sae(&ca, &ours, Groups::ClassicalAllowed);
        let (near, _far) = pair(classical, far_config).await;
        assert_eq!(group(&near.unwrap()), groups.name());
    }
}

#[tokio::test]
async fn a_kme_that_knows_the_hybrid_group_gets_it() {
    let ca = Ca::new();
    let all = [
        kx_group::X25519,
        kx_group::SECP256R1,
        kx_group::X25519MLKEM768,
    ];
    let far_config = stock_server(&ca, &ca.issue(&["gw-b"]), &all);
    let (near_config, _tpm) = as_sae(&ca, &ca.issue(&["gw-a"]), Groups::ClassicalAllowed);
    let (near, _far) = pair(near_config, far_config).await;
    assert_eq!(group(&near.unwrap()), NamedGroup::X25519MLKEM768);
}

/// A KME's operator is not bound to our way of naming.
#[tokio::test]
async fn a_kme_is_taken_by_one_of_its_names() {
    let (ca, foreign) = (Ca::new(), Ca::new());
    let ours = ca.issue(&["127.0.0.1"]);
    for (kme, taken) in [
        (ca.issue(&["gw-b"]), true),
        (ca.issue(&["KME.example", "gw-b", "127.0.0.1"]), true),
        (ca.issue(&["gw-c", "127.0.0.1"]), false),
        (ca.issue_valid(&["gw-b"], Valid::InThePast), false),
        (foreign.issue(&["gw-b"]), false),
    ] {
        let (near_config, tpm) = as_sae(&ca, &ours, Groups::HybridOnly);
        let far_config = stock_server(&ca, &kme, &[kx_group::X25519MLKEM768]);
        let (near, far) = tcp().await;
        let near = tokio_rustls::TlsConnector::from(near_config)
            .connect(server_name(&node("gw-b")).unwrap(), near);
        let (near, _far) = tokio::join!(near, accept(far, far_config, LIMIT));
        assert_eq!(near.is_ok(), taken, "{:?}", near.err());
        assert_eq!(tpm.signatures(), usize::from(taken));
    }
}

#[tokio::test]
async fn a_server_of_another_name_is_refused() {
    let ca = Ca::new();
    let (near, _far) = run(&ca, &ca.issue(&["gw-a"]), &ca, &ca.issue(&["gw-c"])).await;
    assert!(matches!(near, Err(TlsError::Handshake(_))));
}

#[tokio::test]
async fn who_calls_home_is_taken_by_its_own_name() {
    let ca = Ca::new();
    let (near_id, _tpm) = ca.issue(&["controller"]).identity();
    let (far_id, _tpm) = ca.issue(&["gw-c"]).identity();
    let near_config = call_home_client(&near_id, &ca.anchors()).unwrap();
    let far_config = server(&far_id, &ca.anchors()).unwrap();
    let (near, far) = tcp().await;
    let (near, far) = tokio::join!(
        connect_home(near, near_config, LIMIT),
        accept(far, far_config, LIMIT)
    );
    assert_eq!(near.unwrap().node, node("gw-c"));
    assert_eq!(far.unwrap().node, node("controller"));
}

#[tokio::test]
async fn who_calls_home_with_a_foreign_certificate_is_refused() {
    let (ca, foreign) = (Ca::new(), Ca::new());
    let (near_id, _tpm) = ca.issue(&["controller"]).identity();
    let near_config = call_home_client(&near_id, &ca.anchors()).unwrap();
    for bad in [foreign.issue(&["gw-c"]), ca.issue(&["gw-c", "gw-d"])] {
        let far_config = stock_server(&ca, &bad, &[kx_group::X25519MLKEM768]);
        let (near, far) = tcp().await;
        let (near, _far) = tokio::join!(
            connect_home(near, near_config.clone(), LIMIT),
            accept(far, far_config, LIMIT)
        );
        assert!(matches!(near, Err(TlsError::Handshake(_))));
    }
}

#[tokio::test]
async fn a_bad_server_certificate_is_refused() {
    let (ca, foreign) = (Ca::new(), Ca::new());
    let (near_id, _tpm) = ca.issue(&["gw-a"]).identity();
    for bad in bad_certificates(&ca, &foreign, "gw-b") {
        let near_config = client(&near_id, &ca.anchors()).unwrap();
        let far_config = stock_server(&ca, &bad, &[kx_group::X25519MLKEM768]);
        let (near, _far) = pair(near_config, far_config).await;
        assert!(matches!(near, Err(TlsError::Handshake(_))));
    }
}

#[tokio::test]
async fn a_bad_client_certificate_is_refused() {
    let (ca, foreign) = (Ca::new(), Ca::new());
    let (far_id, _tpm) = ca.issue(&["gw-b"]).identity();
    for bad in bad_certificates(&ca, &foreign, "gw-a") {
        let near_config = stock_client(&ca, &bad, &[kx_group::X25519MLKEM768]);
        let far_config = server(&far_id, &ca.anchors()).unwrap();
        let (near, far) = pair(near_config, far_config).await;
        assert!(matches!(far, Err(TlsError::Handshake(_))));
        // The client's own handshake ends before the server has seen its certificate.
        if let Ok(mut near) = near {
            assert!(near.stream.read_u8().await.is_err());
        }
    }
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let ca = Ca::new();
    let (far_id, _tpm) = ca.issue(&["gw-b"]).identity();
    let far_config = server(&far_id, &ca.anchors()).unwrap();
    let near_config = ClientConfig::builder_with_provider(offering(&[kx_group::X25519MLKEM768]))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots(&ca))
        .with_no_client_auth();
    let (_near, far) = pair(Arc::new(near_config), far_config).await;
    assert!(matches!(far, Err(TlsError::Handshake(_))));
}

#[test]
fn an_identity_names_one_node_and_has_its_own_key() {
    let ca = Ca::new();
    let key = |certified: &Certified| any_supported_type(&private(certified)).unwrap();
    let (one, other) = (ca.issue(&["gw-a"]), ca.issue(&["gw-b"]));
    let two = ca.issue(&["gw-a", "gw-b"]);

    assert_eq!(
        Identity::new(&one.chain, key(&one)).unwrap().node(),
        &node("gw-a")
    );
    assert!(matches!(
        Identity::new(&one.chain, key(&other)),
        Err(TlsError::OtherKey)
    ));
    assert!(matches!(
        Identity::new(&two.chain, key(&two)),
        Err(TlsError::Name(_))
    ));
    assert!(matches!(
        Identity::new(&[], key(&one)),
        Err(TlsError::NoCertificate)
    ));
    assert!(matches!(
        Anchors::new(&[], &Clock::system()),
        Err(TlsError::NoAnchor)
    ));
}

const CLASSICAL: [&dyn SupportedKxGroup; 2] = [kx_group::X25519, kx_group::SECP256R1];

/// Certificates that no end may take, each for a reason of its own.
fn bad_certificates(ca: &Ca, foreign: &Ca, name: &str) -> Vec<Certified> {
    vec![
        foreign.issue(&[name]),
        ca.issue_valid(&[name], Valid::InThePast),
        ca.issue_valid(&[name], Valid::InTheFuture),
        ca.issue(&[name, "gw-c"]),
        ca.issue(&[]),
        ca.issue(&["GW-X"]),
        ca.issue(&["*.example"]),
        ca.issue(&["192.0.2.1"]),
    ]
}

/// A KME's client with its key behind a tpm edge.
fn as_sae(ca: &Ca, ours: &Certified, groups: Groups) -> (Arc<ClientConfig>, Tpm) {
    let (key, tpm) = Tpm::with(&ours.key);
    let config = kme_client(&ours.chain, Arc::new(key), &ca.anchors(), groups).unwrap();
    (config, tpm)
}

async fn run(
    near_ca: &Ca,
    near: &Certified,
    far_ca: &Ca,
    far: &Certified,
) -> (Result<Established, TlsError>, Result<Established, TlsError>) {
    let (near, _near_tpm) = near.identity();
    let (far, _far_tpm) = far.identity();
    pair(
        client(&near, &far_ca.anchors()).unwrap(),
        server(&far, &near_ca.anchors()).unwrap(),
    )
    .await
}

async fn pair(
    near_config: Arc<ClientConfig>,
    far_config: Arc<ServerConfig>,
) -> (Result<Established, TlsError>, Result<Established, TlsError>) {
    let (near, far) = tcp().await;
    let b = node("gw-b");
    tokio::join!(
        connect(near, near_config, &b, LIMIT),
        accept(far, far_config, LIMIT)
    )
}

/// Lets tickets arrive, if there were any.
async fn exchange(mut near: Established, mut far: Established) {
    far.stream.write_all(b"x").await.unwrap();
    far.stream.shutdown().await.unwrap();
    let mut all = Vec::new();
    near.stream.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"x");
}

fn group(established: &Established) -> NamedGroup {
    let session = established.stream.get_ref().1;
    session.negotiated_key_exchange_group().unwrap().name()
}

/// A client as rustls makes it: it resumes where it can.
fn stock_client(
    ca: &Ca,
    certified: &Certified,
    groups: &[&'static dyn SupportedKxGroup],
) -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(offering(groups))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots(ca))
        .with_client_auth_cert(chain(certified), private(certified))
        .unwrap();
    Arc::new(config)
}

/// A server as rustls makes it: it gives tickets.
pub(crate) fn stock_server(
    ca: &Ca,
    certified: &Certified,
    groups: &[&'static dyn SupportedKxGroup],
) -> Arc<ServerConfig> {
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots(ca)),
        offering(groups),
    );
    let config = ServerConfig::builder_with_provider(offering(groups))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(chain(certified), private(certified))
        .unwrap();
    Arc::new(config)
}

fn offering(groups: &[&'static dyn SupportedKxGroup]) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        kx_groups: groups.to_vec(),
        ..default_provider()
    })
}

fn roots(ca: &Ca) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(ca.certificate()).unwrap();
    roots
}

fn chain(certified: &Certified) -> Vec<CertificateDer<'static>> {
    let chain = certified.chain.iter();
    chain.map(|der| der.0.clone().into()).collect()
}

fn private(certified: &Certified) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(certified.key.serialize_der()).into()
}

fn node(name: &str) -> NodeId {
    NodeId::try_from(name).unwrap()
}
