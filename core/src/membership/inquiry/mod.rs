//! Verdicts: what the observers of a server find together.
//!
//! Who loses sight of a server it observes asks the others that do, and tells
//! them whenever its own opinion changes. Of those that can be asked, seven in
//! ten make a verdict; fewer than three are noise. In between, for long, the
//! rest joins in, so that nobody stays half dead.

#[cfg(test)]
mod tests;
mod votes;

use alloc::{collections::BTreeMap, vec::Vec};

use super::{
    Membership, Output, Record, State,
    edges::Edge,
    message::{Message, News, Opinion},
    rings::Rings,
};
use crate::{Epoch, Instant, ServerId};
pub(super) use votes::Inquiry;
use votes::{AGAIN_SOON, ANSWER_WITHIN, Count, LATE_ANSWER_WITHIN, REINFORCE_AFTER, Vote};

impl Membership {
    /// What this server thinks of another.
    pub fn opinion_of(&self, subject: ServerId) -> Opinion {
        self.edges.get(&subject).map_or(Opinion::None, |edge| self.opinion_by(subject, edge))
    }

    /// What it thinks of one that it observes.
    pub(super) fn opinion_by(&self, subject: ServerId, edge: &Edge) -> Opinion {
        if self.inquiries.get(&subject).is_some_and(|inquiry| inquiry.reinforced) {
            return Opinion::Down;
        }
        edge.opinion(self.peers.contains_key(&subject))
    }

    /// The opinion of an observed server may have changed: the other observers
    /// hear of it, if there is or should be an inquiry.
    pub(super) fn changed_mind(&mut self, now: Instant, subject: ServerId) {
        let own = self.opinion_of(subject);
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
        let Some(Record { epoch, .. }) = self.view.live(subject).filter(|record| record.state == State::Alive) else {
            return;
        };
        if !self.edges.contains_key(&subject) {
            return; // it is not this one's to look after
        }
        let before = self.inquiries.remove(&subject);
        let (contested, lonely) = before.map_or((None, None), |before| (before.contested, before.lonely));
        let told = self.opinion_of(subject);
        let contested = contested.filter(|_| told == Opinion::Up);
        let votes = BTreeMap::new();
        let within = ANSWER_WITHIN;
        let inquiry =
            Inquiry { epoch, votes, told, asked: now, within, contested, lonely, reinforced: false, counted: false };
        self.inquiries.insert(subject, inquiry);
        let observers = self.other_observers(subject);
        self.ask(subject, &observers);
        self.decide(now, subject);
    }

    /// Asks all over again, whatever was said before.
    pub(super) fn inquire_anew(&mut self, now: Instant) {
        for subject in core::mem::take(&mut self.inquiries).into_keys() {
            self.inquire(now, subject);
        }
    }

    /// Who observes a server besides this one, as the view has it now.
    fn other_observers(&self, subject: ServerId) -> Vec<ServerId> {
        let mut observers = Rings::among(subject, self.view.ids()).set();
        observers.remove(&self.me);
        observers.into_iter().collect()
    }

    /// Asks observers that were not asked yet.
    fn ask(&mut self, subject: ServerId, others: &[ServerId]) {
        let Some(&Inquiry { epoch, told, .. }) = self.inquiries.get(&subject) else {
            return;
        };
        for &other in others {
            let known_down = self.edges.get(&other).is_some_and(|edge| edge.opinion(false) == Opinion::Down);
            let linked = self.peers.contains_key(&other);
            self.set_vote(subject, other, if known_down { Vote::Unreachable } else { Vote::Asked });
            if !known_down || linked {
                self.say(other, &Message::Opinion { subject, epoch, opinion: told, ask: true });
            }
        }
    }

    /// Others may observe it by now than when the inquiry began, or when they
    /// said that they do not. Before a verdict they are asked, once: whether that
    /// is to be waited for.
    fn has_new_observers(&mut self, now: Instant, subject: ServerId) -> bool {
        if self.inquiries.get(&subject).is_none_or(|inquiry| inquiry.counted) {
            return false;
        }
        let mut new = self.other_observers(subject);
        let Some(inquiry) = self.inquiries.get_mut(&subject) else {
            return false;
        };
        inquiry.counted = true;
        let knows = |vote: &Vote| *vote != Vote::Said(Opinion::None);
        new.retain(|id| !inquiry.votes.get(id).is_some_and(knows));
        if new.is_empty() {
            return false;
        }
        (inquiry.asked, inquiry.within) = (now, LATE_ANSWER_WITHIN);
        self.ask(subject, &new);
        self.inquiries.get(&subject).is_some_and(Inquiry::is_waiting)
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
        let Some(known) = self.view.get(subject) else {
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
        // Whoever only waits for a sign may have had it by now: were that asked
        // about too, distant observers would ask each other for ever.
        if observed && opinion == Opinion::Down && !self.inquiries.contains_key(&subject) {
            self.inquire(now, subject);
        }
        self.set_vote(subject, from, Vote::Said(opinion));
        if ask {
            if self.opinion_of(subject) == Opinion::Up {
                self.probe(now, subject); // is that still so?
            }
            let opinion = self.opinion_of(subject);
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
            let opinion = self.opinion_of(subject);
            self.say(id, &Message::Opinion { subject, epoch, opinion, ask: true });
        }
    }

    /// Whether an observer has still to answer.
    pub(super) fn is_asked(&self, id: ServerId) -> bool {
        self.inquiries.values().any(|inquiry| inquiry.waits_for(id))
    }

    /// An observer that was asked cannot be reached.
    pub(super) fn cannot_ask(&mut self, now: Instant, id: ServerId) {
        let asked: Vec<ServerId> =
            self.inquiries.iter().filter(|(_, inquiry)| inquiry.waits_for(id)).map(|(&subject, _)| subject).collect();
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
        let own = self.opinion_of(subject);
        let Some(inquiry) = self.inquiries.get(&subject) else {
            return;
        };
        let count = inquiry.count(own);
        // To those who hold this server for gone it does not speak, nor do they
        // answer: it has to be heard itself first.
        let complete = self.trial.is_none() && (count.asked == 0 || inquiry.is_over(now));
        let alone = count.is_of_few() && !inquiry.votes.is_empty();
        if own == Opinion::Down && complete && count.is_verdict() && !self.has_new_observers(now, subject) {
            if !alone || self.is_settled(now, subject, count) {
                return self.verdict(now, subject, !alone);
            }
            return self.await_inquiry(now, subject);
        } else if complete
            && !alone
            && let Some(inquiry) = self.inquiries.get_mut(&subject)
        {
            inquiry.lonely = None;
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
        } else {
            self.await_inquiry(now, subject);
        }
    }

    fn await_inquiry(&mut self, now: Instant, subject: ServerId) {
        let due = self.inquiries.get(&subject).map_or(Instant::NEVER, |inquiry| inquiry.due(now));
        self.inquiries_due = self.inquiries_due.min(due);
    }

    /// Whether a verdict of this server alone, or of few, can be passed: if others
    /// answer that they do not observe the subject, the views may differ, or this
    /// server was away. It takes its time then, and looks once more.
    fn is_settled(&mut self, now: Instant, subject: ServerId, count: Count) -> bool {
        if count.abstained == 0 {
            return true;
        }
        let Some(inquiry) = self.inquiries.get_mut(&subject) else {
            return false;
        };
        if let Some(since) = inquiry.lonely {
            return since + AGAIN_SOON <= now;
        }
        inquiry.lonely = Some(now);
        self.out.push_back(Output::Anew(subject));
        self.observe_anew(now, subject);
        self.changed_mind(now, subject);
        false
    }

    /// The observers agree: the server is gone, and all shall hear it. Few of many
    /// who found that may be those that nobody hears: the others take their word
    /// for an accusation.
    fn verdict(&mut self, now: Instant, subject: ServerId, together: bool) {
        self.inquiries.remove(&subject);
        if let Some(record) = self.view.live(subject) {
            let record = Record { state: State::Dead, ..record };
            self.flood.push(News { record, verdict: together }, None, now);
            self.adopt(now, record);
        }
    }

    fn ask_again(&mut self, now: Instant, subject: ServerId) {
        let up = self.opinion_of(subject) == Opinion::Up;
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

    /// Whoever lost sight of thousands has as many inquiries, and no time to look
    /// at each whenever something happens.
    pub(super) fn check_inquiries(&mut self, now: Instant) {
        if now < self.inquiries_due {
            return;
        }
        for subject in self.inquiries.keys().copied().collect::<Vec<_>>() {
            let Some(inquiry) = self.inquiries.get_mut(&subject) else {
                continue;
            };
            if inquiry.contested.is_some_and(|since| since + REINFORCE_AFTER <= now) && !inquiry.reinforced {
                inquiry.reinforced = true;
                self.changed_mind(now, subject);
                continue;
            }
            if inquiry.is_over(now) {
                for vote in inquiry.votes.values_mut().filter(|vote| **vote == Vote::Asked) {
                    *vote = Vote::Unreachable;
                }
                self.decide(now, subject);
            }
            self.ask_again(now, subject);
        }
        self.inquiries_due = self.inquiries.values().map(|inquiry| inquiry.due(now)).min().unwrap_or(Instant::NEVER);
    }
}
