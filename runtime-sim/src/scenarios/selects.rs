//! Many clients that choose among the same few channels: each is in the way of the
//! others, and what was asked of one is taken back because another was first.
//!
//! Few other things go wrong. At last nobody begins anything, and whoever still waits
//! must wait for somebody who is not there.

use std::time::Duration;

use circuit_core::{Rng, client::Event, membership as member};

use super::{Options, seconds};
use crate::{
    App, ClientIndex, Oracle, Report, Seeds, ServerIndex, Settings, Sim, World,
    faults::{self, Weather},
    oracle,
    work::{Selects, Work},
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
    let mut world = World::new(settings, options.seed, &plan, Crowd { work: Selects::new(0..CLIENTS, true), oracle });
    world.run_until(seconds(STOP));
    world.app.work.rest(&mut world.sim);
    world.run_until(calm + MEET);
    world.app.work.tidy(&mut world.sim);
    world.run_until(calm + 2 * MEET);
    if !world.app.oracle.is_damped(&world.sim) {
        world.app.work.matched(&mut world.sim);
    }
    world.app.work.stop(&mut world.sim);
    world.run_until(calm + DAMPED);
    world.app.work.drain(&mut world.sim);
    world.run_until(calm + DAMPED + END);
    world.app.work.balance(&mut world.sim);
    (0..CLIENTS).for_each(|one| world.sim.client(one, |client, _| client.close()));
    world.run_until(calm + DAMPED + END + FORGOTTEN);
    oracle::nothing_left(&mut world.sim);
    world.app.oracle.settled(&mut world.sim);
    let mut report = world.report();
    report.figures = world.app.work.figures().into_iter().chain(world.app.oracle.figures()).collect();
    report
}

struct Crowd {
    work: Selects,
    oracle: Oracle,
}

impl App for Crowd {
    fn start(&mut self, sim: &mut Sim) {
        self.oracle.converged(sim, "after the boot");
        let all = super::all_servers(sim);
        (0..CLIENTS).for_each(|one| sim.client(one, |client, now| client.learn(now, all.clone())));
        self.work.start(sim);
    }

    fn event(&mut self, sim: &mut Sim, client: ClientIndex, event: Event) {
        self.work.event(sim, client, event);
    }

    fn wake(&mut self, sim: &mut Sim, client: ClientIndex, token: u64) {
        self.work.wake(sim, client, token);
    }

    fn replaced(&mut self, sim: &mut Sim, client: ClientIndex) {
        self.work.replaced(sim, client);
    }

    fn member(&mut self, sim: &mut Sim, server: ServerIndex, life: u32, event: member::Event) {
        if !event.joined {
            self.work.gone(event.id);
        }
        self.oracle.event(sim, server, life, event);
    }

    fn acted(&mut self, sim: &mut Sim, server: ServerIndex) {
        self.oracle.acted(sim, server);
    }
}
