//! What services say of themselves: `sd_notify(3)`.

use std::{
    io::IoSliceMut,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixDatagram,
    },
    path::Path,
};

use rustix::{
    fs::{Mode, chmod},
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg, sockopt::set_socket_passcred,
    },
    process::Pid,
};

/// One message of a service.
#[derive(Debug, Default)]
pub(super) struct Notice {
    /// Who sent it, as the kernel says.
    pub(super) sender: Option<Pid>,
    pub(super) ready: bool,
    pub(super) alive: bool,
    pub(super) status: Option<String>,
    /// Descriptors to keep, under the name.
    pub(super) stored: Vec<OwnedFd>,
    pub(super) forgotten: bool,
    pub(super) name: String,
}

/// Where one service sends its messages.
#[derive(Debug)]
pub(super) struct Inbox(UnixDatagram);

impl Inbox {
    pub(super) fn bind(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path)
            .unwrap_or_else(|cause| panic!("cannot bind {}: {cause}", path.display()));
        chmod(path, Mode::from_raw_mode(0o666)).expect("let every service write to its inbox");
        set_socket_passcred(&socket, true).expect("ask for the senders of messages");
        socket
            .set_nonblocking(true)
            .expect("make a socket non-blocking");
        Self(socket)
    }

    pub(super) fn next(&self) -> Option<Notice> {
        let mut bytes = [0; 4096];
        let mut space =
            [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4), ScmCredentials(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = match recvmsg(
            &self.0,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        ) {
            Ok(received) => received,
            Err(Errno::AGAIN) => return None,
            Err(cause) => panic!("cannot read a notification: {cause}"),
        };
        let mut notice = Notice::default();
        let mut descriptors = Vec::new();
        for message in ancillary.drain() {
            match message {
                RecvAncillaryMessage::ScmRights(rights) => descriptors.extend(rights),
                RecvAncillaryMessage::ScmCredentials(sender) => notice.sender = Some(sender.pid),
                _ => {}
            }
        }
        for line in String::from_utf8_lossy(&bytes[..received.bytes]).lines() {
            match line.split_once('=') {
                Some(("READY", "1")) => notice.ready = true,
                Some(("WATCHDOG", "1")) => notice.alive = true,
                Some(("STATUS", status)) => notice.status = Some(status.to_owned()),
                Some(("FDSTORE", "1")) => notice.stored.append(&mut descriptors),
                Some(("FDSTOREREMOVE", "1")) => notice.forgotten = true,
                Some(("FDNAME", name)) => name.clone_into(&mut notice.name),
                _ => {}
            }
        }
        Some(notice)
    }
}

impl AsFd for Inbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
