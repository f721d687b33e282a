//! The tpm role on a real TPM implementation: what it signs, for whom, and how it ends.

use std::{
    os::fd::AsFd as _,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey},
};
use bartizan_model::{
    config::RoleConfig,
    identity::KeyName,
    ids::OrderId,
    lifecycle::Lifecycle,
    message::{Edge, FromTpm, RoleToSupervisor, SupervisorToRole, ToTpm},
};
use bartizan_process::{
    Channel, ChannelError, Ends, Exit, Fault, Notifier, Started, Vocabulary, Watchdog, socket_pair,
};
use bartizan_tests::{
    pki::LoopbackTpm,
    testbed::{boot::scratch_folder, process::readable},
};
use bartizan_tpm::{Ldevid, Prepared, Tpm, TpmError, serve};
use x509_cert::{der::Decode as _, spki::SubjectPublicKeyInfoRef};

/// Longer than anything takes on a loaded machine.
const LIMIT: Duration = Duration::from_mins(1);

const MESSAGE: &[u8] = b"what is signed";

#[test]
fn a_key_is_made_once_and_found_again() {
    let swtpm = LoopbackTpm::fresh();
    let made = {
        let mut tpm = Tpm::open(&swtpm.tcti()).unwrap();
        assert!(matches!(Ldevid::open(&mut tpm), Err(TpmError::NoLdevid)));
        let made = Ldevid::create(&mut tpm).unwrap();
        let again = Ldevid::create(&mut tpm);
        assert!(matches!(again, Err(TpmError::LdevidStands)));
        made.public_key().to_vec()
    };
    let mut tpm = Tpm::open(&swtpm.tcti()).unwrap();
    assert_eq!(Ldevid::open(&mut tpm).unwrap().public_key(), made);
}

/// The TPM has three slots for objects and no resource manager: a handle that leaks shows at once.
#[test]
fn a_thousand_signatures_fit_into_three_slots() {
    let swtpm = LoopbackTpm::fresh();
    let mut tpm = Tpm::open(&swtpm.tcti()).unwrap();
    let ldevid = Ldevid::create(&mut tpm).unwrap();
    let public_key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point(ldevid.public_key()));
    for number in 0..1000_u32 {
        let message = number.to_be_bytes();
        let signature = ldevid.sign(&mut tpm, &sha256(&message)).unwrap();
        public_key.verify(&message, &signature).unwrap();
    }
}

/// A TPM takes a loss of power after the use of a key for a guess at it, and after a few guesses it
/// locks its keys; ours is not among them.
#[test]
fn losses_of_power_lock_no_key() {
    let folder = scratch_folder();
    Ldevid::create(&mut Tpm::open(&LoopbackTpm::start(&folder).tcti()).unwrap()).unwrap();
    for _loss in 0..8 {
        let mut swtpm = LoopbackTpm::start(&folder);
        let mut tpm = Tpm::open(&swtpm.tcti()).unwrap();
        let ldevid = Ldevid::open(&mut tpm).unwrap();
        let signature = ldevid.sign(&mut tpm, &sha256(MESSAGE)).unwrap();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point(ldevid.public_key()))
            .verify(MESSAGE, &signature)
            .unwrap();
        swtpm.kill();
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn every_role_gets_what_the_state_grants() {
    use Lifecycle as L;
    let mut role = Role::start();
    let public_key = role.public_key.clone();
    for (state, control, peer, qkd) in [
        (L::Factory, false, false, false),
        (L::Discovering, false, false, false),
        (L::Enrolling, false, false, false),
        (L::Attesting, true, false, false),
        (L::Attested, true, true, true),
        (L::Operational, true, true, true),
        (L::Quarantined, true, false, false),
        (L::Decommissioned, false, false, false),
    ] {
        role.supervisor
            .send(&SupervisorToRole::Lifecycle(state))
            .unwrap();
        for (edge, granted) in [(0, control), (1, peer), (2, qkd)] {
            match role.ask(edge) {
                FromTpm::Signature { signature, .. } => {
                    assert!(granted, "{state:?} {edge}");
                    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point(&public_key))
                        .verify(MESSAGE, &signature)
                        .unwrap();
                }
                FromTpm::NotPermitted(_) => assert!(!granted, "{state:?} {edge}"),
                other => panic!("{state:?} {edge}: {other:?}"),
            }
        }
    }
}

/// One neighbour's heap of requests does not keep another's one waiting: in every round each has
/// its turn.
#[test]
fn neighbours_take_turns() {
    let mut role = Role::start();
    role.supervisor
        .send(&SupervisorToRole::Lifecycle(Lifecycle::Operational))
        .unwrap();
    assert!(matches!(role.ask(0), FromTpm::Signature { .. }));
    let heap = 1000;
    for number in 0..heap {
        role.edges[1].send(&order(number)).unwrap();
    }
    assert!(matches!(role.ask(2), FromTpm::Signature { .. }));
    let mut answered = 0;
    while role.edges[1].recv().unwrap().is_some() {
        answered += 1;
    }
    assert!(answered < heap, "all {answered} came first");
    while answered < heap {
        role.edges[1].flush().unwrap();
        wait_for(&mut role.edges[1]);
        answered += 1;
    }
}

#[test]
fn an_empty_tpm_signs_nothing_and_lives() {
    let mut role = Role::start_on(LoopbackTpm::fresh());
    role.supervisor
        .send(&SupervisorToRole::Lifecycle(Lifecycle::Attesting))
        .unwrap();
    for _ in 0..2 {
        assert!(matches!(role.ask(0), FromTpm::Failed { code: 0x18b, .. }));
    }
}

#[test]
fn a_dead_tpm_ends_the_role() {
    let mut role = Role::start();
    role.supervisor
        .send(&SupervisorToRole::Lifecycle(Lifecycle::Attesting))
        .unwrap();
    assert!(matches!(role.ask(0), FromTpm::Signature { .. }));
    role.swtpm.kill();
    role.edges[0].send(&order(1)).unwrap();
    assert_eq!(role.ended().exit(), Exit::IoErr);
}

#[test]
fn a_dead_neighbour_ends_the_role() {
    let mut role = Role::start();
    role.edges.remove(1);
    assert_eq!(role.ended().exit(), Exit::Unavailable);
}

#[test]
fn an_end_of_another_edge_ends_the_role() {
    let mut role = Role::start();
    let (end, _other) = socket_pair().unwrap();
    role.supervisor
        .send_fd(&SupervisorToRole::End(Edge::EngineXfrm), end)
        .unwrap();
    assert_eq!(role.ended().exit(), Exit::Protocol);
}

#[test]
fn only_a_device_or_a_swtpm_is_opened() {
    for name in ["", "tabrmd", "mssim:port=2321", "/dev/tpmrm0", "device"] {
        let opened = Tpm::open(name);
        assert!(
            matches!(opened, Err(TpmError::Name | TpmError::Open(_))),
            "{name}"
        );
    }
    let absent = Tpm::open("device:/nonexistent/tpm");
    assert!(matches!(absent, Err(TpmError::Open(_))));
}

/// The role in a thread, with everybody else's ends here.
struct Role {
    swtpm: LoopbackTpm,
    public_key: Vec<u8>,
    supervisor: Channel<RoleToSupervisor, SupervisorToRole>,
    /// Of control, peer and qkd.
    edges: Vec<Channel<FromTpm, ToTpm>>,
    serving: Option<JoinHandle<Result<(), Fault>>>,
}

impl Role {
    fn start() -> Self {
        let swtpm = LoopbackTpm::fresh();
        let mut tpm = Tpm::open(&swtpm.tcti()).unwrap();
        let ldevid = Ldevid::create(&mut tpm).unwrap();
        let public_key = ldevid.public_key().to_vec();
        drop(tpm);
        let mut role = Self::start_on(swtpm);
        role.public_key = public_key;
        role
    }

    fn start_on(swtpm: LoopbackTpm) -> Self {
        let (supervisor, far) = Channel::pair().unwrap();
        let started = Started {
            prepared: Prepared::open(&swtpm.tcti()).unwrap(),
            config: RoleConfig::Tpm,
            passed: None,
            ends: Ends::default(),
            supervisor: far,
            watchdog: Watchdog::from_env(Notifier::from_env().unwrap()),
        };
        let mut role = Self {
            swtpm,
            public_key: Vec::new(),
            supervisor,
            edges: Vec::new(),
            serving: Some(std::thread::spawn(move || serve(started))),
        };
        // Ends that come later, as those of peer and qkd do.
        for edge in [Edge::ControlTpm, Edge::PeerTpm, Edge::QkdTpm] {
            let (near, far) = socket_pair().unwrap();
            role.supervisor
                .send_fd(&SupervisorToRole::End(edge), far)
                .unwrap();
            role.edges.push(Channel::new(near).unwrap());
        }
        role
    }

    fn ask(&mut self, edge: usize) -> FromTpm {
        let edge = &mut self.edges[edge];
        edge.send(&order(7)).unwrap();
        wait_for(edge)
    }

    /// Waits for the end of the role.
    fn ended(&mut self) -> Fault {
        let end = Instant::now() + LIMIT;
        loop {
            match self.supervisor.recv() {
                Ok(Some(_counted)) => {}
                Ok(None) => assert!(readable(&self.supervisor, end), "the role does not end"),
                Err(error) => {
                    assert!(matches!(error, ChannelError::Closed));
                    break;
                }
            }
        }
        let serving = self.serving.take().unwrap();
        serving.join().unwrap().unwrap_err()
    }
}

fn wait_for<Rx: Vocabulary, Tx: Vocabulary>(channel: &mut Channel<Rx, Tx>) -> Rx {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(received) = channel.recv().unwrap() {
            return received.message;
        }
        assert!(readable(channel.as_fd(), end), "no answer");
    }
}

fn order(number: u64) -> ToTpm {
    ToTpm::Sign {
        order: OrderId(number),
        key: KeyName::Ldevid,
        digest: sha256(MESSAGE).to_vec(),
    }
}

fn sha256(message: &[u8]) -> [u8; 32] {
    digest(&SHA256, message).as_ref().try_into().unwrap()
}

/// The point in a `SubjectPublicKeyInfo`.
fn point(spki: &[u8]) -> Vec<u8> {
    let spki = SubjectPublicKeyInfoRef::from_der(spki).unwrap();
    spki.subject_public_key.raw_bytes().to_vec()
}
