//! What cannot be the same twice, and so is given from outside: randomness, and
//! the time of day. Nothing else in this crate asks the system for either, and
//! all other time is tokio's; so whoever gives these, pauses tokio's clock and
//! makes up a network can run a server or a client twice, to the bit.

use std::{
    io,
    time::{SystemTime, UNIX_EPOCH},
};

use circuit_core::Rng;

use crate::system_rng;

/// What a server or a client is given from outside.
#[derive(Clone, Debug)]
pub struct Outside {
    /// Randomness. Its seed must be secret and new, where anybody is to be kept
    /// out.
    pub rng: Rng,
    /// Tells microseconds since 1970.
    pub wall: fn() -> u64,
}

impl Outside {
    /// The system's.
    ///
    /// # Errors
    /// The system has no randomness, which does not happen.
    pub fn system() -> io::Result<Self> {
        Ok(Self { rng: system_rng()?, wall: wall_clock })
    }
}

/// Microseconds since 1970.
pub(crate) fn wall_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
