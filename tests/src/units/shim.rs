//! The step between the service manager and a program: gives everything up that the unit does not grant, then becomes
//! the program. A process of its own, since only one's own credentials can be changed.

use std::{
    fs::File,
    io::IoSliceMut,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::Command,
};

use capctl::caps::{Cap, CapSet, CapState, ambient, bounding};
use rustix::{
    fs::{Gid, Mode, Uid},
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
    process::{Rlimit, Signal, setrlimit, umask},
    thread::{set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};
use serde::{Deserialize, Serialize};

use super::{calls::Filter, service::Resource};

/// The argument that makes the service manager's program this step.
pub const ARGUMENT: &str = "--exec-shim";

/// The most descriptors that a service may be passed.
pub(super) const MOST_FDS: usize = 16;

/// More than any order needs.
pub(super) const MOST_BYTES: usize = 65536;

/// What to become; comes on standard input, which is a socket, beside the descriptors to pass on.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) command: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: Vec<u32>,
    pub(super) bounding: Option<Vec<String>>,
    pub(super) ambient: Vec<String>,
    pub(super) no_new_privileges: bool,
    pub(super) umask: u32,
    pub(super) limits: Vec<(Resource, u64)>,
    pub(super) filter: Filter,
    pub(super) descriptor_names: Vec<String>,
}

/// Takes the order and becomes its program.
///
/// # Panics
/// If any of it cannot be done: the service then ends without having run.
pub fn exec() -> ! {
    let (order, descriptors) = receive();
    for (at, descriptor) in descriptors.into_iter().enumerate() {
        // sd_listen_fds(3): they begin at 3, and stay open across the exec.
        assert_eq!(
            usize::try_from(descriptor.into_raw_fd()),
            Ok(3 + at),
            "descriptors in a row"
        );
    }
    std::env::set_current_dir("/").expect("change to the root folder");
    umask(Mode::from_raw_mode(order.umask));
    for &(resource, limit) in &order.limits {
        let resource = match resource {
            Resource::Core => rustix::process::Resource::Core,
            Resource::Memlock => rustix::process::Resource::Memlock,
            Resource::Nofile => rustix::process::Resource::Nofile,
        };
        let limit = Rlimit {
            current: Some(limit),
            maximum: Some(limit),
        };
        setrlimit(resource, limit).expect("set a limit");
    }
    give_up_privileges(&order);
    // Only after the change of user, which would clear it.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .expect("end with the service manager");
    let nothing = File::open("/dev/null").expect("open /dev/null");
    rustix::stdio::dup2_stdin(&nothing).expect("read from /dev/null");
    drop(nothing);

    let pid = std::process::id().to_string();
    let mut command = Command::new(&order.command[0]);
    command
        .args(&order.command[1..])
        .env_clear()
        .envs(order.environment.iter().map(|(name, value)| (name, value)))
        .env("WATCHDOG_PID", &pid);
    if !order.descriptor_names.is_empty() {
        command
            .env("LISTEN_PID", &pid)
            .env("LISTEN_FDS", order.descriptor_names.len().to_string())
            .env("LISTEN_FDNAMES", order.descriptor_names.join(":"));
    }
    order.filter.apply();
    panic!("cannot run {}: {}", order.command[0], command.exec());
}

/// In this order each step still has the privilege that it needs.
fn give_up_privileges(order: &Order) {
    if let Some(names) = &order.bounding {
        let kept = set(names);
        for cap in Cap::iter().filter(|&cap| cap.is_supported() && !kept.has(cap)) {
            bounding::drop(cap).expect("drop from the bounding set");
        }
    }
    let ambient = set(&order.ambient);
    let groups: Vec<Gid> = order.groups.iter().map(|&gid| Gid::from_raw(gid)).collect();
    set_thread_groups(&groups).expect("set the groups");
    let (uid, gid) = (Uid::from_raw(order.uid), Gid::from_raw(order.gid));
    set_thread_res_gid(gid, gid, gid).expect("set the group");
    capctl::prctl::set_keepcaps(true).expect("keep capabilities across the change of user");
    set_thread_res_uid(uid, uid, uid).expect("set the user");
    let state = CapState {
        effective: ambient,
        permitted: ambient,
        inheritable: ambient,
    };
    state.set_current().expect("set the capabilities");
    for cap in ambient.iter() {
        ambient::raise(cap).expect("raise an ambient capability");
    }
    capctl::prctl::set_keepcaps(false).expect("keep no more capabilities");
    if order.no_new_privileges {
        set_no_new_privs(true).expect("set no_new_privs");
    }
}

fn set(names: &[String]) -> CapSet {
    names
        .iter()
        .map(|name| {
            name.parse::<Cap>()
                .unwrap_or_else(|_| panic!("no capability {name}"))
        })
        .collect()
}

/// The descriptors get the lowest free numbers, and are kept across an exec: asked for so by the absent flag.
fn receive() -> (Order, Vec<OwnedFd>) {
    let mut bytes = vec![0; MOST_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let stdin = std::io::stdin();
    assert!(stdin.as_fd().as_raw_fd() == 0, "standard input");
    let received = recvmsg(
        stdin.as_fd(),
        &mut [IoSliceMut::new(&mut bytes)],
        &mut ancillary,
        RecvFlags::empty(),
    )
    .expect("an order on standard input");
    let order =
        serde_json::from_slice(&bytes[..received.bytes]).expect("an order of the service manager");
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    (order, descriptors)
}
