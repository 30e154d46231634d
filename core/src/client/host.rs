//! What a client keeps of a host.

use alloc::{boxed::Box, collections::BTreeMap};

use super::call::Call;
use crate::{
    Instant,
    calls::intervals::Intervals,
    wire::call::{MAX_RANGES, Ranges},
};

#[derive(Debug, Default)]
pub(super) struct Host {
    pub(super) phase: Phase,
    /// What the host knows this client by; 0 before it does.
    pub(super) registration: u64,
    /// The number of the last attachment.
    pub(super) attempt: u32,
    /// How many of the last attachments came to nothing.
    pub(super) failures: u32,
    /// Calls that were not answered, by number.
    pub(super) calls: BTreeMap<u64, Box<Call>>,
    /// Calls that were and that the host was told of.
    told: Intervals,
    /// Those it was not told of, and how many they are.
    untold: Intervals,
    pub(super) untold_count: u32,
    next: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// There is no way to it.
    #[default]
    Detached,
    /// It was asked to open one, then.
    Attaching(Instant),
    /// There is one.
    Attached,
}

impl Host {
    pub(super) fn is_attached(&self) -> bool {
        self.phase == Phase::Attached
    }

    /// Gives a call its number.
    pub(super) fn add(&mut self, call: Call) -> u64 {
        self.next += 1;
        self.calls.insert(self.next, Box::new(call));
        self.next
    }

    /// A call is over: its number is never used again.
    pub(super) fn retire(&mut self, seq: u64) -> Option<Box<Call>> {
        self.untold.insert(seq, seq);
        self.untold_count += 1;
        self.calls.remove(&seq)
    }

    /// The calls that the host is to be told of.
    pub(super) fn tell(&mut self) -> Ranges {
        self.untold_count = 0;
        let untold = self.untold.take().to_ranges(MAX_RANGES);
        for &(first, last) in &untold {
            self.told.insert(first, last);
        }
        untold
    }

    /// All calls that were.
    pub(super) fn answered(&mut self) -> Ranges {
        self.tell();
        self.told.to_ranges(MAX_RANGES)
    }

    /// The way is gone: what was on it must be sent again.
    pub(super) fn detach(&mut self) {
        self.phase = Phase::Detached;
        for call in self.calls.values_mut() {
            call.rewind();
        }
    }

    /// The host knows nothing of what was asked: takes out all calls. Their
    /// numbers count as answered from now on, so that nothing of them that is
    /// late can be taken for what is asked next.
    pub(super) fn start_over(&mut self) -> BTreeMap<u64, Box<Call>> {
        let Self { attempt, next, .. } = *self;
        let mut told = Intervals::default();
        if next > 0 {
            told.insert(1, next);
        }
        let before = core::mem::replace(self, Self { attempt, next, told, ..Self::default() });
        before.calls
    }
}
