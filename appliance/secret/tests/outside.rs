//! What a secret looks like from outside its process: not at all.
#![cfg(test)]
#![expect(unsafe_code, reason = "fork and wild reads are the subject")]
#![expect(
    clippy::arithmetic_side_effects,
    reason = "an overflow fails the test, as it should"
)]

mod support;

use bartizan_secret::{
    Backing, LockError, LockedBuffer, Secret, ZeroOnFree, backing, clobber_stack,
};
use rustix::process::{Resource, Rlimit, WaitOptions, getrlimit, setrlimit, waitpid};
use support::{Looked, command, count, hex, part, plant, refuse_memfd_secret, scan, show};

#[global_allocator]
static HEAP: ZeroOnFree = ZeroOnFree;

const SIGSEGV: i32 = 11;
const SIGABRT: i32 = 6;

/// Both backings, by the part that the child plays.
const BACKINGS: [(&str, Backing); 2] = [
    ("memfd_secret", Backing::MemfdSecret),
    ("mlock", Backing::Mlock),
];

#[test]
fn memory_holds_a_secret_in_its_slot_and_nowhere_else() {
    const NAME: &str = "memory_holds_a_secret_in_its_slot_and_nowhere_else";
    if part().is_some() {
        let _secret = planted();
        show("planted");
        return;
    }
    for (part, backing) in BACKINGS {
        let mut child = Looked::start(NAME, part);
        child.word();
        let found = scan(child.pid());
        let expected = match backing {
            Backing::MemfdSecret => 0,
            Backing::Mlock => 1,
        };
        assert_eq!(found.in_all(), expected, "{part}: {found:#?}");
        assert!(child.end().success());
    }
}

#[test]
fn the_scan_finds_what_is_there() {
    const NAME: &str = "the_scan_finds_what_is_there";
    if part().is_some() {
        let mut heap = vec![0; 32];
        plant(&mut heap);
        let hex = hex(&heap);
        show("planted");
        drop((heap, hex));
        show("freed");
        return;
    }
    let mut child = Looked::start(NAME, "control");
    child.word();
    assert!(scan(child.pid()).in_all() >= 2);
    child.go_on();
    child.word();
    let found = scan(child.pid());
    assert_eq!(
        found.in_all(),
        0,
        "the allocator leaves something behind: {found:#?}"
    );
    assert!(child.end().success());
}

#[test]
fn a_block_that_grows_leaves_nothing_behind() {
    const NAME: &str = "a_block_that_grows_leaves_nothing_behind";
    if part().is_some() {
        let mut heap = vec![0; 32];
        plant(&mut heap);
        // Something behind it, so that it cannot grow in place.
        let behind = vec![1_u8; 4096];
        heap.reserve(1 << 20);
        show("grown");
        drop((heap, behind));
        return;
    }
    let mut child = Looked::start(NAME, "control");
    child.word();
    assert_eq!(scan(child.pid()).in_all(), 1);
    assert!(child.end().success());
}

#[test]
fn the_dead_stack_is_overwritten() {
    const NAME: &str = "the_dead_stack_is_overwritten";
    if part().is_some() {
        leave_deep_on_the_stack();
        show("left");
        clobber_stack();
        show("clobbered");
        return;
    }
    let mut child = Looked::start(NAME, "control");
    child.word();
    assert_eq!(scan(child.pid()).in_all(), 1);
    child.go_on();
    child.word();
    assert_eq!(scan(child.pid()).in_all(), 0);
    assert!(child.end().success());
}

#[test]
fn a_dropped_secret_leaves_nothing() {
    const NAME: &str = "a_dropped_secret_leaves_nothing";
    if part().is_some() {
        drop(planted());
        let mut buffer = LockedBuffer::new(10_000).unwrap();
        plant(buffer.as_mut_slice());
        buffer.wipe();
        show("dropped");
        drop(buffer);
        return;
    }
    let mut child = Looked::start(NAME, "mlock");
    child.word();
    assert_eq!(scan(child.pid()).in_all(), 0);
    assert!(child.end().success());
}

#[test]
fn the_pages_are_locked_and_kept_from_dumps() {
    const NAME: &str = "the_pages_are_locked_and_kept_from_dumps";
    if part().is_some() {
        let secret = planted();
        show(&format!("{:x}", secret.expose().as_ptr().addr()));
        return;
    }
    for (part, backing) in BACKINGS {
        let mut child = Looked::start(NAME, part);
        let address = u64::from_str_radix(&child.word(), 16).unwrap();
        let flags = vm_flags(child.pid(), address);
        let holds = |flag| flags.iter().any(|set| set == flag);
        assert!(holds("lo") && holds("dd"), "{part}: {flags:?}");
        match backing {
            Backing::MemfdSecret => assert!(holds("dc"), "not kept from children: {flags:?}"),
            Backing::Mlock => {
                assert!(holds("wf"), "not wiped on fork: {flags:?}");
                assert!(locked_kib(child.pid()) >= 16, "VmLck");
            }
        }
        assert!(child.end().success());
    }
}

#[test]
fn a_core_dump_does_not_hold_the_secret() {
    const NAME: &str = "a_core_dump_does_not_hold_the_secret";
    if part().is_some() {
        let core = Rlimit {
            current: None,
            maximum: None,
        };
        setrlimit(Resource::Core, core).unwrap();
        let _secret = planted();
        let mut buffer = LockedBuffer::new(64).unwrap();
        plant(buffer.as_mut_slice());
        let mut control = [0; 32];
        plant(&mut control);
        std::hint::black_box(&control);
        std::process::abort();
    }
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    if pattern.starts_with(['|', '/']) {
        assert!(
            std::env::var_os("BARTIZAN_ALLOW_SKIP").is_some(),
            "cores of this machine go elsewhere ({}): set kernel.core_pattern=core",
            pattern.trim_end()
        );
        return;
    }
    for (part, _) in BACKINGS {
        let dir = std::env::temp_dir().join(format!("bartizan-core-{}-{part}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let status = command(NAME, part).current_dir(&dir).status().unwrap();
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&status),
            Some(SIGABRT)
        );
        let core = std::fs::read_dir(&dir)
            .unwrap()
            .next()
            .expect("a core")
            .unwrap()
            .path();
        let copies = count(&std::fs::read(&core).unwrap(), &support::pattern());
        assert_eq!(copies, 1, "{part}: the control on the stack, and no other");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}

#[test]
fn a_forked_child_has_no_secret() {
    const NAME: &str = "a_forked_child_has_no_secret";
    if part().is_some() {
        let secret = planted();
        let first = std::ptr::from_ref(&secret.expose()[0]);
        let expected = match backing().unwrap() {
            Backing::MemfdSecret => Err(SIGSEGV),
            Backing::Mlock => Ok(0),
        };
        assert_eq!(in_fork(|| i32::from(peek(first))), expected);
        assert_ne!(peek(first), 0, "the parent still has it");
        return;
    }
    for (part, _) in BACKINGS {
        assert!(command(NAME, part).status().unwrap().success(), "{part}");
    }
}

#[test]
fn a_byte_before_or_after_faults() {
    const NAME: &str = "a_byte_before_or_after_faults";
    if part().is_some() {
        begin();
        let buffer = LockedBuffer::new(4096).unwrap();
        let bytes = buffer.as_slice().as_ptr_range();
        assert_eq!(
            in_fork(|| i32::from(peek(bytes.start.wrapping_sub(1)))),
            Err(SIGSEGV)
        );
        assert_eq!(in_fork(|| i32::from(peek(bytes.end))), Err(SIGSEGV));
        assert_eq!(peek(bytes.end.wrapping_sub(1)), 0);
        return;
    }
    for (part, _) in BACKINGS {
        assert!(command(NAME, part).status().unwrap().success(), "{part}");
    }
}

#[test]
fn memory_that_cannot_be_locked_is_an_error() {
    const NAME: &str = "memory_that_cannot_be_locked_is_an_error";
    if part().is_some() {
        begin();
        give_up_ipc_lock();
        let _first = Secret::from_fn(32, |_| {}).unwrap();
        let none_left = Rlimit {
            current: Some(16 * 1024),
            ..getrlimit(Resource::Memlock)
        };
        setrlimit(Resource::Memlock, none_left).unwrap();
        assert!(matches!(LockedBuffer::new(1), Err(LockError::Refused(_))));
        let rest: Result<Vec<Secret>, LockError> =
            (0..256).map(|_| Secret::from_fn(32, |_| {})).collect();
        assert!(
            matches!(rest, Err(LockError::Refused(_))),
            "a 257th slot in one arena"
        );
        drop(rest);
        assert!(Secret::from_fn(32, |_| {}).is_ok(), "the slots came back");
        return;
    }
    for (part, _) in BACKINGS {
        assert!(command(NAME, part).status().unwrap().success(), "{part}");
    }
}

/// A secret that holds the pattern, in a child that plays its part.
fn planted() -> Secret {
    begin();
    Secret::from_fn(32, plant).unwrap()
}

/// Takes `memfd_secret` away from the part that must do without.
fn begin() {
    let part = part().unwrap();
    if part == "mlock" {
        refuse_memfd_secret();
    }
    let expected = BACKINGS.iter().find(|(name, _)| *name == part).unwrap().1;
    assert_eq!(
        backing().unwrap(),
        expected,
        "this kernel lacks memfd_secret"
    );
}

/// Leaves the pattern where a shallow call does not overwrite it.
#[inline(never)]
fn leave_deep_on_the_stack() {
    #[inline(never)]
    fn deep() {
        let mut local = [0; 32];
        plant(&mut local);
        std::hint::black_box(&local);
    }
    #[expect(clippy::large_stack_arrays, reason = "its size is its purpose")]
    let above = [0_u8; 64 * 1024];
    std::hint::black_box(&above);
    deep();
    std::hint::black_box(&above);
}

/// Root may lock without limit; the roles are not root.
fn give_up_ipc_lock() {
    let mut sets = rustix::thread::capabilities(None).unwrap();
    sets.effective
        .remove(rustix::thread::CapabilitySet::IPC_LOCK);
    rustix::thread::set_capabilities(None, sets).unwrap();
}

/// Reads one byte that may not be there.
fn peek(at: *const u8) -> u8 {
    // SAFETY: a read of a byte; where nothing is mapped the process faults, which is what the
    // caller looks for.
    unsafe { at.read_volatile() }
}

/// Does one thing in a forked child: its exit code, or the signal that ended it.
fn in_fork(act: impl FnOnce() -> i32) -> Result<i32, i32> {
    // SAFETY: the child does one thing that takes no lock and ends at once.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let code = act();
        // SAFETY: ends the child without running what belongs to the parent.
        unsafe { libc::_exit(code) }
    }
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    let (_, status) = waitpid(Some(pid), WaitOptions::empty()).unwrap().unwrap();
    status
        .exit_status()
        .ok_or_else(|| status.terminating_signal().unwrap())
}

/// `VmFlags` of the mapping that holds an address.
fn vm_flags(pid: u32, address: u64) -> Vec<String> {
    let smaps = std::fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
    let mut inside = false;
    for line in smaps.lines() {
        let range = line
            .split_whitespace()
            .next()
            .and_then(|range| range.split_once('-'));
        let bounds = range.and_then(|(from, to)| {
            Some((
                u64::from_str_radix(from, 16).ok()?,
                u64::from_str_radix(to, 16).ok()?,
            ))
        });
        if let Some((from, to)) = bounds {
            inside = (from..to).contains(&address);
        } else if inside && let Some(flags) = line.strip_prefix("VmFlags:") {
            return flags.split_whitespace().map(str::to_owned).collect();
        }
    }
    panic!("no mapping holds {address:x}");
}

fn locked_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmLck:"))
        .unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}
