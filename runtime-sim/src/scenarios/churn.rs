//! Servers that stay for a short while only.

use std::{collections::BTreeSet, time::Duration};

use circuit_core::{Instant, Rng};

use super::{Options, cluster::Cluster, seconds};
use crate::{
    Bar, Figure, Report, Sim,
    faults::{Fault, Plan},
};

/// Some are killed one by one, to see how long it takes until that is seen.
const QUIET: u64 = 20;
/// With few of them the mean would depend on which they are.
const VICTIMS: usize = 24;
/// So far apart, in seconds.
const APART: u64 = 5;
/// They are back by now, all is quiet again, and the churn begins.
const BEGIN: u64 = QUIET + (VICTIMS as u64 + 4) * APART;
const LASTING: u64 = 120;
/// What is stale is looked at so often: a death takes no longer to be seen.
const LOOK: Duration = Duration::from_millis(250);

/// By so long after the churn whoever was killed last is back.
pub(super) const BACK: Duration = Duration::from_secs(2);

/// Every server is killed again and again, after half a mean session to three
/// halves, and is back within two seconds, under its own name or another.
pub(super) fn plan(rng: &mut Rng, servers: usize, session: Duration, from: Instant, until: Instant) -> Plan {
    let mut plan = Plan::new();
    let micros = session.as_micros() as u64;
    for server in 0..servers {
        let mut at = from + Duration::from_micros(rng.below(micros));
        while at < until {
            let back = Duration::from_millis(500 + rng.below(1_500));
            plan.push((at, Fault::Crash { server, back, same: rng.chance(1, 2) }));
            at = at + back + session / 2 + Duration::from_micros(rng.below(micros));
        }
    }
    plan.sort_by_key(|(at, _)| *at);
    plan
}

/// Mean sessions of 60, 30 and 10 s, in worlds of their own.
pub(super) fn churn(options: &Options) -> Report {
    let mut report = one(options, 60);
    for session in [30, 10] {
        if report.failure.is_none() {
            report = report.and(one(options, session));
        }
    }
    report
}

/// Some that are killed one by one, and are back long after that was seen.
fn killed_one_by_one(servers: usize) -> Plan {
    let back = Duration::from_secs(3 * APART);
    // The first stays: others find the circuit through it.
    let step = ((servers - 1) / VICTIMS).max(1);
    let one = |number: usize| {
        let (at, server) = (seconds(QUIET + number as u64 * APART), 1 + number * step % (servers - 1));
        (at, Fault::Crash { server, back, same: false })
    };
    (0..VICTIMS).map(one).collect()
}

fn one(options: &Options, session: u64) -> Report {
    let nodes = options.nodes.unwrap_or(200);
    let mut rng = Rng::from_number(options.seed).fork("churn");
    let mean = Duration::from_secs(session);
    let mut all = killed_one_by_one(nodes);
    all.extend(plan(&mut rng, nodes, mean, seconds(BEGIN), seconds(BEGIN + LASTING)));
    let mut cluster = Cluster::new(options, nodes, &all);
    cluster.world.run_until(seconds(BEGIN));
    // In churn it would be of the same sessions as what is stale, and their ratio
    // be one, however long it takes.
    let detection = cluster.world.app.detection().as_secs_f64();
    let (from, until) = (seconds(BEGIN + LASTING / 4), seconds(BEGIN + LASTING));
    cluster.world.run_until(from);
    let (mut sum, mut there, mut count) = (0.0, 0, 0);
    while cluster.now() < until && !cluster.world.has_failed() {
        cluster.world.run_until(cluster.now() + LOOK);
        let (part, alive) = stale(&cluster.world.sim);
        sum += part;
        there += alive;
        count += 1;
    }
    let stale = sum / f64::from(count.max(1));
    // They all began at once, and so their sessions were not of the mean length in
    // just this time.
    let deaths = all.iter().filter(|(at, _)| (from..until).contains(at)).count();
    let session_here = LOOK.as_secs_f64() * there as f64 / deaths.max(1) as f64;
    let figure = |when: &str, seconds: f64| Figure::count(format!("detection {when}, ms"), (seconds * 1e3) as u64);
    let in_churn = cluster.world.app.detection().as_secs_f64();
    cluster.figures.push(figure("when all is quiet", detection));
    cluster.figures.push(figure(&format!("with sessions of {session} s"), in_churn));
    let ratio = stale / (detection / session_here);
    cluster.figures.push(Figure::new(format!("stale over detection / session, {session} s"), ratio, Bar::AtMost(1.2)));
    cluster.world.run_until(seconds(BEGIN + LASTING) + BACK);
    cluster.until_agreed(Duration::from_secs(600));
    cluster.report()
}

/// Which part of what servers see is not there any more, in the mean, and how many
/// servers are.
fn stale(sim: &Sim) -> (f64, usize) {
    let nodes = || (0..sim.settings().servers).filter_map(|server| sim.node(server));
    let alive: BTreeSet<_> = nodes().map(|node| (node.id(), node.membership().epoch().start)).collect();
    let (mut all, mut stale) = (0, 0);
    for node in nodes() {
        all += node.membership().view().len();
        let gone = |record: &circuit_core::membership::Record| !alive.contains(&(record.id, record.epoch.start));
        stale += node.membership().view().all_live().filter(gone).count();
    }
    (stale as f64 / all.max(1) as f64, alive.len())
}
