//! What is said of processes.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::codec::list;

/// An output of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Stdio {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
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
    /// What happens to its output when nobody reads.
    pub output: OutputSpec,
    /// How long it may take to end when it is told to, in microseconds, before
    /// it is made to; some seconds, if nothing is said.
    pub grace: Option<u64>,
    /// What becomes of it when its server ends.
    pub on_server_exit: OnServerExit,
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

/// What happens to a process's output when nobody reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum OutputSpec {
    /// The process waits, as at a pipe.
    #[default]
    Block,
    /// The oldest is forgotten, and who reads is told how much.
    Drop,
    /// It is kept on disk, up to a limit; then the process waits.
    File,
}

impl OutputSpec {
    /// All that there are.
    pub const ALL: [Self; 3] = [Self::Block, Self::Drop, Self::File];

    /// The word for it in a description.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Drop => "drop",
            Self::File => "file",
        }
    }
}

/// What becomes of a process when its server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum OnServerExit {
    /// It is killed.
    #[default]
    Kill,
    /// It goes on, and the same server finds it at its next start.
    Keep,
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
    /// Why, where somebody knows.
    pub cause: Option<Cause>,
    /// When it was started, in microseconds since 1970.
    pub started: u64,
    /// When it ended.
    pub ended: u64,
}

/// Why a container ended, or a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// It used more memory than it may.
    Memory,
    /// Somebody else removed it, and nobody saw how it ended: the status says
    /// nothing.
    Lost,
    /// It was to outlive its server, and whoever kept it for that was killed, and
    /// it with it.
    Keeper,
    /// Its memory was limited, and it was killed by nobody who is known: by its
    /// host for its memory, or by somebody else on that host.
    Killed,
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
