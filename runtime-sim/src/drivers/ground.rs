//! What is true of the hosts of a simulation, and the oracle that compares it
//! with what servers see. All hosts run on one thread.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use circuit_core::{
    Epoch, Instant, Rng, ServerId, Target,
    node::{Node, Output, Snapshot},
    session::StaticKey,
    wire::Frame,
};
use circuit_tokio::Identity;
use tokio::sync::Notify;

use super::net::{Wires, lock};
use crate::{
    ClientIndex, Failure, Oracle, ServerIndex,
    oracle::{Speaker, Speech, Truth},
    scenarios::Telling,
    teller::Teller,
};

/// Where all servers listen.
pub(super) const PORT: u16 = 11_022;

/// Everything that hosts share with whoever checks them.
#[derive(Clone)]
pub(crate) struct Ground {
    pub(super) wires: Arc<Wires>,
    state: Arc<Mutex<State>>,
    oracle: Arc<Mutex<Oracle>>,
}

/// A server, as it truly is.
struct Server {
    key: [u8; 32],
    id: ServerId,
    start: u32,
    life: u32,
    alive: bool,
    /// It was told to leave, or has left.
    leaving: bool,
    /// How it is to start next: as who it was.
    same: bool,
    epoch: Epoch,
    /// Whom it sees, as it has told.
    sees: BTreeSet<ServerId>,
    /// What its view is, and after how many events.
    view: Vec<(ServerId, u32)>,
    events: u64,
    /// A hash of whom it sees, and what of membership is under way.
    knows: (u128, [usize; 4]),
    /// No process can be started there.
    full: u32,
    snapshot: Option<Snapshot>,
    stop: Arc<Notify>,
    rng: Rng,
}

struct State {
    now: Instant,
    servers: Vec<Server>,
    /// How many clients there were in each place.
    clients: Vec<usize>,
    issued: BTreeMap<ServerId, Vec<Epoch>>,
    left: BTreeSet<(ServerId, u32)>,
    failure: Option<Failure>,
    speech: Speech,
    teller: Teller,
}

/// How a server starts.
pub(super) struct Start {
    pub(super) identity: Identity,
    pub(super) life: u32,
    pub(super) rng: Rng,
    pub(super) stop: Arc<Notify>,
}

/// Where a host is: the servers first, then the clients.
pub(super) fn ip_of(host: usize) -> IpAddr {
    Ipv4Addr::new(10, 0, (host >> 8) as u8, 1 + (host & 0x7f) as u8).into()
}

/// What time it is, on the host that runs.
fn now() -> Option<Instant> {
    turmoil::sim_elapsed().map(at)
}

/// That much after the beginning.
pub(super) fn at(elapsed: Duration) -> Instant {
    Instant::from_micros(elapsed.as_micros() as u64)
}

impl Ground {
    pub(super) fn new(rng: &Rng, servers: usize, clients: usize, oracle: Oracle, telling: Telling) -> Self {
        let server = |index| Server {
            key: [0; 32],
            id: ServerId(0),
            start: 0,
            life: 0,
            alive: false,
            leaving: false,
            same: false,
            epoch: Epoch::default(),
            sees: BTreeSet::new(),
            view: Vec::new(),
            events: 0,
            knows: Default::default(),
            full: 0,
            snapshot: None,
            stop: Arc::default(),
            rng: rng.fork(&format!("server {index}")),
        };
        let state = State {
            now: Instant::ZERO,
            servers: (0..servers).map(server).collect(),
            clients: vec![0; clients],
            issued: BTreeMap::new(),
            left: BTreeSet::new(),
            failure: None,
            speech: Speech::default(),
            teller: Teller::new(telling),
        };
        let oracle = Arc::new(Mutex::new(oracle));
        Self { wires: Arc::default(), state: Arc::new(Mutex::new(state)), oracle }
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let state = &mut *lock(&self.state);
        state.now = now().unwrap_or(state.now);
        act(state)
    }

    /// Something that checkers want to know or say.
    pub(crate) fn truth<T>(&self, act: impl FnOnce(&mut Seen<'_>) -> T) -> T {
        self.with(|state| act(&mut Seen { state, node: None }))
    }

    /// The same of the oracle.
    pub(crate) fn oracle<T>(&self, act: impl FnOnce(&mut Oracle, &mut Seen<'_>) -> T) -> T {
        let oracle = &mut *lock(&self.oracle);
        self.truth(|truth| act(oracle, truth))
    }

    /// An invariant does not hold.
    pub(crate) fn fail(&self, what: impl Into<String>) {
        self.truth(|truth| truth.fail(what.into()));
    }

    pub(super) fn failure(&self) -> Option<Failure> {
        self.with(|state| state.failure.clone())
    }

    /// Tells what happens, if that is wanted.
    pub(crate) fn say(&self, what: impl FnOnce() -> String) {
        self.with(|state| state.say(what));
    }

    pub(super) fn last(&self) -> Vec<String> {
        self.with(|state| state.teller.last())
    }

    /// It is `now`.
    pub(super) fn set_now(&self, now: Instant) {
        lock(&self.state).now = now;
    }

    /// All servers, where they are.
    pub(crate) fn targets(&self) -> Vec<Target> {
        let servers = self.truth(|truth| truth.servers());
        (0..servers).map(|server| Target { addr: addr_of(server), expect: None }).collect()
    }

    /// A server starts: for the first time, again, or as another.
    pub(super) fn start(&self, server: ServerIndex) -> Start {
        self.with(|state| {
            let of = &mut state.servers[server];
            let same = of.same && of.start > 0;
            if !same {
                of.key = *StaticKey::generate(&mut of.rng).as_bytes();
            }
            of.start = if same { of.start + 1 } else { 1 };
            (of.alive, of.leaving, of.life) = (true, false, of.life + 1);
            (of.view, of.events, of.knows, of.snapshot) = Default::default();
            of.sees.clear();
            of.stop = Arc::default();
            let key = StaticKey::from_bytes(of.key);
            of.id = key.server_id();
            let rng = of.rng.fork(&format!("life {}", of.life));
            let (id, start) = (of.id, of.start);
            let words = Start { identity: Identity { key, start }, life: of.life, rng, stop: of.stop.clone() };
            state.say(|| format!("server {server} starts: {id}, {start}"));
            words
        })
    }

    /// How a server is to start next.
    pub(super) fn prepare(&self, server: ServerIndex, same: bool) {
        self.with(|state| state.servers[server].same = same);
    }

    /// A server is dead, and says nothing more. Whether it was not before.
    pub(super) fn die(&self, server: ServerIndex) -> bool {
        self.with(|state| {
            let of = &mut state.servers[server];
            of.life += u32::from(of.alive);
            std::mem::replace(&mut of.alive, false)
        })
    }

    /// A server is told to leave.
    pub(super) fn leave(&self, server: ServerIndex) {
        self.with(|state| {
            let of = &mut state.servers[server];
            if of.alive {
                of.leaving = true;
                of.stop.notify_one();
                let (id, start) = (of.id, of.start);
                state.left.insert((id, start));
            }
        });
    }

    pub(super) fn is_leaving(&self, server: ServerIndex) -> bool {
        self.with(|state| state.servers[server].leaving)
    }

    /// No process can be started on a server for now, or they can again.
    pub(super) fn fill(&self, server: ServerIndex, full: bool) {
        self.with(|state| {
            let of = &mut state.servers[server].full;
            *of = if full { *of + 1 } else { of.saturating_sub(1) };
        });
    }

    pub(super) fn is_full(&self, server: ServerIndex) -> bool {
        self.with(|state| state.servers[server].full > 0)
    }

    /// Another client takes the place of one.
    pub(super) fn replace(&self, client: ClientIndex) -> usize {
        self.with(|state| {
            state.clients[client] += 1;
            state.clients[client]
        })
    }

    /// What every server holds, as of the last time that it did anything.
    pub(super) fn snapshots(&self) -> Vec<Option<Snapshot>> {
        self.with(|state| state.servers.iter().map(|server| server.snapshot.clone().filter(|_| server.alive)).collect())
    }

    /// A server has heard of something, or wants something done.
    pub(super) fn watch(&self, server: ServerIndex, life: u32, node: &Node, output: Option<&Output>) {
        let oracle = &mut *lock(&self.oracle);
        self.with(|state| {
            if state.servers[server].life != life {
                return;
            }
            match output {
                None => {
                    state.servers[server].look(node);
                    let (id, epoch) = (node.id(), node.membership().epoch());
                    let issued = state.issued.entry(id).or_default();
                    if issued.last() != Some(&epoch) {
                        issued.push(epoch);
                    }
                    oracle.acted(&mut Seen { state, node: Some((server, node)) }, server);
                }
                Some(Output::Send { frame, .. }) => state.check_speech(server, frame),
                Some(Output::Member(event)) => {
                    let sees = &mut state.servers[server].sees;
                    let _ = if event.joined { sees.insert(event.id) } else { sees.remove(&event.id) };
                    state.say(|| format!("  server {server}: {event:?}"));
                    oracle.event(&mut Seen { state, node: Some((server, node)) }, server, life, *event);
                }
                Some(_) => {}
            }
        });
    }
}

/// Where a server listens.
pub(super) fn addr_of(server: ServerIndex) -> SocketAddr {
    SocketAddr::new(ip_of(server), PORT)
}

impl Server {
    fn look(&mut self, node: &Node) {
        let view = node.membership().view();
        self.epoch = node.membership().epoch();
        self.knows = (view.hash(), node.membership().unsettled());
        if self.events != view.events() || self.view.is_empty() {
            self.events = view.events();
            self.view = view.all_live().map(|record| (record.id, record.epoch.start)).collect();
            self.view.sort_unstable();
        }
        self.snapshot = Some(node.snapshot());
    }
}

impl State {
    fn say(&mut self, what: impl FnOnce() -> String) {
        self.teller.say(self.now, what);
    }

    /// A server says something.
    fn check_speech(&mut self, server: ServerIndex, frame: &Frame) {
        let Server { life, id, sees, .. } = &self.servers[server];
        let by = Speaker { server, life: *life, id: *id };
        if let Err(fault) = self.speech.judge(by, |host| sees.contains(&host), frame) {
            Seen { state: self, node: None }.fail(fault);
        }
    }
}

/// What is true, and the node of a server that has just acted.
pub(crate) struct Seen<'a> {
    state: &'a mut State,
    node: Option<(ServerIndex, &'a Node)>,
}

impl Truth for Seen<'_> {
    fn now(&self) -> Instant {
        self.state.now
    }

    fn servers(&self) -> usize {
        self.state.servers.len()
    }

    fn life(&self, server: ServerIndex) -> u32 {
        self.state.servers[server].life
    }

    fn server_id(&self, server: ServerIndex) -> ServerId {
        self.state.servers[server].id
    }

    fn is_alive(&self, server: ServerIndex) -> bool {
        self.state.servers[server].alive
    }

    fn node(&self, server: ServerIndex) -> Option<&Node> {
        self.node.filter(|(of, _)| *of == server).map(|(_, node)| node)
    }

    fn knows(&self, server: ServerIndex) -> Option<(u128, [usize; 4])> {
        let of = &self.state.servers[server];
        of.alive.then_some(of.knows)
    }

    fn is_here(&self, server: ServerIndex, id: ServerId, start: u32) -> bool {
        let of = &self.state.servers[server];
        of.alive && !of.leaving && of.id == id && of.start == start
    }

    fn last_epoch(&self, id: ServerId) -> Option<Epoch> {
        self.state.issued.get(&id)?.last().copied()
    }

    fn was_issued(&self, id: ServerId, epoch: Epoch) -> bool {
        self.state.issued.get(&id).is_some_and(|all| all.contains(&epoch))
    }

    fn was_told_to_leave(&self, id: ServerId, start: u32) -> bool {
        self.state.left.contains(&(id, start))
    }

    fn differ(&self) -> Option<String> {
        let alive = || self.state.servers.iter().enumerate().filter(|(_, server)| server.alive);
        let mut truth: Vec<_> = alive().map(|(_, server)| (server.id, server.start)).collect();
        truth.sort_unstable();
        let (index, server) = alive().find(|(_, server)| server.view != truth)?;
        let unseen: Vec<_> = truth.iter().filter(|one| !server.view.contains(one)).collect();
        let extra: Vec<_> = server.view.iter().filter(|one| !truth.contains(one)).collect();
        Some(format!("server {index} does not see {unseen:?}, and sees {extra:?}"))
    }

    fn fail(&mut self, what: String) {
        let at = self.state.now;
        self.state.say(|| what.clone());
        self.state.failure.get_or_insert(Failure { at, what });
    }
}
