//! The content of `config`: read and judged entry by entry, applied to a draft.

use bartizan_model::config::Der;

use crate::edit::place::place;
use crate::edit::{Edit, Grant};
use crate::error::{ErrorInfo, ErrorTag, ErrorType, RpcError};
use crate::limits;
use crate::namespace::Namespace;
use crate::path::{self, Path};
use crate::running::{Draft, Running};
use crate::schema::{
    GATEWAY, IPSEC_IKELESS, LDEVID_CHAIN, Node, SAD, SAD_ENTRY, SPD, SPD_ENTRY, binary,
};
use crate::tree::{Operation, Source, Tree, content, decode, operation, unknown, unknown_below};
use crate::xml::{Attribute, Reader, Tag};

/// A configuration being edited.
#[derive(Debug)]
pub(crate) struct Config {
    default: Operation,
    draft: Draft,
    /// Whether the edit is about the SPD at all.
    policies: bool,
    lease: Option<Grant>,
}

impl Config {
    pub(crate) fn new(running: &Running, default: Operation) -> Self {
        let mut config = Self {
            default,
            draft: Draft::of(running),
            policies: false,
            lease: None,
        };
        if default == Operation::Replace {
            // What the document does not name goes.
            config.policies = true;
            config.draft.clear();
        }
        config
    }

    /// Reads the content of `config` and its end.
    ///
    /// # Errors
    ///
    /// [`RpcError`] with the way to what is wrong; nothing is to be changed.
    pub(crate) fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), RpcError> {
        let at = || path::rpc(&["edit-config", "config"]);
        let mut seen = Vec::new();
        while let Some(tag) = reader.child().map_err(|error| error.at(Some(at())))? {
            if tag.is(IPSEC_IKELESS.namespace, IPSEC_IKELESS.name) {
                once(&mut seen, &IPSEC_IKELESS, &Path::root(&IPSEC_IKELESS))?;
                self.policies = true;
                self.ikeless(reader, &tag)?;
            } else if tag.is(GATEWAY.namespace, GATEWAY.name) {
                once(&mut seen, &GATEWAY, &Path::root(&GATEWAY))?;
                self.gateway(reader, &tag)?;
            } else {
                let at_home = [IPSEC_IKELESS.namespace, GATEWAY.namespace]
                    .iter()
                    .any(|known| tag.namespace == Some(*known));
                return Err(unknown_below(&tag, at_home, at()));
            }
        }
        Ok(())
    }

    /// Says what the edit comes to.
    ///
    /// # Errors
    ///
    /// [`RpcError`] for a lease that does not stand alone: it may be accepted and the rest be
    /// refused, and then neither all nor nothing would have happened.
    pub(crate) fn finish(self) -> Result<Edit, RpcError> {
        match self.lease {
            Some(_) if self.policies => Err(lease_error(
                ErrorTag::OperationNotSupported,
                "a lease stands alone in its edit",
            )),
            Some(grant) => Ok(Edit::Lease(grant)),
            None if self.policies => Ok(Edit::Policies(self.draft.finish())),
            None => Ok(Edit::Nothing),
        }
    }

    fn ikeless(&mut self, reader: &mut Reader<'_>, tag: &Tag) -> Result<(), RpcError> {
        let way = Path::root(&IPSEC_IKELESS);
        let Some(inherited) = self.whole(reader, tag, self.default, &way)? else {
            return Ok(());
        };
        let mut seen = Vec::new();
        while let Some(tag) = child(reader, &way)? {
            if tag.is(SPD.namespace, SPD.name) {
                once(&mut seen, &SPD, &Path::child(&way, &SPD, &[]))?;
                self.spd(reader, &tag, inherited, &way)?;
            } else if tag.is(SAD.namespace, SAD.name) {
                sad(reader, &way)?;
            } else {
                return Err(unknown(&tag, &IPSEC_IKELESS, &way));
            }
        }
        Ok(())
    }

    fn spd(
        &mut self,
        reader: &mut Reader<'_>,
        tag: &Tag,
        inherited: Operation,
        parent: &Path<'_>,
    ) -> Result<(), RpcError> {
        let way = Path::child(parent, &SPD, &[]);
        let Some(inherited) = self.whole(reader, tag, inherited, &way)? else {
            return Ok(());
        };
        while let Some(tag) = child(reader, &way)? {
            if !tag.is(SPD_ENTRY.namespace, SPD_ENTRY.name) {
                return Err(unknown(&tag, &SPD, &way));
            }
            let at = Path::child(&way, &SPD_ENTRY, &[]);
            let of_yang = |attribute: &&Attribute| attribute.namespace == Some(Namespace::Yang);
            let others = tag.own_attributes().filter(|attribute| !of_yang(attribute));
            let given = operation(&tag, others, &at)?;
            let source = Source::Edit(given.unwrap_or(inherited));
            let entry = Tree {
                node: &SPD_ENTRY,
                operation: given,
                value: content(reader, &SPD_ENTRY, at, source)?,
            };
            let place = place(
                tag.own_attributes().filter(of_yang),
                &Path::child(&way, &SPD_ENTRY, entry.children()),
            )?;
            self.draft.edit(&entry, inherited, place, &SPD, &way)?;
        }
        Ok(())
    }

    /// Does what the operation of a container does to all of the SPD; `None` if that was all.
    fn whole(
        &mut self,
        reader: &mut Reader<'_>,
        tag: &Tag,
        inherited: Operation,
        way: &Path<'_>,
    ) -> Result<Option<Operation>, RpcError> {
        let refuse = |tag, message| {
            Err(RpcError::new(ErrorType::Application, tag, message).at(way.render()))
        };
        let operation = operation(tag, tag.own_attributes(), way)?.unwrap_or(inherited);
        match operation {
            Operation::Merge | Operation::Nothing => {}
            Operation::Create if !self.draft.is_empty() => {
                return refuse(ErrorTag::DataExists, "it is there already");
            }
            Operation::Create => {}
            Operation::Replace => self.draft.clear(),
            Operation::Delete if self.draft.is_empty() => {
                return refuse(ErrorTag::DataMissing, "it is not there");
            }
            Operation::Delete | Operation::Remove => {
                self.draft.clear();
                reader
                    .skip()
                    .map_err(|error| error.at(Some(way.render())))?;
                return Ok(None);
            }
        }
        Ok(Some(operation))
    }

    fn gateway(&mut self, reader: &mut Reader<'_>, tag: &Tag) -> Result<(), RpcError> {
        let way = Path::root(&GATEWAY);
        let given = operation(tag, tag.own_attributes(), &way)?;
        let inherited = given.unwrap_or(self.default);
        let gateway = content(reader, &GATEWAY, way, Source::Edit(inherited))?;
        let gateway = Tree::new(&GATEWAY, gateway);
        let lease = gateway.child("lease");
        let chain = gateway.children().iter();
        let chain: Vec<&Tree> = chain.filter(|child| child.node == &LDEVID_CHAIN).collect();
        for certificate in &chain {
            match certificate.operation.unwrap_or(inherited) {
                Operation::Nothing | Operation::Delete | Operation::Remove => {
                    let message = "a certificate ends by itself";
                    return Err(chain_error(ErrorTag::OperationNotSupported, message));
                }
                Operation::Merge | Operation::Replace | Operation::Create => {}
            }
        }
        if lease.is_none() && !chain.is_empty() {
            let message = "a certificate comes with a lease";
            let error = chain_error(ErrorTag::OperationFailed, message);
            return Err(error.app_tag("must-violation"));
        }
        let operation = lease.and_then(|lease| lease.operation).unwrap_or(inherited);
        match operation {
            Operation::Nothing => {}
            Operation::Delete | Operation::Remove => {
                return Err(lease_error(
                    ErrorTag::OperationNotSupported,
                    "a lease ends by itself",
                ));
            }
            Operation::Merge | Operation::Replace | Operation::Create => {
                let text = lease.and_then(Tree::text);
                let lease = text.and_then(|text| binary(text, limits::LEASE));
                if lease.as_ref().is_some_and(Vec::is_empty) {
                    return Err(lease_error(ErrorTag::InvalidValue, "a lease is not empty"));
                }
                let der = |text| binary(text, limits::CERTIFICATE).unwrap_or_default();
                let chain = chain.iter().filter_map(|certificate| certificate.text());
                let ldevid: Vec<Der> = chain.map(|text| Der(der(text))).collect();
                self.lease = lease.map(|lease| Grant { lease, ldevid });
            }
        }
        Ok(())
    }
}

/// An error about the leaf `lease`.
pub(crate) fn lease_error(tag: ErrorTag, message: &'static str) -> RpcError {
    grant_error("lease", tag, message)
}

fn chain_error(tag: ErrorTag, message: &'static str) -> RpcError {
    grant_error(LDEVID_CHAIN.name, tag, message)
}

/// An error about a part of what is granted.
pub(crate) fn grant_error(leaf: &str, tag: ErrorTag, message: &'static str) -> RpcError {
    let error = RpcError::new(ErrorType::Application, tag, message);
    let Some(leaf) = GATEWAY.child(leaf) else {
        return error;
    };
    error.at(Path::child(&Path::root(&GATEWAY), leaf, &[]).render())
}

/// Reads the content of `sad` and its end. Keys are made by the gateways, so no SA comes from a
/// controller in this mode of rekeying.
fn sad(reader: &mut Reader<'_>, parent: &Path<'_>) -> Result<(), RpcError> {
    let way = Path::child(parent, &SAD, &[]);
    let Some(tag) = child(reader, &way)? else {
        return Ok(());
    };
    if !tag.is(SAD_ENTRY.namespace, SAD_ENTRY.name) {
        return Err(unknown(&tag, &SAD, &way));
    }
    let mut known = Vec::new();
    let at = Path::child(&way, &SAD_ENTRY, &[]);
    if let Some(tag) = child(reader, &at)?
        && let Some(name) = SAD_ENTRY.child(&tag.name)
    {
        let source = Source::Edit(Operation::Merge);
        known.push(decode(reader, &tag, name, &at, source)?);
    }
    Err(RpcError::new(
        ErrorType::Application,
        ErrorTag::OperationNotSupported,
        "keys are made by the pair of gateways alone",
    )
    .at(at.knowing(&known).render()))
}

fn child(reader: &mut Reader<'_>, way: &Path<'_>) -> Result<Option<Tag>, RpcError> {
    reader.child().map_err(|error| error.at(Some(way.render())))
}

fn once(seen: &mut Vec<&'static str>, node: &'static Node, way: &Path<'_>) -> Result<(), RpcError> {
    if seen.contains(&node.name) {
        let error = RpcError::new(
            ErrorType::Application,
            ErrorTag::BadElement,
            "an element stands twice",
        );
        let element = ErrorInfo::BadElement(String::from(node.name));
        return Err(error.at(way.render()).with(element));
    }
    seen.push(node.name);
    Ok(())
}
