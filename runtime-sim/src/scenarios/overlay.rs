//! The graph of who hears whom: whether it holds together, and how well.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use circuit_core::{
    Rng, ServerId,
    membership::{Opinion, rings::RINGS},
    node::Node,
};

use super::{FOR_GOOD, Options, churn, cluster::Cluster, seconds};
use crate::{Bar, Figure, Report, ServerIndex, Sim, faults::Fault};

const BEGIN: u64 = 30;
/// A server that has just started is no part of the overlay for so long: it takes
/// a second until the first beat of another is due, and is answered.
const NEW: Duration = Duration::from_secs(2);
/// Nor for so long is one that sees nobody: its seed is dead, or died as they met.
const SEEDLESS: Duration = Duration::from_secs(15);
/// By now the servers that all start at once have found each other.
const READY: u64 = 20;

/// Who hears whom, by number.
struct Graph(Vec<Vec<usize>>);

impl Graph {
    /// Of all that are alive: an edge wherever both hear each other.
    fn of(sim: &Sim) -> Self {
        let nodes: Vec<_> = (0..sim.settings().servers).filter_map(|server| sim.node(server)).collect();
        let numbers: BTreeMap<ServerId, usize> =
            nodes.iter().enumerate().map(|(number, node)| (node.id(), number)).collect();
        let hears = |node: &&Node| -> BTreeSet<usize> {
            let heard = node.membership().observed().filter(|(_, opinion)| *opinion == Opinion::Up);
            heard.filter_map(|(id, _)| numbers.get(&id).copied()).collect()
        };
        let heard: Vec<_> = nodes.iter().map(hears).collect();
        let mutual = |(number, others): (usize, &BTreeSet<usize>)| {
            others.iter().copied().filter(|&other| heard[other].contains(&number)).collect()
        };
        Self(heard.iter().enumerate().map(mutual).collect())
    }

    /// How many parts do not hear of each other, of those with one that counts.
    fn components(&self, counts: impl Fn(usize) -> bool) -> usize {
        let (mut seen, mut count) = (vec![false; self.0.len()], 0);
        for first in (0..self.0.len()).filter(|&first| counts(first)) {
            let mut ahead = vec![first];
            count += usize::from(!seen[first]);
            while let Some(one) = ahead.pop() {
                if !std::mem::replace(&mut seen[one], true) {
                    ahead.extend(self.0[one].iter().filter(|&&other| !seen[other]));
                }
            }
        }
        count
    }

    /// The second eigenvalue of its adjacency, over that of the best expander
    /// there is of the degree that rings make (Alon and Boppana); none if it was
    /// not found.
    fn expansion(&self, rng: &mut Rng) -> Option<f64> {
        let degree = 2.0 * RINGS as f64;
        // What is nearly regular has nearly this as its first vector.
        let mut first = vec![1.0; self.0.len()];
        normalize(&mut first);
        let mut second: Vec<f64> = first.iter().map(|_| rng.below(1 << 20) as f64 - f64::from(1 << 19)).collect();
        remove(&mut second, &first);
        self.iterate(&mut first, degree, None)?;
        let value = self.iterate(&mut second, degree, Some(&first))?;
        Some(value / (2.0 * (degree - 1.0).sqrt()))
    }

    /// Makes a vector that of the largest eigenvalue, or of the largest besides
    /// that of `not`: the eigenvalue, once it moves no more. As much is added to
    /// all of them as makes none negative.
    fn iterate(&self, vector: &mut Vec<f64>, shift: f64, not: Option<&[f64]>) -> Option<f64> {
        const STEPS: usize = 50;
        const ROUNDS: usize = 200;
        const STILL: f64 = 1e-4;
        let mut before = f64::INFINITY;
        for _ in 0..ROUNDS {
            let mut value = 0.0;
            for _ in 0..STEPS {
                if let Some(not) = not {
                    remove(vector, not);
                }
                normalize(vector);
                let along = |row: &[usize], own: f64| row.iter().map(|&other| vector[other]).sum::<f64>() + shift * own;
                let next: Vec<f64> = self.0.iter().zip(&*vector).map(|(row, &own)| along(row, own)).collect();
                value = dot(&next, vector) - shift;
                *vector = next;
            }
            if (value - before).abs() <= STILL * value.abs() {
                normalize(vector);
                return Some(value);
            }
            before = value;
        }
        None
    }
}

fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

fn normalize(vector: &mut [f64]) {
    let length = dot(vector, vector).sqrt().max(f64::MIN_POSITIVE);
    vector.iter_mut().for_each(|a| *a /= length);
}

/// Leaves of a vector what is orthogonal to another, of length 1.
fn remove(vector: &mut [f64], not: &[f64]) {
    let along = dot(vector, not);
    vector.iter_mut().zip(not).for_each(|(a, b)| *a -= along * b);
}

/// The overlay is looked at every second, at rest and in churn.
pub(super) fn expander(options: &Options) -> Report {
    const AUDITS: u64 = 60;
    let nodes = options.nodes.unwrap_or(1_000);
    let mut rng = Rng::from_number(options.seed).fork("expander");
    let (churn, over) = (READY + AUDITS, READY + 2 * AUDITS);
    let plan = churn::plan(&mut rng, nodes, Duration::from_secs(60), seconds(churn), seconds(over));
    let mut cluster = Cluster::new(options, nodes, &plan);
    let mut audit = |name: &str, from: u64, bar: f64| {
        let (mut worst, mut parts, mut all) = (0.0_f64, 1, 1);
        for second in 1..=AUDITS {
            cluster.world.run_until(seconds(from + second));
            if cluster.world.has_failed() {
                break;
            }
            let graph = Graph::of(&cluster.world.sim);
            worst = worst.max(graph.expansion(&mut rng).unwrap_or(f64::INFINITY));
            all = all.max(graph.components(|_| true));
            let Cluster { world, .. } = &cluster;
            let alive: Vec<_> = (0..nodes).filter(|&server| world.sim.node(server).is_some()).collect();
            let age = |server| world.app.began.get(server).map_or(Duration::ZERO, |&at| world.sim.now().since(at));
            let sees_nobody = |server| world.sim.node(server).is_none_or(|node| node.membership().view().len() <= 1);
            let counts = |server| age(server) >= if sees_nobody(*server) { SEEDLESS } else { NEW };
            parts = parts.max(graph.components(|number| counts(&alive[number])));
        }
        let value = format!("second eigenvalue over 2*sqrt(d-1), {name}");
        cluster.figures.push(Figure::new(value, worst, Bar::AtMost(bar)));
        let components = format!("components {name}, at most");
        cluster.figures.push(Figure::new(components, parts as f64, Bar::AtMost(1.0)));
        let with_new = format!("components {name}, at most, with each that is new and hears nobody yet");
        cluster.figures.push(Figure::count(with_new, all as u64));
    };
    audit("at rest", READY, 1.05);
    audit("in churn", churn, 1.3);
    let degree = cluster.world.app.degree as f64;
    cluster.figures.push(Figure::new("degree", degree, Bar::AtMost(4.0 * RINGS as f64)));
    cluster.world.run_until(seconds(over) + churn::BACK);
    cluster.until_agreed(Duration::from_secs(600));
    cluster.report()
}

/// Most servers die at once. Who is left finds together, and hears of each
/// other.
pub(super) fn massacre(options: &Options) -> Report {
    const TELL: u64 = 5;
    let nodes = options.nodes.unwrap_or(10_000);
    let share = [10, 50, 80, 90, 99][options.seed as usize % 5];
    let mut rng = Rng::from_number(options.seed).fork("massacre");
    let mut all: Vec<ServerIndex> = (0..nodes).collect();
    for last in (1..nodes).rev() {
        all.swap(last, rng.below(last as u64 + 1) as usize);
    }
    let (dead, left) = all.split_at((nodes * share / 100).min(nodes - 3));
    let teller = left[0];
    let dies = |&server: &ServerIndex| (seconds(BEGIN), Fault::Crash { server, back: FOR_GOOD, same: false });
    let mut plan: Vec<_> = dead.iter().map(dies).collect();
    plan.push((seconds(BEGIN + TELL), Fault::Leave { server: teller, back: FOR_GOOD }));
    let mut cluster = Cluster::new(options, nodes, &plan);
    cluster.world.run_until(seconds(BEGIN + 1));
    let id = cluster.world.sim.server_id(teller);
    cluster.world.run_until(seconds(BEGIN + 10));
    let heard = |sim: &Sim, server: &&ServerIndex| {
        sim.node(**server).is_some_and(|node| node.membership().view().live(id).is_none())
    };
    let reached = left[1..].iter().filter(|server| heard(&cluster.world.sim, server)).count() as f64;
    let part = reached / (left.len() - 1) as f64;
    if share <= 80 {
        cluster.figures.push(Figure::new("heard of a leave 10 s after", part, Bar::AtLeast(0.999)));
    }
    let rest = Duration::from_secs(20);
    let whole = cluster.until(Duration::from_secs(120), |sim| sim.differ().is_none());
    let whole = whole.map(|took| took + Duration::from_secs(10)).filter(|took| *took <= rest + rest);
    cluster.figures.push(Figure::seconds("survivors are one, and see each other", whole, Bar::AtMost(30.0)));
    let parts = Graph::of(&cluster.world.sim).components(|_| true);
    cluster.figures.push(Figure::new("components of survivors", parts as f64, Bar::AtMost(1.0)));
    cluster.report()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_counted_and_a_complete_graph_expands() {
        let complete = |from: usize, to: usize| {
            (from..to).map(move |one| (from..to).filter(|&other| other != one).collect::<Vec<_>>())
        };
        assert_eq!(Graph(complete(0, 11).collect()).components(|_| true), 1);
        let two = Graph(complete(0, 11).chain(complete(11, 22)).collect());
        assert_eq!((two.components(|_| true), two.components(|number| number < 11)), (2, 1));
        let mut rng = Rng::from_number(1);
        let mut second = |graph: &Graph| graph.expansion(&mut rng).map(|value| (value * 6.0 * 100.0).round());
        // All but one of its eigenvalues are -1; of two such graphs two are 10.
        assert_eq!(second(&Graph(complete(0, 11).collect())), Some(-100.0));
        assert_eq!(second(&two), Some(1_000.0));
    }
}
