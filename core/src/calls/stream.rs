//! The two halves of a stream, with credit and acknowledgement end to end.
//!
//! Offsets count bytes, and the end of a stream counts as one byte more. The
//! sender keeps what is not acknowledged and can send it again from there on
//! another way; the receiver takes every byte once, whatever comes twice. The
//! same two halves serve at the host and at the client.

use bytes::{Buf, Bytes};

use super::Chunks;
use crate::wire::call::MAX_CHUNK;

/// The half that sends.
#[derive(Clone, Debug, Default)]
pub struct Outgoing {
    /// What was written and not acknowledged yet.
    kept: Chunks,
    /// The offset of the first kept byte.
    acked: u64,
    /// Bytes written in all.
    written: u64,
    ended: bool,
    /// What was sent on the present way.
    sent: u64,
    /// Which kept chunk the next piece comes from, and where that one begins.
    cursor: (usize, u64),
    /// What the receiver allows.
    limit: u64,
}

/// A piece of a stream, as it goes on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where in the stream it begins.
    pub offset: u64,
    /// Its bytes.
    pub bytes: Bytes,
    /// Whether the stream ends with it.
    pub end: bool,
}

impl Outgoing {
    /// A stream that may be sent up to `limit` at once.
    pub fn new(limit: u64) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Adds bytes behind the others; nothing after the end.
    pub fn write(&mut self, bytes: Bytes) {
        if !self.ended && !bytes.is_empty() {
            self.written += bytes.len() as u64;
            self.kept.push(bytes);
        }
    }

    /// Ends the stream.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// The receiver has used up the stream to `acked` and allows it to `limit`;
    /// what is older than what it said before, or never was sent, is ignored.
    pub fn credit(&mut self, acked: u64, limit: u64) {
        self.limit = self.limit.max(limit);
        if acked > self.total() {
            return;
        }
        self.sent = self.sent.max(acked);
        while self.acked < acked {
            let (dropped, all) = self.kept.drop_front(acked - self.acked);
            self.acked += dropped;
            if all {
                self.cursor.0 = self.cursor.0.saturating_sub(1);
            } else if dropped == 0 {
                self.acked = acked; // the end itself
            }
        }
    }

    /// Another way: everything that is not acknowledged will be sent again.
    pub fn rewind(&mut self) {
        self.sent = self.acked;
        self.cursor = (0, self.acked);
    }

    /// The next piece that may be sent now.
    pub fn take_piece(&mut self) -> Option<Piece> {
        self.take_up_to(self.limit)
    }

    /// The next piece, of what stands before the offset `limit`.
    pub fn take_up_to(&mut self, limit: u64) -> Option<Piece> {
        let until = self.total().min(limit).min(self.limit);
        if self.sent >= until {
            return None;
        }
        let offset = self.sent;
        let bytes = self.slice(offset, until.min(self.written));
        self.sent += bytes.len() as u64;
        let end = self.ended && self.sent == self.written && until > self.written;
        if end {
            self.sent += 1;
        }
        Some(Piece { offset, bytes, end })
    }

    /// The kept bytes from `offset` on: to `until`, or to the end of the chunk
    /// they were written in, or as many as one packet holds.
    fn slice(&mut self, offset: u64, until: u64) -> Bytes {
        let (mut index, mut start) = self.cursor;
        if index == 0 {
            start = self.acked;
        }
        while let Some(chunk) = self.kept.get(index) {
            let after = start + chunk.len() as u64;
            if offset < after {
                self.cursor = (index, start);
                let from = usize::try_from(offset - start).unwrap_or(0);
                let length = usize::try_from(until.min(after).saturating_sub(offset)).unwrap_or(0).min(MAX_CHUNK);
                return chunk.slice(from..from + length);
            }
            (index, start) = (index + 1, after);
        }
        Bytes::new()
    }

    /// Bytes written, and one for the end.
    fn total(&self) -> u64 {
        self.written + u64::from(self.ended)
    }

    /// Bytes that were written in all.
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// What the receiver has acknowledged.
    pub const fn acked(&self) -> u64 {
        self.acked
    }

    /// Bytes that are kept because they are not acknowledged.
    pub const fn kept(&self) -> u64 {
        self.written.saturating_sub(self.acked)
    }

    /// Whether the stream has ended and all of it was acknowledged.
    pub fn is_finished(&self) -> bool {
        self.ended && self.acked == self.total()
    }

    /// Whether nothing more can be written.
    pub const fn is_ended(&self) -> bool {
        self.ended
    }
}

/// The half that receives.
#[derive(Clone, Debug, Default)]
pub struct Incoming {
    received: u64,
    ended: bool,
    acked: u64,
    limit: u64,
}

/// Why a piece is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Something before it was lost: the way must be opened again.
    Gap,
    /// It is more than was allowed, or stands after the end.
    OverCredit,
}

impl Incoming {
    /// A stream that may be sent up to `limit` at once.
    pub fn new(limit: u64) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Takes a piece: what of it is new, and whether the end is.
    ///
    /// # Errors
    /// [`Refused`]; the stream is as before.
    pub fn receive(&mut self, offset: u64, mut bytes: Bytes, end: bool) -> Result<(Bytes, bool), Refused> {
        let after = offset.saturating_add(bytes.len() as u64);
        if after.saturating_add(u64::from(end)) > self.limit {
            return Err(Refused::OverCredit);
        }
        if offset > self.received {
            return Err(Refused::Gap);
        }
        if self.ended && after > self.received {
            return Err(Refused::OverCredit);
        }
        let known = usize::try_from(self.received - offset).unwrap_or(usize::MAX).min(bytes.len());
        bytes.advance(known);
        self.received = self.received.max(after);
        let ends_now = end && !self.ended && after == self.received;
        self.ended |= ends_now;
        Ok((bytes, ends_now))
    }

    /// The application has used up the stream to `acked`; it may be sent to
    /// `limit`. Both only grow. True if the sender should hear of it.
    pub fn grant(&mut self, acked: u64, limit: u64) -> bool {
        let (acked, limit) = (acked.max(self.acked), limit.max(self.limit));
        let news = (acked, limit) != (self.acked, self.limit);
        (self.acked, self.limit) = (acked, limit);
        news
    }

    /// What the application has used up.
    pub const fn acked(&self) -> u64 {
        self.acked
    }

    /// What the sender may send.
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// Bytes that have come, without the end.
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// Whether the end has come.
    pub const fn is_ended(&self) -> bool {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    /// Sends `text` over ways that break, with little credit; returns what came.
    fn carry(text: &[u8], window: u64, lost: &[bool]) -> (Vec<u8>, bool) {
        let (mut out, mut inn) = (Outgoing::new(window), Incoming::new(window));
        for chunk in text.chunks(7) {
            out.write(Bytes::copy_from_slice(chunk));
        }
        out.end();
        let (mut came, mut ended) = (Vec::new(), false);
        let mut lost = lost.iter().copied().chain(core::iter::repeat(false));
        for _ in 0..10_000 {
            if out.is_finished() {
                break;
            }
            match out.take_piece() {
                Some(_) if lost.next() == Some(true) => out.rewind(),
                Some(piece) => {
                    let (bytes, end) = inn.receive(piece.offset, piece.bytes, piece.end).unwrap();
                    came.extend_from_slice(&bytes);
                    ended |= end;
                    let used = inn.received() + u64::from(inn.is_ended());
                    inn.grant(used, used + window);
                    if lost.next() != Some(true) {
                        out.credit(inn.acked(), inn.limit());
                    }
                }
                // The last credit was lost: both say their offsets again.
                None => {
                    out.rewind();
                    out.credit(inn.acked(), inn.limit());
                }
            }
        }
        assert!(out.is_finished() && out.kept() == 0);
        (came, ended)
    }

    proptest! {
        #[test]
        fn every_byte_comes_once_and_the_end_last(
            text in prop::collection::vec(any::<u8>(), 0..200),
            window in 1_u64..40,
            lost in prop::collection::vec(any::<bool>(), 0..60),
        ) {
            prop_assert_eq!(carry(&text, window, &lost), (text, true));
        }

        #[test]
        fn pieces_in_any_order_never_repeat_a_byte(
            pieces in prop::collection::vec((0_usize..20, 0_usize..8, any::<bool>()), 0..60),
        ) {
            let text: Vec<u8> = (0..28).collect();
            let (mut inn, mut came) = (Incoming::new(30), Vec::new());
            for (offset, length, _) in pieces {
                let bytes = Bytes::copy_from_slice(&text[offset..offset + length]);
                if let Ok((new, _)) = inn.receive(offset as u64, bytes, false) {
                    came.extend_from_slice(&new);
                }
            }
            prop_assert_eq!(&came[..], &text[..came.len()]);
        }
    }

    #[test]
    fn the_end_needs_credit_of_its_own() {
        let mut out = Outgoing::new(3);
        out.write(Bytes::from_static(b"abc"));
        out.end();
        assert_eq!(out.take_piece().map(|piece| piece.end), Some(false));
        assert_eq!(out.take_piece(), None);
        out.credit(3, 4);
        assert_eq!(out.take_piece(), Some(Piece { offset: 3, bytes: Bytes::new(), end: true }));
        assert!(!out.is_finished());
        out.credit(4, 4);
        assert!(out.is_finished());
    }

    #[test]
    fn more_than_the_credit_and_more_after_the_end_are_refused() {
        let mut inn = Incoming::new(4);
        assert_eq!(inn.receive(0, Bytes::from_static(b"abcde"), false), Err(Refused::OverCredit));
        assert_eq!(inn.receive(0, Bytes::from_static(b"abcd"), true), Err(Refused::OverCredit));
        assert_eq!(inn.receive(1, Bytes::from_static(b"a"), false), Err(Refused::Gap));
        assert!(inn.receive(0, Bytes::from_static(b"abc"), true).is_ok());
        assert_eq!(inn.receive(3, Bytes::from_static(b"d"), false), Err(Refused::OverCredit));
        assert_eq!(inn.receive(u64::MAX, Bytes::from_static(b"d"), true), Err(Refused::OverCredit));
        assert_eq!(inn.receive(0, Bytes::from_static(b"abc"), true), Ok((Bytes::new(), false)));
    }
}
