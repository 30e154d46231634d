//! What the core asks of the world besides frames: few things, in a closed set.
//!
//! An effect has the number of the element that wants it, which is never used
//! again. The semantics stay in the core; a driver does what it is told and says
//! what came of it, and whatever it says of a number that is not known any more
//! is ignored.

use alloc::boxed::Box;

use bytes::Bytes;

use crate::{
    elements::ElementId,
    wire::op::{How, ProcSpec, Stdio},
};

/// Something to do in the world.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Start a process in a session of its own. Answered by
    /// [`ProcessEvent::Started`] or [`ProcessEvent::Failed`].
    Spawn {
        /// The process.
        id: ElementId,
        /// What to run.
        spec: Box<ProcSpec>,
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
    /// Send it a signal, unless it has ended.
    Signal {
        /// The process.
        id: ElementId,
        /// The signal's number.
        signal: i32,
    },
    /// Nobody watches it any more: read whatever it writes and throw it away,
    /// until it has ended, and say nothing.
    Release {
        /// The process.
        id: ElementId,
    },
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
}

/// What a driver says of a process.
#[derive(Clone, Debug, PartialEq)]
pub enum ProcessEvent {
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
    /// It wrote.
    Output {
        /// To which output.
        of: Stdio,
        /// What.
        bytes: Bytes,
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
    /// It has ended. Its outputs may still be open, in other hands.
    Exited {
        /// How.
        how: How,
    },
}
