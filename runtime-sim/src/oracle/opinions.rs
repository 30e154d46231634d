//! What every server thinks of those that it observes, over time: whether a
//! verdict had its quorum (P5).

use std::{collections::BTreeMap, time::Duration};

use circuit_core::{
    Epoch, Instant, ServerId,
    membership::{Event, Opinion, rings::Rings},
};

use super::Truth;
use crate::ServerIndex;

/// Who held a server for down within this time may have been counted so.
const RECENT: Duration = Duration::from_millis(6_600);
/// Who does not give up a server for so long has answered so.
pub(super) const SETTLED: Duration = Duration::from_millis(6_600);

/// Whoever observes more than this, as it looks around, is looked at now and then:
/// all that it thinks, whenever anything happens to it, would be too much.
const WIDE: usize = 64;
const NOW_AND_THEN: Duration = Duration::from_millis(20);

/// One server's opinion of another.
#[derive(Clone, Copy, Debug)]
struct Held {
    opinion: Opinion,
    since: Instant,
    /// When it was last held for down, at most.
    down: Option<Instant>,
}

/// The opinions of one server, in one of its lives.
#[derive(Debug, Default)]
struct Mind {
    life: u32,
    /// When it was last looked at.
    at: Instant,
    /// The events it knew of when it was last looked at, if it had no doubts.
    quiet: Option<u64>,
    /// When it is to be looked at again, if it observes many.
    again: Instant,
    held: BTreeMap<ServerId, Held>,
}

#[derive(Debug, Default)]
pub(super) struct Opinions {
    of: BTreeMap<ServerIndex, Mind>,
    /// At which epochs servers were last found gone, by anybody.
    found: BTreeMap<ServerId, Epoch>,
}

impl Opinions {
    /// Notes what a server thinks now.
    pub(super) fn note(&mut self, sim: &impl Truth, server: ServerIndex) {
        let Some(node) = sim.node(server) else {
            return; // what it said last may count for a while
        };
        let (now, life) = (sim.now(), sim.life(server));
        let mind = self.of.entry(server).or_default();
        if mind.life != life {
            // What it said before it began anew may count for a while.
            let at = mind.at;
            let said = mind.held.iter().filter(|(_, held)| held.was_down(at));
            let said = said.map(|(&id, _)| (id, Held { opinion: Opinion::None, since: now, down: Some(at) }));
            *mind = Mind { life, held: said.collect(), ..Mind::default() };
        }
        mind.at = now;
        // Whoever asks nobody, and sees the same, has not changed its mind.
        let doubts = node.membership().unsettled()[0] > 0;
        let quiet = (!doubts).then(|| node.membership().view().events());
        if quiet.is_some() && mind.quiet == quiet {
            return;
        }
        let is_wide = node.membership().degree() > WIDE;
        if is_wide && now < mind.again {
            return;
        }
        (mind.quiet, mind.again) = (quiet, now + NOW_AND_THEN);
        let (mut observed, mut new, mut old) = (node.membership().observed().peekable(), Vec::new(), Vec::new());
        for (&id, held) in &mut mind.held {
            while let Some(found) = observed.next_if(|found| found.0 < id) {
                new.push(found);
            }
            let opinion = observed.next_if(|found| found.0 == id).map_or(Opinion::None, |found| found.1);
            held.turn(now, opinion);
            if held.opinion == Opinion::None && held.since + RECENT <= now {
                old.push(id);
            }
        }
        new.extend(observed);
        let noted = new.into_iter().map(|(id, opinion)| (id, Held { opinion, since: now, down: None }));
        mind.held.extend(noted);
        for id in old {
            mind.held.remove(&id);
        }
    }

    /// Whether an observer that dropped a server had reason to. Only the first
    /// that does is asked: from it all others have it. Whoever held the server
    /// for down lately counts against it; for it count those that did not
    /// all the time, and that nothing kept the observer from hearing.
    pub(super) fn verdict(
        &mut self,
        sim: &impl Truth,
        observer: ServerIndex,
        view: impl Iterator<Item = ServerId>,
        left: Event,
        reaches: impl Fn(ServerIndex) -> bool,
    ) -> Result<(), String> {
        let subject = left.id;
        if self.found.get(&subject).is_some_and(|found| *found >= left.epoch) {
            return Ok(());
        }
        self.found.insert(subject, left.epoch);
        let ring = Rings::among(subject, view).set();
        let (mut down, mut up) = (1, Vec::new()); // itself is one of them
        for other in (0..sim.servers()).filter(|&other| other != observer) {
            let Some(mind) = self.of.get(&other) else { continue };
            let is_here = sim.is_alive(other) && sim.life(other) == mind.life;
            let now = sim.node(other).filter(|_| is_here).map(|node| node.membership().opinion_of(subject));
            if now == Some(Opinion::Down) {
                down += 1; // and perhaps it was not looked at since
                continue;
            }
            let Some(held) = mind.held.get(&subject) else { continue };
            if !is_here {
                down += usize::from(held.was_down(mind.at) && mind.at + RECENT > sim.now());
            } else if held.was_down(sim.now()) {
                down += 1;
            } else if ring.contains(&sim.server_id(other)) && held.is_settled(sim.now()) && reaches(other) {
                up.push(other);
            }
        }
        if 10 * down < 7 * (down + up.len()) {
            return Err(format!("at most {down} of its observers held it for down, and servers {up:?} did not"));
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
