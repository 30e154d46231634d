//! Servers die at once: whoever is left drops them, and nobody else.

use std::time::Duration;

use super::{FOR_GOOD, Options, cluster::Cluster, seconds};
use crate::{Bar, Figure, Report, faults::Fault};

const DIE: u64 = 20;

/// Ten of a thousand die at the same moment.
pub(super) fn crash(options: &Options) -> Report {
    let nodes = options.nodes.unwrap_or(1_000);
    let dead = (nodes / 100).max(1);
    let die = |at| (seconds(DIE), Fault::Crash { server: at, back: FOR_GOOD, same: false });
    let plan = (0..dead).map(|one| die(one * nodes / dead)).collect();
    let mut cluster = Cluster::new(options, nodes, &plan);
    cluster.world.run_until(seconds(DIE));
    let gone = cluster.until_agreed(Duration::from_secs(60));
    cluster.figures.push(Figure::seconds(format!("{dead} dead are gone everywhere"), gone, 8));
    cluster.report_none_lost()
}

/// The seed that all joined through dies after the boot, and another server
/// later: everybody must hear of both.
pub(super) fn orphan(options: &Options) -> Report {
    const LATER: u64 = 40;
    let nodes = options.nodes.unwrap_or(500);
    let die = |at, server| (seconds(at), Fault::Crash { server, back: FOR_GOOD, same: false });
    let plan = vec![die(DIE, 0), die(LATER, nodes / 2)];
    let mut cluster = Cluster::new(options, nodes, &plan);
    cluster.world.run_until(seconds(DIE));
    let gone = cluster.until_agreed(Duration::from_secs(20));
    cluster.figures.push(Figure::seconds("the seed is gone everywhere", gone, 8));
    cluster.world.run_until(seconds(LATER));
    let gone = cluster.until_agreed(Duration::from_secs(20));
    cluster.figures.push(Figure::seconds("and another after it", gone, 8));
    let deaf = (0..nodes).filter_map(|server| cluster.world.sim.node(server));
    let deaf = deaf.filter(|node| node.membership().view().len() != nodes - 2).count();
    cluster.figures.push(Figure::new("deaf servers", deaf as f64, Bar::AtMost(0.0)));
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
    cluster.figures.push(Figure::seconds("all views full again", full, 30));
    cluster.report()
}

/// Servers stand still, for as long as they may; and one dies.
pub(super) fn stalled(options: &Options) -> Report {
    let nodes = options.nodes.unwrap_or(128);
    let mut rng = circuit_core::Rng::from_number(options.seed).fork("stalled");
    let still = 1 + rng.below(nodes as u64 / 4) as usize;
    let pause = |server| {
        let lasting = Duration::from_millis(500 + rng.below(3_400));
        (seconds(DIE), Fault::Pause { server, lasting })
    };
    let mut plan: Vec<_> = (1..=still).map(pause).collect();
    plan.push((seconds(DIE), Fault::Crash { server: nodes - 1, back: FOR_GOOD, same: false }));
    let mut cluster = Cluster::new(options, nodes, &plan);
    cluster.world.run_until(seconds(DIE));
    let gone = cluster.until_agreed(Duration::from_secs(60));
    let took = gone.map_or(f64::INFINITY, |took| took.as_secs_f64());
    cluster.figures.push(Figure::new("a real crash is found, s", took, Bar::MedianAtMost(6.0)));
    cluster.report_none_lost()
}
