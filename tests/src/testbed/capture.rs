//! A capture of the line between the gateways: every frame that one of them sent, classified.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read},
    net::UdpSocket,
    process::{ChildStderr, Command, Stdio},
    sync::mpsc::{Receiver, Sender, channel},
    thread::JoinHandle,
    time::Duration,
};

use rustix::process::Signal;

use super::{
    flow,
    frame::{Kind, Line},
    netns::Netns,
    process::Running,
    topology::{Family, Side, Topology},
};

/// How long tcpdump may take to do what it is asked.
const PATIENCE: Duration = Duration::from_secs(20);

/// How much of a frame is kept.
const KEPT: usize = 512;

/// The content of the packet that asks the reader how far it is.
const MARKER: [u8; 16] = *b"bartizan: so far";

/// One frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Frame {
    /// When it was seen, on the clock of the kernel that saw it; since 1970.
    pub time: Duration,
    /// Which gateway sent it.
    pub from: Side,
    /// What it is.
    pub kind: Kind,
    /// Its length on the line without the Ethernet header, in bytes.
    pub length: usize,
    /// How it begins: at most the first 512 bytes of the packet.
    pub packet: Vec<u8>,
}

/// How many frames of each kind were seen.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// ESP.
    pub esp: usize,
    /// TCP between the peers.
    pub peer: usize,
    /// ARP and neighbour discovery.
    pub neighbours: usize,
    /// PMTU errors.
    pub path_mtu: usize,
    /// Everything that must not be.
    pub violations: Vec<String>,
}

/// A capture that runs.
#[derive(Debug)]
pub struct Capture<'topology> {
    line: &'topology Netns,
    tcpdump: Running,
    complaints: BufReader<ChildStderr>,
    reader: Option<JoinHandle<Vec<Frame>>>,
    marks: Receiver<()>,
}

impl<'topology> Capture<'topology> {
    /// Starts to capture on the line; when this returns, nothing is missed any more.
    ///
    /// # Panics
    /// If tcpdump cannot be run.
    pub fn start(topology: &'topology Topology, peer_port: u16) -> Self {
        let line = Line {
            gateways: Side::BOTH
                .into_iter()
                .flat_map(|side| [side.wan(Family::V4), side.wan(Family::V6)])
                .collect(),
            peer_port,
        };
        let ports = ports(&topology.wan);
        let mut command = Command::new("tcpdump");
        command
            .args([
                "-i",
                "any",
                "-y",
                "LINUX_SLL2",
                "-Q",
                "in",
                "-n",
                "-U",
                "--immediate-mode",
            ])
            // The kernel keeps room for the longest frame it may hand over: without a limit few fit into its buffer.
            .args(["-s", "1024", "-B", "65536", "-Z", "root", "-w", "-"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut tcpdump = topology.wan.enter(|| Running::spawn(&mut command));
        let pipe = tcpdump.child().stdout.take().expect("a pipe from tcpdump");
        let complaints = tcpdump.child().stderr.take().expect("a pipe from tcpdump");
        let mut complaints = BufReader::new(complaints);
        let mut said = String::new();
        while !said.contains("listening on") {
            let length = complaints.read_line(&mut said).expect("read from tcpdump");
            assert!(length > 0, "tcpdump ended: {said}");
        }
        let (sender, marks) = channel();
        let reader = std::thread::spawn(move || read(BufReader::new(pipe), &line, &ports, &sender));
        let capture = Self {
            line: &topology.wan,
            tcpdump,
            complaints,
            reader: Some(reader),
            marks,
        };
        capture.catch_up();
        capture
    }

    /// Ends it.
    ///
    /// # Panics
    /// If a frame was missed.
    pub fn stop(mut self) -> Vec<Frame> {
        self.catch_up();
        self.tcpdump.signal(Signal::INT);
        let status = self
            .tcpdump
            .wait(PATIENCE)
            .expect("tcpdump ends when it is told to");
        let mut said = String::new();
        self.complaints
            .read_to_string(&mut said)
            .expect("read from tcpdump");
        assert!(status.success(), "tcpdump ended with {status}: {said}");
        assert!(
            said.contains("\n0 packets dropped by kernel"),
            "frames were missed: {said}"
        );
        let reader = self.reader.take().expect("a capture is stopped once");
        reader
            .join()
            .unwrap_or_else(|panicked| std::panic::resume_unwind(panicked))
    }

    /// Returns when all that was on the line before the call has been read.
    fn catch_up(&self) {
        self.line.enter(|| {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("bind on the loopback");
            let to_itself = socket.local_addr().expect("a bound socket has an address");
            socket
                .send_to(&MARKER, to_itself)
                .expect("send on the loopback");
        });
        self.marks
            .recv_timeout(PATIENCE)
            .expect("tcpdump sees every packet");
    }
}

/// Counts the frames of each kind.
pub fn count(frames: &[Frame]) -> Counts {
    let mut counts = Counts::default();
    for frame in frames {
        match &frame.kind {
            Kind::Esp { .. } => counts.esp += 1,
            Kind::Peer => counts.peer += 1,
            Kind::Arp | Kind::NeighbourDiscovery => counts.neighbours += 1,
            Kind::PathMtu => counts.path_mtu += 1,
            Kind::Violation(what) => counts
                .violations
                .push(format!("from {:?}: {what}", frame.from)),
        }
    }
    counts
}

/// Counts the frames of each kind; nothing else and nothing of a flow's content may be among them.
///
/// # Panics
/// If it is.
pub fn assert_nothing_clear(frames: &[Frame]) -> Counts {
    let counts = count(frames);
    assert!(
        counts.violations.is_empty(),
        "{} packets that may not be: {:#?}",
        counts.violations.len(),
        counts.violations.iter().take(10).collect::<Vec<_>>()
    );
    let clear = frames.iter().find(|frame| {
        let mut windows = frame.packet.windows(flow::MARKER.len());
        windows.any(|window| window == flow::MARKER)
    });
    assert_eq!(clear, None, "a flow's packet in clear");
    counts
}

/// The interface numbers of the bridge's ports.
fn ports(wan: &Netns) -> BTreeMap<u32, Side> {
    let number = |side: Side| {
        let printed = wan.run("ip", &["-json", "link", "show", "dev", side.letter()]);
        let links: serde_json::Value = serde_json::from_str(&printed).expect("JSON from ip");
        let number = links[0]["ifindex"].as_u64().expect("an interface's number");
        u32::try_from(number).expect("an interface's number")
    };
    Side::BOTH
        .into_iter()
        .map(|side| (number(side), side))
        .collect()
}

/// Reads tcpdump's output to its end. Layout: pcap-savefile(5), `LINKTYPE_LINUX_SLL2`.
fn read(
    mut pcap: impl Read,
    line: &Line,
    ports: &BTreeMap<u32, Side>,
    marks: &Sender<()>,
) -> Vec<Frame> {
    let mut header = [0; 24];
    pcap.read_exact(&mut header).expect("a header from tcpdump");
    assert_eq!(
        header.get(..4),
        Some(&0xa1b2_c3d4_u32.to_le_bytes()[..]),
        "a pcap file of this machine"
    );
    let mut frames = Vec::new();
    let mut record = [0; 16];
    while pcap.read_exact(&mut record).is_ok() {
        let word =
            |at: usize| u32::from_le_bytes(*record[at..].first_chunk().expect("a whole record"));
        let captured = usize::try_from(word(8)).expect("a length");
        let original = usize::try_from(word(12)).expect("a length");
        let mut bytes = vec![0; captured];
        pcap.read_exact(&mut bytes)
            .expect("a whole frame from tcpdump");
        let (cooked, packet) = bytes.split_at_checked(20).expect("a whole cooked header");
        if packet.ends_with(&MARKER) {
            // An error: nobody waits any more.
            marks.send(()).unwrap_or_default();
            continue;
        }
        let ethertype = u16::from_be_bytes([cooked[0], cooked[1]]);
        let interface =
            u32::from_be_bytes(*cooked[4..].first_chunk().expect("a whole cooked header"));
        // The bridge itself sees broadcasts a second time.
        let Some(&from) = ports.get(&interface) else {
            continue;
        };
        frames.push(Frame {
            time: Duration::new(word(0).into(), word(4) * 1000),
            from,
            kind: line.classify(ethertype, packet),
            length: original - cooked.len(),
            packet: packet.iter().take(KEPT).copied().collect(),
        });
    }
    frames
}
