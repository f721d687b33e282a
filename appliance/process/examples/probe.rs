//! The smallest role: it starts as every role does, then tries what its arguments name and reports
//! the kernel's answer, so that the tests see what a locked-down role can still do.
//!
//! `probe ROLE ATTEMPT`
#![forbid(unsafe_code)]

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::process::ExitCode;

use bartizan_model::message::{Role, RoleToSupervisor};
use bartizan_process::{Exit, Fault, Started, run};
use bartizan_secret::{LockedBuffer, Secret};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (role, attempt) = (arguments.next(), arguments.next());
    let role = match role.as_deref() {
        Some("engine") => Role::Engine,
        Some("xfrm") => Role::Xfrm,
        Some("control") => Role::Control,
        Some("peer") => Role::Peer,
        Some("qkd") => Role::Qkd,
        Some("tpm") => Role::Tpm,
        Some("updater") => Role::Updater,
        _ => return Exit::Usage.into(),
    };
    run(
        role,
        || Ok(()),
        |started| work(started, &attempt.unwrap_or_default()),
    )
}

fn work(mut started: Started<()>, attempt: &str) -> Result<(), Fault> {
    let answer = match attempt {
        "open" => errno(File::open("/etc/passwd")),
        "write" => errno(File::create("/tmp/bartizan-probe")),
        "udp" => errno(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))),
        "listen" => errno(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))),
        "dial" => errno(TcpStream::connect((Ipv4Addr::LOCALHOST, 1))),
        "program" => errno(program()),
        "signal" => {
            let parent = rustix::process::getppid().unwrap_or(rustix::process::getpid());
            errno(rustix::process::kill_process(
                parent,
                rustix::process::Signal::CONT,
            ))
        }
        "thread" => errno(
            std::thread::Builder::new()
                .spawn(|| ())
                .map(|thread| thread.join().is_ok()),
        ),
        "arena" => {
            let many: Result<Vec<_>, _> = (0..600).map(|_| Secret::from_fn(32, |_| {})).collect();
            u64::from(many.is_err() || LockedBuffer::new(1 << 16).is_err())
        }
        "file-probe" => errno(std::fs::metadata("/etc/passwd")),
        "ends" => ends(&mut started)?,
        _ => 0,
    };
    let name = attempt.to_owned();
    started.supervisor.send(&RoleToSupervisor::Counted {
        name,
        total: answer,
    })?;
    // Until the supervisor ends it.
    loop {
        started.watchdog.feed(bartizan_process::boot_time());
        started.supervisor.recv()?;
        let fd = rustix::event::PollFd::new(&started.supervisor, rustix::event::PollFlags::IN);
        rustix::event::poll(&mut [fd], None).map_err(|errno| Fault::os("poll", errno))?;
    }
}

/// Takes the two ends that the tests grant.
fn ends(started: &mut Started<()>) -> Result<u64, Fault> {
    use bartizan_model::message::{
        ControlToEngine, Edge, EngineToControl, EngineToXfrm, XfrmToEngine,
    };
    let control = started
        .ends
        .take::<ControlToEngine, EngineToControl>(Edge::ControlEngine);
    let xfrm = started
        .ends
        .take::<XfrmToEngine, EngineToXfrm>(Edge::EngineXfrm);
    let again = started
        .ends
        .take::<XfrmToEngine, EngineToXfrm>(Edge::EngineXfrm);
    drop((control?, xfrm?));
    Ok(u64::from(again.is_ok()))
}

#[expect(clippy::disallowed_methods, reason = "what no role may do")]
fn program() -> std::io::Result<std::process::Child> {
    std::process::Command::new("/bin/true").spawn()
}

/// The kernel's answer: 0, or its error number.
fn errno<T, E: Into<std::io::Error>>(outcome: Result<T, E>) -> u64 {
    let Err(error) = outcome else { return 0 };
    error
        .into()
        .raw_os_error()
        .and_then(|errno| errno.try_into().ok())
        .unwrap_or(u64::MAX)
}
