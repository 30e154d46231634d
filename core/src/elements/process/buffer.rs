//! What a process has written and readers have not, as far as it is kept: in
//! memory at most [`MAX_OUTPUT`], on disk [`MAX_FILE`].
//!
//! Offsets count from the first byte the process wrote. What any reader has
//! acknowledged may be forgotten, and is when room is needed; what none has is
//! kept, and when that fills all the room the process has to wait, as at a
//! pipe. One that is never to wait has the oldest forgotten, read or not.
//!
//! What is kept on disk is with the effect. Here is known how far it goes, and
//! it is fetched piece by piece as readers come to it.

#[cfg(test)]
mod disk;
mod reader;
#[cfg(test)]
mod tests;

use alloc::{
    collections::{BTreeSet, VecDeque},
    vec::Vec,
};

use bytes::{Buf, Bytes};

use super::kept::KeptOutput;
use crate::{
    Error, ErrorKind,
    calls::CallKey,
    effect::Effect,
    elements::{ElementId, Out, Output},
    wire::op::{OutputSpec, Reply, Stdio},
};
use reader::Reader;

/// The most output that is kept in memory of one stream of a process.
pub(super) const MAX_OUTPUT: u64 = 1024 * 1024;
/// The most that is kept on disk.
const MAX_FILE: u64 = 1024 * 1024 * 1024;
/// Of how many parts of what is on disk the oldest is given back at once.
const PARTS: u64 = 64;
/// Pieces up to this size are put together.
const SMALL: usize = 4 * 1024;
/// What a reader is sent ahead of what it has acknowledged.
const AHEAD: u64 = 512 * 1024;
/// What is fetched from the disk at once.
const PIECE: u64 = 64 * 1024;
/// What readers hear of what is lost.
const LOST: &str = "whoever kept the process was killed, and what was on disk of its output is lost";
/// `EIO`.
const IO_ERROR: i32 = 5;

/// One output stream of a process.
#[derive(Debug)]
pub(super) struct Buffer {
    id: ElementId,
    of: Stdio,
    /// What happens when nobody reads.
    policy: OutputSpec,
    /// The most that is kept.
    limit: u64,
    /// Nothing, if it is on disk.
    kept: VecDeque<Bytes>,
    /// The offset of the first byte that is kept, and after the last.
    base: u64,
    end: u64,
    /// The process, and all that inherited its stream, have closed it.
    ended: bool,
    /// What some reader has acknowledged.
    read: u64,
    /// The room that the process was last told of.
    told: u64,
    readers: Vec<Reader>,
    /// The offsets of pieces that are being fetched.
    fetching: BTreeSet<u64>,
    /// What the effect knows to be forgotten.
    forgotten: u64,
    /// Why what the process writes cannot be stored now, if it cannot, and
    /// whether nothing could be given back so that it can.
    stalled: Option<(i32, bool)>,
    /// What is on disk is gone.
    lost: bool,
}

impl Buffer {
    /// The output of a process that has written nothing yet.
    pub(super) const fn new(id: ElementId, of: Stdio, policy: OutputSpec) -> Self {
        Self {
            id,
            of,
            policy,
            limit: if matches!(policy, OutputSpec::File) { MAX_FILE } else { MAX_OUTPUT },
            kept: VecDeque::new(),
            base: 0,
            end: 0,
            ended: false,
            read: 0,
            told: 0,
            readers: Vec::new(),
            fetching: BTreeSet::new(),
            forgotten: 0,
            stalled: None,
            lost: false,
        }
    }

    /// What is on disk already.
    pub(super) fn kept(id: ElementId, of: Stdio, kept: &KeptOutput) -> Self {
        let mut buffer = Self::new(id, of, OutputSpec::File);
        // It was told of room beyond what was read.
        let read = kept.until.saturating_sub(buffer.limit).clamp(kept.base, kept.end.max(kept.base));
        (buffer.base, buffer.forgotten, buffer.read) = (kept.base, kept.base, read);
        (buffer.end, buffer.told, buffer.ended) = (kept.end, kept.until, kept.ended);
        buffer
    }

    /// The process wrote.
    pub(super) fn push(&mut self, bytes: Bytes, out: &mut Out) {
        self.end += bytes.len() as u64;
        match self.kept.back_mut() {
            // A process that writes byte by byte costs no more than its bytes.
            Some(last) if last.len() + bytes.len() <= SMALL => *last = [&last[..], &bytes[..]].concat().into(),
            _ => self.kept.push_back(bytes),
        }
        self.forget(out);
        self.pump(out);
    }

    /// The process wrote, and that is on disk.
    pub(super) fn stored(&mut self, count: u64, out: &mut Out) {
        self.end += count;
        self.stalled = None;
        self.forget(out);
        self.pump(out);
    }

    /// What the process wrote cannot be put on disk now: it waits. What was read
    /// makes room; if nothing was, who has read all that is there should know.
    pub(super) fn stall(&mut self, errno: i32, out: &mut Out) {
        let before = self.forgotten;
        self.stalled = Some((errno, false));
        self.forget(out);
        self.stalled = Some((errno, self.forgotten == before));
        self.pump(out);
    }

    /// What is on disk from some byte on.
    pub(super) fn fetched(&mut self, from: u64, result: Result<Bytes, i32>, out: &mut Out) {
        self.fetching.remove(&from);
        match result {
            Ok(bytes) if !bytes.is_empty() => {
                for reader in self.readers.iter_mut().filter(|reader| reader.sent == from) {
                    reader.give(bytes.clone(), out);
                }
            }
            other => {
                let errno = other.err().unwrap_or(IO_ERROR);
                self.fail(from, errno, "the disk has not given back what the process wrote", out);
            }
        }
        self.pump(out);
    }

    /// What is on disk is lost. Who has had all of it does not mind.
    pub(super) fn lose(&mut self, out: &mut Out) {
        (self.lost, self.ended) = (true, true);
        self.pump(out);
    }

    /// The stream has ended.
    pub(super) fn finish(&mut self, out: &mut Out) {
        self.ended = true;
        self.pump(out);
    }

    /// Up to which offset the process may write.
    const fn room_until(&self) -> u64 {
        match self.policy {
            OutputSpec::Block | OutputSpec::File => self.read + self.limit,
            OutputSpec::Drop => u64::MAX,
        }
    }

    /// The same, when it is worth saying again.
    pub(super) fn new_room(&mut self) -> Option<u64> {
        let until = self.room_until();
        let worth = self.told == 0 || until.saturating_sub(self.told) >= self.limit / 8;
        if !worth || self.ended {
            return None;
        }
        self.told = until;
        Some(until)
    }

    /// Somebody reads, from the oldest byte kept or only what is to come.
    pub(super) fn open(&mut self, key: CallKey, from_end: bool, out: &mut Out) {
        let (start, missed) = if from_end { (self.end, 0) } else { (self.base, self.base) };
        self.readers.push(Reader::new(key, start, missed));
        self.pump(out);
    }

    /// A reader has used up its stream to `acked`; beyond the last byte stands
    /// the end.
    pub(super) fn acked(&mut self, key: CallKey, acked: u64, out: &mut Out) {
        let Some(reader) = self.readers.iter_mut().find(|reader| reader.key == key) else {
            return;
        };
        let read = reader.ack(acked);
        self.read = self.read.max(read.min(self.end));
        if reader.ended && acked > reader.written {
            let missed = reader.missed;
            self.close(key);
            out.push_back(Output::Answer { key, result: Ok(Reply::Read { missed }) });
        }
        self.pump(out);
    }

    /// A reader goes; what it did not acknowledge is there for the next.
    pub(super) fn close(&mut self, key: CallKey) -> bool {
        let before = self.readers.len();
        self.readers.retain(|reader| reader.key != key);
        self.readers.len() < before
    }

    pub(super) fn readers(&self) -> impl Iterator<Item = CallKey> {
        self.readers.iter().map(|reader| reader.key)
    }

    /// Bytes kept.
    #[cfg(test)]
    pub(super) const fn len(&self) -> u64 {
        self.end - self.base
    }

    /// From where to where it is kept, and the room that was told of.
    #[cfg(test)]
    pub(super) const fn extent(&self) -> (u64, u64, u64) {
        (self.base, self.end, self.told)
    }

    /// Makes room, of what may be forgotten.
    fn forget(&mut self, out: &mut Out) {
        let before = if self.policy == OutputSpec::Drop { self.end } else { self.read };
        // A full disk is a limit of its own.
        let (limit, part) = if self.stalled.is_some() { (0, 1) } else { (self.limit, self.limit / PARTS) };
        let base = before.min(self.end.saturating_sub(limit)).max(self.base);
        if self.policy == OutputSpec::File {
            self.base = base;
            if base - self.forgotten >= part {
                self.forgotten = base;
                out.push_back(Output::Effect(Effect::Forget { id: self.id, of: self.of, before: base }));
            }
            return;
        }
        while self.base < base {
            let Some(first) = self.kept.front_mut() else {
                return;
            };
            let over = (base - self.base).min(first.len() as u64);
            self.base += over;
            if over == first.len() as u64 {
                self.kept.pop_front();
            } else {
                first.advance(usize::try_from(over).unwrap_or(usize::MAX).min(first.len()));
            }
        }
    }

    /// Sends readers what they may have, or has it fetched.
    fn pump(&mut self, out: &mut Out) {
        let (id, of) = (self.id, self.of);
        if self.lost {
            return self.readers.retain(|reader| {
                if !reader.ended {
                    let result = Err(Error::new(ErrorKind::Closed, LOST));
                    out.push_back(Output::Answer { key: reader.key, result });
                }
                reader.ended
            });
        }
        for reader in &mut self.readers {
            reader.skip_to(self.base);
            while reader.sent < self.end && reader.written - reader.acked < AHEAD {
                if self.policy == OutputSpec::File {
                    // Readers who are at one place share what is fetched.
                    if self.fetching.insert(reader.sent) {
                        let (from, len) = (reader.sent, (self.end - reader.sent).min(PIECE));
                        out.push_back(Output::Effect(Effect::Fetch { id, of, from, len }));
                    }
                    break;
                }
                let Some(bytes) = piece(&self.kept, reader.sent - self.base) else {
                    break;
                };
                reader.give(bytes, out);
            }
            if self.ended && reader.sent == self.end && !reader.ended {
                reader.ended = true;
                out.push_back(Output::Write { key: reader.key, bytes: Bytes::new(), end: true });
            }
        }
        if let Some((errno, true)) = self.stalled.filter(|_| !self.ended) {
            let what = "what the process writes cannot be stored, and it waits; that is tried again every second";
            self.fail(self.end, errno, what, out);
        }
    }

    /// Those who have come as far as `at` go no further.
    fn fail(&mut self, at: u64, errno: i32, what: &str, out: &mut Out) {
        self.readers.retain(|reader| {
            if reader.sent == at {
                let result = Err(Error::new(ErrorKind::DiskFailed(errno), what));
                out.push_back(Output::Answer { key: reader.key, result });
            }
            reader.sent != at
        });
    }
}

/// What is kept from `skip` on, to the end of one chunk.
fn piece(kept: &VecDeque<Bytes>, mut skip: u64) -> Option<Bytes> {
    for chunk in kept {
        let length = chunk.len() as u64;
        if skip < length {
            return Some(chunk.slice(usize::try_from(skip).unwrap_or(0)..));
        }
        skip -= length;
    }
    None
}
