//! What the service manager passed: two listening sockets, and what it kept for us.

use std::os::fd::OwnedFd;

use bartizan_process::journal::{self, Level};
use bartizan_process::{Exit, Fault};
use bartizan_secret::take_inherited_fds;

use bartizan::running::{self, NAME};

use crate::restart::Restart;

/// The descriptors by their use.
#[derive(Debug)]
pub(crate) struct Inherited {
    /// Where roles connect.
    pub(crate) switchboard: OwnedFd,
    /// Where readers of the status connect.
    pub(crate) status: OwnedFd,
    /// The copy of `running` from before a restart.
    pub(crate) running: Option<OwnedFd>,
    /// The way to a restart of the machine, on a box that judges its versions.
    pub(crate) restart: Option<Restart>,
}

impl Inherited {
    /// Takes them by their names.
    pub(crate) fn take() -> Result<Self, Fault> {
        let (mut switchboard, mut status, mut running) = (None, None, None);
        for inherited in take_inherited_fds() {
            let place = match inherited.name.as_str() {
                "switchboard" => &mut switchboard,
                "status" => &mut status,
                NAME => &mut running,
                _ => {
                    journal::log(Level::Warn, format_args!("a descriptor of no known name"));
                    continue;
                }
            };
            *place = Some(inherited.fd);
        }
        Ok(Self {
            switchboard: listener(switchboard, "switchboard")?,
            status: listener(status, "status")?,
            running: running.filter(is_whole),
            restart: Restart::find()?,
        })
    }
}

/// Makes a listener non-blocking: the loop tries them all when one is ready.
fn listener(socket: Option<OwnedFd>, name: &str) -> Result<OwnedFd, Fault> {
    let missing = || format!("the service manager passes no socket named {name}");
    let socket = socket.ok_or_else(|| Fault::new(Exit::Usage, missing()))?;
    rustix::io::ioctl_fionbio(&socket, true)
        .map_err(|errno| Fault::os("cannot take a socket", errno))?;
    Ok(socket)
}

/// Says whether a stored copy may be handed on.
fn is_whole(running: &OwnedFd) -> bool {
    match running::check(running) {
        Ok(()) => true,
        Err(error) => {
            journal::log(
                Level::Warn,
                format_args!("{error}; the controller sends it again"),
            );
            false
        }
    }
}
