//! What a circuit costs in which nothing happens.

use std::time::Duration;

use super::{Options, cluster::Cluster, seconds};
use crate::{Bar, Figure, Report};

/// All is quiet by now.
const QUIET: u64 = 60;
const MEASURED: Duration = Duration::from_secs(120);
/// What the larger circuit is compared with.
const SMALL: usize = 100;

pub(super) fn run(options: &Options) -> Report {
    let nodes = options.nodes.unwrap_or(1_000);
    let (small, few) = measured(options, SMALL);
    let (large, many) = measured(options, nodes);
    let mut report = few.and(many);
    let apart = (large / small - 1.0).abs();
    report.figures.push(Figure::new("how far these are apart", apart, Bar::AtMost(0.1)));
    report
}

/// The bytes that a server sends in a second, and what else came of it.
fn measured(options: &Options, nodes: usize) -> (f64, Report) {
    let mut cluster = Cluster::new(options, nodes, &vec![]);
    cluster.world.run_until(seconds(QUIET));
    let before = cluster.world.sim.sent();
    cluster.world.run_until(seconds(QUIET) + MEASURED);
    let bytes = (cluster.world.sim.sent() - before) as f64;
    let rate = bytes / MEASURED.as_secs_f64() / nodes as f64;
    cluster.figures.push(Figure::new(format!("bytes/s a server, of {nodes}"), rate, Bar::AtMost(271.0)));
    (rate, cluster.report_none_lost())
}
