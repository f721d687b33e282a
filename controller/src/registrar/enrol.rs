//! Enrolment: a box shows what it is and what it runs, and becomes the owner's; or, in quarantine,
//! is heard.
//!
//! What fails before the proof of the credential could be anybody's and is refused and counted.
//! What fails after it is the box's own, and stays with its record.

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::fill;
use bartizan_bootstrap_protocol::enrol::registrar::{
    Appraised, Awaiting, Listening, Refused, ToAppraise, ToChallenge, ToIdentify, ToIssue,
};
use bartizan_bootstrap_protocol::enrol::{
    Challenge, EVIDENCE_MAX, Enrolment, MESSAGE_MAX, Reason, Request, SessionId,
};
use bartizan_evidence::appraisal::APPRAISED;
use bartizan_evidence::verdict::{Class, Failure};
use bartizan_model::config::KmeConfig;
use bartizan_model::identity::{Credential, Log};
use bartizan_model::ids::Nonce;
use bartizan_process::boot_time;
use bartizan_process::journal::{self, Level};
use bartizan_tls::Encounter;
use core::time::Duration;

use super::Office;
use super::talk::{SessionError, Talk};
use crate::clock::owner_time;
use crate::credential::{self, CredentialError, Protector};
use crate::device::{self, Device, Occasion, Serial, State};
use crate::serve::chain;
use crate::store::{DeviceError, StoreError};
use crate::verifier::{Examined, Judged, Logs};

/// How long a box may take to quote, to gather its logs and to send them.
const DEADLINE: Duration = Duration::from_secs(30);

/// How long a box may take to hear the outcome.
const OUTCOME_LIMIT: Duration = Duration::from_secs(10);

/// Why a session ends without what the box wanted.
enum End {
    /// The machine refuses.
    Refused(Refused),
    /// We refuse, for this, and say no more than that.
    Ours(Reason, String),
    /// Nothing more can be said.
    Broken(SessionError),
}

/// Leads one session to its end.
pub(super) async fn attend(office: &Office, met: Encounter) -> Result<(), SessionError> {
    let mut talk = Talk::new(met.stream, MESSAGE_MAX);
    let listening = Listening::new(met.channel_binding, boot_time());
    let shown = &met.chain;
    let outcome = async {
        let deadline = listening.deadline();
        let hello = talk.receive(deadline).await.map_err(End::Broken)?;
        let heard = listening.hello(&hello, boot_time())?;
        drop(hello);
        let (device, examined) = identify(office, &heard, shown).await?;
        let challenging = heard.identified(Ok(()))?;
        let awaiting = challenge(&mut talk, challenging, &examined).await?;
        let deadline = awaiting.deadline();
        talk.expect(EVIDENCE_MAX);
        let evidence = talk.receive(deadline).await.map_err(End::Broken)?;
        let appraising = proven(office, &device, awaiting, &evidence).await?;
        drop(evidence);
        conclude(office, &device, &examined, appraising).await
    };
    let message = match outcome.await {
        Ok(message) => message,
        Err(End::Refused(refused)) => {
            refuse(office, refused.reason, &chain(&refused));
            refused.message()
        }
        Err(End::Ours(reason, why)) => {
            refuse(office, reason, &why);
            bartizan_bootstrap_protocol::enrol::Outcome::Refused(reason)
                .encode()
                .unwrap_or_default()
        }
        Err(End::Broken(error)) => return Err(error),
    };
    talk.send(&message, OUTCOME_LIMIT).await?;
    talk.end().await
}

/// The precise reason is for the log alone.
fn refuse(office: &Office, reason: Reason, why: &str) {
    office.desk.count("enrolment-refused");
    let why = why.escape_debug();
    journal::log(
        Level::Warn,
        format_args!("enrolment refused as {reason}: {why}"),
    );
}

/// Finds out whose hello it is (V4, V5, V6, V9, V10).
async fn identify(
    office: &Office,
    heard: &ToIdentify,
    shown: &[bartizan_model::config::Der],
) -> Result<(Device, Examined), End> {
    let hello = heard.hello();
    let serial = Serial::try_from(hello.serial.as_str())
        .map_err(|_| End::Ours(Reason::Refused, "a serial number of no device".to_owned()))?;
    let device = office.desk.store.device(&serial).await?;
    let device = device
        .ok_or_else(|| End::Ours(Reason::Refused, format!("{serial} is no device of ours")))?;
    match device.state() {
        State::Expected | State::Enrolled | State::Quarantined(_) => {}
        state @ (State::Revoked | State::Released | State::Retired) => {
            let why = format!("{serial} is {state}");
            return Err(End::Ours(Reason::Refused, why));
        }
    }
    let leaf = shown
        .first()
        .ok_or_else(|| End::Ours(Reason::Identity, "no certificate was shown".to_owned()))?;
    let examined = office.verifier.makers().examine(
        &hello.identity,
        &hello.serial,
        device.kind(),
        leaf,
        owner_time(),
    );
    let examined = examined.map_err(|failure| ours(&serial, &failure))?;
    if let Some(known) = device.identity()
        && *known != examined.identity
    {
        let why = format!("V10: {serial} comes with another TPM than the one that is known");
        return Err(End::Ours(Reason::Identity, why));
    }
    Ok((device, examined))
}

async fn challenge(
    talk: &mut Talk,
    challenging: ToChallenge,
    examined: &Examined,
) -> Result<Awaiting, End> {
    let protector = Protector::new(&examined.endorsement)?;
    let made = credential::make(&protector, &challenging.ak().public().name())?;
    let (mut session, mut nonce) = ([0; 16], [0; 32]);
    fill(&mut session)?;
    fill(&mut nonce)?;
    let challenge = Challenge {
        session: SessionId(session),
        nonce: Nonce(nonce),
        credential: Credential {
            endorsement: 0,
            blob: made.blob,
            secret: made.encrypted_secret,
        },
        pcrs: APPRAISED,
        policy: "reference values".to_owned(),
        deadline: DEADLINE,
    };
    let (message, awaiting) =
        challenging.challenge(challenge, made.secret.as_slice(), boot_time())?;
    talk.send(&message, OUTCOME_LIMIT)
        .await
        .map_err(End::Broken)?;
    Ok(awaiting)
}

/// Checks the proof, then the quote; who proved itself and quotes wrongly has failed.
async fn proven(
    office: &Office,
    device: &Device,
    awaiting: Awaiting,
    evidence: &[u8],
) -> Result<ToAppraise, End> {
    match awaiting.shown(evidence, boot_time()) {
        Ok(appraising) => Ok(appraising),
        Err(refused) => {
            use bartizan_bootstrap_protocol::enrol::EnrolError;
            // The quote is looked at only after the proof.
            if let EnrolError::Tpm(failure) = &refused.cause {
                let failure = crate::verifier::failed(failure);
                record(office, device, &failure).await?;
            }
            Err(refused.into())
        }
    }
}

/// Judges what the box runs, and grants what follows.
async fn conclude(
    office: &Office,
    device: &Device,
    examined: &Examined,
    appraising: ToAppraise,
) -> Result<Vec<u8>, End> {
    let serial = device.serial();
    let logs = logs(&appraising);
    let quote = appraising.quote().clone();
    let hello = appraising.hello();
    let epoch = match &hello.request {
        Request::Enrol { epoch, .. } => Some(*epoch),
        Request::Quarantine => None,
    };
    // The quote is bound to the hello that shows them.
    let floors = hello.identity.floors;
    let judged = match office.verifier.judge(device, &quote, floors, &logs) {
        Ok(judged) => judged,
        Err(failure) => {
            record(office, device, &failure).await?;
            let why = format!("{serial}: {}", failure.text);
            return Err(End::Ours(reason(failure.class), why));
        }
    };
    drop(logs);
    let issuing = match appraising.appraised(Ok(()))? {
        Appraised::Enrol(issuing) => issuing,
        Appraised::Quarantine(reporting) => {
            let text = "it reports from quarantine, with evidence that is clean";
            office.desk.tell(device.node(), text);
            return Ok(reporting.reported()?);
        }
    };
    let checked = office.verifier.check_ldevid(issuing.key(), &judged, &quote);
    if let Err(failure) = checked {
        let failed = crate::verifier::failed(&failure);
        record(office, device, &failed).await?;
        return Err(ours(serial, &failure));
    }
    let enrolment = Granted {
        examined,
        judged,
        epoch,
    };
    issue(office, device, enrolment, issuing).await
}

/// What an enrolment rests on.
struct Granted<'a> {
    examined: &'a Examined,
    judged: Judged,
    epoch: Option<u64>,
}

/// Certifies the key, and takes the box into the books.
async fn issue(
    office: &Office,
    device: &Device,
    granted: Granted<'_>,
    issuing: ToIssue,
) -> Result<Vec<u8>, End> {
    let now = owner_time();
    let spki = issuing.key().spki();
    let grant = |error: crate::verifier::GrantError| {
        End::Ours(Reason::Busy, format!("no certificate: {}", chain(&error)))
    };
    let (ldevid, certificate) = office
        .verifier
        .certify(device.node(), &spki, now)
        .map_err(grant)?;
    let site = device.site();
    let kmes = site.kmes.iter().map(|kme| {
        let certificate = office.verifier.certify_sae(&kme.sae, &spki, now)?;
        Ok(kme.config(certificate))
    });
    let kmes = kmes.collect::<Result<Vec<KmeConfig>, _>>().map_err(grant)?;
    let enrolment = device::Enrolment {
        identity: granted.examined.identity.clone(),
        pins: granted.judged.pins,
        clock: granted.judged.clock,
        floors: granted.judged.floors,
        epoch: granted.epoch,
        certificate,
    };
    let serial = device.serial();
    let enrolled = office.desk.store.enrol(serial, &enrolment, now).await?;
    if enrolled.state() != State::Enrolled {
        let why = format!("{serial} stays {}", enrolled.state());
        return Err(End::Ours(Reason::State, why));
    }
    let message = issuing.enrolled(Enrolment {
        node: device.node().clone(),
        ldevid,
        addresses: site.addresses.clone(),
        peer_port: site.peer_port,
        kmes,
    })?;
    let image = &granted.judged.image;
    journal::log(
        Level::Info,
        format_args!("{serial} is enrolled as {} with {image}", device.node()),
    );
    office
        .desk
        .tell(device.node(), &format!("enrolled with {image}"));
    Ok(message)
}

async fn record(
    office: &Office,
    device: &Device,
    failure: &device::Failure,
) -> Result<(), StoreError> {
    let (serial, now) = (device.serial(), owner_time());
    let store = &office.desk.store;
    match store.fail(serial, Occasion::Enrolment, failure, now).await {
        Ok(_) => Ok(()),
        Err(DeviceError::Store(error)) => Err(error),
        // A record that takes no failure grants nothing either.
        Err(error) => {
            journal::log(Level::Warn, format_args!("{serial}: {}", chain(&error)));
            Ok(())
        }
    }
}

fn logs(appraising: &ToAppraise) -> Logs {
    let mut logs = Logs::default();
    for (kind, bytes) in &appraising.evidence().logs {
        let log = match kind {
            Log::Firmware => &mut logs.firmware,
            Log::Userspace => &mut logs.userspace,
            Log::Ima => &mut logs.ima,
        };
        log.clone_from(bytes);
    }
    logs
}

fn ours(serial: &Serial, failure: &Failure) -> End {
    let reason = match failure.class {
        Class::State => Reason::State,
        Class::Evidence => Reason::Evidence,
        Class::Malformed => Reason::Malformed,
        Class::Identity => Reason::Identity,
    };
    End::Ours(reason, format!("{serial}: {failure}"))
}

const fn reason(class: device::Class) -> Reason {
    match class {
        device::Class::State => Reason::State,
        device::Class::Evidence => Reason::Evidence,
        device::Class::Malformed => Reason::Malformed,
        device::Class::Identity => Reason::Identity,
    }
}

impl From<Refused> for End {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        Self::Ours(Reason::Busy, chain(&error))
    }
}

impl From<DeviceError> for End {
    fn from(error: DeviceError) -> Self {
        let reason = match &error {
            DeviceError::Store(_) => Reason::Busy,
            DeviceError::KeyTaken(_) | DeviceError::Refused(device::Refused::OtherTpm) => {
                Reason::Identity
            }
            DeviceError::Refused(_)
            | DeviceError::Unknown(_)
            | DeviceError::Known(_)
            | DeviceError::NodeTaken { .. } => Reason::Refused,
        };
        Self::Ours(reason, chain(&error))
    }
}

impl From<CredentialError> for End {
    fn from(error: CredentialError) -> Self {
        Self::Ours(Reason::Busy, error.to_string())
    }
}

impl From<Unspecified> for End {
    fn from(_: Unspecified) -> Self {
        Self::Broken(SessionError::Random)
    }
}
