//! Any QKD keys and links.

use std::collections::BTreeMap;

use bartizan_model::config::KmeInterface;
use bartizan_model::ids::{KmeText, NodeId, SaeId};
use bartizan_model::report::{
    BudgetLevel, BudgetReport, Latency, LinkCounts, LinkReason, LinkReport, LinkState, QkdReport,
};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::{collection, option};

pub(crate) fn sae() -> impl Strategy<Value = SaeId> {
    "[A-Za-z0-9._~-]{1,64}".prop_map(|text| SaeId::try_from(text).unwrap())
}

pub(crate) fn level() -> impl Strategy<Value = BudgetLevel> {
    select(vec![
        BudgetLevel::Plenty,
        BudgetLevel::Oversold,
        BudgetLevel::Low,
        BudgetLevel::Dry,
    ])
}

pub(crate) fn link() -> impl Strategy<Value = LinkReport> {
    let interface = select(vec![
        KmeInterface::Etsi014,
        KmeInterface::Etsi004Binary,
        KmeInterface::Etsi004Json,
    ]);
    let state = select(vec![
        LinkState::Healthy,
        LinkState::Degraded,
        LinkState::Refused,
    ]);
    let reason = select(vec![
        LinkReason::Unreachable,
        LinkReason::Slow,
        LinkReason::OutOfOrder,
        LinkReason::Stale,
    ]);
    let said = "[!-~]([ -~]{0,126}[!-~])?".prop_map(|text| KmeText::try_from(text).unwrap());
    let numbers = (
        option::of(any::<u32>()),
        any::<u32>(),
        option::of(any::<u32>()),
        option::of((any::<u32>(), any::<u32>())),
        any::<[u64; 8]>(),
    );
    let names = ("[a-z0-9.-]{1,64}", sae());
    (
        names,
        interface,
        state,
        option::of(reason),
        option::of(said),
        numbers,
    )
        .prop_map(|((kme, peer), interface, state, reason, said, numbers)| {
            let (stored_keys, prefetched, rate, latency, counts) = numbers;
            let [
                given,
                failed,
                zero,
                repeated,
                short,
                out_of_order,
                unused,
                wasted,
            ] = counts;
            LinkReport {
                kme: NodeId::try_from(kme).unwrap(),
                peer,
                interface,
                state,
                reason,
                said,
                stored_keys,
                prefetched,
                rate,
                latency: latency.map(|(p50, p99)| Latency { p50, p99 }),
                counts: LinkCounts {
                    given,
                    failed,
                    zero,
                    repeated,
                    short,
                    out_of_order,
                    unused,
                    wasted,
                },
            }
        })
}

pub(crate) fn qkd() -> impl Strategy<Value = QkdReport> {
    let numbers = (option::of(any::<u32>()), option::of(any::<u32>()));
    let links = collection::vec(link(), 0..3);
    let counts = (any::<[u32; 4]>(), any::<[u64; 3]>());
    (sae(), level(), numbers, counts, links).prop_map(
        |(peer, level, (left, rate), (numbers, counts), links)| {
            let [reserve, minimum, tunnels, waiting] = numbers;
            let [taken, refused, without] = counts;
            let links: BTreeMap<_, _> = links
                .into_iter()
                .map(|link| {
                    let peer = peer.clone();
                    (link.kme.clone(), LinkReport { peer, ..link })
                })
                .collect();
            QkdReport {
                peer,
                budget: BudgetReport {
                    level,
                    left,
                    reserve,
                    rate,
                    minimum,
                    tunnels,
                    waiting,
                    taken,
                    refused,
                    without,
                },
                links: links.into_values().collect(),
            }
        },
    )
}
