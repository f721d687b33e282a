//! The command line.

use core::fmt;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bartizan_process::Exit;

use crate::config::{Config, ConfigError};
use crate::local::{Answer, Request};
use crate::plan::{Document, Plan, PlanErrors};
use crate::serve::{ServeError, chain, serve};

const USAGE: &str = "usage: bartizan-controller serve --config FILE
       bartizan-controller check FILE
       bartizan-controller apply FILE [--socket PATH] [--wait SECONDS]
       bartizan-controller status [--json] [--socket PATH]";

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
    #[error("cannot speak with the controller at {}", path.display())]
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
            let options = Options::read(words, &["--config"])?;
            let path = PathBuf::from(options.config.ok_or(CommandError::Usage)?);
            let config = Config::read(&path);
            let config = config.map_err(|cause| CommandError::Config { path, cause })?;
            Ok(serve(&config)?)
        }
        Some("check") => {
            let options = Options::read(words, &["FILE"])?;
            let (_, plan) = read_plan(&options.file.ok_or(CommandError::Usage)?)?;
            say(format_args!(
                "{} nodes, {} tunnels",
                plan.nodes.len(),
                plan.tunnels.len()
            ))
        }
        Some("apply") => {
            let options = Options::read(words, &["FILE", "--socket", "--wait"])?;
            let (document, _) = read_plan(&options.file.ok_or(CommandError::Usage)?)?;
            let request = Request::Apply {
                document: Box::new(document),
                wait: options.wait,
            };
            ask(&options.socket, &request, |answer| tell(answer, false))
        }
        Some("status") => {
            let options = Options::read(words, &["--json", "--socket"])?;
            ask(&options.socket, &Request::Status, |answer| {
                tell(answer, options.json)
            })
        }
        _ => Err(CommandError::Usage),
    }
}

/// The words behind a command.
struct Options {
    file: Option<PathBuf>,
    config: Option<String>,
    socket: PathBuf,
    wait: Option<u64>,
    json: bool,
}

impl Options {
    fn read(mut words: impl Iterator<Item = String>, known: &[&str]) -> Result<Self, CommandError> {
        let mut options = Self {
            file: None,
            config: None,
            socket: PathBuf::from(SOCKET),
            wait: None,
            json: false,
        };
        while let Some(word) = words.next() {
            let name = if word.starts_with("--") {
                &word
            } else {
                "FILE"
            };
            if !known.contains(&name) {
                return Err(CommandError::Usage);
            }
            match name {
                "--json" => options.json = true,
                "FILE" if options.file.is_none() => options.file = Some(PathBuf::from(word)),
                _ => {
                    let value = words.next().ok_or(CommandError::Usage)?;
                    match name {
                        "--config" => options.config = Some(value),
                        "--socket" => options.socket = PathBuf::from(value),
                        "--wait" => {
                            let wait = value.parse().map_err(|_| CommandError::Usage)?;
                            options.wait = Some(wait);
                        }
                        _ => return Err(CommandError::Usage),
                    }
                }
            }
        }
        Ok(options)
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
        Answer::Status(status) if json => {
            let text = serde_json::to_string_pretty(&status);
            let text = text.map_err(|error| CommandError::Output(error.into()))?;
            say(format_args!("{text}"))
        }
        Answer::Status(status) => say(format_args!("{}", status.to_string().trim_end())),
        Answer::Refused { why } => Err(CommandError::Refused(why)),
    }
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
            Self::Plan { .. } | Self::Refused(_) => Exit::Config.into(),
            Self::Socket { .. } => Exit::Unavailable.into(),
            Self::Unprotected(_) | Self::Superseded => Exit::TempFail.into(),
        }
    }
}
