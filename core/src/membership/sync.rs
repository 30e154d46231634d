//! Reconciling two views: hashes of parts of them first, and then only the
//! parts that differ.

use alloc::{collections::BTreeSet, vec, vec::Vec};

use super::{
    Membership, Record,
    message::{MAX_BUCKETS, MAX_RECORDS, Message, News, Parts},
    rings::mix,
};
use crate::{Instant, ServerId, codec::DecodeError};

/// Servers in one part, about.
const IN_PART: usize = 8;

/// In which of `of` parts a server is.
pub(super) const fn bucket(id: ServerId, of: usize) -> usize {
    // The remainder is below `of`.
    (mix(id.0) % of as u64) as usize
}

impl Membership {
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
        let within: BTreeSet<usize> = parts.iter().copied().map(usize::from).collect();
        let records: Vec<Record> =
            self.view.all().filter(|record| within.contains(&bucket(record.id, of))).copied().collect();
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
            self.learn(now, News { record, verdict: false }, Some(from));
        }
        if last {
            self.out.extend(self.heal.joined(from));
        }
        Ok(())
    }
}
