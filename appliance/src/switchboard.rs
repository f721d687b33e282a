//! Who is at the door: the kernel's word on the process behind a connection.

use std::os::fd::{AsFd, OwnedFd};

use bartizan_model::message::{Role, RoleToSupervisor, SupervisorToRole};
use bartizan_process::{Channel, ChannelError};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{SocketFlags, accept_with};

use crate::users::Users;

/// The supervisor's end of its edge with a role.
pub type RoleChannel = Channel<RoleToSupervisor, SupervisorToRole>;

/// Why a connection was refused; it is closed and counted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// No role has this uid.
    #[error("no role has the uid {0}")]
    UnknownUser(u32),
    /// The role is connected already.
    #[error("a second connection of {0:?}")]
    Second(Role),
    /// The kernel gives no connection.
    #[error("cannot take a connection")]
    Socket(#[source] Errno),
    /// The kernel does not say who it is.
    #[error("a connection of nobody")]
    Nobody(#[source] Errno),
    /// The channel cannot be made.
    #[error("cannot take the connection")]
    Channel(#[from] ChannelError),
}

/// Takes the next connection, or `None` if there is none.
///
/// # Errors
///
/// [`Refused`] if it is no role's.
pub fn take(listener: impl AsFd, users: &Users) -> Result<Option<(Role, RoleChannel)>, Refused> {
    let Some(connection) = accept(listener).map_err(Refused::Socket)? else {
        return Ok(None);
    };
    let credentials = socket_peercred(&connection).map_err(Refused::Nobody)?;
    let uid = credentials.uid.as_raw();
    let role = users.role(uid).ok_or(Refused::UnknownUser(uid))?;
    Ok(Some((role, Channel::new(connection)?)))
}

/// Takes a connection from a listener that does not block.
///
/// # Errors
///
/// The kernel's [`Errno`].
pub fn accept(listener: impl AsFd) -> Result<Option<OwnedFd>, Errno> {
    match accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
        Ok(connection) => Ok(Some(connection)),
        Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => Ok(None),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use rustix::net::{
        AddressFamily, SocketAddrUnix, SocketType, bind, connect, listen, socket_with,
    };

    use super::*;
    use crate::roles::ROLES;

    struct Door(OwnedFd, PathBuf);

    impl Door {
        fn open(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
            let socket = seqpacket();
            bind(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
            listen(&socket, 8).unwrap();
            rustix::io::ioctl_fionbio(&socket, true).unwrap();
            Self(socket, path)
        }

        fn knock(&self) -> OwnedFd {
            let socket = seqpacket();
            connect(&socket, &SocketAddrUnix::new(&self.1).unwrap()).unwrap();
            socket
        }
    }

    impl Drop for Door {
        fn drop(&mut self) {
            std::fs::remove_file(&self.1).unwrap();
        }
    }

    fn seqpacket() -> OwnedFd {
        let kind = (
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
        );
        socket_with(kind.0, kind.1, kind.2, None).unwrap()
    }

    /// Users of whom this process is none.
    fn users() -> Users {
        let own = rustix::process::geteuid().as_raw();
        let lines = (own.saturating_add(1)..).zip(&ROLES);
        let lines = lines.map(|(uid, row)| format!("{}:!:{uid}:0::/:/nologin", row.user));
        Users::from_passwd(&lines.collect::<Vec<_>>().join("\n")).unwrap()
    }

    #[test]
    fn a_connection_of_an_unknown_user_is_refused() {
        let door = Door::open("bartizan-unknown");
        let _knocking = door.knock();
        let own = rustix::process::geteuid().as_raw();
        let refused = take(&door.0, &users());
        assert!(matches!(refused, Err(Refused::UnknownUser(uid)) if uid == own));
        assert!(matches!(take(&door.0, &users()), Ok(None)));
    }
}
