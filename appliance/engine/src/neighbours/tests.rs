use super::*;
use bartizan_model::ids::{EditId, EntryName, OrderId, Reqid, SaeId};
use bartizan_model::lifecycle::Lifecycle;
use bartizan_model::message::{RoleConfig, RoleToSupervisor};
use bartizan_process::socket_pair;

/// The neighbours' own ends.
pub(crate) struct Far {
    pub(crate) supervisor: Channel<RoleToSupervisor, SupervisorToRole>,
    pub(crate) xfrm: Channel<EngineToXfrm, XfrmToEngine>,
    pub(crate) control: Channel<EngineToControl, ControlToEngine>,
}

/// An engine's ends as they are at its start, and the other ends of them.
pub(crate) fn pairs() -> (Neighbours, Far) {
    let (supervisor, far_supervisor) = Channel::pair().unwrap();
    let (xfrm, far_xfrm) = Channel::pair().unwrap();
    let (control, far_control) = Channel::pair().unwrap();
    let near = Neighbours {
        supervisor,
        xfrm,
        qkd: None,
        peer: None,
        control,
    };
    let far = Far {
        supervisor: far_supervisor,
        xfrm: far_xfrm,
        control: far_control,
    };
    (near, far)
}

/// Grants the engine an end of this edge and returns the other.
pub(crate) fn grant_end(far: &mut Far, edge: Edge) -> OwnedFd {
    let (near, other) = socket_pair().unwrap();
    let end = SupervisorToRole::End(edge);
    far.supervisor.send_fd(&end, near).unwrap();
    other
}

fn exit_of(outcome: Result<Option<Input>, Fault>) -> Exit {
    outcome.unwrap_err().exit()
}

#[test]
fn the_ends_of_peer_and_qkd_come_later_and_once() {
    let (mut near, mut far) = pairs();
    assert!(!near.room().peer && !near.room().qkd);

    let _peer = grant_end(&mut far, Edge::EnginePeer);
    let _qkd = grant_end(&mut far, Edge::EngineQkd);
    let heard = near.hear(Source::Supervisor).unwrap();
    assert!(matches!(heard, Some(Input::PeerEnd)));
    let heard = near.hear(Source::Supervisor).unwrap();
    assert!(matches!(heard, Some(Input::QkdEnd)));
    assert_eq!(near.room(), Room::EVERYWHERE);

    let _again = grant_end(&mut far, Edge::EnginePeer);
    assert_eq!(exit_of(near.hear(Source::Supervisor)), Exit::Protocol);
}

#[test]
fn an_end_of_another_role_or_a_second_start_ends_the_engine() {
    for edge in [
        Edge::ControlEngine,
        Edge::EngineXfrm,
        Edge::ControlTpm,
        Edge::PeerTpm,
        Edge::QkdTpm,
    ] {
        let (mut near, mut far) = pairs();
        let _other = grant_end(&mut far, edge);
        assert_eq!(exit_of(near.hear(Source::Supervisor)), Exit::Protocol);
    }
    let (mut near, mut far) = pairs();
    let start = SupervisorToRole::Start(RoleConfig::Tpm);
    far.supervisor.send(&start).unwrap();
    assert_eq!(exit_of(near.hear(Source::Supervisor)), Exit::Protocol);
}

#[test]
fn the_lifecycle_is_no_news_to_the_engine() {
    let (mut near, mut far) = pairs();
    for state in Lifecycle::ALL {
        let state = SupervisorToRole::Lifecycle(state);
        far.supervisor.send(&state).unwrap();
    }
    assert!(near.hear(Source::Supervisor).unwrap().is_none());
}

#[test]
fn any_neighbour_that_is_gone_ends_the_engine() {
    for source in Neighbours::SOURCES {
        let (mut near, mut far) = pairs();
        let peer = grant_end(&mut far, Edge::EnginePeer);
        let qkd = grant_end(&mut far, Edge::EngineQkd);
        while near.hear(Source::Supervisor).unwrap().is_some() {}
        let mut far = (Some(far.supervisor), Some(far.xfrm), Some(far.control));
        let mut later = (Some(peer), Some(qkd));
        match source {
            Source::Supervisor => far.0 = None,
            Source::Xfrm => far.1 = None,
            Source::Control => far.2 = None,
            Source::Peer => later.0 = None,
            Source::Qkd => later.1 = None,
        }
        for other in Neighbours::SOURCES {
            let heard = near.hear(other);
            if other == source {
                assert_eq!(exit_of(heard), Exit::Unavailable, "{source:?}");
            } else {
                assert!(heard.unwrap().is_none(), "{source:?} {other:?}");
            }
        }
    }
}

#[test]
fn what_is_no_message_ends_the_engine() {
    let (mut near, mut far) = pairs();
    let peer = grant_end(&mut far, Edge::EnginePeer);
    assert!(near.hear(Source::Supervisor).unwrap().is_some());
    rustix::io::write(&peer, &[0xff; 16]).unwrap();
    assert_eq!(exit_of(near.hear(Source::Peer)), Exit::Protocol);
}

#[test]
fn new_work_waits_while_xfrm_is_behind_and_everybody_else_is_heard() {
    let (mut near, mut far) = pairs();
    let waiting = ControlToEngine::BeginEdit(EditId(1));
    far.control.send(&waiting).unwrap();
    far.xfrm.send(&XfrmToEngine::Done(OrderId(0))).unwrap();

    let order = || Output::Xfrm(EngineToXfrm::ListSas { order: OrderId(1) }, None);
    while near.room().xfrm {
        near.send(order()).unwrap();
    }
    assert!(near.hear(Source::Control).unwrap().is_none());
    let heard = near.hear(Source::Xfrm).unwrap();
    assert!(matches!(heard, Some(Input::Xfrm(XfrmToEngine::Done(_)))));

    while !near.room().xfrm {
        while far.xfrm.recv().unwrap().is_some() {}
        near.flush().unwrap();
    }
    let heard = near.hear(Source::Control).unwrap();
    assert!(matches!(
        heard,
        Some(Input::Control(ControlToEngine::BeginEdit(EditId(1))))
    ));
}

#[test]
fn each_neighbour_gets_what_is_for_it() {
    let (mut near, mut far) = pairs();
    let peer = grant_end(&mut far, Edge::EnginePeer);
    let qkd = grant_end(&mut far, Edge::EngineQkd);
    while near.hear(Source::Supervisor).unwrap().is_some() {}
    let mut peer = Channel::<EngineToPeer, PeerToEngine>::new(peer).unwrap();
    let mut qkd = Channel::<EngineToQkd, QkdToEngine>::new(qkd).unwrap();

    let node = "gw-b".try_into().unwrap();
    let to_qkd = EngineToQkd::NewKey {
        order: OrderId(2),
        peer: SaeId::try_from("sae-b").unwrap(),
    };
    let to_control = EngineToControl::EditRefused {
        edit: EditId(3),
        entry: EntryName::try_from("out").unwrap(),
        reason: bartizan_model::message::EditRefusal::TooMany,
    };
    let gone = RoleToSupervisor::TunnelGone(Reqid::try_from(4).unwrap());
    let to_peer = EngineToPeer::Close(node);
    let to_xfrm = EngineToXfrm::RemoveAllSas { order: OrderId(5) };
    for output in [
        Output::Qkd(to_qkd.clone()),
        Output::Control(to_control.clone()),
        Output::Supervisor(gone.clone()),
        Output::Peer(to_peer.clone()),
        Output::Xfrm(to_xfrm.clone(), None),
    ] {
        near.send(output).unwrap();
    }

    assert_eq!(qkd.recv().unwrap().unwrap().message, to_qkd);
    assert_eq!(far.control.recv().unwrap().unwrap().message, to_control);
    assert_eq!(far.supervisor.recv().unwrap().unwrap().message, gone);
    assert_eq!(peer.recv().unwrap().unwrap().message, to_peer);
    assert_eq!(far.xfrm.recv().unwrap().unwrap().message, to_xfrm);
}

#[test]
fn a_rest_ends_at_the_deadline_with_the_interval_or_when_somebody_speaks() {
    const LONG: Duration = Duration::from_mins(10);
    const SHORT: Duration = Duration::from_millis(20);
    let (near, mut far) = pairs();

    let start = boot_time();
    near.rest(Some(start.after(SHORT)), LONG).unwrap();
    assert!(boot_time() >= start.after(SHORT));
    let start = boot_time();
    near.rest(None, SHORT).unwrap();
    assert!(boot_time() >= start.after(SHORT));
    near.rest(Some(BootTime::default()), LONG).unwrap();
    far.xfrm.send(&XfrmToEngine::Done(OrderId(0))).unwrap();
    near.rest(None, LONG).unwrap();
}
