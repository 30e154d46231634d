//! What a session carries: frames.
//!
//! A frame is two bytes of length, one byte of kind, and a body. The header,
//! here, is coded by hand; the small bodies are [`codec`] values. The two large
//! ones stay bytes until they reach the part that they are for: a packet's
//! body, so that a relay need not understand it, and membership's, so that a
//! flood is encoded once for all neighbours.
//!
//! [`codec`]: crate::codec

pub mod call;
mod load;
pub mod op;
pub mod route;
#[cfg(test)]
pub(crate) mod tests;

use alloc::vec::Vec;
use core::net::SocketAddr;

use bytes::{Buf, Bytes};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    Epoch, ServerId,
    codec::{self, DecodeError, list},
};
pub use load::Load;
pub use route::Route;

/// Bytes of a frame before its body.
pub const HEADER: usize = 3;
/// The most bytes the body of a frame may have.
pub const MAX_BODY: usize = crate::session::PLAIN - HEADER;
/// The most bytes that a packet carries.
pub const MAX_PACKET: usize = MAX_BODY - route::LENGTH;

/// One message between the two ends of a session.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// Nothing follows, and why. It ends a session; that it came is what tells
    /// an end from a cut.
    Close(CloseReason),
    /// Asks for a [`Frame::Pong`] with the same number.
    Ping(u64),
    /// Answers a [`Frame::Ping`].
    Pong(u64),
    /// A server's first word on every session.
    Hello(Hello),
    /// Something about who is there, from server to server: a
    /// [`Message`](crate::membership::Message).
    Member(Bytes),
    /// Something between a client and a host, with the way it goes.
    Packet(Route, Load),
    /// What was on this way is lost, or there is none.
    Lost(Route, Loss),
}

/// What a server says of itself, first, on every session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Which of its starts this is, and which rise.
    pub epoch: Epoch,
    /// Where others dial it.
    pub addr: SocketAddr,
    /// To clients: servers to dial should this one be lost.
    #[serde(deserialize_with = "list::bounded::<MAX_OTHERS, _, _>")]
    pub others: Vec<(ServerId, SocketAddr)>,
}

/// The most other servers that a hello names.
pub const MAX_OTHERS: usize = 8;

/// What became of a way between a client and a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Loss {
    /// Something on it was lost; it may be opened again.
    Reset,
    /// There is no way to the host now.
    Unreachable,
    /// The host has left, as the dial-in server sees it; or the client has, as
    /// the host is told.
    Gone,
    /// The dial-in server never heard of the host.
    NotFound,
}

/// Why one end ended a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CloseReason {
    /// It is done.
    Done,
    /// The server stops.
    Stopping,
    /// Another session between the two serves.
    Duplicate,
    /// The peer reads too slowly for what it asks for.
    Slow,
    /// The peer broke the protocol.
    Protocol,
    /// There are too many sessions already.
    Busy,
    /// The session was not used for long.
    Idle,
}

mod kind {
    pub(super) const CLOSE: u8 = 1;
    pub(super) const PING: u8 = 2;
    pub(super) const PONG: u8 = 3;
    pub(super) const HELLO: u8 = 4;
    pub(super) const MEMBER: u8 = 5;
    pub(super) const PACKET: u8 = 16;
    pub(super) const LOST: u8 = 17;
}

impl Frame {
    /// What the frame counts for where bytes in queues are counted: about its
    /// size, and what it costs to keep it.
    pub fn cost(&self) -> usize {
        64 + match self {
            Self::Packet(_, load) => route::LENGTH + load.len(),
            Self::Hello(hello) => 48 * hello.others.len(),
            Self::Member(body) => body.len(),
            Self::Close(_) | Self::Ping(_) | Self::Pong(_) | Self::Lost(..) => 0,
        }
    }

    /// The way it goes, if it goes any further than this session.
    pub const fn route(&self) -> Option<&Route> {
        match self {
            Self::Packet(route, _) | Self::Lost(route, _) => Some(route),
            _ => None,
        }
    }

    /// Appends the frame to `out`.
    ///
    /// A body over its limit is a mistake of ours, not of a peer's: debug
    /// builds assert, and others send what the peer will refuse.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0, 0, self.kind()]);
        match self {
            Self::Close(reason) => codec::encode(reason, out),
            Self::Ping(number) | Self::Pong(number) => codec::encode(number, out),
            Self::Hello(hello) => codec::encode(hello, out),
            Self::Member(body) => out.extend_from_slice(body),
            Self::Packet(route, load) => {
                route.encode(out);
                load.encode(out);
            }
            Self::Lost(route, loss) => {
                route.encode(out);
                codec::encode(loss, out);
            }
        }
        let length = out.len() - start - HEADER;
        debug_assert!(length <= MAX_BODY, "a frame of {length} bytes");
        let length = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
        if let Some(header) = out.get_mut(start..start + 2) {
            header.copy_from_slice(&length);
        }
    }

    /// Takes one frame off the front of an opened record. The bodies share its
    /// memory: whoever keeps one for long copies it.
    ///
    /// # Errors
    /// [`DecodeError`]: the record ends in the middle of the frame, its kind is
    /// unknown, or its body does not parse.
    pub fn decode(record: &mut Bytes) -> Result<Self, DecodeError> {
        let Some(&[high, low, kind]) = record.first_chunk::<HEADER>() else {
            return Err(DecodeError { what: "a frame header cut short", offset: record.len() });
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > record.len() - HEADER {
            return Err(DecodeError { what: "a frame longer than its record", offset: 0 });
        }
        record.advance(HEADER);
        let mut body = record.split_to(length);
        Ok(match kind {
            kind::CLOSE => Self::Close(value(&body)?),
            kind::PING => Self::Ping(value(&body)?),
            kind::PONG => Self::Pong(value(&body)?),
            kind::HELLO => Self::Hello(value(&body)?),
            kind::MEMBER => Self::Member(body),
            kind::PACKET => Self::Packet(Route::decode(&mut body)?, Load::Encoded(body)),
            kind::LOST => Self::Lost(Route::decode(&mut body)?, value(&body)?),
            _ => return Err(DecodeError { what: "an unknown kind of frame", offset: 2 }),
        })
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Close(_) => kind::CLOSE,
            Self::Ping(_) => kind::PING,
            Self::Pong(_) => kind::PONG,
            Self::Hello(_) => kind::HELLO,
            Self::Member(_) => kind::MEMBER,
            Self::Packet(..) => kind::PACKET,
            Self::Lost(..) => kind::LOST,
        }
    }
}

/// A body that is one value; offsets count from the beginning of the frame.
fn value<T: DeserializeOwned + Serialize>(body: &[u8]) -> Result<T, DecodeError> {
    codec::decode_whole(body).map_err(|error| DecodeError { offset: error.offset + HEADER, ..error })
}
