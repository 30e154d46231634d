//! A set of numbers that is mostly one long run: the calls that are over.

use alloc::{collections::BTreeMap, vec::Vec};

/// Disjoint ranges of numbers, both ends included.
///
/// A client's calls are answered nearly in order, so there are as many ranges
/// as there are calls still open, and not as many as there were calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intervals {
    /// First to last.
    ranges: BTreeMap<u64, u64>,
}

impl Intervals {
    /// Whether `number` is in the set.
    pub fn contains(&self, number: u64) -> bool {
        self.ranges.range(..=number).next_back().is_some_and(|(_, &last)| last >= number)
    }

    /// Adds the numbers from `first` to `last`; nothing if there are none.
    pub fn insert(&mut self, first: u64, last: u64) {
        if first > last {
            return;
        }
        let (mut first, mut last) = (first, last);
        if let Some((&before, &end)) = self.ranges.range(..=first).next_back()
            && end.saturating_add(1) >= first
        {
            first = before;
            last = last.max(end);
        }
        while let Some((&next, &end)) = self.ranges.range(first..=last.saturating_add(1)).next() {
            last = last.max(end);
            self.ranges.remove(&next);
        }
        self.ranges.insert(first, last);
    }

    /// How many ranges there are.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there is no number in it.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The ranges in order, at most `most` of them; the last ones if there are
    /// more, as the first are the oldest and the likeliest to be known.
    pub fn to_ranges(&self, most: usize) -> Vec<(u64, u64)> {
        let skipped = self.ranges.len().saturating_sub(most);
        self.ranges.iter().skip(skipped).map(|(&first, &last)| (first, last)).collect()
    }

    /// Takes all of them out.
    pub fn take(&mut self) -> Self {
        core::mem::take(self)
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set_in_the_fewest_ranges(inserts in prop::collection::vec((0_u64..60, 0_u64..6), 0..30)) {
            let (mut set, mut model) = (Intervals::default(), BTreeSet::new());
            for (first, length) in inserts {
                set.insert(first, first + length);
                model.extend(first..=first + length);
            }
            let gaps = model.iter().filter(|&&n| !model.contains(&(n + 1))).count();
            prop_assert_eq!(set.len(), gaps);
            for number in 0..70 {
                prop_assert_eq!(set.contains(number), model.contains(&number));
            }
        }
    }

    #[test]
    fn the_ends_of_the_numbers_are_numbers_too() {
        let mut set = Intervals::default();
        set.insert(u64::MAX, u64::MAX);
        set.insert(0, 0);
        set.insert(3, 2);
        assert!(set.contains(u64::MAX) && set.contains(0) && !set.contains(2));
        set.insert(0, u64::MAX);
        assert_eq!(set.to_ranges(9), [(0, u64::MAX)]);
    }
}
