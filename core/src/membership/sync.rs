//! Reconciling two views: hashes of parts of them first, and then only the
//! parts that differ.

use alloc::{vec, vec::Vec};
use core::time::Duration;

use super::{
    Membership, Record,
    message::{MAX_BUCKETS, MAX_RECORDS, Message, News, Parts},
    rings::mix,
};
use crate::{Instant, ServerId, codec::DecodeError};

/// When two views differ, they are compared again so soon.
const COMPARE_AGAIN: Duration = Duration::from_millis(300);
/// Servers in one part, about.
const IN_PART: usize = 8;

/// In which of `of` parts a server is.
pub(super) const fn bucket(id: ServerId, of: usize) -> usize {
    // The remainder is below `of`.
    (mix(id.0) % of as u64) as usize
}

impl Membership {
    /// Views that differ twice in a row are reconciled, one after the other: while
    /// much changes all views differ, and to have each from everybody is no help.
    pub(super) fn compare(&mut self, now: Instant, from: ServerId, hash: u128) {
        let Some(peer) = self.peers.get_mut(&from) else {
            return;
        };
        if hash == self.view.hash() {
            peer.differs = 0;
            return self.out.extend(self.heal.joined(from));
        }
        if self.leaving.is_some() {
            return;
        }
        peer.differs = (peer.differs + 1).min(2);
        let had_one = self.reconciled.is_some_and(|at| at + COMPARE_AGAIN > now);
        if peer.differs < 2 || had_one {
            return self.hasten(from, now + COMPARE_AGAIN);
        }
        peer.differs = 0;
        // One of the two is enough.
        if self.me < from {
            self.reconciled = Some(now);
            self.send_digest(from);
        }
    }

    /// Offers to reconcile.
    pub(super) fn send_digest(&mut self, to: ServerId) {
        let parts = self.view.len().div_ceil(IN_PART).next_power_of_two().min(MAX_BUCKETS);
        let hashes = self.hashes(parts);
        self.say(to, &Message::Digest(hashes));
    }

    fn hashes(&self, parts: usize) -> Vec<u64> {
        let mut hashes = vec![0; parts];
        for record in self.view.all() {
            if let Some(hash) = hashes.get_mut(bucket(record.id, parts)) {
                let wide = record.hash();
                *hash ^= (wide as u64) ^ ((wide >> 64) as u64);
            }
        }
        hashes
    }

    /// Another view's hashes: what is known here of the parts that differ goes
    /// back.
    pub(super) fn digest(&mut self, from: ServerId, theirs: &[u64]) -> Result<(), DecodeError> {
        let of = theirs.len();
        if !of.is_power_of_two() {
            return Err(DecodeError { what: "a digest of a strange size", offset: 0 });
        }
        let mine = self.hashes(of);
        let differ = mine.iter().zip(theirs).enumerate().filter(|(_, (mine, theirs))| mine != theirs);
        let parts: Vec<u16> = differ.filter_map(|(part, _)| u16::try_from(part).ok()).collect();
        self.send_parts(from, of, &parts, true);
        Ok(())
    }

    /// Sends all that is known in some parts.
    fn send_parts(&mut self, to: ServerId, of: usize, parts: &[u16], first: bool) {
        let mut within = vec![false; of];
        for &part in parts {
            if let Some(within) = within.get_mut(usize::from(part)) {
                *within = true;
            }
        }
        let is_within = |record: &Record| within.get(bucket(record.id, of)) == Some(&true);
        let records: Vec<Record> = self.view.all().filter(is_within).collect();
        let mut batches: Vec<Vec<Record>> = records.chunks(MAX_RECORDS).map(<[_]>::to_vec).collect();
        if batches.is_empty() {
            batches.push(Vec::new());
        }
        let count = batches.len();
        for (index, records) in batches.into_iter().enumerate() {
            let parts = (first && index == 0).then(|| Parts(parts.to_vec()));
            let of = u16::try_from(of).unwrap_or(u16::MAX);
            self.say(to, &Message::Records { of, parts, records, last: index + 1 == count });
        }
    }

    /// Another's records.
    pub(super) fn records(
        &mut self,
        now: Instant,
        from: ServerId,
        of: u16,
        parts: Option<Parts>,
        records: &[Record],
        last: bool,
    ) -> Result<(), DecodeError> {
        if !of.is_power_of_two() {
            return Err(DecodeError { what: "parts of a strange number", offset: 0 });
        }
        if let Some(Parts(parts)) = parts
            && !parts.is_empty()
        {
            self.send_parts(from, usize::from(of), &parts, false);
        }
        for &record in records {
            // What it holds of this server itself is no hearsay.
            self.learn(now, News { record, verdict: record.id == self.me }, Some(from));
        }
        if last {
            self.out.extend(self.heal.joined(from));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            State,
            message::{Beat, Why},
            rig::{Rig, alive, dead},
        },
        *,
    };

    /// Has one hear what the other said about its view: how many records.
    fn carry(from: &mut Rig, to: &mut Rig, id: u64) -> usize {
        let mut carried = 0;
        for (target, message) in core::mem::take(&mut from.said) {
            if let Message::Records { records, .. } = &message {
                carried += records.len();
            }
            if target == 3 - id && matches!(message, Message::Digest(_) | Message::Records { .. }) {
                to.hear(id, &message);
            }
        }
        carried
    }

    /// Makes two views one: how many records that takes.
    fn reconcile(one: &mut Rig, other: &mut Rig) -> usize {
        one.act(|one, _| one.send_digest(ServerId(2)));
        let mut carried = 0;
        for _ in 0..5 {
            carried += carry(one, other, 1) + carry(other, one, 2);
        }
        carried
    }

    /// Two servers with a link between them, and the same view of many.
    fn two(count: u64) -> (Rig, Rig) {
        let mut pair = (Rig::among(2), Rig::of(2));
        pair.1.meet(1);
        for rig in [&mut pair.0, &mut pair.1] {
            (3..=count).for_each(|id| rig.act(|one, now| one.adopt(now, alive(id))));
            rig.forget();
        }
        pair
    }

    #[test]
    fn two_views_become_one_and_only_what_differs_is_sent() {
        let (mut one, mut other) = two(500);
        for id in 501..=503 {
            one.act(|one, now| one.adopt(now, alive(id)));
            other.act(|one, now| one.adopt(now, alive(id + 100)));
        }
        one.act(|one, now| one.adopt(now, Record { state: State::Left, ..alive(7) }));
        let carried = reconcile(&mut one, &mut other);
        assert_eq!(one.one.view().hash(), other.one.view().hash());
        assert!(other.sees(501) && one.sees(603) && !other.sees(7));
        assert!(carried < 7 * 2 * 3 * IN_PART, "{carried} records");
    }

    #[test]
    fn a_death_heard_that_way_is_an_accusation() {
        let (mut one, mut other) = two(20);
        one.act(|one, now| one.adopt(now, dead(9)));
        reconcile(&mut one, &mut other);
        assert!(other.sees(9), "it has a while to say that it is not");
        assert!(other.one.accused.contains_key(&ServerId(9)));
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_changes_nothing() {
        let mut rig = Rig::among(3);
        let before = rig.one.view().hash();
        let strange = [
            Message::Digest(vec![0; 3]),
            Message::Digest(vec![]),
            Message::Records { of: 0, parts: None, records: vec![alive(9)], last: true },
            Message::Records { of: 12, parts: Some(Parts(vec![1])), records: vec![alive(9)], last: true },
        ];
        for message in strange {
            let body = message.encode();
            let result = rig.act(|one, now| one.handle_message(now, ServerId(2), &body));
            assert!(result.is_err(), "{message:?}");
        }
        assert!(rig.said.is_empty() && rig.one.view().hash() == before);
    }

    #[test]
    fn views_that_differ_twice_are_reconciled_by_one_of_the_two() {
        let mut rig = Rig::among(2);
        let other = Beat { seq: 9, echo: 9, why: Why::Reply, hash: 12_345 };
        let digests = |rig: &Rig| rig.said.iter().filter(|(_, said)| matches!(said, Message::Digest(_))).count();
        rig.hear(2, &Message::Beat(other));
        assert_eq!(digests(&rig), 0, "news may be on their way");
        rig.hear(2, &Message::Beat(other));
        assert_eq!(digests(&rig), 1);
    }

    #[test]
    fn views_that_all_differ_are_reconciled_one_after_the_other() {
        let mut rig = Rig::among(5);
        let same = Beat { seq: 9, echo: 9, why: Why::Reply, hash: rig.one.view().hash() };
        (2..=5).for_each(|id| rig.hear(id, &Message::Beat(same)));
        let other = Beat { hash: 12_345, ..same };
        let asked = |rig: &Rig| {
            let digests = rig.said.iter().filter(|(_, said)| matches!(said, Message::Digest(_)));
            digests.map(|(to, _)| *to).collect::<Vec<_>>()
        };
        let all_differ = |rig: &mut Rig| (2..=5).for_each(|id| rig.hear(id, &Message::Beat(other)));
        all_differ(&mut rig);
        all_differ(&mut rig);
        assert_eq!(asked(&rig), [2]);
        rig.now += COMPARE_AGAIN;
        all_differ(&mut rig);
        assert_eq!(asked(&rig), [2, 3], "the first has just been asked");
    }
}
