//! Packets between clients and hosts: delivered here, or passed on.
//!
//! A packet goes by the direct link to where it is bound for, or, where that
//! way is cut, through one further server. Nothing on the way keeps a client's
//! state: when any link breaks, whoever is nearest says so towards the client
//! ([`Frame::Lost`]), and the client opens the way again from its end. That is
//! the one way in which losses are mended; so a host that gives a way up by
//! itself says so too, and nothing is dropped of which nobody hears.

mod detour;
mod losses;
mod parcel;
#[cfg(test)]
mod tests;

use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    vec::Vec,
};
use core::net::SocketAddr;

use crate::{
    ServerId,
    calls::Way,
    links::{LinkId, Other},
    membership::View,
    wire::{
        Frame, Load, Loss, Route,
        route::{End, MAX_HOPS},
    },
};
use detour::{Detours, Fault};
use parcel::{ALL, Parcel, Pending};

/// Bytes that may wait for one server to be dialled.
pub const MAX_PENDING: usize = 4 * 1024 * 1024;
/// Pairs of servers that packets are passed on between, which are remembered
/// so that they can be told of a loss; others find no way here. And servers
/// whose packets come by another.
pub const MAX_TRANSIT: usize = 4_096;

/// What the relay wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// A client's packet for this host.
    Local(Way, Load),
    /// What was on this way to a client is lost.
    LocalLost(Way),
    /// Everything that went by this server is lost.
    LocalLostServer(ServerId),
    /// Send this.
    Send(LinkId, Frame),
    /// Have a link to this server.
    Want(ServerId, SocketAddr),
}

/// What passes through one server.
#[derive(Debug)]
pub struct Relay {
    me: ServerId,
    up: BTreeMap<ServerId, LinkId>,
    sessions: BTreeMap<u64, Session>,
    /// Packets that wait for a link to the server they go to next.
    pending: BTreeMap<ServerId, Pending>,
    detours: Detours,
    /// The link by which packets of clients of another server came last: the
    /// way back to it.
    came_by: BTreeMap<ServerId, LinkId>,
    /// Hosts that may have missed that clients hung up. Before they hear
    /// anything else they are told that all were lost.
    unsaid: BTreeSet<ServerId>,
    /// For whom packets were passed on to whom.
    transit: BTreeSet<(ServerId, ServerId)>,
    out: VecDeque<Output>,
}

/// A client that dialled this server.
#[derive(Debug)]
struct Session {
    link: LinkId,
    hosts: BTreeSet<ServerId>,
}

impl Relay {
    /// The relay of server `me`.
    pub fn new(me: ServerId) -> Self {
        Self {
            me,
            up: BTreeMap::new(),
            sessions: BTreeMap::new(),
            pending: BTreeMap::new(),
            detours: Detours::default(),
            came_by: BTreeMap::new(),
            unsaid: BTreeSet::new(),
            transit: BTreeSet::new(),
            out: VecDeque::new(),
        }
    }

    /// The world happened: a link is up.
    pub fn handle_up(&mut self, link: LinkId, other: Other) {
        match other {
            Other::Client(session) => {
                self.sessions.insert(session, Session { link, hosts: BTreeSet::new() });
            }
            Other::Server(id, _) => {
                self.up.insert(id, link);
                if self.detours.remove(id).is_some() {
                    // The direct way is better; packets on the other may be late.
                    self.reset_host(id, Loss::Reset);
                    self.unsaid.insert(id);
                }
                if self.unsaid.remove(&id) {
                    let all = Parcel::lose_all(id, self.me, Loss::Gone);
                    self.out.push_back(Output::Send(link, all.frame()));
                }
                if let Some(pending) = self.pending.remove(&id) {
                    self.out.extend(pending.parcels.into_iter().map(|parcel| Output::Send(link, parcel.frame())));
                }
            }
        }
    }

    /// The world happened: a link is down, and what was on it lost.
    pub fn handle_down(&mut self, link: LinkId, other: Other, view: &View) {
        match other {
            Other::Client(session) => self.client_left(session, view),
            Other::Server(id, _) => {
                if self.up.get(&id) != Some(&link) {
                    return;
                }
                self.up.remove(&id);
                self.server_lost(id, view);
                // It sees that all are lost, unless to it this link was one too
                // many from the start: then nothing that was sent on it came.
                if view.live(id).is_some() {
                    self.unsaid.insert(id);
                }
                let came_by = self.came_by.iter();
                let lost: Vec<ServerId> = came_by.filter(|&(_, by)| *by == link).map(|(&via, _)| via).collect();
                for via in lost {
                    self.came_by.remove(&via);
                    self.lose_server(via, view);
                }
                if self.came_by.contains_key(&id) {
                    self.lose_server(id, view);
                } else {
                    // It sees that the link is gone, and needs not be told.
                    self.out.push_back(Output::LocalLostServer(id));
                }
            }
        }
    }

    /// The world happened: a server that was wanted could not be dialled.
    pub fn handle_failed(&mut self, id: ServerId, view: &View) {
        let Some(pending) = self.pending.remove(&id) else {
            return;
        };
        let through = self.detours.choose(id, self.up.keys().copied(), view);
        let link = through.and_then(|through| self.up.get(&through)).copied();
        for parcel in pending.parcels {
            match link {
                Some(link) => self.pass_on(link, parcel),
                None => self.no_way(&parcel),
            }
        }
    }

    /// The world happened: the view lost a server. Should it be there all the
    /// same, it hears that nothing comes of its answers any more, and that its
    /// clients were lost here.
    pub fn handle_leave(&mut self, id: ServerId) {
        self.reset_host(id, Loss::Gone);
        for session in self.sessions.values_mut() {
            session.hosts.remove(&id);
        }
        for parcel in self.pending.remove(&id).into_iter().flat_map(|pending| pending.parcels) {
            self.answer_loss(&parcel, Loss::Gone); // or it would go there after this
        }
        let around = self.detours.remove(id).and_then(|through| self.up.get(&through));
        let link = self.up.get(&id).or(around).or_else(|| self.came_by.get(&id)).copied();
        for parcel in [Parcel::lose_all(id, self.me, Loss::Gone), Parcel::reset_all(self.me, id)] {
            if let Some(link) = link {
                self.pass_on(link, parcel);
            }
        }
        self.unsaid.remove(&id);
        self.came_by.remove(&id);
        self.transit.retain(|&(via, host)| via != id && host != id);
        self.out.push_back(Output::LocalLostServer(id));
    }

    /// The world happened: a packet came by a link.
    pub fn handle_packet(&mut self, from: (LinkId, Other), mut route: Route, load: Load, view: &View) {
        match from.1 {
            Other::Client(session) => {
                if route.to != End::Host {
                    return;
                }
                if route.host == ServerId::DIAL_IN {
                    route.host = self.me;
                }
                (route.via, route.session, route.hops) = (self.me, session, MAX_HOPS);
                if view.live(route.host).is_none() {
                    // Nothing would come of the answer (P7).
                    return self.tell_client(route.host, session, absence(route.host, view));
                }
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.hosts.insert(route.host);
                }
            }
            // Nobody passes this server's own packets on to it, nor others' but those
            // whose clients they are of.
            Other::Server(id, _)
                if route.to == End::Host && (route.via == self.me || route.host != self.me && route.via != id) =>
            {
                return;
            }
            Other::Server(id, _) if route.to == End::Host && route.via != id => {
                if self.came_by.len() >= MAX_TRANSIT && !self.came_by.contains_key(&route.via) {
                    let back = Route { to: End::Client, bulk: false, ..route };
                    return self.out.push_back(Output::Send(from.0, Frame::Lost(back, Loss::Unreachable)));
                }
                self.came_by.insert(route.via, from.0);
            }
            Other::Server(id, _) if route.to == End::Host => {
                self.came_by.remove(&id);
            }
            Other::Server(id, _) => self.detours.confirm(route.host, id),
        }
        self.deliver(route, load, view);
    }

    /// A command: send a packet from this host to a client.
    pub fn send_to_client(&mut self, way: Way, bulk: bool, load: Load, view: &View) {
        let Way { via, session } = way;
        let route = Route { to: End::Client, bulk, hops: MAX_HOPS, host: self.me, via, session };
        self.deliver(route, load, view);
    }

    /// The world happened: somebody on a way says that something on it is lost.
    pub fn handle_lost(&mut self, from: (LinkId, Other), route: Route, loss: Loss, view: &View) {
        let Other::Server(id, _) = from.1 else {
            return; // clients have nothing to say about ways
        };
        match route.to {
            // Of its own clients' ways this server knows itself. From it, a host
            // would take this for a word that they have been told, too.
            End::Host if route.via == self.me => {}
            End::Host if route.host == self.me && route.session == ALL => {
                if id == route.via {
                    // It has told its clients.
                    return self.out.push_back(Output::LocalLostServer(id));
                }
                // The way may have changed since. Word that a way broke is only
                // about the one that packets came by last; word from the dial-in
                // server may be late, and then it must reset its clients again.
                let last = self.came_by.get(&route.via) == Some(&from.0);
                if last {
                    self.came_by.remove(&route.via);
                }
                if last || loss == Loss::Gone {
                    self.lose_server(route.via, view);
                }
            }
            End::Host if route.host == self.me => {
                self.out.push_back(Output::LocalLost(Way { via: route.via, session: route.session }));
            }
            End::Client if route.via == self.me => {
                // What all must do and was passed on is the host's own word: then
                // there is a way.
                let passed_on = route.session == ALL && route.hops < MAX_HOPS;
                let fault = if loss == Loss::Reset { Fault::Broke } else { Fault::NoWay };
                let avoided = !passed_on && self.detours.avoid(route.host, id, fault);
                // Through another, perhaps: the client will try, for as long
                // as this server sees the host.
                let loss = if view.live(route.host).is_some() { Loss::Reset } else { loss };
                if route.session == ALL || avoided {
                    self.reset_host(route.host, loss);
                    if avoided {
                        self.lose_clients(route.host, view);
                    }
                } else {
                    self.tell_client(route.host, route.session, loss);
                }
            }
            End::Host => self.forward(route.host, Parcel { route, load: Err(loss) }, view),
            End::Client => self.forward(route.via, Parcel { route, load: Err(loss) }, view),
        }
    }

    /// What now?
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// The link of a client that dialled this server.
    pub fn client(&self, way: Way) -> Option<LinkId> {
        let session = self.sessions.get(&way.session).filter(|_| way.via == self.me);
        session.map(|session| session.link)
    }

    /// How many clients dialled this server.
    pub fn clients(&self) -> usize {
        self.sessions.len()
    }

    /// The most bytes that wait for one server to be dialled.
    pub fn waiting_bytes(&self) -> usize {
        self.pending.values().map(|pending| pending.bytes).max().unwrap_or(0)
    }

    /// How many pairs of servers, and servers whose packets come by another, it
    /// remembers: the greater of both.
    pub fn transit(&self) -> usize {
        self.transit.len().max(self.came_by.len())
    }

    /// The links by which packets come of clients of servers that are beyond them.
    pub fn ways_back(&self) -> impl Iterator<Item = LinkId> {
        self.came_by.values().copied()
    }

    fn deliver(&mut self, route: Route, load: Load, view: &View) {
        match route.to {
            End::Host if route.host == self.me => {
                let way = Way { via: route.via, session: route.session };
                self.out.push_back(Output::Local(way, load));
            }
            End::Client if route.via == self.me => {
                // Nothing a server says after it has left is believed, not
                // even this one (P7).
                let believed = view.live(route.host).is_some();
                match self.sessions.get_mut(&route.session).filter(|_| believed) {
                    Some(found) => {
                        // It may not have asked since the host was here last:
                        // what is answered may have been late.
                        found.hosts.insert(route.host);
                        self.out.push_back(Output::Send(found.link, Frame::Packet(route.at_client(), load)));
                    }
                    // Or it hung up, and something of it that was late came
                    // after the word of that.
                    None => self.tell_host(route.host, route.session, view),
                }
            }
            End::Host => self.forward(route.host, Parcel { route, load: Ok(load) }, view),
            End::Client => self.forward(route.via, Parcel { route, load: Ok(load) }, view),
        }
    }

    /// Sends towards `target`: directly, or the way that its packets come, or
    /// through another.
    fn forward(&mut self, target: ServerId, parcel: Parcel, view: &View) {
        let route = parcel.route;
        if parcel.load.is_ok() && route.to == End::Host && self.unsaid.remove(&target) {
            self.lose_clients(target, view);
        }
        if parcel.load.is_ok() && route.to == End::Host && route.via != self.me {
            let pair = (route.via, route.host);
            if self.transit.len() >= MAX_TRANSIT && !self.transit.contains(&pair) {
                return self.no_way(&parcel);
            }
            self.transit.insert(pair);
        }
        if let Some(&link) = self.up.get(&target) {
            return self.out.push_back(Output::Send(link, parcel.frame()));
        }
        let back = self.came_by.get(&target).copied().filter(|_| route.to == End::Client);
        if let Some(link) = back {
            return self.pass_on(link, parcel);
        }
        if let Some(pending) = self.pending.get_mut(&target) {
            if pending.bytes + parcel.cost() > MAX_PENDING {
                return self.answer_loss(&parcel, Loss::Reset);
            }
            pending.bytes += parcel.cost();
            return pending.parcels.push_back(parcel);
        }
        let around = self.detours.get(target).and_then(|through| self.up.get(&through)).copied();
        if let Some(link) = around {
            return self.pass_on(link, parcel);
        }
        let Some(record) = view.live(target) else {
            if parcel.load.is_err() {
                return; // there is nobody who would hear it
            }
            return self.answer_loss(&parcel, absence(target, view));
        };
        let pending = self.pending.entry(target).or_default();
        pending.bytes = parcel.cost();
        pending.parcels.push_back(parcel);
        self.out.push_back(Output::Want(target, record.addr));
    }

    /// Sends by a link to somebody who must pass it on in turn.
    fn pass_on(&mut self, link: LinkId, mut parcel: Parcel) {
        match parcel.route.hops.checked_sub(1) {
            Some(hops) => {
                parcel.route.hops = hops;
                self.out.push_back(Output::Send(link, parcel.frame()));
            }
            None => self.no_way(&parcel),
        }
    }

    fn no_way(&mut self, parcel: &Parcel) {
        self.answer_loss(parcel, Loss::Unreachable);
    }

    /// Something goes no further: says so towards its client.
    fn answer_loss(&mut self, parcel: &Parcel, loss: Loss) {
        let route = parcel.route;
        if parcel.load.is_err() {
            if route.to == End::Host && route.via == self.me {
                self.unsaid.insert(route.host);
            }
            return;
        }
        if route.to == End::Client {
            // The link to its dial-in server is gone, which that one sees too,
            // and the host heard of when it went.
            if route.host == self.me {
                self.out.push_back(Output::LocalLost(Way { via: route.via, session: route.session }));
            }
            return;
        }
        if route.via == self.me {
            return self.tell_client(route.host, route.session, loss);
        }
        let back = self.up.get(&route.via).or_else(|| self.came_by.get(&route.via));
        if let Some(&link) = back {
            let route = Route { to: End::Client, bulk: false, ..route };
            self.out.push_back(Output::Send(link, Frame::Lost(route, loss)));
        }
    }

    /// How many packets wait for a link.
    pub fn waiting(&self) -> usize {
        self.pending.values().map(|pending| pending.parcels.len()).sum()
    }
}

/// Why nobody of this id is there.
fn absence(id: ServerId, view: &View) -> Loss {
    if view.get(id).is_some() { Loss::Gone } else { Loss::NotFound }
}
