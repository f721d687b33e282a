//! The role over ETSI GS QKD 004, in both forms, in TLS and without.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bartizan_model::config::{KmeInterface, KmeTransport};
use bartizan_model::ids::SaeId;
use bartizan_model::message::EngineToQkd;
use bartizan_model::report::QkdRefusal;
use bartizan_tests::kme::{Door, Form, Kme, Options};
use bartizan_tests::testbed::boot::scratch_folder;

use crate::link::{Gateway, Setup};

const FORMS: [(Form, KmeInterface); 2] = [
    (Form::Binary, KmeInterface::Etsi004Binary),
    (Form::Json, KmeInterface::Etsi004Json),
];

fn options(setup: &Setup, name: &str, form: Form, transport: KmeTransport) -> Options {
    let mut options = setup.kme_options(name, SocketAddr::from(([127, 0, 0, 1], 0)));
    options.doors = vec![Door {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        form,
        tls: transport == KmeTransport::Tls,
    }];
    options
}

fn gateway(
    setup: &Setup,
    sae: &str,
    kme: &Kme,
    interface: KmeInterface,
    transport: KmeTransport,
) -> Gateway {
    setup.gateway_beside(sae, &[(kme.doors()[0], interface, transport, None)])
}

/// One gateway over TLS, and its KME.
fn one(form: Form, interface: KmeInterface) -> (Gateway, Kme) {
    let setup = Setup::new();
    let kme = Kme::start(options(&setup, "kme-a", form, KmeTransport::Tls)).unwrap();
    let gateway = gateway(&setup, "sae-a", &kme, interface, KmeTransport::Tls);
    (gateway, kme)
}

#[test]
fn both_gateways_get_the_same_chunks_over_every_form_and_transport() {
    for (form, interface) in FORMS {
        for transport in [KmeTransport::Tls, KmeTransport::Plain] {
            let setup = Setup::new();
            let folder = scratch_folder();
            let [kme_a, kme_b] = ["kme-a", "kme-b"].map(|name| {
                let mut options = options(&setup, name, form, transport);
                // Only with it does a KME know whether the other end has joined.
                options.rendezvous = Some(folder.clone());
                Kme::start(options).unwrap()
            });
            let mut a = gateway(&setup, "sae-a", &kme_a, interface, transport);
            let mut b = gateway(&setup, "sae-b", &kme_b, interface, transport);
            let first = a.order_new_key("sae-b");
            let stream = a.stream();
            let peer = SaeId::try_from("sae-a").unwrap();
            b.say(&EngineToQkd::Join { peer, stream });
            let (order, outcome) = a.replied();
            assert_eq!(order, first);
            let mut last = outcome.unwrap();
            for index in 0..5 {
                let (name, key) = last;
                let (stream, place) = name.as_str().split_once('/').unwrap();
                assert_eq!((stream.len(), place), (36, index.to_string().as_str()));
                let (_, same) = b.same_key("sae-a", name.as_str()).unwrap();
                assert_eq!(key.expose(), same.expose(), "{interface:?} {transport:?}");
                let again = b.same_key("sae-a", name.as_str());
                assert!(again.is_err(), "a chunk is given once");
                last = a.new_key("sae-b").unwrap();
                assert_ne!(last.1.expose(), key.expose());
            }
            assert_eq!(kme_a.count("open_connect"), 1);
            if transport == KmeTransport::Plain {
                a.role.wait_count("qkd-plain", 1);
            }
        }
    }
}

#[test]
fn each_status_of_the_standard_has_its_reaction() {
    for (form, interface) in FORMS {
        let (mut gateway, kme) = one(form, interface);
        for (number, order) in [
            "code 1 on=open times=2",
            "code 2 on=open times=1",
            "code 5 on=open times=3",
            "code 6 on=open times=2",
            "code 2 on=get times=3",
            "code 3 on=get times=3",
            "code 4 on=get times=2",
            "code 6 on=get times=1",
            "ttl 60 on=open",
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(kme.order("honest"), "ok");
            assert_eq!(kme.order(order), "ok");
            let peer = format!("sae-{number}");
            gateway.new_key(&peer).expect(order);
        }
        for (number, (order, reason)) in [
            ("code 2 on=get", QkdRefusal::Unavailable),
            ("code 3 on=get", QkdRefusal::Unavailable),
            ("code 4 on=get", QkdRefusal::BadRequest),
            ("code 4 on=open", QkdRefusal::BadRequest),
            ("code 5 on=open", QkdRefusal::BadRequest),
            ("code 6 on=get", QkdRefusal::TimedOut),
            ("code 7 on=open", QkdRefusal::BadReply),
            ("code 8 on=get", QkdRefusal::BadReply),
            ("ttl 2 on=open", QkdRefusal::BadRequest),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(kme.order("honest"), "ok");
            assert_eq!(kme.order(order), "ok");
            let begun = Instant::now();
            let peer = format!("sae-x{number}");
            let refused = gateway.new_key(&peer);
            assert_eq!(refused.unwrap_err(), reason, "{interface:?}: {order}");
            assert!(begun.elapsed() < Duration::from_secs(4), "{order}");
        }
        assert!(gateway.role.runs());
    }
}

#[test]
fn what_a_kme_does_wrong_is_a_refusal_of_its_kind() {
    for (form, interface) in FORMS {
        let (mut gateway, kme) = one(form, interface);
        gateway.new_key("sae-b").unwrap();
        for (number, (order, reason)) in [
            ("zero-key", QkdRefusal::ZeroKey),
            ("repeated-key", QkdRefusal::RepeatedKey),
            ("short-key", QkdRefusal::WrongLength),
            ("long-key", QkdRefusal::WrongLength),
            ("no-key", QkdRefusal::WrongLength),
            ("garbage", QkdRefusal::BadReply),
            ("truncated", QkdRefusal::BadReply),
            ("drop", QkdRefusal::Unreachable),
            ("hang", QkdRefusal::TimedOut),
            ("drip 2000", QkdRefusal::TimedOut),
        ]
        .into_iter()
        .enumerate()
        {
            let peer = format!("sae-{number}");
            assert_eq!(kme.order(order), "ok");
            let refused = gateway.new_key(&peer);
            assert_eq!(refused.unwrap_err(), reason, "{interface:?}: {order}");
            assert_eq!(kme.order("honest"), "ok");
            gateway.new_key(&peer).expect(order);
        }
        assert!(gateway.role.runs());
    }
}

/// The KME lets a stream live for a few seconds; orders go on all the while.
#[test]
fn a_stream_is_followed_by_another_before_its_time_is_over() {
    let (mut gateway, kme) = one(Form::Binary, KmeInterface::Etsi004Binary);
    kme.order("ttl 4 on=open");
    let deadline = Instant::now() + Duration::from_secs(15);
    while gateway.streams.len() < 3 {
        assert!(Instant::now() < deadline, "{:?}", gateway.streams);
        gateway.new_key("sae-b").unwrap();
        gateway.stream_or_rest(Duration::from_millis(100));
    }
}
