//! Verdicts: what the observers of a server find together.
//!
//! Who loses sight of a server it observes asks the others that do, and tells
//! them whenever its own opinion changes. Of those that can be asked, seven in
//! ten make a verdict; fewer than three are noise. In between, for long, the
//! rest joins in, so that nobody stays half dead.

#[cfg(test)]
mod tests;
mod votes;

use alloc::vec::Vec;

use super::{
    Membership, Record, State,
    message::{Message, News, Opinion},
    rings::Rings,
};
use crate::{Epoch, Instant, ServerId};
pub(super) use votes::Inquiry;
use votes::{ANSWER_WITHIN, REINFORCE_AFTER, Vote};

impl Membership {
    /// What this server thinks of another.
    pub(super) fn own_opinion(&self, subject: ServerId) -> Opinion {
        if self.inquiries.get(&subject).is_some_and(|inquiry| inquiry.reinforced) {
            return Opinion::Down;
        }
        let linked = self.peers.contains_key(&subject);
        self.edges.get(&subject).map_or(Opinion::None, |edge| edge.opinion(linked))
    }

    /// The opinion of an observed server may have changed: the other observers
    /// hear of it, if there is or should be an inquiry.
    pub(super) fn changed_mind(&mut self, now: Instant, subject: ServerId) {
        let own = self.own_opinion(subject);
        if own != Opinion::Up && !self.inquiries.contains_key(&subject) {
            return self.inquire(now, subject);
        }
        let Some(inquiry) = self.inquiries.get_mut(&subject).filter(|inquiry| inquiry.told != own) else {
            return;
        };
        inquiry.told = own;
        let (epoch, others) = (inquiry.epoch, inquiry.votes.keys().copied().collect::<Vec<_>>());
        for other in others {
            self.say(other, &Message::Opinion { subject, epoch, opinion: own, ask: false });
        }
        self.decide(now, subject);
    }

    /// Asks the other observers of a server what they think of it.
    fn inquire(&mut self, now: Instant, subject: ServerId) {
        let Some(&Record { epoch, .. }) = self.view.live(subject).filter(|record| record.state == State::Alive) else {
            return;
        };
        let observers = Rings::among(subject, self.view.all_live().map(|record| record.id)).set();
        let others: Vec<ServerId> = observers.into_iter().filter(|&id| id != self.me).collect();
        let votes = others.iter().map(|&id| (id, Vote::Asked)).collect();
        let contested = self.inquiries.remove(&subject).and_then(|before| before.contested);
        let told = self.own_opinion(subject);
        let contested = contested.filter(|_| told == Opinion::Up);
        let inquiry = Inquiry { epoch, votes, told, asked: now, contested, reinforced: false, counted: false };
        self.inquiries.insert(subject, inquiry);
        self.ask(subject, &others);
        self.decide(now, subject);
    }

    /// Asks some of the observers.
    fn ask(&mut self, subject: ServerId, others: &[ServerId]) {
        let Some(&Inquiry { epoch, told, .. }) = self.inquiries.get(&subject) else {
            return;
        };
        for &other in others {
            let known_down = self.edges.get(&other).is_some_and(|edge| edge.opinion(false) == Opinion::Down);
            if known_down && !self.peers.contains_key(&other) {
                self.set_vote(subject, other, Vote::Unreachable);
            } else {
                if let Some(inquiry) = self.inquiries.get_mut(&subject) {
                    inquiry.votes.entry(other).or_insert(Vote::Asked);
                }
                self.say(other, &Message::Opinion { subject, epoch, opinion: told, ask: true });
            }
        }
    }

    /// Others may observe it by now than when the inquiry began. Before a
    /// verdict they are asked as well, once: whether that is to be waited for.
    fn has_new_observers(&mut self, now: Instant, subject: ServerId) -> bool {
        let observers = Rings::among(subject, self.view.all_live().map(|record| record.id)).set();
        let Some(inquiry) = self.inquiries.get_mut(&subject).filter(|inquiry| !inquiry.counted) else {
            return false;
        };
        inquiry.counted = true;
        let is_new = |id: &ServerId| *id != self.me && !inquiry.votes.contains_key(id);
        let new: Vec<ServerId> = observers.into_iter().filter(is_new).collect();
        if new.is_empty() {
            return false;
        }
        inquiry.asked = now;
        self.ask(subject, &new);
        self.is_waiting(subject)
    }

    fn is_waiting(&self, subject: ServerId) -> bool {
        self.inquiries.get(&subject).is_some_and(|inquiry| inquiry.votes.values().any(|vote| *vote == Vote::Asked))
    }

    fn set_vote(&mut self, subject: ServerId, of: ServerId, vote: Vote) {
        if let Some(inquiry) = self.inquiries.get_mut(&subject) {
            inquiry.votes.insert(of, vote);
        }
    }

    /// Another observer says what it thinks.
    pub(super) fn opinion(
        &mut self,
        now: Instant,
        from: ServerId,
        subject: ServerId,
        epoch: Epoch,
        opinion: Opinion,
        ask: bool,
    ) {
        let Some(&known) = self.view.get(subject) else {
            return self.abstain(from, subject, epoch, ask);
        };
        if known.epoch > epoch || known.state != State::Alive {
            // It does not know yet.
            return self.inform(from, News { record: known, verdict: false });
        }
        if known.epoch < epoch || self.view.live(from).is_none() {
            return self.abstain(from, subject, epoch, ask); // it knows more, or is not there
        }
        let observed = self.edges.contains_key(&subject);
        if observed && opinion != Opinion::Up && !self.inquiries.contains_key(&subject) {
            self.inquire(now, subject);
        }
        self.set_vote(subject, from, Vote::Said(opinion));
        if ask {
            if self.own_opinion(subject) == Opinion::Up {
                self.probe(now, subject); // is that still so?
            }
            let opinion = self.own_opinion(subject);
            self.say(from, &Message::Opinion { subject, epoch, opinion, ask: false });
            if let Some(inquiry) = self.inquiries.get_mut(&subject) {
                inquiry.told = opinion;
            }
        }
        self.decide(now, subject);
    }

    /// Has no opinion of a server, and says so, or the other would wait for it.
    fn abstain(&mut self, from: ServerId, subject: ServerId, epoch: Epoch, asked: bool) {
        if asked {
            self.say(from, &Message::Opinion { subject, epoch, opinion: Opinion::None, ask: false });
        }
    }

    /// There is a link to an observer, perhaps another than before: what either
    /// said or asked on the last one may be lost.
    pub(super) fn resume_inquiries(&mut self, id: ServerId) {
        let with = self.inquiries.iter_mut().filter_map(|(&subject, inquiry)| {
            let vote = inquiry.votes.get_mut(&id)?;
            if *vote == Vote::Unreachable {
                *vote = Vote::Asked;
            }
            Some((subject, inquiry.epoch))
        });
        for (subject, epoch) in with.collect::<Vec<_>>() {
            let opinion = self.own_opinion(subject);
            self.say(id, &Message::Opinion { subject, epoch, opinion, ask: true });
        }
    }

    /// Whether an observer has still to answer.
    pub(super) fn is_asked(&self, id: ServerId) -> bool {
        self.inquiries.values().any(|inquiry| inquiry.votes.get(&id) == Some(&Vote::Asked))
    }

    /// An observer that was asked cannot be reached.
    pub(super) fn cannot_ask(&mut self, now: Instant, id: ServerId) {
        let asked: Vec<ServerId> = self
            .inquiries
            .iter()
            .filter(|(_, inquiry)| inquiry.votes.get(&id) == Some(&Vote::Asked))
            .map(|(&subject, _)| subject)
            .collect();
        for subject in asked {
            self.set_vote(subject, id, Vote::Unreachable);
            self.decide(now, subject);
        }
    }

    /// A server is gone, and what it thought with it.
    pub(super) fn drop_votes(&mut self, id: ServerId) {
        self.inquiries.remove(&id);
        for inquiry in self.inquiries.values_mut() {
            inquiry.votes.remove(&id);
        }
    }

    /// Counts, and acts on it.
    fn decide(&mut self, now: Instant, subject: ServerId) {
        let own = self.own_opinion(subject);
        let Some(inquiry) = self.inquiries.get_mut(&subject) else {
            return;
        };
        let count = inquiry.count(own);
        let complete = count.asked == 0 || inquiry.asked + ANSWER_WITHIN <= now;
        if own == Opinion::Down && complete && count.is_verdict() && !self.has_new_observers(now, subject) {
            return self.verdict(now, subject);
        }
        let Some(inquiry) = self.inquiries.get_mut(&subject) else {
            return;
        };
        if count.is_contested() {
            inquiry.contested.get_or_insert(now);
        } else if complete {
            inquiry.contested = None;
        }
        if own == Opinion::Up && count.down == 0 && complete {
            self.inquiries.remove(&subject);
        }
    }

    /// The observers agree: the server is gone, and all shall hear it.
    fn verdict(&mut self, now: Instant, subject: ServerId) {
        self.inquiries.remove(&subject);
        if let Some(&record) = self.view.live(subject) {
            let record = Record { state: State::Dead, ..record };
            self.learn(now, News { record, verdict: true }, None);
        }
    }

    pub(super) fn inquiries_due(&self) -> Option<Instant> {
        let due = |inquiry: &Inquiry| {
            let waits = inquiry.votes.values().any(|vote| *vote == Vote::Asked);
            let again = inquiry.asked + if waits { ANSWER_WITHIN } else { inquiry.again_after() };
            inquiry.contested.filter(|_| !inquiry.reinforced).map_or(again, |at| again.min(at + REINFORCE_AFTER))
        };
        self.inquiries.values().map(due).min()
    }

    fn ask_again(&mut self, now: Instant, subject: ServerId) {
        let up = self.own_opinion(subject) == Opinion::Up;
        let due = |inquiry: &&Inquiry| inquiry.asked + inquiry.again_after() <= now;
        let Some(inquiry) = self.inquiries.get(&subject).filter(due) else {
            return;
        };
        if !up || inquiry.contested.is_some() {
            self.inquire(now, subject);
        } else {
            self.inquiries.remove(&subject);
        }
    }

    /// A server is not observed any more: those who count on this one's opinion
    /// hear that it has none.
    pub(super) fn end_inquiries(&mut self) {
        let ended = self.inquiries.keys().copied().filter(|id| !self.edges.contains_key(id));
        for subject in ended.collect::<Vec<_>>() {
            let Some(inquiry) = self.inquiries.remove(&subject) else {
                continue;
            };
            let none = Message::Opinion { subject, epoch: inquiry.epoch, opinion: Opinion::None, ask: false };
            for other in inquiry.votes.into_keys().filter(|other| self.peers.contains_key(other)).collect::<Vec<_>>() {
                self.say(other, &none);
            }
        }
    }

    pub(super) fn check_inquiries(&mut self, now: Instant) {
        for subject in self.inquiries.keys().copied().collect::<Vec<_>>() {
            let Some(inquiry) = self.inquiries.get_mut(&subject) else {
                continue;
            };
            if inquiry.contested.is_some_and(|since| since + REINFORCE_AFTER <= now) && !inquiry.reinforced {
                inquiry.reinforced = true;
                self.changed_mind(now, subject);
                continue;
            }
            if inquiry.asked + ANSWER_WITHIN <= now {
                for vote in inquiry.votes.values_mut().filter(|vote| **vote == Vote::Asked) {
                    *vote = Vote::Unreachable;
                }
                self.decide(now, subject);
            }
            self.ask_again(now, subject);
        }
    }
}
