//! One message in a channel.

use bytes::Bytes;

use super::{Out, Output, WINDOW, is_long};
use crate::{
    ErrorKind,
    calls::{CallKey, Chunks},
};

#[derive(Debug)]
pub(super) struct Message {
    /// Whose answer is still owed.
    pub(super) sender: Option<CallKey>,
    /// Its sender was told that it is buffered.
    pub(super) accepted: bool,
    pub(super) slotted: bool,
    /// The bytes that it counts for, once it was accepted.
    pub(super) buffered: u64,
    /// It goes to somebody at once, or nowhere.
    pub(super) try_only: bool,
    pub(super) leased_to: Option<CallKey>,
    /// What its sender said before it, in bytes.
    pub(super) prefix: u64,
    /// To how many receivers it was leased so far.
    pub(super) given: u32,
    /// Its sender wants it back, should its receiver be lost.
    pub(super) cancelled: Option<ErrorKind>,
    /// The rest of it is not coming for now.
    pub(super) stalled: bool,
    /// All that has come of it, for as long as it may be given to another.
    kept: Chunks,
    /// How many pieces of that have memory of their own, rather than that of
    /// the record in which they came.
    moved: usize,
    received: u64,
    whole: bool,
}

impl Message {
    pub(super) fn new(sender: CallKey, input: Bytes, whole: bool) -> Self {
        let mut message = Self {
            sender: Some(sender),
            accepted: false,
            slotted: false,
            buffered: 0,
            try_only: false,
            leased_to: None,
            prefix: 0,
            given: 0,
            cancelled: None,
            stalled: false,
            kept: Chunks::default(),
            moved: 0,
            received: 0,
            whole: false,
        };
        message.push(input, whole);
        message
    }

    /// One that the channel's own server puts in, whole.
    pub(super) fn own(bytes: Bytes) -> Self {
        let nobody = CallKey { registration: 0, seq: 0 };
        Self { sender: None, accepted: true, slotted: true, ..Self::new(nobody, bytes, true) }
    }

    /// Puts other bytes in its place, unless it was given to somebody already.
    pub(super) fn replace(&mut self, bytes: Bytes) -> bool {
        let untouched = self.given == 0;
        if untouched {
            *self = Self::own(bytes);
        }
        untouched
    }

    /// More of it has come.
    pub(super) fn push(&mut self, bytes: Bytes, end: bool) {
        self.received += bytes.len() as u64;
        self.whole |= end;
        self.stalled &= !self.whole;
        if self.leased_to.is_some() && is_long(self.received) {
            self.moved = 0;
            self.kept.clear(); // bound: no other receiver will ever have it
        } else {
            self.kept.push(bytes);
        }
    }

    /// It stays for a while: gives it memory of its own, as the record that it
    /// came in may be much larger.
    pub(super) fn settle_down(&mut self) {
        for bytes in self.kept.iter_mut().skip(self.moved) {
            *bytes = Bytes::copy_from_slice(bytes);
        }
        self.moved = self.kept.len();
    }

    /// Gives all that has come to `receiver`, and the rest as it comes.
    pub(super) fn lease(&mut self, receiver: CallKey, out: &mut Out) {
        self.leased_to = Some(receiver);
        self.given += 1;
        if self.given > 1 {
            out.push_back(Output::Again(receiver));
        }
        let last = self.kept.len();
        for (index, bytes) in self.kept.iter().enumerate() {
            let end = self.whole && index + 1 == last;
            out.push_back(Output::Write { key: receiver, bytes: bytes.clone(), end });
        }
        if self.whole && last == 0 {
            out.push_back(Output::Write { key: receiver, bytes: Bytes::new(), end: true });
        }
        self.widen(0, out);
        if is_long(self.received) {
            self.kept.clear();
            self.moved = 0;
        }
    }

    /// Its receiver has used it up to `acked`: its sender may go on, once it is
    /// bound to that receiver. Before that it may have to wait for another, and
    /// no more of it is kept than is kept of any.
    pub(super) fn widen(&self, acked: u64, out: &mut Out) {
        if let (Some(sender), false, true) = (self.sender, self.whole, self.is_bound()) {
            let (acked, limit) = (self.prefix + self.received, self.prefix + acked + WINDOW);
            out.push_back(Output::Grant { key: sender, acked, limit });
        }
    }

    pub(super) const fn received(&self) -> u64 {
        self.received
    }

    pub(super) const fn is_whole(&self) -> bool {
        self.whole
    }

    /// Whether a select has chosen to send it and has not begun to.
    pub(super) const fn is_unbegun(&self) -> bool {
        self.prefix > 0 && self.received == 0 && !self.whole
    }

    /// Whether it can be buffered.
    pub(super) const fn is_short_and_whole(&self) -> bool {
        self.whole && !is_long(self.received)
    }

    /// Whether it can only go to the receiver that has it.
    pub(super) const fn is_bound(&self) -> bool {
        is_long(self.received)
    }
}
