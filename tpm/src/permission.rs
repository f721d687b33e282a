//! Who may ask the TPM for what, and when.

use bartizan_model::identity::{Floor, KeyName};
use bartizan_model::lifecycle::Lifecycle::{
    self, Attested, Attesting, Discovering, Enrolling, Operational, Quarantined,
};
use bartizan_model::message::{Role, ToTpm};

/// What can be asked for, without its arguments.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Request {
    /// A signature with the IDevID key.
    SignIdevid,
    /// A signature with the LDevID key.
    SignLdevid,
    /// The description of the TPM.
    Identity,
    /// A new LDevID key.
    CreateLdevid,
    /// That it stays.
    KeepLdevid,
    /// The proof of a credential.
    Activate,
    /// A quote.
    Quote,
    /// A quote that is bound to the floors.
    Attest,
    /// A part of a log.
    ReadLog,
    /// A higher floor for vouchers.
    RaiseOwnership,
    /// A higher floor for images.
    RaiseRollback,
    /// A later time.
    RaiseTime,
}

impl Request {
    /// Every request.
    pub const ALL: [Self; 12] = [
        Self::SignIdevid,
        Self::SignLdevid,
        Self::Identity,
        Self::CreateLdevid,
        Self::KeepLdevid,
        Self::Activate,
        Self::Quote,
        Self::Attest,
        Self::ReadLog,
        Self::RaiseOwnership,
        Self::RaiseRollback,
        Self::RaiseTime,
    ];
}

impl From<&ToTpm> for Request {
    fn from(message: &ToTpm) -> Self {
        match message {
            ToTpm::Sign { key, .. } => match key {
                KeyName::Idevid => Self::SignIdevid,
                KeyName::Ldevid => Self::SignLdevid,
            },
            ToTpm::Identity(_) => Self::Identity,
            ToTpm::CreateLdevid { .. } => Self::CreateLdevid,
            ToTpm::KeepLdevid(_) => Self::KeepLdevid,
            ToTpm::Activate { .. } => Self::Activate,
            ToTpm::Quote { .. } => Self::Quote,
            ToTpm::Attest { .. } => Self::Attest,
            ToTpm::ReadLog { .. } => Self::ReadLog,
            ToTpm::RaiseFloor { floor, .. } => match floor {
                Floor::Ownership => Self::RaiseOwnership,
                Floor::Rollback => Self::RaiseRollback,
                Floor::Time => Self::RaiseTime,
            },
        }
    }
}

/// Says whether a role may ask for this in this state; what has no row is refused.
pub fn permits(role: Role, state: Lifecycle, request: Request) -> bool {
    PERMITTED.iter().any(|row| {
        row.role == role && row.states.contains(&state) && row.requests.contains(&request)
    })
}

struct Row {
    role: Role,
    states: &'static [Lifecycle],
    requests: &'static [Request],
}

const PERMITTED: &[Row] = &[
    // A box that is nobody's introduces itself to bootstrap servers, and learns the time.
    Row {
        role: Role::Bootstrap,
        states: &[Discovering, Enrolling],
        requests: &[Request::Identity, Request::SignIdevid, Request::RaiseTime],
    },
    // Evidence for the registrar, and the key that it certifies.
    Row {
        role: Role::Bootstrap,
        states: &[Enrolling],
        requests: &[
            Request::Activate,
            Request::CreateLdevid,
            Request::KeepLdevid,
            Request::Quote,
            Request::ReadLog,
            Request::RaiseOwnership,
        ],
    },
    // A box that may not use its LDevID says why, and nothing else.
    Row {
        role: Role::Bootstrap,
        states: &[Quarantined],
        requests: &[
            Request::Identity,
            Request::SignIdevid,
            Request::Activate,
            Request::Quote,
            Request::ReadLog,
        ],
    },
    // The call home, by which a quarantined gateway is attested again.
    Row {
        role: Role::Control,
        states: &[Attesting, Attested, Operational, Quarantined],
        requests: &[
            Request::SignLdevid,
            Request::Quote,
            Request::Attest,
            Request::ReadLog,
        ],
    },
    // The links that keys come from, while a lease lives.
    Row {
        role: Role::Peer,
        states: &[Attested, Operational],
        requests: &[Request::SignLdevid],
    },
    Row {
        role: Role::Qkd,
        states: &[Attested, Operational],
        requests: &[Request::SignLdevid],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    const ROLES: [Role; 8] = [
        Role::Engine,
        Role::Xfrm,
        Role::Control,
        Role::Peer,
        Role::Qkd,
        Role::Tpm,
        Role::Bootstrap,
        Role::Updater,
    ];

    /// The whole table, a request a line: a change of it is a change here.
    #[test]
    fn the_table_is_this_and_no_more() {
        let mut lines = Vec::new();
        for role in ROLES {
            for state in Lifecycle::ALL {
                let what: Vec<_> = Request::ALL
                    .into_iter()
                    .filter(|&request| permits(role, state, request))
                    .map(|request| format!("{request:?}"))
                    .collect();
                if !what.is_empty() {
                    lines.push(format!("{role:?} {state:?}: {}", what.join(" ")));
                }
            }
        }
        assert_eq!(
            lines,
            [
                "Control Attesting: SignLdevid Quote Attest ReadLog",
                "Control Attested: SignLdevid Quote Attest ReadLog",
                "Control Operational: SignLdevid Quote Attest ReadLog",
                "Control Quarantined: SignLdevid Quote Attest ReadLog",
                "Peer Attested: SignLdevid",
                "Peer Operational: SignLdevid",
                "Qkd Attested: SignLdevid",
                "Qkd Operational: SignLdevid",
                "Bootstrap Discovering: SignIdevid Identity RaiseTime",
                "Bootstrap Enrolling: SignIdevid Identity CreateLdevid KeepLdevid Activate Quote \
                 ReadLog RaiseOwnership RaiseTime",
                "Bootstrap Quarantined: SignIdevid Identity Activate Quote ReadLog",
            ]
        );
    }
}
