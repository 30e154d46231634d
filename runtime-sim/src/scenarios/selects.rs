//! Many clients that choose among the same few channels: each is in the way of the
//! others, and what was asked of one is taken back because another was first.
//!
//! Few other things go wrong. At last nobody begins anything, and whoever still waits
//! must wait for somebody who is not there.

use std::time::Duration;

use circuit_core::Rng;

use super::{Options, seconds};
use crate::{
    Oracle, Report, Seeds, Settings, World,
    faults::{self, Weather},
    oracle,
    work::{Crew, Selects},
};

const READY: u64 = 3;
/// Clients begin nothing new.
const STOP: u64 = 33;
/// Whoever can meet has met, and the leases of clients that were lost have ended.
const MEET: Duration = Duration::from_secs(75);
/// Who stood still again and again is let in again, and what is open has ended.
const DAMPED: Duration = Duration::from_secs(330);
/// What is left has been taken out.
const END: Duration = Duration::from_secs(60);
/// And all that clients had was forgotten.
const FORGOTTEN: Duration = Duration::from_secs(1_000);
const CLIENTS: usize = 8;

pub(super) fn run(options: &Options) -> Report {
    let mut rng = Rng::from_number(options.seed).fork("selects");
    let servers = options.nodes.unwrap_or(2 + rng.below(3) as usize);
    let settings = Settings {
        servers,
        clients: CLIENTS,
        delay: Duration::from_micros(50 + rng.below(60_000)),
        jitter: Duration::from_micros(rng.below(20_000)),
        seeds: Seeds::Some(servers),
        discover: false,
        boot: Duration::from_millis(500),
        ready: seconds(READY),
        drift: 0,
        telling: options.telling,
    };
    let (from, until) = (seconds(READY + 1), seconds(STOP - 2));
    let faults = rng.below(6) as usize;
    let weather = Weather { servers, clients: CLIENTS, faults, from, until, crashes: false };
    let plan = options.cut(weather.plan(&mut rng));
    let calm = faults::calm(&plan).max(seconds(STOP));
    let oracle = Oracle::new(servers, plan.clone(), servers);
    let crew = Crew::new(oracle, vec![Box::new(Selects::new(0..CLIENTS, true))]);
    let mut world = World::new(settings, options.seed, &plan, crew);
    world.run_until(seconds(STOP));
    world.app.rest(&mut world.sim);
    world.run_until(calm + MEET);
    world.app.tidy(&mut world.sim);
    world.run_until(calm + 2 * MEET);
    world.app.matched(&mut world.sim);
    world.app.stop(&mut world.sim);
    world.run_until(calm + DAMPED);
    world.app.drain(&mut world.sim);
    world.run_until(calm + DAMPED + END);
    world.app.balance(&mut world.sim);
    world.app.close(&mut world.sim);
    world.run_until(calm + DAMPED + END + FORGOTTEN);
    oracle::nothing_left(&mut world.sim);
    world.app.oracle.settled(&mut world.sim);
    let mut report = world.report();
    report.figures = world.app.figures();
    report
}
