//! What a socket unit asks for, as values.

use std::path::Path;

use super::{UnitError, file::read, value::check_unit};

/// How a socket is listened on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SocketKind {
    /// `ListenStream=`.
    Stream,
    /// `ListenSequentialPacket=`.
    SequentialPacket,
}

/// A socket unit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Socket {
    /// Its unit.
    pub unit: String,
    /// How and where it listens.
    pub listen: (SocketKind, String),
    /// `FileDescriptorName=`; the unit's name if there is none.
    pub name: String,
    /// `SocketUser=`.
    pub user: String,
    /// `SocketGroup=`.
    pub group: String,
    /// `SocketMode=`.
    pub mode: u32,
    /// `Backlog=`.
    pub backlog: i32,
}

impl Socket {
    /// Reads a socket unit.
    ///
    /// # Errors
    /// If it asks for what is not known here.
    pub fn read(folder: &Path, unit: &str) -> Result<Self, UnitError> {
        let mut listen = None;
        let mut socket = Self {
            unit: unit.to_owned(),
            listen: (SocketKind::Stream, String::new()),
            name: unit.to_owned(),
            user: "root".to_owned(),
            group: "root".to_owned(),
            mode: 0o666,
            backlog: 4096,
        };
        for assignment in read(folder, unit)? {
            let value = assignment.value.clone();
            let refused = || assignment.refused();
            let path = value.starts_with('/').then_some(value.clone());
            match (assignment.section.as_str(), assignment.key.as_str()) {
                ("Unit", _) => check_unit(&assignment)?,
                ("Socket", "ListenStream") => {
                    listen = Some((SocketKind::Stream, path.ok_or_else(refused)?));
                }
                ("Socket", "ListenSequentialPacket") => {
                    listen = Some((SocketKind::SequentialPacket, path.ok_or_else(refused)?));
                }
                ("Socket", "FileDescriptorName") => socket.name = value,
                ("Socket", "SocketUser") => socket.user = value,
                ("Socket", "SocketGroup") => socket.group = value,
                ("Socket", "SocketMode") => {
                    socket.mode = u32::from_str_radix(&value, 8).map_err(|_| refused())?;
                }
                ("Socket", "Backlog") => socket.backlog = value.parse().map_err(|_| refused())?,
                // The folder is made so, by whoever runs the units.
                ("Socket", "DirectoryMode") if value == "0755" => {}
                // It names the socket by Sockets= as well.
                ("Socket", "Service") => {}
                _ => return Err(refused()),
            }
        }
        socket.listen = listen.ok_or(UnitError::Absent {
            unit: unit.to_owned(),
            key: "ListenStream",
        })?;
        Ok(socket)
    }
}
