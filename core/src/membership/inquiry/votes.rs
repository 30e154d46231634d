//! What the observers of a server think of it, as one of them knows.

use alloc::collections::BTreeMap;
use core::time::Duration;

use crate::{Epoch, Instant, ServerId, membership::message::Opinion};

/// How long another observer may take to answer.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(4);
/// The same for those that began to observe it after the others were asked.
pub(super) const LATE_ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How long opinions may differ before those who hear the server give in.
pub(super) const REINFORCE_AFTER: Duration = Duration::from_secs(10);
/// Whoever is still down is asked about again so often, and sooner when opinions
/// differ, or nobody else has one: nobody gives in to what others thought long
/// ago.
const ASK_AGAIN: Duration = Duration::from_secs(10);
pub(super) const AGAIN_SOON: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(in crate::membership) struct Inquiry {
    pub(super) epoch: Epoch,
    /// What the other observers think, and since when they are asked.
    pub(super) votes: BTreeMap<ServerId, Vote>,
    /// What they were told of this server's own opinion.
    pub(super) told: Opinion,
    pub(super) asked: Instant,
    /// How long they may take.
    pub(super) within: Duration,
    /// Since when opinions differ.
    pub(super) contested: Option<Instant>,
    /// Since when few that can be asked observe it.
    pub(super) lonely: Option<Instant>,
    /// This server has given in.
    pub(super) reinforced: bool,
    /// Those that observe it since the inquiry began have been asked too.
    pub(super) counted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vote {
    Asked,
    Unreachable,
    Said(Opinion),
}

/// What came of a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) down: usize,
    pub(super) reachable: usize,
    pub(super) asked: usize,
    /// Who answered that it does not observe it.
    pub(super) abstained: usize,
}

impl Count {
    /// At least seven in ten, rounded up, and at least one.
    pub(super) const fn is_verdict(self) -> bool {
        self.down > 0 && 10 * self.down >= 7 * self.reachable
    }

    /// Nobody else has an opinion, or at least as many have none.
    pub(super) const fn is_of_few(self) -> bool {
        self.reachable == 1 || self.reachable <= self.abstained
    }

    /// At least three in ten, and more than a single one.
    pub(super) const fn is_contested(self) -> bool {
        self.down > 1 && 10 * self.down >= 3 * self.reachable
    }
}

impl Inquiry {
    /// Whether an observer has still to answer.
    pub(super) fn waits_for(&self, id: ServerId) -> bool {
        self.votes.get(&id) == Some(&Vote::Asked)
    }

    /// Whether those that have not answered by now have no vote.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.asked + self.within <= now
    }

    /// Whether any has.
    pub(super) fn is_waiting(&self) -> bool {
        self.votes.values().any(|vote| *vote == Vote::Asked)
    }

    pub(super) const fn again_after(&self) -> Duration {
        let soon = self.contested.is_some() && !self.reinforced || self.lonely.is_some();
        if soon { AGAIN_SOON } else { ASK_AGAIN }
    }

    /// When something may come of it next, after `now`, though nobody says anything.
    pub(super) fn due(&self, now: Instant) -> Instant {
        let reinforced = self.contested.filter(|_| !self.reinforced).map(|at| at + REINFORCE_AFTER);
        let settled = self.lonely.map(|at| at + AGAIN_SOON);
        let moments = [Some(self.asked + self.within), Some(self.asked + self.again_after()), reinforced, settled];
        moments.into_iter().flatten().filter(|at| *at > now).min().unwrap_or(Instant::NEVER)
    }

    pub(super) fn count(&self, own: Opinion) -> Count {
        let mut count = Count { down: 0, reachable: 0, asked: 0, abstained: 0 };
        for vote in self.votes.values().copied().chain([Vote::Said(own)]) {
            match vote {
                Vote::Said(opinion) => {
                    count.down += usize::from(opinion == Opinion::Down);
                    count.reachable += usize::from(opinion != Opinion::None);
                    count.abstained += usize::from(opinion == Opinion::None);
                }
                Vote::Asked => count.asked += 1,
                Vote::Unreachable => {}
            }
        }
        count
    }
}
