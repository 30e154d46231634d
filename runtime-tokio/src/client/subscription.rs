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

impl Subscription {
    pub(super) const fn new(anchor: Anchor, source: Source) -> Self {
        Self { anchor, source }
    }

    /// Where it stands.
    pub const fn anchor(&self) -> &Anchor {
        &self.anchor
    }

    /// The next event; waits until there is one. Each goes to one receiver.
    ///
    /// # Errors
    /// [`ErrorKind::Aborted`] if it was removed; those of the host and the
    /// connection.
    pub async fn next(&self) -> Result<Happened, Error> {
        let message = self.line()?.recv().await?;
        self.read(message).await
    }

    /// The next event, if there is one.
    ///
    /// # Errors
    /// As [`Subscription::next`], and [`ErrorKind::WouldBlock`].
    pub async fn try_next(&self) -> Result<Happened, Error> {
        let message = self.line()?.try_recv().await?;
        self.read(message).await
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

    async fn read(&self, mut message: Message) -> Result<Happened, Error> {
        let bytes = message.bytes().await?;
        let words = std::str::from_utf8(&bytes).unwrap_or_default();
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
