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
    cluster.figures.push(Figure::seconds("healed", healed, 15));
    // Everybody loses, and finds again, all that are on other sides.
    let ends = borders.iter().chain([&nodes]).copied();
    let sides: Vec<usize> = [0].iter().chain(&borders).copied().zip(ends).map(|(from, to)| to - from).collect();
    let pairs: usize = sides.iter().map(|side| side * (nodes - side)).sum();
    let oracle = &cluster.world.app.oracle;
    let figure = |name: &str, count: u64| Figure::new(name, count as f64 / pairs as f64, Bar::AtMost(1.0));
    let (leaves, joins) = (oracle.leaves(), oracle.joins() - joined);
    cluster.figures.push(figure("leaves for each far peer", leaves));
    cluster.figures.push(figure("joins for each far peer", joins));
    cluster.report()
}

/// Two circuits become one by a single `join`; the next changes nothing.
pub(super) fn merge(options: &Options) -> Report {
    let nodes = options.nodes.unwrap_or(2_000);
    let mut settings = Cluster::settings(options, nodes);
    settings.seeds = Seeds::FirstOfHalf;
    let mut cluster = Cluster::with(options, settings, &vec![]);
    cluster.world.run_until(seconds(READY));
    let joined = cluster.world.app.oracle.joins();
    let other = Target { addr: cluster.world.sim.server_addr(nodes / 2 + 1), expect: None };
    cluster.world.sim.command(1, |node, now| node.join(now, other));
    let full = cluster.until_agreed(Duration::from_secs(60));
    cluster.figures.push(Figure::seconds("the views are one", full, 5));
    let oracle = &cluster.world.app.oracle;
    let new = (oracle.joins() - joined) as f64;
    let (leaves, far) = (oracle.leaves() as f64, (2 * (nodes / 2) * (nodes - nodes / 2)) as f64);
    cluster.figures.push(Figure::new("joins for each far peer", new / far, Bar::AtMost(1.0)));
    cluster.figures.push(Figure::new("leaves", leaves, Bar::AtMost(0.0)));
    let before = oracle.count();
    cluster.world.sim.command(2, |node, now| node.join(now, other));
    cluster.world.run_until(cluster.now() + Duration::from_secs(30));
    let events = (cluster.world.app.oracle.count() - before) as f64;
    cluster.figures.push(Figure::new("events of joining again", events, Bar::AtMost(0.0)));
    cluster.report()
}
