//! By which time certificates are judged: by the owner's, or by what is surely past; never by the
//! wall clock of a gateway. It shows the time of this test everywhere here, so a certificate of the
//! year 2001 stands for a gateway whose clock shows 2100, and one of 2090 for one that shows 1970.

use core::time::Duration;
use std::sync::Arc;

use bartizan_model::config::Groups;
use bartizan_model::ids::NodeId;
use bartizan_model::time::{KnownTime, OwnerMoment};
use bartizan_process::boot_time;
use bartizan_tls::{
    Application, Clock, TlsError, accept, accept_box, call_home_client, client, connect,
    connect_home, connect_registrar, kme_client, registrar, registrar_client, server,
};

use rustls::crypto::aws_lc_rs::kx_group;

use crate::handshake::stock_server;
use crate::parties::{Ca, Certified, LIMIT, Tpm, tcp};

/// Certificates of one year, and moments before, in and after it, in seconds since 1970.
const YEARS: [(i32, u64); 2] = [(2001, 978_307_200), (2090, 3_786_912_000)];
const DAY: u64 = 86_400;

#[tokio::test]
async fn a_box_that_knows_no_time_meets_its_registrar_whatever_its_clock_shows() {
    for (year, _) in YEARS {
        let ca = Ca::new();
        let meets = meets_registrar(&ca, &ca.issue_for(&["controller"], year), nothing()).await;
        meets.unwrap();
        let foreign = Ca::new();
        let other = foreign.issue_for(&["controller"], year);
        assert!(meets_registrar(&ca, &other, nothing()).await.is_err());
        let other = ca.issue_for(&["another"], year);
        assert!(meets_registrar(&ca, &other, nothing()).await.is_err());
    }
}

#[tokio::test]
async fn what_ended_before_the_floor_is_refused() {
    let ca = Ca::new();
    for (year, begins) in YEARS {
        let registrar = ca.issue_for(&["controller"], year);
        let in_it = floor(begins + DAY);
        meets_registrar(&ca, &registrar, in_it).await.unwrap();
        let past = floor(begins + 366 * DAY);
        assert!(meets_registrar(&ca, &registrar, past).await.is_err());
    }
}

#[tokio::test]
async fn owner_time_alone_judges_peers_and_kmes_once_it_is_known() {
    let ca = Ca::new();
    let us = ca.issue(&["gw-a"]);
    for (year, begins) in YEARS {
        let other = ca.issue_for(&["gw-b"], year);
        for (moment, good) in [
            (begins - DAY, false),
            (begins + DAY, true),
            (begins + 366 * DAY, false),
        ] {
            let clock = || Clock::known(shown(moment));
            let (near, _far) = both(&ca, &us, &other, &clock(), &Clock::known(nothing())).await;
            assert_eq!(near, good, "a server of {year}, at {moment}");
            let (_near, far) = both(&ca, &other, &us, &Clock::known(nothing()), &clock()).await;
            assert_eq!(far, good, "a client of {year}, at {moment}");
            assert_eq!(meets_kme(&ca, &us, &other, &clock()).await, good);
        }
    }
}

#[tokio::test]
async fn a_certificate_that_was_good_is_refused_as_soon_as_the_owner_shows_a_later_time() {
    let ca = Ca::new();
    let (us, (year, begins)) = (ca.issue(&["gw-a"]), YEARS[1]);
    let other = ca.issue_for(&["gw-b"], year);
    let clock = Clock::known(floor(begins));
    let elsewhere = Clock::known(nothing());
    assert!(both(&ca, &us, &other, &clock, &elsewhere).await.0);
    clock.learn(shown(begins + 366 * DAY));
    assert!(!both(&ca, &us, &other, &clock, &elsewhere).await.0);
    // And no earlier word brings it back.
    clock.learn(shown(begins + DAY));
    assert!(!both(&ca, &us, &other, &clock, &elsewhere).await.0);
}

#[tokio::test]
async fn a_gateway_that_calls_home_may_show_a_certificate_that_has_ended_and_no_other() {
    let ca = Ca::new();
    let now = || Clock::known(shown(YEARS[1].1));
    let (controller, _tpm) = ca.issue(&["controller"]).identity();
    let (past, past_end) = (YEARS[0].0, 1_009_843_200);
    for (gateway, not_after) in [
        (ca.issue_for(&["gw-c"], past), Some(past_end)),
        (ca.issue_for(&["gw-c"], 2101), None),
        (Ca::new().issue_for(&["gw-c"], past), None),
        (ca.issue_for(&["gw-c", "gw-d"], past), None),
        (ca.issue_under_an_ended_ca(&["gw-c"], past), None),
    ] {
        let tls = call_home_client(&controller, &ca.anchors_by(&now())).unwrap();
        let (near, far) = tcp().await;
        let (near, _far) = tokio::join!(
            connect_home(near, tls, LIMIT),
            accept(
                far,
                stock_server(&ca, &gateway, &[kx_group::X25519MLKEM768]),
                LIMIT
            ),
        );
        match not_after {
            Some(not_after) => assert_eq!(near.unwrap().not_after, not_after),
            None => assert!(matches!(near, Err(TlsError::Handshake(_)))),
        }
    }
}

fn nothing() -> KnownTime {
    KnownTime::default()
}

fn floor(floor: u64) -> KnownTime {
    KnownTime { floor, owner: None }
}

fn shown(seconds: u64) -> KnownTime {
    let owner = Some(OwnerMoment {
        seconds,
        at: boot_time(),
    });
    KnownTime { floor: 0, owner }
}

fn node(name: &str) -> NodeId {
    NodeId::try_from(name).unwrap()
}

/// Whether a box that knows this much takes this registrar.
async fn meets_registrar(ca: &Ca, owner: &Certified, time: KnownTime) -> Result<(), TlsError> {
    let (identity, _tpm) = owner.identity();
    let bare = Ca::new().issue(&["box"]);
    let (signer, _tpm) = Tpm::with(&bare.key);
    let anchors = ca.anchors_by(&Clock::known(time));
    let tls = registrar_client(
        &bare.chain,
        Arc::new(signer),
        &anchors,
        Application::Enrolment,
    )
    .unwrap();
    let (near, far) = tcp().await;
    let controller = node("controller");
    let (near, _far) = tokio::join!(
        connect_registrar(near, tls, &controller, LIMIT),
        accept_box(far, registrar(&identity).unwrap(), LIMIT),
    );
    near.map(|_met| ())
}

/// Whether each end takes the other: the client's word, and the server's.
async fn both(
    ca: &Ca,
    near: &Certified,
    far: &Certified,
    near_clock: &Clock,
    far_clock: &Clock,
) -> (bool, bool) {
    let ((near_id, _near), (far_id, _far)) = (near.identity(), far.identity());
    let near_tls = client(&near_id, &ca.anchors_by(near_clock)).unwrap();
    let far_tls = server(&far_id, &ca.anchors_by(far_clock)).unwrap();
    let (name, (near, far)) = (far_id.node().clone(), tcp().await);
    let (near, far) = tokio::join!(
        connect(near, near_tls, &name, LIMIT),
        accept(far, far_tls, LIMIT),
    );
    (near.is_ok(), far.is_ok())
}

/// Whether a KME is taken.
async fn meets_kme(ca: &Ca, us: &Certified, kme: &Certified, clock: &Clock) -> bool {
    let (kme_id, _kme) = kme.identity();
    let (signer, _tpm) = Tpm::with(&us.key);
    let anchors = ca.anchors_by(clock);
    let tls = kme_client(&us.chain, Arc::new(signer), &anchors, Groups::HybridOnly).unwrap();
    let elsewhere = ca.anchors_by(&Clock::known(nothing()));
    let (name, (near, far)) = (kme_id.node().clone(), tcp().await);
    let (near, _far) = tokio::join!(
        connect(near, tls, &name, Duration::from_secs(20)),
        accept(far, server(&kme_id, &elsewhere).unwrap(), LIMIT),
    );
    near.is_ok()
}
