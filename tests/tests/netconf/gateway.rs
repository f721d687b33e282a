//! A gateway whose control role is a real process; the test is its engine and its supervisor.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use bartizan_model::config::{ControlConfig, RoleConfig};
use bartizan_model::ids::{EditId, TunnelId};
use bartizan_model::message::{ControlToEngine, Edge, EngineToControl};
use bartizan_model::policy::{
    Action, Combiner, Dial, Direction, DontFragment, KemSource, Keying, Lifetime, Mode, Need,
    ParameterSet, Policy, Prefix, Protect, Suite, TrafficSelector,
};
use bartizan_process::Channel;
use bartizan_tests::pki::{Certified, Valid};
use bartizan_tests::played::{PATIENCE, Played, PlayedTpm, expect};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_get_seals, fstat, memfd_create};
use rustix::io::{pread, write};

use crate::controller::{CONTROLLER, Owner};

pub(crate) struct Gateway {
    pub(crate) role: Played,
    engine: Channel<ControlToEngine, EngineToControl>,
    pub(crate) certified: Certified,
    _tpm: PlayedTpm,
}

impl Gateway {
    /// Starts the role as after a boot.
    pub(crate) fn start(owner: &Owner) -> Self {
        Self::start_at(owner, owner.address())
    }

    /// As [`Gateway::start`], with a controller elsewhere.
    pub(crate) fn start_at(owner: &Owner, controller: SocketAddr) -> Self {
        Self::begin(owner, controller, None)
    }

    /// Starts the role as after a restart, with the copy of `running`.
    pub(crate) fn restart(owner: &Owner, copy: OwnedFd) -> Self {
        Self::begin(owner, owner.address(), Some(copy))
    }

    fn begin(owner: &Owner, controller: SocketAddr, copy: Option<OwnedFd>) -> Self {
        let certified = owner.ca.issue_valid(&["gw-a.example"], Valid::Always);
        let mut role = Played::start("bartizan-control");
        let engine = role.grant(Edge::ControlEngine);
        let tpm = PlayedTpm::start(role.grant(Edge::ControlTpm), certified.key());
        let config = RoleConfig::Control(ControlConfig {
            node: "gw-a.example".try_into().unwrap(),
            controller,
            controller_name: CONTROLLER.try_into().unwrap(),
            anchors: vec![owner.ca.anchor()],
            chain: certified.chain().to_vec(),
            restored: copy.is_some(),
        });
        match copy {
            Some(copy) => role.begin_with(config, copy),
            None => role.begin(config),
        }
        Self {
            role,
            engine,
            certified,
            _tpm: tpm,
        }
    }

    /// What the role says to the engine next.
    pub(crate) fn hear(&mut self) -> ControlToEngine {
        expect(&mut self.engine).message
    }

    /// Reads an edit that puts exactly these entries.
    pub(crate) fn edit(&mut self, policies: &[Policy]) -> EditId {
        let ControlToEngine::BeginEdit(begun) = self.hear() else {
            panic!("an edit begins");
        };
        for policy in policies {
            assert_eq!(self.hear(), ControlToEngine::Put(Box::new(policy.clone())));
        }
        assert_eq!(self.hear(), ControlToEngine::CommitEdit(begun));
        begun
    }

    /// Says something as the engine; waits until the role takes it, which it does in time whatever
    /// its controller does.
    pub(crate) fn say(&mut self, word: &EngineToControl) {
        self.engine.send(word).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while self.engine.wants_write() {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).unwrap();
            let mut fds = [PollFd::from_borrowed_fd(
                self.engine.as_fd(),
                PollFlags::OUT,
            )];
            assert_eq!(poll(&mut fds, Some(&left)), Ok(1), "the role takes nothing");
            self.engine.flush().unwrap();
        }
    }
}

/// An outbound entry with this number.
pub(crate) fn policy(number: u32) -> Policy {
    let network = |first: u8| {
        let [_, _, high, low] = number.to_be_bytes();
        let address = Ipv4Addr::new(first, high, low, 0);
        Prefix::new(address.into(), 24).unwrap()
    };
    let gateway = |last| Ipv4Addr::new(192, 0, 2, last);
    Policy {
        name: format!("out/{}/in/{}", network(10), network(11))
            .try_into()
            .unwrap(),
        priority: 999 + number,
        direction: Direction::Outbound,
        reqid: number.try_into().unwrap(),
        selector: TrafficSelector {
            local: network(10),
            remote: network(11),
            protocol: None,
            local_port: None,
            remote_port: None,
        },
        action: Action::Protect(Box::new(Protect {
            mode: Mode::Tunnel,
            local: gateway(1).into(),
            remote: gateway(2).into(),
            df: DontFragment::Clear,
            suite: Suite::AesGcm256,
            replay_window: 4096,
            keying: Keying {
                tunnel: TunnelId(number),
                peer: "gw-b.example".try_into().unwrap(),
                peer_address: (gateway(2), 9061).into(),
                dial: Dial::Lower,
                qkd: None,
                kem: Some(KemSource {
                    need: Need::Required,
                    parameter_set: ParameterSet::MlKem768,
                }),
                classical: None,
                combiner: Combiner::Hmac,
                soft: Lifetime {
                    seconds: Some(3000),
                    ..Lifetime::default()
                },
                hard: Lifetime {
                    seconds: Some(3600),
                    ..Lifetime::default()
                },
            },
        })),
    }
}

/// A memfd with this content.
pub(crate) fn memfd(content: &[u8]) -> OwnedFd {
    let memfd = memfd_create("test", MemfdFlags::CLOEXEC).unwrap();
    assert_eq!(write(&memfd, content), Ok(content.len()));
    memfd
}

/// The content of a memfd.
pub(crate) fn read(memfd: &OwnedFd) -> Vec<u8> {
    let size = fstat(memfd).unwrap().st_size;
    let mut content = vec![0; usize::try_from(size).unwrap()];
    let count = pread(memfd, &mut content, 0).unwrap();
    assert_eq!(count, content.len());
    content
}

/// Checks that nobody can change a memfd any more.
pub(crate) fn assert_sealed(memfd: &OwnedFd) {
    let whole = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    assert!(fcntl_get_seals(memfd).unwrap().contains(whole));
}
