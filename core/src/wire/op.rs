//! What can be asked of a host, and what it can answer.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{Incarnation, Path, ServerId, Target, codec::list};

/// The most entries of one page of a listing.
pub const MAX_PAGE: usize = 512;

/// A request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Op {
    /// The servers that the dial-in server sees.
    Members,
    /// Anchors beneath a path, a page at a time.
    List {
        /// Beneath which anchor.
        path: Path,
        /// Only what comes after this path.
        after: Option<Path>,
        /// Everything beneath, rather than the children alone.
        deep: bool,
    },
    /// The state of an element.
    Peek(Path),
    /// Removes an element.
    Scrub(Path),
    /// Makes a channel.
    MakeChan {
        /// Where.
        path: Path,
        /// How many messages it buffers.
        cap: u32,
    },
    /// Sends a message, which is the call's inbound stream, through a channel.
    Send {
        /// Which channel.
        path: Path,
        /// Whether to give up rather than wait.
        try_only: bool,
    },
    /// Receives a message, which will be the call's outbound stream.
    Recv {
        /// Which channel or subscription.
        path: Path,
        /// Whether to give up rather than wait.
        try_only: bool,
    },
    /// Closes a channel.
    Close(Path),
    /// Starts a process; its [`ProcSpec`] is the call's inbound stream, as it
    /// may be large.
    MakeProc(Path),
    /// Writes the call's inbound stream to a process, and closes its standard
    /// input at the end.
    Stdin(Path),
    /// Reads what a process writes, as the call's outbound stream.
    Output {
        /// Which process.
        path: Path,
        /// Which of its outputs.
        of: Stdio,
        /// Only what is still to come.
        from_end: bool,
    },
    /// Sends a signal to a process.
    Signal {
        /// Which process.
        path: Path,
        /// The signal's number on the host.
        signal: i32,
    },
    /// Waits until a process has ended.
    Wait(Path),
    /// Makes a subscription to who joins or leaves.
    Subscribe {
        /// Where.
        path: Path,
        /// To what.
        source: Source,
    },
    /// Makes the server's circuit and that of another one.
    Join(Target),
    /// Ends the server: it leaves the circuit.
    Suicide,
    /// What the server does now, in words.
    Stack,
    /// A page of the server's log of operations.
    Log {
        /// Only what comes after this number, if it counts from this start of
        /// the server; all, if it does not.
        start: u32,
        /// The number.
        after: u64,
        /// Whether to wait until there is something.
        wait: bool,
    },
}

impl Op {
    /// The anchor that it is about; the server's own where it names none.
    pub fn path(&self) -> Path {
        match self {
            Self::Members | Self::Log { .. } | Self::Join(_) | Self::Suicide | Self::Stack => Path::root(),
            Self::Peek(path)
            | Self::Scrub(path)
            | Self::Close(path)
            | Self::MakeProc(path)
            | Self::Stdin(path)
            | Self::Wait(path)
            | Self::Output { path, .. }
            | Self::Signal { path, .. }
            | Self::List { path, .. }
            | Self::MakeChan { path, .. }
            | Self::Subscribe { path, .. }
            | Self::Send { path, .. }
            | Self::Recv { path, .. } => path.clone(),
        }
    }

    /// The command line's word for it.
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Members | Self::List { .. } => "ls",
            Self::Peek(_) => "peek",
            Self::Scrub(_) => "scrub",
            Self::MakeChan { .. } => "mkchan",
            Self::Send { .. } => "send",
            Self::Recv { .. } => "recv",
            Self::Close(_) => "close",
            Self::MakeProc(_) => "mkproc",
            Self::Stdin(_) => "stdin",
            Self::Output { of: Stdio::Out, .. } => "stdout",
            Self::Output { of: Stdio::Err, .. } => "stderr",
            Self::Signal { .. } => "signal",
            Self::Wait(_) => "wait",
            Self::Subscribe { source, .. } => source.verb(),
            Self::Join(_) => "join",
            Self::Suicide => "suicide",
            Self::Stack => "stk",
            Self::Log { .. } => "log",
        }
    }

    /// Whether it stands in the log; reading the log does not.
    pub const fn is_logged(&self) -> bool {
        !matches!(self, Self::Log { .. })
    }

    /// Whether it changes nothing, so that it may be asked again under another
    /// registration when nobody knows what became of it.
    pub const fn is_read(&self) -> bool {
        matches!(
            self,
            Self::Members | Self::List { .. } | Self::Peek(_) | Self::Log { .. } | Self::Wait(_) | Self::Stack
        )
    }

    /// Whether it has no effect before its outbound stream is acknowledged.
    pub const fn takes_effect_when_read(&self) -> bool {
        matches!(self, Self::Recv { .. } | Self::Output { .. })
    }

    /// Whether the call has a stream to its host.
    pub const fn takes_input(&self) -> bool {
        matches!(self, Self::Send { .. } | Self::MakeProc(_) | Self::Stdin(_))
    }

    /// The kind of element that this makes, if it makes one.
    pub const fn makes(&self) -> Option<Kind> {
        match self {
            Self::MakeChan { .. } => Some(Kind::Chan),
            Self::MakeProc(_) => Some(Kind::Proc),
            Self::Subscribe { source, .. } => Some(Kind::Subscription(*source)),
            _ => None,
        }
    }
}

/// What kind of element an anchor holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A server's own anchor.
    Server,
    /// A channel.
    Chan,
    /// A process.
    Proc,
    /// A subscription.
    Subscription(Source),
}

/// What a subscription tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// Servers that join; first those that are there.
    Join,
    /// Servers that leave.
    Leave,
    /// Both, in one order.
    Both,
}

impl Source {
    /// The command line's word for making one.
    pub const fn verb(self) -> &'static str {
        match self {
            Self::Join => "mk@join",
            Self::Leave => "mk@leave",
            Self::Both => "mk@both",
        }
    }

    /// The word that `ls -l` and `peek` print.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Join => "@join",
            Self::Leave => "@leave",
            Self::Both => "@both",
        }
    }
}

/// An output of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Stdio {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

impl Kind {
    /// The word that `ls -l` prints.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Chan => "chan",
            Self::Proc => "proc",
            Self::Subscription(source) => source.word(),
        }
    }
}

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

/// The state of an element, as `peek` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Stat {
    /// Of a server.
    Server(ServerStat),
    /// Of a channel.
    Chan(ChanStat),
    /// Of a process.
    Proc(ProcStat),
    /// Of a subscription.
    Subscription(SubscriptionStat),
}

/// The state of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStat {
    /// Where others dial it.
    pub addr: SocketAddr,
    /// When it started, in microseconds since 1970.
    pub joined: u64,
    /// The version of its program.
    pub version: String,
    /// For how long it has run, in microseconds.
    pub uptime: u64,
    /// How many servers it sees, itself among them.
    pub members: u64,
    /// How many sessions it has, with servers and clients.
    pub sessions: u64,
    /// How many elements it hosts.
    pub elements: u64,
    /// How many calls wait on its elements.
    pub streams: u64,
    /// How many bytes wait to be sent.
    pub bytes: u64,
}

/// The state of a channel; the names are upstream's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ChanStat {
    /// How many messages it buffers.
    pub cap: u32,
    /// Whether it was closed.
    pub closed: bool,
    /// Whether it was removed.
    pub aborted: bool,
    /// How many messages were accepted or delivered.
    pub num_send: u64,
    /// How many messages were acknowledged by a receiver.
    pub num_recv: u64,
}

/// The state of a subscription; the names are upstream's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionStat {
    /// What it tells of.
    pub source: Source,
    /// How many events wait to be received.
    pub pending: u64,
    /// Whether no more will come.
    pub closed: bool,
}

/// What process to run; the names are upstream's.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProcSpec {
    /// The program's file.
    pub path: String,
    /// Its arguments, after its name.
    #[serde(deserialize_with = "list::bounded::<{ usize::MAX }, _, _>")]
    pub args: Vec<String>,
    /// The directory it runs in; empty means the server's.
    pub dir: String,
    /// Its environment, each as `NAME=VALUE`; empty means the server's.
    #[serde(deserialize_with = "list::bounded::<{ usize::MAX }, _, _>")]
    pub env: Vec<String>,
    /// Whether the element goes when the process ends.
    pub scrub: bool,
    /// Whether it has a standard input that can be written to.
    pub stdin: StdinSpec,
}

/// What a process reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum StdinSpec {
    /// What is written to it.
    #[default]
    Pipe,
    /// Nothing.
    Null,
}

/// The state of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcStat {
    /// What was run.
    pub spec: ProcSpec,
    /// What it is doing.
    pub phase: Phase,
    /// How it ended, if it has.
    pub exit: Option<Exit>,
}

/// What a process is doing; the words are upstream's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// It runs.
    Running,
    /// It has ended by itself.
    Exited,
    /// It was stopped by a signal, and can be continued.
    Stopped,
    /// It was ended by a signal.
    Signaled,
    /// It was stopped and goes on.
    Continued,
}

/// How a process ended, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// In which way.
    pub how: How,
    /// When it was started, in microseconds since 1970.
    pub started: u64,
    /// When it ended.
    pub ended: u64,
}

/// In which way a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    /// By itself, with this status.
    Code(i32),
    /// By a signal.
    Signal {
        /// Its number on the host.
        number: i32,
        /// Whether memory was dumped.
        core: bool,
    },
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
