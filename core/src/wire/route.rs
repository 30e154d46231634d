//! The way of a packet between a client and the host of an element.
//!
//! A client speaks to its dial-in server, that one to the host, directly or
//! through one further server where the direct way is cut. Every packet says
//! where it goes, so that no server on the way has to remember it.

use alloc::vec::Vec;

use bytes::{Buf, Bytes};

use crate::{ServerId, codec::DecodeError};

/// Bytes of an encoded route.
pub const LENGTH: usize = 26;
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
    /// The server that the client dialled. A client leaves it and the session
    /// to that server, as [`ServerId::DIAL_IN`] and 0.
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
    /// Appends the route to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let to = u8::from(self.to == End::Client);
        let mut route = [0; LENGTH];
        let (flags, ids) = route.split_at_mut(2);
        flags.copy_from_slice(&[to | u8::from(self.bulk) << 1, self.hops]);
        for (place, id) in ids.chunks_exact_mut(8).zip([self.host.0, self.via.0, self.session]) {
            place.copy_from_slice(&id.to_be_bytes());
        }
        out.extend_from_slice(&route);
    }

    /// Takes a route off the front of `body`.
    ///
    /// # Errors
    /// [`DecodeError`] when it is cut short, has unknown flags, or more hops
    /// than any server gives.
    pub fn decode(body: &mut Bytes) -> Result<Self, DecodeError> {
        if body.len() < LENGTH {
            return Err(DecodeError { what: "a route cut short", offset: body.len() });
        }
        let flags = body.get_u8();
        let hops = body.get_u8();
        if flags > 3 {
            return Err(DecodeError { what: "an unknown flag of a route", offset: 0 });
        }
        if hops > MAX_HOPS {
            return Err(DecodeError { what: "a route of too many hops", offset: 1 });
        }
        Ok(Self {
            to: if flags & 1 == 0 { End::Host } else { End::Client },
            bulk: flags & 2 != 0,
            hops,
            host: ServerId(body.get_u64()),
            via: ServerId(body.get_u64()),
            session: body.get_u64(),
        })
    }
}
