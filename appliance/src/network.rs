//! The site's network, as systemd-networkd reads it (`systemd.network(5)`).
//!
//! Every value is of a type that cannot say more than it should: nothing of an owner's text gets
//! into these files.

use core::fmt::Write as _;

use bartizan_model::ownership::{Interface, Port, SiteNetwork};

use crate::folder::{Folder, FolderError};
use crate::trial::Change;

/// The folder of it, in the state folder.
pub const FOLDER: &str = "network";

/// What is written last: who watches it tells networkd to read the files again.
pub const CHANGED: &str = "changed";

/// The network that was found to work, and the one that was not.
const SETTLED: &str = "settled.json";
const REFUSED: &str = "refused.json";

/// The most bytes of either.
const DOCUMENT_MAX: u64 = 64 * 1024;

const PORTS: [Port; 4] = [Port::Mgmt0, Port::Wan0, Port::Lan0, Port::Qkd0];

/// The folder, open.
#[derive(Debug)]
pub struct NetworkFolder(Folder);

impl NetworkFolder {
    /// Takes the folder.
    pub fn new(folder: Folder) -> Self {
        Self(folder)
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
    pub fn refused(&self) -> Result<Option<SiteNetwork>, FolderError> {
        self.document(REFUSED)
    }

    /// Does what the trial asks for.
    ///
    /// # Errors
    ///
    /// [`FolderError`].
    pub fn carry_out(&self, change: &Change) -> Result<(), FolderError> {
        match change {
            Change::Apply(network) => self.apply(network.as_ref()),
            Change::Settle(network) => {
                self.put(SETTLED, network)?;
                self.0.remove([REFUSED])
            }
            Change::Refuse(network) => self.put(REFUSED, network),
            Change::Forget => self.0.remove([SETTLED, REFUSED]),
        }
    }

    /// Writes a file for each port that the network speaks of, and removes the others'.
    fn apply(&self, network: Option<&SiteNetwork>) -> Result<(), FolderError> {
        for port in PORTS {
            let name = format!("{}.network", name(port));
            let text = network.and_then(|network| file(network, port));
            match text {
                Some(text) => self.0.write(&name, text.as_bytes())?,
                None => self.0.remove([name.as_str()])?,
            }
        }
        self.0.write(CHANGED, b"")
    }

    fn document(&self, name: &str) -> Result<Option<SiteNetwork>, FolderError> {
        let bytes = self.0.read(name, DOCUMENT_MAX)?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    fn put(&self, name: &str, network: &SiteNetwork) -> Result<(), FolderError> {
        let bytes = serde_json::to_vec(network).map_err(FolderError::unworded)?;
        self.0.write(name, &bytes)
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
