//! `iroh-gossip`: HyParView and Plumtree, with their default settings, on the
//! same connections as Circuit has.
//!
//! It keeps a few neighbours and broadcasts; it knows nobody else. The least that
//! makes a full view of that stands here: a server tells each new neighbour whom
//! it sees, what is news to anybody goes on to all, whoever's connection breaks is
//! broadcast to be gone, which he may deny, and who has lost all neighbours joins
//! again. That a connection broke is known at once here, when a process was
//! killed; iroh's own run over QUIC, which waits for a time first.

use std::{collections::BTreeMap, time::Duration};

use bytes::{Buf, BufMut, BytesMut};
use circuit_core::Instant;
use iroh_gossip::proto::{
    Command, Config, DeliveryScope, Event, InEvent, Message, OutEvent, PeerData, Scope, State, TopicId,
};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde::{Deserialize, Serialize};

use super::{
    system::{Setup, Who},
    world::{Output, Outputs, Peer},
};

/// So often it is looked whether there are neighbours.
const LOOK: Duration = Duration::from_secs(1);
/// A message has its length before it.
const LENGTH: usize = 4;
/// A statement is a key, a number, and whether that one is gone.
const STATEMENT: usize = 32 + 4 + 1;
/// So many are sure to fit into one message.
const STATEMENTS: usize = 100;

/// A public key, as iroh names its servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Key([u8; 32]);

impl Key {
    fn of(who: Who) -> Self {
        let mut key = [0x55; 32];
        key[..8].copy_from_slice(&(who.server as u64).to_le_bytes());
        key[8..12].copy_from_slice(&who.life.to_le_bytes());
        Self(key)
    }

    fn who(self) -> Who {
        let (mut server, mut life) = (&self.0[..8], &self.0[8..12]);
        Who { server: server.get_u64_le() as usize, life: life.get_u32_le() }
    }
}

/// That somebody is here or gone; of two statements the later one counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Statement {
    number: u32,
    gone: bool,
}

pub(crate) struct Gossip {
    own: Who,
    through: Option<Who>,
    state: State<Key, ChaCha8Rng>,
    /// The clock that it counts by, when this world began.
    epoch: tokio::time::Instant,
    known: BTreeMap<Who, Statement>,
}

pub(crate) enum Timer {
    Gossip(iroh_gossip::proto::Timer<Key>),
    /// It may be alone.
    Look,
}

fn topic() -> TopicId {
    TopicId::from([7; 32])
}

impl Gossip {
    /// Lets the protocol do something, and what follows from it.
    fn handle(&mut self, now: Instant, event: InEvent<Key>, out: &mut Outputs<Self>) {
        let mut todo = vec![event];
        while let Some(event) = todo.pop() {
            let now = self.epoch + now.since(Instant::ZERO);
            let follows: Vec<OutEvent<Key>> = self.state.handle(event, now, None).collect();
            for event in follows {
                match event {
                    OutEvent::SendMessage(to, message) => {
                        let bytes = message.size().expect("a message has a size") + LENGTH;
                        out.push(Output::Send { to: to.who(), message, bytes });
                    }
                    OutEvent::ScheduleTimer(after, timer) => {
                        out.push(Output::After(after, Timer::Gossip(timer)));
                    }
                    OutEvent::DisconnectPeer(peer) => out.push(Output::Close(peer.who())),
                    OutEvent::PeerData(..) => {}
                    OutEvent::EmitEvent(_, event) => todo.extend(self.event(event, out)),
                }
            }
        }
    }

    fn event(&mut self, event: Event<Key>, out: &mut Outputs<Self>) -> Vec<InEvent<Key>> {
        match event {
            Event::NeighborUp(_) => {
                let all: Vec<_> = self.known.iter().map(|(&who, &statement)| (who, statement)).collect();
                all.chunks(STATEMENTS).map(|some| said(some, Scope::Neighbors)).collect()
            }
            Event::NeighborDown(_) => Vec::new(),
            Event::Received(received) => {
                let news = self.learn(&received.content, out);
                // A broadcast goes to all by itself; what a neighbour said does not.
                let for_all = |who: &Who| received.scope == DeliveryScope::Neighbors || *who == self.own;
                let news: Vec<_> = news.into_iter().filter(|(who, _)| for_all(who)).collect();
                if news.is_empty() { Vec::new() } else { vec![said(&news, Scope::Swarm)] }
            }
        }
    }

    /// What of it is news; of itself it is here.
    fn learn(&mut self, mut said: &[u8], out: &mut Outputs<Self>) -> Vec<(Who, Statement)> {
        let mut news = Vec::new();
        while said.len() >= STATEMENT {
            let mut key = [0; 32];
            said.copy_to_slice(&mut key);
            let who = Key(key).who();
            let statement = Statement { number: said.get_u32_le(), gone: said.get_u8() != 0 };
            news.extend(self.hear(who, statement, out));
        }
        news
    }

    fn hear(&mut self, who: Who, mut statement: Statement, out: &mut Outputs<Self>) -> Option<(Who, Statement)> {
        if self.known.get(&who).is_some_and(|known| *known >= statement) {
            return None;
        }
        if who == self.own && statement.gone {
            statement = Statement { number: statement.number + 1, gone: false };
        }
        self.known.insert(who, statement);
        out.push(if statement.gone { Output::Gone(who) } else { Output::Here(who) });
        Some((who, statement))
    }
}

/// Says this to the neighbours, or to all.
fn said(statements: &[(Who, Statement)], scope: Scope) -> InEvent<Key> {
    let mut bytes = BytesMut::new();
    for (who, statement) in statements {
        bytes.put_slice(&Key::of(*who).0);
        bytes.put_u32_le(statement.number);
        bytes.put_u8(statement.gone.into());
    }
    InEvent::Command(topic(), Command::Broadcast(bytes.freeze(), scope))
}

impl Peer for Gossip {
    type Message = Message<Key>;
    type Timer = Timer;
    const CONNECTED: bool = true;

    fn new(own: Who, through: Option<Who>, _: &Setup, seed: u64) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(seed);
        let state = State::new(Key::of(own), PeerData::default(), Config::default(), rng);
        let known = [(own, Statement { number: 0, gone: false })].into();
        Self { own, through, state, epoch: tokio::time::Instant::now(), known }
    }

    fn start(&mut self, now: Instant, out: &mut Outputs<Self>) {
        out.push(Output::After(LOOK, Timer::Look));
        let through = self.through.into_iter().map(Key::of).collect();
        self.handle(now, InEvent::Command(topic(), Command::Join(through)), out);
    }

    fn receive(&mut self, now: Instant, from: Who, message: Message<Key>, out: &mut Outputs<Self>) {
        self.handle(now, InEvent::RecvMessage(Key::of(from), message), out);
    }

    fn fire(&mut self, now: Instant, timer: Timer, out: &mut Outputs<Self>) {
        match timer {
            Timer::Gossip(timer) => self.handle(now, InEvent::TimerExpired(timer), out),
            Timer::Look if self.state.has_active_peers(&topic()) => out.push(Output::After(LOOK, Timer::Look)),
            Timer::Look => self.start(now, out),
        }
    }

    fn ended(&mut self, now: Instant, peer: Who, broke: bool, out: &mut Outputs<Self>) {
        self.handle(now, InEvent::PeerDisconnected(Key::of(peer)), out);
        let number = self.known.get(&peer).map_or(0, |known| known.number);
        let gone = Some(Statement { number, gone: true }).filter(|_| broke);
        if let Some(news) = gone.and_then(|gone| self.hear(peer, gone, out)) {
            self.handle(now, said(&[news], Scope::Swarm), out);
        }
    }
}
