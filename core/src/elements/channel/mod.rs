//! The channel: Hoare's, with a place of residence and exactly one hand-off.
//!
//! Messages stand in line in the order of their sends, receivers in the order
//! of their receives, and the first of each are matched. A matched message is
//! *leased*: it stays here until its receiver has acknowledged the end of it,
//! and goes back to its place in line when the receiver is lost first. Once a
//! message is longer than [`INITIAL_CREDIT`] it is bound to its receiver, since
//! no more than that of it is kept; if that receiver is lost, so is the message,
//! and the sender hears of it.
//!
//! A send is answered when its message is whole and has one of `cap` slots
//! (`Accepted`), or when a receiver has acknowledged it (`Delivered`). A
//! message keeps its slot until it is acknowledged.

mod bid;
mod ending;
mod message;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
};

use bytes::Bytes;

use super::{Out, Output};
use crate::{
    Error, ErrorKind,
    calls::CallKey,
    wire::{
        call::INITIAL_CREDIT,
        op::{ChanStat, Reply, Side},
    },
};
use bid::Bid;
use message::Message;

/// What a matched sender may be ahead of its receiver.
pub const WINDOW: u64 = 1024 * 1024;

/// The most bytes of messages that a channel buffers, whatever its capacity: the
/// next sender waits.
pub const MAX_BUFFERED: u64 = 64 * 1024 * 1024;

/// Names what a call has in a channel: its message, or its turn to receive.
pub type Ticket = u64;

/// A channel on its host.
///
/// Messages and receivers have their places from one counter: the ticket that a
/// call was given is its place.
#[derive(Debug, Default)]
pub struct Channel {
    cap: usize,
    closed: bool,
    /// Every message that is held.
    messages: BTreeMap<Ticket, Box<Message>>,
    /// Those that nobody holds a lease of.
    line: BTreeSet<Ticket>,
    /// Those in line that have no slot yet.
    unslotted: BTreeSet<Ticket>,
    slots_used: usize,
    /// Bytes of the messages that were accepted and are still here.
    buffered: u64,
    /// Everybody who wants to receive, or holds a lease.
    receivers: BTreeMap<Ticket, Receiver>,
    /// Those who wait and are there.
    waiting: BTreeSet<Ticket>,
    /// Clauses of selects that were not matched yet: in `line` or `waiting` like
    /// others, or in one of `pairs`.
    bids: BTreeMap<Ticket, Bid>,
    pairs: BTreeMap<Ticket, Option<Ticket>>,
    next: Ticket,
    num_send: u64,
    num_recv: u64,
}

#[derive(Debug)]
struct Receiver {
    key: CallKey,
    /// The message that it holds a lease of.
    holds: Option<Ticket>,
    /// What it was told before its message, in bytes.
    prefix: u64,
    away: bool,
    /// It is matched at once, or not at all.
    try_only: bool,
}

impl Channel {
    /// An empty channel that buffers `cap` messages.
    pub fn new(cap: usize) -> Self {
        Self { cap, ..Self::default() }
    }

    /// A send: `input` is what has come of the message, `ended` if it is whole.
    pub fn send(&mut self, key: CallKey, input: Bytes, ended: bool, try_only: bool, out: &mut Out) -> Ticket {
        let place = self.next();
        let slot = self.has_slot() && self.unslotted.is_empty() && ended;
        let taker = self.line.is_empty() && !self.waiting.is_empty();
        if self.closed {
            fail(key, ErrorKind::Closed, out);
        } else if try_only && !slot && !taker {
            fail(key, ErrorKind::WouldBlock, out);
        } else {
            let mut message = Message::new(key, input, ended);
            message.try_only = try_only;
            self.messages.insert(place, Box::new(message));
            self.line.insert(place);
            self.unslotted.insert(place);
            self.settle(out);
            self.settle_down(place);
        }
        place
    }

    /// A message from this server itself, which has all the room it needs.
    pub fn put(&mut self, bytes: Bytes, out: &mut Out) -> Ticket {
        let place = self.next();
        self.messages.insert(place, Box::new(Message::own(bytes)));
        self.line.insert(place);
        self.slots_used += 1;
        self.num_send += 1;
        self.settle(out);
        place
    }

    /// Puts other bytes into a message that [`Channel::put`] made, unless
    /// somebody was given it already.
    pub fn amend(&mut self, place: Ticket, bytes: Bytes) -> bool {
        self.messages.get_mut(&place).is_some_and(|message| message.replace(bytes))
    }

    /// Bytes of the messages that it buffers.
    pub const fn buffered(&self) -> u64 {
        self.buffered
    }

    /// How many messages it holds.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Whether nobody waits who could be matched, and nobody is in a pair.
    #[cfg(test)]
    pub(crate) fn is_settled(&self) -> bool {
        self.pairs.is_empty() && self.first_two().is_none()
    }

    /// More of a message has come from its sender.
    pub fn input(&mut self, place: Ticket, bytes: Bytes, end: bool, out: &mut Out) {
        if self.is_bid(place) {
            return self.bid_input(place, bytes, out);
        }
        let Some(message) = self.messages.get_mut(&place) else {
            return;
        };
        let was_bound = message.is_bound();
        message.push(bytes.clone(), end);
        if let Some(key) = message.leased_to {
            out.push_back(Output::Write { key, bytes, end });
            if !was_bound {
                message.widen(0, out);
            }
        }
        self.accept(place, out);
        self.settle(out);
        self.settle_down(place);
    }

    /// A receive.
    pub fn recv(&mut self, key: CallKey, try_only: bool, out: &mut Out) -> Ticket {
        let turn = self.next();
        self.receivers.insert(turn, Receiver { key, holds: None, prefix: 0, away: false, try_only });
        self.waiting.insert(turn);
        self.settle(out);
        if try_only && self.waiting.remove(&turn) {
            self.receivers.remove(&turn);
            fail(key, ErrorKind::WouldBlock, out);
        }
        turn
    }

    /// A receiver has used up its message to `acked`; beyond its last byte
    /// stands its end, and that acknowledges it.
    pub fn acked(&mut self, turn: Ticket, acked: u64, out: &mut Out) {
        let Some(&Receiver { key, holds: Some(place), prefix, .. }) = self.receivers.get(&turn) else {
            return;
        };
        let Some(acked) = acked.checked_sub(prefix) else {
            return;
        };
        let Some(message) = self.messages.get(&place) else {
            return;
        };
        if !message.is_whole() {
            return message.widen(acked, out);
        }
        if acked <= message.received() {
            return;
        }
        let again = message.given > 1;
        self.receivers.remove(&turn);
        self.num_recv += 1;
        if let Some(message) = self.remove(place).filter(|message| !message.accepted) {
            self.num_send += 1;
            if let Some(sender) = message.sender {
                out.push_back(Output::Answer { key: sender, result: Ok(Reply::Delivered) });
            }
        }
        out.push_back(Output::Answer { key, result: Ok(Reply::Received { again }) });
        self.settle(out);
    }

    /// A call should end: by its own wish, by its deadline, or since its client
    /// stayed away.
    pub fn cancel(&mut self, ticket: Ticket, why: ErrorKind, out: &mut Out) {
        self.part(ticket, out);
        if self.is_bid(ticket) {
            self.refuse_bid(ticket, why, out);
            self.settle(out);
        } else if let Some(receiver) = self.receivers.remove(&ticket) {
            self.waiting.remove(&ticket);
            fail(receiver.key, why, out);
            if let Some(place) = receiver.holds {
                self.give_back(place, out);
            }
            self.settle(out);
            if let Some(place) = receiver.holds {
                self.refuse_to_wait(place, out);
            }
        } else {
            self.cancel_send(ticket, why, out);
            self.settle(out);
        }
    }

    /// A call's client is away: it is given nothing, and of its unfinished
    /// message nothing is given.
    pub fn away(&mut self, ticket: Ticket) {
        self.waiting.remove(&ticket);
        if let Some(receiver) = self.receivers.get_mut(&ticket) {
            receiver.away = true;
        }
        self.set_bid_away(ticket, true);
        self.set_stalled(ticket, true);
    }

    /// A call's client is back.
    pub fn back(&mut self, ticket: Ticket, out: &mut Out) {
        let is_paired = self.pairs.values().any(|turn| *turn == Some(ticket));
        if let Some(receiver) = self.receivers.get_mut(&ticket) {
            receiver.away = false;
            if receiver.holds.is_none() && !is_paired {
                self.waiting.insert(ticket);
            }
        }
        self.set_bid_away(ticket, false);
        self.set_stalled(ticket, false);
        self.settle(out);
    }

    /// No more sends; what was accepted can still be received.
    ///
    /// # Errors
    /// `Closed` if it was closed already.
    pub fn close(&mut self, out: &mut Out) -> Result<(), Error> {
        if self.closed {
            return Err(ErrorKind::Closed.into());
        }
        self.closed = true;
        self.refuse_line(ErrorKind::Closed, out);
        self.settle(out);
        Ok(())
    }

    /// It was removed: everybody waiting hears so.
    pub fn abort(&mut self, out: &mut Out) {
        self.abort_bids(out);
        for receiver in self.receivers.values() {
            fail(receiver.key, ErrorKind::Aborted, out);
        }
        for message in self.messages.values() {
            if let (Some(key), false) = (message.sender, message.accepted) {
                fail(key, ErrorKind::Aborted, out);
            }
        }
    }

    /// Its state, for `peek`.
    pub fn stat(&self) -> ChanStat {
        ChanStat {
            cap: u32::try_from(self.cap).unwrap_or(u32::MAX),
            closed: self.closed,
            aborted: false,
            num_send: self.num_send,
            num_recv: self.num_recv,
        }
    }

    fn next(&mut self) -> Ticket {
        self.next += 1;
        self.next
    }

    /// Does whatever can be done now.
    fn settle(&mut self, out: &mut Out) {
        self.hand_out_slots(out);
        while self.match_first(out) {}
        if self.closed && self.messages.is_empty() && self.pairs.is_empty() {
            self.refuse_bids(Side::Recv, ErrorKind::Closed, out);
            self.waiting.clear();
            for (_, receiver) in core::mem::take(&mut self.receivers) {
                fail(receiver.key, ErrorKind::Closed, out);
            }
        }
    }

    /// A message that has to wait gets memory of its own.
    fn settle_down(&mut self, place: Ticket) {
        if let Some(message) = self.messages.get_mut(&place).filter(|message| message.leased_to.is_none()) {
            message.settle_down();
        }
    }

    const fn has_slot(&self) -> bool {
        self.slots_used < self.cap && self.buffered < MAX_BUFFERED
    }

    fn hand_out_slots(&mut self, out: &mut Out) {
        while self.has_slot()
            && let Some(place) = self.unslotted.pop_first()
        {
            self.slots_used += 1;
            if self.is_bid(place) {
                self.pair((place, None), out);
                continue;
            }
            if let Some(message) = self.messages.get_mut(&place) {
                message.slotted = true;
            }
            self.accept(place, out);
        }
    }

    /// Answers the sender of a message that is now buffered, if it is: also when
    /// somebody has it already, who may be slow with it.
    fn accept(&mut self, place: Ticket, out: &mut Out) {
        let Some(message) = self.messages.get_mut(&place) else {
            return;
        };
        if !message.slotted || message.accepted || message.cancelled.is_some() || !message.is_short_and_whole() {
            return;
        }
        message.accepted = true;
        message.buffered = message.received();
        self.buffered += message.buffered;
        self.num_send += 1;
        if let Some(sender) = message.sender.take() {
            out.push_back(Output::Answer { key: sender, result: Ok(Reply::Accepted) });
        }
    }

    /// Leases the first message to the first receiver, if both are there.
    fn match_first(&mut self, out: &mut Out) -> bool {
        let Some((place, turn)) = self.first_two() else {
            return false;
        };
        if self.is_bid(place) || self.is_bid(turn) {
            self.pair((place, Some(turn)), out);
        } else {
            self.lease(place, turn, out);
        }
        true
    }

    /// The first message and the first receiver that can be matched. Clauses of
    /// one select cannot be with each other.
    fn first_two(&self) -> Option<(Ticket, Ticket)> {
        for &place in &self.line {
            if self.messages.get(&place).is_some_and(|message| message.stalled) {
                return None;
            }
            let turn = self.waiting.iter().find(|&&turn| !self.is_one_select(place, turn));
            if let Some(&turn) = turn {
                return Some((place, turn));
            }
            if self.waiting.is_empty() {
                return None;
            }
        }
        None
    }

    /// Leases a message to a receiver.
    fn lease(&mut self, place: Ticket, turn: Ticket, out: &mut Out) {
        let (Some(message), Some(receiver)) = (self.messages.get_mut(&place), self.receivers.get_mut(&turn)) else {
            return;
        };
        receiver.holds = Some(place);
        message.lease(receiver.key, out);
        self.line.remove(&place);
        self.waiting.remove(&turn);
        if !message.slotted {
            self.unslotted.remove(&place);
        }
    }

    fn remove(&mut self, place: Ticket) -> Option<Box<Message>> {
        let message = self.messages.remove(&place)?;
        if message.leased_to.is_none() {
            self.line.remove(&place);
            self.unslotted.remove(&place);
        }
        if message.slotted {
            self.slots_used -= 1;
        }
        self.buffered -= message.buffered;
        Some(message)
    }

    fn set_stalled(&mut self, place: Ticket, away: bool) {
        if let Some(message) = self.messages.get_mut(&place) {
            message.stalled = away && !message.is_whole();
        }
    }
}

/// Whether so much of a message is more than is kept for another receiver.
const fn is_long(received: u64) -> bool {
    received > INITIAL_CREDIT
}

fn fail(key: CallKey, kind: ErrorKind, out: &mut Out) {
    out.push_back(Output::Answer { key, result: Err(kind.into()) });
}
