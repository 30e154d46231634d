//! Records: sealed, at most 65,535 bytes, many frames to each.
//!
//! A record is two bytes of length and a Noise transport message. Small frames
//! that wait for the socket at the same time are sealed together, since one
//! seal of 64 bytes costs as much as one of a kilobyte.

use alloc::{collections::VecDeque, vec::Vec};

use bytes::Bytes;
use snow::TransportState;

use super::{Failure, noise::TAG};
use crate::wire::{Frame, HEADER};

/// The longest sealed record, without the two bytes of its length.
const SEALED: usize = 65_535;
/// The most plaintext that fits a record.
pub(crate) const PLAIN: usize = SEALED - TAG;
/// What an idle buffer may keep.
const IDLE: usize = 4 * 1024;

/// Bytes as they come from the socket, cut into pieces of a known length.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// How long the last record was: an idle buffer shrinks after a small one.
    last: usize,
}

impl Incoming {
    /// Where the next bytes from the socket go; never empty.
    pub(super) fn space(&mut self) -> &mut [u8] {
        let wanted = self.wanted().max(IDLE);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
            if self.buffer.len() > IDLE && self.last < IDLE {
                self.buffer.truncate(IDLE);
                self.buffer.shrink_to_fit();
            }
        }
        if self.buffer.len() < self.start + wanted {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            // Twice the record, so that one read can bring it and most of the next.
            let room = if wanted > IDLE { 2 * wanted } else { wanted };
            if self.buffer.len() < room {
                self.buffer.resize(room, 0);
            }
        }
        if self.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() + IDLE, 0);
        }
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// The socket filled the first `count` bytes of [`Incoming::space`].
    pub(super) fn filled(&mut self, count: usize) {
        self.end = (self.end + count).min(self.buffer.len());
    }

    /// What has come and was not taken yet.
    pub(super) fn waiting(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Takes `count` bytes, if so many are there.
    pub(super) fn take(&mut self, count: usize) -> Option<&[u8]> {
        let from = self.start;
        if self.end - from < count {
            return None;
        }
        self.start += count;
        self.buffer.get(from..from + count)
    }

    /// The sealed part of the next record, if all of it is there.
    fn take_record(&mut self) -> Result<Option<&[u8]>, Failure> {
        let Some(&[high, low]) = self.waiting().first_chunk::<2>() else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length <= TAG + HEADER {
            return Err(Failure::RecordLength(length));
        }
        if self.waiting().len() < 2 + length {
            return Ok(None);
        }
        self.start += 2;
        self.last = length;
        Ok(self.take(length))
    }

    /// How many bytes the record that has begun is long, with its length.
    fn wanted(&self) -> usize {
        match self.waiting().first_chunk::<2>() {
            Some(&length) => 2 + usize::from(u16::from_be_bytes(length)),
            None => 0,
        }
    }
}

/// Opens the next whole record: its plaintext, ready to be cut into frames.
pub(super) fn open(incoming: &mut Incoming, noise: &mut TransportState) -> Result<Option<Bytes>, Failure> {
    let Some(sealed) = incoming.take_record()? else {
        return Ok(None);
    };
    let mut plain = alloc::vec![0; sealed.len() - TAG];
    match noise.read_message(sealed, &mut plain) {
        Ok(length) if length == plain.len() => Ok(Some(Bytes::from(plain))),
        _ => Err(Failure::Tampered),
    }
}

/// Frames on their way to the socket.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// Plaintext of records to come; only the last still grows.
    plain: VecDeque<Vec<u8>>,
    plain_bytes: usize,
    /// Room of the record that was sealed last, for the next.
    spare: Vec<u8>,
    sealed: Vec<u8>,
    written: usize,
}

impl Outgoing {
    /// Queues a frame behind the others.
    pub(super) fn push(&mut self, frame: &Frame) {
        let mut record = self.plain.pop_back().unwrap_or_else(|| core::mem::take(&mut self.spare));
        let before = record.len();
        frame.encode(&mut record);
        self.plain_bytes += record.len() - before;
        if record.len() > PLAIN && before > 0 {
            let next = record.split_off(before);
            self.plain.extend([record, next]);
        } else {
            self.plain.push_back(record);
        }
    }

    /// Queues bytes of the handshake.
    pub(super) fn push_clear(&mut self, bytes: &[u8]) {
        self.sealed.extend_from_slice(bytes);
    }

    /// What the socket should be given next; seals the next record when the
    /// one before it is gone.
    pub(super) fn transmit(&mut self, noise: Option<&mut TransportState>) -> &[u8] {
        if self.written == self.sealed.len() {
            self.written = 0;
            self.sealed.clear();
            if let (Some(noise), Some(mut plain)) = (noise, self.plain.pop_front()) {
                self.plain_bytes -= plain.len();
                self.seal(noise, &plain);
                plain.clear();
                self.spare = plain;
            } else if self.sealed.capacity() > IDLE {
                self.sealed.shrink_to(IDLE);
                self.spare = Vec::new();
            }
        }
        self.sealed.get(self.written..).unwrap_or_default()
    }

    /// The socket took the first `count` bytes of [`Outgoing::transmit`].
    pub(super) fn written(&mut self, count: usize) {
        self.written = (self.written + count).min(self.sealed.len());
    }

    /// Bytes that the socket has not taken yet.
    pub(super) fn unsent(&self) -> usize {
        self.plain_bytes + self.sealed.len() - self.written
    }

    fn seal(&mut self, noise: &mut TransportState, plain: &[u8]) {
        let length = plain.len() + TAG;
        self.sealed.resize(2 + length, 0);
        let (head, body) = self.sealed.split_at_mut(2);
        // Fails only after 2^64 records or above SEALED bytes; `push` keeps
        // within the latter. An empty record then fails the peer's check.
        let sealed = noise.write_message(plain, body).unwrap_or(0);
        let length = u16::try_from(sealed).unwrap_or(0);
        head.copy_from_slice(&length.to_be_bytes());
    }
}
