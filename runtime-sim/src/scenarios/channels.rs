//! Clients on channels and anchors, under cuts, resets, pauses, crashes and
//! restarts.
//!
//! When all servers are up, clients send, receive, cancel, make and scrub at random while
//! things go wrong. Then all is healed, everything open is cancelled, the
//! channels are drained, and the books must balance: no message lost, none
//! acknowledged twice, first in first out, every call answered; and every
//! channel must have the room that it had. At last the clients hang up, and
//! later nothing of them may be left. What servers see of each other is checked
//! all the while.

use std::time::Duration;

use circuit_core::Rng;

use super::{Options, seconds};
use crate::{
    Oracle, Report, Seeds, Settings, Sim, World,
    faults::Weather,
    oracle,
    work::{Channels, Crew},
};

/// By now the servers know each other, and the clients begin.
const READY: u64 = 3;
/// Clients stop to begin anything new.
const STOP: u64 = 23;
/// In some worlds whoever waits then may wait until here: every lease of a lost
/// client has ended.
const WAITED: u64 = 100;
/// By now the leases of all lost clients have ended and every server that came
/// and went was let in again; what is left is drained.
const DRAIN: u64 = 400;
/// By now everything was answered.
const SETTLED: u64 = 460;
/// And by now every channel was filled.
const FILLED: u64 = 480;
/// By now everything was forgotten.
const END: u64 = 1_500;

/// The last client only drains.
const CLIENTS: usize = 6;

pub(super) fn run(options: &Options) -> Report {
    let mut rng = Rng::from_number(options.seed).fork("channels");
    let servers = options.nodes.unwrap_or(2 + rng.below(4) as usize);
    let clients = CLIENTS;
    let settings = Settings {
        servers,
        clients,
        delay: Duration::from_micros(50 + rng.below(20_000)),
        jitter: Duration::from_micros(rng.below(20_000)),
        seeds: Seeds::Some(servers),
        discover: false,
        boot: Duration::from_millis(500),
        ready: seconds(READY),
        drift: 0,
        telling: options.telling,
    };
    let weather = Weather {
        servers,
        clients: clients - 1,
        faults: rng.below(24) as usize,
        from: seconds(READY + 1),
        until: seconds(STOP - 2),
        crashes: rng.chance(1, 2),
    };
    let plan = options.cut(weather.plan(&mut rng));
    let channels = Channels::new(&mut rng, servers, clients);
    let crew = Crew::new(Oracle::new(servers, plan.clone(), servers), vec![Box::new(channels)]);
    let mut world = World::new(settings, options.seed, &plan, crew);
    world.run_until(seconds(STOP));
    world.app.rest(&mut world.sim);
    if rng.fork("patience").chance(1, 2) {
        world.run_until(seconds(WAITED));
        world.app.matched(&mut world.sim);
    }
    world.app.stop(&mut world.sim);
    world.run_until(seconds(DRAIN));
    world.app.oracle.converged(&mut world.sim, "long after all was healed");
    let events = world.app.oracle.count();
    world.app.drain(&mut world.sim);
    world.run_until(seconds(SETTLED));
    world.app.balance(&mut world.sim);
    if plan.is_empty() {
        confirmed(&mut world.sim);
    }
    world.app.fill(&mut world.sim);
    world.run_until(seconds(FILLED));
    world.app.close(&mut world.sim);
    world.run_until(seconds(END));
    oracle::nothing_left(&mut world.sim);
    world.app.oracle.settled(&mut world.sim);
    if world.app.oracle.count() != events {
        world.sim.fail("somebody joined or left when all was quiet (P9)");
    }
    let mut report = world.report();
    report.figures = world.app.figures();
    report
}

/// When nothing went wrong no answer is kept: all are known to have come.
fn confirmed(sim: &mut Sim) {
    for server in 0..sim.settings().servers {
        let calls = sim.node(server).map_or(0, |node| node.snapshot().calls);
        if calls > 0 {
            sim.fail(format!("server {server} keeps {calls} calls that were answered"));
        }
    }
}
