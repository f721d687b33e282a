//! Boxes that know no time: whatever their clocks show, at the first boot and later.

use std::{fs, path::Path, sync::Arc, time::Duration};

use bartizan_controller::status::TunnelStatus;
use bartizan_tests::{
    in_guest,
    pki::{Kind, Valid},
    testbed::{
        boot::{Boot, Clock},
        clock::OwnersClock,
        fleet::{Fleet, KmeProcess, PATIENCE, protects, uml},
        measured::Image,
        plan::{Covers, Tunnel, plan},
        site::{Choices, Site},
        topology::{Family, Side, Topology},
    },
};

/// The second of January 1970; a kernel takes nothing of before its boot.
const EARLY: i64 = 86_400;

/// The summer of 2100: every certificate but the owner's own has ended.
const LATE: i64 = 4_102_444_800 + 150 * 86_400;

/// The summer of 2000, in which a certificate of that year is good.
const PAST: i64 = 959_817_600;

const LEASE: Duration = Duration::from_secs(30);
const CADENCE: Duration = Duration::from_secs(6);

/// A successor is due each 5 s.
const LIFETIME: (u64, u64) = (5, 600);

#[test]
fn boxes_that_know_no_time_enrol_and_protect_in_1970_and_2100_and_take_nothing_that_has_ended() {
    let boot = Boot::uml().memory_mib(512).clock(Clock::Virtual);
    in_guest!(boot.limit(Duration::from_mins(2)), || {
        let choices = Choices {
            lease: LEASE,
            cadence: CADENCE,
            ..uml()
        };
        let topology = Arc::new(Topology::new());
        let folder = Path::new("/run/site");
        fs::create_dir_all(folder).unwrap();
        let mut site = topology
            .controller
            .enter(|| Site::from_factory(folder, &choices, [Kind::Idevid, Kind::Ek]));
        let clock = OwnersClock::new(Path::new("/run/owners-clock"));
        site.start_owner_with(clock.environment());

        clock.set_guests(EARLY);
        let mut fleet = Fleet::start_on(Arc::clone(&topology), site, &choices);
        // B comes to an owner at its next boot.
        let first = ["bartizan-xfrm.service"];
        fleet.gateway(Side::B).wait_ready(&first, PATIENCE);
        fleet.switch_off(Side::B);
        leased(&fleet, [1, 0]);
        fleet.while_the_owner_waits(|| clock.set_guests(LATE));
        fleet.switch_on(Side::B, &Image::approved());
        leased(&fleet, [3, 1]);

        let tunnel = Tunnel {
            lifetime: LIFETIME,
            ..Tunnel::new(1, Covers::Lans(Family::V4))
        };
        fleet.controller.apply(&plan(&[tunnel]), true);
        let before = leases(&fleet);
        let first = epoch(&fleet);
        fleet.while_the_owner_waits(|| clock.set_guests(PAST));
        leased(&fleet, before.map(|leases| leases + 1));
        rekeyed(&fleet, first + 1);

        // The box's clock would take this certificate, and the owner's does not.
        let good = fleet.site.kme(Side::A).join("certificate.pem");
        let kept = [&good, &good.with_file_name("key.pem")].map(|path| fs::read(path).unwrap());
        fleet.kmes[0].take().expect("a KME that lives").kill();
        let name = Side::A.kme_name();
        let ended = fleet.site.pki().kme_operator();
        let ended = ended.issue_valid(&[name], Valid::InThePast);
        ended.write(&fleet.site.kme(Side::A));
        restart_kme(&mut fleet, &choices);
        let before = leases(&fleet);
        fleet
            .controller
            .wait_for(PATIENCE * 2, "no key of that KME", |status| {
                status.tunnels.iter().all(alarmed)
            });
        leased(&fleet, before.map(|leases| leases + 1));
        let journal = fleet.gateway(Side::A).journal();
        let name = format!("no connection to the KME {name}");
        assert!(journal.contains(&name), "{journal}");

        fleet.kmes[0].take().expect("a KME that lives").kill();
        fs::write(&good, &kept[0]).unwrap();
        fs::write(good.with_file_name("key.pem"), &kept[1]).unwrap();
        restart_kme(&mut fleet, &choices);
        let last = epoch(&fleet);
        rekeyed(&fleet, last + 1);
    });
}

fn restart_kme(fleet: &mut Fleet, choices: &Choices) {
    let namespace = &fleet.topology.side(Side::A).kme;
    fleet.kmes[0] = Some(KmeProcess::start(namespace, &fleet.site, Side::A, choices));
}

fn alarmed(tunnel: &TunnelStatus) -> bool {
    let reports = tunnel.ends.iter().filter_map(|end| end.report.as_ref());
    reports.into_iter().any(|report| report.alarm.is_some())
}

fn leases(fleet: &Fleet) -> [u64; 2] {
    let status = fleet.controller.status();
    Side::BOTH.map(|side| {
        let mut nodes = status.nodes.iter();
        let node = nodes.find(|node| node.node == side.node());
        node.map_or(0, |node| node.leases)
    })
}

/// Waits until each gateway has taken so many leases, A's first.
fn leased(fleet: &Fleet, least: [u64; 2]) {
    fleet.controller.wait_for(PATIENCE, "leases", |status| {
        let of = |side: Side| status.nodes.iter().find(|node| node.node == side.node());
        let mut sides = Side::BOTH.into_iter().zip(least);
        sides.all(|(side, least)| of(side).map_or(0, |node| node.leases) >= least)
    });
}

/// The generation that protects.
fn epoch(fleet: &Fleet) -> u64 {
    let status = fleet.controller.status();
    let ends = status.tunnels.iter().flat_map(|tunnel| &tunnel.ends);
    let epochs = ends.filter_map(|end| end.report.as_ref()?.epoch);
    epochs.max().expect("a generation")
}

fn rekeyed(fleet: &Fleet, epoch: u64) {
    fleet.controller.wait_for(PATIENCE, "a rekey", |status| {
        status.tunnels.iter().all(|tunnel| protects(tunnel, epoch))
    });
}
