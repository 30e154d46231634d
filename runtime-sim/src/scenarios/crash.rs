//! Servers die at once: whoever is left drops them, and nobody else.

use std::time::Duration;

use circuit_core::{Instant, Rng};

use super::{FOR_GOOD, Options, cluster::Cluster, seconds};
use crate::{Bar, Figure, Report, ServerIndex, faults::Fault};

const DIE: u64 = 20;
/// Within this everybody has dropped the dead.
const GONE: Bar = Bar::AtMost(8.0);
/// And nobody drops the first of those that died at once longer than this before
/// the last: they are one batch.
const BATCH: Bar = Bar::AtMost(1.0);

/// A server dies, and does not come back.
fn dies(at: u64, server: ServerIndex) -> (Instant, Fault) {
    (seconds(at), Fault::Crash { server, back: FOR_GOOD, same: false })
}

/// Ten of a thousand die at the same moment.
pub(super) fn crash(options: &Options) -> Report {
    let nodes = options.nodes.unwrap_or(1_000);
    let dead = (nodes / 100).max(1);
    let victims: Vec<_> = (0..dead).map(|one| one * nodes / dead).collect();
    let plan = victims.iter().map(|&server| dies(DIE, server)).collect();
    let mut cluster = Cluster::new(options, nodes, &plan);
    cluster.world.run_until(seconds(DIE));
    cluster.world.app.count_sights();
    let gone = cluster.until_agreed(Duration::from_secs(60));
    cluster.figures.push(Figure::seconds(format!("{dead} dead are gone everywhere"), gone, GONE));
    let batch = gone.and_then(|_| longest_batch(&cluster, &victims));
    cluster.figures.push(Figure::seconds("from the first that a server drops to the last, at most", batch, BATCH));
    cluster.report_none_lost()
}

/// How long it took a server, at most, to see all of these leave that it saw.
fn longest_batch(cluster: &Cluster, of: &[ServerIndex]) -> Option<Duration> {
    let Cluster { world, .. } = cluster;
    let living = (0..world.sim.settings().servers).filter(|&server| world.sim.node(server).is_some());
    let batch = |observer| {
        let left = || of.iter().filter_map(|&subject| world.app.sights(observer, world.sim.server_id(subject)).left);
        Some(left().max()?.since(left().min()?))
    };
    living.filter_map(batch).max()
}

/// The seed that all joined through dies after the boot, and another server
/// later: everybody must hear of both.
pub(super) fn orphan(options: &Options) -> Report {
    const LATER: u64 = 40;
    let nodes = options.nodes.unwrap_or(500);
    let plan = vec![dies(DIE, 0), dies(LATER, nodes / 2)];
    let mut cluster = Cluster::new(options, nodes, &plan);
    cluster.world.run_until(seconds(DIE));
    let gone = cluster.until_agreed(Duration::from_secs(20));
    cluster.figures.push(Figure::seconds("the seed is gone everywhere", gone, GONE));
    cluster.world.run_until(seconds(LATER));
    let gone = cluster.until_agreed(Duration::from_secs(20));
    cluster.figures.push(Figure::seconds("and another after it", gone, GONE));
    let deaf = (0..nodes).filter_map(|server| cluster.world.sim.node(server));
    let deaf = deaf.filter(|node| node.membership().view().len() != nodes - 2).count();
    cluster.figures.push(Figure::none("deaf servers", deaf as u64));
    cluster.report_none_lost()
}

/// Nine in ten of the servers are killed and started again, all at once.
pub(super) fn restart(options: &Options) -> Report {
    let nodes = options.nodes.unwrap_or(5_000);
    let again = |server| (seconds(DIE), Fault::Crash { server, back: Duration::from_secs(1), same: true });
    let plan = (0..nodes * 9 / 10).map(again).collect();
    let mut cluster = Cluster::new(options, nodes, &plan);
    cluster.world.run_until(seconds(DIE + 1));
    let full = cluster.until_agreed(Duration::from_secs(120));
    cluster.figures.push(Figure::seconds("all views full again", full, Bar::AtMost(30.0)));
    cluster.report()
}

/// Servers stand still, for as long as they may; and one dies.
pub(super) fn stalled(options: &Options) -> Report {
    let nodes = options.nodes.unwrap_or(128);
    let mut rng = Rng::from_number(options.seed).fork("stalled");
    let still = 1 + rng.below(nodes as u64 / 4) as usize;
    let pause = |server| {
        let lasting = Duration::from_millis(500 + rng.below(3_500));
        (seconds(DIE), Fault::Pause { server, lasting })
    };
    let mut plan: Vec<_> = (1..=still).map(pause).collect();
    plan.push(dies(DIE, nodes - 1));
    let mut cluster = Cluster::new(options, nodes, &plan);
    cluster.world.run_until(seconds(DIE));
    let gone = cluster.until_agreed(Duration::from_secs(60));
    cluster.figures.push(Figure::seconds("a real crash is found", gone, Bar::MedianAtMost(6.0)));
    cluster.report_none_lost()
}
