//! A discrete-event world of servers and clients.
//!
//! Time jumps from event to event. Every decision that is the world's own (how
//! long a frame takes, when an application acts) comes from its seed.

mod beacons;
mod client;
mod conduct;
mod effects;
mod machine;
mod net;
mod network;
mod server;

use std::{
    cmp::{Ordering, Reverse},
    collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque},
    time::Duration,
};

use circuit_core::{
    Epoch, Instant, Rng, ServerId,
    client::{CallId, Client, Event},
    effect::EffectEvent,
    membership as member,
};

use crate::{
    Failure, Report, Trace,
    faults::{Fault, Plan},
    scenarios::Telling,
    teller::Teller,
};
use beacons::Wire;
use client::SimClient;
use conduct::Conduct;
use effects::Effects;
pub use net::RECORD;
use net::{Connection, ConnectionId, End, Side};
pub use network::{Network, Quality, STUCK, is_hopeless};
use server::Server;

/// A server, counted from 0.
pub type ServerIndex = usize;
/// A client, counted from 0.
pub type ClientIndex = usize;

/// How large a world is, and how far apart its hosts are.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many servers.
    pub servers: usize,
    /// How many clients.
    pub clients: usize,
    /// One way between two hosts takes at least this.
    pub delay: Duration,
    /// And up to this much longer, another time each.
    pub jitter: Duration,
    /// Whom each server knows when it starts.
    pub seeds: Seeds,
    /// Whether they announce themselves, and hear each other.
    pub discover: bool,
    /// All servers start within this time, the first at once.
    pub boot: Duration,
    /// When the applications start.
    pub ready: Instant,
    /// Servers' clocks gain or lose up to so many microseconds in a second.
    pub drift: u64,
    /// What is told of what happens.
    pub telling: Telling,
}

impl Settings {
    /// Links of a data centre, over which all servers join through the first
    /// within a second; how long the links are comes from a seed.
    pub fn data_centre(servers: usize, seed: u64) -> Self {
        let mut rng = Rng::from_number(seed).fork("cluster");
        Self {
            servers,
            clients: 0,
            delay: Duration::from_micros(50 + rng.below(5_000)),
            jitter: Duration::from_micros(rng.below(5_000)),
            seeds: Seeds::First,
            discover: false,
            boot: Duration::from_secs(1),
            ready: Instant::ZERO,
            drift: 0,
            telling: Telling::Nothing,
        }
    }
}

/// Whom a server knows when it starts, so that all find each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seeds {
    /// Nobody.
    None,
    /// One that starts before it, and about so many others.
    Some(usize),
    /// The first.
    First,
    /// The first of its half: there are two circuits.
    FirstOfHalf,
}

/// What a world's applications do: the users of its clients.
pub trait App {
    /// The world begins.
    fn start(&mut self, _: &mut Sim) {}
    /// A client says something.
    fn event(&mut self, _: &mut Sim, _: ClientIndex, _: Event) {}
    /// It is the time that [`Sim::wake_after`] was asked for.
    fn wake(&mut self, _: &mut Sim, _: ClientIndex, _: u64) {}
    /// A client was killed, and another has taken its place.
    fn replaced(&mut self, _: &mut Sim, _: ClientIndex) {}
    /// A server was killed, or has left.
    fn crashed(&mut self, _: &mut Sim, _: ServerIndex) {}
    /// A server has started, under an identity of its own or one it had.
    fn started(&mut self, _: &mut Sim, _: ServerIndex) {}
    /// A server, in one of its lives, sees somebody join or leave.
    fn member(&mut self, _: &mut Sim, _: ServerIndex, _: u32, _: member::Event) {}
    /// A server has done something; what it told is still to come.
    fn acted(&mut self, _: &mut Sim, _: ServerIndex) {}
}

/// A world and the applications in it.
pub struct World<A> {
    /// The servers, the clients, and what is between them.
    pub sim: Sim,
    /// The users of the clients.
    pub app: A,
}

/// The servers, the clients, and what is between them.
pub struct Sim {
    now: Instant,
    rng: Rng,
    settings: Settings,
    queue: BinaryHeap<Reverse<Scheduled>>,
    next: u64,
    count: u64,
    servers: Vec<Server>,
    clients: Vec<SimClient>,
    connections: BTreeMap<ConnectionId, Connection>,
    /// Which connection an end is of.
    ends: BTreeMap<End, (ConnectionId, Side)>,
    network: Network,
    wire: Wire,
    effects: Effects,
    conduct: Conduct,
    /// The epochs that each server ever had.
    issued: BTreeMap<ServerId, Vec<Epoch>>,
    /// The starts that were told to leave.
    left: BTreeSet<(ServerId, u32)>,
    /// When the last pause of any server ends.
    pauses_end: Instant,
    /// Bytes that were sent, as sessions seal them.
    sent: u64,
    /// In so many frames.
    frames: u64,
    trace: Trace,
    failure: Option<Failure>,
    told: VecDeque<Told>,
    teller: Teller,
    /// What goes wrong.
    plan: Plan,
}

/// Something that will happen; of two at once, what was scheduled first.
#[derive(Debug)]
struct Scheduled {
    at: Instant,
    order: u64,
    event: Happening,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// What the applications are still to be told.
#[derive(Debug)]
enum Told {
    Client(ClientIndex, Event),
    Wake(ClientIndex, u64),
    Replaced(ClientIndex),
    Crashed(ServerIndex),
    Started(ServerIndex),
    Member(ServerIndex, u32, member::Event),
    Acted(ServerIndex),
}

#[derive(Debug)]
enum Happening {
    ServerTimer(ServerIndex),
    ClientTimer(ClientIndex),
    Connect(ConnectionId),
    Established(ConnectionId),
    Arrive(ConnectionId, Side),
    Down(ConnectionId, Side),
    Stuck(ConnectionId, Side, u64),
    Wake(ClientIndex, u64),
    Fault(Fault),
    Over(Fault),
    Restart(ServerIndex, bool),
    /// In which of its lives something came of an effect of a server.
    Effect(ServerIndex, u32, Box<EffectEvent>),
    /// A process may be due.
    Machine(ServerIndex, u32),
    /// A server may announce itself, in one of its lives.
    Speak(ServerIndex, u32),
    /// A server hears what another sent to all.
    Datagram(ServerIndex, ServerIndex, Box<[u8]>),
}

impl<A: App> World<A> {
    /// A world from a seed, in which `plan` will go wrong.
    pub fn new(settings: Settings, seed: u64, plan: &Plan, app: A) -> Self {
        let mut world = Self { sim: Sim::new(settings, seed), app };
        world.sim.plan.clone_from(plan);
        for &(at, fault) in plan {
            world.sim.schedule(at, Happening::Fault(fault));
        }
        let ready = world.sim.settings.ready;
        world.run_until(ready);
        world.app.start(&mut world.sim);
        world.tell();
        world
    }

    /// Lets the world go on until `end`, or until something does not hold.
    pub fn run_until(&mut self, end: Instant) {
        while self.sim.failure.is_none() && self.sim.step(end) {
            self.tell();
        }
        self.sim.now = self.sim.now.max(end);
    }

    fn tell(&mut self) {
        while let Some(told) = self.sim.told.pop_front() {
            if !matches!(told, Told::Acted(_)) {
                self.sim.say(|| format!("  {told:?}"));
            }
            match told {
                Told::Client(client, event) => self.app.event(&mut self.sim, client, event),
                Told::Wake(client, token) => self.app.wake(&mut self.sim, client, token),
                Told::Replaced(client) => self.app.replaced(&mut self.sim, client),
                Told::Crashed(server) => self.app.crashed(&mut self.sim, server),
                Told::Started(server) => self.app.started(&mut self.sim, server),
                Told::Member(server, life, event) => self.app.member(&mut self.sim, server, life, event),
                Told::Acted(server) => self.app.acted(&mut self.sim, server),
            }
        }
    }

    /// Whether something did not hold.
    pub const fn has_failed(&self) -> bool {
        self.sim.failure.is_some()
    }

    /// What came of it so far.
    pub fn report(&self) -> Report {
        Report {
            hash: self.sim.trace.value(),
            events: self.sim.count,
            simulated: self.sim.now.since(Instant::ZERO),
            failure: self.sim.failure.clone(),
            figures: Vec::new(),
            plan: self.sim.plan.clone(),
            last: self.sim.teller.last(),
        }
    }
}

impl Sim {
    fn new(settings: Settings, seed: u64) -> Self {
        let rng = Rng::from_number(seed);
        let servers: Vec<Server> = (0..settings.servers).map(|index| Server::new(index, &rng, &settings)).collect();
        let clients = (0..settings.clients).map(|index| SimClient::new(index, &rng, &settings)).collect();
        let mut sim = Self {
            now: Instant::ZERO,
            rng: rng.fork("world"),
            queue: BinaryHeap::new(),
            next: 0,
            count: 0,
            servers,
            clients,
            connections: BTreeMap::new(),
            ends: BTreeMap::new(),
            network: Network::default(),
            wire: Wire::default(),
            effects: Effects::default(),
            conduct: Conduct::default(),
            issued: BTreeMap::new(),
            left: BTreeSet::new(),
            pauses_end: Instant::ZERO,
            sent: 0,
            frames: 0,
            trace: Trace::default(),
            failure: None,
            told: VecDeque::new(),
            teller: Teller::new(settings.telling),
            plan: Plan::new(),
            settings,
        };
        let boot = sim.settings.boot.as_micros() as u64;
        for server in 0..sim.settings.servers {
            let at = if server == 0 { 0 } else { sim.rng.below(boot + 1) };
            sim.schedule(Instant::from_micros(at), Happening::Restart(server, false));
        }
        sim
    }

    /// What time it is.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Bytes that anybody has sent, as sessions seal them.
    pub const fn sent(&self) -> u64 {
        self.sent
    }

    /// Frames that anybody has sent.
    pub const fn frames(&self) -> u64 {
        self.frames
    }

    /// The last epoch that the server of an id had, if there was one.
    pub fn last_epoch(&self, id: ServerId) -> Option<Epoch> {
        self.issued.get(&id)?.last().copied()
    }

    /// Whether the server of an id ever had an epoch.
    pub fn was_issued(&self, id: ServerId, epoch: Epoch) -> bool {
        self.issued.get(&id).is_some_and(|all| all.contains(&epoch))
    }

    /// Whether a start of a server was told to leave.
    pub fn was_told_to_leave(&self, id: ServerId, start: u32) -> bool {
        self.left.contains(&(id, start))
    }

    /// Randomness for applications.
    pub fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// The world's settings.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Tells what happens, if that is wanted.
    fn say(&mut self, what: impl FnOnce() -> String) {
        self.teller.say(self.now, what);
    }

    /// An invariant does not hold. Only the first is kept: what follows from it
    /// tells nothing new.
    pub fn fail(&mut self, what: impl Into<String>) {
        self.failure.get_or_insert(Failure { at: self.now, what: what.into() });
    }

    /// Calls [`App::wake`] of a client with `token`, later.
    pub fn wake_after(&mut self, client: ClientIndex, after: Duration, token: u64) {
        self.schedule(self.now + after, Happening::Wake(client, token));
    }

    /// Commands of a client.
    pub fn client<T>(&mut self, client: ClientIndex, act: impl FnOnce(&mut Client, Instant) -> T) -> T {
        let result = act(&mut self.clients[client].client, self.now);
        self.drain_client(client);
        result
    }

    /// A number that no call has had.
    pub fn call_id(&mut self) -> CallId {
        self.next += 1;
        CallId(self.next)
    }

    fn schedule(&mut self, at: Instant, event: Happening) {
        self.next += 1;
        self.queue.push(Reverse(Scheduled { at, order: self.next, event }));
    }

    /// Lets one thing happen, if there is one before `end`.
    fn step(&mut self, end: Instant) -> bool {
        if self.queue.peek().is_none_or(|Reverse(first)| first.at > end) {
            return false;
        }
        let Some(Reverse(Scheduled { at, event, .. })) = self.queue.pop() else {
            return false;
        };
        self.now = at;
        if let Some(later) = self.paused_until(&event) {
            self.schedule(later, event);
            return true;
        }
        self.count += 1;
        self.trace.word(at.as_micros());
        self.say(|| format!("{event:?}"));
        self.happen(&event);
        true
    }

    fn happen(&mut self, event: &Happening) {
        match *event {
            Happening::ServerTimer(server) => self.server_timer(server),
            Happening::ClientTimer(client) => self.client_timer(client),
            Happening::Connect(id) => self.connect(id),
            Happening::Established(id) => self.established(id),
            Happening::Arrive(id, side) => self.arrive(id, side),
            Happening::Down(id, side) => self.down(id, side),
            Happening::Stuck(id, side, since) => self.stuck(id, side, since),
            Happening::Wake(client, token) => self.told.push_back(Told::Wake(client, token)),
            Happening::Fault(fault) => self.fault(fault),
            Happening::Over(fault) => self.over(fault),
            Happening::Restart(server, same) => self.restart(server, same),
            Happening::Effect(server, life, ref event) => self.effect(server, life, event),
            Happening::Machine(server, life) => self.machine(server, life),
            Happening::Speak(server, life) => self.speak(server, life),
            Happening::Datagram(server, from, ref packet) => self.datagram(server, from, packet),
        }
    }

    fn fault(&mut self, fault: Fault) {
        self.befall(fault);
        match fault {
            Fault::Cut { .. } | Fault::Split { .. } | Fault::Weak { .. } => self.worsen(fault),
            Fault::Jump { server, ahead } => self.jump(server, ahead),
            Fault::Leave { server, back } => {
                self.leave(server);
                self.schedule(self.now + back, Happening::Restart(server, false));
            }
            Fault::Reset { a, b } => self.reset_between(a, b),
            Fault::Pause { server, lasting } => {
                let until = self.now + lasting;
                self.servers[server].paused = self.servers[server].paused.max(until);
                self.pauses_end = self.pauses_end.max(until);
            }
            Fault::Crash { server, back, same } => {
                self.crash(server);
                self.schedule(self.now + back, Happening::Restart(server, same));
            }
            Fault::CrashClient { client } => self.crash_client(client),
            Fault::NoSpawn { .. } | Fault::FullDisk { .. } | Fault::Version { .. } => self.ail(fault, 1),
            Fault::Datagrams { .. } => self.spoil(fault, 1),
        }
    }

    /// A server that stands still does nothing until it goes on.
    fn paused_until(&mut self, event: &Happening) -> Option<Instant> {
        if self.pauses_end <= self.now {
            return None;
        }
        let server = match event {
            Happening::ServerTimer(server)
            | Happening::Effect(server, ..)
            | Happening::Speak(server, _)
            | Happening::Datagram(server, ..) => Some(*server),
            Happening::Connect(id) => self.end_of(*id, Side::Far),
            Happening::Established(id) => self.end_of(*id, Side::Near).or_else(|| self.end_of(*id, Side::Far)),
            Happening::Arrive(id, side) | Happening::Down(id, side) => self.end_of(*id, *side),
            _ => None,
        };
        let server = server.filter(|&server| self.servers[server].paused > self.now)?;
        self.feel_pause(server);
        Some(self.servers[server].paused)
    }
}
