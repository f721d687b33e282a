//! The search for the owner: one round over everything that may know.

use bartizan_bootstrap_protocol::bootstrap::{Found, Owner, Trail};
use bartizan_model::config::{BootstrapServer, Sources};
use bartizan_model::ids::Nonce;
use bartizan_process::journal::{self, Level};
use bartizan_process::{Exit, Fault};

use crate::discover;
use crate::error::AttemptError;
use crate::identity::Identity;
use crate::lookup;

/// The most servers that are asked in one round: a redirect names up to four, four times.
const VISITS_MAX: usize = 64;

/// The service that DNS is asked for (RFC 8572, 4.2).
const SERVICE: &str = "_sztp._tcp";

/// Who the owner is, and who said so: nobody, where it was a medium.
#[derive(Debug)]
pub(crate) struct Sought {
    pub(crate) owner: Owner,
    pub(crate) told_by: Option<BootstrapServer>,
}

/// Looks everywhere once: removable media, DNS, the leases' servers, the image's.
pub(crate) async fn seek(identity: &Identity, sources: &Sources) -> Result<Option<Sought>, Fault> {
    let mut open = Vec::new();
    if let Some(media) = &sources.media {
        match Trail::default().carry().answered(media, &identity.device) {
            Ok(Found::Owner(owner)) => {
                return Ok(Some(Sought {
                    owner: *owner,
                    told_by: None,
                }));
            }
            Ok(Found::Elsewhere(servers)) => push(&mut open, servers),
            Err(refusal) => tell("the medium", &AttemptError::Refused(refusal)),
        }
    }
    let found = visit(identity, sources, open).await?;
    if found.is_some() {
        return Ok(found);
    }
    let mut servers = Vec::new();
    if let Some(domain) = &sources.domain {
        let name = format!("{SERVICE}.{domain}");
        for (host, port) in lookup::services(&name, &sources.resolvers).await {
            servers.push(BootstrapServer { host, port });
        }
    }
    servers.extend(sources.servers.iter().cloned());
    let open = servers.into_iter().rev();
    visit(
        identity,
        sources,
        open.map(|server| (server, Trail::default())).collect(),
    )
    .await
}

/// Asks servers, the last of `open` first, and those that they send us to before the others.
async fn visit(
    identity: &Identity,
    sources: &Sources,
    mut open: Vec<(BootstrapServer, Trail)>,
) -> Result<Option<Sought>, Fault> {
    for _ in 0..VISITS_MAX {
        let Some((server, trail)) = open.pop() else {
            break;
        };
        match ask(identity, sources, &server, trail).await {
            Ok(Found::Owner(owner)) => {
                return Ok(Some(Sought {
                    owner: *owner,
                    told_by: Some(server),
                }));
            }
            Ok(Found::Elsewhere(servers)) => push(&mut open, servers),
            Err(error) => tell("a bootstrap server", &error.fatal()?),
        }
    }
    Ok(None)
}

async fn ask(
    identity: &Identity,
    sources: &Sources,
    server: &BootstrapServer,
    trail: Trail,
) -> Result<Found, AttemptError> {
    let nonce = nonce().map_err(|_| AttemptError::Identity("no random numbers"))?;
    let (question, asked) = trail.ask(&identity.device, nonce);
    let answer = discover::ask(server, &sources.resolvers, identity, &question).await?;
    Ok(asked.answered(&answer.artifacts, &identity.device)?)
}

fn push(
    open: &mut Vec<(BootstrapServer, Trail)>,
    servers: Vec<(bartizan_bootstrap_protocol::conveyed::Server, Trail)>,
) {
    let room = VISITS_MAX.saturating_sub(open.len());
    let servers = servers.into_iter().take(room).rev();
    open.extend(servers.map(|(server, trail)| {
        let server = BootstrapServer {
            host: server.host.as_str().to_owned(),
            port: server.port,
        };
        (server, trail)
    }));
}

fn tell(who: &str, error: &AttemptError) {
    journal::log(Level::Warn, format_args!("{who}: {}", error.words()));
}

fn nonce() -> Result<Nonce, Fault> {
    let mut nonce = [0; 32];
    random(&mut nonce)?;
    Ok(Nonce(nonce))
}

/// Fills with random bytes.
pub(crate) fn random(bytes: &mut [u8]) -> Result<(), Fault> {
    let got = rustix::rand::getrandom(&mut *bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|errno| Fault::os("getrandom", errno))?;
    if got == bytes.len() {
        Ok(())
    } else {
        Err(Fault::new(Exit::OsErr, "getrandom gives too little"))
    }
}
