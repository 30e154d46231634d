//! Servers that start, leave, die, stand still and are cut off from each other,
//! and what each of them says of who is there.
//!
//! For half a minute things go wrong. Then all is healed, every view must come
//! to be the truth, and nothing may happen any more. The oracle checks P1-P6
//! and P8 at every event, P9 and P10 at the end; clients that subscribe check
//! P4. Now and then one of these sleeps, while so many come and go that it must
//! miss some.

use std::time::Duration;

use circuit_core::{Rng, Target, client::Event, membership as member};

use super::{Options, seconds};
use crate::{
    App, ClientIndex, Figure, Oracle, Report, Seeds, ServerIndex, Settings, Sim, World,
    faults::{self, Fault, Hosts, Plan},
    work::Watcher,
};

/// All servers have started and found each other.
const READY: u64 = 12;
/// Nothing new goes wrong.
const STOP: u64 = 45;
/// Within this all views must be the truth (P9).
pub(super) const CONVERGE: Duration = Duration::from_secs(15);
/// Whoever came back too often is let in by then.
const DAMPED: Duration = Duration::from_secs(310);
/// And for so long nothing may happen at all.
const QUIET: Duration = Duration::from_secs(60);
const WATCHERS: usize = 3;
/// Where a watcher sleeps there are so many servers, of which all but its own come
/// and go: so often, each after so long, until more events wait than may.
const DOOR: usize = 8;
const GOES_EVERY: Duration = Duration::from_millis(100);
const BACK: Duration = Duration::from_millis(200);
const TURNS: u32 = 2_500;

pub(super) fn run(options: &Options) -> Report {
    let mut rng = Rng::from_number(options.seed).fork("members");
    let servers = options.nodes.unwrap_or_else(|| match rng.below(20) {
        0 => 50 + rng.below(151) as usize,
        1..6 => 12 + rng.below(30) as usize,
        _ => 2 + rng.below(10) as usize,
    });
    let mut settings = Settings {
        servers,
        clients: WATCHERS,
        delay: Duration::from_micros(50 + rng.below(40_000)),
        jitter: Duration::from_micros(rng.below(40_000)),
        seeds: Seeds::Some(2),
        discover: false,
        boot: Duration::from_secs(3),
        ready: seconds(READY),
        drift: 0,
        telling: options.telling,
    };
    let sleeps = options.nodes.is_none() && rng.fork("sleeper").chance(1, 100);
    if sleeps {
        (settings.servers, settings.delay, settings.jitter) = (DOOR, Duration::from_millis(1), Duration::ZERO);
    }
    let servers = settings.servers;
    let plan = options.cut(if sleeps { door() } else { plan(&mut rng, servers) });
    let calm = faults::calm(&plan).max(seconds(STOP));
    let mut world = World::new(settings, options.seed, &plan, Members::new(servers, plan.clone(), sleeps));
    if sleeps {
        // It wakes while there is more to come.
        world.run_until(seconds(READY) + GOES_EVERY * (TURNS - rng.below(150) as u32));
        world.app.wake(&mut world.sim);
    }
    world.run_until(calm + CONVERGE);
    if world.app.oracle.is_damped(&world.sim) {
        world.run_until(calm + DAMPED);
    }
    world.app.converged(&mut world.sim, "after all was healed");
    let before = world.app.oracle.count();
    (0..servers).for_each(|server| join_again(&mut world.sim, server, (server + 1) % servers));
    let quiet = world.sim.now() + QUIET;
    world.run_until(quiet);
    if world.app.oracle.count() != before {
        world.sim.fail("somebody joined or left when all was quiet (P9, P10)");
    }
    world.app.oracle.settled(&mut world.sim);
    // One event after the other takes its time.
    for _ in 0..10 {
        if world.app.lagging(&world.sim).is_none() {
            break;
        }
        let later = world.sim.now() + QUIET;
        world.run_until(later);
    }
    if let Some(fault) = world.app.lagging(&world.sim) {
        world.sim.fail(fault);
    }
    let mut report = world.report();
    report.figures = world.app.figures();
    report
}

/// Others come and go all the time.
fn door() -> Plan {
    let leave = |turn| {
        let server = 1 + turn as usize % (DOOR - 1);
        (seconds(READY) + (1 + turn) * GOES_EVERY, Fault::Leave { server, back: BACK })
    };
    (0..TURNS).map(leave).collect()
}

/// What goes wrong, and when.
fn plan(rng: &mut Rng, servers: usize) -> Plan {
    let span = (STOP - READY) * 1_000_000;
    let count = rng.below(4 + servers.min(20) as u64);
    let at = |rng: &mut Rng| seconds(READY) + Duration::from_micros(rng.below(span));
    let mut plan: Plan = (0..count).map(|_| (at(rng), fault(rng, servers as u64))).collect();
    if rng.chance(1, 3) {
        let below = 1 + rng.below(servers as u64 - 1) as usize;
        plan.push((at(rng), Fault::Split { below, lasting: Duration::from_millis(rng.below(20_000)) }));
    }
    let mut rng = rng.fork("swapping");
    if rng.chance(1, 3) {
        swap(&mut rng, servers, &mut plan);
    }
    let mut rng = rng.fork("around");
    if rng.chance(1, 2) {
        around(&mut rng, servers, &mut plan);
    }
    plan.sort_by_key(|(at, _)| *at);
    plan
}

/// Much happens within a few seconds to one server and those that may observe it, so
/// that what they think of it, and tell each other, changes again and again.
fn around(rng: &mut Rng, servers: usize, plan: &mut Plan) {
    let subject = rng.below(servers as u64) as usize;
    let begin = seconds(READY) + Duration::from_micros(rng.below(20_000_000));
    let others = 1 + rng.below(servers.min(6) as u64 - 1);
    let other = |rng: &mut Rng| (subject + 1 + rng.below(others) as usize) % servers;
    for _ in 0..3 + rng.below(6) {
        let at = begin + Duration::from_micros(rng.below(12_000_000));
        let (from, to) = (other(rng), other(rng));
        let lasting = Duration::from_millis(500 + rng.below(12_000));
        let fault = match rng.below(12) {
            0..5 => Fault::Cut { a: subject, b: to, lasting },
            5..7 if from != to => {
                let (from, to, slow) = (Hosts::one(from), Hosts::one(to), Duration::from_millis(rng.below(3_000)));
                Fault::Weak { from, to, loss: 0, slow, lasting }
            }
            5..9 => Fault::Pause { server: to, lasting },
            9 => Fault::Reset { a: subject, b: to },
            10 => Fault::Crash { server: subject, back: lasting / 4, same: true },
            _ => Fault::Crash { server: to, back: lasting, same: rng.chance(1, 2) },
        };
        plan.push((at, fault));
    }
}

/// A machine has too little memory: its server stands still again and again, and
/// now and then gets as far as to ask something before it does.
fn swap(rng: &mut Rng, servers: usize, plan: &mut Plan) {
    let server = rng.below(servers as u64) as usize;
    let mut at = seconds(READY) + Duration::from_micros(rng.below((STOP - READY) * 1_000_000));
    for _ in 0..2 + rng.below(6) {
        let lasting = Duration::from_millis(10 + rng.below(8_000));
        plan.push((at, Fault::Pause { server, lasting }));
        at += lasting + Duration::from_millis(rng.below(200));
    }
}

fn fault(rng: &mut Rng, servers: u64) -> Fault {
    let server = rng.below(servers) as usize;
    let other = (server + 1 + rng.below(servers - 1) as usize) % servers as usize;
    let lasting = Duration::from_millis(10 + rng.below(15_000));
    let back = Duration::from_millis(1_200 + rng.below(10_000));
    match rng.below(10) {
        0..2 => Fault::Cut { a: server, b: other, lasting },
        2..4 => Fault::Reset { a: server, b: other },
        4..6 => Fault::Pause { server, lasting },
        6..8 => Fault::Crash { server, back, same: rng.chance(1, 2) },
        _ => Fault::Leave { server, back },
    }
}

/// Joining a circuit one is in already is no event (P10).
pub(super) fn join_again(sim: &mut Sim, server: ServerIndex, other: ServerIndex) {
    let target = Target { addr: sim.server_addr(other), expect: None };
    sim.command(server, |node, now| node.join(now, target));
}

struct Members {
    oracle: Oracle,
    watchers: Vec<Watcher>,
    /// The first does not read what it is told.
    sleeps: bool,
}

impl Members {
    fn new(servers: usize, plan: Plan, sleeps: bool) -> Self {
        let watchers = (0..WATCHERS).map(|_| Watcher::default()).collect();
        Self { oracle: Oracle::new(servers, plan, WATCHERS), watchers, sleeps }
    }

    /// Whoever sleeps reads what it was told.
    fn wake(&mut self, sim: &mut Sim) {
        self.sleeps = false;
        self.watchers[0].read(sim, 0);
    }

    /// All are there, and everybody sees them, and nobody else.
    fn converged(&self, sim: &mut Sim, when: &str) {
        if let Some(gone) = (0..sim.settings().servers).find(|&server| sim.node(server).is_none()) {
            return sim.fail(format!("server {gone} is not there {when}"));
        }
        self.oracle.converged(sim, when);
    }

    /// What a subscriber was told otherwise than it was, or not yet.
    fn lagging(&self, sim: &Sim) -> Option<String> {
        self.watchers.iter().find_map(|watcher| watcher.compare(sim, &self.oracle))
    }

    fn figures(&self) -> Vec<Figure> {
        let mut figures = self.oracle.figures();
        let heard = self.watchers.iter().map(Watcher::heard).sum();
        figures.push(Figure::count("events that subscribers received", heard));
        figures
    }
}

impl App for Members {
    fn start(&mut self, sim: &mut Sim) {
        // Before anything goes wrong everybody sees everybody.
        self.converged(sim, "after the boot");
        for client in 0..WATCHERS {
            self.watchers[client].start(sim, client);
        }
    }

    fn event(&mut self, sim: &mut Sim, client: ClientIndex, event: Event) {
        let more = self.watchers[client].hears(sim, client, event);
        if more && !(client == 0 && self.sleeps) {
            self.watchers[client].read(sim, client);
        }
    }

    fn member(&mut self, sim: &mut Sim, server: ServerIndex, life: u32, event: member::Event) {
        self.oracle.event(sim, server, life, event);
    }

    fn acted(&mut self, sim: &mut Sim, server: ServerIndex) {
        self.oracle.acted(sim, server);
    }
}
