//! The xfrm role's process: orders in, answers and events out.
#![forbid(unsafe_code)]

use core::time::Duration;
use std::os::fd::AsFd;
use std::process::ExitCode;

use bartizan_model::config::RoleConfig;
use bartizan_model::message::{
    Edge, EngineToXfrm, Role, RoleToSupervisor, SupervisorToRole, XfrmToEngine,
};
use bartizan_process::{
    Channel, Exit, Fault, Started, SupervisorChannel, Vocabulary, Watchdog, boot_time, run,
};
use bartizan_secret::ZeroOnFree;
use bartizan_xfrm::{BATCH_MAX, Counts, Programmer, XfrmError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

#[global_allocator]
static HEAP: ZeroOnFree = ZeroOnFree;

fn main() -> ExitCode {
    run(Role::Xfrm, prepare, work)
}

fn prepare() -> Result<Programmer, Fault> {
    Programmer::block_all().map_err(fault)
}

fn work(mut started: Started<Programmer>) -> Result<(), Fault> {
    let RoleConfig::Xfrm(config) = &started.config else {
        return Err(Fault::new(Exit::Protocol, "the start is of another role"));
    };
    let mut programmer = started.prepared;
    programmer.begin(config).map_err(fault)?;
    let mut engine = match started.ends.take(Edge::EngineXfrm) {
        Ok(engine) => Some(engine),
        // Nobody gives orders in this state, so nothing that was ordered before may stand.
        Err(_not_granted) => {
            programmer.forget_orders().map_err(fault)?;
            None
        }
    };
    let mut told = Counts::default();
    loop {
        let reports = programmer.attend().map_err(fault)?;
        if let Some(engine) = &mut engine {
            for report in reports {
                engine.send(&report)?;
            }
            carry_out(&mut programmer, engine)?;
            engine.flush()?;
        }
        hear_supervisor(&mut started.supervisor)?;
        tell_counts(&mut told, programmer.counts(), &mut started.supervisor)?;
        started.supervisor.flush()?;
        started.watchdog.feed(boot_time());
        let engine = engine.as_ref();
        rest(&programmer, engine, &started.supervisor, &started.watchdog)?;
    }
}

/// Waits until something has happened, or is due.
fn rest(
    programmer: &Programmer,
    engine: Option<&EngineChannel>,
    supervisor: &SupervisorChannel,
    watchdog: &Watchdog,
) -> Result<(), Fault> {
    let due = programmer.deadline().map(|due| due.since(boot_time()));
    let longest = watchdog.interval().min(due.unwrap_or(Duration::MAX));
    let longest = Timespec::try_from(longest)
        .map_err(|_| Fault::new(Exit::Software, "the watchdog's interval is too long"))?;
    let [clock, events] = programmer.descriptors();
    let mut waited_for = vec![
        PollFd::from_borrowed_fd(clock, PollFlags::IN),
        PollFd::from_borrowed_fd(events, PollFlags::IN),
        PollFd::from_borrowed_fd(supervisor.as_fd(), PollFlags::IN | to(supervisor)),
    ];
    if let Some(engine) = engine {
        let from_engine = if engine.has_room() {
            PollFlags::IN
        } else {
            PollFlags::empty()
        };
        waited_for.push(PollFd::from_borrowed_fd(
            engine.as_fd(),
            from_engine | to(engine),
        ));
    }
    match poll(&mut waited_for, Some(&longest)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(Fault::os("poll", errno)),
    }
}

type EngineChannel = Channel<EngineToXfrm, XfrmToEngine>;

/// Carries out the orders that wait, as many as one batch holds.
fn carry_out(programmer: &mut Programmer, engine: &mut EngineChannel) -> Result<(), Fault> {
    let mut orders = Vec::new();
    while engine.has_room() && orders.len() < BATCH_MAX {
        match engine.recv()? {
            Some(order) => orders.push(order),
            None => break,
        }
    }
    for reply in programmer.carry_out(&orders) {
        engine.send(&reply)?;
    }
    Ok(())
}

fn hear_supervisor(supervisor: &mut SupervisorChannel) -> Result<(), Fault> {
    while let Some(received) = supervisor.recv()? {
        match received.message {
            // What this role may do hangs on its orders, and those on the engine's lease.
            SupervisorToRole::Lifecycle(_) => {}
            SupervisorToRole::End(_)
            | SupervisorToRole::Start(_)
            | SupervisorToRole::Ldevid(_)
            | SupervisorToRole::Farewell(_)
            | SupervisorToRole::Sources(_)
            | SupervisorToRole::Time(_)
            | SupervisorToRole::KeepLdevid
            | SupervisorToRole::RaiseRollback(_)
            | SupervisorToRole::Network(_)
            | SupervisorToRole::CallAnew => {
                return Err(Fault::new(Exit::Protocol, "a word out of turn"));
            }
        }
    }
    Ok(())
}

/// Tells the supervisor what has changed of the counts.
fn tell_counts(
    told: &mut Counts,
    counts: Counts,
    supervisor: &mut SupervisorChannel,
) -> Result<(), Fault> {
    for ((name, total), (_, before)) in counts.named().into_iter().zip(told.named()) {
        if total != before {
            let name = name.to_owned();
            supervisor.send(&RoleToSupervisor::Counted { name, total })?;
        }
    }
    *told = counts;
    Ok(())
}

/// Whether to wait for a channel to take more.
fn to<Rx: Vocabulary, Tx: Vocabulary>(channel: &Channel<Rx, Tx>) -> PollFlags {
    if channel.wants_write() {
        PollFlags::OUT
    } else {
        PollFlags::empty()
    }
}

fn fault(error: XfrmError) -> Fault {
    Fault::because(Exit::OsErr, "xfrm", error)
}
