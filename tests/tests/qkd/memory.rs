//! What is left of a key in the process that fetched it, which is nothing, and what that process locks at most.

use bartizan_tests::testbed::memory::{FORMS, copies, forms_of};

use crate::link::{KME, Setup};

#[test]
fn no_form_of_a_key_stays_in_the_process_that_fetched_it() {
    let setup = Setup::new();
    let (kme_a, kme_b) = (setup.kme("kme-a"), setup.kme("kme-b"));
    let mut a = setup.gateway("sae-a", &kme_a);
    let mut peers = Vec::new();
    let mut forms = Vec::new();
    // Whole, in pieces, in chunks and escaped: each takes another way through the buffers.
    for (number, order) in ["honest", "chunked", "escaped", "drip 1", "refuse"]
        .into_iter()
        .enumerate()
    {
        kme_a.order("honest");
        kme_a.order(order);
        // A peer each, so that no key was fetched ahead.
        let peer = format!("sae-{number}");
        let mut b = setup.gateway(&peer, &kme_b);
        if let Ok((name, key)) = a.new_key(&peer) {
            forms.extend(forms_of(key.expose()));
            let (_, same) = b.same_key("sae-a", name.as_str()).unwrap();
            assert_eq!(key.expose(), same.expose());
        }
        peers.push(b);
    }
    assert_eq!(forms.len(), 4 * FORMS);
    for gateway in core::iter::once(&a).chain(&peers) {
        let pid = gateway.role.pid();
        assert!(
            copies(pid, &[format!("{KME}:").into_bytes()]) > 0,
            "the search finds nothing that is there"
        );
        assert_eq!(copies(pid, &forms), 0, "in {pid:?}");
    }
}

/// What a flood of orders may lock for one KME of four: a quarter of what the unit allows.
const LOCKED_MAX: u64 = 8 * 1024 / 4;

/// The most connections, each with its buffers, and every key on its way.
#[test]
fn a_flood_of_orders_locks_no_more_than_a_kmes_part_of_the_limit() {
    const ORDERS: usize = 2000;
    let setup = Setup::new();
    let kme = setup.kme("kme-a");
    let mut a = setup.gateway("sae-a", &kme);
    a.new_key("sae-b").unwrap();
    let idle = locked_kib(a.role.pid());
    kme.order("delay 50");
    // Many peers, so that one request is not for many orders.
    for order in 0..ORDERS {
        a.order_new_key(&format!("sae-{}", order % 100));
    }
    let mut most = idle;
    for _ in 0..ORDERS {
        drop(a.reply());
        most = most.max(locked_kib(a.role.pid()));
    }
    println!("{idle} KiB with one connection, {most} KiB at most");
    assert!(kme.count("connections") > 8, "it was no flood");
    assert!(most > idle, "nothing was measured");
    assert!(most <= LOCKED_MAX, "{most} KiB are locked");
}

fn locked_kib(pid: rustix::process::Pid) -> u64 {
    let pid = pid.as_raw_nonzero();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmLck:"));
    let kib = line.unwrap().split_whitespace().next().unwrap();
    kib.parse().unwrap()
}
