//! The life of one pair of SAs, from the policy that asks for it to the last packet under it.
//!
//! The table is pure: [`State::after`]. What the actions do to the SAs of a tunnel stands in
//! [`crate::wheel`], how they are carried out in the tunnel.

/// Where a generation stands.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum State {
    /// The policy stands as `protect`; no source has been asked.
    PolicyReceived,
    /// The sources have been asked; offer and answer are under way.
    SourcesRequested,
    /// The combined key is derived; the peer has not shown that it derived the same.
    KeyDerived,
    /// Both ends hold the same key; the inbound SA is on its way into the kernel.
    KeyConfirmed,
    /// The kernel takes packets under the inbound SA, and the peer is told so.
    InboundInstalled,
    /// The peer takes packets too; the outbound SA is on its way into the kernel.
    PeerReady,
    /// Packets leave under the outbound SA.
    OutboundSwitched,
    /// It sends no more, or never will; the inbound SA takes what the peer still sends.
    Draining,
    /// No key; its SAs are gone or ordered to go.
    Deleted,
}

/// What happened.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Event {
    /// There is room to start.
    Start,
    /// The last source that is used has delivered.
    SourcesComplete,
    /// The peer's tag is the expected one.
    PeerConfirmed,
    /// The kernel has the inbound SA.
    InboundAcknowledged,
    /// The kernel refused the inbound SA.
    InboundRefused,
    /// The peer says that its inbound SA stands.
    PeerInboundStands,
    /// The kernel has the outbound SA.
    OutboundAcknowledged,
    /// The kernel refused the outbound SA.
    OutboundRefused,
    /// A younger generation reached [`State::OutboundSwitched`].
    Superseded,
    /// No packet is on its way through the old outbound SA any more.
    Settled,
    /// The kernel has no outbound SA any more: it was removed, or it expired.
    OutboundGone,
    /// The peer sends under a younger epoch, and its late packets have come.
    DrainElapsed,
    /// A deadline passed, a step failed, or the link that it came up on is gone.
    GivenUp,
    /// The peer never sends under this epoch, or never will again.
    PeerAbandoned,
    /// The peer has no inbound SA for our outbound one.
    PeerForgot,
    /// The kernel dropped the inbound SA at its hard lifetime.
    InboundExpired,
    /// After a restart: the kernel holds our outbound SA and the peer has its counterpart.
    Readopted,
    /// After a restart: the kernel holds only the inbound SA, and the peer sends under it.
    InboundReadopted,
    /// The lease is lost, or the policy was taken out.
    Revoked,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Action {
    /// Ask every source that the policy names.
    RequestSources,
    /// Derive the combined key and send the peer the tag.
    DeriveAndConfirm,
    /// Hand the inbound SA to the kernel.
    InstallInbound,
    /// Tell the peer that the inbound SA stands.
    TellInboundStands,
    /// Hand the outbound SA to the kernel.
    InstallOutbound,
    /// Wipe what is left of the key.
    WipeKey,
    /// Report the working pair and arm its soft lifetime.
    ReportEstablished,
    /// Supersede every older generation.
    SupersedeOlder,
    /// Wait until no packet is on its way through the outbound SA.
    ArmSettle,
    /// Take the outbound SA out, if it may stand.
    RemoveOutbound,
    /// Tell the peer that nothing is sent under this epoch: by `Switched` of the younger one, or by
    /// `Abandoned` if nothing ever was.
    TellOutboundGone,
    /// Tell the peer that nothing will ever be sent under this epoch.
    TellAbandoned,
    /// Take the inbound SA out, if it may stand.
    RemoveInbound,
}

/// An event that has no meaning in this state.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{event:?} has no meaning in the state {state:?}")]
pub struct Unexpected {
    /// Where the generation stood.
    pub state: State,
    /// What came in.
    pub event: Event,
}

impl State {
    /// Every state, in the order of life.
    pub const ALL: [Self; 9] = [
        Self::PolicyReceived,
        Self::SourcesRequested,
        Self::KeyDerived,
        Self::KeyConfirmed,
        Self::InboundInstalled,
        Self::PeerReady,
        Self::OutboundSwitched,
        Self::Draining,
        Self::Deleted,
    ];

    /// Takes one event and says where it leads and what to do; the whole life is this table.
    ///
    /// # Errors
    ///
    /// [`Unexpected`] if the event has no meaning in this state; the state stays.
    pub fn after(self, event: Event) -> Result<(Self, &'static [Action]), Unexpected> {
        use Action as A;
        use Event as E;
        use State as S;

        Ok(match (self, event) {
            (S::PolicyReceived, E::Start) => (S::SourcesRequested, &[A::RequestSources]),
            (S::SourcesRequested, E::SourcesComplete) => (S::KeyDerived, &[A::DeriveAndConfirm]),
            (S::KeyDerived, E::PeerConfirmed) => (S::KeyConfirmed, &[A::InstallInbound]),
            (S::KeyConfirmed, E::InboundAcknowledged) => {
                (S::InboundInstalled, &[A::TellInboundStands])
            }
            (S::InboundInstalled, E::PeerInboundStands) => (S::PeerReady, &[A::InstallOutbound]),
            (S::PeerReady, E::OutboundAcknowledged) => (
                S::OutboundSwitched,
                &[A::WipeKey, A::SupersedeOlder, A::ReportEstablished],
            ),
            (S::OutboundSwitched, E::Superseded) => (S::Draining, &[A::ArmSettle]),
            (S::Draining, E::Settled) => (S::Draining, &[A::RemoveOutbound]),
            (S::Draining, E::OutboundGone) => (S::Draining, &[A::TellOutboundGone]),
            (S::Draining, E::DrainElapsed) => (S::Deleted, &[A::RemoveInbound]),

            // After a restart: without a key, so neither ever comes from the states above.
            (S::PolicyReceived, E::Readopted) => (S::OutboundSwitched, &[]),
            (S::PolicyReceived, E::InboundReadopted) => (S::Draining, &[]),

            // Until the peer is told that our inbound SA stands, it cannot send: all goes.
            (S::PolicyReceived | S::SourcesRequested, E::PeerAbandoned) => {
                (S::Deleted, &[A::WipeKey])
            }
            (S::PolicyReceived | S::SourcesRequested | S::KeyDerived, E::GivenUp)
            | (S::KeyDerived, E::PeerAbandoned) => (S::Deleted, &[A::WipeKey, A::TellAbandoned]),
            (S::KeyConfirmed, E::GivenUp | E::PeerAbandoned) => (
                S::Deleted,
                &[A::WipeKey, A::RemoveInbound, A::TellAbandoned],
            ),
            (S::KeyConfirmed, E::InboundRefused | E::InboundExpired) => {
                (S::Deleted, &[A::WipeKey, A::TellAbandoned])
            }

            // From here on it may send: the inbound SA stays until it says that it does not.
            (S::InboundInstalled, E::GivenUp) => (S::Draining, &[A::WipeKey, A::TellAbandoned]),
            (S::InboundInstalled, E::PeerAbandoned) => (
                S::Deleted,
                &[A::WipeKey, A::RemoveInbound, A::TellAbandoned],
            ),
            (S::InboundInstalled, E::InboundExpired) => {
                (S::Deleted, &[A::WipeKey, A::TellAbandoned])
            }
            (S::PeerReady, E::OutboundRefused | E::OutboundGone) => {
                (S::Draining, &[A::WipeKey, A::TellAbandoned])
            }
            (S::PeerReady, E::GivenUp | E::PeerForgot) => {
                (S::Draining, &[A::WipeKey, A::RemoveOutbound])
            }
            (S::PeerReady, E::PeerAbandoned) => (S::PeerReady, &[]),
            (S::PeerReady, E::InboundExpired) => (S::Deleted, &[A::WipeKey, A::RemoveOutbound]),

            (S::OutboundSwitched, E::PeerAbandoned) => (S::OutboundSwitched, &[]),
            (S::OutboundSwitched, E::OutboundGone) => (S::Draining, &[]),
            (S::OutboundSwitched | S::Draining, E::PeerForgot) => {
                (S::Draining, &[A::RemoveOutbound])
            }
            (S::OutboundSwitched | S::Draining, E::InboundExpired) => {
                (S::Deleted, &[A::RemoveOutbound])
            }
            (S::Draining, E::PeerAbandoned) => (S::Draining, &[]),

            (
                S::PolicyReceived
                | S::SourcesRequested
                | S::KeyDerived
                | S::KeyConfirmed
                | S::InboundInstalled
                | S::PeerReady
                | S::OutboundSwitched
                | S::Draining,
                E::Revoked,
            ) => (
                S::Deleted,
                &[A::WipeKey, A::RemoveOutbound, A::RemoveInbound],
            ),

            (state, event) => return Err(Unexpected { state, event }),
        })
    }
}

impl Event {
    /// Every event, in the order of life.
    pub const ALL: [Self; 19] = [
        Self::Start,
        Self::SourcesComplete,
        Self::PeerConfirmed,
        Self::InboundAcknowledged,
        Self::InboundRefused,
        Self::PeerInboundStands,
        Self::OutboundAcknowledged,
        Self::OutboundRefused,
        Self::Superseded,
        Self::Settled,
        Self::OutboundGone,
        Self::DrainElapsed,
        Self::GivenUp,
        Self::PeerAbandoned,
        Self::PeerForgot,
        Self::InboundExpired,
        Self::Readopted,
        Self::InboundReadopted,
        Self::Revoked,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_installed_only_after_the_peer_confirmed_it() {
        for state in State::ALL {
            for event in Event::ALL {
                if let Ok((_, actions)) = state.after(event)
                    && actions.contains(&Action::InstallInbound)
                {
                    assert_eq!((state, event), (State::KeyDerived, Event::PeerConfirmed));
                }
            }
        }
    }

    #[test]
    fn sending_begins_only_after_the_peer_takes_packets() {
        for state in State::ALL {
            for event in Event::ALL {
                if let Ok((_, actions)) = state.after(event)
                    && actions.contains(&Action::InstallOutbound)
                {
                    let ready = (State::InboundInstalled, Event::PeerInboundStands);
                    assert_eq!((state, event), ready);
                }
            }
        }
    }

    #[test]
    fn every_way_out_of_a_state_with_a_key_that_does_not_go_on_wipes_it() {
        let keyed = State::SourcesRequested..=State::PeerReady;
        for state in State::ALL.into_iter().filter(|state| keyed.contains(state)) {
            for event in Event::ALL {
                if let Ok((next, actions)) = state.after(event)
                    && !keyed.contains(&next)
                {
                    assert!(actions.contains(&Action::WipeKey), "{state:?} {event:?}");
                }
            }
        }
    }

    #[test]
    fn nothing_leads_out_of_deleted() {
        for event in Event::ALL {
            assert!(State::Deleted.after(event).is_err());
        }
    }
}
