//! The documents of RFC 9684 with our augments: challenges, quotes, logs; and the order that ends
//! ownership. Both directions.

use core::time::Duration;

use bartizan_model::identity::{Floors, Log, PcrSelection, Quoted};
use base64ct::{Base64, Encoding as _};

use crate::error::{ErrorTag, ErrorType, RpcError};
use crate::limits;
use crate::path::Path;
use crate::policy::View;
use crate::schema::{
    ATTESTATION_RESPONSE, BINDINGS, Binding, CHALLENGE, EVENT_LOGS, LOG_RETRIEVAL, LOGS, LogForm,
    Node, ORDER, RATS_SUPPORT, binary,
};
use crate::tree::{Source, Tree, content};
use crate::words::word;
use crate::xml::Reader;

/// What a verifier challenges the gateway with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Challenge {
    pub(crate) nonce: Vec<u8>,
    pub(crate) pcrs: PcrSelection,
    /// To the session and the engine's lease nonce, beside the nonce.
    pub(crate) binding: Option<Binding>,
}

/// Which part of which log is wanted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct LogWanted {
    pub(crate) log: Log,
    pub(crate) offset: u32,
    /// Whether this gateway's TPM is among those that are wanted.
    pub(crate) ours: bool,
}

/// A part of a log, as it was measured.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogPart {
    /// Its first byte.
    pub offset: u32,
    /// At most [`limits::LOG_PART`] bytes; none at the end of the log.
    pub bytes: Vec<u8>,
    /// The whole log's size as it was then.
    pub size: u32,
}

/// A quote, as it came with its answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Evidence {
    /// The quote and the values.
    pub quoted: Quoted,
    /// The floors that it is bound to, as the gateway shows them.
    pub floors: Option<Floors>,
    /// How long the gateway has been up, in seconds.
    pub uptime: Duration,
}

/// The one TPM of a gateway.
const TPM: &str = "tpm0";

/// Its attestation key.
const AK: &str = "ak";

const SHA256: &str = "taa:TPM_ALG_SHA256";

/// The PCRs of a bank.
const PCRS: u32 = 24;

/// Reads the content of `tpm20-challenge-response-attestation` and its end.
///
/// # Errors
///
/// [`RpcError`] with the way to what is wrong.
pub(crate) fn read_challenge(reader: &mut Reader<'_>) -> Result<Challenge, RpcError> {
    let input = input(reader, &CHALLENGE)?;
    let input = View::root(&input);
    let challenge = input.below("tpm20-attestation-challenge");
    let nonce = challenge.required("nonce-value")?;
    let nonce = binary(nonce, limits::NONCE_MAX).unwrap_or_default();
    if nonce.len() < limits::NONCE_MIN {
        let error = challenge.invalid("nonce-value", "a nonce has 16 to 64 bytes");
        return Err(error.app_tag("nonce-length"));
    }
    for certificate in challenge.instances("certificate-name") {
        if certificate.own_text() != AK {
            return Err(certificate.fault(ErrorTag::InvalidValue, "there is no such certificate"));
        }
    }
    let mut selections = challenge.instances("tpm20-pcr-selection");
    let selection = selections
        .next()
        .ok_or_else(|| challenge.missing("tpm20-pcr-selection"))?;
    if let Some(second) = selections.next() {
        let message = "the bank of SHA-256 is selected once";
        return Err(second.fault(ErrorTag::InvalidValue, message));
    }
    Ok(Challenge {
        nonce,
        pcrs: read_pcrs(&selection)?,
        binding: challenge.word("channel-binding", BINDINGS)?,
    })
}

/// Reads the content of `log-retrieval` and its end.
///
/// # Errors
///
/// [`RpcError`] with the way to what is wrong.
pub(crate) fn read_log_wanted(reader: &mut Reader<'_>) -> Result<LogWanted, RpcError> {
    let input = input(reader, &LOG_RETRIEVAL)?;
    let input = View::root(&input);
    let LogForm::Measured(log) = input.required_word("log-type", LOGS)?;
    let mut selectors = input.instances("log-selector");
    let selector = selectors.next();
    if let Some(second) = selectors.next() {
        let message = "one selector is enough for one log";
        return Err(second.fault(ErrorTag::OperationNotSupported, message));
    }
    let mut wanted = LogWanted {
        log,
        offset: 0,
        ours: true,
    };
    let Some(selector) = selector else {
        return Ok(wanted);
    };
    for name in [
        "last-entry-value",
        "last-index-number",
        "timestamp",
        "log-entry-quantity",
    ] {
        if selector.text(name).is_some() {
            let message = "a log as it was measured is read by its bytes";
            let error = selector
                .below(name)
                .fault(ErrorTag::OperationNotSupported, message);
            return Err(error);
        }
    }
    let mut names = selector.instances("name").peekable();
    wanted.ours = names.peek().is_none() || names.any(|name| name.own_text() == TPM);
    wanted.offset = selector.value("offset")?.unwrap_or(0);
    Ok(wanted)
}

/// Reads the content of `order` and its end.
///
/// # Errors
///
/// [`RpcError`] if there is none.
pub(crate) fn read_order(reader: &mut Reader<'_>) -> Result<Vec<u8>, RpcError> {
    let input = input(reader, &ORDER)?;
    let order = View::root(&input);
    let signed = binary(order.required("signed")?, limits::LEASE).unwrap_or_default();
    if signed.is_empty() {
        return Err(order.invalid("signed", "an order is not empty"));
    }
    Ok(signed)
}

/// An error about an order.
pub(crate) fn order_error(tag: ErrorTag, message: &'static str) -> RpcError {
    let error = RpcError::new(ErrorType::Application, tag, message);
    error.at(Path::root(&ORDER).render())
}

/// Writes a challenge.
pub(crate) fn challenge(challenge: &Challenge) -> Tree {
    let mut input = Tree::empty(&CHALLENGE);
    input.add("tpm20-attestation-challenge", |input| {
        input.set("nonce-value", Base64::encode_string(&challenge.nonce));
        input.add("tpm20-pcr-selection", |selection| {
            selection.set("tpm20-hash-algo", SHA256);
            for pcr in selected(challenge.pcrs) {
                selection.set("pcr-index", pcr);
            }
        });
        if let Some(binding) = challenge.binding {
            input.set("channel-binding", word(BINDINGS, binding));
        }
    });
    input
}

/// Writes the question for a part of a log.
pub(crate) fn log_wanted(log: Log, offset: u32) -> Tree {
    let mut input = Tree::empty(&LOG_RETRIEVAL);
    input.set("log-type", word(LOGS, LogForm::Measured(log)));
    input.add("log-selector", |selector| selector.set("offset", offset));
    input
}

/// Writes an order.
pub(crate) fn order(signed: &[u8]) -> Tree {
    let mut input = Tree::empty(&ORDER);
    input.set("signed", Base64::encode_string(signed));
    input
}

/// Writes a quote. `quote-data` is a `TPM2B_ATTEST`: the structure with its length before it.
pub(crate) fn evidence(quoted: &Quoted, floors: Option<&Floors>, uptime: Duration) -> Tree {
    let mut response = Tree::empty(&ATTESTATION_RESPONSE);
    response.set("certificate-name", AK);
    let len = u16::try_from(quoted.attest.len()).unwrap_or(u16::MAX);
    let attest = [&len.to_be_bytes(), quoted.attest.as_slice()].concat();
    response.set("quote-data", Base64::encode_string(&attest));
    response.set("quote-signature", Base64::encode_string(&quoted.signature));
    response.set("up-time", seconds(uptime));
    response.add("unsigned-pcr-values", |bank| {
        bank.set("tpm20-hash-algo", SHA256);
        for (pcr, value) in &quoted.pcrs {
            bank.add("pcr-values", |values| {
                values.set("pcr-index", pcr);
                values.set("pcr-value", Base64::encode_string(value));
            });
        }
    });
    if let Some(floors) = floors {
        response.add("floors", |shown| {
            for (name, floor) in [
                ("ownership", floors.ownership),
                ("rollback", floors.rollback),
                ("time", floors.time),
            ] {
                if let Some(floor) = floor {
                    shown.set(name, floor);
                }
            }
        });
    }
    response
}

/// Reads a quote.
///
/// # Errors
///
/// [`RpcError`] if it lacks something, or is of another bank.
pub(crate) fn read_evidence(response: &Tree) -> Result<Evidence, RpcError> {
    let response = View::root(response);
    let bytes = |name| Ok::<_, RpcError>(binary(response.required(name)?, limits::LEAF));
    let attest = bytes("quote-data")?.unwrap_or_default();
    let attest = attest.split_first_chunk().and_then(|(len, attest)| {
        let len = usize::from(u16::from_be_bytes(*len));
        (len == attest.len()).then(|| attest.to_vec())
    });
    let attest = attest.ok_or_else(|| response.invalid("quote-data", "not a TPM2B_ATTEST"))?;
    let mut pcrs = Vec::new();
    let mut banks = response.instances("unsigned-pcr-values");
    if let Some(bank) = banks.next() {
        for values in bank.instances("pcr-values") {
            let value = binary(values.required("pcr-value")?, 32).unwrap_or_default();
            let value = <[u8; 32]>::try_from(value);
            let value = value.map_err(|_| values.invalid("pcr-value", "not 32 bytes"))?;
            pcrs.push((values.required_value("pcr-index")?, value));
        }
    }
    let shown = response.below("floors");
    let floors = if shown.exists() {
        Some(Floors {
            ownership: shown.value("ownership")?,
            rollback: shown.value("rollback")?,
            time: shown.value("time")?,
        })
    } else {
        None
    };
    Ok(Evidence {
        floors,
        quoted: Quoted {
            attest,
            signature: bytes("quote-signature")?.unwrap_or_default(),
            pcrs,
        },
        uptime: Duration::from_secs(response.value("up-time")?.unwrap_or(0)),
    })
}

/// Writes a part of a log; without one, nothing of a gateway's TPM was wanted.
pub(crate) fn log_part(part: Option<&LogPart>, uptime: Duration) -> Tree {
    let mut logs = Tree::empty(&EVENT_LOGS);
    let Some(part) = part else {
        return logs;
    };
    logs.add("node-data", |node| {
        node.set("name", TPM);
        node.set("up-time", seconds(uptime));
        node.add("log-result", |result| {
            result.add("measured-log", |log| {
                log.set("offset", part.offset);
                log.set("size", part.size);
                log.set("data", Base64::encode_string(&part.bytes));
            });
        });
    });
    logs
}

/// Reads a part of a log.
///
/// # Errors
///
/// [`RpcError`] if it is not there, or lacks something.
pub(crate) fn read_log_part(logs: &Tree) -> Result<LogPart, RpcError> {
    let logs = View::root(logs);
    let node = logs.below("node-data");
    let result = node.below("log-result");
    let log = result.below("measured-log");
    Ok(LogPart {
        offset: log.required_value("offset")?,
        bytes: binary(log.required("data")?, limits::LOG_PART).unwrap_or_default(),
        size: log.required_value("size")?,
    })
}

/// What a verifier must know before it asks.
pub(crate) fn support() -> Tree {
    let mut support = Tree::empty(&RATS_SUPPORT);
    support.add("tpms", |tpms| {
        tpms.add("tpm", |tpm| {
            tpm.set("name", TPM);
            tpm.set("hardware-based", true);
            tpm.set("firmware-version", "taa:tpm20");
            tpm.add("tpm20-pcr-bank", |bank| {
                bank.set("tpm20-hash-algo", SHA256);
                for pcr in 0..PCRS {
                    bank.set("pcr-index", pcr);
                }
            });
            tpm.set("status", "operational");
            tpm.add("certificates", |certificates| {
                certificates.add("certificate", |certificate| certificate.set("name", AK));
            });
        });
    });
    support.add("attester-supported-algos", |algorithms| {
        algorithms.set("tpm20-asymmetric-signing", "taa:TPM_ALG_ECDSA");
        algorithms.set("tpm20-hash", SHA256);
    });
    support
}

fn input(reader: &mut Reader<'_>, node: &'static Node) -> Result<Tree, RpcError> {
    // Operations mean nothing in the input of an RPC, and it has no state.
    let content = content(reader, node, Path::root(node), Source::Answer)?;
    Ok(Tree::new(node, content))
}

fn read_pcrs(selection: &View<'_>) -> Result<PcrSelection, RpcError> {
    let mut pcrs = PcrSelection(0);
    for index in selection.instances("pcr-index") {
        let pcr = index.own_text().parse().ok().filter(|pcr| *pcr < PCRS);
        let bit = pcr.and_then(|pcr| 1_u32.checked_shl(pcr));
        pcrs.0 |=
            bit.ok_or_else(|| index.fault(ErrorTag::InvalidValue, "the TPM has the PCRs 0 to 23"))?;
    }
    if pcrs.0 == 0 {
        return Err(selection.missing("pcr-index"));
    }
    Ok(pcrs)
}

fn selected(pcrs: PcrSelection) -> impl Iterator<Item = u32> {
    (0..PCRS).filter(move |pcr| pcrs.0.wrapping_shr(*pcr) & 1 == 1)
}

fn seconds(uptime: Duration) -> u32 {
    u32::try_from(uptime.as_secs()).unwrap_or(u32::MAX)
}
