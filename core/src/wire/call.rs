//! What a client and a host say to each other: the bodies of packets.
//!
//! A body is a [`ToHost`] or a [`ToClient`], and whatever bytes stand behind it
//! are its payload: a piece of the call's stream in that direction. A stream's
//! offsets count bytes, and its end counts as one byte more, so that one number
//! acknowledges both.

use alloc::{boxed::Box, string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use super::op::{Op, Reply};
use crate::{Error, codec::list};

/// Ranges of call numbers, both ends included.
pub type Ranges = Vec<(u64, u64)>;
/// The most ranges that one message may hold.
pub const MAX_RANGES: usize = 2_048;
/// What a client may send of a stream before its host says more: also the most
/// that a channel keeps of a message nobody has asked for.
pub const INITIAL_CREDIT: u64 = 32 * 1024;
/// The most bytes of a stream in one packet.
pub const MAX_CHUNK: usize = 60 * 1024;

/// From a client to the host of an element.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToHost {
    /// Opens or finds the client's registration.
    Attach(Box<Attach>),
    /// Asks for something, once: under a number that was asked before, only the
    /// answer is sent again.
    Call {
        /// The call's number under the registration, from 1.
        seq: u64,
        /// Microseconds that it may take, if there is a limit.
        deadline: Option<u64>,
        /// The client has used up the outbound stream to here.
        acked: u64,
        /// The host may send of the outbound stream to here.
        limit: u64,
        /// Whether it may have been asked before, on a way that was lost. The
        /// host then says how far the inbound stream has come, and the client
        /// goes on from there.
        again: bool,
        /// Whether the payload is all of the inbound stream.
        ended: bool,
        /// What is asked.
        op: Op,
    },
    /// A piece of the call's inbound stream.
    Data {
        /// Of which call.
        seq: u64,
        /// Where in the stream the payload begins.
        offset: u64,
        /// Whether the stream ends with it.
        end: bool,
    },
    /// The outbound stream was used up to `acked` and may be sent to `limit`.
    Credit {
        /// Of which call.
        seq: u64,
        /// What the sender may forget.
        acked: u64,
        /// What the sender may send.
        limit: u64,
    },
    /// Asks that a call end without effect, if it still can.
    Cancel {
        /// Which call.
        seq: u64,
    },
    /// These answers have come; the host may forget them.
    Answered(#[serde(deserialize_with = "list::bounded::<MAX_RANGES, _, _>")] Ranges),
    /// The client is done for good: nothing of it need be kept.
    Detach,
}

/// Says that the client is here, on this way, and on no other any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attach {
    /// The client's own number, random, for as long as it lives.
    pub client: u128,
    /// Counts the client's attachments, from 1; an earlier one is ignored.
    pub attempt: u32,
    /// The registration to go on with, or 0 for a new one.
    pub registration: u64,
    /// The calls whose answers have come.
    #[serde(deserialize_with = "list::bounded::<MAX_RANGES, _, _>")]
    pub answered: Ranges,
    /// Who the client says it is, for the log.
    pub label: String,
}

/// From a host to a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToClient {
    /// The client is attached under this registration.
    Attached {
        /// Which attachment this answers.
        attempt: u32,
        /// To be named from now on.
        registration: u64,
        /// The host's start: which incarnation this is.
        start: u32,
    },
    /// The registration that the client named is not known (any more); whatever
    /// was asked under it may or may not have happened.
    Forgotten {
        /// Which attachment this answers.
        attempt: u32,
    },
    /// The client must attach before it calls, or something was lost on the way
    /// and it must attach again.
    Unattached,
    /// A piece of the call's outbound stream.
    Data {
        /// Of which call.
        seq: u64,
        /// Where in the stream the payload begins.
        offset: u64,
        /// Whether the stream ends with it.
        end: bool,
        /// Whether it was given to another before, who was lost.
        again: bool,
    },
    /// The inbound stream was used up to `acked` and may be sent to `limit`.
    Credit {
        /// Of which call.
        seq: u64,
        /// What the sender may forget.
        acked: u64,
        /// What the sender may send.
        limit: u64,
    },
    /// The one answer of a call.
    Answer {
        /// Of which call.
        seq: u64,
        /// What came of it.
        result: Result<Reply, Error>,
    },
}
