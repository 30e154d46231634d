//! Who is told of what is lost.

use alloc::vec::Vec;

use super::{Output, Parcel, Relay};
use crate::{
    ServerId,
    calls::Way,
    membership::View,
    wire::{
        Frame, Loss, Route,
        route::{End, MAX_HOPS},
    },
};

impl Relay {
    /// Tells a client that the way to a host is lost.
    pub(super) fn tell_client(&mut self, host: ServerId, session: u64, loss: Loss) {
        if let Some(found) = self.sessions.get(&session) {
            let route = Route { to: End::Client, bulk: false, hops: 0, host, via: self.me, session }.at_client();
            self.out.push_back(Output::Send(found.link, Frame::Lost(route, loss)));
        }
    }

    /// Tells every client that uses `host`.
    pub(super) fn reset_host(&mut self, host: ServerId, loss: Loss) {
        let users: Vec<u64> =
            self.sessions.iter().filter(|(_, session)| session.hosts.contains(&host)).map(|(&id, _)| id).collect();
        for session in users {
            self.tell_client(host, session, loss);
        }
    }

    /// The direct link to a server is gone.
    pub(super) fn server_lost(&mut self, id: ServerId, view: &View) {
        self.reset_host(id, Loss::Reset);
        for host in self.detours.through(id) {
            self.detours.remove(host);
            self.reset_host(host, Loss::Reset);
            self.lose_clients(host, view);
        }
        let broken: Vec<_> = self.transit.iter().copied().filter(|&(via, host)| via == id || host == id).collect();
        for (via, host) in broken {
            self.transit.remove(&(via, host));
            if host == id {
                self.tell_server(via, Parcel::reset_all(host, via));
            } else {
                self.tell_server(host, Parcel::lose_all(host, via, Loss::Reset));
            }
        }
    }

    /// Tells a server, behind what it was sent before. Where no link is, and
    /// none is being made, there was one, and it sees that it is gone.
    pub(super) fn tell_server(&mut self, id: ServerId, parcel: Parcel) {
        if let Some(&link) = self.up.get(&id) {
            self.out.push_back(Output::Send(link, parcel.frame()));
        } else if let Some(pending) = self.pending.get_mut(&id) {
            pending.parcels.push_back(parcel);
        }
    }

    /// The way around to a host is left, and with it, perhaps, word of clients
    /// that hung up: the host is told that all are lost. Those that are here
    /// open the way again.
    pub(super) fn lose_clients(&mut self, host: ServerId, view: &View) {
        self.forward(host, Parcel::lose_all(host, self.me, Loss::Gone), view);
    }

    /// This host gives up all ways by a dial-in server, which may not see why:
    /// it is told, by whatever way there is.
    pub(super) fn lose_server(&mut self, via: ServerId, view: &View) {
        self.out.push_back(Output::LocalLostServer(via));
        self.forward(via, Parcel::reset_all(self.me, via), view);
    }

    /// A client of this server hung up: its hosts are told.
    pub(super) fn client_left(&mut self, session: u64, view: &View) {
        let Some(found) = self.sessions.remove(&session) else {
            return;
        };
        for host in found.hosts {
            self.tell_host(host, session, view);
        }
    }

    /// Tells a host that a client of this server is gone.
    pub(super) fn tell_host(&mut self, host: ServerId, session: u64, view: &View) {
        if host == self.me {
            return self.out.push_back(Output::LocalLost(Way { via: self.me, session }));
        }
        let route = Route { to: End::Host, bulk: false, hops: MAX_HOPS, host, via: self.me, session };
        self.forward(host, Parcel { route, load: Err(Loss::Gone) }, view);
    }
}
