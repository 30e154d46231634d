//! What is known of every server, merged by maximum, and who of them is there.
//!
//! A record says what a server's owner or its observers said last. Whether the
//! server is *there* is this observer's own log of joins and leaves, folded: a
//! server whose readmission is damped has a record that says alive and is not
//! there yet.

use alloc::vec::Vec;
use core::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{rings::mix, roster::Roster};
use crate::{Epoch, ServerId};

/// Whether a server is there. Ordered: of two records of one epoch the later
/// state wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum State {
    /// It said so itself.
    Alive,
    /// Its observers found it gone.
    Dead,
    /// It said that it leaves.
    Left,
}

/// What is known of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Which server.
    pub id: ServerId,
    /// How recent this is.
    pub epoch: Epoch,
    /// Whether it is there.
    pub state: State,
    /// Where it can be dialled.
    pub addr: SocketAddr,
}

impl Record {
    /// Of two records of one server the one of the higher rank holds. Having
    /// left is final for its start, whatever rises that start had.
    pub fn rank(&self) -> (u32, bool, u32, State) {
        (self.epoch.start, self.state == State::Left, self.epoch.rise, self.state)
    }

    /// What it adds to the hash of a view: nothing unless it is alive.
    pub(super) fn hash(&self) -> u128 {
        if self.state != State::Alive {
            return 0;
        }
        let epoch = u64::from(self.epoch.start) << 32 | u64::from(self.epoch.rise);
        let (low, high) = (mix(self.id.0 ^ mix(epoch)), mix(self.id.0.rotate_left(32) ^ mix(!epoch)));
        u128::from(high) << 64 | u128::from(low)
    }
}

/// One entry of an observer's log: a server joined, or left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its place in the observer's log, from 1.
    pub seq: u64,
    /// Whether it joined, rather than left.
    pub joined: bool,
    /// Who.
    pub id: ServerId,
    /// Under which epoch it joined, or that it had when it left.
    pub epoch: Epoch,
}

/// All that one server knows of the others.
#[derive(Clone, Debug, Default)]
pub struct View {
    known: Roster,
    hash: u128,
    events: u64,
    present: usize,
    /// The most that were there at once.
    most: usize,
}

impl View {
    /// What is known of a server, there or gone.
    pub fn get(&self, id: ServerId) -> Option<Record> {
        self.known.get(id).map(|(record, _)| record)
    }

    /// What is known of a server that is there.
    pub fn live(&self, id: ServerId) -> Option<Record> {
        self.known.get(id).filter(|(_, present)| *present).map(|(record, _)| record)
    }

    /// All that are there, in the order in which they were heard of, about.
    pub fn all_live(&self) -> impl Iterator<Item = Record> {
        self.known.iter().filter(|(_, present)| *present).map(|(record, _)| record)
    }

    /// All that are there, in order of ids.
    pub fn sorted(&self) -> Vec<Record> {
        let mut all: Vec<Record> = self.all_live().collect();
        all.sort_unstable_by_key(|record| record.id);
        all
    }

    /// The ids of all that are there.
    pub fn ids(&self) -> impl Iterator<Item = ServerId> {
        self.known.present()
    }

    /// All that is known.
    pub fn all(&self) -> impl Iterator<Item = Record> {
        self.known.iter().map(|(record, _)| record)
    }

    /// How many are there.
    pub const fn len(&self) -> usize {
        self.present
    }

    /// How many were there when they were most.
    pub const fn most(&self) -> usize {
        self.most
    }

    /// Whether nobody is there, as before the first event.
    pub const fn is_empty(&self) -> bool {
        self.present == 0
    }

    /// How many servers are known, there or gone.
    pub fn known(&self) -> usize {
        self.known.len()
    }

    /// How many events the observer's log has; who is there is what they fold
    /// to.
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// A hash of all records that say alive: equal views have equal hashes.
    pub const fn hash(&self) -> u128 {
        self.hash
    }

    /// Puts `record` in the place of what was known, and says which epoch is
    /// not there any more by that.
    pub(crate) fn put(&mut self, record: Record) -> Option<Event> {
        let before = self.known.get(record.id);
        let stays = before.is_some_and(|(known, present)| {
            present && record.state == State::Alive && known.epoch.start == record.epoch.start
        });
        self.hash ^= record.hash() ^ before.map_or(0, |(known, _)| known.hash());
        self.known.put(record, stays);
        let (gone, _) = before.filter(|(_, present)| *present && !stays)?;
        self.present -= 1;
        Some(self.event(false, record.id, gone.epoch))
    }

    /// The observer's own epoch has risen: no event.
    pub(super) fn raise(&mut self, record: Record) {
        if let Some((own, present)) = self.known.get(record.id) {
            self.hash ^= record.hash() ^ own.hash();
            self.known.put(record, present);
        }
    }

    /// Lets a server in that is known to be alive.
    pub(crate) fn admit(&mut self, id: ServerId) -> Option<Event> {
        let (record, _) = self.known.get(id).filter(|(known, present)| !present && known.state == State::Alive)?;
        self.known.put(record, true);
        self.present += 1;
        self.most = self.most.max(self.present);
        Some(self.event(true, id, record.epoch))
    }

    /// Forgets a server that is gone.
    pub(super) fn forget(&mut self, id: ServerId) {
        if self.get(id).is_some_and(|known| known.state != State::Alive) {
            self.known.remove(id);
        }
    }

    const fn event(&mut self, joined: bool, id: ServerId, epoch: Epoch) -> Event {
        self.events += 1;
        Event { seq: self.events, joined, id, epoch }
    }
}

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeMap, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    fn record() -> impl Strategy<Value = Record> {
        (0_u64..4, 1_u32..3, 0_u32..3, 0_u8..3).prop_map(|(id, start, rise, state)| Record {
            id: ServerId(id),
            epoch: Epoch { start, rise },
            state: [State::Alive, State::Dead, State::Left][usize::from(state)],
            addr: ([127, 0, 0, 1], 1).into(),
        })
    }

    fn merge(view: &mut View, record: Record, events: &mut Vec<Event>) {
        if view.get(record.id).is_none_or(|known| known.rank() < record.rank()) {
            events.extend(view.put(record));
            events.extend(view.admit(record.id));
        }
    }

    proptest! {
        #[test]
        fn the_log_alternates_and_folds_to_the_view(records in prop::collection::vec(record(), 0..60)) {
            let (mut view, mut events) = (View::default(), Vec::new());
            for record in records {
                merge(&mut view, record, &mut events);
            }
            let (mut fold, mut last) = (BTreeMap::new(), BTreeMap::new());
            for (event, seq) in events.iter().zip(1..) {
                prop_assert_eq!(event.seq, seq);
                if event.joined {
                    prop_assert!(last.insert(event.id, event.epoch).is_none_or(|before| before < event.epoch));
                    prop_assert_eq!(fold.insert(event.id, event.epoch), None);
                } else {
                    prop_assert!(fold.remove(&event.id).is_some());
                }
            }
            // A rise is no event, and another start is another server.
            let live: Vec<_> = view.sorted().iter().map(|record| (record.id, record.epoch.start)).collect();
            prop_assert_eq!(live.len(), view.len());
            prop_assert_eq!(live, fold.into_iter().map(|(id, epoch)| (id, epoch.start)).collect::<Vec<_>>());
        }

        #[test]
        fn whatever_the_order_the_records_and_the_hash_are_the_same(
            records in prop::collection::vec(record(), 0..30),
            by in 0_usize..30,
        ) {
            let (mut one, mut other) = (View::default(), View::default());
            let mut turned = records.clone();
            turned.rotate_left(by.min(records.len()));
            records.into_iter().for_each(|record| merge(&mut one, record, &mut Vec::new()));
            turned.into_iter().for_each(|record| merge(&mut other, record, &mut Vec::new()));
            prop_assert_eq!(one.hash(), other.hash());
            prop_assert_eq!(one.sorted(), other.sorted());
            let anew = one.all().fold(0, |hash, record| hash ^ record.hash());
            prop_assert_eq!(one.hash(), anew);
        }
    }
}
