//! A channel that is plain, slow and obviously right: one list of messages and
//! one of receivers, looked through from the front every time.

use alloc::vec::Vec;

use crate::{ErrorKind, calls::CallKey, wire::op::Reply};

/// What the model cares about of an answer.
pub(super) type Answer = (CallKey, Result<&'static str, ErrorKind>);

#[derive(Debug)]
struct Message {
    sender: CallKey,
    length: u64,
    whole: bool,
    slot: bool,
    try_only: bool,
    answered: bool,
    stalled: bool,
    with: Option<CallKey>,
    cancelled: Option<ErrorKind>,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    cap: usize,
    closed: bool,
    messages: Vec<Message>,
    receivers: Vec<(CallKey, bool)>,
    pub(super) answers: Vec<Answer>,
    /// Who was given whose message.
    pub(super) given: Vec<(CallKey, CallKey)>,
}

const KEPT: u64 = 32 * 1024;

pub(super) fn plain(result: &Result<Reply, crate::Error>) -> Result<&'static str, ErrorKind> {
    match result {
        Ok(Reply::Accepted) => Ok("accepted"),
        Ok(Reply::Delivered) => Ok("delivered"),
        Ok(Reply::Received { .. }) => Ok("received"),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.kind),
    }
}

impl Model {
    pub(super) fn new(cap: usize) -> Self {
        Self { cap, ..Self::default() }
    }

    fn answer(&mut self, key: CallKey, result: Result<&'static str, ErrorKind>) {
        self.answers.push((key, result));
    }

    pub(super) fn send(&mut self, sender: CallKey, length: u64, whole: bool, try_only: bool) {
        let slots = self.messages.iter().filter(|message| message.slot).count();
        let waits = self.messages.iter().any(|message| message.with.is_none() && !message.slot);
        let buffered = whole && slots < self.cap && !waits;
        let taken =
            !self.messages.iter().any(|message| message.with.is_none()) && self.receivers.iter().any(|(_, away)| !away);
        if self.closed {
            self.answer(sender, Err(ErrorKind::Closed));
        } else if try_only && !buffered && !taken {
            self.answer(sender, Err(ErrorKind::WouldBlock));
        } else {
            let (slot, answered, stalled, with, cancelled) = (false, false, false, None, None);
            self.messages.push(Message { sender, length, whole, slot, try_only, answered, stalled, with, cancelled });
        }
        self.settle();
    }

    pub(super) fn input(&mut self, sender: CallKey, length: u64, end: bool) {
        for message in self.messages.iter_mut().filter(|message| message.sender == sender && !message.answered) {
            message.length += length;
            message.whole |= end;
            message.stalled &= !message.whole;
        }
        self.settle();
    }

    pub(super) fn recv(&mut self, key: CallKey, try_only: bool) {
        self.receivers.push((key, false));
        self.settle();
        if try_only && self.receivers.iter().any(|(other, _)| *other == key) {
            self.receivers.retain(|(other, _)| *other != key);
            self.answer(key, Err(ErrorKind::WouldBlock));
        }
    }

    pub(super) fn ack(&mut self, key: CallKey) {
        let Some(place) = self.messages.iter().position(|message| message.with == Some(key) && message.whole) else {
            return;
        };
        let message = self.messages.remove(place);
        if !message.answered {
            self.answer(message.sender, Ok("delivered"));
        }
        self.answer(key, Ok("received"));
        self.settle();
    }

    pub(super) fn cancel(&mut self, key: CallKey, why: ErrorKind) {
        if self.receivers.iter().any(|(other, _)| *other == key) {
            self.receivers.retain(|(other, _)| *other != key);
            self.answer(key, Err(why));
        } else if let Some(place) = self.messages.iter().position(|message| message.with == Some(key)) {
            self.answer(key, Err(why));
            let message = &mut self.messages[place];
            message.with = None;
            let (sender, answered, cancelled) = (message.sender, message.answered, message.cancelled);
            let long = message.length > KEPT;
            if long || !answered && (self.closed || cancelled.is_some()) {
                self.messages.remove(place);
                let why = if long { ErrorKind::NotDelivered } else { cancelled.unwrap_or(ErrorKind::Closed) };
                self.answer(sender, Err(why));
            }
            self.settle();
            let waits = |message: &Message| {
                message.sender == sender && message.try_only && !message.answered && message.with.is_none()
            };
            if let Some(place) = self.messages.iter().position(waits) {
                self.messages.remove(place);
                self.answer(sender, Err(ErrorKind::WouldBlock));
            }
        } else if let Some(place) = self.messages.iter().position(|m| m.sender == key && !m.answered) {
            match (self.messages[place].with, self.messages[place].whole) {
                (None, _) => {
                    self.messages.remove(place);
                    self.answer(key, Err(why));
                }
                (Some(receiver), false) => {
                    self.messages.remove(place);
                    self.answer(receiver, Err(ErrorKind::Aborted));
                    self.answer(key, Err(why));
                }
                (Some(_), true) => self.messages[place].cancelled = Some(why),
            }
        }
        self.settle();
    }

    pub(super) fn presence(&mut self, key: CallKey, away: bool) {
        for receiver in self.receivers.iter_mut().filter(|(other, _)| *other == key) {
            receiver.1 = away;
        }
        for message in self.messages.iter_mut().filter(|message| message.sender == key && !message.answered) {
            message.stalled = away && !message.whole;
        }
        if !away {
            self.settle();
        }
    }

    pub(super) fn close(&mut self) {
        if core::mem::replace(&mut self.closed, true) {
            return;
        }
        let (refused, kept) = core::mem::take(&mut self.messages)
            .into_iter()
            .partition(|message| message.with.is_none() && !message.answered);
        self.messages = kept;
        let refused: Vec<Message> = refused;
        for message in refused {
            self.answer(message.sender, Err(ErrorKind::Closed));
        }
        self.settle();
    }

    fn settle(&mut self) {
        self.accept_all();
        while self.hand_out_slot() || self.give_first() {}
        self.accept_all();
        if self.closed && self.messages.is_empty() {
            for (key, _) in core::mem::take(&mut self.receivers) {
                self.answer(key, Err(ErrorKind::Closed));
            }
        }
    }

    /// Whole messages that have a slot are accepted, whoever has them.
    fn accept_all(&mut self) {
        for message in &mut self.messages {
            let wanted = !message.answered && message.cancelled.is_none();
            if message.slot && wanted && message.whole && message.length <= KEPT {
                message.answered = true;
                self.answers.push((message.sender, Ok("accepted")));
            }
        }
    }

    fn hand_out_slot(&mut self) -> bool {
        let slots = self.messages.iter().filter(|message| message.slot).count();
        let next = self.messages.iter_mut().find(|message| !message.slot && message.with.is_none());
        match next {
            Some(message) if slots < self.cap => {
                message.slot = true;
                // A whole message is accepted before it is given to anybody.
                if message.whole && message.length <= KEPT {
                    message.answered = true;
                    self.answers.push((message.sender, Ok("accepted")));
                }
                true
            }
            _ => false,
        }
    }

    fn give_first(&mut self) -> bool {
        let message = self.messages.iter_mut().find(|message| message.with.is_none());
        let receiver = self.receivers.iter().position(|(_, away)| !away);
        match (message, receiver) {
            (Some(message), Some(receiver)) if !message.stalled => {
                let (key, _) = self.receivers.remove(receiver);
                message.with = Some(key);
                self.given.push((key, message.sender));
                true
            }
            _ => false,
        }
    }
}
