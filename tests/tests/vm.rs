//! What needs Debian's kernel: a boot takes some five seconds, so few tests do.

use std::{path::Path, time::Duration};

use bartizan_tests::{
    in_guest,
    testbed::{
        boot::Boot,
        esp::protect,
        flow::{Flow, Pace, let_pass},
        swtpm::Swtpm,
        topology::{Family, Side, Topology},
    },
};

#[test]
fn a_vm_has_landlock_secret_memory_and_esp() {
    in_guest!(Boot::vm(), || {
        let modules = std::fs::read_to_string("/sys/kernel/security/lsm").unwrap();
        assert!(modules.contains("landlock"), "{modules}");
        let topology = Topology::new();
        protect(&topology, "");
        let ends = Side::BOTH.map(|side| (&topology.side(side).lan, side.lan_host(Family::V4)));
        let pace = Pace {
            per_second: 200,
            size: 200,
        };
        let flow = Flow::start(ends, 5000, pace);
        let_pass(Duration::from_millis(500));
        for arrivals in flow.stop() {
            assert!(arrivals.is_whole(), "{arrivals:?}");
        }
        let tpm = Swtpm::start(Path::new("/run/tpm"));
        assert!(tpm.resource_manager().exists());
    });
}
