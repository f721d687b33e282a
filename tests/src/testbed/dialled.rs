//! Whom a box sends packets to, on whatever interface.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    net::UdpSocket,
    process::{Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use super::{netns::Netns, process::Running};

/// How long tcpdump may take to say what it saw.
const PATIENCE: Duration = Duration::from_secs(20);

/// A watch that runs; dropping it ends it.
#[derive(Debug)]
pub struct Dialled<'namespace> {
    namespace: &'namespace Netns,
    _tcpdump: Running,
    lines: Receiver<String>,
}

impl<'namespace> Dialled<'namespace> {
    /// Watches every packet of IP that leaves `namespace`, neighbour discovery aside; when this returns, nothing is
    /// missed any more.
    ///
    /// # Panics
    /// If tcpdump cannot be run.
    pub fn watch(namespace: &'namespace Netns) -> Self {
        let mut command = Command::new("tcpdump");
        command
            .args(["-i", "any", "-n", "-t", "-q", "-l"])
            .args(["--immediate-mode", "-Z", "root"])
            // Types 130 to 137: listeners and neighbours (RFC 4443, RFC 4861), and reports of listeners (RFC 3810).
            .arg("ip or (ip6 and not (icmp6 and ip6[40] >= 130 and ip6[40] <= 137) and not ip6[6] == 0)")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut tcpdump = namespace.enter(|| Running::spawn(&mut command));
        let complaints = tcpdump.child().stderr.take().expect("a pipe from tcpdump");
        let mut said = String::new();
        let mut complaints = BufReader::new(complaints);
        while !said.contains("listening on") {
            let length = complaints.read_line(&mut said).expect("read from tcpdump");
            assert!(length > 0, "tcpdump ended: {said}");
        }
        let lines = tcpdump.child().stdout.take().expect("a pipe from tcpdump");
        let (sender, received) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                // An error: nobody asks any more.
                sender.send(line).unwrap_or_default();
            }
        });
        Self {
            namespace,
            _tcpdump: tcpdump,
            lines: received,
        }
    }

    /// To whom packets were sent so far, as tcpdump writes it: `192.0.2.1.443`.
    ///
    /// # Panics
    /// If tcpdump ended.
    pub fn so_far(&self) -> BTreeSet<String> {
        let mark = self.namespace.enter(|| {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("bind on the loopback");
            let own = socket.local_addr().expect("a bound socket has an address");
            socket.send_to(b"so far", own).expect("send to oneself");
            format!("127.0.0.1.{}", own.port())
        });
        let mut all = BTreeSet::new();
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.expect("tcpdump sees every packet");
            // As in `wan Out IP 192.0.2.1.500 > 192.0.2.2.500: UDP, length 8`.
            let (before, rest) = line.split_once(" > ").expect("a packet with two ends");
            let (to, _) = rest.split_once(": ").expect("a packet with two ends");
            if to == mark {
                return all;
            }
            if before.contains(" Out ") {
                all.insert(to.to_owned());
            }
        }
    }
}
