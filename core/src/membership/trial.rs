//! Before a server refutes a verdict it looks whether it is heard well.
//!
//! Whoever was found gone by those who observe it was gone for a reason, and
//! the reason may still be there: most of what it sends is lost, say. Said at
//! once, the refutation would get through some time, and so would the next
//! verdict. So it first asks its neighbours for some signs, one after the other,
//! and most of these must come as fast as the fastest did. What that takes is
//! ten round trips; then it rises.
//!
//! An accusation is another matter: nobody has removed it yet, and there is
//! little time.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::time::Duration;

use super::{Membership, Output, Record};
use crate::{Instant, ServerId};

/// How many signs each neighbour is asked for.
const ROUNDS: usize = 10;
/// How many of them have to be fast.
const FAST: usize = 8;
/// How many neighbours are asked at most.
const ENOUGH: usize = 24;
/// What a sign may take over twice the fastest.
const SLACK: Duration = Duration::from_millis(50);
/// How long a trial may take; then it begins anew.
const WITHIN: Duration = Duration::from_secs(8);

/// A server's own trial.
#[derive(Debug)]
pub(super) struct Trial {
    /// What is said of it.
    claim: Record,
    until: Instant,
    asked: BTreeMap<ServerId, Asked>,
    /// Who is to hear what comes of it, whatever they are to this server.
    said: BTreeSet<ServerId>,
}

#[derive(Debug)]
struct Asked {
    /// The beat that has to be echoed, and when it was sent.
    beat: u64,
    at: Instant,
    took: Vec<Duration>,
}

impl Asked {
    fn is_done(&self) -> bool {
        self.took.len() == ROUNDS
    }

    /// Whether most signs came as fast as the fastest, about.
    fn is_heard_well(&self) -> bool {
        let fastest = self.took.iter().min().copied().unwrap_or_default();
        let fast = self.took.iter().filter(|took| **took <= 2 * fastest + SLACK).count();
        self.is_done() && fast >= FAST
    }
}

impl Trial {
    /// Whether seven in ten of those that were asked hear it well, and who is to
    /// be told.
    fn passed(&self) -> bool {
        let well = self.asked.values().filter(|asked| asked.is_heard_well()).count();
        10 * well >= 7 * self.asked.len()
    }
}

impl Membership {
    /// This server was found gone, as `from` says, who is asked for signs too:
    /// where links break, there may be few neighbours to ask.
    pub(super) fn begin_trial(&mut self, now: Instant, claim: Record, from: Option<ServerId>) {
        let Some(trial) = &mut self.trial else {
            return self.try_itself(now, claim, from.into_iter().collect());
        };
        trial.said.extend(from);
        if claim.rank() > trial.claim.rank() {
            trial.claim = claim;
        }
        if let Some(from) = from {
            self.try_by(now, from);
        }
    }

    fn try_itself(&mut self, now: Instant, claim: Record, said: BTreeSet<ServerId>) {
        let neighbours = self.flood_targets(now).into_iter().map(|(id, _)| id);
        let among: Vec<ServerId> = neighbours.chain(said.iter().copied()).collect();
        self.trial = Some(Trial { claim, until: now + WITHIN, asked: BTreeMap::new(), said });
        for id in among {
            self.try_by(now, id);
        }
        // Without anybody to ask, the next who says so will do.
        self.trial.take_if(|trial| trial.asked.is_empty());
        self.look_around(now);
    }

    /// Asks a server for signs, unless that is done already or there are enough.
    fn try_by(&mut self, now: Instant, id: ServerId) {
        let of_use = |trial: &Trial| trial.asked.len() < ENOUGH && !trial.asked.contains_key(&id);
        if self.trial.as_ref().is_some_and(of_use)
            && let Some(beat) = self.send_beat(id, false)
            && let Some(trial) = &mut self.trial
        {
            trial.asked.insert(id, Asked { beat, at: now, took: Vec::with_capacity(ROUNDS) });
        }
    }

    /// There is another link to a server: what it was asked on the last may be
    /// lost, and the time with it.
    pub(super) fn ask_again_for_sign(&mut self, id: ServerId) {
        let asked = |trial: &Trial| trial.asked.get(&id).is_some_and(|asked| !asked.is_done());
        if self.trial.as_ref().is_some_and(asked)
            && let Some(beat) = self.send_beat(id, false)
            && let Some(asked) = self.trial.as_mut().and_then(|trial| trial.asked.get_mut(&id))
        {
            asked.beat = beat;
        }
    }

    /// A neighbour has echoed a beat.
    pub(super) fn heard_by(&mut self, now: Instant, from: ServerId, echo: u64) {
        let Some(trial) = &mut self.trial else {
            return;
        };
        let Some(asked) = trial.asked.get_mut(&from).filter(|asked| !asked.is_done() && echo >= asked.beat) else {
            return;
        };
        asked.took.push(now.since(asked.at));
        if asked.is_done() {
            if trial.passed()
                && let Some(trial) = self.trial.take()
            {
                self.rise(now, trial.claim, trial.said);
                self.look_around(now);
                self.inquire_anew(now); // now they answer
            }
        } else if let Some(beat) = self.send_beat(from, false)
            && let Some(asked) = self.trial.as_mut().and_then(|trial| trial.asked.get_mut(&from))
        {
            (asked.beat, asked.at) = (beat, now);
        }
    }

    pub(super) fn trial_due(&self) -> Option<Instant> {
        self.trial.as_ref().map(|trial| trial.until)
    }

    /// A trial that takes too long begins anew.
    pub(super) fn check_trial(&mut self, now: Instant) {
        if let Some(trial) = self.trial.take_if(|trial| trial.until <= now) {
            // Perhaps a new connection works.
            for id in trial.asked.iter().filter(|(_, asked)| asked.took.is_empty()).map(|(id, _)| id) {
                self.out.extend(self.peers.get(id).map(|peer| Output::Close(peer.link)));
            }
            self.try_itself(now, trial.claim, trial.said);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::rig::{ME, Rig, dead},
        *,
    };

    /// What it says of itself.
    fn rises(rig: &Rig) -> Vec<u32> {
        rig.news_of(ME.0).iter().map(|news| news.record.epoch.rise).collect()
    }

    /// One round trip of this length, with everybody but `silent`.
    fn round(rig: &mut Rig, took: Duration, silent: &[u64]) {
        rig.now += took;
        rig.answer_all(silent);
    }

    #[test]
    fn who_is_heard_well_rises_after_ten_round_trips() {
        let mut rig = Rig::among(5);
        rig.news(2, dead(ME.0), true);
        for _ in 0..ROUNDS {
            assert_eq!(rises(&rig), []);
            round(&mut rig, Duration::from_millis(3), &[]);
        }
        assert_eq!(rises(&rig), [1], "whoever said so hears it at once");
        rig.pass(Duration::from_millis(120));
        assert_eq!(rises(&rig).len(), 1 + 4);
        assert!(rig.events.is_empty(), "that is no event");
    }

    #[test]
    fn a_long_way_is_not_a_bad_one() {
        let mut rig = Rig::among(5);
        rig.news(2, dead(ME.0), true);
        (0..ROUNDS).for_each(|_| round(&mut rig, Duration::from_millis(600), &[]));
        assert_eq!(rises(&rig), [1]);
    }

    #[test]
    fn whose_signs_are_slow_now_and_then_stays_out_until_they_are_not() {
        let mut rig = Rig::among(5);
        rig.news(2, dead(ME.0), true);
        for slow in [0, 1, 2, 0, 1, 2, 0, 1, 2, 0] {
            round(&mut rig, Duration::from_millis(3 + 200 * slow), &[]);
        }
        rig.live(Duration::from_millis(20), &[]);
        assert_eq!(rises(&rig), []);
        rig.pass(WITHIN);
        (0..ROUNDS).for_each(|_| round(&mut rig, Duration::from_millis(3), &[]));
        assert_eq!(rises(&rig), [1]);
    }

    #[test]
    fn most_neighbours_have_to_hear_it() {
        let mut rig = Rig::among(5);
        rig.news(2, dead(ME.0), true);
        (0..ROUNDS).for_each(|_| round(&mut rig, Duration::from_millis(3), &[4, 5]));
        assert_eq!(rises(&rig), []);
        (0..ROUNDS).for_each(|_| round(&mut rig, Duration::from_millis(3), &[5]));
        assert_eq!(rises(&rig), [1]);
    }

    #[test]
    fn who_says_so_later_is_asked_too() {
        let mut rig = Rig::among(5);
        rig.news(2, dead(ME.0), true);
        (2..=5).for_each(|id| rig.crash(id));
        for id in 6..=8 {
            rig.meet(id);
            rig.news(id, dead(ME.0), true);
        }
        rig.live(WITHIN, &[7, 8]);
        assert_eq!(rises(&rig), [], "one in three hears it");
        (0..2 * ROUNDS).for_each(|_| round(&mut rig, Duration::from_millis(3), &[]));
        assert!(!rises(&rig).is_empty());
    }

    #[test]
    fn on_a_new_link_a_sign_is_asked_for_again() {
        let mut rig = Rig::among(2);
        rig.news(2, dead(ME.0), true);
        (0..ROUNDS - 1).for_each(|_| round(&mut rig, Duration::from_millis(3), &[]));
        rig.crash(2);
        rig.answer(2); // what was asked is lost
        rig.forget();
        rig.meet(2);
        round(&mut rig, Duration::from_millis(3), &[]);
        assert_eq!(rises(&rig), [1]);
    }

    #[test]
    fn of_who_gives_no_sign_the_connection_is_made_anew() {
        let mut rig = Rig::among(5);
        rig.news(2, dead(ME.0), true);
        rig.live(WITHIN - Duration::from_millis(1), &[5]);
        rig.forget();
        rig.pass(Duration::from_millis(1));
        assert_eq!(rig.closed, [5]);
    }

    #[test]
    fn who_was_found_gone_does_not_look_whether_all_others_are() {
        let mut rig = Rig::among(60);
        rig.news(2, dead(ME.0), true);
        let others: Vec<u64> = (2..=60).collect();
        rig.live(2 * WITHIN, &others);
        assert!(rig.one.edges.len() < 40, "{} edges", rig.one.edges.len());
        rig.one.trial = None;
        rig.act(Membership::look_around);
        assert_eq!(rig.one.edges.len(), 59);
    }

    #[test]
    fn an_accusation_is_refuted_at_once() {
        let mut rig = Rig::among(5);
        rig.news(2, dead(ME.0), false);
        assert_eq!(rises(&rig), [1]);
    }

    #[test]
    fn after_a_verdict_an_accusation_is_not() {
        let mut rig = Rig::among(5);
        rig.news(2, dead(ME.0), true);
        rig.news(3, dead(ME.0), false);
        assert_eq!(rises(&rig), []);
    }

    #[test]
    fn the_highest_of_what_is_said_is_exceeded() {
        let mut rig = Rig::among(5);
        rig.news(2, dead(ME.0), true);
        let mut higher = dead(ME.0);
        higher.epoch.rise = 7;
        rig.news(3, higher, true);
        (0..ROUNDS).for_each(|_| round(&mut rig, Duration::from_millis(3), &[]));
        assert_eq!(rises(&rig), [8, 8], "both who said so hear it");
    }
}
