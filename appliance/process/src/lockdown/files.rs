//! Landlock: no file at all but the supervisor's few, TCP only as far as the role's row goes, no
//! word to other processes.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus,
    PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};

use super::LockdownError;
use super::calls::Who;

/// The newest version whose rights are denied here; what a newer kernel adds is left alone until it
/// is tested.
const NEWEST: ABI = ABI::V7;

const VERSIONS: [ABI; 7] = [ABI::V1, ABI::V2, ABI::V3, ABI::V4, ABI::V5, ABI::V6, NEWEST];

/// The folders that a process keeps after its lock-down.
#[derive(Clone, Debug, Default)]
pub struct Folders {
    /// Files in them can be read. Where one does not exist yet, or something is mounted on it
    /// later, the rule is the nearest folder's above it.
    pub read: Vec<PathBuf>,
    /// Files in them can be read, made, replaced and removed.
    pub write: Vec<PathBuf>,
}

impl Folders {
    fn rules(&self) -> Result<Vec<PathBeneath<PathFd>>, LockdownError> {
        let read = AccessFs::ReadFile | AccessFs::ReadDir;
        let write = AccessFs::ReadFile
            | AccessFs::WriteFile
            | AccessFs::Truncate
            | AccessFs::MakeReg
            | AccessFs::RemoveFile;
        let above = self.read.iter().filter_map(|folder| above(folder));
        let above = above.map(|folder| (folder, read));
        let own = self.write.iter().map(|folder| (folder.as_path(), write));
        above
            .chain(own)
            .map(|(folder, access)| {
                let folder = PathFd::new(folder).map_err(LockdownError::Folder)?;
                Ok(PathBeneath::new(folder, access))
            })
            .collect()
    }
}

/// The nearest folder above that exists: a rule on a mount point does not count for what is mounted
/// on it later. None where that is the root.
fn above(folder: &Path) -> Option<&Path> {
    let mut above = folder.ancestors().skip(1);
    let nearest = above.find(|folder| folder.is_dir())?;
    nearest.parent().map(|_| nearest)
}

/// Denies, as far as the kernel can, and returns the Landlock version in force; 0 is none.
pub(super) fn deny(process: Who, folders: &Folders) -> Result<u8, LockdownError> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?;
    let ports = denied_ports(process);
    if !ports.is_empty() {
        ruleset = ruleset.handle_access(ports)?;
    }
    let mut ruleset = ruleset.create()?;
    for rule in folders.rules()? {
        ruleset = ruleset.add_rule(rule)?;
    }
    let status = ruleset.restrict_self()?;
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
                    deny(process, &Folders::default()).unwrap(),
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

    #[test]
    fn the_supervisor_keeps_its_folders_and_nothing_beside_them() {
        let root = std::env::temp_dir().join(format!("bartizan-folders-{}", std::process::id()));
        let [state, leases, other] = ["state", "netif/leases", "other"].map(|name| root.join(name));
        for folder in [&state, &leases, &other] {
            std::fs::create_dir_all(folder).unwrap();
        }
        std::fs::write(leases.join("2"), "DNS=192.0.2.1").unwrap();
        std::fs::write(other.join("file"), "text").unwrap();
        let folders = Folders {
            read: vec![leases.clone()],
            write: vec![state.clone()],
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                deny(Who::SUPERVISOR, &folders).unwrap();
                std::fs::write(state.join("new"), "text").unwrap();
                std::fs::rename(state.join("new"), state.join("whole")).unwrap();
                std::fs::remove_file(state.join("whole")).unwrap();
                assert_eq!(read_dir(&leases).unwrap().count(), 1);
                std::fs::read(leases.join("2")).unwrap();
                for refused in [
                    std::fs::write(leases.join("2"), "x"),
                    std::fs::remove_file(leases.join("2")),
                    std::fs::read(other.join("file")).map(drop),
                    std::fs::write(other.join("new"), "x"),
                    std::fs::create_dir(state.join("folder")),
                ] {
                    let kind = refused.map_err(|error| error.kind());
                    assert_eq!(kind, Err(ErrorKind::PermissionDenied));
                }
            });
        });
        std::fs::remove_dir_all(root).unwrap();
    }
}
