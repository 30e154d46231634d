//! Finding each other again: seeds and the dead are dialled for ever, the
//! recently dead more often, so that a partition heals by itself.

use alloc::{
    collections::{BTreeSet, VecDeque},
    format,
    vec::Vec,
};
use core::{net::SocketAddr, time::Duration};

use super::{Membership, Output, State};
use crate::{Error, ErrorKind, Instant, Rng, ServerId, Target, calls::CallKey, wire::op::Reply};

/// The most seeds; of more, the oldest are forgotten.
const MAX_SEEDS: usize = 64;
/// The most calls that wait for a join.
const MAX_JOINS: usize = 64;
/// How long a join may take.
const JOIN_WITHIN: Duration = Duration::from_secs(10);
/// Between two attempts to reach seeds, at first and after a while.
const SEEK: Duration = Duration::from_millis(500);
const SEEK_AT_LAST: Duration = Duration::from_secs(10);
/// Between two attempts to reach somebody dead.
const REVIVE: Duration = Duration::from_secs(5);
/// After this long without a new death there is more time.
const LONG: Duration = Duration::from_secs(3_600);
const REVIVE_AT_LAST: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Heal {
    own: SocketAddr,
    seeds: VecDeque<Seed>,
    joins: Vec<Join>,
    /// Who was dialled as a seed and has said who it is.
    reached: BTreeSet<ServerId>,
    /// The dead, the most recent last.
    dead: Vec<ServerId>,
    last_death: Instant,
    seek_at: Instant,
    seeks: u32,
    revive_at: Instant,
}

#[derive(Debug)]
struct Seed {
    target: Target,
    id: Option<ServerId>,
}

#[derive(Debug)]
struct Join {
    key: CallKey,
    target: Target,
    id: Option<ServerId>,
    since: Instant,
    until: Instant,
}

impl Heal {
    pub(super) fn new(seeds: &[Target], own: SocketAddr) -> Self {
        let mut heal = Self {
            own,
            seeds: VecDeque::new(),
            joins: Vec::new(),
            reached: BTreeSet::new(),
            dead: Vec::new(),
            last_death: Instant::ZERO,
            seek_at: Instant::NEVER,
            seeks: 0,
            revive_at: Instant::NEVER,
        };
        seeds.iter().for_each(|&seed| heal.add(seed));
        heal
    }

    pub(super) fn add(&mut self, target: Target) {
        if target.addr == self.own || self.seeds.iter().any(|seed| seed.target == target) {
            return;
        }
        if self.seeds.len() == MAX_SEEDS {
            self.seeds.pop_front();
        }
        self.seeds.push_back(Seed { target, id: target.expect });
        (self.seek_at, self.seeks) = (Instant::ZERO, 0);
    }

    /// Somebody answers at an address that was dialled.
    pub(super) fn reached(&mut self, id: ServerId, dialled: Option<SocketAddr>) {
        let there = |target: &Target| Some(target.addr) == dialled;
        for seed in self.seeds.iter_mut().filter(|seed| there(&seed.target)) {
            seed.id = Some(id);
            // The next one there is another start of it, and has the key too.
            seed.target.expect = None;
            self.reached.insert(id);
        }
        let meant = |target: &Target| there(target) && target.expect.is_none_or(|expect| expect == id);
        for join in self.joins.iter_mut().filter(|join| meant(&join.target)) {
            join.id = Some(id);
            self.reached.insert(id);
        }
        if self.dead.contains(&id) {
            self.reached.insert(id);
        }
    }

    /// Whether the views of this server and that are to be compared: for a join, on
    /// every link until it is answered, as one may be too many and bring nothing.
    pub(super) fn is_reached(&self, id: ServerId) -> bool {
        self.reached.contains(&id) || self.joins.iter().any(|join| join.id == Some(id))
    }

    /// The same, and that is done now.
    pub(super) fn take_reached(&mut self, id: ServerId) -> bool {
        let is_reached = self.is_reached(id);
        self.reached.remove(&id);
        is_reached
    }

    /// A command: reach `target` for a call. If that cannot be, the answer.
    pub(super) fn join(&mut self, now: Instant, key: CallKey, target: Target) -> Option<Output> {
        if target.addr == self.own {
            return Some(Output::Answer(key, Ok(Reply::Done)));
        }
        if self.joins.len() == MAX_JOINS {
            let error = Error::new(ErrorKind::QuotaExceeded, "too many joins are under way");
            return Some(Output::Answer(key, Err(error)));
        }
        self.joins.push(Join { key, target, id: None, since: now, until: now + JOIN_WITHIN });
        None
    }

    /// The views of this server and `id` are one.
    pub(super) fn joined(&mut self, id: ServerId) -> Vec<Output> {
        self.end_joins(|join| join.id == Some(id), |_| Ok(Reply::Done))
    }

    /// Nobody answered a dial that began at `since`. Joins that came later have
    /// one of their own.
    pub(super) fn unreached(&mut self, target: Target, since: Instant) -> Vec<Output> {
        let waits = |join: &Join| join.target == target && join.id.is_none();
        let later = self.joins.iter().any(|join| waits(join) && join.since > since);
        let mut out = self.end_joins(
            |join| waits(join) && join.since <= since,
            |join| {
                let detail = format!("no server of this circuit answers at {}", join.target.addr);
                Err(Error::new(ErrorKind::Unreachable, detail))
            },
        );
        out.extend(later.then_some(Output::Reach(target)));
        out
    }

    pub(super) fn cancel(&mut self, key: CallKey, why: ErrorKind) -> Vec<Output> {
        self.end_joins(|join| join.key == key, |_| Err(why.into()))
    }

    fn late(&mut self, now: Instant) -> Vec<Output> {
        self.end_joins(
            |join| join.until <= now,
            |join| {
                let detail = format!("{} answers, and did not tell who is with it in time", join.target.addr);
                Err(Error::new(ErrorKind::Unreachable, detail))
            },
        )
    }

    fn end_joins(
        &mut self,
        which: impl Fn(&Join) -> bool,
        answer: impl Fn(&Join) -> Result<Reply, Error>,
    ) -> Vec<Output> {
        let ended = self.joins.extract_if(.., |join| which(join));
        ended.map(|join| Output::Answer(join.key, answer(&join))).collect()
    }

    /// A verdict was passed on a server.
    pub(super) fn died(&mut self, now: Instant, id: ServerId, rng: &mut Rng) {
        self.is_back(id);
        self.dead.push(id);
        self.last_death = now;
        let at = now + within(REVIVE, rng);
        self.revive_at = self.revive_at.min(at);
    }

    /// A server is back, or forgotten.
    pub(super) fn is_back(&mut self, id: ServerId) {
        self.dead.retain(|&dead| dead != id);
    }

    pub(super) fn next(&self) -> Instant {
        let joins = self.joins.iter().map(|join| join.until).min().unwrap_or(Instant::NEVER);
        self.seek_at.min(self.revive_at).min(joins)
    }
}

/// Half of `span` to three halves.
fn within(span: Duration, rng: &mut Rng) -> Duration {
    span / 2 + Duration::from_micros(rng.below(span.as_micros() as u64))
}

impl Membership {
    /// Looks for those who should be here.
    pub(super) fn seek(&mut self, now: Instant) {
        let late = self.heal.late(now);
        self.out.extend(late);
        if self.heal.seek_at <= now {
            self.seek_seeds(now);
        }
        if self.heal.revive_at <= now {
            self.revive(now);
        }
    }

    fn seek_seeds(&mut self, now: Instant) {
        let missing = |seed: &&Seed| match seed.id {
            Some(id) => self.view.live(id).is_none(),
            None => !self.view.all_live().any(|record| record.addr == seed.target.addr),
        };
        let targets: Vec<Target> = self.heal.seeds.iter().filter(missing).map(|seed| seed.target).collect();
        let wait = if targets.is_empty() { SEEK_AT_LAST } else { SEEK * (1 << self.heal.seeks.min(5)) };
        self.heal.seeks = if targets.is_empty() { 0 } else { self.heal.seeks + 1 };
        self.heal.seek_at = now + within(wait.min(SEEK_AT_LAST), &mut self.rng);
        self.out.extend(targets.into_iter().map(Output::Reach));
    }

    /// Dials somebody dead, one of the last rather than one of the first.
    fn revive(&mut self, now: Instant) {
        let count = self.heal.dead.len() as u64;
        if count == 0 {
            self.heal.revive_at = Instant::NEVER;
            return;
        }
        let upto = self.rng.below(count) + 1;
        let back = usize::try_from(self.rng.below(upto) + 1).unwrap_or(1);
        let chosen = self.heal.dead.len().checked_sub(back).and_then(|index| self.heal.dead.get(index)).copied();
        if let Some(record) = chosen.and_then(|id| self.view.get(id)).filter(|record| record.state == State::Dead) {
            self.out.push_back(Output::Want(record.id, record.addr));
        }
        let pace = if self.heal.last_death + LONG <= now { REVIVE_AT_LAST } else { REVIVE };
        self.heal.revive_at = now + within(pace, &mut self.rng);
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::rig::{ME, Rig, addr, alive, target},
        *,
    };

    const CALL: CallKey = CallKey { registration: 1, seq: 1 };

    #[test]
    fn a_seed_is_dialled_more_and_more_rarely_until_it_is_here() {
        let mut rig = Rig::seeded(&[target(2), target(2), target(ME.0)]);
        rig.pass(Duration::from_secs(10));
        let soon = rig.reached.len();
        assert!((4..=8).contains(&soon), "{soon} times");
        assert!(rig.reached.iter().all(|target| target.addr == addr(2)), "never itself");
        rig.forget();
        rig.pass(Duration::from_secs(200));
        let later = rig.reached.len();
        assert!((13..=41).contains(&later), "{later} times");
        rig.meet(2);
        rig.forget();
        rig.live(Duration::from_secs(100), &[]);
        assert_eq!(rig.reached, []);
    }

    #[test]
    fn whoever_is_later_where_a_seed_was_will_do() {
        let expected = Target { expect: Some(ServerId(2)), ..target(2) };
        let mut rig = Rig::seeded(&[expected]);
        rig.pass(Duration::from_secs(1));
        assert!(!rig.reached.is_empty() && rig.reached.iter().all(|target| *target == expected));
        rig.act(|one, now| one.handle_greeted(now, alive(2), Some(addr(2))));
        rig.meet(2);
        rig.crash(2);
        rig.pass(Duration::from_secs(5));
        rig.forget();
        rig.pass(Duration::from_secs(30));
        assert!(!rig.reached.is_empty() && rig.reached.iter().all(|at| *at == target(2)));
    }

    #[test]
    fn the_oldest_seeds_give_way() {
        let mut heal = Heal::new(&[], addr(1));
        (2..=100).for_each(|id| heal.add(target(id)));
        assert_eq!(heal.seeds.len(), MAX_SEEDS);
        assert_eq!(heal.seeds.back().map(|seed| seed.target), Some(target(100)));
    }

    #[test]
    fn a_join_is_done_when_the_views_are_one() {
        let mut heal = Heal::new(&[], addr(1));
        assert_eq!(heal.join(Instant::ZERO, CALL, target(2)), None);
        heal.reached(ServerId(2), Some(addr(2)));
        assert!(heal.take_reached(ServerId(2)) && heal.take_reached(ServerId(2)), "on every link until then");
        assert!(heal.joined(ServerId(3)).is_empty(), "somebody else");
        assert_eq!(heal.joined(ServerId(2)), [Output::Answer(CALL, Ok(Reply::Done))]);
        assert!(!heal.take_reached(ServerId(2)));
        assert!(heal.joined(ServerId(2)).is_empty());
    }

    #[test]
    fn a_join_of_itself_is_done_and_too_many_are_refused() {
        let mut heal = Heal::new(&[], addr(1));
        assert_eq!(heal.join(Instant::ZERO, CALL, target(1)), Some(Output::Answer(CALL, Ok(Reply::Done))));
        for seq in 0..MAX_JOINS as u64 {
            assert_eq!(heal.join(Instant::ZERO, CallKey { registration: 1, seq }, target(2)), None);
        }
        let refused = heal.join(Instant::ZERO, CALL, target(2));
        assert!(matches!(refused, Some(Output::Answer(CALL, Err(error))) if error.kind == ErrorKind::QuotaExceeded));
    }

    #[test]
    fn a_join_fails_when_nobody_is_there_or_who_is_there_says_nothing() {
        let mut rig = Rig::new();
        rig.act(|one, now| one.join(now, CALL, target(2)));
        rig.act(|one, now| one.handle_unreached(now, target(2), now));
        let failed = |rig: &mut Rig| match rig.answers.pop() {
            Some((CALL, Err(error))) => (error.kind, error.detail),
            other => panic!("{other:?}"),
        };
        let (kind, detail) = failed(&mut rig);
        assert!(kind == ErrorKind::Unreachable && detail.contains("10.0.0.2:11022"), "{detail}");

        rig.act(|one, now| one.join(now, CALL, target(3)));
        rig.act(|one, _| one.heal.reached(ServerId(3), Some(addr(3))));
        rig.act(|one, now| one.handle_unreached(now, target(3), now));
        assert!(rig.answers.is_empty(), "it was there a moment ago");
        rig.pass(JOIN_WITHIN);
        assert!(failed(&mut rig).1.contains("answers"));
    }

    #[test]
    fn the_end_of_another_dial_to_the_same_address_ends_no_join() {
        let mut rig = Rig::new();
        let before = rig.now;
        rig.pass(Duration::from_secs(1));
        rig.act(|one, now| one.join(now, CALL, target(2)));
        rig.forget();
        // One for somebody else who was there, and one that began long before.
        let gone = Target { expect: Some(ServerId(9)), ..target(2) };
        rig.act(|one, now| one.handle_unreached(now, gone, now));
        rig.act(|one, now| one.handle_unreached(now, target(2), before));
        assert!(rig.answers.is_empty());
        assert_eq!(rig.reached, [target(2)], "it is dialled for the join");
        rig.act(|one, now| one.handle_unreached(now, target(2), now));
        assert!(matches!(rig.answers[..], [(CALL, Err(_))]));
    }

    #[test]
    fn the_dead_are_dialled_for_ever() {
        let mut rig = Rig::among(2);
        rig.crash(2);
        rig.pass(Duration::from_secs(10));
        assert!(rig.only_lost(2));
        rig.forget();
        rig.pass(Duration::from_secs(100));
        assert!((13..=40).contains(&rig.wanted.len()), "{}", rig.wanted.len());
        rig.pass(LONG);
        rig.forget();
        rig.pass(Duration::from_secs(600));
        assert!((6..=20).contains(&rig.wanted.len()), "{}", rig.wanted.len());
    }
}
