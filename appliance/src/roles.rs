//! THE table: whose process each role is, which edges there are, and in which states of the
//! appliance they are handed out.
//!
//! An edge that is not here does not exist. Adding one is a change of SECURITY.md too.

use bartizan_model::lifecycle::Lifecycle;
use bartizan_model::message::{Edge, Role};

/// The user of the supervisor's process.
pub const SUPERVISOR_USER: &str = "bartizan";

/// A role and the user of its process.
#[derive(Clone, Copy, Debug)]
pub struct RoleRow {
    /// The role.
    pub role: Role,
    /// Its user, which no other process has.
    pub user: &'static str,
    /// Whether it keeps secrets in locked memory.
    pub secrets: bool,
    /// When it is at work without any end.
    pub alone: &'static [Lifecycle],
}

/// Every role.
pub const ROLES: [RoleRow; 8] = [
    RoleRow {
        role: Role::Engine,
        user: "bartizan-engine",
        secrets: true,
        alone: &[],
    },
    RoleRow {
        role: Role::Xfrm,
        user: "bartizan-xfrm",
        secrets: true,
        alone: XFRM_ALONE,
    },
    RoleRow {
        role: Role::Control,
        user: "bartizan-control",
        secrets: false,
        alone: &[],
    },
    RoleRow {
        role: Role::Peer,
        user: "bartizan-peer",
        secrets: false,
        alone: &[],
    },
    RoleRow {
        role: Role::Qkd,
        user: "bartizan-qkd",
        secrets: true,
        alone: &[],
    },
    RoleRow {
        role: Role::Tpm,
        user: "bartizan-tpm",
        secrets: true,
        alone: TPM_ALONE,
    },
    RoleRow {
        role: Role::Bootstrap,
        user: "bartizan-bootstrap",
        secrets: false,
        alone: &[],
    },
    RoleRow {
        role: Role::Updater,
        user: "bartizan-updater",
        secrets: false,
        alone: &Lifecycle::ALL,
    },
];

/// The kernel lets pass what the state allows, though nobody gives xfrm orders.
const XFRM_ALONE: &[Lifecycle] = &[
    Lifecycle::Discovering,
    Lifecycle::Enrolling,
    Lifecycle::Quarantined,
];

/// What the TPM holds decides which state comes next.
const TPM_ALONE: &[Lifecycle] = &[Lifecycle::Factory];

/// An edge, its two roles, and the states in which they get its ends.
#[derive(Clone, Copy, Debug)]
pub struct EdgeRow {
    /// The edge.
    pub edge: Edge,
    /// Whose ends it has.
    pub between: [Role; 2],
    /// When they are handed out.
    pub granted: &'static [Lifecycle],
}

/// Until there is an owner; and in a boot that may not use the LDevID, which can report by the
/// IDevID alone.
const UNOWNED: &[Lifecycle] = &[
    Lifecycle::Discovering,
    Lifecycle::Enrolling,
    Lifecycle::Quarantined,
];

/// While the owner's key can be used.
const OWNED: &[Lifecycle] = &[
    Lifecycle::Attesting,
    Lifecycle::Attested,
    Lifecycle::Operational,
];

/// Only while a lease lives.
const LEASED: &[Lifecycle] = &[Lifecycle::Attested, Lifecycle::Operational];

/// Every edge.
pub const EDGES: [EdgeRow; 8] = [
    row(Edge::ControlEngine, Role::Control, Role::Engine, OWNED),
    row(Edge::EngineXfrm, Role::Engine, Role::Xfrm, OWNED),
    row(Edge::ControlTpm, Role::Control, Role::Tpm, OWNED),
    row(Edge::EnginePeer, Role::Engine, Role::Peer, LEASED),
    row(Edge::EngineQkd, Role::Engine, Role::Qkd, LEASED),
    row(Edge::PeerTpm, Role::Peer, Role::Tpm, LEASED),
    row(Edge::QkdTpm, Role::Qkd, Role::Tpm, LEASED),
    row(Edge::BootstrapTpm, Role::Bootstrap, Role::Tpm, UNOWNED),
];

const fn row(edge: Edge, one: Role, other: Role, granted: &'static [Lifecycle]) -> EdgeRow {
    EdgeRow {
        edge,
        between: [one, other],
        granted,
    }
}

/// The edges that a role has an end of in a state.
pub fn edges_of(role: Role, state: Lifecycle) -> impl Iterator<Item = &'static EdgeRow> {
    EDGES
        .iter()
        .filter(move |row| row.between.contains(&role) && row.granted.contains(&state))
}

/// The row of a role.
pub fn row_of(role: Role) -> Option<&'static RoleRow> {
    ROLES.iter().find(|row| row.role == role)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    /// A change of who gets what must be seen in review twice: here and in the table.
    #[test]
    fn the_ends_of_each_role_in_each_state_are_as_reviewed() {
        let mut table = String::new();
        for state in Lifecycle::ALL {
            writeln!(table, "{state:?}").unwrap();
            for RoleRow { role, alone, .. } in ROLES {
                let edges: Vec<_> = edges_of(role, state)
                    .map(|row| format!("{:?}", row.edge))
                    .collect();
                let edges = match (edges.is_empty(), alone.contains(&state)) {
                    (true, true) => "alone".to_owned(),
                    (true, false) => "-".to_owned(),
                    (false, _) => edges.join(" "),
                };
                writeln!(table, "  {role:?}: {edges}").unwrap();
            }
        }
        assert_eq!(table, include_str!("roles.txt"), "--- now:\n{table}");
    }

    #[test]
    fn the_engine_is_the_centre_and_no_remote_neighbour_reaches_the_kernel() {
        for row in EDGES {
            let centre = row.between.contains(&Role::Engine) || row.between.contains(&Role::Tpm);
            assert!(centre, "{:?}", row.edge);
            if row.between.contains(&Role::Xfrm) {
                assert!(row.between.contains(&Role::Engine), "{:?}", row.edge);
            }
        }
    }

    #[test]
    fn no_two_roles_share_a_user() {
        let mut users: Vec<_> = ROLES.iter().map(|row| row.user).collect();
        users.push(SUPERVISOR_USER);
        users.sort_unstable();
        users.dedup();
        assert_eq!(users.len(), ROLES.len() + 1);
    }
}
