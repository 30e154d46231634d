//! What each of them is put through, and what is measured.

use std::{collections::BTreeMap, time::Duration};

use circuit_core::{Instant, Rng};
use circuit_sim::faults::{ALWAYS, Fault, Hosts, Plan};

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
        measure: bad_links,
    },
    Play {
        name: "flipflop",
        about: "one of a hundred hears nothing for 20 s, every 40 s, for two minutes",
        plan: deafness,
        measure: bad_links,
    },
    Play {
        name: "stalled",
        about: "a quarter of them stand still for up to 4 s while one of a hundred is killed",
        plan: pauses,
        measure: stalled,
    },
    Play {
        name: "partition",
        about: "halves that cannot reach each other for two minutes",
        plan: |_, servers| vec![(at(FAULT), Fault::Split { below: servers / 2, lasting: LASTING })],
        measure: partition,
    },
    Play {
        name: "wan",
        about: "as boot, in two data centres 300 ms apart, and one in a hundred packets between them is lost",
        plan: distance,
        measure: boot,
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
const LASTING: Duration = Duration::from_secs(120);
/// And then it is over.
const OVER: u64 = FAULT + LASTING.as_secs();
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
    let weak = |server| {
        let (from, to) = (Hosts::one(server), Hosts::ALL);
        (at(FAULT), Fault::Weak { from, to, loss: 800, slow: Duration::ZERO, lasting: LASTING })
    };
    chosen(servers).into_iter().map(weak).collect()
}

fn deafness(_: &mut Rng, servers: usize) -> Plan {
    const TURN: Duration = Duration::from_secs(20);
    let times = (FAULT..OVER).step_by(2 * TURN.as_secs() as usize);
    let deaf = |second, server| {
        let (from, to) = (Hosts::ALL, Hosts::one(server));
        (at(second), Fault::Weak { from, to, loss: ALWAYS, slow: Duration::ZERO, lasting: TURN })
    };
    times.flat_map(|second| chosen(servers).into_iter().map(move |server| deaf(second, server))).collect()
}

fn pauses(rng: &mut Rng, servers: usize) -> Plan {
    let mut plan = crashes(rng, servers);
    let mortal = chosen(servers);
    let still = (1..servers).filter(|server| !mortal.contains(server)).take(servers / 4);
    plan.extend(still.map(|server| {
        let lasting = Duration::from_millis(500 + rng.below(3_400));
        (at(FAULT), Fault::Pause { server, lasting })
    }));
    plan
}

fn distance(_: &mut Rng, servers: usize) -> Plan {
    let (here, there) = (Hosts::below(servers / 2), Hosts::from(servers / 2));
    let way = |from, to| {
        let fault = Fault::Weak { from, to, loss: 10, slow: Duration::from_millis(300), lasting: FOR_EVER };
        (Instant::ZERO, fault)
    };
    vec![way(here, there), way(there, here)]
}

fn sessions(rng: &mut Rng, servers: usize) -> Plan {
    const SESSION: Duration = Duration::from_secs(60);
    let micros = SESSION.as_micros() as u64;
    let mut plan = Plan::new();
    for server in 1..servers {
        let mut next = at(FAULT) + Duration::from_micros(rng.below(micros));
        while next < at(OVER) {
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

    /// How often a server held another for gone that was there, and that it could
    /// reach: it and the other.
    fn wrong(&self, from: Instant, reach: impl Fn(usize, usize) -> bool) -> f64 {
        let wrong = |sight: &&Sight| !sight.here && !self.is_dead(sight.of, sight.at);
        self.sights(from).filter(wrong).filter(|sight| reach(sight.by, sight.of.server)).count() as f64
    }

    /// While something is wrong, how long it takes until `holds`.
    fn comes_about(&mut self, holds: impl Fn(&Self) -> bool) -> Option<f64> {
        self.run_until(at(FAULT));
        let mut after = None;
        while self.now < at(OVER) {
            self.run_until(self.now + LOOK);
            if after.is_none() && holds(self) {
                after = Some(self.now.since(at(FAULT)).as_secs_f64());
            }
        }
        after
    }

    /// How often a server held such another for gone since something was wrong.
    fn removals(&self, such: impl Fn(usize, usize) -> bool) -> f64 {
        let is_such = |sight: &&Sight| !sight.here && such(sight.by, sight.of.server);
        self.sights(at(FAULT)).filter(is_such).count() as f64
    }

    /// When those that are killed were noticed: by the first, and by all.
    fn noticed(&mut self) {
        let is_dead = |sight: &&Sight| !sight.here && self.died.contains_key(&sight.of);
        let late = |sight: &Sight| sight.at.since(at(FAULT)).as_secs_f64();
        let noticed: Vec<f64> = self.sights(at(FAULT)).filter(is_dead).map(late).collect();
        let all = noticed.len() >= self.died.len() * (self.servers - self.died.len());
        self.figure("noticed by the first after, s", noticed.first().copied());
        self.figure("noticed by all after, s", noticed.last().copied().filter(|_| all));
        let wrong = self.wrong(at(FAULT), everywhere);
        self.figure(FALSE, wrong);
    }
}

/// When nothing is wrong with any link.
fn everywhere(_: usize, _: usize) -> bool {
    true
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
    let wrong = stage.wrong(Instant::ZERO, everywhere);
    stage.figure(FALSE, wrong);
}

fn crash(stage: &mut Stage) {
    const FELT: u64 = 30;
    stage.run_until(at(SETTLED));
    let idle = stage.rate(at(FAULT));
    let felt = stage.rate(at(FAULT + FELT));
    stage.run_until(at(OVER));
    stage.noticed();
    let dead = stage.died.len() as f64;
    let more = |index: usize| (felt[index] - idle[index]).max(0.0) * FELT as f64 / dead;
    stage.figure("messages of a death, at each server", more(0));
    stage.figure("bytes of a death, at each server", more(1));
}

fn bad_links(stage: &mut Stage) {
    let bad = chosen(stage.servers);
    let is_well = |server: usize| !bad.contains(&server);
    let out = stage.comes_about(|stage| {
        let sees = |server: usize| stage.system.view(server).iter().any(|who| !is_well(who.server));
        !(0..stage.servers).filter(|&server| is_well(server)).any(sees)
    });
    let gone = stage.removals(|_, of| !is_well(of));
    let pairs = bad.len() * (stage.servers - bad.len());
    let wrong = stage.wrong(at(FAULT), |by, of| is_well(by) && is_well(of));
    let agreed = stage.agreed();
    stage.figure("bad ones out everywhere after, s", out);
    stage.figure("removals of a bad one, an observer", gone / pairs as f64);
    stage.figure(FALSE, wrong);
    stage.figure("all see all after the end, s", agreed);
}

fn stalled(stage: &mut Stage) {
    stage.run_until(at(OVER));
    stage.noticed();
}

fn partition(stage: &mut Stage) {
    let half = stage.servers / 2;
    let is_near = |by: usize, of: usize| (by < half) == (of < half);
    let parted = stage.comes_about(|stage| {
        let is_apart = |server| {
            let view = stage.system.view(server);
            let near = (0..stage.servers).filter(|&other| is_near(server, other)).count();
            view.len() == near && view.iter().all(|who| is_near(server, who.server))
        };
        (0..stage.servers).all(is_apart)
    });
    let agreed = stage.agreed();
    let gone = stage.removals(|by, of| !is_near(by, of));
    let pairs = 2 * half * (stage.servers - half);
    let wrong = stage.wrong(at(FAULT), is_near);
    stage.figure("each half sees itself alone after, s", parted);
    stage.figure("removals of one of the other half, an observer", gone / pairs as f64);
    stage.figure(FALSE, wrong);
    stage.figure("all see all after the end, s", agreed);
}

fn churn(stage: &mut Stage) {
    stage.run_until(at(FAULT));
    let before = stage.system.traffic();
    let (mut stale, mut looks) = (0.0, 0);
    while stage.now < at(OVER) {
        stage.run_until(stage.now + Duration::from_secs(1));
        let alive = stage.system.alive();
        let views = || alive.iter().flat_map(|who| stage.system.view(who.server));
        stale += views().filter(|who| !alive.contains(who)).count() as f64 / views().count() as f64;
        looks += 1;
    }
    let seconds = LASTING.as_secs_f64() * stage.servers as f64;
    let [messages, bytes] = since(before, stage.system.traffic()).map(|sent| sent / seconds);
    let late = |sight: &Sight| Some(sight.at.since(*stage.died.get(&sight.of)?).as_secs_f64());
    let noticed: Vec<f64> = stage
        .sights(at(FAULT))
        .filter(|sight| !sight.here && stage.is_dead(sight.of, sight.at))
        .filter_map(late)
        .collect();
    let mean = noticed.iter().sum::<f64>() / noticed.len().max(1) as f64;
    let wrong = stage.wrong(at(FAULT), everywhere);
    let agreed = stage.agreed();
    stage.figure("a death noticed after, in the mean, s", mean);
    stage.figure("stale part of the views, %", 100.0 * stale / f64::from(looks));
    stage.figure(FALSE, wrong);
    stage.figure("messages/s a server", messages);
    stage.figure("bytes/s a server", bytes);
    stage.figure("all see all after the end, s", agreed);
}
