//! What can be asked of a host, and what it can answer.

mod container;
mod process;
mod reply;
mod select;
mod stat;

use core::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{
    Path, Target,
    dns::{Name, Record},
};
pub use container::{ContainerSpec, ContainerStat, HostNamespace, leads_to};
pub use process::{Cause, Exit, How, OnServerExit, OutputSpec, Phase, ProcSpec, ProcStat, StdinSpec, Stdio};
pub use reply::{Entry, LogRecord, MAX_PAGE, Member, Reply};
pub use select::{ASK, Choice, Chosen, Clause, DONE, NEVER_MIND, SelectSpec, Side, VOID, YES};
pub use stat::{ChanStat, NameserverStat, SelectStat, ServerStat, Stat, SubscriptionStat};

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
    Scrub {
        /// Where it stands.
        path: Path,
        /// Whether a process or a container is ended too, before the answer.
        kill: bool,
    },
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
    /// A send to a channel, or a receive from one, that is a clause of a select:
    /// it takes place when the select says so. What is said of that are single
    /// bytes of the call's two streams, [`ASK`] and the like, before those of the
    /// message.
    Bid {
        /// Which channel or subscription.
        path: Path,
        /// The number of the select; the lower goes first.
        select: u128,
        /// Which of the two.
        side: Side,
        /// Whether to give up rather than wait.
        try_only: bool,
    },
    /// Closes a channel.
    Close(Path),
    /// Starts a process; its [`ProcSpec`] is the call's inbound stream, as it
    /// may be large.
    MakeProc(Path),
    /// Starts a container; its [`ContainerSpec`] is the call's inbound stream.
    /// Lines about what is done for that are the call's outbound stream, as far
    /// as they come before the answer.
    MakeContainer(Path),
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
    /// Makes a select; its clauses, a [`SelectSpec`], are the call's inbound
    /// stream.
    MakeSelect(Path),
    /// Makes a name server.
    MakeDns {
        /// Where.
        path: Path,
        /// Where it answers: at the server's own address, at any port that is
        /// free, if nothing is said.
        addr: Option<SocketAddr>,
    },
    /// Adds a record to a name server.
    Set {
        /// Which name server.
        path: Path,
        /// The record.
        record: Record,
    },
    /// Removes all records of a name from a name server.
    Unset {
        /// Which name server.
        path: Path,
        /// The name.
        name: Name,
    },
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
            | Self::Scrub { path, .. }
            | Self::Close(path)
            | Self::MakeProc(path)
            | Self::MakeContainer(path)
            | Self::MakeSelect(path)
            | Self::Stdin(path)
            | Self::Wait(path)
            | Self::Output { path, .. }
            | Self::Signal { path, .. }
            | Self::List { path, .. }
            | Self::MakeChan { path, .. }
            | Self::MakeDns { path, .. }
            | Self::Set { path, .. }
            | Self::Unset { path, .. }
            | Self::Subscribe { path, .. }
            | Self::Send { path, .. }
            | Self::Bid { path, .. }
            | Self::Recv { path, .. } => path.clone(),
        }
    }

    /// The command line's word for it.
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Members | Self::List { .. } => "ls",
            Self::Peek(_) => "peek",
            Self::Scrub { .. } => "scrub",
            Self::MakeChan { .. } => "mkchan",
            Self::Send { .. } => "send",
            Self::Recv { .. } => "recv",
            Self::Bid { side, .. } => side.word(),
            Self::Close(_) => "close",
            Self::MakeProc(_) => "mkproc",
            Self::MakeContainer(_) => "mkdkr",
            Self::MakeSelect(_) => "mkselect",
            Self::MakeDns { .. } => "mkdns",
            Self::Set { .. } => "set",
            Self::Unset { .. } => "unset",
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

    /// Whether it has no effect before something of its inbound stream is sent.
    pub const fn takes_effect_when_told(&self) -> bool {
        matches!(self, Self::Bid { .. })
    }

    /// Whether the call has a stream to its host.
    pub const fn takes_input(&self) -> bool {
        matches!(
            self,
            Self::Send { .. }
                | Self::Bid { .. }
                | Self::MakeProc(_)
                | Self::MakeContainer(_)
                | Self::MakeSelect(_)
                | Self::Stdin(_)
        )
    }

    /// The kind of element that this makes, if it makes one.
    pub const fn makes(&self) -> Option<Kind> {
        match self {
            Self::MakeChan { .. } => Some(Kind::Chan),
            Self::MakeProc(_) => Some(Kind::Proc),
            Self::MakeContainer(_) => Some(Kind::Container),
            Self::MakeSelect(_) => Some(Kind::Select),
            Self::MakeDns { .. } => Some(Kind::Nameserver),
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
    /// A container.
    Container,
    /// A select.
    Select,
    /// A name server.
    Nameserver,
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

impl Kind {
    /// The word that `ls -l` prints.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Chan => "chan",
            Self::Proc => "proc",
            Self::Container => "docker",
            Self::Select => "select",
            Self::Nameserver => "dns",
            Self::Subscription(source) => source.word(),
        }
    }
}
