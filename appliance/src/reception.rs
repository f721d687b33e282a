//! The supervisor's loop: connections in, ends out.

use core::time::Duration;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::os::fd::{AsFd, OwnedFd};

use bartizan::act::Act;
use bartizan::briefing::Briefing;
use bartizan::folder::FolderError;
use bartizan::network::NetworkFolder;
use bartizan::roles::EDGES;
use bartizan::status::Readers;
use bartizan::store::Store;
use bartizan::supervisor::Supervisor;
use bartizan::switchboard::{RoleChannel, accept, take};
use bartizan::trial::{Change, Trial};
use bartizan::users::Users;
use bartizan::{running, sources, switchboard};
use bartizan_model::config::Sources;
use bartizan_model::lifecycle::Lifecycle;
use bartizan_model::message::{Edge, Role, SupervisorToRole};
use bartizan_model::time::BootTime;
use bartizan_process::journal::{self, Level};
use bartizan_process::{ChannelError, Exit, Fault, Watchdog, boot_time, socket_pair};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::inherited::Inherited;
use crate::restart::Restart;

/// The most messages of one role before the next is heard.
const TURN: usize = 64;

/// Between two looks for where an owner may be found.
const LOOK: Duration = Duration::from_secs(5);

/// Between two looks for what networkd has read.
const LOOK_AT_NETWORK: Duration = Duration::from_millis(250);

/// The site's network.
pub(crate) struct Site {
    pub(crate) folder: NetworkFolder,
    pub(crate) trial: Trial,
}

/// Everything that the loop holds.
pub(crate) struct Reception {
    briefing: Briefing,
    store: Store,
    users: Users,
    switchboard: OwnedFd,
    status: OwnedFd,
    running: Option<OwnedFd>,
    watchdog: Watchdog,
    sources: Sources,
    look_again: BootTime,
    site: Site,
    restart: Option<Restart>,
    supervisor: Supervisor,
    roles: BTreeMap<Role, RoleChannel>,
    readers: Readers,
}

impl Reception {
    pub(crate) fn new(
        briefing: Briefing,
        store: Store,
        site: Site,
        users: Users,
        inherited: Inherited,
        watchdog: Watchdog,
        supervisor: Supervisor,
    ) -> Self {
        Self {
            sources: sources::look(&briefing.config.discovery),
            look_again: boot_time().after(LOOK),
            briefing,
            store,
            site,
            users,
            switchboard: inherited.switchboard,
            status: inherited.status,
            running: inherited.running,
            watchdog,
            restart: inherited.restart,
            supervisor,
            roles: BTreeMap::new(),
            readers: Readers::default(),
        }
    }

    /// Serves until something ends it.
    pub(crate) fn serve(mut self) -> Result<Infallible, Fault> {
        self.watchdog
            .notifier()
            .ready(&words(self.supervisor.state()))
            .map_err(|errno| Fault::os("cannot notify the service manager", errno))?;
        loop {
            self.watchdog.feed(boot_time());
            self.rest()?;
            self.take_in()?;
            for role in self.roles.keys().copied().collect::<Vec<_>>() {
                self.hear(role)?;
            }
            self.look_for_an_owner()?;
            self.judge_network()?;
            self.show()?;
        }
    }

    /// Waits for anything, or for the watchdog's time.
    fn rest(&self) -> Result<(), Fault> {
        let mut fds = vec![PollFd::new(&self.switchboard, PollFlags::IN)];
        if self.readers.has_room() {
            fds.push(PollFd::new(&self.status, PollFlags::IN));
        }
        for channel in self.roles.values() {
            let out = if channel.wants_write() {
                PollFlags::OUT
            } else {
                PollFlags::empty()
            };
            fds.push(PollFd::new(channel, PollFlags::IN | out));
        }
        fds.extend(
            self.readers
                .waiting()
                .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::OUT)),
        );
        let interval = self.watchdog.interval();
        let trial = &self.site.trial;
        let due = trial.deadline().map(|due| due.since(boot_time()));
        let look = trial.awaits_application().then_some(LOOK_AT_NETWORK);
        let longest = [due, look]
            .into_iter()
            .flatten()
            .fold(interval, Duration::min);
        let longest = Timespec::try_from(longest)
            .map_err(|_| Fault::new(Exit::Software, "the watchdog's interval is too long"))?;
        match poll(&mut fds, Some(&longest)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(Fault::os("poll", errno)),
        }
    }

    /// Takes in who has connected.
    fn take_in(&mut self) -> Result<(), Fault> {
        loop {
            match take(self.switchboard.as_fd(), &self.users) {
                Ok(None) => return Ok(()),
                Ok(Some((role, channel))) if self.supervisor.joins(role) => {
                    self.roles.insert(role, channel);
                }
                Ok(Some((role, _second))) => self.refuse(&switchboard::Refused::Second(role)),
                Err(switchboard::Refused::Socket(errno)) => {
                    return Err(Fault::os("cannot take a connection", errno));
                }
                Err(refused) => self.refuse(&refused),
            }
        }
    }

    fn refuse(&mut self, refused: &switchboard::Refused) {
        self.supervisor.count("connections-refused");
        journal::log(Level::Warn, format_args!("refused: {refused}"));
    }

    /// Hears what a role has said, and sends what waits for it.
    fn hear(&mut self, role: Role) -> Result<(), Fault> {
        for _ in 0..TURN {
            let Some(channel) = self.roles.get_mut(&role) else {
                return Ok(());
            };
            let received = match channel.flush().and_then(|()| channel.recv()) {
                Ok(Some(received)) => received,
                Ok(None) => return Ok(()),
                Err(ChannelError::Closed) => {
                    self.roles.remove(&role);
                    return self.supervisor.leaves(role);
                }
                Err(error) => return Err(error.into()),
            };
            let before = self.supervisor.state();
            let acts = self.supervisor.hears(boot_time(), role, received.message)?;
            let mut passed = received.fd;
            self.tell_of(before);
            for act in acts {
                self.act(act, &mut passed)?;
            }
            if before == Lifecycle::Factory && self.supervisor.state() != before {
                self.begin_network()?;
            }
        }
        Ok(())
    }

    fn act(&mut self, act: Act, passed: &mut Option<OwnedFd>) -> Result<(), Fault> {
        match act {
            Act::Grant(edge) => self.grant(edge),
            Act::Start(role) => self.start(role),
            Act::Tell(role, state) => {
                self.channel(role)?
                    .send(&SupervisorToRole::Lifecycle(state))?;
                Ok(())
            }
            Act::StoreRunning => self.store_running(passed.take()),
            Act::Keep => match self.supervisor.owned() {
                Some(owned) => self.store.keep(owned).map_err(not_stored),
                None => Ok(()),
            },
            Act::KeepPending => match self.supervisor.pending() {
                Some(owned) => self.store.keep_pending(owned).map_err(not_stored),
                None => Ok(()),
            },
            Act::KeepLdevid => {
                self.channel(Role::Bootstrap)?
                    .send(&SupervisorToRole::KeepLdevid)?;
                Ok(())
            }
            Act::Confirm => self.store.confirm().map_err(not_stored),
            Act::Discard => self.store.discard().map_err(not_stored),
            Act::Time(role) => self.tell_time(role),
            Act::Renew(role) => self.renew(role),
            Act::BeginEnd(farewell) => self.store.begin_end(farewell).map_err(not_stored),
            Act::Dismiss(farewell) => {
                self.channel(Role::Tpm)?
                    .send(&SupervisorToRole::Farewell(farewell))?;
                Ok(())
            }
            Act::RaiseRollback(to) => {
                self.channel(Role::Tpm)?
                    .send(&SupervisorToRole::RaiseRollback(to))?;
                Ok(())
            }
            Act::StartAnew => self.start_anew(),
            Act::CalledAnew => {
                self.site.trial.called_anew();
                Ok(())
            }
            Act::Forget => {
                let changes = self.site.trial.end();
                self.change_network(&changes)?;
                self.store.forget().map_err(not_stored)
            }
            Act::Warn(text) => {
                journal::log(Level::Warn, format_args!("{text}"));
                Ok(())
            }
            Act::BeginAgain(why) => Err(Fault::new(
                Exit::TempFail,
                format!("{why}: all begin again"),
            )),
        }
    }

    /// Has the service manager start the machine anew.
    fn start_anew(&mut self) -> Result<(), Fault> {
        journal::log(
            Level::Error,
            format_args!("this version has not proven itself: the machine starts anew"),
        );
        let Some(restart) = &self.restart else {
            self.supervisor.count("restarts-refused");
            journal::log(Level::Error, format_args!("there is nobody to start it"));
            return Ok(());
        };
        restart.ask()
    }

    fn grant(&mut self, edge: Edge) -> Result<(), Fault> {
        let row = EDGES.iter().find(|row| row.edge == edge);
        let row = row.ok_or_else(|| Fault::new(Exit::Software, "an edge without a row"))?;
        let (near, far) = socket_pair().map_err(|errno| Fault::os("socketpair", errno))?;
        for (role, end) in row.between.into_iter().zip([near, far]) {
            self.channel(role)?
                .send_fd(&SupervisorToRole::End(edge), end)?;
        }
        Ok(())
    }

    fn start(&mut self, role: Role) -> Result<(), Fault> {
        let running = if role == Role::Control {
            self.running.take()
        } else {
            None
        };
        let (state, owned) = (self.supervisor.state(), self.supervisor.owned());
        let config = self
            .briefing
            .of(role, state, owned, &self.sources, running.is_some());
        let config = config
            .ok_or_else(|| Fault::new(Exit::Software, format!("{role:?} without an owner")))?;
        self.tell_time(role)?;
        let start = SupervisorToRole::Start(config);
        let channel = self.channel(role)?;
        match running {
            Some(running) => channel.send_fd(&start, running)?,
            None => channel.send(&start)?,
        }
        if role == Role::Control {
            self.tell_network()?;
        }
        Ok(())
    }

    fn tell_time(&mut self, role: Role) -> Result<(), Fault> {
        let known = SupervisorToRole::Time(self.supervisor.time());
        self.channel(role)?.send(&known)?;
        Ok(())
    }

    fn renew(&mut self, role: Role) -> Result<(), Fault> {
        let owned = self.supervisor.owned();
        let chain = owned.map(|owned| owned.ownership().ldevid.clone());
        self.channel(role)?
            .send(&SupervisorToRole::Ldevid(chain.unwrap_or_default()))?;
        Ok(())
    }

    /// Gives the copy of `running` to the service manager, over a restart of everything.
    fn store_running(&self, copy: Option<OwnedFd>) -> Result<(), Fault> {
        let copy = copy.ok_or_else(|| Fault::new(Exit::Software, "no copy came along"))?;
        running::check(&copy).map_err(|error| Fault::because(Exit::Protocol, "control", error))?;
        self.watchdog
            .notifier()
            .store(running::NAME, copy.as_fd())
            .map_err(|errno| Fault::os("cannot store the copy of running", errno))
    }

    fn channel(&mut self, role: Role) -> Result<&mut RoleChannel, Fault> {
        let gone = || Fault::new(Exit::Unavailable, format!("{role:?} is gone"));
        self.roles.get_mut(&role).ok_or_else(gone)
    }

    /// Says in the journal and to the service manager that the state has changed.
    fn tell_of(&self, before: Lifecycle) {
        let state = self.supervisor.state();
        if state != before {
            journal::log(Level::Info, format_args!("{before:?} -> {state:?}"));
            self.watchdog.notifier().status(&words(state));
        }
    }

    /// Tells bootstrap what networkd was offered, and what was plugged in, since the last look.
    fn look_for_an_owner(&mut self) -> Result<(), Fault> {
        let now = boot_time();
        if self.supervisor.state() != Lifecycle::Discovering || now < self.look_again {
            return Ok(());
        }
        self.look_again = now.after(LOOK);
        let sources = sources::look(&self.briefing.config.discovery);
        if sources == self.sources {
            return Ok(());
        }
        self.sources = sources;
        if self.supervisor.is_started(Role::Bootstrap) {
            let word = SupervisorToRole::Sources(Box::new(self.sources.clone()));
            self.channel(Role::Bootstrap)?.send(&word)?;
        }
        Ok(())
    }

    /// Configures the interfaces as the owner wants them, once it is clear that there is one.
    fn begin_network(&mut self) -> Result<(), Fault> {
        let Some(owned) = self.supervisor.owned() else {
            return Ok(());
        };
        let wanted = &owned.ownership().network;
        let changes = if self.supervisor.state() == Lifecycle::Attesting {
            self.site.trial.begin(boot_time(), wanted)
        } else {
            // Without a controller to reach nothing can be tried.
            self.site.trial.stay(wanted)
        };
        self.change_network(&changes)
    }

    /// Goes on with a trial, or ends one that takes too long.
    fn judge_network(&mut self) -> Result<(), Fault> {
        if self.site.trial.awaits_application()
            && self.site.folder.is_applied().map_err(not_stored)?
        {
            let changes = self.site.trial.applied(boot_time());
            self.change_network(&changes)?;
        }
        if self.supervisor.home() {
            let changes = self.site.trial.reached(boot_time());
            self.change_network(&changes)?;
        }
        let changes = self.site.trial.tick(boot_time());
        if !changes.is_empty() {
            self.supervisor.count("networks-rolled-back");
            journal::log(
                Level::Warn,
                format_args!("the controller is not reached: the network that worked comes back"),
            );
        }
        self.change_network(&changes)
    }

    fn change_network(&mut self, changes: &[Change]) -> Result<(), Fault> {
        for change in changes {
            self.site.folder.carry_out(change).map_err(not_stored)?;
            if *change == Change::CallAnew {
                self.call_anew()?;
            }
        }
        let state = self.site.trial.state();
        if self.supervisor.network_is(state) {
            journal::log(Level::Info, format_args!("the owner's network: {state:?}"));
            self.tell_network()?;
        }
        Ok(())
    }

    fn call_anew(&mut self) -> Result<(), Fault> {
        if self.supervisor.is_started(Role::Control) {
            self.channel(Role::Control)?
                .send(&SupervisorToRole::CallAnew)?;
        } else {
            // Whatever session it will have begins later.
            self.site.trial.called_anew();
        }
        Ok(())
    }

    fn tell_network(&mut self) -> Result<(), Fault> {
        if self.supervisor.is_started(Role::Control) {
            let word = SupervisorToRole::Network(self.supervisor.network());
            self.channel(Role::Control)?.send(&word)?;
        }
        Ok(())
    }

    /// Shows the status to who has asked.
    fn show(&mut self) -> Result<(), Fault> {
        let now = boot_time();
        while self.readers.has_room() {
            let Some(reader) = accept(self.status.as_fd())
                .map_err(|errno| Fault::os("cannot take a connection", errno))?
            else {
                break;
            };
            let text = serde_json::to_vec(&self.supervisor.snapshot(now))
                .map_err(|error| Fault::because(Exit::Software, "the snapshot", error))?;
            self.readers.tell(now, reader, text);
        }
        self.readers.go_on(now);
        Ok(())
    }
}

fn not_stored(error: FolderError) -> Fault {
    Fault::because(Exit::IoErr, "ownership", error)
}

fn words(state: Lifecycle) -> String {
    format!("{state:?}")
}
