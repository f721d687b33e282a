//! The roles of a box as they ship, on threads, whose links a middle box ends at both sides and passes on.

use core::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use bartizan_controller::device::{Class, State};
use bartizan_evidence::binding;
use bartizan_evidence::lease::{Status, verify};
use bartizan_model::config::{
    BootstrapConfig, ControlConfig, Der, Purpose, RoleConfig, Sources, VoucherRoots,
};
use bartizan_model::identity::{KeyName, Log};
use bartizan_model::ids::Nonce;
use bartizan_model::lifecycle::Lifecycle;
use bartizan_model::message::{
    ControlToEngine, Edge, EngineToControl, FromTpm, RoleToSupervisor, SupervisorToRole, ToTpm,
};
use bartizan_model::time::KnownTime;
use bartizan_process::{
    Channel, ChannelError, Ends, Notifier, Started, SupervisorChannel, Vocabulary, Watchdog,
    socket_pair,
};
use bartizan_signer::Signer;
use bartizan_tls::{Identity, accept, call_home_client, connect_home, server};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};

use crate::boxes::{Ways as Enrolling, enrol};
use crate::owner::{LIMIT, Owner};
use crate::relay;
use crate::tpm::Tpm;

/// The most bytes of a part of a log.
const PART: usize = 8 * 1024;

const NODE: &str = "gw-a.example";

/// What a link is bound to, as whoever ends it at the owner's side knows.
type Binding = Arc<Mutex<[u8; 32]>>;

/// An owner with one enrolled box.
fn enrolled() -> (Owner, Tpm, Vec<Der>) {
    let mut owner = Owner::new();
    let mut tpm = owner.tpm();
    owner.add(&tpm.serial(), NODE);
    owner.start();
    let enrolment = enrol(&owner, &mut tpm, &Enrolling::default()).enrolment();
    (owner, tpm, enrolment.ldevid)
}

#[test]
fn what_the_bootstrap_role_shows_a_middle_box_is_refused() {
    let (owner, tpm, _ldevid) = enrolled();
    let (near, _far) = relay::start(&owner, &tpm).recv_timeout(LIMIT).unwrap();
    let _role = bootstrap(&owner, tpm, near, bartizan_bootstrap::work);
    // It is bound to the link, as is the quote; of the two this is looked at first.
    owner.logged("the proof of the credential is wrong");
}

#[test]
fn a_bootstrap_role_that_is_bound_to_no_link_is_relayed() {
    let (owner, tpm, _ldevid) = enrolled();
    let (near, far) = relay::start(&owner, &tpm).recv_timeout(LIMIT).unwrap();
    let _role = bootstrap(&owner, tpm, near, move |started| {
        bartizan_bootstrap::work_unbound(started, move |_near| far)
    });
    owner.logged("it reports from quarantine, with evidence that is clean");
}

#[test]
fn what_the_control_role_shows_a_middle_box_grants_no_lease() {
    let (mut owner, tpm, ldevid) = enrolled();
    let serial = tpm.serial();
    let (near, _far) = call_home_relay(&owner, &tpm, &ldevid);
    let mut role = control(&owner, tpm, &ldevid, near, bartizan_control::work);
    owner.logged("failed by V7");
    let leased = role.leased(&owner, Instant::now());
    assert_ne!(leased, Some(Status::Affirming));
    owner.stop();
    assert_eq!(
        owner.device(&serial).state(),
        State::Quarantined(Class::Evidence)
    );
}

#[test]
fn a_control_role_that_is_bound_to_no_link_is_relayed() {
    let (owner, tpm, ldevid) = enrolled();
    let (near, far) = call_home_relay(&owner, &tpm, &ldevid);
    let mut role = control(&owner, tpm, &ldevid, near, move |started| {
        bartizan_control::work_unbound(started, move |_near| *far.lock().unwrap())
    });
    let leased = role.leased(&owner, Instant::now() + LIMIT);
    assert_eq!(leased, Some(Status::Affirming));
}

/// A role on its thread, which ends with its neighbours; here is its supervisor, and its engine if it has one.
struct Role {
    _supervisor: Channel<RoleToSupervisor, SupervisorToRole>,
    engine: Option<Channel<ControlToEngine, EngineToControl>>,
}

impl Role {
    /// What the next lease says that the controller gives until then.
    fn leased(&mut self, owner: &Owner, deadline: Instant) -> Option<Status> {
        let engine = self.engine.as_mut().expect("control has an engine");
        match next(engine, deadline)? {
            ControlToEngine::Lease(lease) => {
                Some(verify(&lease, &owner.verifier_keys()).unwrap().status)
            }
            other => panic!("{other:?}"),
        }
    }
}

fn bootstrap(
    owner: &Owner,
    tpm: Tpm,
    registrar: SocketAddr,
    work: impl FnOnce(Started<()>) -> Result<(), bartizan_process::Fault> + Send + 'static,
) -> Role {
    let config = RoleConfig::Bootstrap(Box::new(BootstrapConfig {
        purpose: Purpose::Quarantine {
            registrar,
            name: "controller".try_into().unwrap(),
            anchors: vec![owner.anchor()],
        },
        manufacturer: nobody(),
        sources: Sources::default(),
        hw_model: "model".to_owned(),
        os_name: "bartizan".to_owned(),
        os_version: "1.0".to_owned(),
    }));
    let end = answered_by(tpm);
    let supervisor = begin(
        config,
        [(Edge::BootstrapTpm, end)].into_iter().collect(),
        work,
    );
    told(supervisor, Lifecycle::Quarantined, None)
}

fn control(
    owner: &Owner,
    tpm: Tpm,
    ldevid: &[Der],
    controller: SocketAddr,
    work: impl FnOnce(Started<()>) -> Result<(), bartizan_process::Fault> + Send + 'static,
) -> Role {
    let config = RoleConfig::Control(ControlConfig {
        node: NODE.try_into().unwrap(),
        controller,
        controller_name: "controller".try_into().unwrap(),
        anchors: vec![owner.anchor()],
        chain: ldevid.to_vec(),
        restored: false,
    });
    let (near, far) = socket_pair().unwrap();
    let mut engine = Channel::new(near).unwrap();
    engine
        .send(&EngineToControl::LeaseNonce(Nonce([1; 32])))
        .unwrap();
    let ends = [
        (Edge::ControlEngine, far),
        (Edge::ControlTpm, answered_by(tpm)),
    ];
    let supervisor = begin(config, ends.into_iter().collect(), work);
    told(supervisor, Lifecycle::Attesting, Some(engine))
}

fn begin(
    config: RoleConfig,
    ends: Ends,
    work: impl FnOnce(Started<()>) -> Result<(), bartizan_process::Fault> + Send + 'static,
) -> Channel<RoleToSupervisor, SupervisorToRole> {
    let (near, far) = Channel::pair().unwrap();
    let started = Started {
        prepared: (),
        config,
        passed: None,
        ends,
        supervisor: SupervisorChannel::from(far),
        watchdog: Watchdog::from_env(Notifier::from_env().unwrap()),
        time: KnownTime::default(),
    };
    std::thread::spawn(move || work(started));
    near
}

fn told(
    mut supervisor: Channel<RoleToSupervisor, SupervisorToRole>,
    state: Lifecycle,
    engine: Option<Channel<ControlToEngine, EngineToControl>>,
) -> Role {
    supervisor
        .send(&SupervisorToRole::Lifecycle(state))
        .unwrap();
    Role {
        _supervisor: supervisor,
        engine,
    }
}

/// Roots of a maker who signs nothing.
fn nobody() -> VoucherRoots {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let root = CertificateParams::default().self_signed(&key).unwrap();
    VoucherRoots {
        es384: Der(root.der().to_vec()),
        ml_dsa_65: Signer::generate().unwrap().public_keys().ml_dsa_65,
    }
}

/// The role's end of an edge to this TPM.
fn answered_by(mut tpm: Tpm) -> std::os::fd::OwnedFd {
    let (near, far) = socket_pair().unwrap();
    let mut edge = Channel::<ToTpm, FromTpm>::new(near).unwrap();
    std::thread::spawn(move || {
        // Longer than any of these tests.
        while let Some(request) = next(&mut edge, Instant::now() + LIMIT * 2) {
            edge.send(&answer(&mut tpm, request)).unwrap();
        }
    });
    far
}

fn answer(tpm: &mut Tpm, request: ToTpm) -> FromTpm {
    match request {
        ToTpm::Sign { order, key, digest } => {
            let key = match key {
                KeyName::Idevid => tpm.link().idevid.serialize_der(),
                KeyName::Ldevid => tpm.ldevid.serialize_der(),
            };
            let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key).unwrap();
            let digest = Digest::import_less_safe(&digest, &SHA256).unwrap();
            let signature = key.sign_digest(&digest).unwrap().as_ref().to_vec();
            FromTpm::Signature { order, signature }
        }
        ToTpm::Identity(order) => FromTpm::Identity {
            order,
            identity: Box::new(tpm.identity()),
        },
        ToTpm::Activate {
            order,
            credential,
            context,
        } => FromTpm::Activated {
            order,
            proof: tpm.activate(&credential, &context).unwrap(),
        },
        ToTpm::Quote {
            order,
            qualifying,
            pcrs,
        } => FromTpm::Quoted {
            order,
            quoted: Box::new(tpm.quote(&qualifying, pcrs)),
        },
        ToTpm::Attest {
            order,
            binding,
            pcrs,
        } => {
            let floors = tpm.floors;
            let qualifying = binding::floors(&binding, &floors);
            FromTpm::Attested {
                order,
                quoted: Box::new(tpm.quote(&qualifying, pcrs)),
                floors,
            }
        }
        ToTpm::ReadLog { order, log, offset } => {
            let whole = match log {
                Log::Firmware => tpm.boot.log.as_slice(),
                Log::Userspace | Log::Ima => &[],
            };
            let rest = whole.get(usize::try_from(offset).unwrap()..);
            let part = rest.unwrap_or_default().chunks(PART).next();
            FromTpm::LogPart {
                order,
                bytes: part.unwrap_or_default().to_vec(),
                size: u32::try_from(whole.len()).unwrap(),
            }
        }
        other => panic!("{other:?}"),
    }
}

/// A middle box where the controller should be: it has a certificate in the controller's name, and the gateway's key.
fn call_home_relay(owner: &Owner, tpm: &Tpm, ldevid: &[Der]) -> (SocketAddr, Binding) {
    let key = PrivatePkcs8KeyDer::from(tpm.ldevid.serialize_der());
    let key = any_supported_type(&PrivateKeyDer::from(key)).unwrap();
    let gateway = Identity::new(ldevid, key).unwrap();
    let controller = relay::controller(owner);
    let (anchors, home) = (owner.anchors(), owner.home.unwrap());
    let far = Binding::default();
    let known = Arc::clone(&far);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let far = TcpStream::connect(home).await.unwrap();
                let tls = server(&gateway, &anchors).unwrap();
                let Ok(mut far) = accept(far, tls, LIMIT).await else {
                    // The controller wants no more of this gateway.
                    return;
                };
                *known.lock().unwrap() = far.channel_binding;
                let tls = call_home_client(&controller, &anchors).unwrap();
                let mut near = connect_home(near, tls, LIMIT).await.unwrap();
                // Until either end has enough of it.
                let _over = tokio::io::copy_bidirectional(&mut near.stream, &mut far.stream).await;
            }
        });
    });
    (address, far)
}

/// The next message; none if the other end is gone, or the deadline has passed.
fn next<Rx: Vocabulary, Tx: Vocabulary>(
    channel: &mut Channel<Rx, Tx>,
    deadline: Instant,
) -> Option<Rx> {
    loop {
        match channel.flush().and_then(|()| channel.recv()) {
            Ok(Some(received)) => return Some(received.message),
            Ok(None) => {}
            Err(ChannelError::Closed) => return None,
            Err(error) => panic!("{error}"),
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        let left = Timespec::try_from(left).unwrap();
        let mut fds = [PollFd::from_borrowed_fd(channel.as_fd(), PollFlags::IN)];
        poll(&mut fds, Some(&left)).unwrap();
    }
}
