//! Before a server refutes a verdict it looks whether it is heard well.
//!
//! Whoever was found gone by those who observe it was gone for a reason, and
//! the reason may still be there: most of what it sends is lost, say. Said at
//! once, the refutation would get through some time, and so would the next
//! verdict. So it first asks its neighbours for some signs, one after the other,
//! all of which must come within a time in which, of what is lost again and again,
//! hardly any would. What that takes is ten round trips; then it rises.
//!
//! An accusation is another matter: nobody has removed it yet, and there is
//! little time. It is refuted after a moment, in which a verdict that it overtook
//! comes too. One that comes during a trial may be believed before that ends: the
//! signs that came until then have to do.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::time::Duration;

use super::{
    Membership, Record,
    edges::SILENCE,
    message::{News, Why},
};
use crate::{Instant, ServerId};

/// How many signs each neighbour is asked for.
const ROUNDS: usize = 10;
/// How many must have come when there is no time for more.
const FEW_ROUNDS: usize = 3;
/// How many neighbours are asked at most.
const ENOUGH: usize = 24;
/// How long a trial may take; then it begins anew.
const WITHIN: Duration = Duration::from_secs(8);
/// How much of it is left after an accusation, which others believe after 5 s.
const HURRY: Duration = Duration::from_secs(3);
/// How long it waits before it refutes an accusation, which may have overtaken the
/// verdict that it comes of: whoever had heard that would let it in again.
pub(super) const OVERTAKEN: Duration = Duration::from_millis(500);

/// Others say, and do not believe it yet, that this server is gone.
#[derive(Debug)]
pub(super) struct Accusation {
    claim: Record,
    /// When it is refuted.
    until: Instant,
    /// Who is to hear that, whatever they are to this server.
    said: BTreeSet<ServerId>,
}

/// A server's own trial.
#[derive(Debug)]
pub(super) struct Trial {
    /// What is said of it.
    claim: Record,
    until: Instant,
    /// It was accused meanwhile: by then it must be known.
    hurry: Option<Instant>,
    asked: BTreeMap<ServerId, Asked>,
    /// Who is to hear what comes of it, whatever they are to this server.
    said: BTreeSet<ServerId>,
}

#[derive(Debug)]
struct Asked {
    /// The beat that has to be echoed.
    beat: u64,
    /// Since when it is asked on this link.
    since: Instant,
    /// How many signs came.
    signs: usize,
}

impl Asked {
    fn is_done(&self) -> bool {
        self.signs == ROUNDS
    }
}

impl Trial {
    /// Whether seven in ten of those that were asked hear it well: of few, all
    /// but one, who may be the one that is bad.
    fn is_passed(&self, rounds: usize) -> bool {
        let (of, well) = (self.asked.len(), self.asked.values().filter(|asked| asked.signs >= rounds).count());
        well + (3 * of / 10).max(usize::from(of > 1)) >= of
    }
}

impl Membership {
    /// This server is accused of being gone, as `from` says.
    pub(super) fn hear_accusation(&mut self, now: Instant, claim: Record, from: Option<ServerId>) {
        let new = || Accusation { claim, until: now + OVERTAKEN, said: BTreeSet::new() };
        let accusation = self.accusation.get_or_insert_with(new);
        accusation.said.extend(from);
        if claim.rank() > accusation.claim.rank() {
            accusation.claim = claim;
        }
    }

    /// This server was found gone, or is accused of that while it looks whether it
    /// is heard, as `from` says, who is asked for signs too: where links break,
    /// there may be few neighbours to ask.
    pub(super) fn begin_trial(&mut self, now: Instant, news: News, from: Option<ServerId>) {
        let Some(trial) = &mut self.trial else {
            let mut said = self.accusation.take().map(|accusation| accusation.said).unwrap_or_default();
            said.extend(from);
            return self.try_itself(now, news.record, said, &BTreeSet::new());
        };
        trial.said.extend(from);
        if news.record.rank() > trial.claim.rank() {
            trial.claim = news.record;
        }
        if !news.verdict {
            trial.hurry.get_or_insert(now + HURRY);
        }
        if let Some(from) = from {
            self.try_by(now, from);
        }
    }

    fn try_itself(&mut self, now: Instant, claim: Record, said: BTreeSet<ServerId>, but: &BTreeSet<ServerId>) {
        let neighbours = self.flood_targets(now).into_iter().map(|(id, _)| id);
        let among: Vec<ServerId> = neighbours.chain(said.iter().copied()).filter(|id| !but.contains(id)).collect();
        self.trial = Some(Trial { claim, until: now + WITHIN, hurry: None, asked: BTreeMap::new(), said });
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
            && let Some(beat) = self.send_beat(id, Why::Neighbour)
            && let Some(trial) = &mut self.trial
        {
            trial.asked.insert(id, Asked { beat, since: now, signs: 0 });
        }
    }

    /// There is a link to a server, perhaps another than before: what it was asked
    /// on the last may be lost, and the time with it.
    pub(super) fn try_on_link(&mut self, now: Instant, id: ServerId) {
        if self.trial.as_ref().is_none_or(|trial| !trial.asked.contains_key(&id)) {
            return self.try_by(now, id);
        }
        if let Some(beat) = self.send_beat(id, Why::Neighbour)
            && let Some(asked) = self.trial.as_mut().and_then(|trial| trial.asked.get_mut(&id))
        {
            (asked.beat, asked.since) = (beat, now);
        }
    }

    /// A neighbour has echoed a beat.
    pub(super) fn heard_by(&mut self, now: Instant, from: ServerId, echo: u64) {
        let asked = self.trial.as_mut().and_then(|trial| trial.asked.get_mut(&from));
        let Some(asked) = asked.filter(|asked| !asked.is_done() && echo >= asked.beat) else {
            return;
        };
        asked.signs += 1;
        if asked.is_done() {
            self.judge(now, ROUNDS);
        } else if let Some(beat) = self.send_beat(from, Why::Neighbour)
            && let Some(asked) = self.trial.as_mut().and_then(|trial| trial.asked.get_mut(&from))
        {
            asked.beat = beat;
        }
    }

    /// If that is enough, this server says that it is there.
    fn judge(&mut self, now: Instant, rounds: usize) {
        if let Some(trial) = self.trial.take_if(|trial| trial.is_passed(rounds)) {
            self.rise(now, trial.claim, trial.said);
            self.excuse_all(now); // it may have been this one that heard nobody
            self.look_around(now);
            self.inquire_anew(now); // now they answer
        }
    }

    pub(super) fn trial_due(&self) -> Option<Instant> {
        let accusation = self.accusation.as_ref().map(|accusation| accusation.until);
        let trial = self.trial.as_ref().map(|trial| trial.hurry.map_or(trial.until, |at| at.min(trial.until)));
        accusation.into_iter().chain(trial).min()
    }

    /// An accusation is refuted when no verdict came; a trial that takes too long
    /// begins anew, without those who gave no sign.
    pub(super) fn check_trial(&mut self, now: Instant) {
        if let Some(Accusation { claim, said, .. }) = self.accusation.take_if(|accusation| accusation.until <= now) {
            self.rise(now, claim, said);
        }
        if self.trial.as_mut().and_then(|trial| trial.hurry.take_if(|at| *at <= now)).is_some() {
            self.judge(now, FEW_ROUNDS);
        }
        let Some(trial) = self.trial.take_if(|trial| trial.until <= now) else {
            return;
        };
        let is_silent = |asked: &Asked| asked.signs == 0 && asked.since + SILENCE <= now;
        let silent: BTreeSet<ServerId> =
            trial.asked.iter().filter(|(_, asked)| is_silent(asked)).map(|(&id, _)| id).collect();
        for &id in &silent {
            self.close_link(id);
            self.want(id);
        }
        self.try_itself(now, trial.claim, trial.said, &silent);
    }

    /// After a pause of its own nobody was silent.
    pub(super) fn excuse_trial(&mut self, now: Instant) {
        if let Some(trial) = &mut self.trial {
            trial.until = now + WITHIN;
            trial.asked.values_mut().for_each(|asked| asked.since = now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            message::Opinion,
            rig::{ME, Rig, dead},
        },
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
    fn who_is_heard_rises_after_ten_round_trips() {
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
    fn whose_signs_take_too_long_stays_out_until_they_do_not() {
        let mut rig = Rig::among(5);
        rig.news(2, dead(ME.0), true);
        for _ in 0..4 {
            round(&mut rig, WITHIN / 5, &[]);
        }
        rig.pass(WITHIN / 5);
        assert_eq!(rises(&rig), []);
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
    fn of_who_gives_no_sign_the_connection_is_made_anew_and_it_is_asked_then() {
        let mut rig = Rig::among(5);
        rig.news(2, dead(ME.0), true);
        rig.live(Duration::from_secs(4), &[4, 5]);
        rig.meet(6);
        rig.news(6, dead(ME.0), true);
        rig.live(WITHIN - Duration::from_millis(4_001), &[4, 5, 6]);
        rig.forget();
        rig.pass(Duration::from_millis(1));
        assert_eq!(rig.closed, [4, 5], "the other may still answer");
        assert!(rig.wanted.contains(&4) && rig.wanted.contains(&5));
        let asked = |rig: &Rig| rig.one.trial.as_ref().unwrap().asked.keys().map(|id| id.0).collect::<Vec<_>>();
        assert_eq!(asked(&rig), [2, 3, 6]);
        rig.crash(5);
        rig.meet(5);
        assert_eq!(asked(&rig), [2, 3, 5, 6]);
    }

    #[test]
    fn after_a_pause_of_its_own_nobody_was_silent() {
        let mut rig = Rig::among(5);
        rig.news(2, dead(ME.0), true);
        rig.forget();
        rig.stand_still(2 * WITHIN);
        assert_eq!(rig.closed, []);
        (0..=ROUNDS).for_each(|_| round(&mut rig, Duration::from_millis(3), &[]));
        assert_eq!(rises(&rig).first(), Some(&1));
    }

    #[test]
    fn an_accusation_leaves_little_time() {
        let far = |rig: &mut Rig| (0..5).for_each(|_| round(rig, Duration::from_millis(600), &[]));
        for accused in [false, true] {
            let mut rig = Rig::among(5);
            rig.news(2, dead(ME.0), true);
            if accused {
                rig.news(3, dead(ME.0), false);
            }
            far(&mut rig);
            rig.pass(Duration::from_millis(20));
            assert_eq!(rises(&rig).is_empty(), !accused);
        }
        let mut rig = Rig::among(5);
        rig.news(2, dead(ME.0), true);
        rig.news(3, dead(ME.0), false);
        rig.live(WITHIN / 2, &[3, 4, 5]);
        assert_eq!(rises(&rig), [], "whom nobody hears stays out all the same");
    }

    #[test]
    fn of_few_neighbours_one_may_be_bad() {
        for (count, bad, rose) in [(3, 1, true), (4, 1, true), (4, 2, false), (5, 1, true), (5, 2, false)] {
            let mut rig = Rig::among(count);
            rig.news(2, dead(ME.0), true);
            let silent: Vec<u64> = (count + 1 - bad..=count).collect();
            (0..=ROUNDS).for_each(|_| round(&mut rig, Duration::from_millis(3), &silent));
            assert_eq!(!rises(&rig).is_empty(), rose, "{bad} of {}", count - 1);
        }
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
        assert!(rig.one.edges.len() > 50, "{} edges", rig.one.edges.len());
    }

    #[test]
    fn who_is_heard_again_has_no_opinion_of_those_it_did_not_hear() {
        let mut rig = Rig::among(6);
        rig.crash(6);
        rig.live(Duration::from_secs(1), &[2, 3, 4, 5, 6]);
        assert_eq!(rig.one.opinion_of(ServerId(6)), Opinion::Down);
        rig.forget();
        rig.news(2, dead(ME.0), true);
        (0..=ROUNDS).for_each(|_| round(&mut rig, Duration::from_millis(3), &[6]));
        assert_eq!(rises(&rig).first(), Some(&1));
        assert_eq!(rig.one.opinion_of(ServerId(6)), Opinion::Waiting);
        assert!(rig.sees(6) && rig.all_anew);
        rig.pass(Duration::ZERO);
        assert_eq!(rig.wanted, [6], "it is dialled at once");
    }

    #[test]
    fn an_accusation_is_refuted_in_a_moment() {
        let mut rig = Rig::among(5);
        rig.news(2, dead(ME.0), false);
        rig.pass(OVERTAKEN - Duration::from_millis(1));
        assert_eq!(rises(&rig), []);
        rig.news(3, dead(ME.0), false);
        rig.pass(Duration::from_millis(1));
        assert_eq!(rises(&rig), [1, 1], "both who said so hear it");
    }

    #[test]
    fn one_that_overtook_a_verdict_is_not() {
        let mut rig = Rig::among(5);
        rig.news(2, dead(ME.0), false);
        rig.pass(OVERTAKEN / 2);
        rig.news(3, dead(ME.0), true);
        rig.live(2 * OVERTAKEN, &[2, 3, 4, 5]);
        assert_eq!(rises(&rig), []);
        (0..=ROUNDS).for_each(|_| round(&mut rig, Duration::from_millis(3), &[]));
        assert_eq!(rises(&rig), [1, 1], "both who said so hear it");
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
