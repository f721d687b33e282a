//! Makes a service's process.

use std::{
    fs::{self, File},
    io::IoSlice,
    mem::MaybeUninit,
    os::{fd::BorrowedFd, unix::fs::chown},
    path::Path,
    process::{Child, Command, Stdio},
};

use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    sendmsg, socketpair,
};

use super::{
    UnitError,
    accounts::Accounts,
    calls::SystemCalls,
    service::Service,
    shim::{ARGUMENT, MOST_BYTES, MOST_FDS, Order},
};

/// The folder in which a unit file names the binaries.
const SHIPPED_FOLDER: &str = "/usr/bin";

/// Where services keep their state.
const STATE_FOLDER: &str = "/var/lib";

/// What every service gets beside its own.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin";

/// What a service is started with.
pub(super) struct Surroundings<'manager> {
    pub(super) accounts: &'manager Accounts,
    pub(super) calls: &'manager SystemCalls,
    /// Where the binaries are instead of `/usr/bin`.
    pub(super) binaries: &'manager Path,
    /// Where its output goes.
    pub(super) journal: &'manager File,
    /// Where it reports.
    pub(super) inbox: &'manager Path,
    /// What it is passed, by name: sockets first, then what it has stored.
    pub(super) descriptors: Vec<(&'manager str, BorrowedFd<'manager>)>,
}

/// Starts `service`; its program runs once the order has been read.
pub(super) fn launch(
    service: &Service,
    surroundings: &Surroundings<'_>,
) -> Result<Child, UnitError> {
    if let Some(name) = &service.execution.state {
        own_state(&Path::new(STATE_FOLDER).join(name), service, surroundings)?;
    }
    let order = serde_json::to_vec(&order(service, surroundings)?).expect("an order is plain text");
    assert!(
        order.len() <= MOST_BYTES,
        "an order of at most {MOST_BYTES} bytes"
    );
    let (ours, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .expect("a pair of sockets");
    let own = std::env::current_exe().expect("the path of this program");
    let mut command = if service.execution.private_network {
        let mut command = Command::new("unshare");
        command.args(["--net", "--"]).arg(own);
        command
    } else {
        Command::new(own)
    };
    let output = || Stdio::from(surroundings.journal.try_clone().expect("share the journal"));
    let child = command
        .arg(ARGUMENT)
        .stdin(Stdio::from(theirs))
        .stdout(output())
        .stderr(output())
        .spawn()
        .unwrap_or_else(|cause| panic!("cannot start {}: {cause}", service.unit));

    let descriptors: Vec<BorrowedFd<'_>> =
        surroundings.descriptors.iter().map(|(_, fd)| *fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        let pushed = ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        assert!(pushed, "at most {MOST_FDS} descriptors");
    }
    sendmsg(
        &ours,
        &[IoSlice::new(&order)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )
    .expect("send an order");
    Ok(child)
}

/// Makes the folder of a service's state, and everything in it, its user's (`systemd.exec(5)`).
fn own_state(
    folder: &Path,
    service: &Service,
    surroundings: &Surroundings<'_>,
) -> Result<(), UnitError> {
    let execution = &service.execution;
    let user = surroundings.accounts.user(&execution.user)?;
    let group = execution.group.as_ref().unwrap_or(&execution.user);
    let group = surroundings.accounts.group(group)?;
    fs::create_dir_all(folder).expect("make a state folder");
    let entries = fs::read_dir(folder).expect("read a state folder");
    let paths = entries.map(|entry| entry.expect("an entry of a state folder").path());
    for path in paths.chain([folder.to_owned()]) {
        chown(&path, Some(user), Some(group)).expect("give a state folder to its service");
    }
    Ok(())
}

fn order(service: &Service, surroundings: &Surroundings<'_>) -> Result<Order, UnitError> {
    let execution = &service.execution;
    let accounts = surroundings.accounts;
    let mut command = execution.command.clone();
    if let Ok(name) = Path::new(&command[0]).strip_prefix(SHIPPED_FOLDER) {
        command[0] = surroundings.binaries.join(name).display().to_string();
    }
    let mut environment = vec![
        ("PATH".to_owned(), PATH.to_owned()),
        ("USER".to_owned(), execution.user.clone()),
        ("LOGNAME".to_owned(), execution.user.clone()),
        (
            "NOTIFY_SOCKET".to_owned(),
            surroundings.inbox.display().to_string(),
        ),
    ];
    if let Some(watchdog) = service.watchdog {
        environment.push(("WATCHDOG_USEC".to_owned(), watchdog.as_micros().to_string()));
    }
    for assignment in &execution.environment {
        let (name, value) = assignment.split_once('=').unwrap_or((assignment, ""));
        environment.push((name.to_owned(), value.to_owned()));
    }
    let group = execution.group.as_ref().unwrap_or(&execution.user);
    Ok(Order {
        command,
        environment,
        uid: accounts.user(&execution.user)?,
        gid: accounts.group(group)?,
        groups: execution
            .supplementary
            .iter()
            .map(|name| accounts.group(name))
            .collect::<Result<_, _>>()?,
        bounding: execution.bounding.clone(),
        ambient: execution.ambient.clone(),
        no_new_privileges: execution.no_new_privileges,
        umask: execution.umask,
        limits: execution.limits.clone(),
        filter: surroundings.calls.filter(execution)?,
        descriptor_names: surroundings
            .descriptors
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect(),
    })
}
