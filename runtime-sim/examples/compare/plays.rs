//! What each of them is put through, and what is measured.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use circuit_core::{Instant, Rng};
use circuit_sim::faults::{Fault, Hosts, Plan};

use super::system::{Setup, Sight, System, Traffic, Who};

/// Something that systems are put through.
pub(crate) struct Play {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    plan: fn(&mut Rng, usize) -> Plan,
    measure: fn(&mut Stage),
}

pub(crate) const PLAYS: &[Play] = &[
    Play {
        name: "boot",
        about: "all join through one within a second, and then nothing happens",
        plan: |_, _| Plan::new(),
        measure: boot,
    },
    Play { name: "crash", about: "one of a hundred is killed, all at once", plan: crashes, measure: crash },
    Play {
        name: "lossy",
        about: "one of a hundred loses 80 % of what it sends, for two minutes",
        plan: losses,
        measure: lossy,
    },
    Play {
        name: "churn",
        about: "for two minutes all but the first are killed each minute or so, and are back within two seconds",
        plan: sessions,
        measure: churn,
    },
];

/// Sets a system up.
pub(crate) type Build = fn(&Setup) -> Box<dyn System>;

/// What was measured: nothing for what did not happen in time.
pub(crate) type Figures = Vec<(&'static str, Option<f64>)>;

/// Not before this has what the boot brought settled.
const SETTLED: u64 = 90;
/// And when it was seen what idleness costs, something goes wrong.
const FAULT: u64 = 120;
/// For so long.
const LASTING: u64 = 120;
/// What has not come about after this never does.
const PATIENCE: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(20);
/// Longer than any play.
const FOR_EVER: Duration = Duration::from_secs(86_400);

const FALSE: &str = "false removals, of all servers together";

fn at(seconds: u64) -> Instant {
    Instant::from_micros(seconds * 1_000_000)
}

/// One in a hundred, at least one, and never the first: all join through that.
fn chosen(servers: usize) -> Vec<usize> {
    let count = (servers / 100).max(1);
    (1..=count).map(|number| number * servers / (count + 1)).collect()
}

fn crashes(_: &mut Rng, servers: usize) -> Plan {
    let crash = |server| (at(FAULT), Fault::Crash { server, back: FOR_EVER, same: false });
    chosen(servers).into_iter().map(crash).collect()
}

fn losses(_: &mut Rng, servers: usize) -> Plan {
    let lasting = Duration::from_secs(LASTING);
    let weak =
        |server| Fault::Weak { from: Hosts::one(server), to: Hosts::ALL, loss: 800, slow: Duration::ZERO, lasting };
    chosen(servers).into_iter().map(|server| (at(FAULT), weak(server))).collect()
}

fn sessions(rng: &mut Rng, servers: usize) -> Plan {
    const SESSION: Duration = Duration::from_secs(60);
    let micros = SESSION.as_micros() as u64;
    let mut plan = Plan::new();
    for server in 1..servers {
        let mut next = at(FAULT) + Duration::from_micros(rng.below(micros));
        while next < at(FAULT + LASTING) {
            let back = Duration::from_millis(500 + rng.below(1_500));
            plan.push((next, Fault::Crash { server, back, same: false }));
            next = next + back + SESSION / 2 + Duration::from_micros(rng.below(micros));
        }
    }
    plan.sort_by_key(|(at, _)| *at);
    plan
}

/// A system in a play.
struct Stage {
    system: Box<dyn System>,
    servers: usize,
    now: Instant,
    /// When each that was killed was.
    died: BTreeMap<Who, Instant>,
    figures: Figures,
}

impl Play {
    /// Puts a system through it.
    pub(crate) fn run(&self, build: Build, servers: usize, seed: u64) -> Figures {
        let plan = (self.plan)(&mut Rng::from_number(seed).fork(self.name), servers);
        let mut died = BTreeMap::new();
        let mut lives = vec![0; servers];
        for &(at, fault) in &plan {
            if let Fault::Crash { server, .. } = fault {
                died.insert(Who { server, life: lives[server] }, at);
                lives[server] += 1;
            }
        }
        let system = build(&Setup { servers, seed, plan });
        let mut stage = Stage { system, servers, now: Instant::ZERO, died, figures: Vec::new() };
        (self.measure)(&mut stage);
        stage.figures
    }
}

impl Stage {
    fn run_until(&mut self, at: Instant) {
        self.system.run_until(at);
        self.now = at;
    }

    fn figure(&mut self, name: &'static str, value: impl Into<Option<f64>>) {
        self.figures.push((name, value.into()));
    }

    /// How long it takes until all are there, and everybody sees them and nobody
    /// else.
    fn agreed(&mut self) -> Option<f64> {
        let from = self.now;
        loop {
            let alive = self.system.alive();
            if alive.len() == self.servers && alive.iter().all(|who| self.system.view(who.server) == alive) {
                return Some(self.now.since(from).as_secs_f64());
            }
            if self.now >= from + PATIENCE {
                return None;
            }
            self.run_until(self.now + LOOK);
        }
    }

    /// What is sent until then: a server and second.
    fn rate(&mut self, until: Instant) -> [f64; 2] {
        let (from, before) = (self.now, self.system.traffic());
        self.run_until(until);
        let share = self.servers as f64 * self.now.since(from).as_secs_f64();
        since(before, self.system.traffic()).map(|sent| sent / share)
    }

    /// What went on from a time on.
    fn sights(&self, from: Instant) -> impl Iterator<Item = &Sight> {
        self.system.sights().iter().filter(move |sight| sight.at >= from)
    }

    fn is_dead(&self, who: Who, at: Instant) -> bool {
        self.died.get(&who).is_some_and(|died| *died <= at)
    }

    /// How often a server held another for gone that was there. Those whose own
    /// links are bad do not count on either side.
    fn wrong(&self, from: Instant, bad: &[usize]) -> f64 {
        let is_good = |sight: &&Sight| !bad.contains(&sight.of.server) && !bad.contains(&sight.by);
        let wrong = |sight: &&Sight| !sight.here && !self.is_dead(sight.of, sight.at);
        self.sights(from).filter(is_good).filter(wrong).count() as f64
    }
}

fn since(before: Traffic, after: Traffic) -> [f64; 2] {
    [(after.messages - before.messages) as f64, (after.bytes - before.bytes) as f64]
}

fn boot(stage: &mut Stage) {
    let full = stage.agreed();
    let joins = (stage.servers * stage.servers) as f64;
    let [messages, bytes] = since(Traffic::default(), stage.system.traffic()).map(|sent| sent / joins);
    stage.figure("every view full after, s", full);
    stage.figure("messages of a join, at each server", full.map(|_| messages));
    stage.figure("bytes of a join, at each server", full.map(|_| bytes));
    stage.run_until(stage.now.max(at(SETTLED)));
    let [messages, bytes] = stage.rate(stage.now + Duration::from_secs(120));
    stage.figure("idle: messages/s a server", messages);
    stage.figure("idle: bytes/s a server", bytes);
    let wrong = stage.wrong(Instant::ZERO, &[]);
    stage.figure(FALSE, wrong);
}

fn crash(stage: &mut Stage) {
    const FELT: u64 = 30;
    stage.run_until(at(SETTLED));
    let idle = stage.rate(at(FAULT));
    let felt = stage.rate(at(FAULT + FELT));
    stage.run_until(at(FAULT + LASTING));
    let dead: BTreeSet<Who> = stage.died.keys().copied().collect();
    let mut noticed: Vec<f64> = Vec::new();
    for sight in stage.sights(at(FAULT)).filter(|sight| !sight.here && dead.contains(&sight.of)) {
        noticed.push(sight.at.since(at(FAULT)).as_secs_f64());
    }
    let all = noticed.len() >= dead.len() * (stage.servers - dead.len());
    stage.figure("noticed by the first after, s", noticed.first().copied());
    stage.figure("noticed by all after, s", noticed.last().copied().filter(|_| all));
    let wrong = stage.wrong(at(FAULT), &[]);
    stage.figure(FALSE, wrong);
    let more = |index: usize| (felt[index] - idle[index]).max(0.0) * FELT as f64 / dead.len() as f64;
    stage.figure("messages of a death, at each server", more(0));
    stage.figure("bytes of a death, at each server", more(1));
}

fn lossy(stage: &mut Stage) {
    let lossy = chosen(stage.servers);
    stage.run_until(at(FAULT));
    let mut out = None;
    while stage.now < at(FAULT + LASTING) {
        stage.run_until(stage.now + LOOK);
        let healthy = (0..stage.servers).filter(|server| !lossy.contains(server));
        let sees = |server: usize| stage.system.view(server).iter().any(|who| lossy.contains(&who.server));
        if out.is_none() && !healthy.into_iter().any(sees) {
            out = Some(stage.now.since(at(FAULT)).as_secs_f64());
        }
    }
    let gone = stage.sights(at(FAULT)).filter(|sight| !sight.here && lossy.contains(&sight.of.server)).count();
    let pairs = lossy.len() * (stage.servers - lossy.len());
    let wrong = stage.wrong(at(FAULT), &lossy);
    let agreed = stage.agreed();
    stage.figure("lossy ones out everywhere after, s", out);
    stage.figure("removals of a lossy one, an observer", gone as f64 / pairs as f64);
    stage.figure(FALSE, wrong);
    stage.figure("all see all after the end, s", agreed);
}

fn churn(stage: &mut Stage) {
    stage.run_until(at(FAULT));
    let before = stage.system.traffic();
    let (mut stale, mut looks) = (0.0, 0);
    while stage.now < at(FAULT + LASTING) {
        stage.run_until(stage.now + Duration::from_secs(1));
        let alive = stage.system.alive();
        let views = || alive.iter().flat_map(|who| stage.system.view(who.server));
        stale += views().filter(|who| !alive.contains(who)).count() as f64 / views().count() as f64;
        looks += 1;
    }
    let seconds = LASTING as f64 * stage.servers as f64;
    let [messages, bytes] = since(before, stage.system.traffic()).map(|sent| sent / seconds);
    let late = |sight: &Sight| Some(sight.at.since(*stage.died.get(&sight.of)?).as_secs_f64());
    let noticed: Vec<f64> = stage
        .sights(at(FAULT))
        .filter(|sight| !sight.here && stage.is_dead(sight.of, sight.at))
        .filter_map(late)
        .collect();
    let mean = noticed.iter().sum::<f64>() / noticed.len().max(1) as f64;
    let wrong = stage.wrong(at(FAULT), &[]);
    let agreed = stage.agreed();
    stage.figure("a death noticed after, in the mean, s", mean);
    stage.figure("stale part of the views, %", 100.0 * stale / f64::from(looks));
    stage.figure(FALSE, wrong);
    stage.figure("messages/s a server", messages);
    stage.figure("bytes/s a server", bytes);
    stage.figure("all see all after the end, s", agreed);
}
