//! What every server thinks of those that it observes, over time: whether a
//! verdict had its quorum (P5).

use std::{collections::BTreeMap, time::Duration};

use circuit_core::{
    Epoch, Instant, ServerId,
    membership::{Event, Opinion, View, rings::Rings},
};

use crate::{ServerIndex, Sim};

/// Who held a server for down within this time may have been counted so.
const RECENT: Duration = Duration::from_secs(15);
/// Who does not give up a server for so long has answered so.
pub(super) const SETTLED: Duration = Duration::from_secs(6);

/// One server's opinion of another.
#[derive(Clone, Copy, Debug)]
struct Held {
    opinion: Opinion,
    since: Instant,
    /// When it was last held for down, at most.
    down: Option<Instant>,
}

#[derive(Debug, Default)]
pub(super) struct Opinions {
    /// By server, and its life.
    of: BTreeMap<ServerIndex, (u32, BTreeMap<ServerId, Held>)>,
    /// At which epochs servers were last found gone, by anybody.
    found: BTreeMap<ServerId, Epoch>,
}

impl Opinions {
    /// Notes what a server thinks now.
    pub(super) fn note(&mut self, sim: &Sim, server: ServerIndex) {
        let Some(node) = sim.node(server) else {
            self.of.remove(&server);
            return;
        };
        let (now, life) = (sim.now(), sim.life(server));
        let (of_life, held) = self.of.entry(server).or_default();
        if *of_life != life {
            (*of_life, *held) = (life, BTreeMap::new());
        }
        let mut seen = 0;
        for (id, opinion) in node.membership().observed() {
            let held = held.entry(id).or_insert(Held { opinion, since: now, down: None });
            held.turn(now, opinion);
            seen += 1;
        }
        if held.len() > seen {
            held.retain(|&id, held| {
                if !node.membership().observes(id) {
                    held.turn(now, Opinion::None);
                }
                held.opinion != Opinion::None || held.since + RECENT > now
            });
        }
    }

    /// Whether an observer that dropped a server had reason to. Only the first
    /// that does is asked: from it all others have it. Whoever held the server
    /// for down lately counts against it; for it count those that did not
    /// all the time, and that nothing kept the observer from hearing.
    pub(super) fn verdict(
        &mut self,
        sim: &Sim,
        observer: ServerIndex,
        view: &View,
        left: Event,
        reaches: impl Fn(ServerIndex) -> bool,
    ) -> Result<(), String> {
        let subject = left.id;
        if self.found.get(&subject).is_some_and(|found| *found >= left.epoch) {
            return Ok(());
        }
        self.found.insert(subject, left.epoch);
        let ring = Rings::among(subject, view.all_live().map(|record| record.id)).set();
        let (mut down, mut up) = (1, 0); // itself is one of them
        for other in (0..sim.settings().servers).filter(|&other| other != observer) {
            let Some(held) = self.of.get(&other).and_then(|(_, held)| held.get(&subject)) else {
                continue;
            };
            if held.was_down(sim.now()) {
                down += 1;
            } else if ring.contains(&sim.server_id(other)) && held.is_settled(sim.now()) && reaches(other) {
                up += 1;
            }
        }
        if 10 * down < 7 * (down + up) {
            return Err(format!("at most {down} of its observers held it for down, and {up} did not"));
        }
        Ok(())
    }
}

impl Held {
    fn was_down(&self, now: Instant) -> bool {
        self.opinion == Opinion::Down || self.down.is_some_and(|at| at + RECENT > now)
    }

    fn is_settled(&self, now: Instant) -> bool {
        self.opinion != Opinion::None && self.since + SETTLED <= now
    }

    fn turn(&mut self, now: Instant, opinion: Opinion) {
        let counts_the_same = |one| matches!(one, Opinion::Up | Opinion::Waiting);
        if self.opinion == opinion || counts_the_same(self.opinion) && counts_the_same(opinion) {
            return;
        }
        // Whoever stops observing may have said so just before.
        if self.opinion == Opinion::Down || opinion == Opinion::None {
            self.down = Some(now);
        }
        (self.opinion, self.since) = (opinion, now);
    }
}
