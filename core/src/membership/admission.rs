//! Who comes back after a verdict, and when it is let in.
//!
//! The first time at once; whoever was let in again less than
//! [`READMIT_AFTER`] ago waits until that is over, so that a server that comes
//! and goes disturbs nobody. When a large part of the view comes back together
//! a partition has healed, and nobody waits.

use alloc::{
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};
use core::time::Duration;

use super::view::{Record, State};
use crate::{Instant, ServerId};

/// Between two readmissions of one server.
const READMIT_AFTER: Duration = Duration::from_secs(300);
/// Who comes back within this time comes back together.
const TOGETHER: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Admission {
    /// When servers were last let in again.
    readmitted: BTreeMap<ServerId, Instant>,
    /// Who waits, and until when.
    waiting: BTreeMap<ServerId, Instant>,
    /// When servers came back, lately.
    returns: VecDeque<Instant>,
}

impl Admission {
    /// A server that is not there is alive: whether it is let in now.
    pub(super) fn decide(&mut self, now: Instant, record: &Record, before: Option<&Record>, present: usize) -> bool {
        let id = record.id;
        match before {
            Some(before) if before.epoch.start == record.epoch.start && before.state != State::Left => {
                if self.waiting.contains_key(&id) {
                    return false;
                }
            }
            _ => {
                // A start that was never here comes for the first time.
                self.waiting.remove(&id);
                return true;
            }
        }
        self.forget_returns(now);
        self.returns.push_back(now);
        let last = self.readmitted.get(&id).copied().filter(|&last| last + READMIT_AFTER > now);
        match last {
            Some(last) if !self.is_healing(now, present) => {
                self.waiting.insert(id, last + READMIT_AFTER);
                false
            }
            _ => {
                self.readmitted.insert(id, now);
                true
            }
        }
    }

    /// Those who wait and need not, since a partition has healed.
    pub(super) fn healed(&mut self, now: Instant, present: usize) -> Vec<ServerId> {
        if self.waiting.is_empty() || !self.is_healing(now, present) {
            return Vec::new();
        }
        let all: Vec<ServerId> = core::mem::take(&mut self.waiting).into_keys().collect();
        self.readmitted.extend(all.iter().map(|&id| (id, now)));
        all
    }

    /// Those who have waited long enough.
    pub(super) fn due(&mut self, now: Instant) -> Vec<ServerId> {
        let due: Vec<ServerId> = self.waiting.iter().filter(|(_, at)| **at <= now).map(|(&id, _)| id).collect();
        for id in &due {
            self.waiting.remove(id);
            self.readmitted.insert(*id, now);
        }
        if self.readmitted.len() > 64 {
            self.readmitted.retain(|_, last| *last + READMIT_AFTER > now);
        }
        due
    }

    /// When somebody has waited long enough.
    pub(super) fn next(&self) -> Option<Instant> {
        self.waiting.values().min().copied()
    }

    /// A server is gone again.
    pub(super) fn forget(&mut self, id: ServerId) {
        self.waiting.remove(&id);
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn forget_returns(&mut self, now: Instant) {
        while self.returns.front().is_some_and(|&at| at + TOGETHER < now) {
            self.returns.pop_front();
        }
    }

    /// Whether a quarter of all, and more than one, came back together.
    fn is_healing(&mut self, now: Instant, present: usize) -> bool {
        self.forget_returns(now);
        let (returned, waiting) = (self.returns.len(), self.waiting.len());
        returned > 1 && 4 * returned >= present + waiting
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::rig::{alive, dead},
        *,
    };
    use crate::Epoch;

    const PRESENT: usize = 100;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    /// A server that was held for dead is back.
    fn back(admission: &mut Admission, now: Instant, id: u64) -> bool {
        admission.decide(now, &alive(id), Some(&dead(id)), PRESENT)
    }

    #[test]
    fn who_comes_back_is_let_in_at_once_and_then_every_five_minutes() {
        let mut admission = Admission::default();
        assert!(back(&mut admission, at(100), 2));
        assert!(!back(&mut admission, at(150), 2));
        assert!(!back(&mut admission, at(160), 2), "and not by asking twice");
        assert_eq!((admission.waiting(), admission.next()), (1, Some(at(400))));
        assert_eq!(admission.due(at(399)), []);
        assert_eq!(admission.due(at(400)), [ServerId(2)]);
        assert!(!back(&mut admission, at(699), 2));
        admission.forget(ServerId(2));
        assert_eq!((admission.waiting(), admission.next()), (0, None));
        assert!(back(&mut admission, at(700), 2));
    }

    #[test]
    fn a_new_start_and_one_that_had_left_come_for_the_first_time() {
        let mut admission = Admission::default();
        assert!(back(&mut admission, at(0), 2) && !back(&mut admission, at(20), 2));
        let anew = Record { epoch: Epoch { start: 2, rise: 0 }, ..alive(2) };
        assert!(admission.decide(at(21), &anew, Some(&dead(2)), PRESENT));
        assert_eq!(admission.waiting(), 0);
        assert!(admission.decide(at(22), &alive(3), None, PRESENT));
    }

    #[test]
    fn what_came_back_long_ago_is_not_kept() {
        let mut admission = Admission::default();
        for id in 2..100 {
            back(&mut admission, at(20 * id), id);
        }
        assert_eq!(admission.returns.len(), 1);
    }

    #[test]
    fn when_a_quarter_comes_back_together_nobody_waits() {
        let mut admission = Admission::default();
        for id in 2..=30 {
            assert!(back(&mut admission, at(0), id));
        }
        for id in 2..=26 {
            assert!(!back(&mut admission, at(100), id) || id > 25, "{id}");
            assert!(admission.healed(at(100), PRESENT).is_empty() || id >= 25, "{id}");
        }
        let scattered = at(100) + TOGETHER + Duration::from_secs(1);
        assert!(!back(&mut admission, scattered, 30));
        assert!(admission.healed(scattered, PRESENT).is_empty(), "they did not come together");
    }
}
