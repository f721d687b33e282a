//! The system calls a locked-down process may make, each with its reason.
//!
//! What is not here ends the process (SIGSYS). Adding a row widens what a taken-over process can
//! do: the reason has to say why that is worth it.

/// One process, or several, as bits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Who(u16);

impl Who {
    pub(crate) const SUPERVISOR: Self = Self(1);
    pub(crate) const ENGINE: Self = Self(1 << 1);
    pub(crate) const XFRM: Self = Self(1 << 2);
    pub(crate) const CONTROL: Self = Self(1 << 3);
    pub(crate) const PEER: Self = Self(1 << 4);
    pub(crate) const QKD: Self = Self(1 << 5);
    pub(crate) const TPM: Self = Self(1 << 6);
    pub(crate) const BOOTSTRAP: Self = Self(1 << 7);
    pub(crate) const UPDATER: Self = Self(1 << 8);

    const EVERY: Self = Self(u16::MAX);
    /// Every process but the supervisor, which keeps ownership in a file.
    const FILELESS: Self = Self(!1);
    /// The roles with a network.
    const NET: Self = Self::CONTROL
        .and(Self::PEER)
        .and(Self::QKD)
        .and(Self::BOOTSTRAP);
    /// The roles with locked memory.
    pub(crate) const LOCKED: Self = Self::ENGINE.and(Self::XFRM).and(Self::QKD).and(Self::TPM);

    const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Says whether all of `process` is in this set.
    pub(crate) const fn holds(self, process: Self) -> bool {
        self.0 & process.0 == process.0
    }
}

/// An argument, by its place, of which the bits under `mask` must be `value`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arg {
    pub(crate) place: u8,
    pub(crate) mask: u32,
    pub(crate) value: u32,
}

/// A system call that is permitted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) number: i64,
    /// Whose processes make it.
    pub(crate) who: Who,
    /// Alternatives, of each of which every argument must fit; empty: any arguments.
    pub(crate) only: &'static [&'static [Arg]],
    /// What it is for; the table is read in review.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the reader"))]
    pub(crate) reason: &'static str,
}

const fn call(number: i64, who: Who, reason: &'static str) -> Call {
    Call {
        number,
        who,
        only: &[],
        reason,
    }
}

const fn only(
    number: i64,
    who: Who,
    only: &'static [&'static [Arg]],
    reason: &'static str,
) -> Call {
    Call {
        number,
        who,
        only,
        reason,
    }
}

const fn arg(place: u8, value: u32) -> Arg {
    Arg {
        place,
        mask: u32::MAX,
        value,
    }
}

const fn without(place: u8, mask: u32) -> Arg {
    Arg {
        place,
        mask,
        value: 0,
    }
}

const fn masked(place: u8, mask: u32, value: u32) -> Arg {
    Arg { place, mask, value }
}

// The constants of these files are small and not negative.
const PROT_EXEC: u32 = 4;
const F_DUPFD_CLOEXEC: u32 = 1030;
const F_GETFD: u32 = 1;
const F_GETFL: u32 = 3;
const F_SETFL: u32 = 4;
const F_ADD_SEALS: u32 = 1033;
const F_GET_SEALS: u32 = 1034;
const FIONBIO: u32 = 0x5421;
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
const SOCK_STREAM: u32 = 1;
const SOCK_DGRAM: u32 = 2;
const SOCK_TYPE: u32 = 0xf;
const SIGABRT: u32 = 6;
const CLONE_VM_AND_THREAD: u32 = 0x0001_0100;
const PR_SET_NAME: u32 = 15;

/// Permitted calls.
pub(crate) const PERMITTED: &[Call] = &[
    // Channels, notifications, the journal.
    call(
        libc::SYS_recvmsg,
        Who::EVERY,
        "channels in; netlink replies",
    ),
    call(
        libc::SYS_sendmsg,
        Who::EVERY,
        "channels out; notifications; netlink orders",
    ),
    call(
        libc::SYS_read,
        Who::EVERY,
        "the kernel's word on the lock-down; event and timer counters; the TPM",
    ),
    call(
        libc::SYS_write,
        Who::EVERY,
        "journal lines; event counters; the TPM",
    ),
    call(
        libc::SYS_writev,
        Who::EVERY,
        "journal lines of the runtime; TLS records in parts",
    ),
    call(libc::SYS_close, Who::EVERY, "descriptors end"),
    call(libc::SYS_ppoll, Who::EVERY, "the loops rest here"),
    #[cfg(target_arch = "x86_64")]
    call(libc::SYS_poll, Who::EVERY, "the loops rest here"),
    only(
        libc::SYS_fcntl,
        Who::EVERY,
        &[
            &[arg(1, F_GETFD)],
            &[arg(1, F_GETFL)],
            &[arg(1, F_SETFL)],
            &[arg(1, F_DUPFD_CLOEXEC)],
        ],
        "the runtime checks and duplicates its descriptors",
    ),
    only(
        libc::SYS_ioctl,
        Who::EVERY,
        &[&[arg(1, FIONBIO)]],
        "ends that are handed over later become non-blocking",
    ),
    // Time.
    call(
        libc::SYS_clock_gettime,
        Who::EVERY,
        "where the kernel maps no clock page",
    ),
    call(
        libc::SYS_time,
        Who::TPM,
        "the clock again, as the TPM's library asks for it where the vDSO has none",
    ),
    call(
        libc::SYS_timerfd_create,
        Who::XFRM,
        "the watch on clock steps",
    ),
    call(
        libc::SYS_timerfd_settime,
        Who::XFRM,
        "the watch on clock steps, armed again",
    ),
    // Memory. Nothing becomes executable any more.
    only(
        libc::SYS_mmap,
        Who::EVERY,
        &[&[without(2, PROT_EXEC)]],
        "the heap; arenas",
    ),
    only(
        libc::SYS_mprotect,
        Who::EVERY,
        &[&[without(2, PROT_EXEC)]],
        "the heap; guard pages",
    ),
    call(libc::SYS_munmap, Who::EVERY, "the heap; arenas"),
    call(libc::SYS_mremap, Who::EVERY, "the heap"),
    call(libc::SYS_brk, Who::EVERY, "the heap"),
    call(
        libc::SYS_madvise,
        Who::EVERY,
        "the heap; locked pages are kept from dumps and children",
    ),
    call(libc::SYS_memfd_secret, Who::LOCKED, "a further arena"),
    call(
        libc::SYS_ftruncate,
        Who::LOCKED.and(Who::CONTROL),
        "its size; the copy of `running`",
    ),
    call(
        libc::SYS_mlock,
        Who::LOCKED,
        "a further arena, without memfd_secret",
    ),
    call(
        libc::SYS_getrandom,
        Who::EVERY,
        "nonces, keys, SPIs, jitter",
    ),
    call(libc::SYS_futex, Who::EVERY, "locks of the runtime"),
    call(libc::SYS_sched_yield, Who::EVERY, "locks of the libraries"),
    // The end.
    call(libc::SYS_exit_group, Who::EVERY, "the end"),
    call(libc::SYS_exit, Who::EVERY, "the end"),
    call(
        libc::SYS_sigaltstack,
        Who::EVERY,
        "the runtime takes its signal stack down",
    ),
    call(libc::SYS_rt_sigaction, Who::EVERY, "the way to abort"),
    call(libc::SYS_rt_sigprocmask, Who::EVERY, "the way to abort"),
    call(
        libc::SYS_rt_sigreturn,
        Who::EVERY,
        "the way out of a handler",
    ),
    call(
        libc::SYS_restart_syscall,
        Who::EVERY,
        "a stopped process goes on",
    ),
    call(libc::SYS_getpid, Who::EVERY, "the way to abort"),
    call(libc::SYS_gettid, Who::EVERY, "the way to abort"),
    only(libc::SYS_tgkill, Who::EVERY, &[&[arg(2, SIGABRT)]], "abort"),
    // Only what has a socket already: netlink, the switchboard, the status socket.
    call(
        libc::SYS_sendto,
        Who::NET.and(Who::XFRM).and(Who::SUPERVISOR),
        "TCP out; netlink orders; the status",
    ),
    call(
        libc::SYS_recvfrom,
        Who::NET.and(Who::XFRM),
        "TCP in; netlink replies",
    ),
    call(
        libc::SYS_accept4,
        Who::SUPERVISOR.and(Who::PEER),
        "roles and readers of the status; peers",
    ),
    call(
        libc::SYS_getsockopt,
        Who::NET.and(Who::SUPERVISOR),
        "the outcome of a connect; the uid of a role",
    ),
    call(libc::SYS_socketpair, Who::SUPERVISOR, "the edges"),
    only(
        libc::SYS_fcntl,
        Who::SUPERVISOR.and(Who::CONTROL),
        &[&[arg(1, F_GET_SEALS)], &[arg(1, F_ADD_SEALS)]],
        "the copy of `running` is sealed, and its seals are checked",
    ),
    call(
        libc::SYS_memfd_create,
        Who::CONTROL,
        "the copy of `running`",
    ),
    call(
        libc::SYS_pread64,
        Who::CONTROL.and(Who::TPM),
        "the copy of `running` from before a restart; the logs of the boot",
    ),
    call(
        libc::SYS_lseek,
        Who::CONTROL.and(Who::SUPERVISOR).and(Who::UPDATER),
        "the copy of `running` from before a restart; the rest of a file; the first boot entry",
    ),
    call(
        libc::SYS_fstat,
        Who::CONTROL.and(Who::SUPERVISOR),
        "its size",
    ),
    // Ownership, and what networkd and removable media offer; Landlock says where.
    call(
        libc::SYS_openat,
        Who::SUPERVISOR,
        "ownership; leases; media",
    ),
    call(
        libc::SYS_statx,
        Who::SUPERVISOR,
        "what a lease or medium is",
    ),
    call(
        libc::SYS_newfstatat,
        Who::SUPERVISOR,
        "what a lease or medium is",
    ),
    call(
        libc::SYS_getdents64,
        Who::SUPERVISOR.and(Who::UPDATER),
        "the leases there are; the boot entries there are",
    ),
    call(
        libc::SYS_fsync,
        Who::SUPERVISOR,
        "ownership outlives a power cut",
    ),
    call(
        libc::SYS_renameat,
        Who::SUPERVISOR,
        "ownership is replaced as a whole",
    ),
    call(libc::SYS_unlinkat, Who::SUPERVISOR, "ownership ends"),
    // The boot entries, in a folder that was opened before; Landlock says where.
    call(
        libc::SYS_renameat2,
        Who::UPDATER,
        "the running version is blessed",
    ),
    call(libc::SYS_syncfs, Who::UPDATER, "a blessing is written"),
    call(
        libc::SYS_fdatasync,
        Who::UPDATER,
        "a blessing outlives a power cut",
    ),
    // The event loop and its TCP connections.
    only(
        libc::SYS_socket,
        Who::NET,
        &[
            &[arg(0, AF_INET), masked(1, SOCK_TYPE, SOCK_STREAM)],
            &[arg(0, AF_INET6), masked(1, SOCK_TYPE, SOCK_STREAM)],
        ],
        "TCP to the controller, the peers, the KME",
    ),
    only(
        libc::SYS_socket,
        Who::BOOTSTRAP,
        &[
            &[arg(0, AF_INET), masked(1, SOCK_TYPE, SOCK_DGRAM)],
            &[arg(0, AF_INET6), masked(1, SOCK_TYPE, SOCK_DGRAM)],
        ],
        "DNS, to find the owner",
    ),
    call(libc::SYS_connect, Who::NET, "TCP out"),
    call(
        libc::SYS_bind,
        Who::PEER.and(Who::BOOTSTRAP),
        "peers dial us; a DNS query has a port of its own",
    ),
    call(libc::SYS_listen, Who::PEER, "peers dial us"),
    call(libc::SYS_setsockopt, Who::NET, "TCP_NODELAY, keepalive"),
    call(
        libc::SYS_getsockname,
        Who::NET,
        "which address a connection has",
    ),
    call(
        libc::SYS_getpeername,
        Who::NET,
        "which address a connection has",
    ),
    call(
        libc::SYS_shutdown,
        Who::NET,
        "the orderly end of a connection",
    ),
    call(libc::SYS_readv, Who::NET, "TCP in"),
    call(libc::SYS_epoll_create1, Who::NET, "the event loop"),
    call(libc::SYS_epoll_ctl, Who::NET, "the event loop"),
    call(libc::SYS_epoll_pwait, Who::NET, "the event loop"),
    #[cfg(target_arch = "x86_64")]
    call(libc::SYS_epoll_wait, Who::NET, "the event loop"),
    call(libc::SYS_eventfd2, Who::NET, "the event loop wakes itself"),
    // A TLS handshake waits for the TPM's signature on a thread of its own.
    only(
        libc::SYS_clone,
        Who::NET,
        &[&[masked(0, CLONE_VM_AND_THREAD, CLONE_VM_AND_THREAD)]],
        "threads, never processes",
    ),
    call(libc::SYS_set_robust_list, Who::NET, "the start of a thread"),
    call(libc::SYS_rseq, Who::NET, "the start of a thread"),
    call(
        libc::SYS_sched_getaffinity,
        Who::NET,
        "the start of a thread: the extent of its stack",
    ),
    only(
        libc::SYS_prctl,
        Who::NET,
        &[&[arg(0, PR_SET_NAME)]],
        "the start of a thread: its name",
    ),
];

/// A system call that is not carried out but answered with an error, because libraries try it and
/// do without.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    /// Whose processes are answered.
    pub(crate) who: Who,
    pub(crate) errno: u32,
    pub(crate) numbers: &'static [i64],
}

/// Answered calls.
pub(crate) const ANSWERED: &[Answer] = &[
    // Libraries look for files that they do without.
    Answer {
        who: Who::FILELESS,
        errno: ENOENT,
        numbers: &[libc::SYS_openat, libc::SYS_newfstatat, libc::SYS_statx],
    },
    Answer {
        who: Who::EVERY,
        errno: ENOENT,
        numbers: &[
            libc::SYS_faccessat,
            libc::SYS_faccessat2,
            libc::SYS_readlinkat,
            #[cfg(target_arch = "x86_64")]
            libc::SYS_open,
            #[cfg(target_arch = "x86_64")]
            libc::SYS_stat,
            #[cfg(target_arch = "x86_64")]
            libc::SYS_access,
            #[cfg(target_arch = "x86_64")]
            libc::SYS_readlink,
        ],
    },
    // Its arguments cannot be filtered; the C library then takes `clone`.
    Answer {
        who: Who::EVERY,
        errno: ENOSYS,
        numbers: &[libc::SYS_clone3],
    },
];

const ENOENT: u32 = 2;
const ENOSYS: u32 = 38;
