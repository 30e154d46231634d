//! Selects: one that stands on a server, by its handle.

use bytes::Bytes;
use circuit_core::{
    Error, ErrorKind,
    wire::op::{Chosen, SelectStat, Stat},
};

use super::{Anchor, Chan, Message, Sending, Sent, anchor::Ended};

/// A select on some host: whichever of its clauses could be first has taken
/// place, or will, and no other.
///
/// One that this program makes for itself alone is [`super::Circuit::select`].
#[derive(Clone, Debug)]
pub struct Select(pub(super) Anchor);

impl Select {
    /// Where it stands.
    pub const fn anchor(&self) -> &Anchor {
        &self.0
    }

    /// Waits until it is decided: which clause took place.
    ///
    /// # Errors
    /// That of the first clause, if none can take place any more; `Unknown` if
    /// the host of the one that was to was lost in the middle; `Aborted` if the
    /// select was removed.
    pub async fn wait(&self) -> Result<Chosen, Error> {
        match self.0.wait().await? {
            Ended::Chosen(chosen) => Ok(chosen),
            Ended::Exited(_) => Err(ErrorKind::WrongKind.into()),
        }
    }

    /// Sends the message of the clause that took place.
    ///
    /// # Errors
    /// `WouldBlock` before it is decided, `WrongKind` if that clause does not
    /// send; and those of [`Chan::send`].
    pub async fn send(&self, message: impl Into<Bytes>) -> Result<Sent, Error> {
        self.line().send(message).await
    }

    /// Begins that message, which is written piece by piece.
    pub fn sender(&self) -> Sending {
        self.line().sender()
    }

    /// Receives the message of the clause that took place.
    ///
    /// # Errors
    /// `WouldBlock` before it is decided, `WrongKind` if that clause does not
    /// receive; and those of [`Chan::recv`].
    pub async fn recv(&self) -> Result<Message, Error> {
        self.line().recv().await
    }

    /// Its state.
    ///
    /// # Errors
    /// `NotFound`, or `WrongKind` if something else stands there.
    pub async fn stat(&self) -> Result<SelectStat, Error> {
        match self.0.peek().await? {
            Stat::Select(stat) => Ok(stat),
            _ => Err(ErrorKind::WrongKind.into()),
        }
    }

    /// Its message goes the way of a channel's.
    fn line(&self) -> Chan {
        Chan(self.0.clone())
    }
}
