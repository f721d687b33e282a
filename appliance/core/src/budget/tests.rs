use bartizan_model::config::KmeInterface;
use bartizan_model::ids::NodeId;
use bartizan_model::report::{LinkCounts, LinkState};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u64) -> BootTime {
    BootTime(Duration::from_secs(seconds))
}

fn reqid(number: u32) -> Reqid {
    Reqid::try_from(number).unwrap()
}

fn source(need: Need, priority: u8, minimum: u32) -> QkdSource {
    QkdSource {
        need,
        peer_sae: SaeId::try_from("sae-b").unwrap(),
        priority: QkdPriority::try_from(priority).unwrap(),
        minimum,
    }
}

fn report(state: LinkState, stored: Option<u32>, rate: Option<u32>) -> LinkReport {
    LinkReport {
        kme: NodeId::try_from("kme.example").unwrap(),
        peer: SaeId::try_from("sae-b").unwrap(),
        interface: KmeInterface::Etsi014,
        state,
        reason: None,
        said: None,
        stored_keys: stored,
        prefetched: 0,
        rate,
        latency: None,
        counts: LinkCounts::default(),
    }
}

/// Required tunnels of the highest priority, others, and optional ones, ten of each, at a link that held
/// a hundred keys and holds so many.
fn shared(left: u32) -> Budget {
    let mut budget = Budget::default();
    for number in 1..=30 {
        let source = match number {
            1..=10 => source(Need::Optional, 7, 0),
            11..=20 => source(Need::Required, 0, 0),
            _ => source(Need::Required, 7, 0),
        };
        budget.follow(reqid(number), Some(&source));
    }
    for keys in [100, left] {
        budget.link(report(LinkState::Healthy, Some(keys), None), at(0));
        assert_eq!(budget.next(at(0)), None);
    }
    budget
}

#[test]
fn keys_stay_for_those_who_stand_before() {
    let mut budget = shared(25);
    // Twenty required ones stand before the optional ones, ten before the lower required ones.
    for number in 1..=5 {
        assert_eq!(budget.ask(reqid(number), None, at(1)), Word::Take);
    }
    assert_eq!(budget.ask(reqid(6), None, at(1)), Word::Without);
    for number in 11..=20 {
        assert_eq!(budget.ask(reqid(number), None, at(1)), Word::Take);
    }
    assert_eq!(budget.ask(reqid(11), None, at(1)), Word::Wait(None));
    for number in 21..=30 {
        assert_eq!(budget.ask(reqid(number), None, at(1)), Word::Take);
    }
    assert_eq!(budget.ask(reqid(30), None, at(1)), Word::Wait(None));
    assert_eq!(budget.next(at(1)), None);
}

#[test]
fn those_who_can_wait_do_so_before_keys_are_short_for_others() {
    let mut budget = shared(31);
    let (soon, later) = (Some(at(50)), at(50));
    assert_eq!(budget.ask(reqid(21), soon, at(1)), Word::Take);
    assert_eq!(budget.ask(reqid(22), soon, at(1)), Word::Wait(soon));
    assert_eq!(budget.next(at(1)), None);
    let low = (SaeId::try_from("sae-b").unwrap(), BudgetLevel::Low);
    assert_eq!(budget.take_alarm(), Some(low));
    // Who cannot wait any longer goes first and gets one.
    assert_eq!(budget.ask(reqid(12), None, at(2)), Word::Take);
    assert_eq!(budget.ask(reqid(22), soon, later), Word::Take);
    // The store recovers: half as many again as where it was low, and the three that are on their way.
    for keys in [44, 48, 49] {
        assert_eq!(budget.ask(reqid(23), soon, at(3)), Word::Wait(soon));
        budget.link(report(LinkState::Healthy, Some(keys), None), at(3));
        let woken = budget.next(at(3));
        assert_eq!(woken, (keys == 49).then(|| reqid(23)), "{keys}");
    }
    assert_eq!(budget.ask(reqid(23), soon, at(3)), Word::Take);
}

#[test]
fn who_got_less_than_its_minimum_is_not_put_off() {
    let mut budget = shared(20);
    let entitled = source(Need::Required, 0, 60);
    budget.follow(reqid(11), Some(&entitled));
    let far = Some(at(9000));
    assert_eq!(budget.ask(reqid(11), far, at(1)), Word::Take);
    budget.settle(reqid(11), Fate::Delivered, at(1));
    assert_eq!(budget.ask(reqid(11), far, at(2)), Word::Wait(Some(at(61))));
    assert_eq!(budget.ask(reqid(11), far, at(61)), Word::Take);
}

#[test]
fn promises_that_a_link_cannot_keep_are_told_at_once_and_while_there_are_keys() {
    let mut budget = shared(90);
    let told = |budget: &mut Budget| core::iter::from_fn(|| budget.take_alarm()).last();
    let level = |level| Some((SaeId::try_from("sae-b").unwrap(), level));
    let judged = |budget: &mut Budget, rate| {
        budget.link(report(LinkState::Healthy, Some(90), rate), at(1));
        assert_eq!(budget.next(at(1)), None);
        told(budget)
    };
    for number in 1..=10 {
        budget.follow(reqid(number), Some(&source(Need::Optional, 7, 12)));
    }
    assert_eq!(judged(&mut budget, None), None, "nobody knows the rate");
    assert_eq!(judged(&mut budget, Some(120)), None, "it is just enough");
    let oversold = level(BudgetLevel::Oversold);
    assert_eq!(judged(&mut budget, Some(119)), oversold);
    assert_eq!(judged(&mut budget, Some(118)), None, "told once");
    // Who can wait still gets keys: there are some.
    assert_eq!(budget.ask(reqid(21), Some(at(50)), at(1)), Word::Take);
    assert_eq!(judged(&mut budget, Some(131)), None, "it does not flap");
    assert_eq!(judged(&mut budget, Some(132)), level(BudgetLevel::Plenty));
    // A policy that promises one more breaks them as well.
    budget.follow(reqid(30), Some(&source(Need::Required, 7, 13)));
    assert_eq!(budget.next(at(2)), None);
    assert_eq!(told(&mut budget), oversold);
    budget.link(report(LinkState::Healthy, Some(0), Some(1)), at(3));
    assert_eq!(budget.next(at(3)), None);
    assert_eq!(told(&mut budget), level(BudgetLevel::Dry));
}

#[test]
fn the_first_in_order_is_woken_first() {
    let mut budget = shared(0);
    for number in [15, 25, 5, 26] {
        let word = budget.ask(reqid(number), Some(at(99)), at(1));
        assert_eq!(word, Word::Wait(Some(at(99))));
    }
    budget.link(report(LinkState::Healthy, Some(90), None), at(2));
    let mut woken = Vec::new();
    while let Some(next) = budget.next(at(2)) {
        assert_eq!(budget.ask(next, Some(at(99)), at(2)), Word::Take);
        woken.push(u32::from(next));
    }
    assert_eq!(woken, [25, 26, 15, 5]);
}

#[test]
fn a_dry_link_is_tried_by_one_at_a_time() {
    let mut budget = shared(1);
    assert_eq!(budget.ask(reqid(21), None, at(1)), Word::Take);
    let unavailable = Fate::Refused(QkdRefusal::Unavailable);
    budget.settle(reqid(21), unavailable, at(1));
    for number in [21, 22] {
        assert_eq!(budget.ask(reqid(number), None, at(1)), Word::Wait(None));
    }
    assert_eq!(budget.next(at(1)), None);
    let dry = (SaeId::try_from("sae-b").unwrap(), BudgetLevel::Dry);
    let alarms: Vec<_> = core::iter::from_fn(|| budget.take_alarm()).collect();
    assert_eq!(alarms.last(), Some(&dry));
    let probe = at(1).after(PROBE_GAP);
    assert_eq!(budget.deadline(), Some(probe));
    budget.tick(probe);
    assert_eq!(budget.next(probe), Some(reqid(21)));
    assert_eq!(budget.ask(reqid(21), None, probe), Word::Take);
    // The other waits for what becomes of that; a key that comes lets it try at once.
    assert_eq!(budget.next(probe), None);
    assert_eq!(budget.deadline(), None);
    budget.settle(reqid(21), Fate::Delivered, probe);
    assert_eq!(budget.next(probe), Some(reqid(22)));
}

#[test]
fn a_link_that_does_not_say_what_it_has_is_taken_from_at_its_rate() {
    let mut budget = shared(0);
    budget.link(report(LinkState::Healthy, None, Some(360)), at(0));
    assert_eq!(budget.next(at(0)), None);
    let far = Some(at(9000));
    assert_eq!(budget.ask(reqid(21), far, at(1)), Word::Take);
    assert_eq!(budget.ask(reqid(22), far, at(1)), Word::Wait(far));
    assert_eq!(budget.deadline(), Some(at(11)));
    // Who cannot wait is not held up.
    assert_eq!(budget.ask(reqid(12), None, at(2)), Word::Take);
    budget.tick(at(11));
    assert_eq!(budget.next(at(11)), Some(reqid(22)));
}

#[test]
fn a_refused_link_has_no_keys_and_a_changed_tunnel_keeps_what_is_known() {
    let mut budget = shared(60);
    assert_eq!(budget.ask(reqid(21), None, at(1)), Word::Take);
    budget.settle(reqid(21), Fate::Delivered, at(1));
    assert!(budget.link(report(LinkState::Refused, Some(60), None), at(1)));
    assert!(!budget.link(report(LinkState::Refused, Some(60), None), at(1)));
    for number in 2..=30 {
        budget.follow(reqid(number), None);
    }
    budget.follow(reqid(1), Some(&source(Need::Required, 1, 5)));
    assert_eq!(budget.ask(reqid(1), None, at(2)), Word::Wait(None));
    let peer = SaeId::try_from("sae-b").unwrap();
    let told = budget.report(&peer).unwrap();
    assert_eq!((told.budget.taken, told.budget.left), (1, Some(0)));
    assert_eq!((told.budget.tunnels, told.budget.minimum), (1, 5));
    assert_eq!((told.budget.waiting, told.links.len()), (1, 1));
    budget.follow(reqid(1), None);
    assert_eq!(budget.report(&peer), None);
    assert!(!budget.link(report(LinkState::Healthy, Some(1), None), at(3)));
}

#[test]
fn a_rekey_is_put_off_midway_at_most() {
    let seconds = |seconds| Lifetime {
        seconds,
        ..Lifetime::default()
    };
    for (soft, hard, late) in [
        (Some(100), Some(1000), Some(200)),
        (Some(800), Some(1000), Some(900)),
        (Some(100), None, Some(200)),
        (None, None, None),
    ] {
        let late = late.map(|late| SECOND.checked_mul(late).unwrap());
        assert_eq!(late_after(seconds(soft), seconds(hard)), late);
    }
}
