//! `edit-config` (RFC 6241, 7.2): its parameters. What it changes is [`config`]'s.

mod config;
mod place;

use bartizan_model::config::Der;

use crate::edit::config::Config;
use crate::error::{ErrorInfo, ErrorTag, ErrorType, RpcError};
use crate::namespace::Namespace;
use crate::path;
use crate::running::Running;
use crate::tree::{DEFAULT_OPERATIONS, Operation, missing, unknown_below};
use crate::words::{Words, meaning};
use crate::xml::Reader;
use crate::{limits, rpc};

pub(crate) use crate::edit::config::{grant_error, lease_error};

/// What an edit asks for, once it is found in order.
#[derive(Debug)]
pub(crate) enum Edit {
    /// Another configuration.
    Policies(Running),
    /// A lease to be judged.
    Lease(Grant),
    /// Nothing: it was a test, or it names nothing.
    Nothing,
}

/// A lease and what comes with it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Grant {
    pub(crate) lease: Vec<u8>,
    /// A renewed LDevID certificate and its chain, the leaf first; empty where none comes.
    pub(crate) ldevid: Vec<Der>,
}

/// `test-option`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Test {
    /// A tested edit is applied; every edit is tested first.
    ThenSet,
    /// A tested edit is dropped.
    Only,
}

/// `error-option`. An edit is applied as a whole or not at all, so two of them mean the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum OnError {
    Stop,
    Continue,
}

const TESTS: Words<Test> = &[
    ("test-then-set", Test::ThenSet),
    ("set", Test::ThenSet),
    ("test-only", Test::Only),
];

const ON_ERROR: Words<OnError> = &[
    ("stop-on-error", OnError::Stop),
    ("rollback-on-error", OnError::Stop),
    ("continue-on-error", OnError::Continue),
];

const OPERATION: &str = "edit-config";

/// Reads the content of `edit-config` and its end.
///
/// # Errors
///
/// [`RpcError`]; nothing is to be changed.
pub(crate) fn read(reader: &mut Reader<'_>, running: &Running) -> Result<Edit, RpcError> {
    let at = |name: &str| path::rpc(&[OPERATION, name]);
    let mut target = false;
    let mut default = None;
    let mut test = None;
    let mut on_error = None;
    let mut config = None;
    loop {
        let next = reader.child();
        let Some(tag) = next.map_err(|error| error.at(Some(path::rpc(&[OPERATION]))))? else {
            break;
        };
        rpc::no_attributes(&tag)?;
        let name = tag.name.as_str();
        if tag.namespace != Some(Namespace::Netconf) {
            return Err(unknown_below(&tag, false, path::rpc(&[OPERATION])));
        }
        if config.is_some() {
            let error = RpcError::new(
                ErrorType::Protocol,
                ErrorTag::BadElement,
                "nothing stands after config",
            );
            return Err(error.at(at(name)).with(ErrorInfo::BadElement(tag.name)));
        }
        match name {
            "target" => {
                rpc::datastore(reader, OPERATION, "target")?;
                target = true;
            }
            "default-operation" => default = Some(option(reader, DEFAULT_OPERATIONS, &at(name))?),
            "test-option" => test = Some(option(reader, TESTS, &at(name))?),
            "error-option" => on_error = Some(option(reader, ON_ERROR, &at(name))?),
            "config" => {
                let mut draft = Config::new(running, default.unwrap_or(Operation::Merge));
                draft.read(reader)?;
                config = Some(draft);
            }
            "url" => return Err(not_supported("a document is not fetched", at(name))),
            _ => return Err(unknown_below(&tag, true, path::rpc(&[OPERATION]))),
        }
    }
    if !target {
        return Err(missing("target", at("target")));
    }
    if on_error == Some(OnError::Continue) {
        return Err(not_supported(
            "an edit is applied as a whole or not at all",
            at("error-option"),
        ));
    }
    let edit = config
        .ok_or_else(|| missing("config", at("config")))?
        .finish()?;
    match test.unwrap_or(Test::ThenSet) {
        Test::ThenSet => Ok(edit),
        Test::Only => Ok(Edit::Nothing),
    }
}

fn option<T: Copy>(reader: &mut Reader<'_>, words: Words<T>, at: &str) -> Result<T, RpcError> {
    let text = reader
        .leaf(limits::LEAF)
        .map_err(|error| error.at(Some(String::from(at))))?;
    meaning(words, text.trim()).ok_or_else(|| {
        RpcError::new(
            ErrorType::Protocol,
            ErrorTag::InvalidValue,
            "not a value of the parameter",
        )
        .at(String::from(at))
    })
}

fn not_supported(message: &'static str, at: String) -> RpcError {
    RpcError::new(
        ErrorType::Protocol,
        ErrorTag::OperationNotSupported,
        message,
    )
    .at(at)
}
