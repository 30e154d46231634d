//! Circuits that were one, or become one.

use std::time::Duration;

use circuit_core::Target;

use super::{Options, cluster::Cluster, seconds};
use crate::{Bar, Figure, Report, Seeds, faults::Fault};

/// By now all servers have found each other.
const READY: u64 = 15;

/// Halves, thirds, or one in a hundred cut off, for ten minutes.
pub(super) fn partition(options: &Options) -> Report {
    const LASTING: Duration = Duration::from_secs(600);
    let nodes = options.nodes.unwrap_or(100);
    let borders = match options.seed % 3 {
        0 => vec![nodes / 2],
        1 => vec![nodes / 3, 2 * nodes / 3],
        _ => vec![(nodes / 100).max(1)],
    };
    let split = |below: &usize| (seconds(READY), Fault::Split { below: *below, lasting: LASTING });
    let plan = borders.iter().map(split).collect();
    let mut cluster = Cluster::new(options, nodes, &plan);
    cluster.world.run_until(seconds(READY));
    let joined = cluster.world.app.oracle.joins();
    cluster.world.run_until(seconds(READY) + LASTING);
    let healed = cluster.until_agreed(Duration::from_secs(60));
    cluster.figures.push(Figure::seconds("healed", healed, Bar::AtMost(15.0)));
    // Everybody loses, and finds again, all that are on other sides.
    let ends = borders.iter().chain([&nodes]).copied();
    let sides: Vec<usize> = [0].iter().chain(&borders).copied().zip(ends).map(|(from, to)| to - from).collect();
    let pairs: usize = sides.iter().map(|side| side * (nodes - side)).sum();
    let oracle = &cluster.world.app.oracle;
    let (leaves, joins) = (oracle.leaves(), oracle.joins() - joined);
    cluster.figures.push(one_each("leaves", leaves, pairs));
    cluster.figures.push(one_each("joins", joins, pairs));
    cluster.report()
}

/// There is to be exactly one for each pair of servers that were apart.
fn one_each(what: &str, count: u64, pairs: usize) -> Figure {
    Figure::none(format!("{what} that are not one for each far peer"), count.abs_diff(pairs as u64))
}

/// Two circuits become one by a single `join`; the next changes nothing.
pub(super) fn merge(options: &Options) -> Report {
    let nodes = options.nodes.unwrap_or(2_000);
    let mut settings = Cluster::settings(options, nodes);
    settings.seeds = Seeds::FirstOfHalf;
    let mut cluster = Cluster::with(options, settings, &vec![]);
    cluster.world.run_until(seconds(READY));
    let joined = cluster.world.app.oracle.joins();
    let (last, others) = (nodes / 2 - 1, nodes - 1);
    let other = Target { addr: cluster.world.sim.server_addr(others), expect: None };
    cluster.world.sim.command(last, |node, now| node.join(now, other));
    let full = cluster.until_agreed(Duration::from_secs(60));
    cluster.figures.push(Figure::seconds("the views are one", full, Bar::AtMost(5.0)));
    let oracle = &cluster.world.app.oracle;
    let (leaves, joins, before) = (oracle.leaves(), oracle.joins() - joined, oracle.count());
    cluster.figures.push(one_each("joins", joins, 2 * (nodes / 2) * (nodes - nodes / 2)));
    cluster.figures.push(Figure::none("leaves", leaves));
    cluster.world.sim.command(0, |node, now| node.join(now, other));
    cluster.world.run_until(cluster.now() + Duration::from_secs(30));
    let events = cluster.world.app.oracle.count() - before;
    cluster.figures.push(Figure::none("events of joining again", events));
    cluster.report()
}
