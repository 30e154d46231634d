//! One call, as its client keeps it until it is answered.

use alloc::vec::Vec;

use super::CallId;
use crate::{
    AnchorPath, Error, Instant, ServerId,
    calls::stream::{Incoming, Outgoing},
    wire::{
        call::INITIAL_CREDIT,
        op::{Op, Reply},
    },
};

/// What may come of a stream ahead of its caller, at most.
const WINDOW: u64 = 1024 * 1024;
/// What may come at once, and whatever else comes.
const FIRST_WINDOW: u64 = 64 * 1024;
/// What may come of all streams, about: they come on one connection, which is
/// closed when more waits on it than [`MAX_QUEUED`](crate::links::MAX_QUEUED).
const ALL_WINDOWS: u64 = 8 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: CallId,
    pub(super) op: Op,
    pub(super) deadline: Option<Instant>,
    /// Whether any server would do, and the one that was dialled was chosen.
    pub(super) any: bool,
    /// Whether the host may have heard of it.
    pub(super) sent: bool,
    /// Whether it was sent on the present way.
    pub(super) here: bool,
    /// Whether the host must say how far the stream to it has come before more
    /// of that is sent.
    pub(super) resuming: bool,
    /// Whether it should end, and whether the host was told so.
    pub(super) cancel: bool,
    pub(super) cancel_sent: bool,
    /// Whether the caller has had an answer, or does not want one.
    pub(super) reported: bool,
    /// To the host.
    pub(super) input: Outgoing,
    /// From the host.
    pub(super) output: Incoming,
    /// What may come ahead of its caller now.
    pub(super) window: u64,
    /// What the host was last told: what was used up, and the limit.
    pub(super) told: (u64, u64),
    /// The answer, while the stream that it stands for is still coming.
    pub(super) answer: Option<Result<Reply, Error>>,
    /// That stream.
    pub(super) reply: Vec<u8>,
}

impl Call {
    pub(super) fn new(id: CallId, op: Op, deadline: Option<Instant>, any: bool) -> Self {
        let mut input = Outgoing::new(INITIAL_CREDIT + 1);
        if !op.takes_input() {
            input.end();
        }
        Self {
            id,
            op,
            deadline,
            any,
            sent: false,
            here: false,
            resuming: false,
            cancel: false,
            cancel_sent: false,
            reported: false,
            input,
            output: Incoming::new(FIRST_WINDOW),
            window: WINDOW,
            told: (0, FIRST_WINDOW),
            answer: None,
            reply: Vec::new(),
        }
    }

    /// The anchor that it is about.
    pub(super) fn place(&self, host: ServerId) -> AnchorPath {
        AnchorPath { server: host, path: self.op.path() }
    }

    /// Whether, without an answer, nobody can say what came of it: it was sent,
    /// and it changes something. A receive changes nothing before its message
    /// is acknowledged, a clause of a select nothing before it is told to.
    pub(super) fn is_unknowable(&self) -> bool {
        let acknowledged = self.output.is_ended() && self.output.acked() > self.output.received();
        let untold = self.op.takes_effect_when_told() && self.input.written() == 0;
        let harmless = self.op.is_read() || self.op.takes_effect_when_read() && !acknowledged;
        self.sent && !harmless && !untold
    }

    /// Whether its caller has something of an answer that the next one would
    /// repeat, or contradict.
    pub(super) fn is_half_read(&self) -> bool {
        !self.op.is_read() && (self.output.received() > 0 || self.output.is_ended())
    }

    /// The way was lost: everything on it must be sent again.
    pub(super) fn rewind(&mut self) {
        self.here = false;
        self.cancel_sent = false;
        self.input.rewind();
    }

    /// The caller, who has `open` calls, is done with so much of the stream from
    /// the host.
    pub(super) fn consume(&mut self, count: usize, end: bool, open: usize) {
        let share = ALL_WINDOWS / (open as u64).max(1);
        self.window = share.clamp(FIRST_WINDOW, WINDOW);
        let acked = self.output.acked() + count as u64 + u64::from(end);
        self.output.grant(acked, acked + self.window);
    }

    /// Whether it is time to tell the host what was consumed. Elements wait for
    /// that too, and not for the limit alone, which does not move while the
    /// window shrinks.
    pub(super) fn should_tell(&self) -> bool {
        let (acked, limit) = self.told;
        let half = self.window / 2;
        let all = self.output.is_ended() && self.output.acked() > self.output.received().max(acked);
        all || self.output.acked() >= acked + half || self.output.limit() >= limit + half
    }
}
