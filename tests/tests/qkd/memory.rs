//! What is left of a key in the process that fetched it: nothing, while its connection stands.

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
