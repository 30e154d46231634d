//! Finding servers by multicast: authenticated beacons.
//!
//! A server [announces](Announcer) itself on every interface, a client
//! [asks](Finder) there, and whoever has the cluster's key answers it alone.
//! What is found is only where to dial: who it is, the handshake proves.
//!
//! - [`beacon`]: the one packet, its MAC, and why one is refused;
//! - [`group`]: where it is sent;
//! - [`interface`]: on which interfaces, and what address is named there;
//! - `replay`: none counts twice; `bucket`: answers have a rate;
//! - `trickle`: when a server speaks, so that many cost no more than few;
//! - `peers`: whom it heard, and when it says so;
//! - [`Announcer`] is a server's part, [`Finder`] a client's.
//!
//! The methods of both are of the four kinds that [`crate::node`] describes.

mod announcer;
pub mod beacon;
mod bucket;
mod finder;
pub mod group;
pub mod interface;
mod peers;
mod replay;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod trickle;

use core::net::SocketAddr;

use crate::Incarnation;
pub use announcer::{Announcer, Config};
pub use beacon::{BeaconKey, LENGTH, Refusal};
pub use finder::{Finder, MAX_FOUND};
pub use group::{BadGroup, Group};
pub use interface::{Face, Interface, Reach, dialable};
pub use replay::WINDOW;

/// A server, and where to dial it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Which start of which server.
    pub incarnation: Incarnation,
    /// Where it listens, as seen from where it was heard.
    pub addr: SocketAddr,
}

/// What discovery wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a datagram.
    Send {
        /// On which interface.
        interface: u32,
        /// To the group, or to who asked.
        to: SocketAddr,
        /// What.
        packet: [u8; LENGTH],
    },
    /// A server was heard. It is said again now and then for as long as it is
    /// heard: whoever listens ignores those that it has.
    Found(Place),
}

/// What became of datagrams, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Verified and used.
    pub accepted: u64,
    /// No beacon of this version, or one that names an address nobody can dial.
    pub malformed: u64,
    /// Made with another key, or damaged.
    pub forged: u64,
    /// Older or newer than [`WINDOW`] allows.
    pub stale: u64,
    /// Heard before, or an answer to no question of ours.
    pub repeated: u64,
    /// Questions over the rate at which answers are given.
    pub limited: u64,
}

impl Counts {
    fn count(&mut self, refusal: Refusal) {
        let counter = match refusal {
            Refusal::Length(_) | Refusal::Magic | Refusal::Version(_) | Refusal::Kind(_) | Refusal::Address => {
                &mut self.malformed
            }
            Refusal::Mac => &mut self.forged,
            Refusal::Clock => &mut self.stale,
            Refusal::Repeated | Refusal::Unasked => &mut self.repeated,
            Refusal::Busy => &mut self.limited,
        };
        *counter = counter.saturating_add(1);
    }
}
