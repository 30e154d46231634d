//! What follows from a record: who is there, and who observes whom.

use core::time::Duration;

use super::{
    MAX_SERVERS, Membership, Output, Record, State,
    message::{Message, News},
    rings::Rings,
};
use crate::{Epoch, Instant, ServerId};

/// How long somebody whose death is known second-hand has to refute it.
const REFUTE_WITHIN: Duration = Duration::from_secs(5);
/// The fewest records of the gone that are kept; with more servers than half of
/// that, twice their number.
const TOMBSTONES: usize = 4_096;

impl Membership {
    /// Somebody said this of a server.
    pub(super) fn learn(&mut self, now: Instant, news: News, from: Option<ServerId>) {
        let record = news.record;
        if record.id == self.me {
            return self.defend(now, record, from);
        }
        let known = self.view.get(record.id).copied();
        if known.is_some_and(|known| known.rank() >= record.rank()) {
            return;
        }
        if known.is_none() && self.view.known() >= MAX_SERVERS {
            return;
        }
        // Whoever is not here has no part in verdicts.
        let verdict = news.verdict && from.is_none_or(|from| self.view.live(from).is_some());
        let alive = known.is_some_and(|known| known.state == State::Alive);
        if record.state == State::Dead && !verdict && alive {
            return self.accuse(now, record, from);
        }
        // Of the gone that nobody here knew, nobody needs to hear.
        if known.is_some() || record.state == State::Alive {
            self.flood.push(News { record, verdict }, from, now);
        }
        self.adopt(now, record);
    }

    /// Puts a record in its place, with all that follows.
    pub(super) fn adopt(&mut self, now: Instant, record: Record) {
        let id = record.id;
        let before = self.view.get(id).copied();
        if self.accused.get(&id).is_some_and(|(accusation, _)| accusation.rank() <= record.rank()) {
            self.accused.remove(&id);
        }
        if let Some(left) = self.view.put(record) {
            self.out.push_back(Output::Event(left));
        }
        self.inquiries.remove(&id);
        if record.state == State::Alive {
            if self.view.live(id).is_none() && self.admission.decide(now, &record, before.as_ref(), self.view.len()) {
                self.admit(now, id);
                for other in self.admission.healed(now, self.view.len()) {
                    self.admit(now, other);
                }
            }
        } else {
            self.admission.forget(id);
            self.bury(now, record);
        }
        if self.view.live(id).is_none() {
            self.close_rings(now, id);
        }
    }

    /// Lets a server in.
    pub(super) fn admit(&mut self, now: Instant, id: ServerId) {
        let Some(joined) = self.view.admit(id) else {
            return;
        };
        self.out.push_back(Output::Event(joined));
        self.heal.is_back(id);
        if self.rings.offer(id) {
            self.rewatch(now);
        }
    }

    /// A server is not there any more: others may be next to each other now.
    fn close_rings(&mut self, now: Instant, id: ServerId) {
        self.drop_votes(id);
        self.sweep.remove(&id);
        if self.rings.contains(id) {
            self.rings = Rings::among(self.me, self.view.all_live().map(|record| record.id));
        }
        if self.edges.contains_key(&id) {
            self.rewatch(now);
        }
    }

    /// Keeps in mind who is gone, within limits.
    fn bury(&mut self, now: Instant, record: Record) {
        self.gone.push_back(record.id);
        if record.state == State::Dead {
            self.heal.died(now, record.id, &mut self.rng);
        }
        while self.gone.len() > TOMBSTONES.max(2 * self.view.len()) {
            if let Some(oldest) = self.gone.pop_front()
                && !self.gone.contains(&oldest)
            {
                self.view.forget(oldest);
                self.heal.is_back(oldest);
            }
        }
    }

    /// Somebody holds a server for dead that is here: it has a while to say
    /// that it is not, and is to hear of it.
    fn accuse(&mut self, now: Instant, record: Record, from: Option<ServerId>) {
        if self.accused.get(&record.id).is_some_and(|(known, _)| known.rank() >= record.rank()) {
            return;
        }
        self.accused.insert(record.id, (record, now + REFUTE_WITHIN));
        self.flood.push(News { record, verdict: false }, from, now);
    }

    pub(super) fn believe_accusations(&mut self, now: Instant) {
        let due = self.accused.values().filter(|(_, at)| *at <= now).map(|(record, _)| *record);
        for record in due.collect::<alloc::vec::Vec<_>>() {
            self.accused.remove(&record.id);
            self.adopt(now, record);
        }
    }

    /// Somebody said something of this server itself: if that is not what it
    /// says, it says so louder.
    fn defend(&mut self, now: Instant, record: Record, from: Option<ServerId>) {
        let Some(&own) = self.view.get(self.me) else {
            return;
        };
        if self.leaving.is_some() || record.rank() <= own.rank() {
            return;
        }
        let Epoch { start, rise } = record.epoch;
        let epoch = match record.state {
            State::Left => Epoch { start: start.saturating_add(1), rise: 0 },
            _ => Epoch { start, rise: rise.saturating_add(1) },
        };
        let record = Record { epoch, ..own };
        self.view.raise(record);
        let news = News { record, verdict: true };
        self.flood.push(news, None, now);
        if let Some(from) = from {
            self.inform(from, news); // it may be no neighbour
        }
    }

    /// Tells a server that it is held for gone, if it is.
    pub(super) fn confront(&mut self, id: ServerId) {
        if let Some(&record) = self.view.get(id)
            && record.state != State::Alive
        {
            self.inform(id, News { record, verdict: true });
        }
    }

    /// Tells one server what is known of another, or of itself.
    pub(super) fn inform(&mut self, to: ServerId, news: News) {
        self.say(to, &Message::News(alloc::vec![news]));
    }
}
