//! A client's part: it asks until somebody answers, or it is too late.

use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    vec::Vec,
};
use core::time::Duration;

use super::{
    BeaconKey, Counts, Group, Interface, Output, Place, Refusal,
    beacon::{Beacon, Word},
    interface::{scoped, usable},
};
use crate::{Instant, Rng, session::ClusterKey};

/// How long after one question the next is asked; the last is repeated. Each
/// differs by up to a quarter either way.
const GAPS: [Duration; 4] =
    [Duration::from_millis(200), Duration::from_millis(300), Duration::from_millis(500), Duration::from_secs(1)];
/// Questions that can still be answered.
const OPEN: usize = 16;
/// The most servers that a finder tells of.
pub const MAX_FOUND: usize = 64;

/// A client that looks for servers.
#[derive(Debug)]
pub struct Finder {
    group: Group,
    key: BeaconKey,
    rng: Rng,
    interfaces: BTreeMap<u32, Interface>,
    /// The nonces of the last questions.
    asked: VecDeque<u64>,
    round: u32,
    next: Instant,
    deadline: Instant,
    found: BTreeSet<Place>,
    counts: Counts,
    out: VecDeque<Output>,
}

impl Finder {
    /// A client that asks from `now` until `deadline`.
    pub fn new(group: Group, key: &ClusterKey, rng: Rng, now: Instant, deadline: Instant) -> Self {
        Self {
            group,
            key: BeaconKey::of(key),
            rng,
            interfaces: BTreeMap::new(),
            asked: VecDeque::new(),
            round: 0,
            next: now,
            deadline,
            found: BTreeSet::new(),
            counts: Counts::default(),
            out: VecDeque::new(),
        }
    }

    /// Those of the host's interfaces that are to be used.
    pub fn interfaces(&self, all: &[Interface]) -> Vec<Interface> {
        usable(all, self.group)
    }

    /// What became of datagrams so far.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether the deadline has passed.
    pub fn is_over(&self, now: Instant) -> bool {
        self.deadline <= now
    }

    /// The world happened: an interface can be used, from the next question on.
    pub fn handle_up(&mut self, interface: Interface) {
        self.interfaces.insert(interface.index, interface);
    }

    /// The world happened: an interface cannot be used any more.
    pub fn handle_down(&mut self, index: u32) {
        self.interfaces.remove(&index);
    }

    /// The world happened: a datagram came on an interface. Its time is not
    /// looked at: that it answers a question of ours is proof enough that it is
    /// new.
    ///
    /// # Errors
    /// [`Refusal`]: why it was dropped. It is counted, and nothing else changed.
    pub fn handle_datagram(&mut self, index: u32, packet: &[u8]) -> Result<(), Refusal> {
        let heard = self.hear(index, packet);
        match heard {
            Ok(()) => self.counts.accepted = self.counts.accepted.saturating_add(1),
            Err(refusal) => self.counts.count(refusal),
        }
        heard
    }

    fn hear(&mut self, index: u32, packet: &[u8]) -> Result<(), Refusal> {
        let beacon = Beacon::open(packet, &self.key)?;
        let Word::Answer(Place { incarnation, addr }) = beacon.word else {
            return Err(Refusal::Unasked);
        };
        if !self.asked.contains(&beacon.nonce) {
            return Err(Refusal::Unasked);
        }
        let loopback = self.interfaces.get(&index).is_some_and(|interface| interface.loopback);
        if addr.ip().is_loopback() && !loopback {
            return Err(Refusal::Address);
        }
        let place = Place { incarnation, addr: scoped(addr, index) };
        if self.found.len() < MAX_FOUND && self.found.insert(place) {
            self.out.push_back(Output::Found(place));
        }
        Ok(())
    }

    /// The world happened: it is `now`, and `wall` microseconds since 1970.
    /// Harmless when nothing is due.
    pub fn handle_timeout(&mut self, now: Instant, wall: u64) {
        if self.next > now || self.is_over(now) {
            return;
        }
        // The same question on every interface, so that a server that hears it
        // on two answers once.
        let question = Beacon { sent: wall, nonce: self.rng.u64(), word: Word::Query(self.round) };
        let packet = question.seal(&self.key);
        for &index in self.interfaces.keys() {
            self.out.push_back(Output::Send { interface: index, to: self.group.on(index), packet });
        }
        self.asked.push_back(question.nonce);
        if self.asked.len() > OPEN {
            self.asked.pop_front();
        }
        let gap = GAPS.get(self.round as usize).or(GAPS.last()).copied().unwrap_or_default();
        let jitter = Duration::from_micros(self.rng.below(gap.as_micros() as u64 / 2));
        self.next = now + gap * 3 / 4 + jitter;
        self.round = self.round.saturating_add(1);
    }

    /// What now? To be drained after every `handle_*`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// What now? When [`Finder::handle_timeout`] wants to be called, or the
    /// deadline.
    pub fn poll_timeout(&self) -> Instant {
        self.next.min(self.deadline)
    }
}
