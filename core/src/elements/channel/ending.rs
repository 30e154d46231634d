//! How sends and receives end that are not matched, or are parted again.

use super::{Channel, Message, Out, Output, Ticket, fail};
use crate::{Error, ErrorKind, wire::op::Side};

impl Channel {
    /// A leased message's receiver is lost.
    pub(super) fn give_back(&mut self, place: Ticket, out: &mut Out) {
        let Some(message) = self.messages.get_mut(&place) else {
            return;
        };
        message.leased_to = None;
        let refusal = match (message.is_bound(), message.accepted, message.sender) {
            (true, ..) => Some(ErrorKind::NotDelivered),
            (false, false, _) if message.cancelled.is_some() => message.cancelled,
            (false, false, Some(_)) if self.closed => Some(ErrorKind::Closed),
            _ => None,
        };
        if let Some(kind) = refusal {
            return self.refuse(place, kind, out);
        }
        if !message.slotted {
            self.unslotted.insert(place);
        }
        self.line.insert(place);
        self.accept(place, out);
        self.settle_down(place);
    }

    pub(super) fn cancel_send(&mut self, place: Ticket, why: ErrorKind, out: &mut Out) {
        let Some(message) = self.messages.get_mut(&place) else {
            return;
        };
        match message.leased_to {
            None => self.refuse(place, why, out),
            // It will never be whole: its receiver cannot have it.
            Some(_) if message.is_unbegun() => {
                // Its receiver has nothing of it, and waits in its turn again.
                message.leased_to = None;
                let turn = self.receivers.iter().find(|(_, receiver)| receiver.holds == Some(place));
                if let Some(turn) = turn.map(|(&turn, _)| turn) {
                    self.give_up(turn, out);
                }
                self.refuse(place, why, out);
            }
            Some(key) if !message.is_whole() => {
                self.receivers.retain(|_, receiver| receiver.holds != Some(place));
                let error = Error::new(ErrorKind::Aborted, "the sender was lost in the middle of the message");
                out.push_back(Output::Answer { key, result: Err(error) });
                self.refuse(place, why, out);
            }
            // The one answer will be the result, unless the receiver is lost; a
            // client that cannot wait for it says Unknown, and may ask again.
            Some(_) => message.cancelled = Some(why),
        }
    }

    /// A receiver's message will not come. One of a select, which has chosen it,
    /// hears so; any other waits in its turn again.
    fn give_up(&mut self, turn: Ticket, out: &mut Out) {
        let Some(receiver) = self.receivers.get_mut(&turn) else {
            return;
        };
        receiver.holds = None;
        if receiver.prefix == 0 {
            return self.stand_in_line(turn);
        }
        let error = Error::new(ErrorKind::Aborted, "the sender was lost before the message");
        out.push_back(Output::Answer { key: receiver.key, result: Err(error) });
        self.receivers.remove(&turn);
    }

    /// A message that was not to wait is back in line; in a pair it may yet be
    /// taken.
    pub(super) fn refuse_to_wait(&mut self, place: Ticket, out: &mut Out) {
        let waits = |message: &Message| message.try_only && !message.accepted;
        if self.line.contains(&place) && self.messages.get(&place).is_some_and(|message| waits(message)) {
            self.refuse(place, ErrorKind::WouldBlock, out);
            self.settle(out);
        }
    }

    /// Takes out every message in line that was not accepted.
    pub(super) fn refuse_line(&mut self, why: ErrorKind, out: &mut Out) {
        self.refuse_bids(Side::Send, why, out);
        let accepted = |place: &Ticket| self.messages.get(place).is_some_and(|message| message.accepted);
        let waiting: alloc::vec::Vec<Ticket> = self.line.iter().copied().filter(|place| !accepted(place)).collect();
        for place in waiting {
            self.refuse(place, why, out);
        }
    }

    /// Takes a message out, and tells its sender why.
    pub(super) fn refuse(&mut self, place: Ticket, why: ErrorKind, out: &mut Out) {
        if let Some(sender) = self.remove(place).and_then(|message| message.sender) {
            fail(sender, why, out);
        }
    }
}
