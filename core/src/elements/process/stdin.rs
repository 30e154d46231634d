//! Who writes to a process, and how far the writing has come.

use bytes::Bytes;

use super::super::{ElementId, Out, Output};
use crate::{Error, ErrorKind, calls::CallKey, effect::Effect, wire::op::Reply};

/// What a writer may be ahead of the process.
const AHEAD: u64 = 512 * 1024;

/// The standard input of a process.
#[derive(Debug, Default)]
pub(super) struct Stdin {
    writer: Option<Writer>,
    /// It was closed, by a writer or by the process.
    closed: bool,
    /// Bytes that the effect has and has not written yet.
    with_effect: u64,
}

#[derive(Debug)]
struct Writer {
    key: CallKey,
    /// What was with the effect before it came, of others.
    before: u64,
    received: u64,
    /// What was written of what it sent.
    written: u64,
    ended: bool,
    away: bool,
}

impl Stdin {
    /// One of which so much is still to be written, or that is closed.
    pub(super) fn kept(with_effect: u64, closed: bool) -> Self {
        Self { closed, with_effect, ..Self::default() }
    }

    /// Somebody wants to write. One may at a time; one whose client is away
    /// gives way.
    pub(super) fn open(&mut self, key: CallKey, out: &mut Out) {
        if let Some(writer) = &self.writer {
            if writer.ended || !writer.away {
                return answer(key, Err(Error::new(ErrorKind::WouldBlock, "somebody else is writing to it")), out);
            }
            answer(writer.key, Err(Error::new(ErrorKind::Aborted, "another writer took its place")), out);
        }
        let before = self.with_effect;
        self.writer = Some(Writer { key, before, received: 0, written: 0, ended: false, away: false });
    }

    /// The writer wrote.
    pub(super) fn write(&mut self, id: ElementId, key: CallKey, bytes: Bytes, end: bool, over: bool, out: &mut Out) {
        let Some(writer) = self.writer.as_mut().filter(|writer| writer.key == key) else {
            return;
        };
        writer.received += bytes.len() as u64;
        writer.ended |= end;
        if self.closed || over {
            // Nothing more can be written. To write nothing always succeeds.
            let wrote = writer.received > writer.written;
            if wrote || writer.ended {
                self.writer = None;
                let closed = Error::new(ErrorKind::Closed, "the process does not read any more");
                answer(key, if wrote { Err(closed) } else { Ok(Reply::Done) }, out);
            }
            return;
        }
        if !bytes.is_empty() {
            self.with_effect += bytes.len() as u64;
            out.push_back(Output::Effect(Effect::Write { id, bytes }));
        }
        if end {
            out.push_back(Output::Effect(Effect::CloseInput { id }));
        }
    }

    /// The process's pipe took `count` bytes.
    pub(super) fn wrote(&mut self, count: u64, out: &mut Out) {
        self.with_effect = self.with_effect.saturating_sub(count);
        if let Some(writer) = &mut self.writer {
            let of_others = count.min(writer.before);
            writer.before -= of_others;
            writer.written = (writer.written + count - of_others).min(writer.received);
            let (key, acked) = (writer.key, writer.written);
            if !writer.ended && count > of_others {
                out.push_back(Output::Grant { key, acked, limit: acked + AHEAD });
            }
        }
    }

    /// The pipe is closed: as the writer wished, or by the process.
    pub(super) fn closed(&mut self, out: &mut Out) {
        self.closed = true;
        // What an earlier writer had written is no matter of this one.
        let all_taken = core::mem::take(&mut self.with_effect) == 0;
        let Some(writer) = self.writer.take() else {
            return;
        };
        if writer.received > writer.written && !(writer.ended && all_taken) {
            answer(writer.key, Err(Error::new(ErrorKind::Closed, "the process does not read any more")), out);
        } else if writer.ended {
            answer(writer.key, Ok(Reply::Done), out);
        } else {
            self.writer = Some(writer); // it may yet write nothing more
        }
    }

    /// The writer goes; the input stays open.
    pub(super) fn close(&mut self, key: CallKey) -> bool {
        self.writer.take_if(|writer| writer.key == key).is_some()
    }

    pub(super) fn writer(&self) -> Option<CallKey> {
        self.writer.as_ref().map(|writer| writer.key)
    }

    pub(super) fn away(&mut self, key: CallKey) {
        self.set_away(key, true);
    }

    pub(super) fn back(&mut self, key: CallKey) {
        self.set_away(key, false);
    }

    fn set_away(&mut self, key: CallKey, away: bool) {
        if let Some(writer) = self.writer.as_mut().filter(|writer| writer.key == key) {
            writer.away = away;
        }
    }
}

fn answer(key: CallKey, result: Result<Reply, Error>, out: &mut Out) {
    out.push_back(Output::Answer { key, result });
}
