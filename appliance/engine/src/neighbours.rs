//! The engine's ends of its edges.

use core::time::Duration;
use std::os::fd::{AsFd, OwnedFd};

use bartizan_core::exchange::{Input, Output, Room};
use bartizan_model::message::{
    ControlToEngine, Edge, EngineToControl, EngineToPeer, EngineToQkd, EngineToXfrm, PeerToEngine,
    QkdToEngine, SupervisorToRole, XfrmToEngine,
};
use bartizan_model::time::BootTime;
use bartizan_process::{Channel, Ends, Exit, Fault, SupervisorChannel, Vocabulary, boot_time};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// One channel a neighbour; those of peer and qkd come with the first lease.
#[derive(Debug)]
pub(crate) struct Neighbours {
    supervisor: SupervisorChannel,
    xfrm: Channel<XfrmToEngine, EngineToXfrm>,
    qkd: Option<Channel<QkdToEngine, EngineToQkd>>,
    peer: Option<Channel<PeerToEngine, EngineToPeer>>,
    control: Channel<ControlToEngine, EngineToControl>,
}

/// Where an input comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Source {
    /// The supervisor.
    Supervisor,
    /// Xfrm.
    Xfrm,
    /// Qkd.
    Qkd,
    /// Peer.
    Peer,
    /// Control.
    Control,
}

impl Neighbours {
    /// Every source. Control comes last: it brings work, the others what ends it.
    pub(crate) const SOURCES: [Source; 5] = [
        Source::Supervisor,
        Source::Xfrm,
        Source::Qkd,
        Source::Peer,
        Source::Control,
    ];

    /// Takes the ends that an engine starts with.
    ///
    /// # Errors
    ///
    /// [`Fault`] if one was not granted.
    pub(crate) fn new(mut ends: Ends, supervisor: SupervisorChannel) -> Result<Self, Fault> {
        Ok(Self {
            supervisor,
            xfrm: ends.take(Edge::EngineXfrm)?,
            qkd: None,
            peer: None,
            control: ends.take(Edge::ControlEngine)?,
        })
    }

    /// Takes the next message of a neighbour, if there is one and it may be heard.
    ///
    /// # Errors
    ///
    /// [`Fault`] if the neighbour is gone or broke the rules of its channel.
    pub(crate) fn hear(&mut self, source: Source) -> Result<Option<Input>, Fault> {
        Ok(match source {
            Source::Supervisor => return self.hear_supervisor(),
            Source::Xfrm => self.xfrm.recv()?.map(|got| Input::Xfrm(got.message)),
            Source::Qkd => match &mut self.qkd {
                Some(qkd) => qkd.recv()?.map(|got| Input::Qkd(got.message, got.secret)),
                None => None,
            },
            Source::Peer => match &mut self.peer {
                Some(peer) => peer.recv()?.map(|got| Input::Peer(got.message)),
                None => None,
            },
            Source::Control if self.takes_work() => {
                self.control.recv()?.map(|got| Input::Control(got.message))
            }
            Source::Control => None,
        })
    }

    /// Sends what the engine says.
    ///
    /// # Errors
    ///
    /// [`Fault`] if the neighbour is gone or does not keep up.
    pub(crate) fn send(&mut self, output: Output) -> Result<(), Fault> {
        match output {
            Output::Control(message) => self.control.send(&message)?,
            Output::Xfrm(message, None) => self.xfrm.send(&message)?,
            Output::Xfrm(message, Some(key)) => self.xfrm.send_secret(&message, key)?,
            Output::Peer(message) => granted(self.peer.as_mut())?.send(&message)?,
            Output::Qkd(message) => granted(self.qkd.as_mut())?.send(&message)?,
            Output::Supervisor(message) => self.supervisor.send(&message)?,
        }
        Ok(())
    }

    /// Sends on what waits in the channels.
    ///
    /// # Errors
    ///
    /// As [`Neighbours::send`].
    pub(crate) fn flush(&mut self) -> Result<(), Fault> {
        self.supervisor.flush()?;
        self.xfrm.flush()?;
        self.control.flush()?;
        if let Some(qkd) = &mut self.qkd {
            qkd.flush()?;
        }
        if let Some(peer) = &mut self.peer {
            peer.flush()?;
        }
        Ok(())
    }

    /// Which neighbours can take more.
    pub(crate) fn room(&self) -> Room {
        Room {
            control: self.control.has_room(),
            xfrm: self.xfrm.has_room(),
            peer: self.peer.as_ref().is_some_and(Channel::has_room),
            qkd: self.qkd.as_ref().is_some_and(Channel::has_room),
            supervisor: self.supervisor.has_room(),
        }
    }

    /// Waits until a neighbour says or takes something, `deadline` has come, or `longest` is over.
    ///
    /// # Errors
    ///
    /// [`Fault`] if the kernel refuses to wait.
    pub(crate) fn rest(&self, deadline: Option<BootTime>, longest: Duration) -> Result<(), Fault> {
        let due = deadline.map_or(Duration::MAX, |deadline| deadline.since(boot_time()));
        let timeout = Timespec::try_from(due.min(longest))
            .map_err(|_| Fault::new(Exit::Software, "the watchdog's interval is too long"))?;
        let from_control = if self.takes_work() {
            PollFlags::IN
        } else {
            PollFlags::empty()
        };
        let mut waited_for = vec![
            watch(&self.supervisor, PollFlags::IN),
            watch(&self.xfrm, PollFlags::IN),
            watch(&self.control, from_control),
        ];
        waited_for.extend(self.qkd.as_ref().map(|qkd| watch(qkd, PollFlags::IN)));
        waited_for.extend(self.peer.as_ref().map(|peer| watch(peer, PollFlags::IN)));
        match poll(&mut waited_for, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(Fault::os("poll", errno)),
        }
    }

    /// Whether the controller's next word is taken: not while an earlier one still waits to be
    /// carried out. The others are always heard: they may wait for us as we for them.
    fn takes_work(&self) -> bool {
        let room = self.room();
        let peer = self.peer.is_none() || room.peer;
        let qkd = self.qkd.is_none() || room.qkd;
        room.control && room.xfrm && peer && qkd
    }

    fn hear_supervisor(&mut self) -> Result<Option<Input>, Fault> {
        while let Some(received) = self.supervisor.recv()? {
            match (received.message, received.fd) {
                (SupervisorToRole::End(Edge::EnginePeer), Some(end)) => {
                    grant(&mut self.peer, end)?;
                    return Ok(Some(Input::PeerEnd));
                }
                (SupervisorToRole::End(Edge::EngineQkd), Some(end)) => {
                    grant(&mut self.qkd, end)?;
                    return Ok(Some(Input::QkdEnd));
                }
                // The engine's own leases make the lifecycle.
                (SupervisorToRole::Lifecycle(_), _) => {}
                (
                    SupervisorToRole::End(_)
                    | SupervisorToRole::Start(_)
                    | SupervisorToRole::Ldevid(_)
                    | SupervisorToRole::Farewell(_)
                    | SupervisorToRole::Sources(_)
                    | SupervisorToRole::Time(_)
                    | SupervisorToRole::KeepLdevid
                    | SupervisorToRole::RaiseRollback(_)
                    | SupervisorToRole::Network(_)
                    | SupervisorToRole::CallAnew,
                    _,
                ) => {
                    return Err(Fault::new(
                        Exit::Protocol,
                        "an end that is not the engine's, or a word out of turn",
                    ));
                }
            }
        }
        Ok(None)
    }
}

fn grant<Rx: Vocabulary, Tx: Vocabulary>(
    place: &mut Option<Channel<Rx, Tx>>,
    end: OwnedFd,
) -> Result<(), Fault> {
    if place.is_some() {
        return Err(Fault::new(Exit::Protocol, "the same end was granted twice"));
    }
    *place = Some(Channel::new(end)?);
    Ok(())
}

/// The channel of an output; there is none before its end was granted.
fn granted<T>(channel: Option<&mut T>) -> Result<&mut T, Fault> {
    channel.ok_or_else(|| Fault::new(Exit::Software, "the engine speaks to nobody"))
}

fn watch<Rx: Vocabulary, Tx: Vocabulary>(
    channel: &Channel<Rx, Tx>,
    events: PollFlags,
) -> PollFd<'_> {
    let events = if channel.wants_write() {
        events | PollFlags::OUT
    } else {
        events
    };
    PollFd::from_borrowed_fd(channel.as_fd(), events)
}

#[cfg(test)]
pub(crate) mod tests;
