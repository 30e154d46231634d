//! The production server and client under partitions, holds, resets, crashes and
//! restarts, with clients at work.
//!
//! First things go wrong; then all is healed, every call must end, every view
//! must become the truth, the books must balance and nothing may be left.

use std::time::Duration;

use circuit_core::Rng;

use super::{
    Options,
    mishaps::{self, Mishap},
    seconds,
};
use crate::{
    Figure, Oracle, Report,
    drivers::{Cast, Phase, Settings, World},
    faults::{self, ALWAYS, Fault, Hosts},
};

/// By now the servers know each other, and the clients begin.
const READY: u64 = 10;
/// Nothing new goes wrong, and clients begin nothing new.
const STOP: u64 = 35;
/// Whoever came back too often is in again by then.
const DAMPED: Duration = Duration::from_secs(330);
/// The leases of lost clients have ended.
const LEASES: Duration = Duration::from_secs(100);
/// And everything of them was forgotten.
const FORGOTTEN: Duration = Duration::from_secs(1_000);
const CAST: Cast = Cast { channels: 3, anchors: 2, processes: 2, names: 1 };

/// What can go wrong, by name.
const KINDS: &[&str] = &[
    "hold",
    "one-way cut",
    "partition",
    "reset",
    "crash with state",
    "crash without state",
    "restart storm",
    "leave",
    "failing spawns",
    "lost client",
];

pub(super) fn run(options: &Options) -> Report {
    let mut rng = Rng::from_number(options.seed).fork("turmoil");
    // Many, now and then: that takes its time.
    let usual = if rng.chance(1, 20) { 10 + rng.below(21) } else { 2 + rng.below(5) };
    let servers = options.nodes.unwrap_or(usual as usize).max(2);
    let delay = Duration::from_millis(1 + rng.below(10));
    let settings = Settings {
        servers,
        cast: CAST,
        delay,
        longest: delay + Duration::from_millis(rng.below(30)),
        window: 128 << rng.below(3),
        discover: rng.chance(1, 3),
        telling: options.telling,
    };
    let (kinds, plan) = mishaps::plan(&mut rng, KINDS, 8, READY..STOP - 2, |rng, kind| faults(rng, kind, servers));
    let plan = options.cut(plan);
    let calm = faults::calm(&plan).max(seconds(STOP));
    // To wait until all is forgotten takes long.
    let long = rng.chance(1, 8);
    let oracle = Oracle::new(servers, plan.clone(), servers);
    let mut world = World::new(&settings, options.seed, &plan, oracle);
    world.run_until(seconds(READY));
    world.ground.oracle(|oracle, truth| oracle.converged(truth, "after the boot"));
    world.works.enter(Phase::Work);
    world.run_until(seconds(STOP));
    world.works.enter(Phase::Stop);
    world.run_until(calm + LEASES);
    world.run_while_damped(calm + DAMPED);
    world.ground.oracle(|oracle, truth| oracle.converged(truth, "after all was healed"));
    let events = world.ground.oracle(|oracle, _| oracle.count());
    let quiet = world.report().simulated;
    let after = |past: u64| seconds(quiet.as_secs() + past);
    world.works.enter(Phase::Drain);
    world.run_until(after(40));
    world.works.balance();
    world.works.enter(Phase::Fill);
    world.run_until(after(50));
    world.works.enter(Phase::Close);
    world.run_until(after(55));
    if long {
        world.run_until(after(55) + FORGOTTEN);
        world.nothing_left();
    }
    world.ground.oracle(|oracle, truth| oracle.settled(truth));
    if world.ground.oracle(|oracle, _| oracle.count()) != events {
        world.ground.fail("somebody joined or left when all was quiet (P9, P10)");
    }
    let mut report = world.report();
    let oracle = world.ground.oracle(|oracle, _| oracle.figures());
    report.figures =
        mishaps::shares("seeds with a planned", KINDS, &kinds).chain(world.works.figures()).chain(oracle).collect();
    report.figures.push(Figure::none("runs in which something did not hold", u64::from(report.failure.is_some())));
    report
}

/// What happens of one kind.
fn faults(rng: &mut Rng, kind: &str, servers: usize) -> Mishap {
    let server = rng.below(servers as u64) as usize;
    let hosts = servers + CAST.count();
    let other = (server + 1 + rng.below(hosts as u64 - 1) as usize) % hosts;
    let lasting = Duration::from_millis(10 + rng.below(12_000));
    let back = Duration::from_millis(200 + rng.below(9_000));
    let at_once = |fault| vec![(Duration::ZERO, fault)];
    match kind {
        "hold" => at_once(Fault::Cut { a: server, b: other, lasting }),
        "one-way cut" => {
            let (from, to) = if rng.chance(1, 2) { (server, other) } else { (other, server) };
            let (from, to) = (Hosts::one(from), Hosts::one(to));
            at_once(Fault::Weak { from, to, loss: ALWAYS, slow: Duration::ZERO, lasting })
        }
        "partition" => at_once(Fault::Split { below: 1 + rng.below(servers as u64 - 1) as usize, lasting }),
        "reset" => at_once(Fault::Reset { a: server, b: other }),
        "crash with state" => at_once(Fault::Crash { server, back, same: true }),
        "crash without state" => at_once(Fault::Crash { server, back, same: false }),
        "restart storm" => mishaps::restart_storm(rng, servers, back),
        "leave" => at_once(Fault::Leave { server, back }),
        "failing spawns" => at_once(Fault::NoSpawn { server, lasting }),
        _ => {
            let mortal = CAST.mortal();
            at_once(Fault::CrashClient { client: mortal[rng.below(mortal.len() as u64) as usize] })
        }
    }
}
