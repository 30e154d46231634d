//! What the core asks of the world besides frames: few things, in a closed set.
//!
//! An effect has the number of the element that wants it, which is never used
//! again. The semantics stay in the core; a driver does what it is told and says
//! what came of it, and whatever it says of a number that is not known any more
//! is ignored.

use alloc::{boxed::Box, string::String, sync::Arc};
use core::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    Error, Path,
    codec::octets,
    dns::Zone,
    elements::ElementId,
    wire::op::{Cause, ContainerSpec, How, ProcSpec, Stdio},
};

/// Something to do in the world.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Start a process in a session of its own. Answered by
    /// [`ProcessEvent::Started`], [`ProcessEvent::Failed`] or
    /// [`ProcessEvent::Refused`].
    Spawn {
        /// The process.
        id: ElementId,
        /// What to run.
        spec: Box<ProcSpec>,
    },
    /// Start a process that outlives this server. Answered as
    /// [`Effect::Spawn`]; if whoever keeps it is lost, by
    /// [`ProcessEvent::Lost`].
    Keep {
        /// The process.
        id: ElementId,
        /// Where its element stands.
        at: Path,
        /// What to run.
        spec: Box<ProcSpec>,
    },
    /// This is the number from now on of a process that an earlier server left
    /// behind: what comes of it is said from here on.
    Adopt {
        /// The process.
        id: ElementId,
        /// Which of those that the server was started with.
        kept: usize,
    },
    /// Start a container, which is a process in all that follows. Answered by
    /// [`ProcessEvent::Started`] or [`ProcessEvent::Refused`].
    Run {
        /// The container.
        id: ElementId,
        /// What to run.
        spec: Box<ContainerSpec>,
    },
    /// Write to its standard input, after what was to be written before.
    Write {
        /// The process.
        id: ElementId,
        /// What.
        bytes: Bytes,
    },
    /// Close its standard input, after what was to be written before.
    CloseInput {
        /// The process.
        id: ElementId,
    },
    /// Read from one of its outputs, up to this offset.
    Read {
        /// The process.
        id: ElementId,
        /// Which output.
        of: Stdio,
        /// The offset after the last byte that may be read.
        until: u64,
    },
    /// Say what it wrote at some place, of output that is on disk. Answered by
    /// [`ProcessEvent::Fetched`], each for each and in order.
    Fetch {
        /// The process.
        id: ElementId,
        /// Which output.
        of: Stdio,
        /// The offset of the first byte.
        from: u64,
        /// How many, all of which it wrote.
        len: u64,
    },
    /// Of output that is on disk, give back the room of what was before this
    /// offset: nobody will read it.
    Forget {
        /// The process.
        id: ElementId,
        /// Which output.
        of: Stdio,
        /// The offset of the first byte that is still of use.
        before: u64,
    },
    /// Send it a signal, unless it has ended.
    Signal {
        /// The process.
        id: ElementId,
        /// The signal's number.
        signal: i32,
    },
    /// Say what the engine says of a container. Answered by
    /// [`ProcessEvent::Inspected`], each for each and in order.
    Inspect {
        /// The container.
        id: ElementId,
    },
    /// End it: tell it to, and make it after some time. Nobody watches it any
    /// more. Answered by [`ProcessEvent::Killed`], which is the last of it.
    Kill {
        /// The process.
        id: ElementId,
        /// How long it may take to end by itself.
        grace: Duration,
    },
    /// Something about the sockets of a name server.
    Names {
        /// The name server.
        id: ElementId,
        /// What.
        what: Names,
    },
    /// Nobody watches it any more: read whatever it writes and throw it away,
    /// until it has ended, and say nothing.
    Release {
        /// The process.
        id: ElementId,
    },
}

impl Effect {
    /// Which element it is about.
    pub const fn id(&self) -> ElementId {
        match self {
            Self::Spawn { id, .. }
            | Self::Keep { id, .. }
            | Self::Adopt { id, .. }
            | Self::Run { id, .. }
            | Self::Write { id, .. }
            | Self::CloseInput { id }
            | Self::Read { id, .. }
            | Self::Fetch { id, .. }
            | Self::Forget { id, .. }
            | Self::Signal { id, .. }
            | Self::Inspect { id }
            | Self::Kill { id, .. }
            | Self::Names { id, .. }
            | Self::Release { id } => *id,
        }
    }
}

/// What to do about the sockets of a name server.
#[derive(Clone, Debug, PartialEq)]
pub enum Names {
    /// Take packets by UDP and TCP at this address, at one port, which is any
    /// that is free if it is 0; [`Zone::reply`] says what to do with them.
    /// Answered by one [`NamesEvent`].
    Serve(SocketAddr),
    /// These are the records from now on; at first there are none.
    Answer(Arc<Zone>),
    /// Close the sockets, and say nothing more.
    Close,
}

/// What came of effects.
#[derive(Clone, Debug, PartialEq)]
pub enum EffectEvent {
    /// Something about a process.
    Process {
        /// The process.
        id: ElementId,
        /// What.
        event: ProcessEvent,
    },
    /// Something about the sockets of a name server.
    Names {
        /// The name server.
        id: ElementId,
        /// What.
        event: NamesEvent,
    },
}

/// What a driver says of the sockets of a name server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamesEvent {
    /// Packets are taken here.
    Serving(SocketAddr),
    /// They cannot be.
    Failed {
        /// Why, as the operating system says.
        errno: i32,
    },
}

/// What matters when it happened, for a process that outlives its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Timed {
    /// [`ProcessEvent::Started`].
    Started {
        /// The number of its process.
        pid: u32,
    },
    /// [`ProcessEvent::Exited`].
    Exited {
        /// In which way.
        how: How,
    },
}

impl From<Timed> for ProcessEvent {
    fn from(event: Timed) -> Self {
        match event {
            Timed::Started { pid } => Self::Started { pid },
            Timed::Exited { how } => Self::Exited { how },
        }
    }
}

/// What a driver says of a process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ProcessEvent {
    /// Something happened at a time that is not now.
    At {
        /// When, in microseconds since 1970.
        time: u64,
        /// What.
        event: Timed,
    },
    /// It runs.
    Started {
        /// The number of its process.
        pid: u32,
    },
    /// It could not be started. Nothing follows.
    Failed {
        /// Why, as the operating system says.
        errno: i32,
    },
    /// It could not be started, for a reason that is not the operating system's
    /// or not about the program. Nothing follows.
    Refused {
        /// Why.
        error: Error,
    },
    /// Something is being done so that the container can be started.
    Progress {
        /// What, in a line.
        text: String,
    },
    /// What was asked of the container's engine.
    Inspected {
        /// An object in JSON.
        result: Result<String, Error>,
    },
    /// It was killed, as asked, and nothing is left of it. Nothing follows.
    Killed {
        /// Or why that is not so yet.
        result: Result<(), Error>,
    },
    /// It wrote.
    Output {
        /// To which output.
        of: Stdio,
        /// What.
        #[serde(with = "octets")]
        bytes: Bytes,
    },
    /// It wrote, and that is on disk.
    Stored {
        /// To which output.
        of: Stdio,
        /// How many bytes.
        count: u64,
    },
    /// What it wrote cannot be put on disk now. Nothing of that output is read
    /// until it can be, which is tried again and again: then it is stored as
    /// ever, and until then this is said each time.
    Stalled {
        /// Which output.
        of: Stdio,
        /// Why, as the operating system says.
        errno: i32,
    },
    /// What it wrote at some place.
    Fetched {
        /// To which output.
        of: Stdio,
        /// The offset of the first byte.
        from: u64,
        /// All that was asked for, or why it cannot be had.
        #[serde(with = "octets::or_errno")]
        result: Result<Bytes, i32>,
    },
    /// It, and all that inherited its output, have closed that.
    OutputEnd {
        /// Which.
        of: Stdio,
    },
    /// It was written so many more bytes.
    Wrote {
        /// How many.
        count: u64,
    },
    /// Its standard input is closed: as was asked, or by itself, and then what
    /// was still to be written is lost.
    InputClosed,
    /// A signal has stopped it.
    Stopped,
    /// It goes on.
    Continued,
    /// Why the container is about to have ended.
    Explained {
        /// By what.
        cause: Cause,
    },
    /// Whoever kept it was killed, and it with it; its output is lost. Nothing
    /// follows.
    Lost,
    /// It has ended. Its outputs may still be open, in other hands.
    Exited {
        /// How.
        how: How,
    },
}
