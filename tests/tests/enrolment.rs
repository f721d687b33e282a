//! From the factory to protected traffic with nobody typing, and out again.

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

#[test]
fn boxes_of_both_kinds_go_from_power_on_to_operational_by_themselves() {
    let boot = Boot::uml().memory_mib(512);
    in_guest!(boot, || {
        let fleet = Fleet::from_factory(&uml(), [Kind::Idevid, Kind::Ek]);
        let tunnel = Tunnel::new(1, Covers::Lans(Family::V4));
        fleet.controller.apply(&plan(&[tunnel]), true);
        let status = fleet.controller.status();
        for node in &status.nodes {
            assert_eq!(node.lifecycle.as_deref(), Some("operational"));
        }
    });
}
