//! What a process has written and readers have not: at most [`MAX_OUTPUT`].
//!
//! Offsets count from the first byte the process wrote. What any reader has
//! acknowledged may be forgotten, and is when room is needed; what none has is
//! kept, and when that fills all the room the process has to wait, as at a
//! pipe.

use alloc::{collections::VecDeque, vec::Vec};

use bytes::{Buf, Bytes};

use crate::{
    calls::CallKey,
    elements::{Out, Output},
    wire::op::Reply,
};

/// The most output that is kept of one stream of a process.
pub(super) const MAX_OUTPUT: u64 = 1024 * 1024;
/// Pieces up to this size are put together.
const SMALL: usize = 4 * 1024;
/// What a reader is sent ahead of what it has acknowledged.
const AHEAD: u64 = 512 * 1024;

/// One output stream of a process.
#[derive(Debug, Default)]
pub(super) struct Buffer {
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
}

/// Somebody who reads it: a call whose outbound stream is the output from some
/// byte on, less what was forgotten before it was sent.
#[derive(Debug)]
struct Reader {
    key: CallKey,
    /// What it was sent, as an offset of the output, and of its own stream.
    sent: u64,
    written: u64,
    acked: u64,
    /// Where its stream leaves out something: at which offset of the stream,
    /// and by how much the two offsets differ from there on.
    shifts: VecDeque<(u64, u64)>,
    missed: u64,
    ended: bool,
}

impl Reader {
    fn new(key: CallKey, start: u64, missed: u64) -> Self {
        let shifts = VecDeque::from([(0, start)]);
        Self { key, sent: start, written: 0, acked: 0, shifts, missed, ended: false }
    }

    /// What it has not been sent yet is forgotten up to `base`.
    fn skip_to(&mut self, base: u64) {
        if self.sent < base {
            self.missed += base - self.sent;
            self.sent = base;
            self.shifts.push_back((self.written, base - self.written));
        }
    }

    /// It acknowledged its stream to `acked`; that offset in the output.
    fn ack(&mut self, acked: u64) -> u64 {
        self.acked = acked;
        while self.shifts.get(1).is_some_and(|&(from, _)| from <= acked) {
            self.shifts.pop_front();
        }
        acked + self.shifts.front().map_or(0, |&(_, shift)| shift)
    }
}

impl Buffer {
    /// The process wrote.
    pub(super) fn push(&mut self, bytes: Bytes, out: &mut Out) {
        self.end += bytes.len() as u64;
        match self.kept.back_mut() {
            // A process that writes byte by byte costs no more than its bytes.
            Some(last) if last.len() + bytes.len() <= SMALL => *last = [&last[..], &bytes[..]].concat().into(),
            _ => self.kept.push_back(bytes),
        }
        self.forget();
        self.pump(out);
    }

    /// The stream has ended.
    pub(super) fn finish(&mut self, out: &mut Out) {
        self.ended = true;
        self.pump(out);
    }

    /// Up to which offset the process may write.
    const fn room_until(&self) -> u64 {
        self.read + MAX_OUTPUT
    }

    /// The same, when it is worth saying again.
    pub(super) fn new_room(&mut self) -> Option<u64> {
        let until = self.room_until();
        let worth = self.told == 0 || until - self.told >= MAX_OUTPUT / 8;
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

    /// Makes room, of what was read.
    fn forget(&mut self) {
        while self.end - self.base > MAX_OUTPUT && self.base < self.read {
            let Some(first) = self.kept.front_mut() else {
                return;
            };
            let over = (self.end - self.base - MAX_OUTPUT).min(self.read - self.base).min(first.len() as u64);
            self.base += over;
            if over == first.len() as u64 {
                self.kept.pop_front();
            } else {
                first.advance(usize::try_from(over).unwrap_or(usize::MAX).min(first.len()));
            }
        }
    }

    /// Sends readers what they may have.
    fn pump(&mut self, out: &mut Out) {
        for reader in &mut self.readers {
            reader.skip_to(self.base);
            while reader.sent < self.end && reader.written - reader.acked < AHEAD {
                let Some(bytes) = piece(&self.kept, reader.sent - self.base) else {
                    break;
                };
                reader.sent += bytes.len() as u64;
                reader.written += bytes.len() as u64;
                out.push_back(Output::Write { key: reader.key, bytes, end: false });
            }
            if self.ended && reader.sent == self.end && !reader.ended {
                reader.ended = true;
                out.push_back(Output::Write { key: reader.key, bytes: Bytes::new(), end: true });
            }
        }
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

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    fn key(seq: u64) -> CallKey {
        CallKey { registration: 1, seq }
    }

    /// What one reader got.
    fn text(out: &Out, reader: u64) -> (Vec<u8>, bool) {
        let (mut text, mut ended) = (Vec::new(), false);
        for output in out {
            if let Output::Write { key: of, bytes, end } = output
                && *of == key(reader)
            {
                text.extend_from_slice(bytes);
                ended |= end;
            }
        }
        (text, ended)
    }

    #[test]
    fn what_nobody_has_read_is_kept_and_the_process_waits() {
        let (mut buffer, mut out) = (Buffer::default(), Out::new());
        buffer.push(Bytes::from(vec![1; MAX_OUTPUT as usize]), &mut out);
        assert_eq!(buffer.room_until(), MAX_OUTPUT);
        buffer.open(key(1), false, &mut out);
        buffer.acked(key(1), 1_000, &mut out);
        assert_eq!((buffer.room_until(), buffer.len()), (MAX_OUTPUT + 1_000, MAX_OUTPUT));
        buffer.push(Bytes::from(vec![2; 1_000]), &mut out);
        assert_eq!(buffer.len(), MAX_OUTPUT);
    }

    #[test]
    fn output_can_be_read_after_the_end_and_twice() {
        let (mut buffer, mut out) = (Buffer::default(), Out::new());
        buffer.push(Bytes::from_static(b"hello"), &mut out);
        buffer.finish(&mut out);
        for reader in [1, 2] {
            buffer.open(key(reader), false, &mut out);
            assert_eq!(text(&out, reader), (b"hello".to_vec(), true));
            buffer.acked(key(reader), 6, &mut out);
            assert_eq!(out.back(), Some(&Output::Answer { key: key(reader), result: Ok(Reply::Read { missed: 0 }) }));
        }
        buffer.open(key(3), true, &mut out);
        assert_eq!(text(&out, 3), (vec![], true));
    }

    #[test]
    fn a_reader_that_comes_too_late_is_told_how_much_it_missed() {
        let (mut buffer, mut out) = (Buffer::default(), Out::new());
        buffer.open(key(1), false, &mut out);
        buffer.push(Bytes::from(vec![1; 5_000]), &mut out);
        buffer.acked(key(1), 5_000, &mut out);
        buffer.push(Bytes::from(vec![2; MAX_OUTPUT as usize]), &mut out);
        buffer.finish(&mut out);
        buffer.open(key(2), false, &mut out);
        for acked in [400_000, 800_000, MAX_OUTPUT, MAX_OUTPUT + 1] {
            buffer.acked(key(2), acked, &mut out);
        }
        assert_eq!(text(&out, 2).0.len() as u64, MAX_OUTPUT);
        assert_eq!(out.back(), Some(&Output::Answer { key: key(2), result: Ok(Reply::Read { missed: 5_000 }) }));
    }

    proptest! {
        #[test]
        fn every_reader_gets_the_output_less_what_it_is_told_that_it_missed(
            steps in prop::collection::vec((0_u8..4, 1_u64..300_000), 1..60),
        ) {
            let (mut buffer, mut out) = (Buffer::default(), Out::new());
            buffer.open(key(1), false, &mut out);
            buffer.open(key(2), false, &mut out);
            let mut wrote: Vec<u8> = vec![];
            let mut got = [0; 2];
            for (what, amount) in steps {
                match what {
                    // The slow reader acknowledges little of what it has, the fast one all.
                    0 => {
                        let from = wrote.len() as u64;
                        let to = (from + amount).min(buffer.room_until());
                        let bytes: Vec<u8> = (from..to).map(|n| (n.wrapping_mul(0x9e37_79b9) >> 16) as u8).collect();
                        wrote.extend_from_slice(&bytes);
                        buffer.push(bytes.into(), &mut out);
                    }
                    reader @ (1 | 2) => {
                        let got = got[usize::from(reader) - 1] as u64;
                        let acked = if reader == 1 { got } else { amount.min(got / 2) };
                        buffer.acked(key(u64::from(reader)), acked, &mut out);
                    }
                    _ => {}
                }
                prop_assert!(buffer.len() <= MAX_OUTPUT);
                // What a reader does not get is left out before what it gets in
                // one step, never within.
                for (index, reader) in buffer.readers.iter().enumerate() {
                    let (text, _) = text(&out, index as u64 + 1);
                    let sent = usize::try_from(reader.sent).unwrap();
                    got[index] += text.len();
                    prop_assert_eq!(got[index] as u64 + reader.missed, reader.sent);
                    prop_assert!(text == wrote[sent - text.len()..sent], "other bytes than were written");
                }
                out.clear();
            }
        }
    }
}
