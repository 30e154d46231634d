//! Subscriptions: who joins and who leaves, as one server sees it.

use circuit_core::{
    Error, ErrorKind,
    wire::op::{Source, Stat, SubscriptionStat},
};

use super::{Anchor, Chan, Message};

/// A subscription, by its place.
#[derive(Clone, Debug)]
pub struct Subscription {
    anchor: Anchor,
    source: Source,
}

/// What a subscription tells.
#[derive(Clone, Debug)]
pub enum Happened {
    /// This server joined, or was there when the subscription was made.
    Joined(Anchor),
    /// This server left, or was found gone.
    Left(Anchor),
    /// So many events came while nobody read, and are lost.
    Lagged(u64),
}

/// An event that was received. It is this receiver's own once it was confirmed;
/// dropped before, it goes back to the subscription.
#[derive(Debug)]
pub struct Event {
    happened: Happened,
    message: Message,
}

impl Event {
    /// What it tells.
    pub const fn happened(&self) -> &Happened {
        &self.happened
    }

    /// Takes it, and waits until the host has taken note: from then on nobody
    /// else will ever have it.
    ///
    /// # Errors
    /// As [`Message::confirm`].
    pub async fn confirm(mut self) -> Result<Happened, Error> {
        self.message.confirm().await?;
        Ok(self.happened)
    }
}

impl Subscription {
    pub(super) const fn new(anchor: Anchor, source: Source) -> Self {
        Self { anchor, source }
    }

    /// Where it stands.
    pub const fn anchor(&self) -> &Anchor {
        &self.anchor
    }

    /// The next event, which is taken with that; waits until there is one. Each
    /// goes to one receiver.
    ///
    /// # Errors
    /// [`ErrorKind::Aborted`] if it was removed; those of the host and the
    /// connection.
    pub async fn next(&self) -> Result<Happened, Error> {
        let mut event = self.recv().await?;
        event.message.bytes().await?;
        Ok(event.happened)
    }

    /// The next event, if there is one.
    ///
    /// # Errors
    /// As [`Subscription::next`], and [`ErrorKind::WouldBlock`].
    pub async fn try_next(&self) -> Result<Happened, Error> {
        let mut event = self.try_recv().await?;
        event.message.bytes().await?;
        Ok(event.happened)
    }

    /// As [`Subscription::next`], and the event is not taken before it is
    /// confirmed.
    ///
    /// # Errors
    /// As [`Subscription::next`].
    pub async fn recv(&self) -> Result<Event, Error> {
        self.read(self.line()?.recv().await?).await
    }

    /// As [`Subscription::try_next`], and the event is not taken before it is
    /// confirmed.
    ///
    /// # Errors
    /// As [`Subscription::try_next`].
    pub async fn try_recv(&self) -> Result<Event, Error> {
        self.read(self.line()?.try_recv().await?).await
    }

    /// Its state.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], or [`ErrorKind::WrongKind`] if something else
    /// stands there.
    pub async fn stat(&self) -> Result<SubscriptionStat, Error> {
        match self.anchor.peek().await? {
            Stat::Subscription(stat) => Ok(stat),
            _ => Err(ErrorKind::WrongKind.into()),
        }
    }

    /// Its events are received as a channel's messages are.
    fn line(&self) -> Result<Chan, Error> {
        self.anchor.chan()
    }

    pub(super) async fn read(&self, mut message: Message) -> Result<Event, Error> {
        let mut bytes = Vec::new();
        while let Some(more) = message.next().await? {
            bytes.extend_from_slice(&more);
        }
        let words = std::str::from_utf8(&bytes).unwrap_or_default();
        Ok(Event { happened: self.happened(words)?, message })
    }

    fn happened(&self, words: &str) -> Result<Happened, Error> {
        let at = |path: &str| self.anchor.circuit().anchor(path);
        match (words.split_once(' '), self.source) {
            (Some(("lagged", count)), _) => count.parse().map(Happened::Lagged).map_err(|_| strange(words)),
            (Some(("join", path)), Source::Both) => Ok(Happened::Joined(at(path)?)),
            (Some(("leave", path)), Source::Both) => Ok(Happened::Left(at(path)?)),
            (None, Source::Join) => Ok(Happened::Joined(at(words)?)),
            (None, Source::Leave) => Ok(Happened::Left(at(words)?)),
            _ => Err(strange(words)),
        }
    }
}

fn strange(words: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("no event of a subscription: {words:?}"))
}
