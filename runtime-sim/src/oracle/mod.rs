//! What must be true of every observer's log, by somebody who knows the truth.
//!
//! An application hands on what it is told of members; the oracle checks P1-P3,
//! P5, P6 and P8 at every event, and P9 when it is asked to. (P4 is checked by
//! subscribers, P7 where servers pass on what hosts say.)

mod bounds;
mod log;
mod opinions;
mod returns;
mod speech;
mod stability;
mod truth;

use std::{collections::BTreeMap, time::Duration};

use circuit_core::{Instant, ServerId, membership::Event};

use crate::{
    Figure, ServerIndex,
    faults::{Fault, Plan},
};
pub(crate) use bounds::{left, nothing_left};
use log::Ids;
pub(crate) use log::Log;
use opinions::{Opinions, SETTLED};
pub(crate) use speech::{Speaker, Speech};
pub use truth::Truth;

/// The figure that counts mistakes of observers.
pub(crate) const WRONG: &str = "leaves of servers that were alive";
/// For so long after a fault its consequences may show.
const MEMORY: Duration = Duration::from_secs(20);
/// A server that stands still for longer may be held for dead (P8).
const STALL: Duration = Duration::from_secs(4);
/// So long after a pause a server has heard what came meanwhile.
const AWAKE: Duration = Duration::from_secs(1);
/// Among so many servers it is looked whether all is within its bounds whenever
/// four have acted: at every act it would take as long as all else. Of more servers
/// it is looked at each once in so many times, about: what that costs grows with
/// their number.
const FEW_SERVERS: usize = 16;
const BOUNDS_OFTEN: u64 = 4;
const BOUNDS_EVERY: u64 = 23;

/// Knows what happened, and compares what every server sees.
pub struct Oracle {
    servers: usize,
    /// Whose logs are kept: the servers below.
    kept: ServerIndex,
    plan: Plan,
    /// Those of its faults that are a jump of a clock: every event asks for them.
    jumps: Vec<(Instant, ServerIndex)>,
    ids: Ids,
    /// Which server has an id, or had it last.
    owners: BTreeMap<ServerId, ServerIndex>,
    logs: BTreeMap<(ServerIndex, u32), Log>,
    opinions: Opinions,
    /// How often anybody has done anything.
    acts: u64,
    joins: u64,
    leaves: u64,
    /// Of servers that were alive: by whom, and of whom.
    wrong: Vec<(ServerIndex, ServerIndex)>,
}

impl Oracle {
    /// For so many servers, with which `plan` goes wrong. The logs of the first
    /// `kept` are kept whole.
    pub fn new(servers: usize, plan: Plan, kept: ServerIndex) -> Self {
        let (ids, owners, logs, opinions) = Default::default();
        let jump = |&(at, fault): &(Instant, Fault)| match fault {
            Fault::Jump { server, .. } => Some((at, server)),
            _ => None,
        };
        let jumps = plan.iter().filter_map(jump).collect();
        Self {
            servers,
            kept,
            plan,
            jumps,
            ids,
            owners,
            logs,
            opinions,
            acts: 0,
            joins: 0,
            leaves: 0,
            wrong: Vec::new(),
        }
    }

    /// What a server saw in one of its lives.
    pub(crate) fn log(&self, server: ServerIndex, life: u32) -> Option<&Log> {
        self.logs.get(&(server, life))
    }

    /// How many events there were.
    pub const fn count(&self) -> u64 {
        self.joins + self.leaves
    }

    /// How many joins there were.
    pub const fn joins(&self) -> u64 {
        self.joins
    }

    /// How many leaves there were.
    pub const fn leaves(&self) -> u64 {
        self.leaves
    }

    /// What was counted.
    pub fn figures(&self) -> Vec<Figure> {
        vec![
            Figure::count("joins", self.joins),
            Figure::count("leaves", self.leaves),
            Figure::count(WRONG, self.wrong.len() as u64),
        ]
    }

    /// How often an observer lost sight of somebody who was alive, such as these.
    pub fn lost(&self, are_such: impl Fn(ServerIndex, ServerIndex) -> bool) -> u64 {
        self.wrong.iter().filter(|&&(observer, subject)| are_such(observer, subject)).count() as u64
    }

    /// A server may have changed its mind.
    pub fn acted(&mut self, sim: &mut impl Truth, server: ServerIndex) {
        self.acts += 1;
        let rarely = BOUNDS_EVERY * self.servers as u64;
        let every = if self.servers <= FEW_SERVERS { BOUNDS_OFTEN } else { rarely };
        if self.acts.is_multiple_of(every)
            && let Some(excess) = sim.node(server).and_then(bounds::exceeded)
        {
            return sim.fail(format!("server {server} has {excess}"));
        }
        self.opinions.note(sim, server);
        if sim.node(server).is_some_and(|node| node.membership().unsettled()[2] > 0)
            && let Some(log) = self.logs.get_mut(&(server, sim.life(server)))
        {
            log.returns.wait(sim.now());
        }
    }

    /// An observer saw somebody join or leave.
    pub fn event(&mut self, sim: &mut impl Truth, server: ServerIndex, life: u32, event: Event) {
        if event.joined {
            self.joins += 1;
        } else {
            self.leaves += 1;
        }
        let node = sim.node(server).filter(|_| sim.life(server) == life);
        if !self.logs.contains_key(&(server, life)) {
            self.begin(server, life);
        }
        let number = self.ids.number(event.id);
        let jumped = self.jumped(sim.now(), server);
        let Some(log) = self.logs.get_mut(&(server, life)) else {
            return;
        };
        let first = log.count() == 0;
        jumped.into_iter().for_each(|at| log.returns.jump(at));
        if let Err(fault) = log.add(sim.now(), event, number) {
            return sim.fail(format!("server {server}: {fault}: {event:?}"));
        }
        if let Some(node) = node {
            self.owners.entry(node.id()).or_insert(server);
            if first && node.id() != event.id {
                return sim.fail(format!("server {server} saw {event:?} before itself (P3)"));
            }
            if let Some(fault) = log.differs(node.membership().view(), &self.ids, false) {
                return sim.fail(format!("server {server} after {event:?}: {fault}"));
            }
        }
        // Also of a leave: it would count as the verdict that later ones repeat.
        if !sim.was_issued(event.id, event.epoch) {
            let which = if event.joined { "P5" } else { "P6" };
            return sim.fail(format!("server {server} saw {event:?}, which its owner never was ({which})"));
        }
        if !event.joined {
            self.justified(sim, server, life, event);
            self.left(sim, server, event);
        }
    }

    /// When the clock of a server last jumped, if it did.
    fn jumped(&self, now: Instant, server: ServerIndex) -> Option<Instant> {
        self.jumps.iter().filter(|(at, jumped)| *at <= now && *jumped == server).map(|(at, _)| *at).max()
    }

    /// The log of a new life; those before are of no use, unless they are kept.
    fn begin(&mut self, server: ServerIndex, life: u32) {
        if server >= self.kept {
            self.logs.retain(|&(of, _), _| of != server);
        }
        self.logs.insert((server, life), Log::new(server < self.kept));
    }

    /// Nobody is said to have left who did not, unless its observers agreed, or
    /// somebody else said so before (P5).
    fn justified(&mut self, sim: &mut impl Truth, observer: ServerIndex, life: u32, event: Event) {
        if !sim.is_alive(observer) || sim.life(observer) != life {
            return;
        }
        if event.id == sim.server_id(observer) {
            if !sim.was_told_to_leave(event.id, event.epoch.start) {
                sim.fail(format!("server {observer} saw itself leave and was not told to: {event:?} (P3)"));
            }
            return;
        }
        let began_anew = sim.last_epoch(event.id).is_some_and(|last| last.start > event.epoch.start);
        if began_anew || sim.was_told_to_leave(event.id, event.epoch.start) {
            return;
        }
        // By now it may have dropped others, too.
        let Some(log) = self.logs.get(&(observer, life)) else { return };
        let view = log.present(&self.ids);
        let (plan, now) = (&self.plan, sim.now());
        let reaches = |other| !is_disturbed(plan, now, observer, other);
        let found = self.opinions.verdict(sim, observer, view, event, reaches);
        if let Err(fault) = found {
            sim.fail(format!("server {observer} saw {event:?}: {fault} (P5)"));
        }
    }

    /// Nobody leaves who is there, unless much went wrong with it (P8), or with
    /// whoever thinks so.
    fn left(&mut self, sim: &mut impl Truth, observer: ServerIndex, event: Event) {
        let is_subject = |&server: &ServerIndex| sim.is_here(server, event.id, event.epoch.start);
        let Some(subject) = self.owners.get(&event.id).copied().filter(is_subject) else {
            return;
        };
        self.wrong.push((observer, subject));
        if self.is_stable(sim, observer, subject) {
            sim.fail(format!("server {observer} lost sight of {subject}, which was well (P8)"));
        }
    }

    /// Whether somebody waits to be let in again.
    pub fn is_damped(&self, sim: &impl Truth) -> bool {
        (0..self.servers).filter_map(|server| sim.knows(server)).any(|(_, unsettled)| unsettled[2] > 0)
    }

    /// Long after the last trouble all know the same of those who are there, and
    /// nothing of membership is under way: or it would be for ever.
    pub fn settled(&self, sim: &mut impl Truth) {
        let mut before = None;
        for server in 0..self.servers {
            let Some((hash, unsettled)) = sim.knows(server) else { continue };
            if unsettled != [0; 4] {
                return sim.fail(format!("server {server} has not settled: {unsettled:?}"));
            }
            if before.replace(hash).is_some_and(|before| before != hash) {
                return sim.fail(format!("server {server} and one before it do not know the same (P9)"));
            }
        }
    }

    /// Everybody sees everybody, and nobody else (P9).
    pub fn converged(&self, sim: &mut impl Truth, when: &str) {
        if let Some(fault) = sim.differ() {
            return sim.fail(format!("{fault} {when} (P9)"));
        }
        for (&(server, life), log) in &self.logs {
            let node = sim.node(server).filter(|_| sim.life(server) == life);
            if let Some(fault) = node.and_then(|node| log.differs(node.membership().view(), &self.ids, true)) {
                return sim.fail(format!("server {server} {when}: {fault}"));
            }
        }
    }
}

/// Whether something may have kept two servers from hearing each other. (One
/// that has been started anew has no opinion that is settled.)
fn is_disturbed(plan: &Plan, now: Instant, one: ServerIndex, other: ServerIndex) -> bool {
    let either = |server| server == one || server == other;
    let felt = |memory| move |(at, fault): &&(Instant, Fault)| is_recent(now, *at, fault, memory);
    let apart = plan.iter().filter(felt(SETTLED)).any(|(_, fault)| match *fault {
        Fault::Cut { a, b, .. } | Fault::Reset { a, b } => either(a) && either(b),
        Fault::Split { below, .. } => (one < below) != (other < below),
        Fault::Weak { from, to, .. } => {
            from.contain(one) && to.contain(other) || from.contain(other) && to.contain(one)
        }
        Fault::Jump { server, .. } | Fault::Version { server, .. } => either(server),
        // It may have been held for gone, and be let in again only now.
        Fault::Pause { server, lasting } => server == other && lasting > STALL,
        _ => false,
    });
    let still = |fault: &Fault| matches!(*fault, Fault::Pause { server, .. } if either(server));
    apart || plan.iter().filter(felt(AWAKE)).any(|(_, fault)| still(fault))
}

/// Whether a fault at `at` was felt within `memory` before `now`.
fn is_recent(now: Instant, at: Instant, fault: &Fault, memory: Duration) -> bool {
    at <= now && now <= at + fault.felt() + memory
}
