//! One session with the registrar: hello, challenge, evidence, outcome.

use core::time::Duration;

use bartizan_bootstrap_protocol::bootstrap::Owner;
use bartizan_bootstrap_protocol::enrol::frame::{Deframer, frame};
use bartizan_bootstrap_protocol::enrol::gateway::{Ended, Greeted, ownership};
use bartizan_bootstrap_protocol::enrol::{Hello, MESSAGE_MAX, Request, Software};
use bartizan_evidence::binding;
use bartizan_evidence::lease::OwnerTime;
use bartizan_evidence::quote::{AttestationKey, Quote};
use bartizan_model::config::{BootstrapConfig, Der};
use bartizan_model::identity::{Floor, Log, PcrSelection, Quoted};
use bartizan_model::ids::NodeId;
use bartizan_model::ownership::Ownership;
use bartizan_model::time::{BootTime, KnownTime};
use bartizan_process::boot_time;
use bartizan_tls::{
    Anchors, Application, Clock, Encounter, Tpm, connect_registrar, registrar_client,
};
use core::net::SocketAddr;
use der::Decode as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use x509_cert::Certificate;

use crate::discover::{PATIENCE, dial};
use crate::error::AttemptError;
use crate::identity::Identity;
use crate::tpm;

/// The logs, in the order in which they are sent.
const LOGS: [Log; 3] = [Log::Firmware, Log::Userspace, Log::Ima];

/// How often a log may grow under a quote.
const QUOTES_MAX: usize = 3;

/// The logs that there are, in their order.
type Logs = Vec<(Log, Vec<u8>)>;

/// A registrar, and who vouches for it.
#[derive(Clone, Debug)]
pub(crate) struct Registrar {
    pub(crate) address: SocketAddr,
    pub(crate) name: NodeId,
    pub(crate) anchors: Vec<Der>,
    /// What is known of the owner's time.
    pub(crate) time: KnownTime,
}

/// What the box is, for any session.
#[derive(Clone, Copy)]
pub(crate) struct Gateway<'a> {
    pub(crate) config: &'a BootstrapConfig,
    pub(crate) identity: &'a Identity,
    pub(crate) tpm: &'a Tpm,
    /// What evidence is bound to, of the binding of the link that it goes over.
    pub(crate) bound: &'a (dyn Fn([u8; 32]) -> [u8; 32] + Send + Sync),
}

impl Gateway<'_> {
    /// Enrols with an owner. The LDevID of what it returns is not kept in the TPM yet.
    pub(crate) async fn enrol(&self, owner: Owner) -> Result<Ownership, AttemptError> {
        let registrar = Registrar {
            address: owner.site.registrar,
            name: owner.site.controller.clone(),
            anchors: owner.site.anchors.clone(),
            time: KnownTime {
                floor: owner.since.0,
                owner: None,
            },
        };
        let met = self.meet(&registrar).await?;
        let qualifying = binding::certify(&(self.bound)(met.channel_binding));
        let request = Request::Enrol {
            epoch: owner.epoch,
            ldevid: Box::new(tpm::create_ldevid(self.tpm, qualifying)?),
        };
        let enrolment = match self.session(met, request, &registrar).await? {
            Ended::Enrolled(enrolment) => *enrolment,
            Ended::Refused(reason) => return Err(AttemptError::Registrar(reason)),
            Ended::Reported => return Err(AttemptError::OwnEvidence),
        };
        let ownership = ownership(owner, enrolment);
        ownership.check()?;
        // An older voucher must not count from here on, even if the power is cut now.
        tpm::raise_floor(self.tpm, Floor::Ownership, ownership.epoch)?;
        if let Some(since) = begins(&ownership.ldevid) {
            let since = since.max(self.identity.device.time_floor.0);
            tpm::raise_floor(self.tpm, Floor::Time, since)?;
        }
        Ok(ownership)
    }

    /// Lets the TPM keep the LDevID of the last enrolment.
    pub(crate) fn keep(&self) -> Result<(), AttemptError> {
        Ok(tpm::keep_ldevid(self.tpm)?)
    }

    /// Tells the registrar that this boot cannot use its LDevID.
    pub(crate) async fn report(&self, registrar: &Registrar) -> Result<(), AttemptError> {
        let met = self.meet(registrar).await?;
        match self.session(met, Request::Quarantine, registrar).await? {
            Ended::Reported => Ok(()),
            Ended::Refused(reason) => Err(AttemptError::Registrar(reason)),
            Ended::Enrolled(_) => Err(AttemptError::OwnEvidence),
        }
    }

    async fn meet(&self, registrar: &Registrar) -> Result<Encounter, AttemptError> {
        let stream = dial(&[registrar.address]).await?;
        let clock = Clock::known(registrar.time);
        let anchors = Anchors::new(&registrar.anchors, &clock)?;
        let tls = registrar_client(
            &self.identity.chain,
            self.identity.signer.clone(),
            &anchors,
            Application::Enrolment,
        )?;
        Ok(connect_registrar(stream, tls, &registrar.name, PATIENCE).await?)
    }

    async fn session(
        &self,
        mut met: Encounter,
        request: Request,
        registrar: &Registrar,
    ) -> Result<Ended, AttemptError> {
        let hello = self.hello(request)?;
        let binding = (self.bound)(met.channel_binding);
        let (message, greeted) = Greeted::greet(&hello, binding, boot_time())?;
        send(&mut met, &message).await?;
        let message = receive(&mut met, greeted.deadline()).await?;
        let challenged = greeted.challenged(&message, boot_time())?;
        let proof = tpm::activate(
            self.tpm,
            challenged.credential().clone(),
            challenged.proof_context(),
        )?;
        let (quoted, logs) = self.evidence(&challenged.qualifying(), challenged.pcrs())?;
        let (message, proven) = challenged.prove(proof, quoted, logs, boot_time())?;
        send(&mut met, &message).await?;
        let message = receive(&mut met, proven.deadline()).await?;
        let floor = OwnerTime(registrar.time.floor);
        Ok(proven.ended(&message, &registrar.anchors, floor, boot_time())?)
    }

    fn hello(&self, request: Request) -> Result<Hello, AttemptError> {
        let logs = self.logs()?.into_iter().map(|(log, _)| log).collect();
        Ok(Hello {
            serial: self.identity.device.serial.clone(),
            software: Software {
                hw_model: self.config.hw_model.clone(),
                os_name: self.config.os_name.clone(),
                os_version: self.config.os_version.clone(),
            },
            identity: self.identity.tpm.clone(),
            logs,
            request,
        })
    }

    /// A quote, and logs that did not change while it was made. It is verified as the registrar
    /// will: a TPM or a log that went wrong is not the owner's to find.
    fn evidence(
        &self,
        qualifying: &[u8; 32],
        pcrs: PcrSelection,
    ) -> Result<(Quoted, Logs), AttemptError> {
        let ak =
            AttestationKey::parse(&self.identity.tpm.ak).map_err(|_| AttemptError::OwnEvidence)?;
        let mut before = self.logs()?;
        for _ in 0..QUOTES_MAX {
            let quoted = tpm::quote(self.tpm, qualifying, pcrs)?;
            let after = self.logs()?;
            let holds = Quote::verify(&quoted, &ak, qualifying, pcrs).is_ok();
            if holds && before == after {
                return Ok((quoted, after));
            }
            before = after;
        }
        Err(AttemptError::OwnEvidence)
    }

    fn logs(&self) -> Result<Logs, AttemptError> {
        let mut logs = Vec::new();
        for log in LOGS {
            let bytes = tpm::log(self.tpm, log)?;
            if !bytes.is_empty() {
                logs.push((log, bytes));
            }
        }
        Ok(logs)
    }
}

/// When the leaf's time begins, in seconds since 1970: the owner says that it is no earlier.
fn begins(chain: &[Der]) -> Option<u64> {
    let leaf = Certificate::from_der(&chain.first()?.0).ok()?;
    let validity = leaf.tbs_certificate().validity();
    Some(validity.not_before.to_unix_duration().as_secs())
}

async fn send(met: &mut Encounter, message: &[u8]) -> Result<(), AttemptError> {
    let bytes = frame(message)?;
    let sent = async {
        met.stream.write_all(&bytes).await?;
        met.stream.flush().await
    };
    timeout(PATIENCE, sent)
        .await
        .map_err(|_| AttemptError::TimedOut)?
        .map_err(AttemptError::Broken)
}

async fn receive(met: &mut Encounter, deadline: BootTime) -> Result<Vec<u8>, AttemptError> {
    let mut deframer = Deframer::new(MESSAGE_MAX);
    let received = async {
        let mut bytes = [0; 4096];
        loop {
            let len = met.stream.read(&mut bytes).await;
            let len = len.map_err(AttemptError::Broken)?;
            let mut piece = bytes.get(..len).unwrap_or_default();
            if piece.is_empty() {
                let gone = std::io::ErrorKind::UnexpectedEof.into();
                return Err(AttemptError::Broken(gone));
            }
            if let Some(message) = deframer.take(&mut piece)? {
                return Ok(message);
            }
        }
    };
    let left = deadline.since(boot_time()).max(Duration::from_millis(1));
    timeout(left, received)
        .await
        .map_err(|_| AttemptError::TimedOut)?
}
