//! A server in the world.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    time::Duration,
};

use circuit_core::{
    Instant, Rng, ServerId, Target,
    membership::Message,
    node::{Config, Input, Node, Output},
    wire::{Frame, Load, Route, route::End as RouteEnd},
};

use super::{Happening, Seeds, ServerIndex, Settings, Sim, Told, net::End};

/// Where all servers listen.
const PORT: u16 = 11_022;
/// Microseconds since 1970 when worlds begin.
const WALL: u64 = 1_400_000_000_000_000;

pub(super) struct Server {
    /// None while it is dead.
    pub(super) node: Option<Node>,
    pub(super) id: ServerId,
    pub(super) addr: SocketAddr,
    pub(super) start: u32,
    /// Counts its incarnations, whatever their identity.
    pub(super) life: u32,
    pub(super) paused: Instant,
    /// It was told to leave.
    pub(super) leaving: bool,
    /// Whom it sees, as its log of events says.
    sees: BTreeSet<ServerId>,
    rng: Rng,
    seeds: Vec<Target>,
    /// The earliest timer that is scheduled.
    timer: Option<Instant>,
}

impl Server {
    pub(super) fn new(index: ServerIndex, rng: &Rng, settings: &Settings) -> Self {
        let mut rng = rng.fork(&format!("server {index}"));
        let seeds = seeds_of(index, &mut rng, settings);
        Self {
            node: None,
            id: ServerId(0),
            addr: addr_of(index),
            start: 0,
            life: 0,
            paused: Instant::ZERO,
            leaving: false,
            sees: BTreeSet::new(),
            rng,
            seeds,
            timer: None,
        }
    }

    /// Starts it, for the first time or again.
    fn start(&mut self, same: bool) {
        self.life += 1;
        self.leaving = false;
        self.sees.clear();
        if same {
            self.start += 1;
        } else {
            self.id = ServerId(self.rng.u64());
            self.start = 1;
        }
        let seeds = self.seeds.clone();
        let config = Config { id: self.id, start: self.start, addr: self.addr, wall: WALL, seeds, keeps_log: true };
        self.node = Some(Node::new(config, self.rng.seed()));
        self.timer = None;
    }
}

fn addr_of(index: ServerIndex) -> SocketAddr {
    let ip = Ipv4Addr::new(10, 0, (index >> 8) as u8, index as u8);
    SocketAddr::V4(SocketAddrV4::new(ip, PORT))
}

/// Whom a server knows from the start.
fn seeds_of(index: ServerIndex, rng: &mut Rng, settings: &Settings) -> Vec<Target> {
    let seeds: Vec<ServerIndex> = match settings.seeds {
        Seeds::First => Vec::from_iter((index > 0).then_some(0)),
        Seeds::FirstOfHalf => {
            let half = settings.servers / 2;
            let first = if index < half { 0 } else { half };
            Vec::from_iter((index != first).then_some(first))
        }
        Seeds::Some(about) => {
            let before = match index {
                0 => (1..settings.servers.min(2)).collect::<Vec<_>>(),
                _ => vec![rng.below(index as u64) as usize],
            };
            let mut others = |other: &ServerIndex| *other != index && rng.below(settings.servers as u64) < about as u64;
            before.into_iter().chain((0..settings.servers).filter(|other| others(other))).collect()
        }
    };
    seeds.into_iter().map(|seed| Target { addr: addr_of(seed), expect: None }).collect()
}

impl Sim {
    /// The id of a server.
    pub fn server_id(&self, server: ServerIndex) -> ServerId {
        self.servers[server].id
    }

    /// Where a server listens.
    pub fn server_addr(&self, server: ServerIndex) -> SocketAddr {
        self.servers[server].addr
    }

    /// Counts the lives of a server, whatever its identity.
    pub fn life(&self, server: ServerIndex) -> u32 {
        self.servers[server].life
    }

    /// A command to a server, unless it is dead.
    pub fn command(&mut self, server: ServerIndex, act: impl FnOnce(&mut Node, Instant)) {
        if let Some(node) = &mut self.servers[server].node {
            act(node, self.now);
            self.drain_server(server);
        }
    }

    /// A server's state, unless it is dead.
    pub fn node(&self, server: ServerIndex) -> Option<&Node> {
        self.servers[server].node.as_ref()
    }

    /// How somebody's view differs from the truth: from who is alive.
    pub fn differ(&self) -> Option<String> {
        let nodes =
            || self.servers.iter().enumerate().filter_map(|(index, server)| Some((index, server.node.as_ref()?)));
        let mut truth: Vec<_> = nodes().map(|(_, node)| (node.id(), node.membership().epoch().start)).collect();
        truth.sort_unstable();
        let mut right = None; // the hash of a view that was found to be the truth
        for (index, node) in nodes() {
            let view = node.membership().view();
            if right == Some(view.hash()) && view.len() == truth.len() {
                continue;
            }
            let seen: Vec<_> = view.all_live().map(|record| (record.id, record.epoch.start)).collect();
            if seen != truth {
                let missing = truth.iter().filter(|one| !seen.contains(one)).count();
                let extra: Vec<_> = seen.iter().filter(|one| !truth.contains(one)).take(5).collect();
                let all = truth.len();
                return Some(format!("server {index} does not see {missing} of {all} servers, and sees {extra:?}"));
            }
            right = Some(view.hash());
        }
        None
    }

    pub(super) fn server_input(&mut self, server: ServerIndex, input: Input) {
        if let Some(node) = &mut self.servers[server].node {
            node.handle_input(self.now, input);
            self.drain_server(server);
        }
    }

    pub(super) fn server_timer(&mut self, server: ServerIndex) {
        let due = self.servers[server].timer.is_some_and(|at| at <= self.now);
        if !due {
            return; // an earlier one was set since, and has done its work
        }
        self.servers[server].timer = None;
        if let Some(node) = &mut self.servers[server].node {
            node.handle_timeout(self.now);
            self.drain_server(server);
        }
    }

    /// Does what a server wants, and notes when it wants to be called.
    fn drain_server(&mut self, server: ServerIndex) {
        let life = self.servers[server].life;
        if let Some(node) = &self.servers[server].node {
            let (issued, epoch) = (self.issued.entry(node.id()).or_default(), node.membership().epoch());
            if issued.last() != Some(&epoch) {
                issued.push(epoch);
            }
        }
        self.told.push_back(Told::Acted(server));
        while let Some(output) = self.servers[server].node.as_mut().and_then(Node::poll_output) {
            match output {
                Output::Dial { link, addr, expect } => {
                    self.dial(End::Server { index: server, life, link }, addr, expect);
                }
                Output::Send { link, frame } => {
                    self.check_fail_stop(server, &frame);
                    self.transmit(End::Server { index: server, life, link }, &frame);
                }
                Output::Close { link, .. } => self.close(End::Server { index: server, life, link }),
                Output::Effect(_) => {} // no element that these worlds make has any
                Output::Record(record) => self.trace.word(record.seq),
                Output::Member(event) => {
                    let sees = &mut self.servers[server].sees;
                    let _ = if event.joined { sees.insert(event.id) } else { sees.remove(&event.id) };
                    self.told.push_back(Told::Member(server, life, event));
                }
                Output::Ended => {
                    self.servers[server].node = None;
                    self.servers[server].life += 1;
                    self.told.push_back(Told::Crashed(server));
                }
            }
        }
        let wanted = self.servers[server].node.as_ref().and_then(Node::poll_timeout);
        if let Some((at, _)) = wanted
            && self.servers[server].timer.is_none_or(|set| at < set)
        {
            self.servers[server].timer = Some(at);
            self.schedule(at.max(self.now), Happening::ServerTimer(server));
        }
    }

    /// No client hears from a host that its own server sees no more (P7).
    fn check_fail_stop(&mut self, server: ServerIndex, frame: &Frame) {
        if let Frame::Packet(route, _) = frame
            && route.to == RouteEnd::Client
            && route.via == ServerId::DIAL_IN
            && !self.servers[server].sees.contains(&route.host)
        {
            self.fail(format!("server {server} let {} speak, which had left (P7)", route.host));
        }
    }

    pub(super) fn crash(&mut self, server: ServerIndex) {
        if self.servers[server].node.take().is_some() {
            self.servers[server].life += 1;
            self.reset_all(server);
            self.told.push_back(Told::Crashed(server));
        }
    }

    pub(super) fn leave(&mut self, server: ServerIndex) {
        if let Some(node) = &self.servers[server].node {
            self.left.insert((node.id(), node.membership().epoch().start));
        }
        self.servers[server].leaving = true;
        self.command(server, Node::stop);
    }

    pub(super) fn restart(&mut self, server: ServerIndex, same: bool) {
        if self.servers[server].node.is_none() {
            let known = self.servers[server].start > 0;
            self.servers[server].start(same && known);
            self.told.push_back(Told::Started(server));
            self.drain_server(server);
        } else if self.servers[server].leaving {
            // It stands still, perhaps, and has not gone yet.
            self.schedule(self.now + Duration::from_secs(1), Happening::Restart(server, same));
        }
    }

    pub(super) fn server_at(&self, addr: SocketAddr) -> Option<ServerIndex> {
        let IpAddr::V4(ip) = addr.ip() else { return None };
        let [.., high, low] = ip.octets();
        let index = usize::from(high) << 8 | usize::from(low);
        self.servers.get(index).filter(|server| server.addr == addr).map(|_| index)
    }

    pub(super) fn host_of(&self, end: End) -> usize {
        match end {
            End::Server { index, .. } => index,
            End::Client { index, .. } => self.settings.servers + index,
        }
    }

    pub(super) fn id_of(&self, end: End) -> ServerId {
        match end {
            End::Server { index, .. } => self.servers[index].id,
            End::Client { index, .. } => ServerId(index as u64 + 1),
        }
    }

    pub(super) fn is_alive(&self, end: End) -> bool {
        match end {
            End::Server { index, life, .. } => self.servers[index].node.is_some() && self.servers[index].life == life,
            End::Client { index, dial } => self.clients[index].dial == dial,
        }
    }

    pub(super) fn trace_frame(&mut self, to: End, frame: &Frame) {
        self.say(|| match frame {
            Frame::Packet(route, load) => format!("  {to:?} {route:?} {}", message_of(*route, load.clone())),
            Frame::Member(body) => format!("  {to:?} {:?}", Message::decode(body)),
            other => format!("  {to:?} {other:?}"),
        });
        self.trace.word(self.host_of(to) as u64);
        match frame {
            Frame::Packet(route, Load::Encoded(body)) => {
                self.trace.word(route.session);
                self.trace.bytes(body);
            }
            other => self.trace.word(other.cost() as u64),
        }
    }
}

/// A packet's body, in words: the message, and how its payload begins.
fn message_of(route: Route, load: Load) -> String {
    let message = match route.to {
        RouteEnd::Host => load.to_host().map(|(message, payload)| (format!("{message:?}"), payload)),
        RouteEnd::Client => load.to_client().map(|(message, payload)| (format!("{message:?}"), payload)),
    };
    match message {
        Ok((message, payload)) => {
            format!("{message} +{} {:02x?}", payload.len(), payload.get(..8).unwrap_or_default())
        }
        Err(error) => error.to_string(),
    }
}
