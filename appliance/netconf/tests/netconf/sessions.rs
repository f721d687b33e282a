//! The owner's end and the gateway's end, byte by byte.

use core::time::Duration;

use bartizan_model::ids::{NodeId, Nonce};
use bartizan_model::lifecycle::Lifecycle;
use bartizan_model::message::{ControlToEngine, EngineToControl};
use bartizan_model::report::{Alarm, Notice};
use bartizan_netconf::client::{Client, Received, Reply, Request};
use bartizan_netconf::server::{Ended, Gateway, Session};
use bartizan_netconf::{ErrorTag, SessionId, UnixTime};

fn grant(lease: &[u8]) -> Request<'_> {
    Request::Grant { lease, ldevid: &[] }
}

/// Both ends of a connection that carries `step` bytes at a time.
struct Connection {
    client: Client,
    session: Session,
    gateway: Gateway,
    step: usize,
}

impl Connection {
    fn new(step: usize) -> Self {
        Self {
            client: Client::new(),
            session: Session::new(SessionId(1)),
            gateway: Gateway::new(NodeId::try_from("gw-a.example").unwrap()),
            step,
        }
    }

    /// Carries bytes until nothing moves; every edit and lease is accepted.
    fn settle(&mut self) -> Vec<Received> {
        let mut received = Vec::new();
        loop {
            let up: Vec<u8> = self
                .client
                .output()
                .iter()
                .copied()
                .take(self.step)
                .collect();
            self.client.sent(up.len());
            self.session.receive(&up);
            self.session.advance(&mut self.gateway);
            while let Some(order) = self.gateway.next_order() {
                let word = match order {
                    ControlToEngine::CommitEdit(edit) => EngineToControl::EditAccepted(edit),
                    ControlToEngine::Lease(_) => {
                        EngineToControl::LeaseAccepted(Duration::from_mins(5))
                    }
                    ControlToEngine::BeginEdit(_)
                    | ControlToEngine::BeginRestore(_)
                    | ControlToEngine::Put(_)
                    | ControlToEngine::Remove(_)
                    | ControlToEngine::Order(_) => continue,
                };
                if let Some(verdict) = self.gateway.heard(word).verdict {
                    self.session.answer(verdict);
                }
            }
            let down: Vec<u8> = self
                .session
                .output()
                .iter()
                .copied()
                .take(self.step)
                .collect();
            self.session.sent(down.len());
            received.extend(self.client.receive(&down).unwrap());
            if up.is_empty() && down.is_empty() {
                return received;
            }
        }
    }

    fn ask(&mut self, request: &Request<'_>) -> Reply {
        let id = self.client.send(request).unwrap();
        let received = self.settle();
        let [Received::Reply { to, outcome }] = received.as_slice() else {
            panic!("{received:?}");
        };
        assert_eq!(*to, id);
        outcome.clone().unwrap()
    }
}

fn connected(step: usize) -> Connection {
    let mut connection = Connection::new(step);
    let received = connection.settle();
    let [
        Received::Hello {
            session,
            capabilities,
        },
    ] = received.as_slice()
    else {
        panic!("{received:?}");
    };
    assert_eq!(*session, SessionId(1));
    let ours = "urn:bartizan:yang:bartizan-ikeless";
    assert!(capabilities.iter().any(|uri| uri.starts_with(ours)));
    connection
}

#[test]
fn a_session_works_however_the_bytes_arrive() {
    for step in [1, 7, 100_000] {
        let mut connection = connected(step);
        connection.gateway.entered(Lifecycle::Attesting);
        connection
            .gateway
            .heard(EngineToControl::LeaseNonce(Nonce([9; 32])));
        let Reply::Data(state) = connection.ask(&Request::State) else {
            panic!("no data");
        };
        assert_eq!(state.nonce, Some(Nonce([9; 32])));
        assert_eq!(state.lifecycle, Some(Lifecycle::Attesting));
        assert_eq!(state.node.unwrap().as_str(), "gw-a.example");
        assert_eq!(connection.ask(&grant(&[1, 2, 3])), Reply::Ok);
        assert_eq!(connection.ask(&Request::Subscribe), Reply::Ok);

        let notice = Notice::Programmed { entries: 3 };
        connection
            .session
            .notify(&notice, UnixTime(Duration::from_secs(1)));
        let received = connection.settle();
        let expected = Received::Notification {
            time: "1970-01-01T00:00:01.000Z".into(),
            notice: Box::new(notice),
        };
        assert_eq!(received, [expected]);
        assert_eq!(connection.ask(&Request::Close), Reply::Ok);
        assert_eq!(connection.session.ended(), Some(Ended::Closed));
    }
}

#[test]
fn requests_in_a_row_are_answered_in_their_order() {
    let mut connection = connected(1000);
    let ids: Vec<_> = [Request::Configuration, Request::State, Request::Everything]
        .iter()
        .map(|request| connection.client.send(request).unwrap())
        .collect();
    let answered: Vec<_> = connection
        .settle()
        .into_iter()
        .filter_map(|received| match received {
            Received::Reply { to, outcome } => outcome.is_ok().then_some(to),
            Received::Hello { .. } | Received::Notification { .. } => None,
        })
        .collect();
    assert_eq!(answered, ids);
}

#[test]
fn the_owner_reads_errors() {
    let mut connection = connected(1000);
    connection.client.send(&grant(&[])).unwrap();
    let received = connection.settle();
    let [
        Received::Reply {
            outcome: Err(errors),
            ..
        },
    ] = received.as_slice()
    else {
        panic!("{received:?}");
    };
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].tag, ErrorTag::InvalidValue);
    assert_eq!(
        errors[0].path.as_deref(),
        Some("/bartizan:gateway/bartizan:lease")
    );
}

#[test]
fn nothing_of_a_gateway_ends_the_owner_in_panic() {
    for bytes in [
        &b"]]>]]>"[..],
        b"<hello/>]]>]]>",
        b"<hello xmlns='urn:ietf:params:xml:ns:netconf:base:1.0'><capabilities><capability>\
          urn:ietf:params:netconf:base:1.1</capability></capabilities></hello>]]>]]>",
        b"\xff\xfe]]>]]>",
    ] {
        assert!(Client::new().receive(bytes).is_err());
    }
    let mut connection = connected(1000);
    let unasked = "<rpc-reply message-id=\"5\" xmlns=\"urn:ietf:params:xml:ns:netconf:base:1.0\">\
                   <ok/></rpc-reply>";
    let framed = format!("\n#{}\n{unasked}\n##\n", unasked.len());
    assert!(connection.client.receive(framed.as_bytes()).is_err());
}

#[test]
fn every_alarm_has_its_word() {
    use bartizan_model::report::QkdRefusal as Q;
    let alarms = [
        Alarm::NoLease,
        Alarm::PeerNoLease,
        Alarm::PeerUnreachable,
        Alarm::PeerAbandoned,
        Alarm::PeerMismatch,
        Alarm::TagMismatch,
        Alarm::TimedOut,
        Alarm::Kernel,
        Alarm::LockedMemory,
    ];
    let qkd = [
        Q::Unreachable,
        Q::TimedOut,
        Q::BadRequest,
        Q::Unauthorized,
        Q::Unavailable,
        Q::BadReply,
        Q::WrongKeyId,
        Q::WrongLength,
        Q::ZeroKey,
        Q::RepeatedKey,
        Q::Busy,
        Q::LockedMemory,
    ];
    let mut connection = connected(100_000);
    assert_eq!(connection.ask(&Request::Subscribe), Reply::Ok);
    for alarm in alarms.into_iter().chain(qkd.map(Alarm::Qkd)) {
        let entry = "out/a/in/b".try_into().unwrap();
        let sent = Notice::Alarm { entry, alarm };
        connection.session.notify(&sent, UnixTime(Duration::ZERO));
        let received = connection.settle();
        let [Received::Notification { notice, .. }] = received.as_slice() else {
            panic!("{alarm:?}: {received:?}");
        };
        assert_eq!(**notice, sent);
    }
}
