//! The exploration: from every state by every event, until nothing is new.

use std::collections::BTreeSet;

use crate::end::End;
use crate::world::{Link, World};

/// What may still go wrong.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Budget {
    pub(crate) rekeys: u8,
    pub(crate) kernel: u8,
    pub(crate) cuts: u8,
    pub(crate) restarts: u8,
    pub(crate) deadlines: u8,
    pub(crate) expiries: u8,
    pub(crate) anew: u8,
}

pub(crate) const NONE: Budget = Budget {
    rekeys: 0,
    kernel: 0,
    cuts: 0,
    restarts: 0,
    deadlines: 0,
    expiries: 0,
    anew: 0,
};

/// A mistake that the exploration must find.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Planted {
    Nothing,
    DrainsWithoutSwitched,
    AbandonsWhileInstalling,
    SwitchedBeforeRemoved,
    KeepsSwitchedToItself,
}

pub(crate) fn explore(budget: Budget, planted: Planted) -> Result<usize, String> {
    let mut start = World {
        ends: [End::default(), End::default()],
        link: Link::Down,
        budget,
    };
    // The two ends take different numbers for their SAs.
    start.ends[0].spis = 1000;
    start.ends[1].spis = 2000;
    let mut seen = BTreeSet::new();
    let mut todo = vec![start];
    while let Some(world) = todo.pop() {
        let mut quiet = true;
        for step in world.moves() {
            let mut next = world.clone();
            next.take(step, planted);
            quiet &= step.is_fault();
            next.check()
                .map_err(|broken| format!("{broken}\nafter {step:?}: {next}"))?;
            if seen.insert(next.fingerprint()) {
                todo.push(next);
            }
        }
        if quiet {
            world
                .check_rest()
                .map_err(|broken| format!("{broken}\nat rest: {world}"))?;
        }
    }
    println!("{budget:?}: {} states", seen.len());
    Ok(seen.len())
}
