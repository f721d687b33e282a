//! The whole process but its start, between neighbours that the tests play.

use core::time::Duration;

use bartizan_evidence::lease::{Claims, OwnerTime, Status};
use bartizan_model::config::EngineConfig;
use bartizan_model::ids::{EditId, EntryName, NodeId, Nonce, OrderId, Thumbprint};
use bartizan_model::message::{
    ControlToEngine, Edge, EditRefusal, EngineToControl, EngineToXfrm, LeaseRefusal,
    RoleToSupervisor, XfrmToEngine,
};
use bartizan_signer::Signer;

use super::*;
use crate::neighbours::tests::{Far, grant_end, pairs};

/// An engine's process that has had its first turn, and the neighbours' ends.
struct Bench {
    process: Process,
    far: Far,
    signer: Signer,
    config: EngineConfig,
}

impl Bench {
    fn start() -> Self {
        let signer = Signer::generate().unwrap();
        let config = EngineConfig {
            node: NodeId::try_from("gw-a.example").unwrap(),
            ldevid: Thumbprint([0x1d; 32]),
            verifier: signer.public_keys(),
        };
        let (neighbours, far) = pairs();
        let mut entropy = Entropy::default();
        let engine = Engine::new(&config, boot_time(), &mut |bytes| entropy.fill(bytes)).unwrap();
        let mut process = Process {
            engine,
            entropy,
            neighbours,
        };
        process.turn().unwrap();
        Self {
            process,
            far,
            signer,
            config,
        }
    }

    fn nonce(&mut self) -> Nonce {
        loop {
            if let EngineToControl::LeaseNonce(nonce) = self.control_hears() {
                return nonce;
            }
        }
    }

    fn lease(&self, nonce: Nonce) -> ControlToEngine {
        let issued = OwnerTime(1_800_000_000);
        let claims = Claims {
            node: self.config.node.clone(),
            ldevid: self.config.ldevid,
            nonce,
            issued,
            expires: issued.after(Duration::from_mins(5)),
            status: Status::Affirming,
        };
        ControlToEngine::Lease(self.signer.sign(&claims.encode()).unwrap())
    }

    fn control_says(&mut self, message: &ControlToEngine) {
        self.far.control.send(message).unwrap();
        self.process.turn().unwrap();
    }

    /// How long the supervisor was told that the lease lives.
    fn life(&mut self) -> Duration {
        loop {
            let told = self.far.supervisor.recv().unwrap().unwrap().message;
            if let RoleToSupervisor::LeaseAccepted(life) = told {
                return life;
            }
        }
    }

    fn control_hears(&mut self) -> EngineToControl {
        self.far.control.recv().unwrap().unwrap().message
    }
}

#[test]
fn the_engine_begins_by_asking_for_the_sas_and_for_a_lease() {
    let mut bench = Bench::start();
    let order = bench.far.xfrm.recv().unwrap().unwrap().message;
    assert!(matches!(order, EngineToXfrm::ListSas { .. }));
    assert!(matches!(
        bench.control_hears(),
        EngineToControl::LeaseNonce(_)
    ));
}

#[test]
fn a_lease_from_control_reaches_the_supervisor_as_a_state() {
    let mut bench = Bench::start();
    let nonce = bench.nonce();
    let lease = bench.lease(nonce);
    bench.control_says(&lease);

    let life = bench.life();
    assert!(life <= Duration::from_mins(5), "{life:?}");
    // It counts once.
    bench.control_says(&lease);
    let refused = core::iter::repeat_with(|| bench.control_hears())
        .find(|told| matches!(told, EngineToControl::LeaseRefused(_)));
    assert_eq!(
        refused,
        Some(EngineToControl::LeaseRefused(LeaseRefusal::Nonce))
    );
}

#[test]
fn nothing_is_steered_without_a_lease() {
    let mut bench = Bench::start();
    bench.nonce();
    let entry = EntryName::try_from("out").unwrap();
    for message in [
        ControlToEngine::BeginEdit(EditId(1)),
        ControlToEngine::Remove(entry.clone()),
        ControlToEngine::CommitEdit(EditId(1)),
    ] {
        bench.control_says(&message);
    }
    assert_eq!(
        bench.control_hears(),
        EngineToControl::EditRefused {
            edit: EditId(1),
            entry,
            reason: EditRefusal::NotAttested,
        }
    );
}

#[test]
fn a_busy_neighbour_does_not_keep_the_others_waiting() {
    let mut bench = Bench::start();
    let nonce = bench.nonce();
    for order in 0..10 * u64::try_from(SHARE).unwrap() {
        let stale = XfrmToEngine::Done(OrderId(order + 1000));
        bench.far.xfrm.send(&stale).unwrap();
    }
    let lease = bench.lease(nonce);
    bench.control_says(&lease);
    bench.life();
}

#[test]
fn later_ends_are_taken_while_the_engine_runs() {
    let mut bench = Bench::start();
    let _peer = grant_end(&mut bench.far, Edge::EnginePeer);
    let _qkd = grant_end(&mut bench.far, Edge::EngineQkd);
    bench.process.turn().unwrap();
    let room = bench.process.neighbours.room();
    assert!(room.peer && room.qkd);
}

#[test]
fn a_turn_without_randomness_sends_nothing() {
    let mut bench = Bench::start();
    while bench.far.control.recv().unwrap().is_some() {}
    bench.process.entropy = Entropy::broken();
    let begin = ControlToEngine::BeginEdit(EditId(1));
    let commit = ControlToEngine::CommitEdit(EditId(1));
    bench.far.control.send(&begin).unwrap();
    bench.far.control.send(&commit).unwrap();
    let fault = bench.process.turn().unwrap_err();
    assert_eq!(fault.exit(), Exit::OsErr);
    assert!(bench.far.control.recv().unwrap().is_none());
}
