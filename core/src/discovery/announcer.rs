//! A server's part: it announces itself, hears others, and answers clients.

use alloc::{
    collections::{BTreeMap, VecDeque},
    vec::Vec,
};
use core::{net::SocketAddr, time::Duration};

use super::{
    BeaconKey, Counts, Face, Group, Interface, Output, Place, Reach, Refusal,
    beacon::{Beacon, Word},
    bucket::Bucket,
    interface::scoped,
    peers::Peers,
    replay::Replay,
    trickle::Trickle,
};
use crate::{Incarnation, Instant, Rng, session::ClusterKey, timers::Timers};

/// Answers that may be given at once, and how long until one more may.
const ANSWERS: (u32, Duration) = (32, Duration::from_millis(50));
/// About as many servers answer a first question, however many hear it; of the
/// next ones, each is answered by [`MORE`] times as many.
const ANSWER_TOGETHER: u64 = 8;
const MORE: u64 = 4;
/// Servers heard but not yet said, and schedules, at most; one over it is said
/// when it is heard again.
const MAX_TIMERS: usize = 1024;

/// What a server is told of discovery at its start.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Who it is.
    pub own: Incarnation,
    /// How it can be reached.
    pub reach: Reach,
    /// Where it announces itself.
    pub group: Group,
}

/// A server in a multicast group.
#[derive(Debug)]
pub struct Announcer {
    config: Config,
    key: BeaconKey,
    rng: Rng,
    sides: BTreeMap<u32, Side>,
    replay: Replay,
    answers: Bucket,
    timers: Timers<Timer>,
    counts: Counts,
    out: VecDeque<Output>,
}

/// One interface, and what is known there.
#[derive(Debug)]
struct Side {
    face: Face,
    trickle: Trickle,
    peers: Peers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The interface's schedule.
    Speak(u32),
    /// A server that was heard is to be said.
    Tell(Place),
}

impl Announcer {
    /// A server that has no interface yet.
    pub fn new(config: Config, key: &ClusterKey, rng: Rng) -> Self {
        Self {
            config,
            key: BeaconKey::of(key),
            rng,
            sides: BTreeMap::new(),
            replay: Replay::default(),
            answers: Bucket::new(ANSWERS.0, ANSWERS.1),
            timers: Timers::default(),
            counts: Counts::default(),
            out: VecDeque::new(),
        }
    }

    /// Those of the host's interfaces that are to be used.
    pub fn faces(&self, all: &[Interface]) -> Vec<Face> {
        self.config.reach.faces(all, self.config.group)
    }

    /// What became of datagrams so far.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// The world happened: an interface can be used. Saying so again changes
    /// nothing, unless its address is another.
    pub fn handle_up(&mut self, now: Instant, face: Face) {
        let index = face.interface.index;
        if self.sides.get(&index).is_some_and(|side| side.face == face) {
            return;
        }
        let trickle = Trickle::new(now, &mut self.rng);
        self.timers.set(Timer::Speak(index), Some(trickle.due()));
        self.sides.insert(index, Side { face, trickle, peers: Peers::default() });
    }

    /// The world happened: an interface cannot be used any more.
    pub fn handle_down(&mut self, index: u32) {
        self.sides.remove(&index);
        self.timers.set(Timer::Speak(index), None);
    }

    /// The world happened: a datagram came on an interface. `wall` is in
    /// microseconds since 1970.
    ///
    /// # Errors
    /// [`Refusal`]: why it was dropped. It is counted, and nothing else changed.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        wall: u64,
        index: u32,
        from: SocketAddr,
        packet: &[u8],
    ) -> Result<(), Refusal> {
        let heard = self.hear(now, wall, index, from, packet);
        match heard {
            Ok(()) => self.counts.accepted = self.counts.accepted.saturating_add(1),
            Err(refusal) => self.counts.count(refusal),
        }
        heard
    }

    fn hear(&mut self, now: Instant, wall: u64, index: u32, from: SocketAddr, packet: &[u8]) -> Result<(), Refusal> {
        let beacon = Beacon::open(packet, &self.key)?;
        let Some(side) = self.sides.get_mut(&index) else {
            return Ok(()); // it was gone before what came on it was read
        };
        match beacon.word {
            Word::Announce(place) if place.incarnation.id == self.config.own.id => Ok(()),
            Word::Announce(Place { incarnation, addr }) => {
                if addr.ip().is_loopback() && !side.face.interface.loopback {
                    return Err(Refusal::Address);
                }
                self.replay.take(wall, beacon.sent, beacon.nonce)?;
                self.meet(now, index, Place { incarnation, addr: scoped(addr, index) });
                Ok(())
            }
            Word::Query(round) => {
                self.replay.take(wall, beacon.sent, beacon.nonce)?;
                let place = Place { incarnation: self.config.own, addr: side.face.addr };
                let all = side.peers.len() as u64 + 1;
                let some = ANSWER_TOGETHER.saturating_mul(MORE.saturating_pow(round));
                if !self.rng.chance(some, all) {
                    return Ok(());
                }
                if !self.answers.take(now) {
                    return Err(Refusal::Busy);
                }
                let answer = Beacon { sent: wall, nonce: beacon.nonce, word: Word::Answer(place) };
                let packet = answer.seal(&self.key);
                self.out.push_back(Output::Send { interface: index, to: from, packet });
                Ok(())
            }
            Word::Answer(_) => Err(Refusal::Unasked),
        }
    }

    /// Another server was heard.
    fn meet(&mut self, now: Instant, index: u32, place: Place) {
        let Some(side) = self.sides.get_mut(&index) else {
            return;
        };
        side.trickle.hear();
        if let Some(at) = side.peers.hear(now, place, &mut self.rng)
            && self.timers.len() < MAX_TIMERS
        {
            self.timers.set(Timer::Tell(place), Some(at));
        }
    }

    /// The world happened: it is `now`, and `wall` microseconds since 1970.
    /// Harmless when nothing is due.
    pub fn handle_timeout(&mut self, now: Instant, wall: u64) {
        while let Some(timer) = self.timers.pop(now) {
            match timer {
                Timer::Speak(index) => self.speak(now, wall, index),
                Timer::Tell(place) => self.out.push_back(Output::Found(place)),
            }
        }
    }

    fn speak(&mut self, now: Instant, wall: u64, index: u32) {
        let Some(side) = self.sides.get_mut(&index) else {
            return;
        };
        let speaks = side.trickle.handle_timeout(now, &mut self.rng);
        self.timers.set(Timer::Speak(index), Some(side.trickle.due()));
        if speaks {
            let word = Word::Announce(Place { incarnation: self.config.own, addr: side.face.addr });
            let packet = Beacon { sent: wall, nonce: self.rng.u64(), word }.seal(&self.key);
            self.out.push_back(Output::Send { interface: index, to: self.config.group.on(index), packet });
        }
    }

    /// What now? To be drained after every `handle_*`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// What now? When [`Announcer::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next().map(|(at, _)| at)
    }
}
