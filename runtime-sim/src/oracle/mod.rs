//! What must be true of every observer's log, by somebody who knows the truth.
//!
//! An application hands on what it is told of members; the oracle checks P1-P3,
//! P5, P6 and P8 at every event, and P9 when it is asked to. (P4 is checked by
//! subscribers, P7 where servers pass on what hosts say.)

mod log;
mod opinions;

use std::{collections::BTreeMap, time::Duration};

use circuit_core::{Instant, ServerId, membership::Event};

use crate::{
    Figure, ServerIndex, Sim,
    faults::{Fault, Plan},
};
use log::Ids;
pub(crate) use log::Log;
use opinions::{Opinions, SETTLED};

/// For so long after a fault its consequences may show.
const MEMORY: Duration = Duration::from_secs(20);
/// A server that stands still for longer may be held for dead (P8).
const STALL: Duration = Duration::from_millis(3_900);
/// So long after a pause a server has heard what came meanwhile.
const AWAKE: Duration = Duration::from_secs(1);
/// With so many servers one cut is less than a fifth of anybody's observers.
const MANY: usize = 12;

/// Knows what happened, and compares what every server sees.
pub struct Oracle {
    servers: usize,
    /// Whose logs are kept: the servers below.
    kept: ServerIndex,
    plan: Plan,
    ids: Ids,
    /// Which server has an id, or had it last.
    owners: BTreeMap<ServerId, ServerIndex>,
    logs: BTreeMap<(ServerIndex, u32), Log>,
    opinions: Opinions,
    joins: u64,
    leaves: u64,
    /// Of servers that were alive.
    wrong: u64,
}

impl Oracle {
    /// For so many servers, with which `plan` goes wrong. The logs of the first
    /// `kept` are kept whole.
    pub fn new(servers: usize, plan: Plan, kept: ServerIndex) -> Self {
        let (ids, owners, logs, opinions) = Default::default();
        Self { servers, kept, plan, ids, owners, logs, opinions, joins: 0, leaves: 0, wrong: 0 }
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

    /// Leaves of servers that were alive.
    pub const fn wrong(&self) -> u64 {
        self.wrong
    }

    /// What was counted.
    pub fn figures(&self) -> Vec<Figure> {
        vec![
            Figure::count("joins", self.joins),
            Figure::count("leaves", self.leaves),
            Figure::count("leaves of servers that were alive", self.wrong),
        ]
    }

    /// A server may have changed its mind.
    pub fn acted(&mut self, sim: &Sim, server: ServerIndex) {
        self.opinions.note(sim, server);
    }

    /// An observer saw somebody join or leave.
    pub fn event(&mut self, sim: &mut Sim, server: ServerIndex, life: u32, event: Event) {
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
        let Some(log) = self.logs.get_mut(&(server, life)) else {
            return;
        };
        let first = log.count() == 0;
        if let Err(fault) = log.add(event, number) {
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
        if event.joined && !sim.was_issued(event.id, event.epoch) {
            return sim.fail(format!("server {server} saw {event:?}, which its owner never was (P5)"));
        }
        if !event.joined {
            self.justified(sim, server, life, event);
            self.left(sim, server, event);
        }
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
    fn justified(&mut self, sim: &mut Sim, observer: ServerIndex, life: u32, event: Event) {
        let Some(node) =
            sim.node(observer).filter(|_| sim.life(observer) == life && event.id != sim.server_id(observer))
        else {
            return; // it goes itself
        };
        let began_anew = sim.last_epoch(event.id).is_some_and(|last| last.start > event.epoch.start);
        if began_anew || sim.was_told_to_leave(event.id, event.epoch.start) {
            return;
        }
        let view = node.membership().view();
        let (plan, now) = (&self.plan, sim.now());
        let reaches = |other| !is_disturbed(plan, now, observer, other);
        let found = self.opinions.verdict(sim, observer, view, event, reaches);
        if let Err(fault) = found {
            sim.fail(format!("server {observer} saw {event:?}: {fault} (P5)"));
        }
    }

    /// Nobody leaves who is there, unless much went wrong with it (P8).
    fn left(&mut self, sim: &mut Sim, observer: ServerIndex, event: Event) {
        let is_subject = |&server: &ServerIndex| {
            sim.node(server).is_some_and(|node| {
                node.id() == event.id
                    && node.membership().view().live(event.id).is_some()
                    && node.membership().epoch().start == event.epoch.start
            })
        };
        let Some(subject) = self.owners.get(&event.id).copied().filter(is_subject) else {
            return;
        };
        self.wrong += 1;
        if self.is_protected(sim, subject) && self.is_protected(sim, observer) {
            sim.fail(format!("server {observer} lost sight of {subject}, which was well (P8)"));
        }
    }

    /// Whether P8 promises that this server is not declared gone now.
    fn is_protected(&self, sim: &Sim, server: ServerIndex) -> bool {
        let mut cuts = 0;
        for (_, fault) in self.plan.iter().filter(|(at, fault)| is_recent(sim.now(), *at, fault, MEMORY)) {
            match *fault {
                Fault::Cut { a, b, .. } if a == server || b == server => cuts += 1,
                Fault::Split { .. } => return false,
                Fault::Pause { server: paused, lasting } if paused == server && lasting > STALL => return false,
                Fault::Crash { server: gone, .. } | Fault::Leave { server: gone, .. } if gone == server => {
                    return false;
                }
                _ => {}
            }
        }
        cuts == 0 || cuts == 1 && self.servers >= MANY
    }

    /// Whether somebody waits to be let in again.
    pub fn is_damped(&self, sim: &Sim) -> bool {
        (0..self.servers).filter_map(|server| sim.node(server)).any(|node| node.membership().unsettled()[2] > 0)
    }

    /// Everybody sees everybody, and nobody else (P9).
    pub fn converged(&self, sim: &mut Sim, when: &str) {
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
        // It may have been held for gone, and be let in again only now.
        Fault::Pause { server, lasting } => server == other && lasting > STALL,
        _ => false,
    });
    let still = |fault: &Fault| matches!(*fault, Fault::Pause { server, .. } if either(server));
    apart || plan.iter().filter(felt(AWAKE)).any(|(_, fault)| still(fault))
}

/// Whether a fault at `at` was felt within `memory` before `now`.
fn is_recent(now: Instant, at: Instant, fault: &Fault, memory: Duration) -> bool {
    at <= now && now <= at + fault.lasting() + memory
}
