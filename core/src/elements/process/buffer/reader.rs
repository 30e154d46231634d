//! Somebody who reads an output of a process.

use alloc::collections::VecDeque;

use bytes::Bytes;

use crate::{
    calls::CallKey,
    elements::{Out, Output},
};

/// A call whose outbound stream is the output from some byte on, less what was
/// forgotten before it was sent.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) key: CallKey,
    /// What it was sent, as an offset of the output, and of its own stream.
    pub(super) sent: u64,
    pub(super) written: u64,
    pub(super) acked: u64,
    /// Where its stream leaves out something: at which offset of the stream,
    /// and by how much the two offsets differ from there on.
    shifts: VecDeque<(u64, u64)>,
    pub(super) missed: u64,
    pub(super) ended: bool,
}

impl Reader {
    pub(super) fn new(key: CallKey, start: u64, missed: u64) -> Self {
        let shifts = VecDeque::from([(0, start)]);
        Self { key, sent: start, written: 0, acked: 0, shifts, missed, ended: false }
    }

    /// It is sent what comes next.
    pub(super) fn give(&mut self, bytes: Bytes, out: &mut Out) {
        self.sent += bytes.len() as u64;
        self.written += bytes.len() as u64;
        out.push_back(Output::Write { key: self.key, bytes, end: false });
    }

    /// What it has not been sent yet is forgotten up to `base`.
    pub(super) fn skip_to(&mut self, base: u64) {
        if self.sent < base {
            self.missed += base - self.sent;
            self.sent = base;
            self.shifts.push_back((self.written, base - self.written));
        }
    }

    /// It acknowledged its stream to `acked`; that offset in the output.
    pub(super) fn ack(&mut self, acked: u64) -> u64 {
        self.acked = acked;
        while self.shifts.get(1).is_some_and(|&(from, _)| from <= acked) {
            self.shifts.pop_front();
        }
        acked + self.shifts.front().map_or(0, |&(_, shift)| shift)
    }
}
