//! A steady flow of numbered packets both ways, and what became of it.

use core::net::{IpAddr, SocketAddr};
use std::{
    io::ErrorKind,
    net::UdpSocket,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force};
use serde::{Deserialize, Serialize};

use super::{netns::Netns, process::readable};

/// What every packet of a flow begins with: to be searched for where it must not be.
pub const MARKER: [u8; 16] = *b"bartizan: clear!";

/// How long an end waits for the other's last word.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it repeats its own until it is answered.
const REPEAT: Duration = Duration::from_millis(50);

/// How a flow is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pace {
    /// Packets a second, each way.
    pub per_second: u32,
    /// Bytes of UDP content a packet, at least 32.
    pub size: usize,
}

/// What one end saw of the other's packets.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Arrivals {
    /// How many the other end sent; 0 if it never said so.
    pub sent: u64,
    /// How many of them came.
    pub received: u64,
    /// How many never came.
    pub lost: u64,
    /// How many came after one with a higher number.
    pub reordered: u64,
    /// How many came again.
    pub duplicated: u64,
    /// The longest time between two arrivals, in milliseconds.
    pub longest_gap_ms: u64,
    /// How many of its own packets this end could not even send.
    pub unsent: u64,
    /// Whether the other end's last word came.
    pub complete: bool,
}

/// The flow between two hosts.
#[derive(Debug)]
pub struct Flow {
    ends: [End; 2],
}

/// One end that sends and receives until it is stopped.
#[derive(Debug)]
pub struct End {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Arrivals>,
}

/// The number of an end's last word, which tells how many packets it has sent.
const LAST: u64 = 0;
/// The number of the answer to it.
const HEARD: u64 = u64::MAX;

/// How many packets are sent at once at most, when sending was late.
const MOST_AT_ONCE: u32 = 50;

/// Enough for the packets of many seconds in which a loaded machine lets nobody read, in bytes.
const RECEIVE_BUFFER: usize = 4 << 20;

/// How long after the other end's last word its packets may still come.
const STRAGGLERS: Duration = Duration::from_secs(2);

impl Flow {
    /// Starts a flow between two addresses, each in its own namespace, on UDP port `port` at both ends.
    pub fn start(ends: [(&Netns, IpAddr); 2], port: u16, pace: Pace) -> Self {
        let [first, second] = ends.map(|(_, address)| SocketAddr::new(address, port));
        // Both are bound before one sends.
        let sockets = [
            (ends[0].0.enter(|| bind(first)), second),
            (ends[1].0.enter(|| bind(second)), first),
        ];
        Self {
            ends: sockets.map(|(socket, remote)| End::start(socket, remote, pace)),
        }
    }

    /// Stops it: what the first end saw of the second's packets, and the other way round.
    pub fn stop(self) -> [Arrivals; 2] {
        for end in &self.ends {
            end.stop.store(true, Ordering::Relaxed);
        }
        self.ends.map(End::stop)
    }
}

/// Lets a flow go on for `time`: that is the thing measured, never a wait for an event.
pub fn let_pass(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}

impl Arrivals {
    /// Whether all that was sent came, and something was.
    pub fn is_whole(&self) -> bool {
        self.complete && self.received > 0 && self.lost == 0 && self.unsent == 0
    }
}

impl End {
    /// Starts to send to `remote`.
    ///
    /// # Panics
    /// If the packets are to be too short for their numbers.
    pub fn start(socket: UdpSocket, remote: SocketAddr, pace: Pace) -> Self {
        assert!(
            pace.size >= 32 && pace.per_second > 0,
            "a pace that can be kept"
        );
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let thread = std::thread::spawn(move || Sending::new(socket, remote, pace).until(&asked));
        Self { stop, thread }
    }

    /// Stops to send, exchanges the last words and tells what came.
    pub fn stop(self) -> Arrivals {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .unwrap_or_else(|panicked| std::panic::resume_unwind(panicked))
    }
}

/// Binds an end's socket, in the namespace of the calling thread.
///
/// # Panics
/// If the address is not there.
pub fn bind(local: SocketAddr) -> UdpSocket {
    let socket =
        UdpSocket::bind(local).unwrap_or_else(|cause| panic!("cannot bind {local}: {cause}"));
    socket
        .set_nonblocking(true)
        .expect("make a socket non-blocking");
    // Without the privilege it is as long as the machine allows.
    if set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER).is_err() {
        set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER).expect("lengthen a receive buffer");
    }
    socket
}

struct Sending {
    socket: UdpSocket,
    /// Until the socket is connected to it, which a policy that blocks refuses.
    remote: Option<SocketAddr>,
    pace: Pace,
    packet: Vec<u8>,
    sent: u64,
    arrivals: Arrivals,
    /// One bit a number that has arrived.
    seen: Vec<bool>,
    highest: u64,
    last_arrival: Option<Instant>,
    last_word: Option<Instant>,
    heard: bool,
}

impl Sending {
    fn new(socket: UdpSocket, remote: SocketAddr, pace: Pace) -> Self {
        let mut packet = vec![0; pace.size];
        packet[..16].copy_from_slice(&MARKER);
        Self {
            socket,
            remote: Some(remote),
            pace,
            packet,
            sent: 0,
            arrivals: Arrivals::default(),
            seen: Vec::new(),
            highest: 0,
            last_arrival: None,
            last_word: None,
            heard: false,
        }
    }

    fn until(mut self, stop: &AtomicBool) -> Arrivals {
        let interval = Duration::from_secs(1) / self.pace.per_second;
        let mut next = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            // After a rest of the whole machine the flow goes on; it does not make up for it with a flood.
            next = next.max(
                Instant::now()
                    .checked_sub(interval * MOST_AT_ONCE)
                    .unwrap_or(next),
            );
            while next <= Instant::now() {
                match self.send(self.sent + 1) {
                    Ok(()) => self.sent += 1,
                    Err(_) => self.arrivals.unsent += 1,
                }
                next += interval;
            }
            self.receive_until(next);
        }
        self.close();
        self.arrivals.lost = self.arrivals.sent.saturating_sub(self.arrivals.received);
        self.arrivals
    }

    fn close(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline && !self.done() {
            // A refusal says that the other end has gone: it had heard all it wanted.
            if self.send(LAST) == Err(ErrorKind::ConnectionRefused) {
                self.heard = true;
            }
            self.receive_until((Instant::now() + REPEAT).min(deadline));
        }
        self.arrivals.complete = self.last_word.is_some();
    }

    fn done(&self) -> bool {
        let all_came = self.last_word.is_some_and(|time| {
            self.arrivals.received >= self.arrivals.sent || time.elapsed() > STRAGGLERS
        });
        all_came && self.heard
    }

    /// A packet: the marker, its number, how many were sent so far, zeroes.
    fn send(&mut self, number: u64) -> Result<(), ErrorKind> {
        self.packet[16..24].copy_from_slice(&number.to_be_bytes());
        self.packet[24..32].copy_from_slice(&self.sent.to_be_bytes());
        if let Some(remote) = self.remote {
            self.socket.connect(remote).map_err(|cause| cause.kind())?;
            self.remote = None;
        }
        match self.socket.send(&self.packet) {
            Ok(_) => Ok(()),
            Err(cause) => Err(cause.kind()),
        }
    }

    fn receive_until(&mut self, deadline: Instant) {
        let mut buffer = vec![0; 65536];
        while readable(&self.socket, deadline) {
            match self.socket.recv(&mut buffer) {
                Ok(length) => self.received(&buffer[..length]),
                Err(cause) if cause.kind() == ErrorKind::WouldBlock => {}
                Err(cause)
                    if cause.kind() == ErrorKind::ConnectionRefused && self.last_word.is_some() =>
                {
                    self.heard = true;
                }
                // A passing ICMP error of the line; what it cost shows in the count.
                Err(_) => {}
            }
            if self.done() {
                return;
            }
        }
    }

    fn received(&mut self, packet: &[u8]) {
        let Some((marker, rest)) = packet.split_first_chunk() else {
            return;
        };
        let Some((number, rest)) = rest.split_first_chunk() else {
            return;
        };
        let (Some(sent), true) = (rest.first_chunk(), *marker == MARKER) else {
            return;
        };
        match u64::from_be_bytes(*number) {
            LAST => {
                self.arrivals.sent = u64::from_be_bytes(*sent);
                self.last_word.get_or_insert_with(Instant::now);
                // An error: the other end repeats its last word, and this is sent again.
                self.send(HEARD).unwrap_or_default();
            }
            HEARD => self.heard = true,
            number => self.count(number),
        }
    }

    fn count(&mut self, number: u64) {
        let index = usize::try_from(number).expect("a 64-bit machine");
        if self.seen.len() <= index {
            self.seen.resize(index + 1, false);
        }
        if std::mem::replace(&mut self.seen[index], true) {
            self.arrivals.duplicated += 1;
            return;
        }
        self.arrivals.received += 1;
        if number < self.highest {
            self.arrivals.reordered += 1;
        }
        self.highest = self.highest.max(number);
        let now = Instant::now();
        if let Some(before) = self.last_arrival.replace(now) {
            let gap = u64::try_from((now - before).as_millis()).expect("a short time");
            self.arrivals.longest_gap_ms = self.arrivals.longest_gap_ms.max(gap);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        per_second: 500,
        size: 64,
    };

    fn pair() -> [(UdpSocket, SocketAddr); 2] {
        let [first, second] = [0, 1].map(|_| bind("127.0.0.1:0".parse().unwrap()));
        let addresses = [&first, &second].map(|socket| socket.local_addr().unwrap());
        [(first, addresses[1]), (second, addresses[0])]
    }

    #[test]
    fn every_packet_of_an_undisturbed_flow_is_counted() {
        let flow = Flow {
            ends: pair().map(|(socket, remote)| End::start(socket, remote, PACE)),
        };
        let_pass(Duration::from_millis(200));
        for arrivals in flow.stop() {
            assert!(arrivals.is_whole(), "{arrivals:?}");
            assert!(arrivals.received > 10, "{arrivals:?}");
            assert_eq!(arrivals.reordered + arrivals.duplicated, 0, "{arrivals:?}");
        }
    }

    #[test]
    fn a_missing_a_late_and_a_repeated_packet_are_told_apart() {
        let [first, second] = pair();
        let mut end = Sending::new(first.0, first.1, PACE);
        for number in [1, 3, 2, 3, 6] {
            end.count(number);
        }
        let mut far = Sending::new(second.0, second.1, PACE);
        far.sent = 6;
        far.send(LAST).unwrap();
        end.receive_until(Instant::now() + Duration::from_millis(100));
        assert_eq!(end.arrivals.sent, 6);
        assert_eq!(end.arrivals.received, 4);
        assert_eq!((end.arrivals.reordered, end.arrivals.duplicated), (1, 1));
    }
}
