//! The way of a packet between a client and the host of an element.
//!
//! A client speaks to its dial-in server, that one to the host, directly or
//! through one further server where the direct way is cut. Every packet says
//! where it goes, so that no server on the way has to remember it.

use alloc::vec::Vec;

use bytes::{Buf, Bytes};

use crate::{ServerId, codec::DecodeError};

/// The most bytes of an encoded route.
pub const LENGTH: usize = 26;
/// Bytes of one that leaves out `via` and `session`.
const SHORT: usize = 10;
/// How many servers may stand between the dial-in server and the host.
pub const MAX_HOPS: u8 = 1;

/// Where a packet goes and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Whether it goes to the host or to the client.
    pub to: End,
    /// Whether it is a part of a stream, which gives way to what is short.
    pub bulk: bool,
    /// How many more servers may pass it on.
    pub hops: u8,
    /// The server that hosts what the packet is about.
    pub host: ServerId,
    /// The server that the client dialled. Between the two, it and the session
    /// go without saying: they are [`ServerId::DIAL_IN`] and 0.
    pub via: ServerId,
    /// The client's session, as its dial-in server numbers them.
    pub session: u64,
}

/// The two ends of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The host.
    Host,
    /// The client.
    Client,
}

impl Route {
    /// This route between the client and the server that it dialled.
    pub const fn at_client(self) -> Self {
        Self { via: ServerId::DIAL_IN, session: 0, ..self }
    }

    /// Appends the route to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let short = *self == self.at_client();
        let mut route = [0; LENGTH];
        let (flags, ids) = route.split_at_mut(2);
        let to = u8::from(self.to == End::Client);
        flags.copy_from_slice(&[to | u8::from(self.bulk) << 1 | u8::from(short) << 2, self.hops]);
        for (place, id) in ids.chunks_exact_mut(8).zip([self.host.0, self.via.0, self.session]) {
            place.copy_from_slice(&id.to_be_bytes());
        }
        out.extend_from_slice(if short { &route[..SHORT] } else { &route });
    }

    /// Takes a route off the front of `body`.
    ///
    /// # Errors
    /// [`DecodeError`] when it is cut short, has unknown flags, is longer than
    /// it need be, or has more hops than any server gives.
    pub fn decode(body: &mut Bytes) -> Result<Self, DecodeError> {
        let refuse = |what, offset| Err(DecodeError { what, offset });
        let flags = body.first().copied().unwrap_or(0);
        let short = flags & 4 != 0;
        if body.len() < if short { SHORT } else { LENGTH } {
            return refuse("a route cut short", body.len());
        }
        body.advance(1);
        let hops = body.get_u8();
        if flags > 7 {
            return refuse("an unknown flag of a route", 0);
        }
        if hops > MAX_HOPS {
            return refuse("a route of too many hops", 1);
        }
        let host = ServerId(body.get_u64());
        let (via, session) = if short { (ServerId::DIAL_IN, 0) } else { (ServerId(body.get_u64()), body.get_u64()) };
        let to = if flags & 1 == 0 { End::Host } else { End::Client };
        let route = Self { to, bulk: flags & 2 != 0, hops, host, via, session };
        if !short && route == route.at_client() {
            return refuse("a route that is not in its shortest form", SHORT);
        }
        Ok(route)
    }
}
