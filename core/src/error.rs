//! What can go wrong, in three classes that never mix: the application's
//! faults, a host out of reach, and the caller's own connection.

use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Serialize};

/// What went wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ErrorKind {
    /// There is nothing at that path, or no server of that id was ever seen.
    NotFound,
    /// There is an element already.
    AlreadyExists,
    /// The element is of another kind than the verb is for.
    WrongKind,
    /// The request makes no sense, as the detail says.
    Invalid,
    /// The server was not told to allow this.
    Forbidden,
    /// A stated limit was hit.
    QuotaExceeded,
    /// The channel or stream was closed.
    Closed,
    /// The element was removed while the call waited on it.
    Aborted,
    /// A process could not start: the operating system's errno.
    SpawnFailed(i32),
    /// An address could not be listened at: the operating system's errno.
    BindFailed(i32),
    /// What a process wrote could not be stored, or not be read again: the
    /// operating system's errno.
    DiskFailed(i32),
    /// A message's receiver was lost after it had taken a part of it.
    NotDelivered,
    /// The call was told not to wait and would have had to.
    WouldBlock,
    /// The caller withdrew the call before it had any effect.
    Cancelled,
    /// The host cannot be reached now; the same call may succeed later.
    Unreachable,
    /// The client's own connection is lost and could not be made again.
    Disconnected,
    /// The deadline passed before the call had any effect.
    Timeout,
    /// Nobody can say whether it happened.
    Unknown,
}

/// Who has to do something about an error (the classes of the upstream API).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The request was carried to its host and refused there.
    Application,
    /// The host is out of reach; the handle stays usable.
    Host,
    /// The client's own connection is lost.
    Connection,
}

impl ErrorKind {
    /// The class this kind belongs to.
    pub const fn class(self) -> ErrorClass {
        match self {
            Self::Unreachable | Self::Timeout | Self::Unknown => ErrorClass::Host,
            Self::Disconnected => ErrorClass::Connection,
            _ => ErrorClass::Application,
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::NotFound => "not found",
            Self::AlreadyExists => "already exists",
            Self::WrongKind => "wrong kind of element",
            Self::Invalid => "invalid",
            Self::Forbidden => "forbidden",
            Self::QuotaExceeded => "over the limit",
            Self::Closed => "closed",
            Self::Aborted => "aborted: the element was removed",
            Self::SpawnFailed(errno) => return write!(f, "the process could not start (errno {errno})"),
            Self::BindFailed(errno) => return write!(f, "the address cannot be had (errno {errno})"),
            Self::DiskFailed(errno) => return write!(f, "the disk failed (errno {errno})"),
            Self::NotDelivered => "not delivered: the receiver was lost in the middle",
            Self::WouldBlock => "would block",
            Self::Cancelled => "cancelled",
            Self::Unreachable => "the host is unreachable",
            Self::Disconnected => "the connection to the circuit is lost",
            Self::Timeout => "the deadline passed",
            Self::Unknown => "unknown: it may or may not have happened",
        };
        f.write_str(text)
    }
}

/// What went wrong, where, and in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// What went wrong.
    pub kind: ErrorKind,
    /// The anchor it went wrong at; empty where there is none.
    pub path: String,
    /// More, for a person to read; may be empty.
    pub detail: String,
}

impl Error {
    /// An error of `kind` with more words to it. The path is added by whoever
    /// knows it, with [`Error::at`].
    pub fn new(kind: ErrorKind, detail: impl Into<String>) -> Self {
        Self { kind, path: String::new(), detail: detail.into() }
    }

    /// The same error, at `path`, if it did not have one yet.
    #[must_use]
    pub fn at(mut self, path: impl fmt::Display) -> Self {
        if self.path.is_empty() {
            self.path = alloc::format!("{path}");
        }
        self
    }

    /// The same error, with at most about `length` bytes of words.
    #[must_use]
    pub(crate) fn cut_to(mut self, length: usize) -> Self {
        if self.detail.len() > length {
            let end = (0..=length).rev().find(|&at| self.detail.is_char_boundary(at)).unwrap_or(0);
            self.detail.truncate(end);
            self.detail.push_str(" ...");
        }
        self
    }

    /// The class this error belongs to.
    pub const fn class(&self) -> ErrorClass {
        self.kind.class()
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self::new(kind, "")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        if self.detail.is_empty() {
            return fmt::Display::fmt(&self.kind, f);
        }
        match self.kind {
            ErrorKind::Invalid => f.write_str(&self.detail),
            kind => write!(f, "{kind}: {}", self.detail),
        }
    }
}

impl core::error::Error for Error {}
