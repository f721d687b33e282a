//! What a gateway tells.

use bartizan_model::ids::{NodeId, Nonce};
use bartizan_model::lifecycle::Lifecycle;
use bartizan_model::policy::Policy;
use bartizan_model::report::{NetworkState, QkdReport, TunnelReport};

use crate::attestation::{read_evidence, read_log_part};
use crate::client::{ClientError, MessageId, Received, Reply};
use crate::error::RpcError;
use crate::hello::first;
use crate::limits;
use crate::namespace::Namespace;
use crate::notification;
use crate::path::Path;
use crate::policy::Entry;
use crate::qkd;
use crate::running::FIRST_PRIORITY;
use crate::schema::{
    ATTESTATION_RESPONSE, EVENT_LOGS, GATEWAY, IPSEC_IKELESS, LIFECYCLES, NETWORKS, Node, SPD,
    SPD_ENTRY, binary,
};
use crate::state;
use crate::tree::{Source, Tree, content, decode, unknown};
use crate::words::meaning;
use crate::xml::{Reader, Tag, Token};

/// What a gateway tells when it is asked for its configuration or state; what was not asked for is
/// empty.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Data {
    /// The SPD in its order; priorities count from the first.
    pub policies: Vec<Policy>,
    /// The lease in force.
    pub lease: Option<Vec<u8>>,
    /// What the next lease must carry.
    pub nonce: Option<Nonce>,
    /// The gateway.
    pub node: Option<NodeId>,
    /// Where it stands.
    pub lifecycle: Option<Lifecycle>,
    /// How its owner's network stands.
    pub network: Option<NetworkState>,
    /// Its tunnels by name.
    pub tunnels: Vec<TunnelReport>,
    /// The QKD keys that it shares with others.
    pub qkd: Vec<QkdReport>,
}

/// Reads a message; `None` if it means nothing here.
pub(crate) fn read(body: &[u8]) -> Result<Option<Received>, ClientError> {
    let mut reader = Reader::new(body)?;
    let Token::Open(tag) = first(&mut reader)? else {
        return Err(ClientError::Malformed);
    };
    let received = if tag.is(Namespace::Netconf, "rpc-reply") {
        Some(reply(&mut reader, &tag)?)
    } else if tag.is(Namespace::Notification, "notification") {
        event(&mut reader)?
    } else {
        return Err(ClientError::Malformed);
    };
    reader.end()?;
    Ok(received)
}

fn reply(reader: &mut Reader<'_>, tag: &Tag) -> Result<Received, ClientError> {
    let id = tag
        .own_attributes()
        .find(|attribute| attribute.qualified == "message-id");
    let id = id.and_then(|attribute| attribute.value.parse().ok());
    let to = MessageId(id.ok_or(ClientError::Malformed)?);
    let mut reply = None;
    let mut errors = Vec::new();
    while let Some(tag) = reader.child()? {
        match (tag.namespace, tag.name.as_str()) {
            (Some(Namespace::Netconf), "ok") => {
                reader.skip()?;
                reply = Some(Reply::Ok);
            }
            (Some(Namespace::Netconf), "data") => {
                reply = Some(Reply::Data(Box::new(data(reader)?)));
            }
            (Some(Namespace::Netconf), "rpc-error") => errors.extend(RpcError::read(reader)?),
            _ if tag.is(ATTESTATION_RESPONSE.namespace, ATTESTATION_RESPONSE.name) => {
                let evidence = read_evidence(&output(reader, &ATTESTATION_RESPONSE)?)?;
                reply = Some(Reply::Evidence(Box::new(evidence)));
            }
            _ if tag.is(EVENT_LOGS.namespace, EVENT_LOGS.name) => {
                let part = read_log_part(&output(reader, &EVENT_LOGS)?)?;
                reply = Some(Reply::Log(part));
            }
            _ => reader.skip()?,
        }
    }
    let outcome = match reply {
        Some(reply) if errors.is_empty() => Ok(reply),
        None if errors.is_empty() => return Err(ClientError::Malformed),
        _ => Err(errors),
    };
    Ok(Received::Reply { to, outcome })
}

/// Reads the output of an RPC whose tag was read.
fn output(reader: &mut Reader<'_>, node: &'static Node) -> Result<Tree, RpcError> {
    let content = content(reader, node, Path::root(node), Source::Answer)?;
    Ok(Tree::new(node, content))
}

fn data(reader: &mut Reader<'_>) -> Result<Data, ClientError> {
    let mut data = Data::default();
    while let Some(tag) = reader.child()? {
        if tag.is(IPSEC_IKELESS.namespace, IPSEC_IKELESS.name) {
            ikeless(reader, &mut data)?;
        } else if tag.is(GATEWAY.namespace, GATEWAY.name) {
            gateway(reader, &mut data)?;
        } else {
            reader.skip()?;
        }
    }
    Ok(data)
}

fn ikeless(reader: &mut Reader<'_>, data: &mut Data) -> Result<(), ClientError> {
    let root = Path::root(&IPSEC_IKELESS);
    let way = Path::child(&root, &SPD, &[]);
    while let Some(tag) = reader.child()? {
        if !tag.is(SPD.namespace, SPD.name) {
            reader.skip()?;
            continue;
        }
        let mut priorities = (FIRST_PRIORITY..).take(limits::ENTRIES);
        while let Some(tag) = reader.child()? {
            if !tag.is(SPD_ENTRY.namespace, SPD_ENTRY.name) {
                return Err(unknown(&tag, &SPD, &way).into());
            }
            let entry = decode(reader, &tag, &SPD_ENTRY, &way, Source::Answer)?;
            let priority = priorities.next().ok_or(ClientError::TooBig)?;
            data.policies
                .push(Entry::read(&entry, priority, &way)?.policy);
        }
    }
    Ok(())
}

fn gateway(reader: &mut Reader<'_>, data: &mut Data) -> Result<(), ClientError> {
    let way = Path::root(&GATEWAY);
    while let Some(tag) = reader.child()? {
        let node = GATEWAY
            .child(&tag.name)
            .filter(|node| tag.is(node.namespace, node.name));
        let node = node.ok_or_else(|| unknown(&tag, &GATEWAY, &way))?;
        let tree = decode(reader, &tag, node, &way, Source::Answer)?;
        let text = tree.text().unwrap_or_default();
        match node.name {
            "tunnel" if data.tunnels.len() == limits::ENTRIES => return Err(ClientError::TooBig),
            "tunnel" => data.tunnels.push(state::read_tunnel(&tree)?),
            "qkd-keys" if data.qkd.len() == limits::ENTRIES => return Err(ClientError::TooBig),
            "qkd-keys" => data.qkd.push(qkd::read_keys(&tree)?),
            "lease" => data.lease = binary(text, limits::LEASE),
            "lease-nonce" => data.nonce = state::read_nonce(text),
            "node" => data.node = NodeId::try_from(text).ok(),
            "lifecycle" => data.lifecycle = meaning(LIFECYCLES, text),
            "network" => data.network = meaning(NETWORKS, text),
            _ => {}
        }
    }
    Ok(())
}

fn event(reader: &mut Reader<'_>) -> Result<Option<Received>, ClientError> {
    let mut time = String::new();
    let mut notice = None;
    while let Some(tag) = reader.child()? {
        if tag.is(Namespace::Notification, "eventTime") {
            time = reader.leaf(limits::LEAF)?;
        } else if let Some(node) = notification::node(&tag) {
            let content = content(reader, node, Path::root(node), Source::Answer)?;
            notice = Some(Box::new(notification::read(&Tree::new(node, content))?));
        } else {
            reader.skip()?;
        }
    }
    Ok(notice.map(|notice| Received::Notification { time, notice }))
}
