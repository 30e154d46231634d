//! Servers that stay for a short while only.

use std::{collections::BTreeSet, time::Duration};

use circuit_core::{Instant, Rng};

use super::{Options, cluster::Cluster, seconds};
use crate::{
    Bar, Figure, Report, Sim,
    faults::{Fault, Plan},
};

const BEGIN: u64 = 20;
const LASTING: u64 = 120;

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
    let mut figures = Vec::new();
    for session in [60, 30] {
        let report = one(options, session);
        if report.failure.is_some() {
            return report;
        }
        figures.extend(report.figures);
    }
    let mut last = one(options, 10);
    figures.append(&mut last.figures);
    Report { figures, ..last }
}

fn one(options: &Options, session: u64) -> Report {
    let nodes = options.nodes.unwrap_or(200);
    let mut rng = Rng::from_number(options.seed).fork("churn");
    let mean = Duration::from_secs(session);
    let plan = plan(&mut rng, nodes, mean, seconds(BEGIN), seconds(BEGIN + LASTING));
    let mut cluster = Cluster::new(options, nodes, &plan);
    cluster.world.run_until(seconds(BEGIN + LASTING / 4));
    let (mut sum, mut count) = (0.0, 0);
    while cluster.now() < seconds(BEGIN + LASTING) && !cluster.world.has_failed() {
        cluster.world.run_until(cluster.now() + Duration::from_secs(1));
        sum += stale(&cluster.world.sim);
        count += 1;
    }
    let stale = sum / f64::from(count.max(1));
    let detection = cluster.world.app.detection().as_secs_f64();
    cluster
        .figures
        .push(Figure::count(format!("detection with sessions of {session} s, ms"), (detection * 1e3) as u64));
    let ratio = stale / (detection / mean.as_secs_f64());
    cluster.figures.push(Figure::new(format!("stale over detection / session, {session} s"), ratio, Bar::AtMost(1.2)));
    cluster.until_agreed(Duration::from_secs(600));
    cluster.report()
}

/// Which part of what servers see is not there any more, in the mean.
fn stale(sim: &Sim) -> f64 {
    let nodes = || (0..sim.settings().servers).filter_map(|server| sim.node(server));
    let alive: BTreeSet<_> = nodes().map(|node| (node.id(), node.membership().epoch().start)).collect();
    let (mut all, mut stale) = (0, 0);
    for node in nodes() {
        all += node.membership().view().len();
        let gone = |record: &circuit_core::membership::Record| !alive.contains(&(record.id, record.epoch.start));
        stale += node.membership().view().all_live().filter(gone).count();
    }
    stale as f64 / all.max(1) as f64
}
