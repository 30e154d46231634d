//! What must be true of every observer's log, by somebody who knows the truth.

use std::{collections::BTreeMap, time::Duration};

use circuit_core::{
    Epoch, Instant, ServerId,
    membership::{Event, Record},
};

use super::{
    is_recent,
    verdicts::{Opinions, SETTLED},
};
use crate::{
    ServerIndex, Sim,
    faults::{Fault, Plan},
};

/// For so long after a fault its consequences may show.
const MEMORY: Duration = Duration::from_secs(20);
/// A server that stands still for longer may be held for dead (P8).
const STALL: Duration = Duration::from_millis(3_900);
/// With so many servers one cut is less than a fifth of anybody's observers.
const MANY: usize = 12;

/// One incarnation of an observer, and what it saw.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) events: Vec<Event>,
    present: BTreeMap<ServerId, Epoch>,
    last_join: BTreeMap<ServerId, Epoch>,
}

pub(super) struct Oracle {
    servers: usize,
    plan: Plan,
    logs: BTreeMap<(ServerIndex, u32), Log>,
    opinions: Opinions,
    joins: u64,
    leaves: u64,
    /// Of servers that were alive.
    wrong: u64,
}

impl Oracle {
    pub(super) fn new(servers: usize, plan: Plan) -> Self {
        let (logs, opinions) = (BTreeMap::new(), Opinions::default());
        Self { servers, plan, logs, opinions, joins: 0, leaves: 0, wrong: 0 }
    }

    pub(super) fn log(&self, server: ServerIndex, life: u32) -> Option<&Log> {
        self.logs.get(&(server, life))
    }

    pub(super) fn count(&self) -> u64 {
        self.joins + self.leaves
    }

    pub(super) fn figures(&self) -> BTreeMap<String, u64> {
        let of = |what: &str, count| (what.to_owned(), count);
        [of("joins", self.joins), of("leaves", self.leaves), of("leaves of servers that were alive", self.wrong)].into()
    }

    /// A server may have changed its mind.
    pub(super) fn acted(&mut self, sim: &Sim, server: ServerIndex) {
        self.opinions.note(sim, server);
    }

    /// An observer saw somebody join or leave.
    pub(super) fn event(&mut self, sim: &mut Sim, server: ServerIndex, life: u32, event: Event) {
        if event.joined {
            self.joins += 1;
        } else {
            self.leaves += 1;
        }
        let own = sim.node(server).filter(|_| sim.life(server) == life).map(circuit_core::node::Node::id);
        let log = self.logs.entry((server, life)).or_default();
        let first = log.events.is_empty();
        if let Err(fault) = log.add(event) {
            return sim.fail(format!("server {server}: {fault}: {event:?}"));
        }
        if first && own.is_some_and(|own| own != event.id) {
            return sim.fail(format!("server {server} saw {event:?} before itself (P3)"));
        }
        if let Some(fault) = log.differs(sim, server, life) {
            return sim.fail(format!("server {server} after {event:?}: {fault}"));
        }
        if event.joined && sim.issued(event.id).is_none_or(|issued| issued < event.epoch) {
            return sim.fail(format!("server {server} saw {event:?}, which its owner never was (P5)"));
        }
        if !event.joined {
            self.justified(sim, server, life, event);
            self.left(sim, server, event);
        }
    }

    /// Nobody is said to have left who did not, unless its observers agreed, or
    /// somebody else said so before (P5).
    fn justified(&mut self, sim: &mut Sim, observer: ServerIndex, life: u32, event: Event) {
        let Some(node) =
            sim.node(observer).filter(|_| sim.life(observer) == life && event.id != sim.server_id(observer))
        else {
            return; // it goes itself
        };
        let began_anew = sim.issued(event.id).is_some_and(|issued| issued.start > event.epoch.start);
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
        let Some(subject) = (0..self.servers).find(is_subject) else {
            return;
        };
        self.wrong += 1;
        if self.is_protected(sim, subject) && self.is_protected(sim, observer) {
            sim.fail(format!("server {observer} lost sight of {subject}, which was well (P8)"));
        }
    }

    /// Whether P8 promises that this server is not declared gone now.
    fn is_protected(&self, sim: &Sim, server: ServerIndex) -> bool {
        let felt = self.plan.iter().filter(|(at, fault)| is_recent(sim.now(), *at, fault, MEMORY));
        let mut cuts = 0;
        for (_, fault) in felt {
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

    /// Before anything goes wrong everybody sees everybody.
    pub(super) fn booted(&self, sim: &mut Sim) {
        self.all_agree(sim, "after the boot");
    }

    /// Whether somebody waits to be let in again.
    pub(super) fn is_damped(&self, sim: &Sim) -> bool {
        (0..self.servers).filter_map(|server| sim.node(server)).any(|node| node.membership().unsettled()[2] > 0)
    }

    /// Everybody sees everybody, and nobody else (P9).
    pub(super) fn converged(&self, sim: &mut Sim) {
        self.all_agree(sim, "after all was healed (P9)");
        for (&(server, life), log) in &self.logs {
            if let Some(fault) = log.differs(sim, server, life) {
                return sim.fail(format!("server {server} after all was healed: {fault}"));
            }
        }
    }

    fn all_agree(&self, sim: &mut Sim, when: &str) {
        let mut truth: Vec<(ServerId, u32)> = Vec::new();
        for server in 0..self.servers {
            let Some(node) = sim.node(server) else {
                return sim.fail(format!("server {server} is not there {when}"));
            };
            truth.push((node.id(), node.membership().epoch().start));
        }
        truth.sort_unstable();
        for server in 0..self.servers {
            let seen: Vec<(ServerId, u32)> = sim.node(server).map_or_else(Vec::new, |node| {
                node.membership().view().all_live().map(|record| (record.id, record.epoch.start)).collect()
            });
            if seen != truth {
                let missing = truth.iter().filter(|one| !seen.contains(one)).count();
                let extra: Vec<_> = seen.iter().filter(|one| !truth.contains(one)).collect();
                return sim.fail(format!(
                    "server {server} does not see {missing} of {} servers, and sees {extra:?} {when}",
                    truth.len()
                ));
            }
        }
    }
}

/// Whether something may have kept two servers from hearing each other.
fn is_disturbed(plan: &Plan, now: Instant, one: ServerIndex, other: ServerIndex) -> bool {
    let either = |server| server == one || server == other;
    plan.iter().filter(|(at, fault)| is_recent(now, *at, fault, SETTLED)).any(|(_, fault)| match *fault {
        Fault::Cut { a, b, .. } | Fault::Reset { a, b } => either(a) && either(b),
        Fault::Split { below, .. } => (one < below) != (other < below),
        Fault::Pause { server, .. } | Fault::Crash { server, .. } | Fault::Leave { server, .. } => either(server),
        Fault::CrashClient { .. } => false,
    })
}

impl Log {
    /// P1, and that numbers are consecutive.
    fn add(&mut self, event: Event) -> Result<(), &'static str> {
        if event.seq != self.events.len() as u64 + 1 {
            return Err("an event out of order");
        }
        self.events.push(event);
        if !event.joined {
            return self.present.remove(&event.id).map(drop).ok_or("a leave without a join (P1)");
        }
        if self.present.insert(event.id, event.epoch).is_some() {
            return Err("a join without a leave (P1)");
        }
        match self.last_join.insert(event.id, event.epoch) {
            Some(before) if before >= event.epoch => Err("a join at an epoch that was before (P1)"),
            _ => Ok(()),
        }
    }

    /// What is there is the fold of the log (P2). The view may be ahead of what
    /// was told of it.
    fn differs(&self, sim: &Sim, server: ServerIndex, life: u32) -> Option<&'static str> {
        let view = sim.node(server).filter(|_| sim.life(server) == life)?.membership().view();
        let told = self.events.len() as u64;
        if view.events() != told {
            return (view.events() < told).then_some("there are more events than the view knows of (P2)");
        }
        // A rise is no event; another start is another incarnation.
        let is_told =
            |record: &Record| self.present.get(&record.id).is_some_and(|epoch| epoch.start == record.epoch.start);
        let same = view.len() == self.present.len() && view.all_live().all(is_told);
        (!same).then_some("its view is not the fold of its log (P2)")
    }
}
