//! From the factory to protected traffic with nobody typing, and out again.

use std::time::Duration;

use bartizan_tests::{
    in_guest,
    pki::Kind,
    testbed::{
        boot::Boot,
        fleet::{Fleet, uml},
        plan::{Covers, Tunnel, plan},
        topology::Family,
    },
};

/// More than the controller's poll.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn boxes_of_both_kinds_go_from_power_on_to_operational_by_themselves() {
    let boot = Boot::uml().memory_mib(512);
    in_guest!(boot, || {
        let fleet = Fleet::from_factory(&uml(), [Kind::Idevid, Kind::Ek]);
        let tunnel = Tunnel::new(1, Covers::Lans(Family::V4));
        fleet.controller.apply(&plan(&[tunnel]), true);
        // The controller asks for the state in its own time.
        fleet
            .controller
            .wait_for(SOON, "both operational", |status| {
                let states = status.nodes.iter().map(|node| node.lifecycle.as_deref());
                states.eq([Some("operational"); 2])
            });
    });
}
