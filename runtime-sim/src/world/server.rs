//! A server in the world.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    time::Duration,
};

use circuit_core::{
    Epoch, Instant, Rng, ServerId, Target,
    discovery::Announcer,
    elements::ContainerRules,
    membership::Message,
    node::{Config, Input, Node, Output},
    wire::{Frame, Load, Route, route::End as RouteEnd},
};

use crate::{faults::Fault, script::Scripts};

use super::{Happening, Seeds, ServerIndex, Settings, Sim, Told, machine::Ails, net::End};

/// Where all servers listen.
const PORT: u16 = 11_022;
/// Microseconds since 1970 when worlds begin.
pub(super) const WALL: u64 = 1_400_000_000_000_000;

pub(super) struct Server {
    /// None while it is dead.
    pub(super) node: Option<Node>,
    pub(super) id: ServerId,
    pub(super) addr: SocketAddr,
    pub(super) start: u32,
    /// Counts its incarnations, whatever their identity.
    pub(super) life: u32,
    pub(super) paused: Instant,
    /// The end of the last pause that kept it from something.
    pub(super) pause_felt: Instant,
    /// It was told to leave.
    pub(super) leaving: bool,
    pub(super) clock: Clock,
    /// The processes of its machine, and what is wrong with that.
    pub(super) scripts: Scripts,
    pub(super) ails: Ails,
    /// How it finds others, if it does.
    pub(super) announcer: Option<Announcer>,
    /// When it is called for that.
    pub(super) speaks: Option<Instant>,
    /// The epoch that it last had, in which life.
    epoch: Option<(u32, Epoch)>,
    /// Whom it sees, as its log of events says.
    pub(super) sees: HashSet<ServerId>,
    rng: Rng,
    seeds: Vec<Target>,
    /// The earliest timer that is scheduled.
    timer: Option<Instant>,
}

impl Server {
    pub(super) fn new(index: ServerIndex, rng: &Rng, settings: &Settings) -> Self {
        let mut rng = rng.fork(&format!("server {index}"));
        let clock = Clock::new(&rng, settings.drift);
        let seeds = seeds_of(index, &mut rng, settings);
        Self {
            node: None,
            id: ServerId(0),
            addr: addr_of(index),
            start: 0,
            life: 0,
            paused: Instant::ZERO,
            pause_felt: Instant::ZERO,
            leaving: false,
            clock,
            scripts: Scripts::default(),
            ails: Ails::default(),
            announcer: None,
            speaks: None,
            epoch: None,
            sees: HashSet::new(),
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
        let config = Config {
            id: self.id,
            start: self.start,
            addr: self.addr,
            listen: self.addr,
            wall: WALL,
            seeds,
            keeps_log: true,
            containers: Some(ContainerRules { socket: String::new(), all: false }),
            kept: Vec::new(),
        };
        self.node = Some(Node::new(config, self.rng.seed()));
        self.timer = None;
    }
}

/// A server's own clock. It goes on while its host sleeps, never goes back, and
/// is a little fast or slow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    ahead: Duration,
    /// Microseconds of its own in a second of the world.
    rate: u64,
}

const SECOND: u128 = 1_000_000;

impl Clock {
    fn new(rng: &Rng, drift: u64) -> Self {
        let rate = SECOND as u64 - drift + rng.fork("clock").below(2 * drift + 1);
        Self { ahead: Duration::ZERO, rate }
    }

    pub(super) const fn drifts(self) -> bool {
        self.rate != SECOND as u64
    }

    /// What it shows.
    pub(super) fn read(self, now: Instant) -> Instant {
        let own = u128::from(now.as_micros()) * u128::from(self.rate) / SECOND;
        Instant::from_micros(own as u64) + self.ahead
    }

    /// When it shows that, or will soon have.
    pub(super) fn when(self, own: Instant) -> Instant {
        let own = u128::from(own.since(Instant::ZERO + self.ahead).as_micros() as u64);
        Instant::from_micros((own * SECOND).div_ceil(u128::from(self.rate)) as u64)
    }
}

fn addr_of(index: ServerIndex) -> SocketAddr {
    let ip = Ipv4Addr::new(10, 0, (index >> 8) as u8, index as u8);
    SocketAddr::V4(SocketAddrV4::new(ip, PORT))
}

/// Whom a server knows from the start.
fn seeds_of(index: ServerIndex, rng: &mut Rng, settings: &Settings) -> Vec<Target> {
    let seeds: Vec<ServerIndex> = match settings.seeds {
        Seeds::None => Vec::new(),
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
        let clock = self.servers[server].clock;
        if let Some(node) = &mut self.servers[server].node {
            act(node, clock.read(self.now));
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
        let all = nodes().count();
        let few = nodes().find(|(_, node)| node.membership().view().len() < all);
        if let Some((index, node)) = few {
            let missing = all - node.membership().view().len();
            return Some(format!("server {index} does not see {missing} of {all} servers, or more"));
        }
        let mut truth: Vec<_> = nodes().map(|(_, node)| (node.id(), node.membership().epoch().start)).collect();
        truth.sort_unstable();
        let mut right = None; // the hash of a view that was found to be the truth
        for (index, node) in nodes() {
            let view = node.membership().view();
            if right == Some(view.hash()) && view.len() == all {
                continue;
            }
            let mut extra = view.all_live().map(|record| (record.id, record.epoch.start));
            if let Some(extra) = extra.find(|one| truth.binary_search(one).is_err()) {
                return Some(format!("server {index} sees {extra:?}"));
            }
            right = Some(view.hash());
        }
        None
    }

    pub(super) fn server_input(&mut self, server: ServerIndex, input: Input) {
        self.command(server, |node, now| node.handle_input(now, input));
    }

    pub(super) fn server_timer(&mut self, server: ServerIndex) {
        let due = self.servers[server].timer.is_some_and(|at| at <= self.now);
        if !due {
            return; // an earlier one was set since, and has done its work
        }
        self.servers[server].timer = None;
        self.command(server, Node::handle_timeout);
    }

    /// Whether the clock of a server ever jumped.
    pub(crate) fn has_jumped(&self, server: ServerIndex) -> bool {
        self.servers[server].clock.ahead > Duration::ZERO
    }

    /// A server's clock jumps: all that it waits for is due.
    pub(super) fn jump(&mut self, server: ServerIndex, ahead: Duration) {
        self.servers[server].clock.ahead += ahead;
        self.servers[server].timer = Some(self.now);
        self.schedule(self.now, Happening::ServerTimer(server));
    }

    /// Does what a server wants, and notes when it wants to be called.
    fn drain_server(&mut self, server: ServerIndex) {
        let life = self.servers[server].life;
        if let Some(node) = &self.servers[server].node {
            let epoch = node.membership().epoch();
            if self.servers[server].epoch != Some((life, epoch)) {
                self.issued.entry(node.id()).or_default().push(epoch);
                self.servers[server].epoch = Some((life, epoch));
            }
        }
        self.told.push_back(Told::Acted(server));
        while let Some(output) = self.servers[server].node.as_mut().and_then(Node::poll_output) {
            match output {
                Output::Dial { link, addr, expect } => {
                    self.dial(End::Server { index: server, life, link }, addr, expect);
                }
                Output::Send { link, frame } => {
                    self.check_speech(server, &frame);
                    self.transmit(End::Server { index: server, life, link }, &frame);
                }
                Output::Close { link, reason } => {
                    self.check_close(server, link, reason);
                    self.close(End::Server { index: server, life, link });
                }
                Output::Effect(effect) => self.perform(server, effect),
                Output::Record(record) => self.trace.word(record.seq),
                Output::Member(event) => {
                    // Of as many servers as there may be, only clients need to know.
                    if self.settings.clients > 0 {
                        let sees = &mut self.servers[server].sees;
                        let _ = if event.joined { sees.insert(event.id) } else { sees.remove(&event.id) };
                    }
                    self.told.push_back(Told::Member(server, life, event));
                }
                Output::Ended => {
                    self.servers[server].node = None;
                    self.servers[server].life += 1;
                    self.servers[server].scripts.end_all();
                    self.told.push_back(Told::Crashed(server));
                }
            }
        }
        let wanted = self.servers[server].node.as_ref().and_then(Node::poll_timeout);
        if let Some(at) = wanted.map(|(at, _)| self.servers[server].clock.when(at))
            && self.servers[server].timer.is_none_or(|set| at < set)
        {
            self.servers[server].timer = Some(at);
            self.schedule(at.max(self.now), Happening::ServerTimer(server));
        }
    }

    pub(super) fn crash(&mut self, server: ServerIndex) {
        if self.servers[server].node.take().is_some() {
            self.servers[server].life += 1;
            self.servers[server].scripts.end_all();
            self.reset_server(server);
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
            if known && same && self.servers[server].ails.disk > 0 {
                self.effects.feel_all(|fault| matches!(*fault, Fault::FullDisk { server: full, .. } if full == server));
                // Which start this is could not be kept: it refuses to.
                return self.schedule(self.now + Duration::from_secs(1), Happening::Restart(server, same));
            }
            self.servers[server].start(same && known);
            self.told.push_back(Told::Started(server));
            self.drain_server(server);
            self.announce(server);
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

    /// A frame arrives; what is in it was noted when it was sent.
    pub(super) fn trace_frame(&mut self, to: End, frame: &Frame) {
        self.say(|| match frame {
            Frame::Packet(route, load) => format!("  {to:?} {route:?} {}", message_of(*route, load.clone())),
            Frame::Member(body) => format!("  {to:?} {:?}", Message::decode(body)),
            other => format!("  {to:?} {other:?}"),
        });
        self.trace.word(self.host_of(to) as u64);
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
            format!("{message} +{} {:02x?}", payload.len(), payload.get(..8).unwrap_or(&payload))
        }
        Err(error) => error.to_string(),
    }
}
