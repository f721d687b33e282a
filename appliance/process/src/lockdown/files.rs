//! Landlock: no file at all, TCP only as far as the role's row goes, no word to other processes.

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, Ruleset,
    RulesetAttr, RulesetStatus, Scope,
};

use super::LockdownError;
use super::calls::Who;

/// The newest version whose rights are denied here; what a newer kernel adds is left alone until it
/// is tested.
const NEWEST: ABI = ABI::V7;

const VERSIONS: [ABI; 7] = [ABI::V1, ABI::V2, ABI::V3, ABI::V4, ABI::V5, ABI::V6, NEWEST];

/// Denies, as far as the kernel can, and returns the Landlock version in force; 0 is none.
pub(super) fn deny(process: Who) -> Result<u8, LockdownError> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?;
    let ports = denied_ports(process);
    if !ports.is_empty() {
        ruleset = ruleset.handle_access(ports)?;
    }
    let status = ruleset.create()?.restrict_self()?;
    let enforced = match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _)
        | (_, LandlockStatus::NotEnabled | LandlockStatus::NotImplemented) => ABI::Unsupported,
        (_, LandlockStatus::Available { effective_abi, .. }) => effective_abi,
    };
    let version = VERSIONS
        .iter()
        .filter(|version| **version <= enforced)
        .count();
    Ok(u8::try_from(version).unwrap_or_default())
}

/// What of TCP the process does without: peer is dialled and dials, control and qkd only dial.
fn denied_ports(process: Who) -> BitFlags<AccessNet> {
    if process == Who::PEER {
        BitFlags::empty()
    } else if process == Who::CONTROL || process == Who::QKD || process == Who::BOOTSTRAP {
        AccessNet::BindTcp.into()
    } else {
        AccessNet::from_all(NEWEST)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, read_dir};
    use std::io::ErrorKind;
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    use super::*;

    /// Landlock binds one thread, so each case is a thread of its own.
    fn denied<T: Send>(process: Who, act: impl FnOnce() -> std::io::Result<T> + Send) -> bool {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                assert_eq!(
                    deny(process).unwrap(),
                    7,
                    "this kernel has an older Landlock"
                );
                act().err().map(|error| error.kind()) == Some(ErrorKind::PermissionDenied)
            });
            thread.join().unwrap()
        })
    }

    #[test]
    fn no_file_can_be_opened_read_or_made() {
        for process in [Who::ENGINE, Who::PEER, Who::SUPERVISOR] {
            assert!(denied(process, || File::open("/etc/passwd")));
            assert!(denied(process, || read_dir("/")));
            assert!(denied(process, || File::create("/tmp/bartizan-landlock")));
        }
    }

    #[test]
    fn tcp_goes_as_far_as_the_role() {
        let dial = || match TcpStream::connect((Ipv4Addr::LOCALHOST, 1)) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
            other => other.map(drop),
        };
        let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        for process in [Who::ENGINE, Who::XFRM, Who::TPM, Who::SUPERVISOR] {
            assert!(denied(process, dial) && denied(process, listen));
        }
        for process in [Who::CONTROL, Who::QKD] {
            assert!(!denied(process, dial) && denied(process, listen));
        }
        assert!(!denied(Who::PEER, dial) && !denied(Who::PEER, listen));
    }
}
