//! Who is who: servers, their starts and their epochs.

use core::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A server's identity: 64 bits of the hash of its static public key.
///
/// The same bits name its anchor (`X88550014d4c82e4d`) and its URL
/// (`Q88550014d4c82e4d`), as in upstream.
///
/// ```
/// use circuit_core::ServerId;
/// let id: ServerId = "X88550014d4c82e4d".parse().unwrap();
/// assert_eq!(id.to_string(), "X88550014d4c82e4d");
/// assert!("X88550014D4C82E4D".parse::<ServerId>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServerId(pub u64);

impl ServerId {
    /// Stands for whichever server a client dialled.
    pub const DIAL_IN: Self = Self(0);

    /// Reads the 16 lower-case hexadecimal digits of an id.
    pub fn from_hex(digits: &str) -> Option<Self> {
        let plain = digits.len() == 16 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !plain {
            return None;
        }
        u64::from_str_radix(digits, 16).ok().map(Self)
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "X{:016x}", self.0)
    }
}

impl fmt::Debug for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ServerId {
    type Err = NotAServer;
    fn from_str(text: &str) -> Result<Self, NotAServer> {
        text.strip_prefix('X').and_then(Self::from_hex).ok_or(NotAServer)
    }
}

/// The text is not `X` and 16 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAServer;

impl fmt::Display for NotAServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a server is named by X and 16 lower-case hexadecimal digits")
    }
}

impl core::error::Error for NotAServer {}

/// How recent what is known of a server is: first by its starts under one
/// identity, then by how often it refuted its own death within one start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Epoch {
    /// Counts the server's starts; on disk before its first packet.
    pub start: u32,
    /// Counts refutations within one start.
    pub rise: u32,
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.start, self.rise)
    }
}

/// One life of a server. Handles, calls and addresses name an incarnation, so
/// none of them ever reaches a later one by mistake, and a refutation kills
/// none of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation {
    /// Which server.
    pub id: ServerId,
    /// Which of its starts.
    pub start: u32,
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.id, self.start)
    }
}
