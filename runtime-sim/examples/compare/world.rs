//! A world for what is not Circuit: the same links and the same faults.
//!
//! A datagram comes or does not. A connection is as Circuit's are: in order,
//! loss is delay, and if nothing passes for long, or one end was killed, both
//! ends hear that it broke; what cannot pass at present waits. Faults are weak
//! links, splits, pauses and kills.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    mem,
    time::Duration,
};

use circuit_core::{Instant, Rng};
use circuit_sim::{Network, RECORD, STUCK, Settings, faults::Fault, is_hopeless};

use super::system::{Setup, Sight, System, Traffic, Who};

/// One server of a protocol: a machine without a network of its own.
pub(crate) trait Peer: Sized {
    type Message;
    type Timer;
    /// Whether messages go by connections.
    const CONNECTED: bool;

    /// A server in such a world, which joins through that one.
    fn new(own: Who, through: Option<Who>, setup: &Setup, seed: u64) -> Self;
    fn start(&mut self, now: Instant, out: &mut Outputs<Self>);
    fn receive(&mut self, now: Instant, from: Who, message: Self::Message, out: &mut Outputs<Self>);
    fn fire(&mut self, now: Instant, timer: Self::Timer, out: &mut Outputs<Self>);
    /// A connection has ended: it broke, or the other end closed it.
    fn ended(&mut self, now: Instant, peer: Who, broke: bool, out: &mut Outputs<Self>);
}

/// What a server does.
pub(crate) enum Output<P: Peer> {
    /// A message of so many bytes.
    Send {
        to: Who,
        message: P::Message,
        bytes: usize,
    },
    After(Duration, P::Timer),
    Close(Who),
    /// It has come to see somebody.
    Here(Who),
    Gone(Who),
}

pub(crate) type Outputs<P> = Vec<Output<P>>;

enum Happening<P: Peer> {
    Start(usize),
    Fault(Fault),
    Over(Fault),
    Fire(Who, P::Timer),
    /// Of the connection of that number, if it came by one.
    Arrive {
        from: Who,
        to: Who,
        connection: Option<u64>,
        message: P::Message,
    },
    Ended {
        at: Who,
        peer: Who,
        connection: u64,
        broke: bool,
    },
    /// Something waits on a connection since then, or did.
    Stuck {
        ends: [Who; 2],
        since: Instant,
    },
}

struct Scheduled<P: Peer> {
    at: Instant,
    order: u64,
    event: Happening<P>,
}

impl<P: Peer> PartialEq for Scheduled<P> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<P: Peer> Eq for Scheduled<P> {}

impl<P: Peer> PartialOrd for Scheduled<P> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<P: Peer> Ord for Scheduled<P> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

struct Host<P> {
    peer: Option<P>,
    life: u32,
    view: BTreeSet<Who>,
    /// Until when it stands still.
    paused: Instant,
}

/// A connection between two servers.
struct Connection<P: Peer> {
    number: u64,
    /// What is sent one way and the other arrives after this; nothing before the
    /// handshakes are over.
    last: BTreeMap<Who, Instant>,
    doomed: bool,
    /// What cannot pass at present, and who sent it.
    held: Vec<(Who, P::Message)>,
    /// Since when that is so.
    stuck: Option<Instant>,
}

impl<P> Default for Host<P> {
    fn default() -> Self {
        Self { peer: None, life: 0, view: BTreeSet::new(), paused: Instant::ZERO }
    }
}

pub(crate) struct Bench<P: Peer> {
    now: Instant,
    rng: Rng,
    setup: Setup,
    settings: Settings,
    next: u64,
    queue: BinaryHeap<Reverse<Scheduled<P>>>,
    network: Network,
    hosts: Vec<Host<P>>,
    connections: BTreeMap<[Who; 2], Connection<P>>,
    traffic: Traffic,
    sights: Vec<Sight>,
}

fn pair(a: Who, b: Who) -> [Who; 2] {
    [a.min(b), a.max(b)]
}

impl<P: Peer> Bench<P> {
    pub(crate) fn new(setup: &Setup) -> Self {
        let mut bench = Self {
            now: Instant::ZERO,
            rng: Rng::from_number(setup.seed).fork("bench"),
            setup: setup.clone(),
            settings: setup.settings(),
            next: 0,
            queue: BinaryHeap::new(),
            network: Network::default(),
            hosts: (0..setup.servers).map(|_| Host::default()).collect(),
            connections: BTreeMap::new(),
            traffic: Traffic::default(),
            sights: Vec::new(),
        };
        for &(at, fault) in &setup.plan {
            bench.schedule(at, Happening::Fault(fault));
        }
        let boot = bench.settings.boot.as_micros() as u64;
        for server in 0..setup.servers {
            let at = if server == 0 { 0 } else { bench.rng.below(boot + 1) };
            bench.schedule(Instant::from_micros(at), Happening::Start(server));
        }
        bench
    }

    fn schedule(&mut self, at: Instant, event: Happening<P>) {
        self.next += 1;
        self.queue.push(Reverse(Scheduled { at, order: self.next, event }));
    }

    fn who(&self, server: usize) -> Who {
        Who { server, life: self.hosts[server].life }
    }

    fn is_alive(&self, who: Who) -> bool {
        self.hosts[who.server].peer.is_some() && self.hosts[who.server].life == who.life
    }

    fn delay(&mut self) -> Duration {
        let jitter = self.settings.jitter.as_micros() as u64;
        self.settings.delay + Duration::from_micros(self.rng.below(jitter + 1))
    }

    fn happen(&mut self, event: Happening<P>) {
        match event {
            Happening::Start(server) => self.start(server),
            Happening::Fault(fault) => self.fault(fault),
            Happening::Over(fault) => self.improve(fault),
            Happening::Fire(who, timer) => self.act(who, |peer, now, out| peer.fire(now, timer, out)),
            Happening::Arrive { from, to, connection, message } => {
                let on = self.connections.get(&pair(from, to)).map(|connection| connection.number);
                if connection.is_none() || connection == on {
                    self.act(to, |peer, now, out| peer.receive(now, from, message, out));
                }
            }
            Happening::Ended { at, peer, connection, broke } => {
                if self.connections.get(&pair(at, peer)).is_some_and(|found| found.number == connection) {
                    self.end(at, peer, broke);
                }
            }
            Happening::Stuck { ends, since } => {
                if self.connections.get(&ends).is_some_and(|connection| connection.stuck == Some(since)) {
                    self.end(ends[0], ends[1], true);
                }
            }
        }
    }

    /// A connection has ended for the one, and if it broke for the other as well.
    fn end(&mut self, at: Who, peer: Who, broke: bool) {
        self.connections.remove(&pair(at, peer));
        if broke {
            self.act(peer, |own, now, out| own.ended(now, at, true, out));
        }
        self.act(at, |own, now, out| own.ended(now, peer, broke, out));
    }

    /// Until when the server that this happens to stands still.
    fn paused_until(&self, event: &Happening<P>) -> Option<Instant> {
        let (Happening::Fire(who, _) | Happening::Arrive { to: who, .. } | Happening::Ended { at: who, .. }) = event
        else {
            return None;
        };
        Some(self.hosts[who.server].paused).filter(|&until| until > self.now)
    }

    fn start(&mut self, server: usize) {
        if self.hosts[server].peer.is_some() {
            return;
        }
        let own = self.who(server);
        let through = Some(self.who(0)).filter(|&first| first != own);
        let seed = Rng::from_number(self.setup.seed).fork(&format!("{own:?}")).u64();
        self.hosts[server].peer = Some(P::new(own, through, &self.setup, seed));
        self.hosts[server].view = BTreeSet::from([own]);
        self.act(own, P::start);
    }

    fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::Weak { lasting, .. } | Fault::Split { lasting, .. } => {
                self.network.worsen(fault);
                self.schedule(self.now + lasting, Happening::Over(fault));
            }
            Fault::Crash { server, back, .. } => {
                self.crash(server);
                self.schedule(self.now + back, Happening::Start(server));
            }
            Fault::Pause { server, lasting } => self.hosts[server].paused = self.now + lasting,
            other => unreachable!("no play has {other:?}"),
        }
    }

    fn crash(&mut self, server: usize) {
        let own = self.who(server);
        if self.hosts[server].peer.take().is_none() {
            return;
        }
        self.hosts[server].life += 1;
        let at = self.now + self.settings.delay;
        let ends: Vec<(Who, u64)> = self
            .connections
            .iter()
            .filter_map(|(key, connection)| {
                let place = key.iter().position(|&end| end == own)?;
                Some((key[1 - place], connection.number))
            })
            .collect();
        for (other, connection) in ends {
            self.schedule(at, Happening::Ended { at: other, peer: own, connection, broke: true });
        }
    }

    /// A server does something, if it is there, and something comes of it.
    fn act(&mut self, who: Who, act: impl FnOnce(&mut P, Instant, &mut Outputs<P>)) {
        if !self.is_alive(who) {
            return;
        }
        let mut outputs = Vec::new();
        if let Some(peer) = &mut self.hosts[who.server].peer {
            act(peer, self.now, &mut outputs);
        }
        for output in outputs {
            match output {
                Output::Send { to, message, bytes } => {
                    self.traffic.messages += 1;
                    self.traffic.bytes += (bytes + RECORD) as u64;
                    if P::CONNECTED { self.send_on(who, to, message) } else { self.send_to(who, to, message) }
                }
                Output::After(after, timer) => self.schedule(self.now + after, Happening::Fire(who, timer)),
                Output::Close(peer) => self.close(who, peer),
                Output::Here(of) => self.sight(who, of, true),
                Output::Gone(of) => self.sight(who, of, false),
            }
        }
    }

    fn sight(&mut self, by: Who, of: Who, here: bool) {
        let view = &mut self.hosts[by.server].view;
        let changed = if here { view.insert(of) } else { view.remove(&of) };
        if changed {
            self.sights.push(Sight { at: self.now, by: by.server, of, here });
        }
    }

    /// By a datagram.
    fn send_to(&mut self, from: Who, to: Who, message: P::Message) {
        let quality = self.network.quality(from.server, to.server);
        if !quality.loses(&mut self.rng) {
            let at = self.now + self.delay() + quality.slow();
            self.schedule(at, Happening::Arrive { from, to, connection: None, message });
        }
    }

    /// By the connection of the two, which is made if need be.
    fn send_on(&mut self, from: Who, to: Who, message: P::Message) {
        if !self.connections.contains_key(&pair(from, to)) {
            self.dial(from, to);
        }
        self.pass(from, to, message);
    }

    /// Something passes on a connection, or waits until it can.
    fn pass(&mut self, from: Who, to: Who, message: P::Message) {
        let key = pair(from, to);
        let quality = self.network.quality(from.server, to.server);
        let lost = if quality.passes() { quality.delay(&mut self.rng) } else { Duration::ZERO };
        let arrival = self.now + self.delay() + lost;
        let Some(connection) = self.connections.get_mut(&key).filter(|connection| !connection.doomed) else {
            return;
        };
        let waits = connection.held.iter().any(|(other, _)| *other == from);
        let Some(last) = connection.last.get_mut(&from).filter(|_| quality.passes() && !waits) else {
            connection.held.push((from, message));
            self.watch(key);
            return;
        };
        *last = arrival.max(*last);
        let (at, number) = (*last, connection.number);
        connection.doomed = is_hopeless(lost);
        if connection.doomed {
            let broken = Happening::Ended { at: from, peer: to, connection: number, broke: true };
            self.schedule(self.now + STUCK, broken);
        } else {
            self.schedule(at, Happening::Arrive { from, to, connection: Some(number), message });
        }
    }

    /// Something waits on a connection, which does not last for ever.
    fn watch(&mut self, ends: [Who; 2]) {
        let since = self.now;
        if let Some(connection) = self.connections.get_mut(&ends).filter(|connection| connection.stuck.is_none()) {
            connection.stuck = Some(since);
            self.schedule(since + STUCK, Happening::Stuck { ends, since });
        }
    }

    /// Makes a connection, which is of use after the handshakes, or breaks.
    fn dial(&mut self, from: Who, to: Who) {
        self.next += 1;
        let number = self.next;
        let new = Connection { number, last: BTreeMap::new(), doomed: false, held: Vec::new(), stuck: None };
        self.connections.insert(pair(from, to), new);
        self.shake(from, to);
    }

    /// The handshakes of a connection, as soon as anything passes.
    fn shake(&mut self, from: Who, to: Who) {
        let key = pair(from, to);
        let round = self.network.round(from.server, to.server);
        if !round.passes() {
            self.watch(key);
            return;
        }
        let lost = round.first_delay(&mut self.rng) + round.delay(&mut self.rng);
        let up = self.now + self.delay() + self.delay() + self.delay() + lost;
        let is_refused = !self.is_alive(from) || !self.is_alive(to);
        let after = if is_refused { self.delay() + self.delay() } else { STUCK };
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        connection.last = [(from, up), (to, up)].into();
        connection.doomed = is_refused || is_hopeless(lost);
        if connection.doomed {
            let ended = Happening::Ended { at: from, peer: to, connection: connection.number, broke: true };
            self.schedule(self.now + after, ended);
        }
    }

    /// The network is better, and what waited may pass.
    fn improve(&mut self, fault: Fault) {
        self.network.improve(fault);
        let stuck = |(ends, connection): (&[Who; 2], &Connection<P>)| connection.stuck.map(|_| *ends);
        let all: Vec<[Who; 2]> = self.connections.iter().filter_map(stuck).collect();
        for ends in all {
            let Some(connection) = self.connections.get_mut(&ends) else {
                continue;
            };
            connection.stuck = None;
            let (held, is_new) = (mem::take(&mut connection.held), connection.last.is_empty());
            if is_new {
                self.shake(ends[0], ends[1]);
            }
            for (from, message) in held {
                let to = if from == ends[0] { ends[1] } else { ends[0] };
                self.pass(from, to, message);
            }
        }
    }

    /// One end closes: what it sent before still arrives.
    fn close(&mut self, own: Who, peer: Who) {
        let Some(connection) = self.connections.get(&pair(own, peer)) else {
            return;
        };
        let last = connection.last.get(&own).copied().unwrap_or(self.now);
        let at = last.max(self.now + self.settings.delay + self.settings.jitter);
        let number = connection.number;
        self.schedule(at, Happening::Ended { at: peer, peer: own, connection: number, broke: false });
    }
}

impl<P: Peer> System for Bench<P> {
    fn run_until(&mut self, at: Instant) {
        while self.queue.peek().is_some_and(|Reverse(first)| first.at <= at) {
            let Some(Reverse(next)) = self.queue.pop() else {
                return;
            };
            self.now = next.at;
            match self.paused_until(&next.event) {
                Some(later) => self.schedule(later, next.event),
                None => self.happen(next.event),
            }
        }
        self.now = self.now.max(at);
    }

    fn alive(&self) -> BTreeSet<Who> {
        (0..self.hosts.len()).map(|server| self.who(server)).filter(|&who| self.is_alive(who)).collect()
    }

    fn view(&self, server: usize) -> BTreeSet<Who> {
        self.hosts[server].view.clone()
    }

    fn traffic(&self) -> Traffic {
        self.traffic
    }

    fn sights(&self) -> &[Sight] {
        &self.sights
    }
}
