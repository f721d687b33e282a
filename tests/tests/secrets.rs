//! Keys that are known to this test, looked for in every process of both gateways while their connections stand.

use std::time::Duration;

use bartizan_tests::{
    in_guest,
    kme::Link,
    testbed::{
        appliance::SERVICES,
        boot::Boot,
        fleet::{Fleet, PATIENCE, protects, uml},
        kernel::sas,
        memory::{copies, forms_of},
        plan::{Covers, Tunnel, plan},
        topology::{Family, Side},
    },
};

/// The seed of the fleet's QKD link.
const SEED: u64 = 7;

/// Bytes of a QKD key.
const KEY_LEN: usize = 32;

#[test]
fn no_process_holds_a_form_of_a_key_that_is_in_use() {
    let guest = Boot::uml().memory_mib(512).limit(Duration::from_mins(3));
    in_guest!(guest, || {
        let mut fleet = Fleet::start(&uml());
        let tunnel = Tunnel::new(1, Covers::Lans(Family::V4));
        fleet.controller.apply(&plan(&[tunnel]), true);
        fleet.controller.wait_for(PATIENCE, "protected", |status| {
            status.tunnels.iter().all(|tunnel| protects(tunnel, 1))
        });

        let mut forms = Vec::new();
        for side in Side::BOTH {
            let standing = sas(&fleet.topology.side(side).gateway);
            assert!(standing.len() >= 2, "{standing:?}");
            forms.extend(standing.iter().flat_map(|sa| forms_of(&sa.key)));
        }
        let names = fleet.kme(Side::B).order("redeemed");
        let names: Vec<String> = serde_json::from_str(&names).unwrap();
        assert!(!names.is_empty(), "no QKD key is in use");
        for name in &names {
            forms.extend(forms_of(&Link::new(SEED).key(name, KEY_LEN)));
        }

        let own = rustix::process::getpid();
        assert!(
            copies(own, &forms) >= forms.len(),
            "they are here, and not found"
        );
        for side in Side::BOTH {
            let gateway = fleet.gateway(side);
            gateway.wait_ready(&SERVICES, PATIENCE);
            for service in SERVICES {
                let pid = gateway.pid(service);
                let known = b"/run/bartizan".to_vec();
                assert!(
                    copies(pid, &[known]) > 0,
                    "the search finds nothing in {service}"
                );
                assert_eq!(copies(pid, &forms), 0, "a key in {service} of {side:?}");
            }
        }
        let journals = fleet.journals();
        for form in &forms {
            let mut windows = journals.as_bytes().windows(form.len());
            assert!(!windows.any(|window| window == form), "a key in a journal");
        }
    });
}
