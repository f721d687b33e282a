//! The qkd role's real process against KMEs that are honest, and KMEs that are not.
#![cfg(test)]
#![forbid(unsafe_code)]

mod ahead;
mod link;
mod memory;
mod several;
mod stream;
mod streams;

use std::time::{Duration, Instant};

use bartizan_model::config::Groups;
use bartizan_model::message::{Memory, QkdToEngine};
use bartizan_model::report::QkdRefusal;
use bartizan_tests::kme;
use bartizan_tests::pki::{Authority, Valid};
use bartizan_tests::played::next;
use link::{Gateway, KME, Setup, start_kme};

#[test]
fn both_gateways_get_the_same_key_and_the_next_is_another() {
    let setup = Setup::new();
    let (kme_a, kme_b) = (setup.kme("kme-a"), setup.kme("kme-b"));
    let mut a = setup.gateway("sae-a", &kme_a);
    let mut b = setup.gateway("sae-b", &kme_b);
    let mut last = Vec::new();
    for _ in 0..3 {
        let (name, key) = a.new_key("sae-b").unwrap();
        let (same_name, same_key) = b.same_key("sae-a", name.as_str()).unwrap();
        assert_eq!((&name, key.expose()), (&same_name, same_key.expose()));
        assert_ne!(key.expose(), last);
        last = key.expose().to_vec();
    }
    assert_eq!(
        a.tpm.signatures(),
        1,
        "a connection that stands is used again"
    );
    assert_eq!(kme_a.count("status"), 1, "and the status is asked for once");
}

#[test]
fn the_role_is_locked_down_with_its_keys_out_of_the_kernels_map() {
    let setup = Setup::new();
    let kme = setup.kme("kme-a");
    let achieved = setup.gateway("sae-a", &kme).role.achieved();
    assert!(achieved.seccomp && achieved.undumpable && achieved.no_new_privs);
    assert_eq!(achieved.memory, Memory::Secret);
}

#[test]
fn what_a_kme_does_wrong_is_a_refusal_of_its_kind() {
    let setup = Setup::new();
    let kme = setup.kme("kme-a");
    let mut gateway = setup.gateway("sae-a", &kme);
    gateway.new_key("sae-b").unwrap();
    for (peer, (order, reason)) in [
        ("refuse", QkdRefusal::Unavailable),
        ("unauthorized", QkdRefusal::Unauthorized),
        ("bad-request", QkdRefusal::BadRequest),
        ("zero-key", QkdRefusal::ZeroKey),
        ("repeated-key", QkdRefusal::RepeatedKey),
        ("repeated-id", QkdRefusal::RepeatedKey),
        ("short-key", QkdRefusal::WrongLength),
        ("long-key", QkdRefusal::WrongLength),
        ("no-key", QkdRefusal::BadReply),
        ("two-keys", QkdRefusal::BadReply),
        ("garbage", QkdRefusal::BadReply),
        ("truncated", QkdRefusal::BadReply),
        ("oversize", QkdRefusal::BadReply),
        ("not-http", QkdRefusal::BadReply),
        ("drop", QkdRefusal::Unreachable),
        ("hang", QkdRefusal::TimedOut),
        ("drip 2000", QkdRefusal::TimedOut),
    ]
    .into_iter()
    .enumerate()
    {
        // A peer each, so that no key was fetched ahead.
        let peer = format!("sae-{peer}");
        assert_eq!(kme.order(order), "ok");
        assert_eq!(gateway.new_key(&peer).unwrap_err(), reason, "{order}");
        assert_eq!(kme.order("honest"), "ok");
        let (_, key) = gateway.new_key(&peer).expect(order);
        assert_eq!(key.len(), 32);
    }
    gateway.role.wait_count("qkd-zero-key", 1);
    gateway.role.wait_count("qkd-repeated-key", 2);
    assert!(gateway.role.runs());
}

#[test]
fn another_key_than_the_named_one_is_refused() {
    let setup = Setup::new();
    let (kme_a, kme_b) = (setup.kme("kme-a"), setup.kme("kme-b"));
    let mut a = setup.gateway("sae-a", &kme_a);
    let mut b = setup.gateway("sae-b", &kme_b);
    let (name, _) = a.new_key("sae-b").unwrap();
    assert_eq!(kme_b.order("wrong-id times=1"), "ok");
    let wrong = b.same_key("sae-a", name.as_str());
    assert_eq!(wrong.unwrap_err(), QkdRefusal::WrongKeyId);
    let again = b.same_key("sae-a", name.as_str());
    assert_eq!(again.unwrap_err(), QkdRefusal::BadRequest, "given once");
    let invented = b.same_key("sae-a", "\"no\\such\"");
    assert_eq!(invented.unwrap_err(), QkdRefusal::BadRequest);
}

#[test]
fn odd_and_honest_answers_give_a_key() {
    let setup = Setup::new();
    let kme = setup.kme("kme-a");
    let mut gateway = setup.gateway("sae-a", &kme);
    for order in ["delay 500", "chunked", "escaped", "close", "drip 1"] {
        kme.order("honest");
        assert_eq!(kme.order(&format!("{order} on=all")), "ok");
        gateway.new_key("sae-b").expect(order);
    }
}

#[test]
fn a_kme_that_takes_no_post_gives_every_key_by_get() {
    const KEYS: usize = 60;
    let setup = Setup::new();
    let (kme_a, kme_b) = (setup.kme("kme-a"), setup.kme("kme-b"));
    let mut a = setup.gateway("sae-a", &kme_a);
    let mut b = setup.gateway("sae-b", &kme_b);
    for kme in [&kme_a, &kme_b] {
        assert_eq!(kme.order("no-post on=all"), "ok");
    }
    let (name, key) = a.new_key("sae-b").unwrap();
    let (_, same) = b.same_key("sae-a", name.as_str()).unwrap();
    assert_eq!(key.expose(), same.expose());
    let mut keys = Vec::new();
    for _ in 0..KEYS {
        keys.push(a.new_key("sae-b").unwrap());
    }
    // Many at once: the other form takes one name a request.
    for (name, _) in &keys {
        b.order_same_key("sae-a", name.as_str());
    }
    for _ in 0..KEYS {
        let (_, outcome) = b.replied();
        let (name, same) = outcome.unwrap();
        let (_, key) = keys.iter().find(|(of, _)| *of == name).unwrap();
        assert_eq!(key.expose(), same.expose());
    }
    assert!(b.role.runs());
}

#[test]
fn one_hanging_answer_holds_no_other_order_up() {
    let setup = Setup::new();
    let kme = setup.kme("kme-a");
    let mut gateway = setup.gateway("sae-a", &kme);
    gateway.new_key("sae-b").unwrap();
    kme.order("hang times=1");
    let hanging = gateway.order_new_key("sae-b");
    let begun = Instant::now();
    for _ in 0..20 {
        gateway.new_key("sae-b").unwrap();
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "waited for it");
    let reply = gateway.reply();
    assert_eq!(reply, (hanging, Err(QkdRefusal::TimedOut)));
}

#[test]
fn many_orders_share_few_connections_and_each_gets_its_reply() {
    const ORDERS: usize = 300;
    let setup = Setup::new();
    let kme = setup.kme("kme-a");
    let mut gateway = setup.gateway("sae-a", &kme);
    kme.order("delay 20");
    let mut orders: Vec<_> = (0..ORDERS)
        .map(|_| gateway.order_new_key("sae-b"))
        .collect();
    let mut answered = Vec::new();
    for _ in 0..ORDERS {
        let (order, outcome) = gateway.reply();
        outcome.unwrap();
        answered.push(order);
    }
    answered.sort();
    orders.sort();
    assert_eq!(answered, orders);
    assert!(kme.count("connections") <= 24);
    assert!(gateway.tpm.signatures() <= 24);
}

#[test]
fn a_cancelled_order_gets_no_reply_and_too_many_orders_are_refused() {
    let setup = Setup::new();
    let kme = setup.kme("kme-a");
    let mut gateway = setup.gateway("sae-a", &kme);
    kme.order("hang on=all");
    let cancelled = gateway.order_new_key("sae-b");
    gateway.cancel(cancelled);
    let waiting: Vec<_> = (0..2100).map(|_| gateway.order_new_key("sae-b")).collect();
    let busy = gateway.reply();
    assert_eq!(busy.1, Err(QkdRefusal::Busy));
    assert!(waiting.contains(&busy.0));
    let deadline = Instant::now() + Duration::from_secs(12);
    let mut replies = 1;
    while replies < waiting.len() {
        let reply = next(&mut gateway.engine, deadline).expect("a reply to each");
        if let QkdToEngine::Refused { order, .. } = reply.unwrap().message {
            assert_ne!(order, cancelled);
        }
        replies += 1;
    }
}

#[test]
fn a_kme_that_goes_and_comes_back_is_used_again() {
    let setup = Setup::new();
    let kme = setup.kme("kme-a");
    let address = kme.address();
    let mut gateway = setup.gateway("sae-a", &kme);
    let (before, _) = gateway.new_key("sae-b").unwrap();
    drop(kme);
    for _ in 0..3 {
        let away = gateway.new_key("sae-b");
        assert_eq!(away.unwrap_err(), QkdRefusal::Unreachable);
    }
    let kme = start_kme(&setup.kme_options("kme-a", address));
    let back = gateway.new_key("sae-b").unwrap();
    assert_ne!(back.0, before);
    assert_eq!(kme.count("answered"), 1);
    gateway.role.wait_count("qkd-no-connection", 1);
}

#[test]
fn only_the_right_kme_is_spoken_with() {
    let setup = Setup::new();
    let foreign = Authority::new("Somebody else");
    for (certified, what) in [
        (foreign.issue(&[KME]), "of another authority"),
        (setup.kmes.issue(&["other.example"]), "of another name"),
        (setup.kmes.issue_valid(&[KME], Valid::InThePast), "expired"),
    ] {
        let kme = start_kme(&setup.options_with(&certified, "kme-a"));
        let mut gateway = setup.gateway("sae-a", &kme);
        let refused = gateway.new_key("sae-b");
        assert_eq!(refused.unwrap_err(), QkdRefusal::Unreachable, "{what}");
        assert_eq!(gateway.tpm.signatures(), 0, "{what}");
        assert_eq!(kme.count("enc_keys"), 0, "{what}");
    }
}

#[test]
fn a_kme_that_does_not_know_us_is_told_from_one_that_is_away() {
    let setup = Setup::new();
    let mut options = setup.kme_options("kme-a", "127.0.0.1:0".parse().unwrap());
    let other = Authority::new("Other SAEs");
    options.client_anchors = vec![other.anchor().0.into()];
    let kme = start_kme(&options);
    let mut gateway = setup.gateway("sae-a", &kme);
    let refused = gateway.new_key("sae-b");
    assert_eq!(refused.unwrap_err(), QkdRefusal::Unauthorized);
}

#[test]
fn a_classical_kme_is_used_only_where_that_is_configured() {
    let setup = Setup::new();
    let mut options = setup.kme_options("kme-a", "127.0.0.1:0".parse().unwrap());
    options.groups = kme::Groups::Classical;
    let kme = start_kme(&options);
    let mut strict = setup.gateway("sae-a", &kme);
    let refused = strict.new_key("sae-b");
    assert_eq!(refused.unwrap_err(), QkdRefusal::Unreachable);
    let mut lax = setup.gateway_with("sae-a", &kme, Groups::ClassicalAllowed);
    lax.new_key("sae-b").unwrap();
}

#[test]
fn a_status_that_does_not_fit_refuses_the_order() {
    let setup = Setup::new();
    let kme = setup.kme("kme-a");
    // The KME goes by the certificate, so it names another master than we take ourselves for.
    let mut gateway = setup.gateway_named("sae-a", "sae-x", &kme, Groups::HybridOnly);
    let refused = gateway.new_key("sae-b");
    assert_eq!(refused.unwrap_err(), QkdRefusal::BadReply);
    assert_eq!(kme.count("enc_keys"), 0);
}

#[test]
fn without_a_kme_every_order_is_refused_at_once() {
    let mut gateway = Gateway::without_kme();
    for _ in 0..3 {
        let refused = gateway.new_key("sae-b");
        assert_eq!(refused.unwrap_err(), QkdRefusal::Unreachable);
    }
}

#[test]
fn the_role_ends_with_its_neighbours_and_never_hangs() {
    let setup = Setup::new();
    let kme = setup.kme("kme-a");
    let mut gateway = setup.gateway("sae-a", &kme);
    kme.order("hang on=all");
    gateway.order_new_key("sae-b");
    gateway.hang_up();
    let begun = Instant::now();
    assert_eq!(gateway.role.ended().code(), Some(69), "EX_UNAVAILABLE");
    assert!(begun.elapsed() < Duration::from_secs(3));
}
