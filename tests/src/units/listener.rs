//! Socket activation: what listens before the first service starts.

use std::{fs, io, os::fd::OwnedFd, path::Path};

use rustix::{
    fs::{Gid, Mode, Uid, chmod, chown},
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with},
};

use super::{
    UnitError,
    accounts::Accounts,
    socket::{Socket, SocketKind},
};

/// Listens as a socket unit asks.
pub(super) fn listen_on(unit: &Socket, accounts: &Accounts) -> Result<OwnedFd, UnitError> {
    let (kind, path) = &unit.listen;
    let kind = match kind {
        SocketKind::Stream => SocketType::STREAM,
        SocketKind::SequentialPacket => SocketType::SEQPACKET,
    };
    let (user, group) = (accounts.user(&unit.user)?, accounts.group(&unit.group)?);
    let path = Path::new(path);
    let listening = || -> io::Result<OwnedFd> {
        // One left by a service manager before this one would be in the way.
        match fs::remove_file(path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
            Ok(()) | Err(_) => {}
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, kind, flags, None)?;
        bind(&socket, &SocketAddrUnix::new(path)?)?;
        chown(path, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?;
        chmod(path, Mode::from_raw_mode(unit.mode))?;
        listen(&socket, unit.backlog)?;
        Ok(socket)
    };
    listening().map_err(|cause| UnitError::Listen {
        path: path.to_owned(),
        cause,
    })
}
