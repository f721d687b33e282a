//! The bootstrap role as it ships, between neighbours and servers that the test plays.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread::spawn,
    time::{Duration, Instant},
};

use aws_lc_rs::{
    digest::{Digest, SHA256},
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use bartizan_bootstrap_protocol::{
    serial::Serial,
    sztp::{GET_BOOTSTRAPPING_DATA, Question, Wanted},
};
use bartizan_evidence::structures::{Attributes, Curve, EccScheme, Hash, Key, Public, Symmetric};
use bartizan_model::{
    config::{
        Artifacts, BootstrapConfig, BootstrapServer, Der, Purpose, RoleConfig, Sources,
        VoucherRoots,
    },
    identity::{Endorsement, Floors, KeyName, TpmIdentity},
    lifecycle::Lifecycle,
    message::{Edge, FromTpm, Memory, ToTpm},
};
use bartizan_process::Channel;
use bartizan_tests::{
    pki::Authority,
    played::{PATIENCE, Played, next},
};
use bartizan_tls::{Application, Identity, accept_box, registrar};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// What a played server was asked.
struct Asked {
    /// By whom: the certificate that the box showed.
    leaf: Der,
    head: String,
    question: Question,
}

#[test]
fn a_box_asks_whoever_may_know_shows_its_idevid_and_takes_nothing_that_is_not_signed() {
    let unsigned = r#"{"ietf-sztp-bootstrap-server:output":{"conveyed-information":"AAAA"}}"#;
    let (first, first_asked) = server("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".into());
    let (second, second_asked) = server(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{unsigned}",
        unsigned.len()
    ));
    let resolver = resolver("owner.example");
    let sources = Sources {
        media: Some(Artifacts {
            conveyed_information: b"none".to_vec(),
            owner_certificate: b"none".to_vec(),
            ownership_voucher: b"none".to_vec(),
        }),
        servers: vec![
            BootstrapServer {
                host: first.ip().to_string(),
                port: first.port(),
            },
            // By name: its address is asked for.
            BootstrapServer {
                host: "owner.example".into(),
                port: second.port(),
            },
        ],
        resolvers: vec![resolver],
        domain: None,
    };

    let mut role = Played::start("bartizan-bootstrap");
    assert_eq!(role.achieved().memory, Memory::NoSecrets);
    let tpm = SoftTpm::start(role.grant(Edge::BootstrapTpm));
    role.begin(RoleConfig::Bootstrap(Box::new(config(sources))));
    role.enter(Lifecycle::Discovering);

    let mut nonces = Vec::new();
    // It does not stop to ask, one after the other.
    for _ in 0..2 {
        for asked in [&first_asked, &second_asked] {
            let asked = asked.recv_timeout(PATIENCE).expect("a question");
            assert!(
                asked
                    .head
                    .starts_with(&format!("POST {GET_BOOTSTRAPPING_DATA} HTTP/1.1\r\n")),
                "{}",
                asked.head
            );
            assert_eq!(asked.question.data, Wanted::Signed);
            assert_eq!(asked.question.os_version.as_deref(), Some("1.2"));
            nonces.push(asked.question.nonce.expect("a nonce"));
            assert!(contains(&asked.leaf.0, tpm.serial.as_str().as_bytes()));
            assert!(contains(&asked.leaf.0, &tpm.point));
        }
    }
    nonces.sort();
    nonces.dedup();
    assert_eq!(nonces.len(), 4, "each question has a nonce of its own");
    assert!(role.runs());
}

#[test]
fn a_box_that_may_not_use_its_ldevid_asks_no_bootstrap_server() {
    let (server, asked) = server("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".into());
    let registrar = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let owner = Authority::new("Owner");
    let mut config = config(Sources {
        servers: vec![BootstrapServer {
            host: server.ip().to_string(),
            port: server.port(),
        }],
        ..Sources::default()
    });
    config.purpose = Purpose::Quarantine {
        registrar: registrar.local_addr().unwrap(),
        name: "controller.example".try_into().unwrap(),
        anchors: vec![owner.anchor()],
    };
    let mut role = Played::start("bartizan-bootstrap");
    let _tpm = SoftTpm::start(role.grant(Edge::BootstrapTpm));
    role.begin(RoleConfig::Bootstrap(Box::new(config)));
    role.enter(Lifecycle::Quarantined);
    // It dials its owner, again and again, though nobody answers there.
    for _ in 0..3 {
        drop(registrar.accept().unwrap());
    }
    assert!(asked.try_recv().is_err());
    assert!(role.runs());
}

#[test]
fn what_is_no_word_for_it_ends_it() {
    let mut role = Played::start("bartizan-bootstrap");
    let _tpm = SoftTpm::start(role.grant(Edge::BootstrapTpm));
    role.begin(RoleConfig::Tpm);
    assert_eq!(role.ended().code(), Some(76));
}

fn config(sources: Sources) -> BootstrapConfig {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let params = CertificateParams::new(["maker.example".to_owned()]).unwrap();
    BootstrapConfig {
        purpose: Purpose::Enrol,
        manufacturer: VoucherRoots {
            es384: Der(params.self_signed(&key).unwrap().der().to_vec()),
            ml_dsa_65: ml_dsa_65(),
        },
        sources,
        hw_model: "box".into(),
        os_name: "bartizan".into(),
        os_version: "1.2".into(),
    }
}

/// A key whose private half nobody has kept.
fn ml_dsa_65() -> Vec<u8> {
    bartizan_signer::Signer::generate()
        .expect("keys")
        .public_keys()
        .ml_dsa_65
}

/// A bootstrap server that says the same to everybody.
fn server(answer: String) -> (SocketAddr, Receiver<Asked>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let certified = Authority::new("Stranger").issue(&["bootstrap.example"]);
    let key = PrivateKeyDer::try_from(certified.key().to_vec()).unwrap();
    let key = any_supported_type(&key).unwrap();
    let identity = Identity::new(certified.chain(), key).unwrap();
    let (tell, told) = channel();
    spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(serve(listener, &identity, &answer, &tell));
    });
    (address, told)
}

async fn serve(listener: TcpListener, identity: &Identity, answer: &str, tell: &Sender<Asked>) {
    let config = registrar(identity).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let met = accept_box(stream, Arc::clone(&config), Duration::from_secs(10)).await;
        let mut met = met.expect("a box with a certificate");
        assert_eq!(met.application, Application::Http);
        let mut request = Vec::new();
        let (head, question) = loop {
            let mut bytes = [0; 4096];
            let len = met.stream.read(&mut bytes).await.unwrap();
            assert_ne!(len, 0, "half a question");
            request.extend_from_slice(&bytes[..len]);
            let text = String::from_utf8_lossy(&request).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            if let Ok(question) = Question::decode(body.as_bytes()) {
                break (head.to_owned(), question);
            }
        };
        met.stream.write_all(answer.as_bytes()).await.unwrap();
        met.stream.flush().await.unwrap();
        let asked = Asked {
            leaf: met.chain.remove(0),
            head,
            question,
        };
        if tell.send(asked).is_err() {
            return;
        }
    }
}

/// A DNS server that knows one name, which is this host's.
fn resolver(name: &'static str) -> IpAddr {
    let address = IpAddr::V4(Ipv4Addr::new(127, 0, 77, 53));
    let socket = UdpSocket::bind((address, 53)).expect("a DNS server's port: as root");
    spawn(move || {
        let mut asked = [0; 512];
        while let Ok((len, from)) = socket.recv_from(&mut asked) {
            let question = &asked[..len];
            let first = name.split('.').next().unwrap().as_bytes();
            let known = contains(question, first);
            let is_a = question[len - 4..] == [0, 1, 0, 1];
            let mut answer = question.to_vec();
            answer[2] = 0x81;
            answer[3] = if known { 0x80 } else { 0x83 };
            if known && is_a {
                answer[7] = 1;
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
            }
            socket.send_to(&answer, from).unwrap();
        }
    });
    address
}

/// A TPM without an IDevID certificate, with a key in software.
struct SoftTpm {
    serial: Serial,
    point: Vec<u8>,
}

impl SoftTpm {
    fn start(edge: Channel<ToTpm, FromTpm>) -> Self {
        let key = KeyPair::generate().unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key.serialize_der());
        let key = key.unwrap();
        let point = key.public_key().as_ref().to_vec();
        let public = public(&point);
        let identity = TpmIdentity {
            manufacturer: *b"TEST",
            firmware: [1, 2],
            endorsement: vec![Endorsement {
                public: public.encode(),
                certificate: Der(vec![0x30, 0]),
            }],
            endorsement_chain: vec![],
            ak: public.encode(),
            ak_chain: vec![],
            idevid: public.encode(),
            idevid_chain: vec![],
            floors: Floors::default(),
        };
        spawn(move || answer(edge, &key, &identity));
        Self {
            serial: Serial::of_endorsement(&public.spki()),
            point,
        }
    }
}

fn public(point: &[u8]) -> Public {
    Public {
        name_hash: Hash::Sha256,
        attributes: Attributes::SIGN,
        auth_policy: vec![],
        key: Key::Ecc {
            symmetric: Symmetric::Null,
            scheme: EccScheme::Ecdsa(Hash::Sha256),
            curve: Curve::P256,
            x: point[1..33].to_vec(),
            y: point[33..].to_vec(),
        },
    }
}

fn answer(mut edge: Channel<ToTpm, FromTpm>, key: &EcdsaKeyPair, identity: &TpmIdentity) {
    while let Some(Ok(received)) = next(&mut edge, Instant::now() + PATIENCE) {
        let answer = if let ToTpm::Identity(order) = received.message {
            FromTpm::Identity {
                order,
                identity: Box::new(identity.clone()),
            }
        } else if let ToTpm::Sign {
            order,
            key: KeyName::Idevid,
            digest,
        } = received.message
        {
            let digest = Digest::import_less_safe(&digest, &SHA256).unwrap();
            let signature = key.sign_digest(&digest).unwrap().as_ref().to_vec();
            FromTpm::Signature { order, signature }
        } else {
            panic!("asked before there is an owner: {:?}", received.message)
        };
        if edge.send(&answer).is_err() {
            return;
        }
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
