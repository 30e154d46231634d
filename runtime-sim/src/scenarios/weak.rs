//! Networks that are bad rather than broken.

use std::time::Duration;

use circuit_core::Instant;

use super::{Options, cluster::Cluster, seconds};
use crate::{
    Bar, Figure, Report, ServerIndex,
    faults::{ALWAYS, Fault, Hosts, Plan},
};

/// By now all servers have found each other, and it begins.
const BEGIN: u64 = 20;
/// Whoever is bad is to be out within this.
const OUT: Duration = Duration::from_secs(20);
/// For so long it is looked what becomes of them.
const LOOK: u64 = 300;

/// Which servers are bad: one in a hundred, spread.
fn bad(nodes: usize) -> Vec<ServerIndex> {
    let bad = (nodes / 100).max(1);
    (0..bad).map(|one| (2 * one + 1) * nodes / bad / 2).collect()
}

/// How often one that is well saw one that is bad come back, at most, since
/// sights are counted.
fn let_in_again(cluster: &Cluster, bad: &[ServerIndex]) -> Figure {
    let Cluster { world, .. } = cluster;
    let healthy = (0..world.sim.settings().servers).filter(|server| !bad.contains(server));
    let of = |observer| {
        let joins = |&subject: &ServerIndex| world.app.sights(observer, world.sim.server_id(subject)).joins;
        bad.iter().map(joins).max().unwrap_or_default()
    };
    let most = healthy.map(of).max().unwrap_or_default();
    Figure::count("times that one was let in again by one server, at most", most)
}

/// Some lose all that comes to them, for 20 s, again and again.
pub(super) fn flipflop(options: &Options) -> Report {
    const PERIOD: Duration = Duration::from_secs(40);
    let nodes = options.nodes.unwrap_or(1_000);
    let bad = bad(nodes);
    let mut plan = Plan::new();
    let mut at = seconds(BEGIN);
    while at < seconds(BEGIN + LOOK) {
        plan.extend(bad.iter().map(|&server| (at, deaf(server))));
        at += PERIOD;
    }
    let mut cluster = Cluster::new(options, nodes, &plan);
    let out = until_out(&mut cluster, &bad);
    cluster.figures.push(Figure::seconds("all are out", out, Bar::AtMost(OUT.as_secs_f64())));
    cluster.world.run_until(seconds(BEGIN + LOOK));
    let again = Figure { bar: Some(Bar::AtMost(1.0)), ..let_in_again(&cluster, &bad) };
    cluster.figures.push(again);
    healthy_stayed(cluster, &bad)
}

fn deaf(server: ServerIndex) -> Fault {
    let (from, to, lasting) = (Hosts::ALL, Hosts::one(server), Duration::from_secs(20));
    Fault::Weak { from, to, loss: ALWAYS, slow: Duration::ZERO, lasting }
}

/// Some lose four in five of the packets that they send.
pub(super) fn lossy(options: &Options) -> Report {
    let nodes = options.nodes.unwrap_or(1_000);
    let bad = bad(nodes);
    let (to, lasting) = (Hosts::ALL, Duration::from_secs(LOOK));
    let mute = |&server: &ServerIndex| {
        let fault = Fault::Weak { from: Hosts::one(server), to, loss: 800, slow: Duration::ZERO, lasting };
        (seconds(BEGIN), fault)
    };
    let plan = bad.iter().map(mute).collect();
    let mut cluster = Cluster::new(options, nodes, &plan);
    let out = until_out(&mut cluster, &bad);
    cluster.figures.push(Figure::seconds("all are out", out, Bar::AtMost(OUT.as_secs_f64())));
    cluster.world.run_until(seconds(BEGIN + LOOK));
    let again = Figure { bar: Some(Bar::AtMost(0.0)), ..let_in_again(&cluster, &bad) };
    // They hear everybody; before they are told that they are out they may believe
    // that of others.
    let is_bad = |server| bad.contains(&server);
    let lost = cluster.world.app.oracle.lost(|observer, subject| is_bad(observer) && !is_bad(subject));
    let share = lost as f64 / (bad.len() * (nodes - bad.len())) as f64;
    let lost = Figure::new("share of the others that those see leave", share, Bar::AtMost(0.1));
    cluster.figures.extend([again, lost]);
    healthy_stayed(cluster, &bad)
}

/// Until no healthy server sees a bad one. What they see of each other is
/// counted from the beginning on.
fn until_out(cluster: &mut Cluster, bad: &[ServerIndex]) -> Option<Duration> {
    cluster.world.run_until(seconds(BEGIN));
    cluster.world.app.count_sights();
    cluster.until(3 * OUT, |sim| {
        let ids: Vec<_> = bad.iter().map(|&server| sim.server_id(server)).collect();
        let healthy = (0..sim.settings().servers).filter(|server| !bad.contains(server));
        healthy.filter_map(|server| sim.node(server)).all(|node| {
            let view = node.membership().view();
            ids.iter().all(|&id| view.live(id).is_none())
        })
    })
}

/// Nobody was removed who was well; and at last all are there.
fn healthy_stayed(mut cluster: Cluster, bad: &[ServerIndex]) -> Report {
    let is_well = |server| !bad.contains(&server);
    let lost = cluster.world.app.oracle.lost(|observer, subject| is_well(observer) && is_well(subject));
    cluster.figures.push(Figure::none("leaves of healthy servers, seen by healthy ones", lost));
    cluster.until_agreed(Duration::from_secs(600));
    cluster.report()
}

/// Two data centres, 300 ms from each other, and a link that loses one packet in
/// a hundred.
pub(super) fn wan(options: &Options) -> Report {
    let nodes = options.nodes.unwrap_or(200);
    let (here, there) = (Hosts::below(nodes / 2), Hosts::from(nodes / 2));
    let lasting = Duration::from_secs(600);
    let far = |from, to| {
        let fault = Fault::Weak { from, to, loss: 10, slow: Duration::from_millis(300), lasting };
        (Instant::ZERO, fault)
    };
    let plan = vec![far(here, there), far(there, here)];
    let mut cluster = Cluster::new(options, nodes, &plan);
    let full = cluster.until_agreed(Duration::from_secs(60));
    cluster.figures.push(Figure::seconds("all see all", full, Bar::AtMost(15.0)));
    cluster.world.run_until(seconds(590));
    cluster.report_none_lost()
}
