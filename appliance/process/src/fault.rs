//! Why a process ends.

use core::error::Error;
use core::fmt;
use std::borrow::Cow;
use std::process::ExitCode;

use bartizan_secret::LockError;
use rustix::io::Errno;

use crate::channel::ChannelError;

/// Exit codes, as `sysexits.h` numbers them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Exit {
    /// The command line is wrong.
    Usage = 64,
    /// A neighbour process or the service manager is gone.
    Unavailable = 69,
    /// An internal rule is broken: a bug.
    Software = 70,
    /// The kernel refused.
    OsErr = 71,
    /// A device or file cannot be read or written.
    IoErr = 74,
    /// The lease is lost: the appliance starts again, from Attesting.
    TempFail = 75,
    /// A neighbour process broke the rules of its channel.
    Protocol = 76,
    /// The process may not run like this: as root, as an unknown user, or less locked down than
    /// required.
    NoPerm = 77,
    /// The configuration is wrong.
    Config = 78,
}

impl Exit {
    /// The number.
    #[expect(clippy::as_conversions, reason = "the enum is its number")]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// What ended a process: what could not be done, why, and the exit code that says it.
#[derive(Debug)]
pub struct Fault {
    exit: Exit,
    what: Cow<'static, str>,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl Fault {
    /// A fault without a deeper cause; `what` is lower case, without a full stop.
    pub fn new(exit: Exit, what: impl Into<Cow<'static, str>>) -> Self {
        Self {
            exit,
            what: what.into(),
            cause: None,
        }
    }

    /// A fault with its cause.
    pub fn because(
        exit: Exit,
        what: impl Into<Cow<'static, str>>,
        cause: impl Error + Send + Sync + 'static,
    ) -> Self {
        Self {
            exit,
            what: what.into(),
            cause: Some(Box::new(cause)),
        }
    }

    /// The kernel refused what `what` names.
    pub fn os(what: impl Into<Cow<'static, str>>, errno: Errno) -> Self {
        Self::because(Exit::OsErr, what, errno)
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for Fault {
    /// The whole chain in one line: "cannot lock down: landlock: ...".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        let mut cause = self.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let cause = self.cause.as_deref()?;
        Some(cause)
    }
}

impl From<ChannelError> for Fault {
    fn from(error: ChannelError) -> Self {
        let exit = match &error {
            ChannelError::Closed | ChannelError::Full => Exit::Unavailable,
            ChannelError::Malformed(_) | ChannelError::TooLong | ChannelError::Beside => {
                Exit::Protocol
            }
            ChannelError::Socket(_) | ChannelError::Lock(_) => Exit::OsErr,
        };
        Self::because(exit, "channel", error)
    }
}

impl From<LockError> for Fault {
    fn from(error: LockError) -> Self {
        Self::because(Exit::OsErr, "locked memory", error)
    }
}
