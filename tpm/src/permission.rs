//! Who may ask the TPM for what, and when.

use bartizan_model::identity::KeyName;
use bartizan_model::lifecycle::Lifecycle;
use bartizan_model::message::{Role, ToTpm};

/// What can be asked for, without its arguments.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Request {
    /// A signature with the `LDevID` key.
    Sign,
    /// Anything else: no row permits it yet.
    Other,
}

impl Request {
    /// Every request.
    pub const ALL: [Self; 2] = [Self::Sign, Self::Other];
}

impl From<&ToTpm> for Request {
    fn from(message: &ToTpm) -> Self {
        match message {
            ToTpm::Sign {
                key: KeyName::Ldevid,
                ..
            } => Self::Sign,
            ToTpm::Sign { .. }
            | ToTpm::Identity(_)
            | ToTpm::CreateLdevid { .. }
            | ToTpm::KeepLdevid(_)
            | ToTpm::Activate { .. }
            | ToTpm::Quote { .. }
            | ToTpm::ReadLog { .. }
            | ToTpm::RaiseFloor { .. } => Self::Other,
        }
    }
}

/// Says whether a role may ask for this in this state; what has no row is refused.
pub fn permits(role: Role, state: Lifecycle, request: Request) -> bool {
    PERMITTED
        .iter()
        .any(|row| row.role == role && row.request == request && row.states.contains(&state))
}

struct Row {
    role: Role,
    request: Request,
    states: &'static [Lifecycle],
}

const PERMITTED: &[Row] = &[
    // The call home, by which a quarantined gateway is attested again.
    Row {
        role: Role::Control,
        request: Request::Sign,
        states: &[
            Lifecycle::Attesting,
            Lifecycle::Attested,
            Lifecycle::Operational,
            Lifecycle::Quarantined,
        ],
    },
    // The links that keys come from, while a lease lives.
    Row {
        role: Role::Peer,
        request: Request::Sign,
        states: &[Lifecycle::Attested, Lifecycle::Operational],
    },
    Row {
        role: Role::Qkd,
        request: Request::Sign,
        states: &[Lifecycle::Attested, Lifecycle::Operational],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    const ROLES: [Role; 6] = [
        Role::Engine,
        Role::Xfrm,
        Role::Control,
        Role::Peer,
        Role::Qkd,
        Role::Tpm,
    ];

    /// The whole table, a state a line: a change of it is a change here.
    #[test]
    fn the_table_is_this_and_no_more() {
        let mut lines = Vec::new();
        for request in Request::ALL {
            for state in Lifecycle::ALL {
                let who: Vec<_> = ROLES
                    .into_iter()
                    .filter(|&role| permits(role, state, request))
                    .map(|role| format!("{role:?}"))
                    .collect();
                lines.push(format!("{request:?} {state:?}: {}", who.join(" ")));
            }
        }
        assert_eq!(
            lines,
            [
                "Sign Factory: ",
                "Sign Discovering: ",
                "Sign Enrolling: ",
                "Sign Attesting: Control",
                "Sign Attested: Control Peer Qkd",
                "Sign Operational: Control Peer Qkd",
                "Sign Quarantined: Control",
                "Sign Decommissioned: ",
                "Other Factory: ",
                "Other Discovering: ",
                "Other Enrolling: ",
                "Other Attesting: ",
                "Other Attested: ",
                "Other Operational: ",
                "Other Quarantined: ",
                "Other Decommissioned: ",
            ]
        );
    }
}
