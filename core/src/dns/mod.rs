//! Name servers: records, and the replies that follow from them.
//!
//! [`Zone::reply`] is a pure function from the records of one name server and a
//! packet to the packet that answers it. It is given to whoever holds the
//! sockets, so that no query passes through the node, and a flood of them
//! disturbs nothing else. It never asks anybody: what is not in the records is
//! another's, and refused.

mod name;
mod query;
mod record;
mod reply;
#[cfg(test)]
mod tests;
mod text;
mod writer;
mod zone;

use core::time::Duration;

pub use name::Name;
pub use record::{MAX_DATA, MAX_TTL, Record};
pub use text::BadRecord;
pub use zone::{MAX_BYTES, MAX_RECORDS, Zone};

/// How a query came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// As a datagram: the reply is as long as the asker says that it may be, up
    /// to [`MAX_DATAGRAM`].
    Udp,
    /// On a connection, where every packet stands behind two bytes of length.
    Tcp,
}

/// The longest reply by UDP: what passes everywhere without fragments.
pub const MAX_DATAGRAM: usize = 1_232;
/// The most connections of one name server; a new one takes the place of the
/// oldest.
pub const MAX_CONNECTIONS: usize = 64;
/// How long a connection may take for one query and its reply.
pub const PATIENCE: Duration = Duration::from_secs(10);
