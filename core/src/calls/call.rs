//! One call at its host.

use alloc::{collections::VecDeque, vec::Vec};

use bytes::Bytes;

use super::{
    CallKey, Output, Way,
    stream::{Incoming, Outgoing, Piece},
};
use crate::{
    Error, Instant, Path, codec,
    wire::{
        Load,
        call::{INITIAL_CREDIT, ToClient},
        op::{Op, Reply},
    },
};

/// Replies that are larger than this travel as the call's outbound stream.
const MAX_INLINE_REPLY: usize = 16 * 1024;
/// The most bytes that an error is explained in; some quote what was asked.
const MAX_DETAIL: usize = 1024;
/// Pieces of a stream up to this size are not made to wait.
const SHORT: usize = 1024;

/// A call that is open, or whose answer the client may still ask for.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) key: CallKey,
    pub(super) verb: &'static str,
    pub(super) path: Path,
    /// When it was asked.
    pub(super) since: Instant,
    pub(super) has_deadline: bool,
    pub(super) logged: bool,
    /// What came of it; nothing yet while it is open.
    answer: Option<Result<Reply, Error>>,
    pub(super) input: Incoming,
    output: Outgoing,
    /// Whether what the outbound stream brings was given to another before.
    pub(super) again: bool,
}

type Out = VecDeque<Output>;

impl Call {
    /// A call for `op`, about `path`, whose outbound stream may be sent up to
    /// `limit`.
    pub(super) fn new(key: CallKey, op: &Op, path: Path, since: Instant, limit: u64) -> Self {
        Self {
            key,
            verb: op.verb(),
            path,
            since,
            has_deadline: false,
            logged: op.is_logged(),
            answer: None,
            input: Incoming::new(INITIAL_CREDIT + 1),
            output: Outgoing::new(limit),
            again: false,
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        self.answer.is_none()
    }

    /// The client has used up the outbound stream to `acked`.
    pub(super) fn credit(&mut self, way: Option<Way>, acked: u64, limit: u64, out: &mut Out) {
        let before = self.output.acked();
        self.output.credit(acked, limit);
        let acked = self.output.acked();
        if acked > before && self.is_open() {
            out.push_back(Output::Acked { key: self.key, acked });
        }
        self.pump(way, out);
    }

    /// The element adds to the outbound stream.
    pub(super) fn write(&mut self, way: Option<Way>, bytes: Bytes, end: bool, out: &mut Out) {
        self.output.write(bytes);
        if end {
            self.output.end();
        }
        self.pump(way, out);
    }

    /// The element is done with it.
    pub(super) fn finish(&mut self, way: Option<Way>, result: Result<Reply, Error>, out: &mut Out) {
        self.answer = Some(self.inline(result));
        self.pump(way, out);
        self.tell(way, out);
    }

    /// What the client may have missed is sent again.
    pub(super) fn repeat(&mut self, way: Option<Way>, out: &mut Out) {
        self.output.rewind();
        self.pump(way, out);
    }

    /// Tells the client the answer, or how far its stream has come: where it
    /// goes on.
    pub(super) fn tell(&self, way: Option<Way>, out: &mut Out) {
        let seq = self.key.seq;
        let message = match &self.answer {
            Some(result) => ToClient::Answer { seq, result: result.clone() },
            None => ToClient::Credit { seq, acked: self.input.acked(), limit: self.input.limit() },
        };
        send(way, message, out);
    }

    /// Sends what credit allows of the outbound stream.
    fn pump(&mut self, way: Option<Way>, out: &mut Out) {
        let Some(way) = way else {
            return;
        };
        while let Some(Piece { offset, bytes, end }) = self.output.take_piece() {
            // Pieces of one stream keep their order: only one that is all of it
            // may go before others.
            let bulk = offset > 0 || !end || bytes.len() > SHORT;
            let message = ToClient::Data { seq: self.key.seq, offset, end, again: self.again };
            out.push_back(Output::Packet { way, bulk, load: Load::from_host(message, bytes) });
        }
    }

    /// A reply that fits a packet, or else one that says that it is the
    /// outbound stream, which it then becomes.
    fn inline(&mut self, result: Result<Reply, Error>) -> Result<Reply, Error> {
        let reply = result.map_err(|error| error.cut_to(MAX_DETAIL))?;
        if !reply.may_be_large() {
            return Ok(reply);
        }
        let mut encoded = Vec::new();
        codec::encode(&reply, &mut encoded);
        if encoded.len() <= MAX_INLINE_REPLY {
            return Ok(reply);
        }
        self.output.write(encoded.into());
        self.output.end();
        Ok(Reply::Streamed)
    }
}

/// Sends a message without payload, if there is a way.
pub(super) fn send(way: Option<Way>, message: ToClient, out: &mut Out) {
    if let Some(way) = way {
        out.push_back(Output::Packet { way, bulk: false, load: Load::from_host(message, Bytes::new()) });
    }
}
