//! Stands before a swtpm, which takes one client at a time: several processes may use it, as they
//! may a kernel's device, and every command is counted.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use bartizan_tests::pki::LoopbackTpm;

/// Command codes (TPM 2.0 Library, Part 2, 6.5.2).
pub(crate) mod command {
    pub(crate) const CERTIFY: u32 = 0x148;
    pub(crate) const GET_CAPABILITY: u32 = 0x17a;
    pub(crate) const LOAD_EXTERNAL: u32 = 0x167;
    pub(crate) const QUOTE: u32 = 0x158;
    pub(crate) const SIGN: u32 = 0x15d;
    pub(crate) const VERIFY_SIGNATURE: u32 = 0x177;
}

/// What passed so far.
#[derive(Debug, Default)]
struct Passed {
    /// How often each command was sent.
    counts: BTreeMap<u32, usize>,
    /// Commands and responses, one after the other.
    bytes: Vec<u8>,
}

/// Accepts until the test ends.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    passed: Arc<Mutex<Passed>>,
}

/// What of the TPM is kept from its users.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Hidden {
    Nothing,
    /// That it has the curve P-384.
    P384,
}

impl Proxy {
    pub(crate) fn before(swtpm: &LoopbackTpm, hidden: Hidden) -> Self {
        let behind: u16 = swtpm.tcti().rsplit_once('=').unwrap().1.parse().unwrap();
        let (commands, control) = two_listeners();
        let port = commands.local_addr().unwrap().port();
        let passed = Arc::default();
        let passing = Arc::clone(&passed);
        // One command at a time, whoever sends it.
        let swtpm = Arc::new(Mutex::new(connect(behind)));
        std::thread::spawn(move || {
            for client in commands.incoming() {
                let (client, swtpm) = (client.unwrap(), Arc::clone(&swtpm));
                let passed = Arc::clone(&passing);
                std::thread::spawn(move || pass_commands(client, &swtpm, &passed, hidden));
            }
        });
        std::thread::spawn(move || {
            for client in control.incoming() {
                let (client, swtpm) = (client.unwrap(), connect(behind + 1));
                std::thread::spawn(move || pass(client, swtpm));
            }
        });
        Self { port, passed }
    }

    /// Its name for the TPM's library.
    pub(crate) fn tcti(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.port)
    }

    /// How often this command was sent so far.
    pub(crate) fn count(&self, command: u32) -> usize {
        let passed = self.passed.lock().unwrap();
        passed.counts.get(&command).copied().unwrap_or_default()
    }

    /// Whether these bytes went to the TPM or came from it.
    pub(crate) fn passed(&self, bytes: &[u8]) -> bool {
        let passed = self.passed.lock().unwrap();
        passed
            .bytes
            .windows(bytes.len())
            .any(|window| window == bytes)
    }
}

fn pass_commands(
    mut client: TcpStream,
    swtpm: &Mutex<TcpStream>,
    passed: &Mutex<Passed>,
    hidden: Hidden,
) {
    while let Some(command) = message(&mut client) {
        let code = u32::from_be_bytes(command[6..10].try_into().unwrap());
        {
            let mut passed = passed.lock().unwrap();
            *passed.counts.entry(code).or_default() += 1;
            passed.bytes.extend(&command);
        }
        let mut swtpm = swtpm.lock().unwrap();
        if swtpm.write_all(&command).is_err() {
            return;
        }
        let Some(mut response) = message(&mut swtpm) else {
            return;
        };
        if hidden == Hidden::P384 && code == command::GET_CAPABILITY {
            hide_p384(&command, &mut response);
        }
        passed.lock().unwrap().bytes.extend(&response);
        if client.write_all(&response).is_err() {
            return;
        }
    }
}

/// Says P-521 where the list of curves from P-384 on begins with that (Part 3, 30.2).
fn hide_p384(command: &[u8], response: &mut [u8]) {
    let (curves, p384, p521) = (8_u32.to_be_bytes(), 4_u32.to_be_bytes(), [0, 5]);
    if command[10..18] == [curves, p384].concat() && response[19..21] == p384[2..] {
        response[19..21].copy_from_slice(&p521);
    }
}

/// A command or a response: tag, size of the whole, code. `None` at the end.
fn message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut message = vec![0; 10];
    stream.read_exact(&mut message).ok()?;
    let size = u32::from_be_bytes(message[2..6].try_into().unwrap());
    message.resize(usize::try_from(size).unwrap(), 0);
    stream.read_exact(&mut message[10..]).ok()?;
    Some(message)
}

/// Passes bytes both ways until one end closes.
fn pass(client: TcpStream, swtpm: TcpStream) {
    let back = (swtpm.try_clone().unwrap(), client.try_clone().unwrap());
    let backwards = std::thread::spawn(move || copy(back));
    copy((client, swtpm));
    backwards.join().unwrap();
}

fn copy((mut from, mut to): (TcpStream, TcpStream)) {
    // Whoever hangs up ends both ways.
    drop(std::io::copy(&mut from, &mut to));
    drop(to.shutdown(std::net::Shutdown::Both));
    drop(from.shutdown(std::net::Shutdown::Both));
}

fn connect(port: u16) -> TcpStream {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap()
}

fn two_listeners() -> (TcpListener, TcpListener) {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    loop {
        let first = bind(0).unwrap();
        let next = first.local_addr().unwrap().port().checked_add(1);
        if let Some(Ok(second)) = next.map(bind) {
            return (first, second);
        }
    }
}
