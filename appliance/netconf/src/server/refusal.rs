//! The engine's refusals, as the controller is told them.

use bartizan_model::ids::EntryName;
use bartizan_model::message::{EditRefusal, LeaseRefusal};

use crate::attestation::order_error;
use crate::edit::lease_error;
use crate::error::{ErrorTag, ErrorType, RpcError};
use crate::path::Path;
use crate::schema::{IPSEC_IKELESS, SPD, SPD_ENTRY};
use crate::tree::Tree;

/// What the controller is told of a refused edit, with the way to the leaf at fault.
pub(crate) fn edit(refusal: EditRefusal, entry: &EntryName) -> RpcError {
    use EditRefusal as R;
    use ErrorTag as T;

    const SELECTOR: &[&str] = &["ipsec-policy-config", "traffic-selector"];
    const PEER: &[&str] = &["hybrid-keying", "peer-node"];
    let (tag, app_tag, way, message): (_, _, &[&str], _) = match refusal {
        R::ReqidTaken => (
            T::InvalidValue,
            "reqid-taken",
            &["reqid"],
            "another entry of the direction has this reqid",
        ),
        R::SelectorTaken => (
            T::InvalidValue,
            "selector-taken",
            SELECTOR,
            "another entry of the direction has this selector",
        ),
        R::NotMirrored => (
            T::InvalidValue,
            "not-mirrored",
            &[],
            "the two entries of this reqid are not each other's mirror",
        ),
        R::TunnelTaken => (
            T::InvalidValue,
            "tunnel-taken",
            &["hybrid-keying", "tunnel-id"],
            "another tunnel with the peer has this number",
        ),
        R::HalfTunnel => (
            T::DataMissing,
            "half-tunnel",
            &[],
            "no entry of the other direction has this reqid",
        ),
        R::PeerIsSelf => (
            T::InvalidValue,
            "peer-is-self",
            PEER,
            "the peer is this gateway",
        ),
        R::PeerContradicts => (
            T::InvalidValue,
            "peer-contradicts",
            PEER,
            "another entry says otherwise of this peer",
        ),
        R::NoSource => (
            T::InvalidValue,
            "no-source",
            &["hybrid-keying"],
            "a key needs a source",
        ),
        R::TooMany => (
            T::ResourceDenied,
            "entries",
            &[],
            "the gateway has no room for so many entries",
        ),
        R::NotBegun => {
            // Control numbers its edits itself.
            let message = "the engine does not know the edit";
            return RpcError::new(ErrorType::Application, T::OperationFailed, message);
        }
        R::NotAttested => {
            return RpcError::new(
                ErrorType::Application,
                T::AccessDenied,
                "no lease is live, so nothing may be steered",
            )
            .app_tag("not-attested")
            .at(Path::root(&IPSEC_IKELESS).render());
        }
    };
    RpcError::new(ErrorType::Application, tag, message)
        .app_tag(app_tag)
        .at(way_into(entry, way))
}

/// What the controller is told of a refused lease.
pub(crate) fn lease(refusal: LeaseRefusal) -> RpcError {
    let (app_tag, message) = signed(refusal);
    lease_error(ErrorTag::InvalidValue, message).app_tag(app_tag)
}

/// What the controller is told of a refused order.
pub(crate) fn order(refusal: LeaseRefusal) -> RpcError {
    let (app_tag, message) = signed(refusal);
    order_error(ErrorTag::InvalidValue, message).app_tag(app_tag)
}

/// What is wrong with something that the verifier should have signed.
fn signed(refusal: LeaseRefusal) -> (&'static str, &'static str) {
    use LeaseRefusal as R;

    match refusal {
        R::Malformed => ("malformed", "not what the verifier signs"),
        R::Signature => (
            "signature",
            "two good signatures of the verifier are asked for",
        ),
        R::OtherDevice => ("other-device", "it is for another gateway"),
        R::Nonce => ("nonce", "it does not carry the outstanding nonce"),
        R::Times => ("times", "the lease ends before it begins, or too late"),
        R::Status => ("status", "the verifier does not affirm"),
    }
}

fn way_into(entry: &EntryName, steps: &[&str]) -> String {
    let mut named = Tree::empty(&SPD_ENTRY);
    named.set("name", entry);
    let root = Path::root(&IPSEC_IKELESS);
    let spd = Path::child(&root, &SPD, &[]);
    let entry = Path::child(&spd, &SPD_ENTRY, named.children());
    descend(&entry, steps)
}

fn descend(way: &Path<'_>, steps: &[&str]) -> String {
    let next = steps
        .split_first()
        .and_then(|(step, rest)| Some((way.node().child(step)?, rest)));
    match next {
        Some((node, rest)) => descend(&Path::child(way, node, &[]), rest),
        None => way.render(),
    }
}
