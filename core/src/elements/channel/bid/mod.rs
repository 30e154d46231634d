//! Bids: sends and receives of which only one may be, among those of a select.
//!
//! A bid stands in line like a send or a receive. When its turn has come, with
//! somebody at the other side, both are taken out of line and the select is
//! asked whether it will have this one ([`ASK`]). It says [`YES`], and the two
//! are matched for good ([`DONE`]); or the other side goes first, and it is told
//! that it was asked for nothing ([`NEVER_MIND`]). Where both are bids the
//! select of the lower number is asked first, and the other once it has said
//! yes: so no two selects ever wait for each other, whatever channels they meet
//! on. Whoever bids and has chosen another clause withdraws the call.
//!
//! Questions and answers are bytes of the call's two streams, before those of
//! the message. Every question is answered, in order: one that was taken back
//! with [`VOID`](crate::wire::op::VOID), unless the yes is on its way already.
//!
//! The order in which selects are asked is that of Reppy and Xiao's protocol for
//! distributed choice (and Dijkstra's, for forks).

use alloc::vec::Vec;

use bytes::{Buf, Bytes};

use super::{Channel, Message, Out, Output, Receiver, Ticket, fail};
use crate::{
    ErrorKind,
    calls::CallKey,
    wire::{
        call::INITIAL_CREDIT,
        op::{ASK, DONE, NEVER_MIND, Side, YES},
    },
};

/// A send or a receive that is a clause of a select.
#[derive(Debug)]
pub(super) struct Bid {
    key: CallKey,
    select: u128,
    side: Side,
    /// It is matched at once, or not at all.
    try_only: bool,
    stage: Stage,
    /// Questions that were taken back and not answered yet.
    void: u32,
    /// Bytes that it was told.
    told: u64,
    /// Bytes that it said.
    said: u64,
    away: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It stands in line.
    InLine,
    /// It has somebody at the other side, and waits until that one has said yes.
    Held,
    /// It was asked.
    Asked,
    /// It has said yes.
    Sure,
}

/// Two that would be matched, by the place of the message; or a message and a
/// slot.
pub(super) type Pair = (Ticket, Option<Ticket>);

impl Bid {
    fn tell(&mut self, word: u8, out: &mut Out) {
        self.told += 1;
        out.push_back(Output::Write { key: self.key, bytes: Bytes::copy_from_slice(&[word]), end: false });
    }
}

impl Channel {
    /// A bid of the select of number `select`.
    pub fn bid(&mut self, key: CallKey, select: u128, side: Side, try_only: bool, out: &mut Out) -> Ticket {
        let ticket = self.next();
        if self.closed && side == Side::Send {
            fail(key, ErrorKind::Closed, out);
            return ticket;
        }
        let stage = Stage::InLine;
        let bid = Bid { key, select, side, try_only, stage, void: 0, told: 0, said: 0, away: false };
        self.bids.insert(ticket, bid);
        self.stand_in_line(ticket);
        self.settle(out);
        if try_only && self.bids.get(&ticket).is_some_and(|bid| bid.stage == Stage::InLine) {
            self.refuse_bid(ticket, ErrorKind::WouldBlock, out);
        }
        ticket
    }

    /// The select of a bid has said something.
    pub(super) fn bid_input(&mut self, ticket: Ticket, mut bytes: Bytes, out: &mut Out) {
        while bytes.has_remaining()
            && let Some(bid) = self.bids.get_mut(&ticket)
        {
            let word = bytes.get_u8();
            bid.said += 1;
            if bid.void > 0 {
                bid.void -= 1;
            } else if (word, bid.stage) == (YES, Stage::Asked) {
                bid.stage = Stage::Sure;
                if let Some(pair) = self.pair_of(ticket) {
                    self.go_on(pair, out);
                }
            } else {
                return self.cancel(ticket, ErrorKind::Invalid, out);
            }
        }
        self.settle(out);
    }

    pub(super) fn is_bid(&self, ticket: Ticket) -> bool {
        self.bids.contains_key(&ticket)
    }

    /// Whether two are clauses of one select, which cannot meet itself.
    pub(super) fn is_one_select(&self, one: Ticket, other: Ticket) -> bool {
        let select = |ticket| self.bids.get(&ticket).map(|bid| bid.select);
        select(one).is_some_and(|one| select(other) == Some(one))
    }

    /// Two have met, of whom one at least is a bid.
    pub(super) fn pair(&mut self, (place, turn): Pair, out: &mut Out) {
        self.line.remove(&place);
        self.unslotted.remove(&place);
        for ticket in turn.into_iter().chain([place]) {
            self.waiting.remove(&ticket);
            if let Some(bid) = self.bids.get_mut(&ticket) {
                bid.stage = Stage::Held;
            }
        }
        self.pairs.insert(place, turn);
        self.go_on((place, turn), out);
    }

    /// Asks the next of a pair that is a bid; when all are sure, they are matched.
    fn go_on(&mut self, (place, turn): Pair, out: &mut Out) {
        let mut bids: Vec<(u128, Ticket, Stage)> = Vec::new();
        for ticket in turn.into_iter().chain([place]) {
            bids.extend(self.bids.get(&ticket).map(|bid| (bid.select, ticket, bid.stage)));
        }
        bids.sort_unstable_by_key(|(select, ..)| *select);
        match bids.into_iter().find(|(.., stage)| *stage != Stage::Sure) {
            None => self.match_for_good((place, turn), out),
            Some((_, ticket, Stage::Held)) => {
                if let Some(bid) = self.bids.get_mut(&ticket) {
                    bid.stage = Stage::Asked;
                    bid.tell(ASK, out);
                }
            }
            Some(_) => {}
        }
    }

    fn match_for_good(&mut self, (place, turn): Pair, out: &mut Out) {
        self.pairs.remove(&place);
        if let Some(mut bid) = self.bids.remove(&place) {
            bid.tell(DONE, out);
            let limit = bid.said + INITIAL_CREDIT + 1;
            out.push_back(Output::Grant { key: bid.key, acked: bid.said, limit });
            let mut message = Message::new(bid.key, Bytes::new(), false);
            (message.prefix, message.slotted, message.stalled) = (bid.said, turn.is_none(), bid.away);
            self.messages.insert(place, message.into());
        }
        let Some(turn) = turn else {
            self.line.insert(place);
            return self.settle(out);
        };
        if let Some(mut bid) = self.bids.remove(&turn) {
            bid.tell(DONE, out);
            let (key, prefix, away) = (bid.key, bid.told, bid.away);
            self.receivers.insert(turn, Receiver { key, holds: None, prefix, away, try_only: false });
        }
        self.lease(place, turn, out);
    }

    /// Takes whoever has a ticket out of its pair, if it is in one: both stand in
    /// line again, and a bid at the other side hears so.
    pub(super) fn part(&mut self, ticket: Ticket, out: &mut Out) {
        let Some((place, turn)) = self.pair_of(ticket) else {
            return;
        };
        self.pairs.remove(&place);
        if turn.is_none() {
            self.slots_used -= 1;
        }
        for ticket in turn.into_iter().chain([place]) {
            if let Some(bid) = self.bids.get_mut(&ticket) {
                let stage = core::mem::replace(&mut bid.stage, Stage::InLine);
                bid.void += u32::from(stage == Stage::Asked);
                if matches!(stage, Stage::Asked | Stage::Sure) {
                    bid.tell(NEVER_MIND, out);
                }
            }
            self.stand_in_line(ticket);
        }
        for ticket in turn.into_iter().chain([place]) {
            self.stay_or_go(ticket, out);
        }
    }

    /// Whoever is back in line may not be there to stay.
    fn stay_or_go(&mut self, ticket: Ticket, out: &mut Out) {
        let (is_try, sends) = match (self.bids.get(&ticket), self.messages.get(&ticket)) {
            (Some(bid), _) => (bid.try_only, bid.side == Side::Send),
            (None, Some(message)) if !message.accepted => (message.try_only, true),
            (None, Some(_)) => return,
            (None, None) => (self.receivers.get(&ticket).is_some_and(|receiver| receiver.try_only), false),
        };
        let why = match (is_try, self.closed && sends) {
            (_, true) => ErrorKind::Closed,
            (true, _) => ErrorKind::WouldBlock,
            _ => return,
        };
        if let Some(receiver) = self.receivers.remove(&ticket) {
            self.waiting.remove(&ticket);
            fail(receiver.key, why, out);
        } else if self.is_bid(ticket) {
            self.refuse_bid(ticket, why, out);
        } else {
            self.refuse(ticket, why, out);
        }
    }

    /// Puts somebody who is in no pair where they wait, if they are there.
    pub(super) fn stand_in_line(&mut self, ticket: Ticket) {
        let (side, away, slotted) = match (self.bids.get(&ticket), self.receivers.get(&ticket)) {
            (Some(bid), _) => (bid.side, bid.away, false),
            (None, Some(receiver)) => (Side::Recv, receiver.away, false),
            // A message waits though the rest of it may not come for now.
            (None, None) => match self.messages.get(&ticket) {
                Some(message) => (Side::Send, false, message.slotted),
                None => return,
            },
        };
        match side {
            _ if away => {}
            Side::Recv => {
                self.waiting.insert(ticket);
            }
            Side::Send => {
                self.line.insert(ticket);
                if !slotted {
                    self.unslotted.insert(ticket);
                }
            }
        }
    }

    /// The client of a bid is away, or back.
    pub(super) fn set_bid_away(&mut self, ticket: Ticket, away: bool) {
        let Some(bid) = self.bids.get_mut(&ticket) else {
            return;
        };
        bid.away = away;
        if bid.stage != Stage::InLine {
            return;
        }
        if away {
            self.leave_line(ticket);
        } else {
            self.stand_in_line(ticket);
        }
    }

    fn leave_line(&mut self, ticket: Ticket) {
        self.line.remove(&ticket);
        self.unslotted.remove(&ticket);
        self.waiting.remove(&ticket);
    }

    /// Takes a bid out that is in no pair, and says why.
    pub(super) fn refuse_bid(&mut self, ticket: Ticket, why: ErrorKind, out: &mut Out) {
        if let Some(bid) = self.bids.remove(&ticket) {
            self.leave_line(ticket);
            fail(bid.key, why, out);
        }
    }

    /// Refuses all bids of one side that stand in line.
    pub(super) fn refuse_bids(&mut self, side: Side, why: ErrorKind, out: &mut Out) {
        let stands = |bid: &Bid| bid.side == side && bid.stage == Stage::InLine;
        let all: Vec<Ticket> = self.bids.iter().filter(|(_, bid)| stands(bid)).map(|(&ticket, _)| ticket).collect();
        for ticket in all {
            self.refuse_bid(ticket, why, out);
        }
    }

    /// The channel is no more.
    pub(super) fn abort_bids(&mut self, out: &mut Out) {
        self.pairs.clear();
        for (_, bid) in core::mem::take(&mut self.bids) {
            fail(bid.key, ErrorKind::Aborted, out);
        }
    }

    fn pair_of(&self, ticket: Ticket) -> Option<Pair> {
        let (&place, &turn) = self.pairs.iter().find(|(place, turn)| **place == ticket || **turn == Some(ticket))?;
        Some((place, turn))
    }
}
