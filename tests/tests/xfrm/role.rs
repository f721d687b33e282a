//! The role's process, against a supervisor and an engine that this test plays.

use std::{
    collections::VecDeque,
    fs::{self, File},
    os::{fd::OwnedFd, unix::fs::FileExt},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use bartizan_model::{
    ids::OrderId,
    message::{
        Edge, EngineToXfrm, RoleConfig, RoleToSupervisor, SaInstall, SupervisorToRole, XfrmToEngine,
    },
    policy::{Direction, Mode},
};
use bartizan_process::{Channel, SWITCHBOARD};
use bartizan_secret::Secret;
use bartizan_tests::{
    in_guest,
    testbed::{
        boot::Boot,
        capture::{Capture, count},
        flow::let_pass,
        guest::binaries,
        netns::Netns,
        process::{Running, readable},
        topology::{Family, Side, Topology},
    },
};
use rustix::{
    net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen,
        socket_with,
    },
    process::{Pid, Signal},
    time::{ClockId, Timespec, clock_gettime, clock_settime},
};

use crate::{
    orders::{FAMILIES, PEER_PORT, Tunnel, config, key, seconds},
    renewal::{LEASE, SLOW, flow, shown},
    station::{Make, extend_sa, install_policy, install_sa, remove_all_sas},
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Any uid but root's.
const UID: &str = "4711";

/// The running role.
struct Role {
    process: Running,
    supervisor: Channel<RoleToSupervisor, SupervisorToRole>,
    engine: Channel<XfrmToEngine, EngineToXfrm>,
    told: VecDeque<RoleToSupervisor>,
    next: u64,
}

impl Role {
    fn start(gateway: &Netns, side: Side) -> Self {
        let switchboard = switchboard();
        let process = spawn(gateway);
        assert!(
            readable(&switchboard, Instant::now() + PATIENCE),
            "it does not dial"
        );
        let end = accept_with(&switchboard, SocketFlags::CLOEXEC).unwrap();
        let (engine, far) = bartizan_process::socket_pair().unwrap();
        let mut role = Self {
            process,
            supervisor: Channel::new(end).unwrap(),
            engine: Channel::new(engine).unwrap(),
            told: VecDeque::new(),
            next: 0,
        };
        role.wait_for(|word| matches!(word, RoleToSupervisor::LockedDown(_)));
        let end = SupervisorToRole::End(Edge::EngineXfrm);
        role.supervisor.send_fd(&end, far).unwrap();
        let start = SupervisorToRole::Start(RoleConfig::Xfrm(config(side)));
        role.supervisor.send(&start).unwrap();
        role
    }

    fn wait_for(&mut self, wanted: impl Fn(&RoleToSupervisor) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            while let Some(received) = self.supervisor.recv().unwrap() {
                self.told.push_back(received.message);
            }
            while let Some(word) = self.told.pop_front() {
                if wanted(&word) {
                    return;
                }
            }
            assert!(
                readable(&self.supervisor, deadline),
                "the supervisor is not told"
            );
        }
    }

    /// Sends orders and returns as many replies.
    fn orders(&mut self, orders: Vec<(Make, Option<Secret>)>) -> Vec<XfrmToEngine> {
        let count = orders.len();
        for (make, secret) in orders {
            self.next += 1;
            let order = make(OrderId(self.next));
            match secret {
                Some(secret) => self.engine.send_secret(&order, secret).unwrap(),
                None => self.engine.send(&order).unwrap(),
            }
        }
        let mut replies = Vec::new();
        while replies.len() < count {
            replies.push(self.reply());
        }
        replies
    }

    fn reply(&mut self) -> XfrmToEngine {
        loop {
            if let Some(received) = self.engine.recv().unwrap() {
                let event = matches!(
                    received.message,
                    XfrmToEngine::Acquire { .. } | XfrmToEngine::Expired { .. }
                );
                if !event {
                    return received.message;
                }
                continue;
            }
            assert!(
                readable(&self.engine, Instant::now() + PATIENCE),
                "no reply"
            );
        }
    }

    fn done(&mut self, orders: Vec<(Make, Option<Secret>)>) {
        for reply in self.orders(orders) {
            assert!(matches!(reply, XfrmToEngine::Done(_)), "{reply:?}");
        }
    }

    /// Both entries of a tunnel and its two SAs.
    fn install(&mut self, side: Side, tunnel: Tunnel) -> Vec<SaInstall> {
        let mut orders: Vec<(Make, _)> = Vec::new();
        for direction in [Direction::Outbound, Direction::Inbound] {
            orders.push((install_policy(tunnel.entry(side, direction)), None));
        }
        let sas: Vec<_> = Side::BOTH
            .into_iter()
            .map(|sender| {
                let spi = 0x9000 + u32::from(sender == Side::B);
                tunnel.sa(side, sender, spi, seconds(LEASE))
            })
            .collect();
        for sa in &sas {
            orders.push((install_sa(sa.clone()), Some(key(sa.id.spi.into()))));
        }
        self.done(orders);
        sas
    }
}

#[test]
fn the_process_blocks_before_anybody_is_heard() {
    in_guest!(Boot::uml(), || {
        let topology = Topology::new();
        let gateway = &topology.a.gateway;
        // Nobody listens: it cannot even begin.
        let mut process = spawn(gateway);
        let status = process.wait(PATIENCE).expect("it gives up");
        assert_eq!(status.code(), Some(71));
        let capture = Capture::start(&topology, PEER_PORT);
        let flows = FAMILIES.map(|family| {
            let tunnel = Tunnel::new(family, Mode::Tunnel);
            flow(&topology, tunnel, 5000, SLOW)
        });
        let_pass(Duration::from_secs(1));
        drop(flows);
        let frames = capture.stop();
        let from_a: Vec<_> = frames
            .into_iter()
            .filter(|frame| frame.from == Side::A)
            .collect();
        assert_eq!(count(&from_a).violations, [""; 0]);
    });
}

#[test]
fn the_process_carries_out_orders_and_keeps_no_key() {
    in_guest!(Boot::uml(), || {
        let topology = Topology::new();
        let tunnel = Tunnel::new(Family::V4, Mode::Tunnel);
        let mut roles = Side::BOTH.map(|side| Role::start(&topology.side(side).gateway, side));
        let capture = Capture::start(&topology, PEER_PORT);
        let flow = flow(&topology, tunnel, 5000, SLOW);
        let mut installed = Vec::new();
        for (role, side) in roles.iter_mut().zip(Side::BOTH) {
            installed.push(role.install(side, tunnel));
        }
        let before: Vec<_> = installed
            .iter()
            .flatten()
            .map(|sa| shown(&topology.a.gateway, sa).unwrap().limits.hard_seconds)
            .collect();
        assert_eq!(before, [LEASE; 4]);

        for (role, sas) in roles.iter_mut().zip(&installed) {
            let extensions = sas.iter().map(|sa| (extend_sa(sa.clone()), None));
            role.done(extensions.collect());
            // The kernel shows SAs with their keys, also to the role.
            let list: Make = Box::new(|order| EngineToXfrm::ListSas { order });
            let listed = role.orders(vec![(list, None)]);
            assert!(
                matches!(&listed[..], [XfrmToEngine::Listed { sas, last: true, .. }] if sas.len() == 2),
                "{listed:?}"
            );
            for sa in sas {
                let secret = key(sa.id.spi.into());
                assert_eq!(copies(role.process.pid(), secret.expose()), 0);
                assert_eq!(copies(role.process.pid(), &secret.expose()[..32]), 0);
            }
            // The search does find what is there.
            assert!(copies(role.process.pid(), b"xfrm.clock-steps") > 0);
        }

        let now = clock_gettime(ClockId::Realtime);
        let hour_ago = Timespec {
            tv_sec: now.tv_sec - 3600,
            ..now
        };
        clock_settime(ClockId::Realtime, hour_ago).unwrap();
        for role in &mut roles {
            role.wait_for(|word| {
                matches!(word, RoleToSupervisor::Counted { name, total: 1 } if name == "xfrm.clock-steps")
            });
        }
        for sa in installed.iter().flatten() {
            let limit = shown(&topology.a.gateway, sa).unwrap().limits.hard_seconds;
            assert!((-3600..-3000).contains(&limit.cast_signed()), "{limit}");
        }
        let_pass(Duration::from_secs(1));

        // The death of the process takes nothing away, and adds nothing.
        let [a, mut b] = roles;
        a.process.signal(Signal::KILL);
        drop(a);
        let_pass(Duration::from_secs(1));
        let arrivals = flow.stop();
        assert!(
            arrivals.iter().all(|arrivals| arrivals.received > 4),
            "{arrivals:?}"
        );
        b.done(vec![(remove_all_sas(), None)]);
        assert!(shown(&topology.b.gateway, &installed[1][0]).is_none());
        let counts = count(&capture.stop());
        assert!(counts.esp > 8, "{counts:?}");
        assert_eq!(counts.violations, [""; 0]);
    });
}

/// Where roles dial.
fn switchboard() -> OwnedFd {
    let path = Path::new(SWITCHBOARD);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    if path.exists() {
        fs::remove_file(path).unwrap();
    }
    let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None).unwrap();
    bind(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    listen(&socket, 4).unwrap();
    std::os::unix::fs::chown(path, Some(UID.parse().unwrap()), None).unwrap();
    socket
}

fn spawn(gateway: &Netns) -> Running {
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", UID, "--regid", UID, "--clear-groups"])
        .args([
            "--inh-caps=-all,+net_admin",
            "--ambient-caps=-all,+net_admin",
        ])
        .arg("--")
        .arg(binaries().join("bartizan-xfrm"));
    gateway.enter(|| Running::spawn(&mut command))
}

/// How often bytes stand in the readable memory of a process.
fn copies(process: Pid, bytes: &[u8]) -> usize {
    let folder = Path::new("/proc").join(process.as_raw_nonzero().to_string());
    let memory = File::open(folder.join("mem")).unwrap();
    let maps = fs::read_to_string(folder.join("maps")).unwrap();
    let mut found = 0;
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (range, rights) = (words.next().unwrap(), words.next().unwrap());
        if !rights.starts_with('r') || line.contains("[v") {
            continue;
        }
        let (start, end) = range.split_once('-').unwrap();
        let [start, end] = [start, end].map(|text| u64::from_str_radix(text, 16).unwrap());
        let mut part = vec![0; usize::try_from(end - start).unwrap()];
        if memory.read_exact_at(&mut part, start).is_ok() {
            found += part
                .windows(bytes.len())
                .filter(|window| *window == bytes)
                .count();
        }
    }
    found
}
