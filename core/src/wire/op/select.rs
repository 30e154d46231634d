//! What is said of selects, and between a select and the hosts of its clauses.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use super::ProcStat;
use crate::{AnchorPath, codec::list, select::MAX_CLAUSES};

/// From a channel to a select: will you have this one?
pub const ASK: u8 = b'?';
/// From a channel to a select: what I asked for is not to be had any more.
pub const NEVER_MIND: u8 = b'-';
/// From a channel to a select: it is done; the message follows, or is awaited.
pub const DONE: u8 = b'!';
/// From a select to a channel: yes.
pub const YES: u8 = b'y';
/// From a select to a channel: I have seen that you take your question back.
pub const VOID: u8 = b'x';

/// What a clause of a select does with a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    /// It sends.
    Send,
    /// It receives.
    Recv,
}

impl Side {
    /// The command line's word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Recv => "recv",
        }
    }
}

/// The clauses of a select, as they travel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelectSpec {
    /// In the order in which they are numbered, from 0.
    #[serde(deserialize_with = "list::bounded::<MAX_CLAUSES, _, _>")]
    pub clauses: Vec<Clause>,
}

/// One of several things that a select may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clause {
    /// What its maker calls it; nothing needs a name.
    pub name: String,
    /// What.
    pub choice: Choice,
}

/// What a clause of a select does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Choice {
    /// Sends to a channel.
    Send(AnchorPath),
    /// Receives from a channel or a subscription.
    Recv(AnchorPath),
    /// Waits for the end of a process.
    Exit(AnchorPath),
    /// Waits for so many microseconds.
    After(u64),
    /// Does nothing, if nothing else can be done at once.
    Default,
}

/// Which clause of a select took place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// Its number, from 0.
    pub clause: u32,
    /// Its name.
    pub name: String,
    /// How the process ended, if it waited for one.
    pub exit: Option<ProcStat>,
}
