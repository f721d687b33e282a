//! A box that enrols: its TLS and its machine are those that ship.

use core::net::SocketAddr;

use bartizan_bootstrap_protocol::enrol::frame::{Deframer, frame};
use bartizan_bootstrap_protocol::enrol::gateway::{Ended, Greeted};
use bartizan_bootstrap_protocol::enrol::{
    EnrolError, Enrolment, Hello, MESSAGE_MAX, Reason, Request, Software,
};
use bartizan_bootstrap_protocol::serial::Serial;
use bartizan_evidence::binding;
use bartizan_evidence::lease::OwnerTime;
use bartizan_evidence::pcr_key::PcrSigningKey;
use bartizan_evidence::structures::Public;
use bartizan_model::config::Der;
use bartizan_model::identity::{Log, TpmIdentity};
use bartizan_model::ids::NodeId;
use bartizan_process::boot_time;
use bartizan_tls::{Anchors, Application, Encounter, connect_registrar, registrar_client};
use rcgen::CertificateParams;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::owner::{LIMIT, Owner};
use crate::tpm::{Link, Tpm, named};

/// How a box behaves, where it does not behave as it should.
#[derive(Default)]
pub(crate) struct Ways<'a> {
    /// The serial number that it claims, if not its own.
    pub(crate) serial: Option<&'a str>,
    /// What it changes of what it says of its TPM.
    pub(crate) identity: Option<fn(&mut TpmIdentity)>,
    /// What it changes of its LDevID key's public area.
    pub(crate) ldevid: Option<fn(&mut Public)>,
    /// What it changes of its log.
    pub(crate) log: Option<fn(&mut Vec<u8>)>,
    /// It cannot use its LDevID key, and says so.
    pub(crate) quarantine: bool,
    /// The channel binding that it takes for its own.
    pub(crate) channel: Option<[u8; 32]>,
    /// It proves its credential wrongly.
    pub(crate) no_proof: bool,
    /// It says nothing more after the challenge.
    pub(crate) falls_silent: bool,
}

/// How an enrolment ended.
#[derive(Debug)]
pub(crate) enum Result {
    Enrolled(Box<Enrolment>),
    Reported,
    Refused(Reason),
    /// The registrar closed the connection without a word.
    Dropped,
}

/// Enrols at the owner's registrar.
pub(crate) fn enrol(owner: &Owner, tpm: &mut Tpm, ways: &Ways<'_>) -> Result {
    let address = owner.registrar.unwrap();
    let (anchors, anchor) = (owner.anchors(), owner.anchor());
    at(address, &anchors, &anchor, tpm, &owner.signing, ways)
}

/// Enrols at this address.
pub(crate) fn at(
    address: SocketAddr,
    anchors: &Anchors,
    anchor: &Der,
    tpm: &mut Tpm,
    signing: &PcrSigningKey,
    ways: &Ways<'_>,
) -> Result {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let met = meet(address, anchors, &tpm.link(), Application::Enrolment).await;
        session(met, anchor, tpm, signing, ways).await
    })
}

/// Connects with the IDevID key, under its maker's certificate or one that the box made for itself.
pub(crate) async fn meet(
    address: SocketAddr,
    anchors: &Anchors,
    link: &Link,
    application: Application,
) -> Encounter {
    let chain = [link.certificate.clone().unwrap_or_else(|| {
        let mut params = CertificateParams::default();
        params.distinguished_name = named(&link.serial);
        Der(params.self_signed(&link.idevid).unwrap().der().to_vec())
    })];
    let key = PrivatePkcs8KeyDer::from(link.idevid.serialize_der());
    let key = any_supported_type(&PrivateKeyDer::from(key)).unwrap();
    let config = registrar_client(&chain, key, anchors, application).unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = NodeId::try_from("controller").unwrap();
    connect_registrar(stream, config, &name, LIMIT)
        .await
        .unwrap()
}

async fn session(
    met: Encounter,
    anchor: &Der,
    tpm: &mut Tpm,
    signing: &PcrSigningKey,
    ways: &Ways<'_>,
) -> Result {
    let mut stream = met.stream;
    let channel = ways.channel.unwrap_or(met.channel_binding);
    let mut identity = tpm.identity();
    if let Some(change) = ways.identity {
        change(&mut identity);
    }
    let own = tpm.serial();
    let request = if ways.quarantine {
        Request::Quarantine
    } else {
        let mut ldevid = tpm.ldevid_public(signing);
        if let Some(change) = ways.ldevid {
            change(&mut ldevid);
        }
        Request::Enrol {
            epoch: 1,
            ldevid: Box::new(tpm.certify(&ldevid, &binding::certify(&channel))),
        }
    };
    let hello = Hello {
        serial: Serial::try_from(ways.serial.unwrap_or(&own)).unwrap(),
        software: Software {
            hw_model: "model".to_owned(),
            os_name: "bartizan".to_owned(),
            os_version: "1.0".to_owned(),
        },
        identity,
        logs: vec![Log::Firmware],
        request,
    };
    let (message, greeted) = Greeted::greet(&hello, channel, boot_time()).unwrap();
    let mut deframer = Deframer::new(MESSAGE_MAX);
    send(&mut stream, &message).await;
    let answer = receive(&mut stream, &mut deframer).await;
    let challenged = match greeted.challenged(&answer, boot_time()) {
        Ok(challenged) => challenged,
        Err(EnrolError::Refused(reason)) => return Result::Refused(reason),
        Err(error) => panic!("{error:?}"),
    };
    if ways.falls_silent {
        let mut byte = [0];
        let read = tokio::time::timeout(LIMIT, stream.read(&mut byte)).await;
        return match read.expect("the registrar waits for ever") {
            Ok(0) | Err(_) => Result::Dropped,
            Ok(_) => panic!("the registrar says something"),
        };
    }
    let mut proof = tpm
        .activate(challenged.credential(), &challenged.proof_context())
        .expect("the credential is for this TPM");
    if ways.no_proof {
        proof[0] ^= 1;
    }
    let quoted = tpm.quote(&challenged.qualifying(), challenged.pcrs());
    let mut log = tpm.boot.log.clone();
    if let Some(change) = ways.log {
        change(&mut log);
    }
    let logs = vec![(Log::Firmware, log)];
    let (message, proven) = challenged.prove(proof, quoted, logs, boot_time()).unwrap();
    send(&mut stream, &message).await;
    let answer = receive(&mut stream, &mut deframer).await;
    let ended = proven.ended(
        &answer,
        std::slice::from_ref(anchor),
        OwnerTime(0),
        boot_time(),
    );
    match ended.unwrap() {
        Ended::Enrolled(enrolment) => Result::Enrolled(enrolment),
        Ended::Reported => Result::Reported,
        Ended::Refused(reason) => Result::Refused(reason),
    }
}

type Stream = tokio_rustls::TlsStream<TcpStream>;

pub(crate) async fn send(stream: &mut Stream, message: &[u8]) {
    stream.write_all(&frame(message).unwrap()).await.unwrap();
    stream.flush().await.unwrap();
}

pub(crate) async fn receive(stream: &mut Stream, deframer: &mut Deframer) -> Vec<u8> {
    let mut chunk = vec![0; 4096];
    loop {
        let read = tokio::time::timeout(LIMIT, stream.read(&mut chunk));
        let len = read.await.unwrap().unwrap();
        assert_ne!(len, 0, "the registrar closed the connection");
        if let Some(message) = deframer.take(&mut &chunk[..len]).unwrap() {
            return message;
        }
    }
}

impl Result {
    pub(crate) fn enrolment(self) -> Enrolment {
        match self {
            Self::Enrolled(enrolment) => *enrolment,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn refusal(self) -> Reason {
        match self {
            Self::Refused(reason) => reason,
            other => panic!("{other:?}"),
        }
    }
}
