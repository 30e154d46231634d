//! One queue of what is due when, each with its reason as its key.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::Instant;

/// Timers by key: setting one again moves it.
#[derive(Clone, Debug)]
pub struct Timers<K> {
    due: BTreeSet<(Instant, K)>,
    by_key: BTreeMap<K, Instant>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { due: BTreeSet::new(), by_key: BTreeMap::new() }
    }
}

impl<K: Copy + Ord> Timers<K> {
    /// Sets the timer of `key` to `at`, or takes it out.
    pub fn set(&mut self, key: K, at: Option<Instant>) {
        let before = match at {
            Some(at) => self.by_key.insert(key, at),
            None => self.by_key.remove(&key),
        };
        if let Some(before) = before {
            self.due.remove(&(before, key));
        }
        if let Some(at) = at {
            self.due.insert((at, key));
        }
    }

    /// Whether the timer of `key` is set.
    pub fn is_set(&self, key: K) -> bool {
        self.by_key.contains_key(&key)
    }

    /// What is due first.
    pub fn next(&self) -> Option<(Instant, K)> {
        self.due.first().copied()
    }

    /// Takes out what is due at `now` or before, the earliest first.
    pub fn pop(&mut self, now: Instant) -> Option<K> {
        let (at, key) = self.next()?;
        if at > now {
            return None;
        }
        self.set(key, None);
        Some(key)
    }

    /// How many are set.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// All of them, in the order in which they are due.
    pub fn iter(&self) -> impl Iterator<Item = (Instant, K)> {
        self.due.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeMap, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn they_go_off_in_order_and_once(sets in prop::collection::vec((0_u8..9, prop::option::of(0_u64..50)), 0..40)) {
            let (mut timers, mut model) = (Timers::default(), BTreeMap::new());
            for (key, at) in sets {
                timers.set(key, at.map(Instant::from_micros));
                match at {
                    Some(at) => { model.insert(key, at); }
                    None => { model.remove(&key); }
                }
            }
            let mut wanted: Vec<_> = model.into_iter().map(|(key, at)| (at, key)).filter(|(at, _)| *at <= 30).collect();
            wanted.sort_unstable();
            let popped: Vec<u8> = core::iter::from_fn(|| timers.pop(Instant::from_micros(30))).collect();
            prop_assert_eq!(popped, wanted.into_iter().map(|(_, key)| key).collect::<Vec<_>>());
            prop_assert!(timers.next().is_none_or(|(at, _)| at > Instant::from_micros(30)));
        }
    }
}
