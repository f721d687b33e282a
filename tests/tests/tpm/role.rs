//! The role in a thread, with everybody else's ends here.

use std::{
    os::fd::AsFd as _,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, UnparsedPublicKey, VerificationAlgorithm,
};
use bartizan_evidence::structures::{Hash, Public};
use bartizan_model::{
    config::RoleConfig,
    identity::{KeyName, LdevidFound, TpmFound, TpmIdentity},
    ids::OrderId,
    lifecycle::Lifecycle,
    message::{Edge, FromTpm, RoleToSupervisor, SupervisorToRole, ToTpm},
    time::KnownTime,
};
use bartizan_process::{
    Channel, ChannelError, Ends, Fault, Notifier, Started, Vocabulary, Watchdog, socket_pair,
};
use bartizan_tests::testbed::process::readable;
use bartizan_tpm::{Prepared, serve};

use crate::boot::{Boot, sha256};

/// Longer than anything takes on a loaded machine.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

/// What is signed.
pub(crate) const MESSAGE: &[u8] = b"what is signed";

/// The number of every order.
pub(crate) const ORDER: OrderId = OrderId(7);

/// The neighbours, as they are numbered in [`Role::edges`].
pub(crate) const CONTROL: usize = 0;
pub(crate) const PEER: usize = 1;
pub(crate) const QKD: usize = 2;
pub(crate) const BOOTSTRAP: usize = 3;

/// A role that serves.
pub(crate) struct Role {
    pub(crate) boot: Boot,
    pub(crate) supervisor: Channel<RoleToSupervisor, SupervisorToRole>,
    pub(crate) edges: Vec<Channel<FromTpm, ToTpm>>,
    /// What it found in the TPM.
    pub(crate) found: TpmFound,
    serving: Option<JoinHandle<Result<(), Fault>>>,
}

impl Role {
    /// On a box of an owner: enrolled, then started again; returns its LDevID's public key, too.
    pub(crate) fn owned() -> (Self, Public) {
        let mut role = Self::start(Boot::approved());
        assert_eq!(role.found.ldevid, LdevidFound::Absent);
        role.enter(Lifecycle::Enrolling);
        let public_key = role.enrol();
        let role = role.again();
        assert_eq!(role.found.ldevid, LdevidFound::Usable);
        (role, public_key)
    }

    /// Makes and keeps an LDevID, as bootstrap has it done.
    pub(crate) fn enrol(&mut self) -> Public {
        let create = ToTpm::CreateLdevid {
            order: ORDER,
            qualifying: [9; 32],
        };
        let FromTpm::Ldevid { certified, .. } = self.ask(BOOTSTRAP, &create) else {
            panic!("no LDevID");
        };
        let kept = self.ask(BOOTSTRAP, &ToTpm::KeepLdevid(ORDER));
        assert_eq!(kept, FromTpm::Done(ORDER));
        Public::parse(&certified.public).unwrap()
    }

    pub(crate) fn start(boot: Boot) -> Self {
        let (mut supervisor, far) = Channel::pair().unwrap();
        let started = Started {
            prepared: Prepared::open(&boot.proxy.tcti(), &boot.folder).unwrap(),
            config: RoleConfig::Tpm,
            passed: None,
            ends: Ends::default(),
            supervisor: far,
            watchdog: Watchdog::from_env(Notifier::from_env().unwrap()),
            time: KnownTime::default(),
        };
        let serving = std::thread::spawn(move || serve(started));
        let RoleToSupervisor::Found(found) = wait_for(&mut supervisor) else {
            panic!("its first word is another");
        };
        let mut role = Self {
            boot,
            supervisor,
            edges: Vec::new(),
            found,
            serving: Some(serving),
        };
        // Ends that come later, as those of peer and qkd do.
        for edge in [
            Edge::ControlTpm,
            Edge::PeerTpm,
            Edge::QkdTpm,
            Edge::BootstrapTpm,
        ] {
            let (near, far) = socket_pair().unwrap();
            role.supervisor
                .send_fd(&SupervisorToRole::End(edge), far)
                .unwrap();
            role.edges.push(Channel::new(near).unwrap());
        }
        role
    }

    /// The same box after the roles were restarted; the TPM was not.
    pub(crate) fn again(mut self) -> Self {
        self.edges.clear();
        drop(self.ended());
        Self::start(self.boot)
    }

    pub(crate) fn enter(&mut self, state: Lifecycle) {
        self.supervisor
            .send(&SupervisorToRole::Lifecycle(state))
            .unwrap();
    }

    pub(crate) fn ask(&mut self, edge: usize, request: &ToTpm) -> FromTpm {
        let edge = &mut self.edges[edge];
        edge.send(request).unwrap();
        wait_for(edge)
    }

    /// Asks for what the TPM refuses; returns its code.
    pub(crate) fn refused(&mut self, edge: usize, request: &ToTpm) -> u32 {
        let reply = self.ask(edge, request);
        let FromTpm::Failed { order: ORDER, code } = reply else {
            panic!("{request:?}: {reply:?}");
        };
        code
    }

    /// Asks for the description, in a state in which it is given.
    pub(crate) fn identity(&mut self) -> TpmIdentity {
        let reply = self.ask(BOOTSTRAP, &ToTpm::Identity(ORDER));
        let FromTpm::Identity { identity, .. } = reply else {
            panic!("{reply:?}");
        };
        *identity
    }

    /// Waits for the end of the role.
    pub(crate) fn ended(&mut self) -> Fault {
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

pub(crate) fn wait_for<Rx: Vocabulary, Tx: Vocabulary>(channel: &mut Channel<Rx, Tx>) -> Rx {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(received) = channel.recv().unwrap() {
            return received.message;
        }
        assert!(readable(channel.as_fd(), end), "no answer");
    }
}

/// Asks for a signature over [`MESSAGE`].
pub(crate) fn sign_ldevid() -> ToTpm {
    ToTpm::Sign {
        order: ORDER,
        key: KeyName::Ldevid,
        digest: sha256(MESSAGE).to_vec(),
    }
}

/// Checks a signature over [`MESSAGE`].
pub(crate) fn verify(key: &Public, reply: &FromTpm) {
    let FromTpm::Signature { signature, .. } = reply else {
        panic!("{reply:?}");
    };
    let algorithm: &dyn VerificationAlgorithm = if key.name_hash == Hash::Sha384 {
        &ECDSA_P384_SHA384_ASN1
    } else {
        &ECDSA_P256_SHA256_ASN1
    };
    UnparsedPublicKey::new(algorithm, key.point().unwrap())
        .verify(MESSAGE, signature)
        .unwrap();
}
