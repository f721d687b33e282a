//! The site's network, as systemd-networkd reads it (`systemd.network(5)`).
//!
//! Every value is of a type that cannot say more than it should: nothing of an owner's text gets
//! into these files.

use core::fmt::Write as _;
use std::path::PathBuf;

use bartizan_model::ownership::{Interface, Port, SiteNetwork};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::folder::{Folder, FolderError};
use crate::sources::bounded;
use crate::trial::{Change, Refused};

/// The folder of it, in the state folder.
pub const FOLDER: &str = "network";

/// What is written last, and says what the other files say: who watches it tells networkd to read
/// them again, and then leaves a copy of it as it was before.
pub const CHANGED: &str = "changed";

/// The network that was found to work, and the one that was not.
const SETTLED: &str = "settled.json";
const REFUSED: &str = "refused.json";

/// The most bytes of either.
const DOCUMENT_MAX: u64 = 64 * 1024;

const PORTS: [Port; 4] = [Port::Mgmt0, Port::Wan0, Port::Lan0, Port::Qkd0];

/// The folder, open.
#[derive(Debug)]
pub struct NetworkFolder {
    folder: Folder,
    applied: PathBuf,
}

impl NetworkFolder {
    /// Takes the folder, and where the copy of [`CHANGED`] is left that networkd has read.
    pub fn new(folder: Folder, applied: PathBuf) -> Self {
        Self { folder, applied }
    }

    /// The network that was found to work, if one was. One that cannot be read is none: the next
    /// trial finds out.
    ///
    /// # Errors
    ///
    /// [`FolderError`].
    pub fn settled(&self) -> Result<Option<SiteNetwork>, FolderError> {
        self.document(SETTLED)
    }

    /// The network that was found not to work, if one was.
    ///
    /// # Errors
    ///
    /// [`FolderError`].
    pub fn refused(&self) -> Result<Option<Refused>, FolderError> {
        self.document(REFUSED)
    }

    /// Whether networkd has read the files as they were written last.
    ///
    /// # Errors
    ///
    /// [`FolderError`] if it is not known what was written.
    pub fn is_applied(&self) -> Result<bool, FolderError> {
        let Some(written) = self.folder.read(CHANGED, DOCUMENT_MAX)? else {
            return Ok(false);
        };
        // What cannot be read is not there yet.
        let read = bounded(&self.applied, DOCUMENT_MAX);
        Ok(read.is_some_and(|read| read == written))
    }

    /// Does what the trial asks of the files.
    ///
    /// # Errors
    ///
    /// [`FolderError`].
    pub fn carry_out(&self, change: &Change) -> Result<(), FolderError> {
        match change {
            Change::Apply(network) => self.apply(network.as_ref()),
            Change::Settle(network) => {
                self.put(SETTLED, network)?;
                self.folder.remove([REFUSED])
            }
            Change::Refuse(refused) => self.put(REFUSED, refused),
            Change::Forget => self.folder.remove([SETTLED, REFUSED]),
            Change::CallAnew => Ok(()),
        }
    }

    /// Writes a file for each port that the network speaks of, and removes the others'. What
    /// networkd has read already is left alone: it would configure everything anew.
    fn apply(&self, network: Option<&SiteNetwork>) -> Result<(), FolderError> {
        let mut same = true;
        for port in PORTS {
            let name = format!("{}.network", name(port));
            let text = network.and_then(|network| file(network, port));
            let text = text.map(String::into_bytes);
            if self.folder.read(&name, DOCUMENT_MAX)? == text {
                continue;
            }
            same = false;
            match text {
                Some(text) => self.folder.write(&name, &text)?,
                None => self.folder.remove([name.as_str()])?,
            }
        }
        let bytes = serde_json::to_vec(&network).map_err(FolderError::unworded)?;
        same &= self.folder.read(CHANGED, DOCUMENT_MAX)?.as_ref() == Some(&bytes);
        if same && self.is_applied()? {
            return Ok(());
        }
        self.folder.write(CHANGED, &bytes)
    }

    fn document<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, FolderError> {
        let bytes = self.folder.read(name, DOCUMENT_MAX)?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    fn put(&self, name: &str, document: &impl Serialize) -> Result<(), FolderError> {
        let bytes = serde_json::to_vec(document).map_err(FolderError::unworded)?;
        self.folder.write(name, &bytes)
    }
}

/// The file of a port; none where the network does not speak of it.
pub fn file(network: &SiteNetwork, port: Port) -> Option<String> {
    let mut ports = network.interfaces.iter();
    let interface = ports.find(|interface| interface.port == port)?;
    let mut text = String::new();
    // Writing to memory does not fail.
    write(&mut text, network, interface).ok()?;
    Some(text)
}

fn write(text: &mut String, network: &SiteNetwork, own: &Interface) -> core::fmt::Result {
    let yes = if own.dhcp { "yes" } else { "no" };
    writeln!(text, "[Match]\nName={}\n", name(own.port))?;
    writeln!(text, "[Network]\nDHCP={yes}\nIPv6AcceptRA={yes}")?;
    for (address, length) in &own.addresses {
        writeln!(text, "Address={address}/{length}")?;
    }
    // networkd takes the servers of any interface for all; those of the first are enough.
    if network.interfaces.first() == Some(own) {
        for server in &network.dns {
            writeln!(text, "DNS={server}")?;
        }
        for server in &network.ntp {
            writeln!(text, "NTP={server}")?;
        }
    }
    for route in network.routes.iter().filter(|route| route.port == own.port) {
        let (destination, gateway) = (route.destination, route.gateway);
        writeln!(
            text,
            "\n[Route]\nDestination={destination}\nGateway={gateway}"
        )?;
    }
    Ok(())
}

fn name(port: Port) -> &'static str {
    match port {
        Port::Mgmt0 => "mgmt0",
        Port::Wan0 => "wan0",
        Port::Lan0 => "lan0",
        Port::Qkd0 => "qkd0",
    }
}
