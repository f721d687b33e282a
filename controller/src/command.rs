//! The command line.

mod device;
mod options;
mod voucher;

use core::fmt;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bartizan_process::Exit;

use crate::clock::owner_time;
use crate::config::{Config, ConfigError};
use crate::local::{Answer, DeviceAnswer, Request};
use crate::maker::MakerError;
use crate::plan::{Document, Plan, PlanErrors};
use crate::serve::{ServeError, chain, serve};
use options::{Known, Options};

const USAGE: &str = "usage: bartizan-controller serve --config FILE
       bartizan-controller check FILE
       bartizan-controller apply FILE [--socket PATH] [--wait SECONDS]
       bartizan-controller status [--json] [--socket PATH]

       bartizan-controller device list [--json] [--socket PATH]
       bartizan-controller device show SERIAL [--json] [--socket PATH]
       bartizan-controller device add SERIAL NODE [--site FILE] [--socket PATH]
       bartizan-controller device site SERIAL FILE [--socket PATH]
       bartizan-controller device voucher FILE [--socket PATH]
       bartizan-controller device attest SERIAL [--wait SECONDS] [--socket PATH]
       bartizan-controller device approve SERIAL [--new-pins] [--socket PATH]
       bartizan-controller device revoke SERIAL [--socket PATH]
       bartizan-controller device release SERIAL [--socket PATH]
       bartizan-controller device retire SERIAL [--socket PATH]
       bartizan-controller device transfer FILE [--socket PATH]

       bartizan-controller voucher make --serial SERIAL --epoch NUMBER
           --owner-ca FILE --owner-ml-dsa-65 FILE (--days NUMBER | --nonce BASE64)
           --certificates FILE --key FILE --ml-dsa-65-key FILE --output FILE
       bartizan-controller voucher show FILE --es384 FILE --ml-dsa-65 FILE";

/// Where `serve` listens if a command is not told.
const SOCKET: &str = "/run/bartizan-controller/controller.sock";

/// Why a command does not succeed.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error("{USAGE}")]
    Usage,
    #[error("{}", path.display())]
    Config {
        path: PathBuf,
        #[source]
        cause: ConfigError,
    },
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error("{}", path.display())]
    File {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("{}", in_file(path, cause))]
    Plan { path: PathBuf, cause: PlanErrors },
    #[error("cannot speak with the controller at {}; does `bartizan-controller serve` run there?", path.display())]
    Socket {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("{}", .0.replace('\n', "\n  "))]
    Refused(String),
    #[error("not protected: {}", .0.join(", "))]
    Unprotected(Vec<String>),
    #[error("another plan was applied meanwhile")]
    Superseded,
    #[error("{0}: {1}")]
    Word(&'static str, String),
    #[error("{}: {}", path.display(), cause.trim_end())]
    Site { path: PathBuf, cause: String },
    #[error("{} holds no such key or certificate", .0.display())]
    Key(PathBuf),
    #[error("voucher")]
    Voucher(#[from] MakerError),
    #[error("cannot write the answer")]
    Output(#[source] io::Error),
}

/// Does what the command line says; all of `main`.
pub fn run(arguments: impl IntoIterator<Item = String>) -> ExitCode {
    match carry_out(arguments.into_iter()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where nobody reads, the exit code says it too.
            let _unread = writeln!(io::stderr(), "bartizan-controller: {}", chain(&error));
            error.exit()
        }
    }
}

fn carry_out(mut words: impl Iterator<Item = String>) -> Result<(), CommandError> {
    match words.next().as_deref() {
        Some("serve") => {
            let known = Known {
                words: 0,
                values: &["--config"],
                switches: &[],
            };
            let options = Options::read(words, &known)?;
            let path = PathBuf::from(options.needed("--config")?);
            let config = Config::read(&path);
            let config = config.map_err(|cause| CommandError::Config { path, cause })?;
            Ok(serve(&config)?)
        }
        Some("check") => {
            let known = Known {
                words: 1,
                values: &[],
                switches: &[],
            };
            let (_, plan) = read_plan(&Options::read(words, &known)?.file()?)?;
            say(format_args!(
                "{} nodes, {} tunnels",
                plan.nodes.len(),
                plan.tunnels.len()
            ))
        }
        Some("apply") => {
            let known = Known {
                words: 1,
                values: &["--socket", "--wait"],
                switches: &[],
            };
            let mut options = Options::read(words, &known)?;
            let (document, _) = read_plan(&options.file()?)?;
            let request = Request::Apply {
                document: Box::new(document),
                wait: options.number("--wait")?,
            };
            ask(&options.socket(), &request, |answer| tell(answer, false))
        }
        Some("status") => {
            let known = Known {
                words: 0,
                values: &["--socket"],
                switches: &["--json"],
            };
            let options = Options::read(words, &known)?;
            ask(&options.socket(), &Request::Status, |answer| {
                tell(answer, options.has("--json"))
            })
        }
        Some("device") => device::device(words),
        Some("voucher") => voucher::voucher(words),
        _ => Err(CommandError::Usage),
    }
}

fn read_plan(path: &Path) -> Result<(Document, Plan), CommandError> {
    let text = fs::read_to_string(path).map_err(|cause| CommandError::File {
        path: path.to_owned(),
        cause,
    })?;
    Plan::parse(&text).map_err(|cause| CommandError::Plan {
        path: path.to_owned(),
        cause,
    })
}

/// Sends a request and takes each line of the answer.
fn ask(
    socket: &Path,
    request: &Request,
    mut take: impl FnMut(Answer) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let fault = |cause: io::Error| CommandError::Socket {
        path: socket.to_owned(),
        cause,
    };
    let mut stream = UnixStream::connect(socket).map_err(fault)?;
    let mut line = serde_json::to_vec(request).map_err(|error| fault(error.into()))?;
    line.push(b'\n');
    stream.write_all(&line).map_err(fault)?;
    let mut answered = false;
    for line in BufReader::new(stream).lines() {
        let line = line.map_err(fault)?;
        let answer = serde_json::from_str(&line).map_err(|error| fault(error.into()))?;
        take(answer)?;
        answered = true;
    }
    if answered {
        Ok(())
    } else {
        Err(fault(io::ErrorKind::UnexpectedEof.into()))
    }
}

fn tell(answer: Answer, json: bool) -> Result<(), CommandError> {
    match answer {
        Answer::Applied { version, tunnels } => {
            say(format_args!("plan {version} applied: {tunnels} tunnels"))
        }
        Answer::Protected {
            tunnel,
            milliseconds,
        } => say(format_args!(
            "{tunnel} protected at both ends after {milliseconds} ms"
        )),
        Answer::Unprotected { tunnels } => Err(CommandError::Unprotected(tunnels)),
        Answer::Superseded => Err(CommandError::Superseded),
        Answer::Status(status) if json => as_json(&status),
        Answer::Status(status) => say(format_args!("{}", status.to_string().trim_end())),
        Answer::Refused { why } => Err(CommandError::Refused(why)),
        Answer::Device(DeviceAnswer::Device(device)) if json => as_json(&device),
        Answer::Device(DeviceAnswer::Device(device)) => {
            let now = owner_time().0;
            match device.history {
                Some(_) => say(format_args!("{}", device.page(now).to_string().trim_end())),
                None => say(format_args!("{}", device.line(now))),
            }
        }
        Answer::Device(DeviceAnswer::Devices(devices)) if json => as_json(&devices),
        Answer::Device(DeviceAnswer::Devices(devices)) => {
            let now = owner_time().0;
            devices
                .iter()
                .try_for_each(|device| say(format_args!("{}", device.line(now))))
        }
    }
}

fn as_json(value: &impl serde::Serialize) -> Result<(), CommandError> {
    let text = serde_json::to_string_pretty(value);
    let text = text.map_err(|error| CommandError::Output(error.into()))?;
    say(format_args!("{text}"))
}

fn say(line: fmt::Arguments<'_>) -> Result<(), CommandError> {
    writeln!(io::stdout(), "{line}").map_err(CommandError::Output)
}

fn in_file(path: &Path, errors: &PlanErrors) -> String {
    let lines = errors.all().iter();
    let lines: Vec<String> = lines
        .map(|error| format!("{}: {error}", path.display()))
        .collect();
    lines.join("\n")
}

impl CommandError {
    fn exit(&self) -> ExitCode {
        match self {
            Self::Usage => Exit::Usage.into(),
            Self::Config { .. } => Exit::Config.into(),
            Self::Serve(_) => Exit::OsErr.into(),
            Self::File { .. } | Self::Output(_) => Exit::IoErr.into(),
            Self::Plan { .. }
            | Self::Refused(_)
            | Self::Word(..)
            | Self::Site { .. }
            | Self::Key(_)
            | Self::Voucher(_) => Exit::Config.into(),
            Self::Socket { .. } => Exit::Unavailable.into(),
            Self::Unprotected(_) | Self::Superseded => Exit::TempFail.into(),
        }
    }
}
