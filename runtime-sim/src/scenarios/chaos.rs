//! Everything at once: any cluster, any faults, clients that work on every kind
//! of element.
//!
//! First things go wrong; then all is healed, every call must end, every view
//! must become the truth, the books must balance and nothing may be left.

use std::time::Duration;

use circuit_core::{Instant, Rng};

use super::{
    Options,
    members::{CONVERGE, join_again},
    mishaps::{self, Mishap},
    seconds,
};
use crate::{
    Bar, Figure, Oracle, Report, Seeds, ServerIndex, Settings, Sim, World,
    faults::{self, ALWAYS, Fault, Hosts},
    oracle,
    work::{Anchors, Audience, Channels, Crew, Names, Processes, Selects, Work},
};

const READY: u64 = 12;
/// Nothing new goes wrong, and clients begin nothing new.
const STOP: u64 = 42;
/// Whoever came back too often is in again by then.
const DAMPED: Duration = Duration::from_secs(330);
/// The leases of clients that were lost have ended so long after all was healed.
const LEASES: Duration = Duration::from_secs(75);
/// So often a connection is reset that is.
const RESETS: usize = 8;
/// So often some server joins the circuit that it is in.
const AGAIN: usize = 12;
/// Clients on channels, of which the last only drains; on anchors; with
/// processes; with selects; some that subscribe; and some with name servers.
const CHANNELS: usize = 4;
const ANCHORS: usize = CHANNELS + 3;
const PROCESSES: usize = ANCHORS + 2;
const SELECTS: usize = PROCESSES + 3;
const AUDIENCE: usize = SELECTS + 3;
const NAMES: usize = AUDIENCE + 2;
const CLIENTS: usize = NAMES;

/// What can go wrong, by name.
const KINDS: &[&str] = &[
    "cut",
    "one-way cut",
    "split",
    "loss",
    "slow link",
    "swizzled cuts",
    "reset",
    "pause",
    "long pause",
    "crash with state",
    "crash without state",
    "restart storm",
    "leave",
    "clock jump",
    "failing spawns",
    "full disk",
    "other version",
    "bad datagrams",
    "lost client",
    "datagrams lost",
    "datagrams repeated",
    "datagrams damaged",
    "drift",
];
/// Those that are planned; the others are of the whole world, or come of them.
const PLANNED: usize = KINDS.len() - 4;

pub(super) fn run(options: &Options) -> Report {
    let mut rng = Rng::from_number(options.seed).fork("chaos");
    let settings = settings(&mut rng, options);
    let servers = settings.servers;
    let (kinds, planned) =
        mishaps::plan(&mut rng, &KINDS[..PLANNED], 9, READY..STOP - 2, |rng, kind| faults(rng, kind, servers));
    let plan = options.cut(planned.clone());
    let calm = faults::calm(&plan).max(seconds(STOP));
    let again = again(&rng, servers);
    let crew = crew(&mut rng, servers, Oracle::new(servers, plan.clone(), servers));
    let mut world = World::new(settings, options.seed, &plan, crew);
    for (when, server, other) in again {
        world.run_until(when);
        join_again(&mut world.sim, server, other);
    }
    world.run_until(seconds(STOP));
    let patient = rng.fork("patience").chance(1, 2);
    if patient {
        world.app.rest(&mut world.sim);
    } else {
        world.app.stop(&mut world.sim);
    }
    world.run_until(calm + CONVERGE);
    // Who is damped comes later, as it must.
    let damped = world.app.oracle.is_damped(&world.sim);
    if !damped {
        world.app.oracle.converged(&mut world.sim, "15 s after all was healed");
    }
    if patient {
        world.app.tidy(&mut world.sim);
        world.run_until(calm + LEASES);
        world.app.matched(&mut world.sim);
        world.app.stop(&mut world.sim);
    }
    world.run_until(calm + DAMPED);
    world.app.oracle.converged(&mut world.sim, "after all was healed");
    let events = world.app.oracle.count();
    (0..servers).for_each(|server| join_again(&mut world.sim, server, (server + 1) % servers));
    world.app.drain(&mut world.sim);
    let settled = world.sim.now() + Duration::from_secs(60);
    world.run_until(settled);
    world.app.balance(&mut world.sim);
    world.app.close(&mut world.sim);
    world.run_until(settled + Duration::from_secs(1_000));
    oracle::nothing_left(&mut world.sim);
    world.app.oracle.settled(&mut world.sim);
    if world.app.oracle.count() != events {
        world.sim.fail("somebody joined or left when all was quiet (P9, P10)");
    }
    let mut report = world.report();
    // That the disk is full shows when its server cannot start, not when that dies.
    let is_due = |kind: &str, fault: &Fault| kind != "full disk" || matches!(fault, Fault::FullDisk { .. });
    let felt = mishaps::felt(&kinds, &planned, |kind, fault| is_due(kind, fault) && world.sim.was_felt(fault));
    let fired = fired(&world.sim, felt);
    report.figures = mishaps::shares("seeds with", KINDS, &fired).chain(world.app.figures()).collect();
    let looked = f64::from(u8::from(!damped));
    report.figures.push(Figure::new("seeds in which nobody was damped 15 s after", looked, Bar::MeanAtLeast(0.9)));
    report
}

/// Any cluster.
fn settings(rng: &mut Rng, options: &Options) -> Settings {
    let servers = options.nodes.unwrap_or(2 + rng.below(7) as usize);
    // Some find each other by beacons, and some of these by beacons alone.
    let discover = rng.chance(2, 3);
    let alone = discover && rng.chance(1, 2);
    Settings {
        servers,
        clients: CLIENTS,
        delay: Duration::from_micros(50 + rng.below(20_000)),
        jitter: Duration::from_micros(rng.below(20_000)),
        seeds: if alone { Seeds::None } else { Seeds::Some(2) },
        discover,
        boot: Duration::from_secs(2),
        ready: seconds(READY),
        drift: rng.below(2) * 500,
        telling: options.telling,
    }
}

fn fraction(rng: &mut Rng) -> f64 {
    rng.below(1_000) as f64 / 1_000.0
}

/// What was felt, of the plan and besides.
fn fired(sim: &Sim, felt: Vec<&'static str>) -> Vec<&'static str> {
    let datagrams = sim.datagrams();
    let besides = [
        ("datagrams lost", datagrams.lost > 0),
        ("datagrams repeated", datagrams.repeated > 0),
        ("datagrams damaged", datagrams.damaged > 0),
        ("drift", sim.has_drifted()),
    ];
    let besides = besides.into_iter().filter(|(_, felt)| *felt).map(|(kind, _)| kind);
    felt.into_iter().chain(besides).collect()
}

/// What happens of one kind.
fn faults(rng: &mut Rng, kind: &str, servers: usize) -> Mishap {
    let server = rng.below(servers as u64) as usize;
    let hosts = servers + CLIENTS;
    // More often a server: two of those have a connection.
    let among = if rng.chance(1, 2) { servers } else { hosts };
    let other = (server + 1 + rng.below(among as u64 - 1) as usize) % among;
    let lasting = Duration::from_millis(10 + rng.below(12_000));
    let back = Duration::from_millis(1_200 + rng.below(8_000));
    let (one, two) = (Hosts::one(server), Hosts::one(other));
    let weak = |loss, slow| Fault::Weak { from: one, to: two, loss, slow, lasting };
    let at_once = |fault| vec![(Duration::ZERO, fault)];
    match kind {
        "cut" => at_once(Fault::Cut { a: server, b: other, lasting }),
        "one-way cut" => at_once(weak(ALWAYS, Duration::ZERO)),
        "split" => at_once(Fault::Split { below: 1 + rng.below(servers as u64 - 1) as usize, lasting }),
        "loss" => at_once(weak(50 + rng.below(600) as u16, Duration::ZERO)),
        "slow link" => at_once(weak(0, Duration::from_millis(rng.below(600)))),
        "swizzled cuts" => (0..servers.min(4))
            .filter(|&b| b != server)
            .map(|b| {
                let (after, lasting) =
                    (Duration::from_millis(rng.below(3_000)), Duration::from_millis(rng.below(9_000)));
                (after, Fault::Cut { a: server, b, lasting })
            })
            .collect(),
        // Again and again, as there is to be something on a connection.
        "reset" => {
            (0..RESETS).map(|_| (lasting.mul_f64(fraction(rng)), Fault::Reset { a: server, b: other })).collect()
        }
        "pause" => at_once(Fault::Pause { server, lasting: lasting / 3 }),
        "long pause" => at_once(Fault::Pause { server, lasting: Duration::from_secs(5 + rng.below(60)) }),
        "crash with state" => at_once(Fault::Crash { server, back, same: true }),
        "crash without state" => at_once(Fault::Crash { server, back, same: false }),
        "restart storm" => mishaps::restart_storm(rng, servers, back),
        "leave" => at_once(Fault::Leave { server, back }),
        "clock jump" => at_once(Fault::Jump { server, ahead: Duration::from_secs(3_600) }),
        "failing spawns" => at_once(Fault::NoSpawn { server, lasting }),
        "full disk" => {
            let crash = Fault::Crash { server, back, same: true };
            // Mostly it is to start again before there is room.
            let full = Fault::FullDisk { server, lasting: lasting / 2 + back.mul_f64(2.0 * fraction(rng)) };
            vec![(Duration::ZERO, full), (lasting / 2, crash)]
        }
        "other version" => at_once(Fault::Version { server, lasting }),
        "bad datagrams" => at_once(Fault::Datagrams { lasting: 2 * lasting }),
        _ => {
            // All but the one that drains the channels.
            let client = rng.below(CLIENTS as u64 - 1) as usize;
            at_once(Fault::CrashClient { client: client + usize::from(client >= CHANNELS - 1) })
        }
    }
}

/// Clients on every kind of element.
fn crew(rng: &mut Rng, servers: usize, oracle: Oracle) -> Crew {
    let works: Vec<Box<dyn Work>> = vec![
        Box::new(Channels::new(rng, servers, CHANNELS)),
        Box::new(Anchors::new(CHANNELS..ANCHORS)),
        Box::new(Processes::new(ANCHORS..PROCESSES)),
        Box::new(Selects::new(PROCESSES..SELECTS, false)),
        Box::new(Audience::new(SELECTS..AUDIENCE)),
        Box::new(Names::new(AUDIENCE..NAMES)),
    ];
    Crew::new(oracle, works)
}

/// When who joins whom, though they are of one circuit.
fn again(rng: &Rng, servers: usize) -> Vec<(Instant, ServerIndex, ServerIndex)> {
    let mut draws = rng.fork("join again");
    let again = |_| {
        let (server, by) = (draws.below(servers as u64), 1 + draws.below(servers as u64 - 1));
        let after = Duration::from_millis(draws.below(1_000 * (STOP - READY)));
        (seconds(READY) + after, server as ServerIndex, ((server + by) % servers as u64) as ServerIndex)
    };
    let mut all: Vec<_> = (0..AGAIN).map(again).collect();
    all.sort_unstable();
    all
}
