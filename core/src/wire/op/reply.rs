//! What a host can answer.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{Chosen, Kind, ProcStat, Stat};
use crate::{Incarnation, Path, ServerId, codec::list};

/// The most entries of one page of a listing.
pub const MAX_PAGE: usize = 512;

/// A result that is no error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// It was done.
    Done,
    /// The message is buffered: the host holds all of it.
    Accepted,
    /// A receiver acknowledged the end of the message.
    Delivered,
    /// The receiver's acknowledgement was taken: the message is its own.
    Received {
        /// Whether it was given to another before, who was lost.
        again: bool,
    },
    /// The output was read to its end.
    Read {
        /// How many bytes were forgotten before they could be sent.
        missed: u64,
    },
    /// A process has ended.
    Exit(Box<ProcStat>),
    /// A select is decided.
    Chosen(Box<Chosen>),
    /// The reply is large: its bytes are the call's outbound stream.
    Streamed,
    /// The servers that an observer sees.
    Members {
        /// Whose view it is.
        observer: Incarnation,
        /// How many events of the observer's log it is made of.
        events: u64,
        /// Who is there, in order of ids.
        #[serde(deserialize_with = "list::bounded::<{ usize::MAX }, _, _>")]
        members: Vec<Member>,
    },
    /// A page of a listing.
    Entries {
        /// The anchors, in order.
        #[serde(deserialize_with = "list::bounded::<MAX_PAGE, _, _>")]
        entries: Vec<Entry>,
        /// Whether more follow after the last.
        more: bool,
    },
    /// The state of an element.
    Stat(Box<Stat>),
    /// Something for people to read.
    Text(String),
    /// A page of the log of operations.
    Log {
        /// From which start of the server the numbers count.
        start: u32,
        /// How many that were asked for are gone.
        missed: u64,
        /// The operations, in the order of their execution.
        #[serde(deserialize_with = "list::bounded::<MAX_PAGE, _, _>")]
        records: Vec<LogRecord>,
    },
}

impl Reply {
    /// Whether it may not fit a packet.
    pub const fn may_be_large(&self) -> bool {
        matches!(
            self,
            Self::Members { .. }
                | Self::Entries { .. }
                | Self::Stat(_)
                | Self::Exit(_)
                | Self::Chosen(_)
                | Self::Text(_)
                | Self::Log { .. }
        )
    }
}

/// A server in a view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Who it is.
    pub id: ServerId,
    /// Which of its starts.
    pub start: u32,
    /// Where it can be dialled.
    pub addr: SocketAddr,
}

/// An anchor in a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Where it is.
    pub path: Path,
    /// What it holds; nothing for an anchor that only leads to others.
    pub kind: Option<Kind>,
}

/// One operation that a server executed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogRecord {
    /// Its place in the order of execution, from 1.
    pub seq: u64,
    /// When, in microseconds since 1970.
    pub time: u64,
    /// Who asked, as the client named itself.
    pub who: String,
    /// The command line's word for it.
    pub verb: String,
    /// The anchor beneath this server.
    pub path: Path,
    /// `ok`, or the error.
    pub outcome: String,
}
