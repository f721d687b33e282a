//! The listening sockets.

use core::future::poll_fn;
use core::task::Poll;
use std::io;
use std::net::SocketAddr;

use bartizan_process::{Exit, Fault};
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 64;

/// Every address that we listen at.
#[derive(Debug)]
pub(crate) struct Listeners(Vec<TcpListener>);

impl Listeners {
    /// Listens at all of these addresses.
    ///
    /// # Errors
    ///
    /// [`Fault`] if the kernel does not let us.
    pub(crate) fn open(addresses: &[SocketAddr]) -> Result<Self, Fault> {
        addresses
            .iter()
            .map(|address| {
                listen(*address).map_err(|error| {
                    Fault::because(Exit::OsErr, format!("cannot listen at {address}"), error)
                })
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Waits for the next connection.
    pub(crate) async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        poll_fn(|context| {
            for listener in &self.0 {
                if let Poll::Ready(accepted) = listener.poll_accept(context) {
                    return Poll::Ready(accepted);
                }
            }
            Poll::Pending
        })
        .await
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => {
            let socket = TcpSocket::new_v6()?;
            // The IPv4 wildcard address is listed by itself where it is wanted.
            sockopt::set_ipv6_v6only(&socket, true)?;
            socket
        }
    };
    // An address that the gateway does not have now, because its network came back or a port is
    // down, is listened at when it has it: the others go on.
    match address {
        SocketAddr::V4(_) => sockopt::set_ip_freebind(&socket, true)?,
        SocketAddr::V6(_) => sockopt::set_ipv6_freebind(&socket, true)?,
    }
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
