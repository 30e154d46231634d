//! One server: frames, calls, effects and time in; frames, dials, effects and
//! answers out.
//!
//! The methods of a [`Node`] are of four kinds. Getters look. `handle_*` say
//! that the world happened. Commands say that the owner wants something.
//! `poll_*` ask what is to be done now, and must be drained to the end before
//! the next `handle_*`; debug builds assert it. What follows from what is in
//! `router.rs`, and only there.

mod agent;
mod router;
mod snapshot;
mod stack;

use alloc::{collections::VecDeque, vec::Vec};
use core::net::{IpAddr, SocketAddr};

use crate::{
    Epoch, Instant, Rng, ServerId, Target, calls,
    calls::Calls,
    effect::{Effect, EffectEvent},
    elements::{ContainerRules, ElementId, Elements, Kept},
    links::{self, LinkId, Links, Other},
    membership::{self, Membership, Record, State},
    namespace::Namespace,
    oplog::{OpLog, Operation},
    relay::Relay,
    session::{Peer, Role},
    timers::Timers,
    wire::{CloseReason, Frame, Hello, MAX_OTHERS, op::Kind},
};
use agent::Agent;
pub use snapshot::Snapshot;

/// What a server is told once, at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who it is: the id of its static key.
    pub id: ServerId,
    /// How many times it was started under this id, from 1.
    pub start: u32,
    /// Where others dial it.
    pub addr: SocketAddr,
    /// Where it listens, which may be at every address of its host.
    pub listen: SocketAddr,
    /// Microseconds since 1970 at [`Instant::ZERO`].
    pub wall: u64,
    /// Servers to join, now and whenever they are not here.
    pub seeds: Vec<Target>,
    /// Whether its driver keeps the log of operations ([`Output::Record`]).
    pub keeps_log: bool,
    /// Which containers it makes; without, none.
    pub containers: Option<ContainerRules>,
    /// The processes that an earlier start of it left behind.
    pub kept: Vec<Kept>,
}

/// What happens to a server.
#[derive(Clone, Debug)]
pub enum Input {
    /// The handshake on a link is done.
    LinkUp {
        /// Which link.
        link: LinkId,
        /// Who is at the other end.
        peer: Peer,
    },
    /// A connection could not be made, or is gone.
    LinkDown {
        /// Which link.
        link: LinkId,
    },
    /// A peer sent a frame.
    Frame {
        /// On which link.
        link: LinkId,
        /// What.
        frame: Frame,
    },
    /// Something came of an effect.
    Effect(EffectEvent),
    /// Frames were written to the socket.
    Written {
        /// On which link.
        link: LinkId,
        /// The sum of their [`Frame::cost`]s.
        cost: usize,
    },
}

/// What a server wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Connect, shake hands as a server, and report under this number.
    Dial {
        /// The link's number.
        link: LinkId,
        /// Where.
        addr: SocketAddr,
        /// Who must answer, if that is known.
        expect: Option<ServerId>,
    },
    /// Send this.
    Send {
        /// On which link.
        link: LinkId,
        /// What.
        frame: Frame,
    },
    /// End the session after what was sent before, and forget the link.
    Close {
        /// Which link.
        link: LinkId,
        /// What to tell the peer.
        reason: CloseReason,
    },
    /// Something to do in the world.
    Effect(Effect),
    /// Keep this for longer than memory lasts, if there is a place for it.
    Record(Operation),
    /// A server joined or left, as this one sees it.
    Member(membership::Event),
    /// This server has left and closed all its links: it is to end.
    Ended,
}

/// Why a server wants to be called at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimerReason {
    /// Something about a link.
    Links(links::Timer),
    /// Something about a call or its client.
    Calls(calls::Timer),
    /// Something about who is there.
    Membership,
    /// Something about a call that the server makes itself.
    Agent,
    /// The time of a clause of a select.
    Clause(ElementId, usize),
}

/// One server. The module's documentation says how to drive it.
#[derive(Debug)]
pub struct Node {
    config: Config,
    membership: Membership,
    links: Links,
    relay: Relay,
    calls: Calls,
    namespace: Namespace,
    elements: Elements,
    agent: Agent,
    oplog: OpLog,
    timers: Timers<TimerReason>,
    /// Whom its clients were told that they could dial instead, the nearest first.
    named: Vec<(ServerId, SocketAddr)>,
    /// Told to leave, and about to.
    suicidal: bool,
    ending: bool,
    out: VecDeque<Output>,
}

impl Node {
    /// A server that knows nobody but itself, and its seeds. If earlier starts
    /// left something behind it has outputs at once.
    pub fn new(mut config: Config, seed: [u8; 32]) -> Self {
        let kept = core::mem::take(&mut config.kept);
        let mut node = Self::without(config, seed);
        for (index, kept) in kept.into_iter().enumerate() {
            if let Some(id) = node.namespace.adopt(kept.at.clone(), Kind::Proc) {
                node.elements.adopt(id, index, kept);
                node.route(Instant::ZERO);
            }
        }
        node
    }

    /// The same, without what it has of earlier starts.
    fn without(config: Config, seed: [u8; 32]) -> Self {
        let rng = Rng::new(seed);
        let epoch = Epoch { start: config.start, rise: 0 };
        let me = Record { id: config.id, epoch, state: State::Alive, addr: config.addr };
        let mut timers = Timers::default();
        timers.set(TimerReason::Membership, Some(Instant::ZERO));
        Self {
            membership: Membership::new(me, &config.seeds, rng.fork("membership")),
            links: Links::new(config.id, rng.fork("links")),
            relay: Relay::new(config.id),
            calls: Calls::new(config.start, rng.fork("calls")),
            namespace: Namespace::default(),
            elements: Elements::new(config.containers.clone()),
            agent: Agent::new(config.id, Target { addr: config.addr, expect: Some(config.id) }, rng.fork("agent")),
            oplog: OpLog::new(config.start, config.keeps_log),
            timers,
            named: Vec::new(),
            suicidal: false,
            ending: false,
            out: VecDeque::new(),
            config,
        }
    }

    /// The world happened: somebody connected from `source`. The number is the
    /// link's; none means that the connection is to be dropped.
    pub fn handle_incoming(&mut self, now: Instant, source: IpAddr) -> Option<LinkId> {
        self.links.handle_incoming(now, source)
    }

    /// The world happened.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        self.assert_drained();
        match input {
            Input::LinkUp { link, peer } => {
                let hello = self.hello(peer.role);
                if peer.role == Role::Client {
                    self.named.clone_from(&hello.others);
                }
                self.links.handle_up(now, link, peer, hello);
            }
            Input::LinkDown { link } => self.links.handle_down(now, link),
            Input::Frame { link, frame } => self.links.handle_frame(now, link, frame),
            Input::Effect(event) => self.elements.handle_effect(self.wall(now), event),
            Input::Written { link, cost } => self.links.handle_written(now, link, cost),
        }
        self.route(now);
    }

    /// The world happened: it is `now`. Harmless when nothing is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.assert_drained();
        while let Some(reason) = self.timers.pop(now) {
            match reason {
                TimerReason::Links(timer) => self.links.handle_timeout(now, timer),
                TimerReason::Calls(timer) => self.calls.handle_timeout(timer),
                TimerReason::Membership => self.membership.handle_timeout(now),
                TimerReason::Agent => self.agent.handle_timeout(now),
                TimerReason::Clause(id, clause) => self.elements.handle_time(id, clause),
            }
            self.route(now);
        }
    }

    /// A command: join the circuit of `target`, now and whenever it is not here.
    pub fn join(&mut self, now: Instant, target: Target) {
        self.membership.add_seed(now, target);
        self.route(now);
    }

    /// A command: somebody is at `target`, perhaps; join it, if it is not here.
    pub fn meet(&mut self, now: Instant, target: Target) {
        self.membership.meet(target);
        self.route(now);
    }

    /// A command: leave the circuit, and end. The neighbours hear of it, all
    /// sessions are closed, and [`Output::Ended`] follows, after a second at
    /// most; what is not answered by then never will be.
    pub fn stop(&mut self, now: Instant) {
        self.membership.leave(now);
        self.route(now);
    }

    /// What this server says of itself, and to a client whom it could dial instead.
    fn hello(&self, to: Role) -> Hello {
        let mut others: Vec<Record> = match to {
            Role::Client => self.membership.view().all_live().filter(|record| record.id != self.config.id).collect(),
            Role::Server => Vec::new(),
        };
        others.sort_unstable_by_key(|record| record.id.0 ^ self.config.id.0);
        let others = others.into_iter().take(MAX_OTHERS).map(|record| (record.id, record.addr)).collect();
        Hello { epoch: self.membership.epoch(), addr: self.config.addr, others }
    }

    /// Somebody joined or left: clients are told if they could dial others now
    /// than they were told before.
    fn name_others(&mut self, now: Instant, id: ServerId) {
        let near = |id: ServerId| id.0 ^ self.config.id.0;
        let farther = |(last, _): &(ServerId, SocketAddr)| near(*last) < near(id);
        let full = self.named.len() == MAX_OTHERS;
        if self.relay.clients() == 0 || full && self.named.last().is_some_and(farther) {
            return;
        }
        let hello = self.hello(Role::Client);
        if hello.others == self.named {
            return;
        }
        self.named.clone_from(&hello.others);
        let clients = self.links.iter().filter(|(_, other, _)| matches!(other, Some(Other::Client(_))));
        let clients: Vec<LinkId> = clients.map(|(link, ..)| link).collect();
        for link in clients {
            self.links.send(now, link, Frame::Hello(hello.clone()));
        }
    }

    /// What now? To be drained after every `handle_*`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// What now? When [`Node::handle_timeout`] wants to be called, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, TimerReason)> {
        self.timers.next()
    }

    /// Who is there, as this server sees it.
    pub const fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Who this server is.
    pub const fn id(&self) -> ServerId {
        self.config.id
    }

    /// Microseconds since 1970.
    const fn wall(&self, now: Instant) -> u64 {
        self.config.wall.saturating_add(now.as_micros())
    }

    fn assert_drained(&self) {
        debug_assert!(self.out.is_empty(), "poll_output must be drained before the next handle_*");
    }
}
