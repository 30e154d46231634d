//! What goes between servers for clients, and what of it waits.

use alloc::collections::VecDeque;

use crate::{
    ServerId,
    wire::{
        Frame, Load, Loss, Route,
        route::{End, MAX_HOPS},
    },
};

/// Stands for all clients of a server where one is named.
pub(super) const ALL: u64 = 0;

/// What waits for one link.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) parcels: VecDeque<Parcel>,
    pub(super) bytes: usize,
}

/// A [`Frame::Packet`] or a [`Frame::Lost`], with its route at hand.
#[derive(Clone, Debug)]
pub(super) struct Parcel {
    pub(super) route: Route,
    pub(super) load: Result<Load, Loss>,
}

impl Parcel {
    /// Word to a dial-in server that all its clients must open the way to
    /// `host` again.
    pub(super) const fn reset_all(host: ServerId, via: ServerId) -> Self {
        let route = Route { to: End::Client, bulk: false, hops: MAX_HOPS, host, via, session: ALL };
        Self { route, load: Err(Loss::Reset) }
    }

    /// Word to a host that all clients of a dial-in server are lost to it.
    pub(super) const fn lose_all(host: ServerId, via: ServerId, loss: Loss) -> Self {
        let route = Route { to: End::Host, bulk: false, hops: MAX_HOPS, host, via, session: ALL };
        Self { route, load: Err(loss) }
    }

    /// What it counts for where bytes are counted.
    pub(super) fn cost(&self) -> usize {
        64 + self.load.as_ref().map_or(0, Load::len)
    }

    pub(super) fn frame(self) -> Frame {
        match self.load {
            Ok(load) => Frame::Packet(self.route, load),
            Err(loss) => Frame::Lost(self.route, loss),
        }
    }
}
