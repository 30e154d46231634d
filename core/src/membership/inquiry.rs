//! Verdicts: what the observers of a server find together.
//!
//! Who loses sight of a server it observes asks the others that do, and tells
//! them whenever its own opinion changes. Of those that can be asked, seven in
//! ten make a verdict; fewer than three are noise. In between, for long, the
//! rest joins in, so that nobody stays half dead.

use alloc::{collections::BTreeMap, vec::Vec};
use core::time::Duration;

use super::{
    Membership, Record, State,
    message::{Message, News, Opinion},
    rings::Rings,
};
use crate::{Epoch, Instant, ServerId};

/// How long another observer may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);
/// How long opinions may differ before those who hear the server give in.
const REINFORCE_AFTER: Duration = Duration::from_secs(10);
/// Whoever is still down is asked about again so often.
const ASK_AGAIN: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Inquiry {
    epoch: Epoch,
    /// What the other observers think, and since when they are asked.
    votes: BTreeMap<ServerId, Vote>,
    /// What they were told of this server's own opinion.
    told: Opinion,
    asked: Instant,
    /// Since when opinions differ.
    contested: Option<Instant>,
    /// This server has given in.
    reinforced: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Vote {
    Asked,
    Unreachable,
    Said(Opinion),
}

/// What came of a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Count {
    down: usize,
    reachable: usize,
    asked: usize,
}

impl Count {
    /// At least seven in ten, rounded up, and at least one.
    const fn is_verdict(self) -> bool {
        self.down > 0 && 10 * self.down >= 7 * self.reachable
    }

    /// At least three in ten, and more than a single one.
    const fn is_contested(self) -> bool {
        self.down > 1 && 10 * self.down >= 3 * self.reachable
    }
}

impl Inquiry {
    fn count(&self, own: Opinion) -> Count {
        let mut count = Count { down: 0, reachable: 0, asked: 0 };
        for vote in self.votes.values().copied().chain([Vote::Said(own)]) {
            match vote {
                Vote::Said(opinion) => {
                    count.down += usize::from(opinion == Opinion::Down);
                    count.reachable += usize::from(opinion != Opinion::None);
                }
                Vote::Asked => count.asked += 1,
                Vote::Unreachable => {}
            }
        }
        count
    }
}

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
        let mut votes: BTreeMap<ServerId, Vote> =
            observers.into_iter().filter(|&id| id != self.me).map(|id| (id, Vote::Asked)).collect();
        if let Some(before) = self.inquiries.remove(&subject) {
            let said = before.votes.into_iter().filter(|(_, vote)| matches!(vote, Vote::Said(_)));
            votes.extend(said);
        }
        let told = self.own_opinion(subject);
        let others: Vec<ServerId> = votes.keys().copied().collect();
        let inquiry = Inquiry { epoch, votes, told, asked: now, contested: None, reinforced: false };
        self.inquiries.insert(subject, inquiry);
        for other in others {
            let known_down = self.edges.get(&other).is_some_and(|edge| edge.opinion(false) == Opinion::Down);
            if known_down && !self.peers.contains_key(&other) {
                self.set_vote(subject, other, Vote::Unreachable);
            } else {
                self.say(other, &Message::Opinion { subject, epoch, opinion: told, ask: true });
            }
        }
        self.decide(now, subject);
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
            return;
        };
        if known.epoch > epoch || known.state != State::Alive {
            // It does not know yet.
            return self.inform(from, News { record: known, verdict: false });
        }
        if known.epoch < epoch || self.view.live(from).is_none() {
            return; // it knows more, or is not there
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

    /// There is a link to an observer, perhaps another than before: what was
    /// said or asked on the last one may be lost.
    pub(super) fn resume_inquiries(&mut self, id: ServerId) {
        let with = self.inquiries.iter_mut().filter_map(|(&subject, inquiry)| {
            let vote = inquiry.votes.get_mut(&id)?;
            let ask = !matches!(vote, Vote::Said(_));
            if ask {
                *vote = Vote::Asked;
            }
            Some((subject, inquiry.epoch, ask))
        });
        for (subject, epoch, ask) in with.collect::<Vec<_>>() {
            let opinion = self.own_opinion(subject);
            self.say(id, &Message::Opinion { subject, epoch, opinion, ask });
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
        if own == Opinion::Down && complete && count.is_verdict() {
            return self.verdict(now, subject);
        }
        if count.is_contested() {
            inquiry.contested.get_or_insert(now);
        } else {
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
            let again = inquiry.asked
                + if inquiry.votes.values().any(|vote| *vote == Vote::Asked) { ANSWER_WITHIN } else { ASK_AGAIN };
            inquiry.contested.filter(|_| !inquiry.reinforced).map_or(again, |at| again.min(at + REINFORCE_AFTER))
        };
        self.inquiries.values().map(due).min()
    }

    fn ask_again(&mut self, now: Instant, subject: ServerId) {
        let up = self.own_opinion(subject) == Opinion::Up;
        let Some(inquiry) = self.inquiries.get_mut(&subject).filter(|inquiry| inquiry.asked + ASK_AGAIN <= now) else {
            return;
        };
        if !up {
            self.inquire(now, subject);
        } else if inquiry.contested.is_some() {
            inquiry.asked = now;
        } else {
            self.inquiries.remove(&subject);
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

#[cfg(test)]
mod tests {
    use super::{super::rig::Rig, *};

    fn count(down: usize, reachable: usize) -> Count {
        Count { down, reachable, asked: 0 }
    }

    #[test]
    fn seven_in_ten_make_a_verdict_and_fewer_than_three_are_noise() {
        for (down, reachable) in [(1, 1), (2, 2), (3, 4), (4, 5), (7, 10), (8, 10)] {
            assert!(count(down, reachable).is_verdict(), "{down} of {reachable}");
        }
        for (down, reachable) in [(0, 0), (1, 2), (2, 3), (3, 5), (6, 9), (6, 10)] {
            assert!(!count(down, reachable).is_verdict(), "{down} of {reachable}");
        }
        assert!(count(3, 10).is_contested() && count(2, 3).is_contested());
        assert!(!count(2, 10).is_contested() && !count(1, 3).is_contested());
    }

    #[test]
    fn nobody_is_gone_before_the_others_have_been_heard() {
        let mut rig = Rig::among(4);
        rig.crash(4);
        rig.live(Duration::from_millis(800), &[4]);
        let asked = |rig: &Rig, of: u64| {
            let ask = |message: &Message| {
                matches!(message, Message::Opinion { subject: ServerId(4), opinion: Opinion::Down, .. })
            };
            rig.said.iter().any(|(to, message)| *to == of && ask(message))
        };
        assert!(asked(&rig, 2) && asked(&rig, 3) && rig.sees(4));
        rig.opinion(2, 4, Opinion::Down);
        assert!(rig.sees(4), "one of two was heard");
        rig.opinion(3, 4, Opinion::Down);
        assert!(rig.only_lost(4));
        rig.pass(Duration::from_millis(20));
        assert!(rig.news_of(4).iter().all(|news| news.verdict && news.record.state == State::Dead));
        assert_eq!(rig.news_of(4).len(), 2, "the other two hear it");
    }

    #[test]
    fn one_that_cannot_reach_it_is_outvoted_for_ever() {
        let mut rig = Rig::among(5);
        rig.crash(5);
        for _ in 0..20 {
            rig.live(Duration::from_secs(3), &[5]);
            (2..=4).for_each(|other| rig.opinion(other, 5, Opinion::Up));
        }
        assert!(rig.events.is_empty() && rig.sees(5));
    }

    #[test]
    fn whoever_cannot_be_asked_has_no_vote() {
        let mut rig = Rig::among(4);
        rig.crash(4);
        rig.act(|one, now| one.handle_down(now, crate::links::LinkId(3), ServerId(3)));
        rig.live(Duration::from_millis(800), &[3, 4]);
        rig.opinion(2, 4, Opinion::Down);
        assert!(rig.sees(4), "the third may still answer");
        rig.act(|one, now| one.handle_failed(now, ServerId(3)));
        assert!(!rig.sees(4));
    }

    #[test]
    fn who_does_not_answer_in_time_has_no_vote_either() {
        let mut rig = Rig::among(4);
        rig.crash(4);
        rig.live(Duration::from_millis(800), &[3, 4]);
        rig.opinion(2, 4, Opinion::Down);
        rig.live(ANSWER_WITHIN, &[3, 4]);
        assert!(!rig.sees(4));
    }

    #[test]
    fn who_is_reached_on_another_link_is_told_and_asked_anew() {
        let mut rig = Rig::among(4);
        rig.crash(4);
        rig.live(Duration::from_millis(800), &[2, 3, 4]);
        rig.act(|one, now| one.handle_down(now, crate::links::LinkId(3), ServerId(3)));
        assert!(rig.wanted.ends_with(&[3]), "it has still to answer");
        let asked_on_up = |rig: &mut Rig, id| {
            rig.forget();
            rig.meet(id);
            let opinions = rig.said.iter().filter_map(|(to, message)| match message {
                Message::Opinion { subject: ServerId(4), opinion, ask, .. } if *to == id => Some((*opinion, *ask)),
                _ => None,
            });
            opinions.collect::<Vec<_>>()
        };
        assert_eq!(asked_on_up(&mut rig, 3), [(Opinion::Down, true)]);
        rig.opinion(3, 4, Opinion::Up);
        assert_eq!(asked_on_up(&mut rig, 3), [(Opinion::Down, false)], "its answer is known");
        rig.live(ANSWER_WITHIN, &[2, 4]);
        assert_eq!(asked_on_up(&mut rig, 2), [(Opinion::Down, true)], "late, and yet");
        rig.opinion(2, 4, Opinion::Up);
        assert!(rig.sees(4));
    }

    #[test]
    fn when_opinions_differ_for_long_who_still_hears_it_gives_in() {
        let mut rig = Rig::among(4);
        rig.opinion(2, 4, Opinion::Down);
        rig.opinion(3, 4, Opinion::Down);
        rig.answered();
        rig.live(REINFORCE_AFTER - Duration::from_secs(1), &[]);
        assert!(rig.sees(4), "this server hears it well");
        rig.live(Duration::from_secs(2), &[]);
        assert!(rig.only_lost(4));
    }

    #[test]
    fn an_opinion_of_another_epoch_counts_for_nothing() {
        let mut rig = Rig::among(3);
        rig.crash(3);
        rig.live(Duration::from_millis(800), &[3]);
        let (subject, epoch) = (ServerId(3), Epoch { start: 1, rise: 1 });
        rig.hear(2, &Message::Opinion { subject, epoch, opinion: Opinion::Down, ask: false });
        assert!(rig.sees(3), "it knows of a later one");
        rig.opinion(2, 3, Opinion::Down);
        assert!(!rig.sees(3));
        rig.forget();
        rig.opinion(2, 3, Opinion::Down);
        assert_eq!(rig.news_of(3).len(), 1, "it does not know yet, and is told");
    }
}
