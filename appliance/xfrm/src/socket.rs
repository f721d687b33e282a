//! neli's socket, opened as this role needs it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use bartizan_secret::{netlink_fd, set_netlink_cap_ack};
use neli::consts::socket::{Msg, NlFamily};
use neli::socket::NlSocket;
use neli::utils::Groups;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv, sockopt};

/// What the kernel may queue for us: the answers to a batch, a flood of events.
const RECEIVE_BUFFER: usize = 8 * 1024 * 1024;

/// A netlink XFRM socket.
pub(crate) struct Socket(NlSocket);

impl Socket {
    /// Opens it as a member of the multicast groups whose bits are set; needs `CAP_NET_ADMIN`.
    pub(crate) fn open(groups: u32) -> Result<Self, Errno> {
        let groups = Groups::new_bitmask(groups);
        let socket = Self(NlSocket::connect(NlFamily::Xfrm, None, groups).map_err(errno)?);
        socket.0.nonblock().map_err(errno)?;
        sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER)?;
        // Without it the kernel echoes a refused NEWSA, key and all.
        set_netlink_cap_ack(socket.as_fd())?;
        socket.0.enable_ext_ack(true).map_err(errno)?;
        Ok(socket)
    }

    /// Hands a datagram to the kernel, all or nothing.
    pub(crate) fn send(&self, datagram: &[u8]) -> Result<(), Errno> {
        self.0
            .send(datagram, Msg::empty())
            .map(|_all| ())
            .map_err(errno)
    }

    /// Takes a datagram; the length is the whole one's, also where the buffer is too small for it.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        recv(self, buffer, RecvFlags::DONTWAIT | RecvFlags::TRUNC).map(|(_filled, len)| len)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        netlink_fd(&self.0)
    }
}

impl core::fmt::Debug for Socket {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Socket").field(&self.as_fd()).finish()
    }
}

#[expect(clippy::needless_pass_by_value, reason = "an argument of `map_err`")]
fn errno(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}
