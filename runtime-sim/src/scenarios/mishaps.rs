//! What goes wrong at random, by name: for the scenarios in which anything may.

use std::{ops::Range, time::Duration};

use circuit_core::{Instant, Rng};

use super::seconds;
use crate::{
    Bar, Figure,
    faults::{Fault, Plan},
};

/// Faults of one kind, and how long after its beginning they happen.
pub(super) type Mishap = Vec<(Duration, Fault)>;

/// Of some kinds less than `below`, at times within `span`, in seconds: of which
/// each fault is, and what goes wrong.
pub(super) fn plan(
    rng: &mut Rng,
    kinds: &[&'static str],
    below: u64,
    span: Range<u64>,
    mut faults: impl FnMut(&mut Rng, &str) -> Mishap,
) -> (Vec<&'static str>, Plan) {
    let mut all: Vec<(&'static str, (Instant, Fault))> = Vec::new();
    for _ in 0..rng.below(below) {
        let kind = kinds[rng.below(kinds.len() as u64) as usize];
        let at = seconds(span.start) + Duration::from_micros(rng.below((span.end - span.start) * 1_000_000));
        all.extend(faults(rng, kind).into_iter().map(|(after, fault)| (kind, (at + after, fault))));
    }
    all.sort_by_key(|(_, (at, _))| *at);
    all.into_iter().unzip()
}

/// Those of which something came, of faults that were planned.
pub(super) fn felt(of: &[&'static str], plan: &Plan, was_felt: impl Fn(&str, &Fault) -> bool) -> Vec<&'static str> {
    of.iter().zip(plan).filter(|(kind, (_, fault))| was_felt(kind, fault)).map(|(kind, _)| *kind).collect()
}

/// Which of all kinds have fired: each has to in one seed of twenty.
pub(super) fn shares(what: &str, kinds: &[&str], fired: &[&str]) -> impl Iterator<Item = Figure> {
    kinds.iter().map(move |kind| {
        let fired = f64::from(u8::from(fired.contains(kind)));
        Figure::new(format!("{what}: {kind}"), fired, Bar::MeanAtLeast(0.05))
    })
}

/// All servers are killed within half a second, and come back.
pub(super) fn restart_storm(rng: &mut Rng, servers: usize, back: Duration) -> Mishap {
    let one = |server| {
        let after = Duration::from_millis(rng.below(500));
        (after, Fault::Crash { server, back, same: rng.chance(1, 2) })
    };
    (0..servers).map(one).collect()
}
