//! The owner's side: who certifies whom, and a controller that waits for calls.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bartizan_model::report::Notice;
use bartizan_netconf::RpcError;
use bartizan_netconf::client::{Client, Data, Received, Reply, Request};
use bartizan_tests::pki::{Authority, Valid};
use bartizan_tests::testbed::boot::scratch_folder;
use bartizan_tests::testbed::process::readable;
use bartizan_tls::{Anchors, Clock, Identity, call_home_client};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConnection, StreamOwned};

/// The name in the controller's certificate.
pub(crate) const CONTROLLER: &str = "controller.example";

/// Longer than anything takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// An owner with a controller.
pub(crate) struct Owner {
    pub(crate) ca: Authority,
    listener: TcpListener,
}

/// A session that a gateway has opened.
pub(crate) struct Session {
    pub(crate) stream: StreamOwned<ClientConnection, TcpStream>,
    client: Client,
    received: VecDeque<Received>,
}

/// A folder that goes when it is dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

impl Owner {
    pub(crate) fn new() -> Self {
        Self {
            ca: Authority::new("Owner"),
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// A folder with a controller's files for another program, PEM.
    pub(crate) fn folder(&self) -> Folder {
        let folder = Folder(scratch_folder());
        self.ca.issue(&[CONTROLLER]).write(&folder.0);
        std::fs::write(folder.0.join("owner-ca.pem"), self.ca.pem()).unwrap();
        folder
    }

    /// A key with a certificate of this owner's.
    pub(crate) fn identity(&self, names: &[&str], valid: Valid) -> Identity {
        let certified = self.ca.issue_valid(names, valid);
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(certified.key().to_vec()));
        let key = rustls::crypto::aws_lc_rs::sign::any_ecdsa_type(&key).unwrap();
        Identity::new(certified.chain(), key).unwrap()
    }

    /// Takes the next call, and the hellos.
    pub(crate) fn accept(&self) -> Session {
        let identity = self.identity(&[CONTROLLER], Valid::Always);
        let mut session = self.accept_as(&identity).expect("TLS with the gateway");
        session.greeted().expect("the gateway's hello");
        session
    }

    /// Takes the next call as somebody; `None` if TLS does not stand.
    pub(crate) fn accept_as(&self, identity: &Identity) -> Option<Session> {
        let stream = self.accept_tcp();
        let anchors = Anchors::new(&[self.ca.anchor()], &Clock::system()).unwrap();
        let config = call_home_client(identity, &anchors).unwrap();
        let name = ServerName::IpAddress(stream.peer_addr().unwrap().ip().into());
        let connection = ClientConnection::new(config, name).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).ok()?;
        }
        Some(Session {
            stream,
            client: Client::new(),
            received: VecDeque::new(),
        })
    }

    /// Takes the next call, and says nothing.
    pub(crate) fn accept_tcp(&self) -> TcpStream {
        assert!(
            readable(&self.listener, Instant::now() + PATIENCE),
            "nobody calls"
        );
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }
}

impl Session {
    /// Waits for the gateway's hello.
    pub(crate) fn greeted(&mut self) -> io::Result<()> {
        let received = self.next()?;
        assert!(matches!(received, Received::Hello { .. }), "{received:?}");
        Ok(())
    }

    pub(crate) fn send(&mut self, request: &Request<'_>) {
        self.client.send(request).unwrap();
        self.flush().unwrap();
    }

    pub(crate) fn reply(&mut self) -> Result<Reply, Vec<RpcError>> {
        let received = self.next().unwrap();
        let Received::Reply { outcome, .. } = received else {
            panic!("{received:?}");
        };
        outcome
    }

    pub(crate) fn ask(&mut self, request: &Request<'_>) -> Result<Reply, Vec<RpcError>> {
        self.send(request);
        self.reply()
    }

    pub(crate) fn notice(&mut self) -> Notice {
        let received = self.next().unwrap();
        let Received::Notification { notice, .. } = received else {
            panic!("{received:?}");
        };
        *notice
    }

    fn next(&mut self) -> io::Result<Received> {
        self.flush()?;
        loop {
            if let Some(received) = self.received.pop_front() {
                return Ok(received);
            }
            let mut bytes = [0; 16 * 1024];
            let len = self.stream.read(&mut bytes)?;
            if len == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let received = self
                .client
                .receive(&bytes[..len])
                .expect("a gateway's words");
            self.received.extend(received);
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.client.output().is_empty() {
            let sent = self.stream.write(self.client.output())?;
            self.client.sent(sent);
        }
        self.stream.flush()
    }
}

pub(crate) fn data(outcome: Result<Reply, Vec<RpcError>>) -> Data {
    match outcome.unwrap() {
        Reply::Data(data) => *data,
        Reply::Ok | Reply::Evidence(_) | Reply::Log(_) => panic!("no data"),
    }
}
