//! Connections and what happens to them.
//!
//! A connection is like TCP's: in order, delayed, and either whole or gone.
//! Loss shows as delay. Where nothing passes, frames wait; if nothing passes
//! for long, or somebody resets it, the connection is down at both ends and
//! what was on it is lost.

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::Range,
    time::Duration,
};

use circuit_core::{
    Instant, ServerId,
    links::LinkId,
    node::Input,
    session::{Peer, Role},
    wire::Frame,
};

use super::{ClientIndex, Happening, ServerIndex, Sim, effects::Mishap, network::is_hopeless};
use crate::faults::Fault;

/// What a session adds to a frame that it sends by itself: a length and a seal.
pub const RECORD: usize = 18;
/// As much as was written is said at once; less, when something comes.
const WORTH_SAYING: usize = 32 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ConnectionId(u64);

/// Which end of a connection: the one that dialled is near.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Near,
    Far,
}

impl Side {
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Near => Self::Far,
            Self::Far => Self::Near,
        }
    }
}

/// Whose end it is. A server that was killed has another life afterwards; a
/// client has one connection after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    Server { index: ServerIndex, life: u32, link: LinkId },
    Client { index: ClientIndex, dial: u64 },
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) near: End,
    /// Known once it was accepted.
    pub(super) far: Option<End>,
    target: SocketAddr,
    expect: Option<ServerId>,
    up: bool,
    /// On their way: to the near end, and to the far end.
    to_near: Way,
    to_far: Way,
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub(super) struct Way {
    /// Each with what it counts for at the end that sent it.
    pub(super) frames: VecDeque<(Frame, usize)>,
    /// How many of them have an arrival scheduled.
    under_way: usize,
    last: Instant,
    /// What has arrived, as it counts, and the sender was not told of.
    written: usize,
    /// Counts deliveries, to tell a stuck connection.
    pub(super) delivered: u64,
    /// Whether it will be looked at.
    pub(super) watched: bool,
}

impl Connection {
    fn end(&self, side: Side) -> Option<End> {
        match side {
            Side::Near => Some(self.near),
            Side::Far => self.far,
        }
    }

    pub(super) fn way(&mut self, to: Side) -> &mut Way {
        match to {
            Side::Near => &mut self.to_near,
            Side::Far => &mut self.to_far,
        }
    }
}

impl Sim {
    /// Somebody dials.
    pub(super) fn dial(&mut self, near: End, target: SocketAddr, expect: Option<ServerId>) {
        self.next += 1;
        let id = ConnectionId(self.next);
        self.trace.word(u64::from(target.port()) << 32 | self.server_at(target).map_or(0, |server| server as u64 + 1));
        self.trace.word(expect.map_or(0, |expect| expect.0));
        let (to_near, to_far) = (Way::default(), Way::default());
        self.connections.insert(id, Connection { near, far: None, target, expect, up: false, to_near, to_far });
        self.ends.insert(near, (id, Side::Near));
        let lost = match self.server_at(target) {
            Some(server) => self.network.round(self.host_of(near), server).first_delay(&mut self.rng),
            None => Duration::ZERO,
        };
        let at = self.now + self.delay() + lost;
        self.schedule(at, Happening::Connect(id));
    }

    /// The far end's host hears of a dial.
    pub(super) fn connect(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        let (near, target, expect) = (connection.near, connection.target, connection.expect);
        let from = self.host_of(near);
        let Some(server) = self.server_at(target) else {
            return self.refuse(id);
        };
        if !self.network.round(from, server).passes() {
            self.effects.feel_packet(from, server, Mishap::Held);
            self.effects.feel_packet(server, from, Mishap::Held);
            return; // no answer: the dialling end gives up by itself
        }
        let life = self.servers[server].life;
        let understood = self.understand(from, server);
        let accepted = expect.is_none_or(|expect| expect == self.servers[server].id) && understood;
        let source = IpAddr::V4(Ipv4Addr::new(10, 1, (from >> 8) as u8, from as u8));
        let clock = self.servers[server].clock;
        let link = match &mut self.servers[server].node {
            Some(node) if accepted => node.handle_incoming(clock.read(self.now), source),
            _ => None,
        };
        let Some(link) = link else {
            return self.refuse(id);
        };
        let far = End::Server { index: server, life, link };
        self.ends.insert(far, (id, Side::Far));
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.far = Some(far);
        }
        // The handshake takes a round trip and a half.
        let lost = self.network.round(from, server).delay(&mut self.rng);
        let at = self.now + self.delay() + self.delay() + lost;
        self.schedule(at, Happening::Established(id));
    }

    /// Whether two hosts are of one version. Clients are of the old one.
    fn understand(&mut self, one: usize, other: usize) -> bool {
        let is_new = |host: usize| self.servers.get(host).is_some_and(|server| server.ails.version > 0);
        let same = is_new(one) == is_new(other);
        if !same {
            let is_of = |server| server == one || server == other;
            self.effects.feel_all(|fault| matches!(*fault, Fault::Version { server, .. } if is_of(server)));
        }
        same
    }

    fn refuse(&mut self, id: ConnectionId) {
        let at = self.now + self.delay();
        self.schedule(at, Happening::Down(id, Side::Near));
    }

    /// The handshake is done at both ends.
    pub(super) fn established(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let (near, Some(far)) = (connection.near, connection.far) else {
            return;
        };
        let (a, b) = (self.host_of(near), self.host_of(far));
        if !self.network.round(a, b).passes() {
            return;
        }
        if !self.is_alive(near) || !self.is_alive(far) {
            return self.reset(id);
        }
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.up = true;
        }
        let near_peer = Peer { role: self.role_of(far), id: self.id_of(far) };
        let far_peer = Peer { role: self.role_of(near), id: self.id_of(near) };
        self.tell_up(far, far_peer);
        self.tell_up(near, near_peer);
    }

    fn tell_up(&mut self, end: End, peer: Peer) {
        match end {
            End::Server { index, link, .. } => self.server_input(index, Input::LinkUp { link, peer }),
            End::Client { index, .. } => self.client_input(index, |client, now| client.handle_up(now, peer)),
        }
    }

    /// An end sends a frame.
    pub(super) fn transmit(&mut self, end: End, frame: &Frame) {
        let Some(&(id, side)) = self.ends.get(&end) else {
            return;
        };
        let Some(connection) = self.connections.get_mut(&id).filter(|connection| connection.up) else {
            return;
        };
        // As bytes, so that what is carried is what a socket would carry.
        let cost = frame.cost();
        let mut bytes = Vec::with_capacity(cost + RECORD);
        frame.encode(&mut bytes);
        self.sent += (bytes.len() + RECORD) as u64;
        self.frames += 1;
        self.trace.bytes(&bytes);
        let Ok(frame) = Frame::decode(&mut bytes.into()) else {
            return self.fail(format!("a frame that was sent does not parse: {frame:?}"));
        };
        connection.way(side.other()).frames.push_back((frame, cost));
        self.flow(id, side.other());
    }

    /// Schedules the arrival of what waits, if anything passes.
    pub(super) fn flow(&mut self, id: ConnectionId, to: Side) {
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        let (near, Some(far)) = (connection.near, connection.far) else {
            return;
        };
        let (from, host) = match to {
            Side::Near => (self.host_of(far), self.host_of(near)),
            Side::Far => (self.host_of(near), self.host_of(far)),
        };
        loop {
            let Some(connection) = self.connections.get_mut(&id) else {
                return;
            };
            let way = connection.way(to);
            if way.under_way == way.frames.len() {
                return;
            }
            let Some(at) = self.arrival(from, host) else {
                return self.watch(id, to);
            };
            if is_hopeless(at.since(self.now)) {
                self.watch(id, to);
            }
            let Some(connection) = self.connections.get_mut(&id) else {
                return;
            };
            let way = connection.way(to);
            way.under_way += 1;
            way.last = way.last.max(at);
            let at = way.last;
            self.schedule(at, Happening::Arrive(id, to));
        }
    }

    /// The first frame on the way arrives.
    pub(super) fn arrive(&mut self, id: ConnectionId, to: Side) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let (end, from) = (connection.end(to), connection.end(to.other()));
        let way = connection.way(to);
        way.under_way = way.under_way.saturating_sub(1);
        way.delivered += 1;
        let (Some((frame, cost)), Some(end), Some(from)) = (way.frames.pop_front(), end, from) else {
            return;
        };
        way.written += cost;
        let much = way.written >= WORTH_SAYING;
        let heard = std::mem::take(&mut connection.way(to.other()).written);
        self.trace_frame(end, &frame);
        if !self.is_alive(end) {
            return self.reset(id);
        }
        match end {
            End::Server { index, link, .. } => self.server_input(index, Input::Frame { link, frame }),
            End::Client { index, .. } => self.client_input(index, |client, now| client.handle_frame(now, frame)),
        }
        self.tell_written(end, heard);
        if much && let Some(connection) = self.connections.get_mut(&id) {
            let written = std::mem::take(&mut connection.way(to).written);
            self.tell_written(from, written);
        }
    }

    /// An end hears that what it sent was written.
    fn tell_written(&mut self, end: End, cost: usize) {
        if let End::Server { index, link, life } = end
            && self.servers[index].life == life
            && cost > 0
        {
            self.server_input(index, Input::Written { link, cost });
        }
    }

    /// An end closes: what it sent before still arrives.
    pub(super) fn close(&mut self, end: End) {
        let Some(&(id, side)) = self.ends.get(&end) else {
            return;
        };
        let at = self.now + self.settings.delay + self.settings.jitter;
        let last = self.connections.get_mut(&id).map_or(at, |connection| connection.way(side.other()).last);
        self.schedule(at.max(last), Happening::Down(id, side.other()));
        self.ends.remove(&end);
    }

    /// A connection breaks for both.
    pub(super) fn reset(&mut self, id: ConnectionId) {
        let at = self.now + self.settings.delay;
        if let Some(connection) = self.connections.get_mut(&id) {
            for side in [Side::Near, Side::Far] {
                let way = connection.way(side);
                way.frames.clear();
                way.under_way = 0;
            }
            connection.up = false;
        }
        self.schedule(at, Happening::Down(id, Side::Near));
        self.schedule(at, Happening::Down(id, Side::Far));
    }

    /// An end hears that the connection is gone.
    pub(super) fn down(&mut self, id: ConnectionId, side: Side) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.up = false;
        let (end, other) = (connection.end(side), connection.end(side.other()));
        let other_knows = other.is_none_or(|other| !self.ends.contains_key(&other));
        if let Some(end) = end.filter(|end| self.ends.remove(end).is_some())
            && self.is_alive(end)
        {
            match end {
                End::Server { index, link, .. } => self.server_input(index, Input::LinkDown { link }),
                End::Client { index, .. } => self.client_input(index, circuit_core::client::Client::handle_down),
            }
        }
        if other_knows {
            self.connections.remove(&id);
        }
    }

    pub(super) fn reset_between(&mut self, a: usize, b: usize) {
        for id in self.between(a, b) {
            self.reset(id);
        }
    }

    /// Every connection of a server breaks.
    pub(super) fn reset_server(&mut self, server: ServerIndex) {
        self.reset_ends(Self::first_end(server)..Self::first_end(server + 1));
    }

    /// The ends of a server are from this on, to that of the next server.
    pub(super) const fn first_end(index: ServerIndex) -> End {
        End::Server { index, life: 0, link: LinkId(0) }
    }

    /// Every connection of a client breaks.
    pub(super) fn reset_client(&mut self, client: ClientIndex) {
        let first = |index| End::Client { index, dial: 0 };
        self.reset_ends(first(client)..first(client + 1));
    }

    fn reset_ends(&mut self, ends: Range<End>) {
        let mut all: Vec<ConnectionId> = self.ends.range(ends).map(|(_, (id, _))| *id).collect();
        all.sort_unstable();
        for id in all {
            self.reset(id);
        }
    }

    /// Whether anything is on its way between two hosts.
    pub(super) fn is_busy(&self, a: usize, b: usize) -> bool {
        let connections = self.between(a, b).into_iter().filter_map(|id| self.connections.get(&id));
        connections.into_iter().any(|one| !one.to_near.frames.is_empty() || !one.to_far.frames.is_empty())
    }

    fn between(&self, a: usize, b: usize) -> Vec<ConnectionId> {
        let touches = |connection: &&Connection| {
            let near = self.host_of(connection.near);
            let far = connection.far.map(|far| self.host_of(far));
            (near, far) == (a, Some(b)) || (near, far) == (b, Some(a))
        };
        let found = self.connections.iter().filter(|(_, connection)| touches(connection));
        found.map(|(&id, _)| id).collect()
    }

    pub(super) fn delay(&mut self) -> Duration {
        let jitter = self.settings.jitter.as_micros() as u64;
        self.settings.delay + Duration::from_micros(self.rng.below(jitter + 1))
    }

    /// The server at an end of a connection, if it is one.
    pub(super) fn end_of(&self, id: ConnectionId, side: Side) -> Option<ServerIndex> {
        match self.connections.get(&id)?.end(side)? {
            End::Server { index, .. } => Some(index),
            End::Client { .. } => None,
        }
    }

    fn role_of(&self, end: End) -> Role {
        match end {
            End::Server { .. } => Role::Server,
            End::Client { .. } => Role::Client,
        }
    }
}
