//! What follows from a record: who is there, and who observes whom.

use alloc::collections::BTreeSet;
use core::time::Duration;

use super::{
    MAX_SERVERS, Membership, Output, Record, State,
    edges::Edge,
    message::{Message, News},
    rings::Rings,
};
use crate::{Epoch, Instant, ServerId};

/// How long somebody whose death is known second-hand has to refute it.
const REFUTE_WITHIN: Duration = Duration::from_secs(5);
/// The fewest records of the gone that are kept. Where more than half of that were
/// ever there at once, twice as many as were: however many die in one moment, who
/// has just gone is not forgotten before all have heard of it. And half of all that
/// may be known at most, so that the gone keep nobody out.
pub const TOMBSTONES: usize = 4_096;

impl Membership {
    /// Somebody said this of a server.
    pub(super) fn learn(&mut self, now: Instant, news: News, from: Option<ServerId>) {
        let record = news.record;
        if record.id == self.me {
            return self.defend(now, news, from);
        }
        if from.is_some_and(|from| self.flood.is_told(&news, from)) {
            return;
        }
        let known = self.view.get(record.id);
        if known.is_some_and(|known| known.rank() >= record.rank()) {
            return;
        }
        if known.is_none() && self.view.known() >= MAX_SERVERS {
            return;
        }
        let is_death = record.state == State::Dead;
        let verdict = news.verdict && (!is_death || from.is_none_or(|from| self.has_part(now, from)));
        let is_far = |from| self.view.live(from).is_some() && !self.edges.contains_key(&from);
        let alive = known.is_some_and(|known| known.state == State::Alive);
        if is_death && alive && news.verdict && from.is_some_and(is_far) && self.hears_neighbours(now) {
            return; // the neighbours say it, too, if it is known where this server is
        }
        if is_death && alive && !verdict {
            return self.accuse(now, record, from);
        }
        // Of the gone that nobody here knew, nobody needs to hear.
        if known.is_some() || record.state == State::Alive {
            self.flood.push(News { record, verdict }, from, now);
        }
        self.adopt(now, record);
    }

    /// Whether a server has a part in verdicts: not if it is not here, nor if it was
    /// away and may still say what was found where it was.
    fn has_part(&self, now: Instant, id: ServerId) -> bool {
        let was_here = |edge: &Edge| !edge.was_in_doubt(now);
        self.view.live(id).is_some() && self.edges.get(&id).is_none_or(was_here)
    }

    /// Puts a record in its place, with all that follows.
    pub(super) fn adopt(&mut self, now: Instant, record: Record) {
        let id = record.id;
        let before = self.view.get(id);
        if self.accused.get(&id).is_some_and(|(accusation, _)| accusation.rank() <= record.rank()) {
            self.accused.remove(&id);
        }
        if let Some(left) = self.view.put(record) {
            self.out.push_back(Output::Event(left));
        }
        self.inquiries.remove(&id);
        if record.state == State::Alive {
            let is_back = |before: Record| before.state != State::Alive || before.epoch.start != record.epoch.start;
            if before.is_some_and(is_back) {
                self.out.push_back(Output::Anew(id));
            }
            if self.view.live(id).is_none() && self.admission.decide(now, &record, before.as_ref(), self.view.len()) {
                self.admit(now, id);
                for other in self.admission.healed(now, self.view.len()) {
                    self.admit(now, other);
                }
            }
            if before.is_some_and(|before| before.epoch.start != record.epoch.start) && self.view.live(id).is_some() {
                self.observe_anew(now, id);
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
        self.sweep.close(id);
        if self.rings.contains(id) {
            self.rings = Rings::among(self.me, self.view.ids());
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
        while self.gone.len() > TOMBSTONES.max(2 * self.view.most()).min(MAX_SERVERS / 2) {
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
        self.accused_due = self.accused_due.min(now + REFUTE_WITHIN);
        self.flood.push(News { record, verdict: false }, from, now);
    }

    pub(super) fn believe_accusations(&mut self, now: Instant) {
        if now < self.accused_due {
            return;
        }
        let due = self.accused.values().filter(|(_, at)| *at <= now).map(|(record, _)| *record);
        for record in due.collect::<alloc::vec::Vec<_>>() {
            self.accused.remove(&record.id);
            self.adopt(now, record);
        }
        self.accused_due = self.accused.values().map(|(_, at)| *at).min().unwrap_or(Instant::NEVER);
    }

    /// Who was accused before this server stood still has its time from now on.
    pub(super) fn defer_accusations(&mut self, now: Instant) {
        self.accused.values_mut().for_each(|(_, at)| *at = now + REFUTE_WITHIN);
    }

    /// Somebody said something of this server itself: if that is not what it
    /// says, it says so louder.
    fn defend(&mut self, now: Instant, news: News, from: Option<ServerId>) {
        let claim = news.record;
        if claim.rank() <= self.own.rank() || self.leaving.is_some() {
            return;
        }
        match claim.state {
            State::Dead if news.verdict || self.trial.is_some() => self.begin_trial(now, news, from),
            State::Dead => self.hear_accusation(now, claim, from),
            State::Alive | State::Left => self.rise(now, claim, from.into_iter().collect()),
        }
    }

    /// Says something of itself that exceeds `claim`, to all, and to `those` at
    /// once, who may be no neighbours.
    pub(super) fn rise(&mut self, now: Instant, claim: Record, those: BTreeSet<ServerId>) {
        if claim.rank() <= self.own.rank() {
            return;
        }
        let Epoch { start, rise } = claim.epoch;
        let epoch = match claim.state {
            State::Left => Epoch { start: start.saturating_add(1), rise: 0 },
            _ => Epoch { start, rise: rise.saturating_add(1) },
        };
        self.own.epoch = epoch;
        self.view.raise(self.own);
        let news = News { record: self.own, verdict: true };
        self.flood.push(news, None, now);
        for id in those {
            self.inform(id, news);
        }
    }

    /// Tells a server that it is held for gone, if it is.
    pub(super) fn confront(&mut self, id: ServerId) {
        if let Some(record) = self.view.get(id)
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

#[cfg(test)]
mod tests {
    use super::{
        super::{
            rig::{ME, Rig, alive, dead},
            trial::OVERTAKEN,
        },
        *,
    };

    #[test]
    fn who_is_back_can_be_dialled_at_once() {
        let mut rig = Rig::among(4);
        rig.news(2, Record { epoch: Epoch { start: 1, rise: 1 }, ..alive(3) }, true);
        assert_eq!(rig.anew, [], "it was not away");
        rig.news(2, Record { epoch: Epoch { start: 1, rise: 1 }, ..dead(3) }, true);
        rig.news(2, Record { epoch: Epoch { start: 1, rise: 2 }, ..alive(3) }, true);
        rig.news(2, Record { epoch: Epoch { start: 2, rise: 0 }, ..alive(4) }, true);
        assert_eq!(rig.anew, [3, 4]);
    }

    #[test]
    fn a_verdict_is_believed_at_once_and_hearsay_after_a_while() {
        let mut rig = Rig::among(4);
        rig.news(2, dead(3), true);
        assert!(rig.only_lost(3));
        rig.news(2, dead(4), false);
        assert!(rig.sees(4));
        rig.live(REFUTE_WITHIN - Duration::from_millis(1), &[]);
        assert!(rig.sees(4));
        rig.live(Duration::from_millis(1), &[]);
        assert!(!rig.sees(4));
    }

    #[test]
    fn who_rises_above_hearsay_stays_without_an_event() {
        let mut rig = Rig::among(4);
        rig.news(2, dead(4), false);
        rig.news(2, Record { epoch: Epoch { start: 1, rise: 1 }, ..alive(4) }, true);
        rig.live(2 * REFUTE_WITHIN, &[]);
        assert!(rig.sees(4) && rig.events.is_empty());
    }

    #[test]
    fn who_is_not_here_has_no_part_in_verdicts() {
        let mut rig = Rig::among(4);
        rig.news(9, dead(4), true);
        assert!(rig.sees(4));
        assert!(rig.one.accused.contains_key(&ServerId(4)));
    }

    #[test]
    fn what_one_that_is_no_neighbour_found_is_left_to_those_that_are() {
        let mut rig = Rig::among(60);
        let is_far = |id: &u64| !rig.one.edges.contains_key(&ServerId(*id));
        let [far, other] = [(2..=60).find(is_far), (2..=60).rev().find(is_far)].map(Option::unwrap);
        rig.news(far, dead(other), true);
        assert!(rig.sees(other) && rig.one.accused.is_empty());
        let near = rig.one.edges.keys().next().unwrap().0;
        rig.news(near, dead(other), true);
        assert!(!rig.sees(other));
    }

    #[test]
    fn nor_has_who_was_silent_for_long() {
        for silent in [false, true] {
            let mut rig = Rig::among(4);
            rig.live(Duration::from_secs(7), if silent { &[3] } else { &[] });
            rig.answer(3);
            rig.news(3, dead(4), true);
            assert_eq!((rig.sees(4), rig.one.accused.contains_key(&ServerId(4))), (silent, silent));
        }
    }

    #[test]
    fn a_server_that_is_held_for_gone_says_so_louder() {
        let mut rig = Rig::among(3);
        let mut said = |record: Record| {
            rig.forget();
            rig.news(2, record, record.state != State::Dead);
            rig.pass(2 * OVERTAKEN);
            let news = rig.news_of(ME.0);
            assert!(news.iter().all(|news| news.record.state == State::Alive && news.verdict));
            assert!(rig.events.is_empty(), "that is no event");
            news.iter().map(|news| (news.record.epoch.start, news.record.epoch.rise)).next()
        };
        assert_eq!(said(dead(ME.0)), Some((1, 1)));
        assert_eq!(said(dead(ME.0)), None, "that is over");
        let later = Record { epoch: Epoch { start: 1, rise: 5 }, ..alive(ME.0) };
        assert_eq!(said(later), Some((1, 6)));
        assert_eq!(said(Record { state: State::Left, ..alive(ME.0) }), Some((2, 0)));
        let loudest = Epoch { start: u32::MAX, rise: u32::MAX };
        assert_eq!(said(Record { epoch: loudest, ..dead(ME.0) }), Some((u32::MAX, u32::MAX)));
    }

    #[test]
    fn one_that_left_may_come_again_at_its_next_start_only() {
        let mut rig = Rig::among(3);
        rig.news(2, Record { state: State::Left, ..alive(3) }, true);
        assert!(rig.only_lost(3));
        rig.news(2, Record { epoch: Epoch { start: 1, rise: 9 }, ..alive(3) }, true);
        assert!(!rig.sees(3));
        rig.news(2, Record { epoch: Epoch { start: 2, rise: 0 }, ..alive(3) }, true);
        assert!(rig.sees(3));
    }

    #[test]
    fn the_gone_are_kept_in_mind_within_limits() {
        let mut rig = Rig::among(3);
        for id in 10..10 + 2 * TOMBSTONES as u64 {
            rig.act(|one, now| one.adopt(now, dead(id)));
        }
        assert_eq!(rig.one.view().known(), 3 + TOMBSTONES);
        assert!(rig.one.view().get(ServerId(10)).is_none(), "the oldest are forgotten");
    }

    #[test]
    fn nobody_is_forgotten_who_was_there_a_moment_ago() {
        let mut rig = Rig::among(2);
        let all = 10..10 + 2 * TOMBSTONES as u64;
        all.clone().for_each(|id| rig.act(|one, now| one.adopt(now, alive(id))));
        all.clone().for_each(|id| rig.act(|one, now| one.adopt(now, dead(id))));
        assert_eq!(rig.one.view().len(), 2);
        assert!(all.clone().all(|id| rig.one.view().get(ServerId(id)).is_some()));
    }

    #[test]
    fn the_gone_keep_nobody_out() {
        let mut rig = Rig::among(2);
        for id in 10..10 + 2 * MAX_SERVERS as u64 {
            rig.act(|one, now| one.adopt(now, if id % 4 == 0 { alive(id) } else { dead(id) }));
        }
        assert_eq!(rig.one.tombstones(), MAX_SERVERS / 2);
    }

    #[test]
    fn the_number_of_servers_is_bounded() {
        let mut rig = Rig::among(2);
        for id in 10..10 + MAX_SERVERS as u64 {
            rig.act(|one, now| one.learn(now, News { record: alive(id), verdict: false }, None));
        }
        assert_eq!(rig.one.view().known(), MAX_SERVERS);
    }
}
