//! Whether those that come and go disturb nobody: of two times that a server is
//! let in again five minutes lie, unless others came back with it.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use circuit_core::{Instant, ServerId};

/// Between two returns of one server lie five minutes; whose clock is fast
/// counts a little less.
const APART: Duration = Duration::from_secs(299);
/// Who comes back within this time comes back together.
const TOGETHER: Duration = Duration::from_secs(10);

/// Who came back, as one observer saw it in one of its lives.
#[derive(Debug, Default)]
pub(super) struct Returns {
    last: BTreeMap<ServerId, Instant>,
    lately: VecDeque<Instant>,
    /// When somebody last waited to be let in.
    waited: Option<Instant>,
    /// When somebody came back too soon, and nobody with it so far.
    suspect: Option<Instant>,
}

impl Returns {
    /// Somebody waits to be let in.
    pub(super) fn wait(&mut self, now: Instant) {
        self.waited = Some(now);
    }

    /// The observer's clock has jumped at that time: to it all before is long ago.
    pub(super) fn jump(&mut self, at: Instant) {
        self.last.retain(|_, last| *last >= at);
    }

    /// A server is back. Whether one before came alone, and again too soon: of
    /// those that came at one time one has to be the first.
    pub(super) fn back(&mut self, now: Instant, id: ServerId) -> bool {
        while self.lately.front().is_some_and(|&at| at + TOGETHER < now) {
            self.lately.pop_front();
        }
        let overdue = self.suspect.take().is_some_and(|at| at < now);
        let alone = self.lately.is_empty() && self.waited.is_none_or(|at| at + TOGETHER < now);
        self.lately.push_back(now);
        let again = self.last.insert(id, now).is_some_and(|last| last + APART > now);
        self.suspect = (again && alone).then_some(now);
        overdue
    }
}
