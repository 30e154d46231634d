//! The two streams of a call.

use std::time::Duration;

use bytes::Bytes;
use circuit_core::{
    Error, ServerId,
    client::Request,
    wire::op::{Op, Reply},
};

use super::{
    Circuit,
    call::{Call, Data},
    driver::Command,
};

/// A stream to a host: a message that is being sent, the input of a process.
///
/// Dropped before its end it is withdrawn: a message is not delivered, a
/// process's input stays open.
#[derive(Debug)]
pub struct Sending {
    call: Call,
    written: u64,
}

impl Sending {
    pub(super) fn start(circuit: &Circuit, host: ServerId, op: Op, deadline: Option<Duration>) -> Self {
        Self::of(Call::start(circuit, host, Request { op, deadline, input: None }), 0)
    }

    /// The rest of a stream of which so much is `written`.
    pub(super) const fn of(call: Call, written: u64) -> Self {
        Self { call, written }
    }

    /// Sends more. Waits while the host is too far behind.
    ///
    /// # Errors
    /// That of the call, if it has ended.
    pub async fn write(&mut self, mut bytes: Bytes) -> Result<(), Error> {
        while !bytes.is_empty() {
            let room = self.call.room(self.written).await? - self.written;
            let piece = bytes.split_to(bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
            self.written += piece.len() as u64;
            self.call.command(Command::Write { id: self.call.id, bytes: piece });
        }
        Ok(())
    }

    /// Ends the stream, and waits for what came of it.
    ///
    /// # Errors
    /// That of the call.
    pub async fn finish(mut self) -> Result<Reply, Error> {
        self.call.command(Command::End { id: self.call.id });
        self.call.answer().await
    }

    /// Waits until the call has ended by itself, as it does when the stream can
    /// go no further.
    ///
    /// # Errors
    /// That of the call.
    pub async fn ended(&mut self) -> Result<Reply, Error> {
        self.call.answer().await
    }
}

/// A stream from a host: a message that was received, the output of a process.
///
/// What was taken out of it counts as read when the next is asked for; its end,
/// when [`Receiving::finish`] is called.
#[derive(Debug)]
pub struct Receiving {
    call: Call,
    /// Bytes that were given out and not said to be consumed.
    given: usize,
    ended: bool,
    acknowledged: bool,
    again: bool,
    answer: Option<Result<Reply, Error>>,
}

impl Receiving {
    pub(super) fn start(circuit: &Circuit, host: ServerId, op: Op, deadline: Option<Duration>) -> Self {
        let call = Call::start(circuit, host, Request { op, deadline, input: None });
        Self::of(call, 0, false, false)
    }

    /// The rest of a stream whose last `given` bytes were given out and not said
    /// to be consumed.
    pub(super) const fn of(call: Call, given: usize, ended: bool, again: bool) -> Self {
        Self { call, given, ended, acknowledged: false, again, answer: None }
    }

    /// The next bytes, or nothing at the end. Those before count as read.
    ///
    /// # Errors
    /// That of the call, if it ends before the stream does.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        self.consume();
        while !self.ended {
            if let Some(Err(error)) = &self.answer {
                return Err(error.clone());
            }
            match self.call.data().await {
                Ok(Data { bytes, end, again }) => {
                    self.ended |= end;
                    self.again |= again;
                    if !bytes.is_empty() {
                        self.given += bytes.len();
                        return Ok(Some(bytes));
                    }
                }
                Err(answer) => self.answer = Some(answer),
            }
        }
        Ok(None)
    }

    /// Says that the stream was read to its end, without waiting for the host
    /// to take note. True if it was.
    pub fn acknowledge(&mut self) -> bool {
        if self.ended && !self.acknowledged {
            self.acknowledged = true;
            let (id, count) = (self.call.id, std::mem::take(&mut self.given));
            self.call.command(Command::Consumed { id, count, end: true });
            self.call.let_go();
        }
        self.acknowledged
    }

    /// Whether nothing comes after what was given out.
    pub const fn is_ended(&self) -> bool {
        self.ended
    }

    /// Says that the stream was read to its end, and waits until the host has
    /// taken note.
    ///
    /// # Errors
    /// That of the call: somebody else has the message by now, or it is not
    /// known whether this end's word arrived.
    pub async fn finish(&mut self) -> Result<Reply, Error> {
        self.acknowledge();
        if self.answer.is_none() {
            self.answer = Some(self.call.answer().await);
        }
        self.answer.clone().unwrap_or_else(|| Err(super::call::closed()))
    }

    /// Whether it was given to somebody else before, who was lost.
    pub const fn again(&self) -> bool {
        self.again
    }

    fn consume(&mut self) {
        if self.given > 0 {
            let (id, count) = (self.call.id, std::mem::take(&mut self.given));
            self.call.command(Command::Consumed { id, count, end: false });
        }
    }
}
