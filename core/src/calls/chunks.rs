//! A queue of bytes in the pieces in which they came. Most streams are one
//! piece, for which nothing is allocated.

use alloc::collections::VecDeque;

use bytes::{Buf, Bytes};

/// Pieces of bytes, first in first out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chunks {
    first: Option<Bytes>,
    rest: VecDeque<Bytes>,
}

impl Chunks {
    pub(crate) fn push(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        if self.first.is_none() {
            self.first = Some(bytes);
        } else {
            self.rest.push_back(bytes);
        }
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Bytes> {
        match index.checked_sub(1) {
            None => self.first.as_ref(),
            Some(index) => self.rest.get(index),
        }
    }

    /// Drops up to `count` bytes off the first piece: how many, and whether
    /// that was all of it.
    pub(crate) fn drop_front(&mut self, count: u64) -> (u64, bool) {
        let Some(first) = &mut self.first else {
            return (0, false);
        };
        let dropped = usize::try_from(count).unwrap_or(usize::MAX).min(first.len());
        first.advance(dropped);
        let all = first.is_empty();
        if all {
            self.first = self.rest.pop_front();
        }
        (dropped as u64, all)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.first.iter().chain(&self.rest)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Bytes> {
        self.first.iter_mut().chain(&mut self.rest)
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    pub(crate) fn clear(&mut self) {
        self.first = None;
        self.rest.clear();
    }
}
