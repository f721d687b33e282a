//! Whom a box sends packets to, on whatever interface.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    net::UdpSocket,
    process::{ChildStdout, Command, Stdio},
};

use super::{netns::Netns, process::Running};

/// A watch that runs; dropping it ends it.
#[derive(Debug)]
pub struct Dialled<'namespace> {
    namespace: &'namespace Netns,
    _tcpdump: Running,
    lines: BufReader<ChildStdout>,
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
            .args(["-i", "any", "-Q", "out", "-n", "-t", "-q", "-l"])
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
        Self {
            namespace,
            _tcpdump: tcpdump,
            lines: BufReader::new(lines),
        }
    }

    /// To whom packets were sent so far, as tcpdump writes it: `192.0.2.1.443`.
    ///
    /// # Panics
    /// If tcpdump ended.
    pub fn so_far(&mut self) -> BTreeSet<String> {
        let mark = self.namespace.enter(|| {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("bind on the loopback");
            let own = socket.local_addr().expect("a bound socket has an address");
            socket.send_to(b"so far", own).expect("send to oneself");
            format!("127.0.0.1.{}", own.port())
        });
        let mut all = BTreeSet::new();
        loop {
            let mut line = String::new();
            let length = self.lines.read_line(&mut line).expect("read from tcpdump");
            assert!(length > 0, "tcpdump ended");
            let (_, rest) = line.split_once("> ").expect("a packet with two ends");
            let (to, _) = rest.split_once(": ").expect("a packet with two ends");
            if to == mark {
                return all;
            }
            all.insert(to.to_owned());
        }
    }
}
