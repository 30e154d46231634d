//! Channels.

use bytes::{Bytes, BytesMut};
use circuit_core::{
    Error, Path,
    wire::op::{ChanStat, Op, Reply, Stat},
};

use super::{
    Anchor,
    call::{Pending, unexpected},
    stream::{Receiving, Sending},
};

/// A channel: Hoare's and Go's, on one host and used from any.
///
/// Messages are streams of bytes of any length. Every message is handed to
/// exactly one receiver, who acknowledges its end; one that is lost before gives
/// it back.
#[derive(Clone, Debug)]
pub struct Chan(pub(super) Anchor);

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The channel holds all of it.
    Accepted,
    /// A receiver has acknowledged the end of it.
    Delivered,
}

impl Chan {
    /// Where it stands.
    pub const fn anchor(&self) -> &Anchor {
        &self.0
    }

    fn path(&self) -> Path {
        self.0.place("").map(|at| at.path.clone()).unwrap_or_default()
    }

    /// Sends a message; waits until it is accepted or delivered.
    ///
    /// # Errors
    /// `Closed`; `NotDelivered` if its receiver was lost in the middle of a long
    /// one; `Unknown` when nobody can say, for which see [`Chan::sending`].
    pub async fn send(&self, message: impl Into<Bytes>) -> Result<Sent, Error> {
        sent(self.sending(message).answer().await)
    }

    /// Sends a message if the channel takes it at once.
    ///
    /// # Errors
    /// As [`Chan::send`], and `WouldBlock`.
    pub async fn try_send(&self, message: impl Into<Bytes>) -> Result<Sent, Error> {
        sent(self.0.ask(Op::Send { path: self.path(), try_only: true }, message.into()).await)
    }

    /// Begins to send a message; its answer can be asked for again when the
    /// first is `Unknown`.
    pub fn sending(&self, message: impl Into<Bytes>) -> Pending {
        self.0.start(Op::Send { path: self.path(), try_only: false }, message.into())
    }

    /// Begins a message that is written piece by piece.
    pub fn sender(&self) -> Sending {
        self.stream_to(Op::Send { path: self.path(), try_only: false })
    }

    /// Receives a message; waits until there is one.
    ///
    /// # Errors
    /// `Closed` when the channel is closed and empty.
    pub async fn recv(&self) -> Result<Message, Error> {
        self.receive(false).await
    }

    /// Receives a message if there is one.
    ///
    /// # Errors
    /// As [`Chan::recv`], and `WouldBlock`.
    pub async fn try_recv(&self) -> Result<Message, Error> {
        self.receive(true).await
    }

    /// Closes the channel: what was sent can still be received.
    ///
    /// # Errors
    /// `Closed` if it is closed already.
    pub async fn close(&self) -> Result<(), Error> {
        self.0.ask(Op::Close(self.path()), Bytes::new()).await.map(drop)
    }

    /// Its state.
    ///
    /// # Errors
    /// `NotFound`, or `WrongKind` if something else stands there.
    pub async fn stat(&self) -> Result<ChanStat, Error> {
        match self.0.peek().await? {
            Stat::Chan(stat) => Ok(stat),
            _ => Err(circuit_core::ErrorKind::WrongKind.into()),
        }
    }

    /// Begins a message that is written piece by piece, if a receiver takes it
    /// at once; otherwise it ends with `WouldBlock`.
    pub fn try_sender(&self) -> Sending {
        self.stream_to(Op::Send { path: self.path(), try_only: true })
    }

    fn stream_to(&self, op: Op) -> Sending {
        let host = self.0.server_id().unwrap_or(circuit_core::ServerId::DIAL_IN);
        Sending::start(self.0.circuit(), host, op, self.0.deadline())
    }

    async fn receive(&self, try_only: bool) -> Result<Message, Error> {
        let host = self.0.server_id().unwrap_or(circuit_core::ServerId::DIAL_IN);
        let op = Op::Recv { path: self.path(), try_only };
        let mut stream = Receiving::start(self.0.circuit(), host, op, self.0.deadline());
        // The first bytes, or the end of an empty message, mean that it is ours.
        let first = stream.next().await?;
        Ok(Message::of(first, stream))
    }
}

/// What came of sending a stream as a message.
impl Sending {
    /// Ends a message, and waits until it is accepted or delivered.
    ///
    /// # Errors
    /// As [`Chan::send`].
    pub async fn sent(self) -> Result<Sent, Error> {
        sent(self.finish().await)
    }
}

fn sent(result: Result<Reply, Error>) -> Result<Sent, Error> {
    match result? {
        Reply::Accepted => Ok(Sent::Accepted),
        Reply::Delivered => Ok(Sent::Delivered),
        other => Err(unexpected(&other)),
    }
}

/// A message that was received. It is this receiver's own once its end was
/// acknowledged; dropped before, it goes back to the channel.
#[derive(Debug)]
pub struct Message {
    first: Option<Bytes>,
    /// What [`Message::bytes`] has of it, should it be dropped half way.
    gathered: BytesMut,
    stream: Receiving,
}

impl Message {
    /// One that begins with `first`, which `stream` has given out.
    pub(super) fn of(first: Option<Bytes>, stream: Receiving) -> Self {
        Self { first, gathered: BytesMut::new(), stream }
    }

    /// Its next bytes, or nothing at its end.
    ///
    /// # Errors
    /// `Aborted` when the rest of it will not come.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        match self.first.take() {
            Some(first) => Ok(Some(first)),
            None => self.stream.next().await,
        }
    }

    /// All of it, acknowledged without waiting for the host to take note; for
    /// that there is [`Message::confirm`].
    ///
    /// # Errors
    /// As [`Message::next`].
    pub async fn bytes(&mut self) -> Result<Bytes, Error> {
        if let Some(first) = self.first.take() {
            if self.gathered.is_empty() && self.stream.acknowledge() {
                return Ok(first); // the end came with it
            }
            self.gathered.extend_from_slice(&first);
        }
        while let Some(more) = self.stream.next().await? {
            self.gathered.extend_from_slice(&more);
        }
        self.stream.acknowledge();
        Ok(self.gathered.split().freeze())
    }

    /// Acknowledges its end, and waits until the host has taken note: from then
    /// on nobody else will ever have it.
    ///
    /// # Errors
    /// `Unknown` if that cannot be said; another error if it is somebody else's.
    pub async fn confirm(&mut self) -> Result<(), Error> {
        while self.next().await?.is_some() {}
        self.stream.finish().await.map(drop)
    }

    /// Whether it was given to another receiver before, who was lost.
    pub const fn again(&self) -> bool {
        self.stream.again()
    }
}
