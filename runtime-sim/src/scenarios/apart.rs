//! Circuits that were one, or become one.

use std::{collections::BTreeSet, ops::Range, time::Duration};

use circuit_core::Target;

use super::{
    Options,
    cluster::{Cluster, Sights},
    seconds,
};
use crate::{Bar, Figure, Report, Seeds, ServerIndex, Sim, faults::Fault};

/// By now all servers have found each other.
const READY: u64 = 15;
/// And by so long after the circuit was parted, or after it was healed, each part
/// sees itself and nobody else (P9).
const CONVERGED: Duration = Duration::from_secs(15);

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
    // Where some of it is left out there are fewer parts.
    let kept = |number: usize| options.faults.is_none_or(|faults| faults.contains(&number));
    let borders: Vec<_> = (0..borders.len()).filter(|&number| kept(number)).map(|number| borders[number]).collect();
    let mut cluster = Cluster::new(options, nodes, &plan);
    cluster.world.run_until(seconds(READY));
    cluster.world.app.count_sights();
    let ends = borders.iter().chain([&nodes]).copied();
    let sides: Vec<Range<ServerIndex>> =
        [0].iter().chain(&borders).copied().zip(ends).map(|(from, to)| from..to).collect();
    let astray = |sim: &Sim| sides.iter().find_map(|side| differ(sim, side));
    let parted = cluster.until(4 * CONVERGED, |sim| astray(sim).is_none());
    cluster.figures.push(Figure::seconds("each part sees itself alone", parted, Bar::AtMost(CONVERGED.as_secs_f64())));
    while cluster.now() < seconds(READY) + LASTING && !cluster.world.has_failed() {
        if let Some(fault) = astray(&cluster.world.sim) {
            cluster.world.sim.fail(format!("{fault} while the circuit is in parts (P9)"));
        }
        cluster.world.run_until(cluster.now() + Duration::from_secs(1));
    }
    let healed = cluster.until_agreed(Duration::from_secs(60));
    cluster.figures.push(Figure::seconds("healed", healed, Bar::AtMost(CONVERGED.as_secs_f64())));
    // Everybody loses, and finds again, all that are on other sides.
    let far = |one, other| !sides.iter().any(|side| side.contains(&one) && side.contains(&other));
    let leaves = one_each(&cluster, "leave", |seen| seen.leaves, far);
    let joins = one_each(&cluster, "join", |seen| seen.joins, far);
    cluster.figures.extend([leaves, joins]);
    cluster.report()
}

/// How somebody's view differs from its part of the servers.
fn differ(sim: &Sim, part: &Range<ServerIndex>) -> Option<String> {
    let nodes = || part.clone().filter_map(|server| Some((server, sim.node(server)?)));
    let alive: BTreeSet<_> = nodes().map(|(_, node)| (node.id(), node.membership().epoch().start)).collect();
    let mut right = None; // the hash of a view that was found to be so
    for (server, node) in nodes() {
        let view = node.membership().view();
        if view.len() != alive.len() {
            return Some(format!(
                "server {server} sees {} servers, and not the {} of its part",
                view.len(),
                alive.len()
            ));
        }
        if right == Some(view.hash()) {
            continue;
        }
        let stranger = view.all_live().find(|record| !alive.contains(&(record.id, record.epoch.start)));
        if let Some(stranger) = stranger {
            return Some(format!("server {server} sees {stranger:?}, which is not in its part"));
        }
        right = Some(view.hash());
    }
    None
}

/// Each server is to have seen exactly one such event of every server that is
/// far from it, and none of the others.
fn one_each(
    cluster: &Cluster,
    what: &str,
    count: impl Fn(Sights) -> u64,
    far: impl Fn(ServerIndex, ServerIndex) -> bool,
) -> Figure {
    let Cluster { world, .. } = cluster;
    let nodes = world.sim.settings().servers;
    let pairs = (0..nodes).flat_map(|one| (0..nodes).map(move |other| (one, other)));
    let wrong = pairs.filter(|&(one, other)| {
        let seen = world.app.sights(one, world.sim.server_id(other));
        count(seen) != u64::from(far(one, other))
    });
    Figure::none(
        format!("pairs of servers without exactly one {what}, if far, or with any, if not"),
        wrong.count() as u64,
    )
}

/// Two circuits become one by a single `join`; the next changes nothing.
pub(super) fn merge(options: &Options) -> Report {
    let nodes = options.nodes.unwrap_or(2_000);
    let mut settings = Cluster::settings(options, nodes);
    settings.seeds = Seeds::FirstOfHalf;
    let mut cluster = Cluster::with(options, settings, &vec![]);
    cluster.world.run_until(seconds(READY));
    cluster.world.app.count_sights();
    let (last, others) = (nodes / 2 - 1, nodes - 1);
    let other = Target { addr: cluster.world.sim.server_addr(others), expect: None };
    cluster.world.sim.command(last, |node, now| node.join(now, other));
    let full = cluster.until_agreed(Duration::from_secs(60));
    cluster.figures.push(Figure::seconds("the views are one", full, Bar::AtMost(5.0)));
    let joins = one_each(&cluster, "join", |seen| seen.joins, |one, other| (one < nodes / 2) != (other < nodes / 2));
    cluster.figures.push(joins);
    let oracle = &cluster.world.app.oracle;
    let (leaves, before) = (oracle.leaves(), oracle.count());
    cluster.figures.push(Figure::none("leaves", leaves));
    cluster.world.sim.command(0, |node, now| node.join(now, other));
    cluster.world.run_until(cluster.now() + Duration::from_secs(30));
    let events = cluster.world.app.oracle.count() - before;
    cluster.figures.push(Figure::none("events of joining again", events));
    cluster.report()
}
