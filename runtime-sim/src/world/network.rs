//! What passes between whom, how much of it is lost, and how late it comes.

use std::time::Duration;

use circuit_core::{Instant, Rng};

use super::{
    Happening, Sim,
    effects::Mishap,
    net::{Connection, ConnectionId, Side},
};
use crate::faults::{ALWAYS, Fault, Hosts};

/// A connection on which nothing passes for so long gives up.
pub const STUCK: Duration = Duration::from_secs(20);
/// What is lost is sent again after this, then after twice as long, and so on
/// (the least that Linux waits; a first packet waits a second).
const AGAIN: Duration = Duration::from_millis(200);
const FIRST_AGAIN: Duration = Duration::from_secs(1);

/// How bad one direction between hosts is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) from: Hosts,
    pub(super) to: Hosts,
    pub(super) loss: u16,
    pub(super) slow: Duration,
}

/// What passes from a host to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quality {
    /// Packets that are lost, of a thousand.
    loss: u16,
    /// What passes takes so much longer.
    slow: Duration,
}

/// All that is bad at present. A rule stands there once for each fault that
/// brought it.
#[derive(Debug, Default)]
pub struct Network {
    rules: Vec<Rule>,
}

impl Network {
    /// It becomes bad somewhere, if that is such a fault.
    pub fn worsen(&mut self, fault: Fault) {
        self.rules.extend(rules_of(fault));
    }

    /// And good again.
    pub fn improve(&mut self, fault: Fault) {
        for rule in rules_of(fault) {
            if let Some(index) = self.rules.iter().position(|one| *one == rule) {
                self.rules.remove(index);
            }
        }
    }

    /// One way, from a host to another.
    pub fn quality(&self, from: usize, to: usize) -> Quality {
        let mut quality = Quality::default();
        if from == to {
            return quality;
        }
        for rule in self.rules.iter().filter(|rule| rule.from.contain(from) && rule.to.contain(to)) {
            quality.loss = quality.loss.max(rule.loss);
            quality.slow += rule.slow;
        }
        quality
    }

    /// Both ways together: what a packet and its acknowledgement go through.
    pub fn round(&self, a: usize, b: usize) -> Quality {
        let (there, back) = (self.quality(a, b), self.quality(b, a));
        let whole = u32::from(ALWAYS);
        let passes = (whole - u32::from(there.loss)) * (whole - u32::from(back.loss)) / whole;
        Quality { loss: (whole - passes) as u16, slow: there.slow + back.slow }
    }
}

impl Quality {
    /// Whether anything passes.
    pub const fn passes(self) -> bool {
        self.loss < ALWAYS
    }

    /// How much longer it takes than elsewhere.
    pub const fn slow(self) -> Duration {
        self.slow
    }

    /// Whether a datagram is lost.
    pub fn loses(self, rng: &mut Rng) -> bool {
        self.loss > 0 && rng.chance(u64::from(self.loss), u64::from(ALWAYS))
    }

    /// What a packet of a connection loses by being lost, perhaps often.
    pub fn delay(self, rng: &mut Rng) -> Duration {
        self.slow + self.again(rng, AGAIN)
    }

    /// The same of the first packet of a connection.
    pub fn first_delay(self, rng: &mut Rng) -> Duration {
        self.slow + self.again(rng, FIRST_AGAIN)
    }

    fn again(self, rng: &mut Rng, mut wait: Duration) -> Duration {
        let mut waited = Duration::ZERO;
        while self.loss > 0 && waited < STUCK && rng.chance(u64::from(self.loss), u64::from(ALWAYS)) {
            waited += wait;
            wait *= 2;
        }
        waited
    }
}

/// What a fault makes bad while it lasts.
pub(super) fn rules_of(fault: Fault) -> Vec<Rule> {
    let rule = |from, to, loss, slow| Rule { from, to, loss, slow };
    let both = |a, b| vec![rule(a, b, ALWAYS, Duration::ZERO), rule(b, a, ALWAYS, Duration::ZERO)];
    match fault {
        Fault::Cut { a, b, .. } => both(Hosts::one(a), Hosts::one(b)),
        Fault::Split { below, .. } => both(Hosts::below(below), Hosts::from(below)),
        Fault::Weak { from, to, loss, slow, .. } => vec![rule(from, to, loss.min(ALWAYS), slow)],
        _ => Vec::new(),
    }
}

impl Sim {
    /// The network becomes bad somewhere, for a while.
    pub(super) fn worsen(&mut self, fault: Fault) {
        self.network.worsen(fault);
        self.effects.begin(fault);
        self.schedule(self.now + fault.lasting(), Happening::Over(fault));
    }

    /// And good again: what waits may pass.
    pub(super) fn improve(&mut self, fault: Fault) {
        let over = rules_of(fault);
        self.network.improve(fault);
        self.effects.end(fault);
        let on = |from, to| over.iter().any(|rule| rule.from.contain(from) && rule.to.contain(to));
        let crosses = |connection: &Connection| {
            let (near, far) = (self.host_of(connection.near), connection.far.map(|far| self.host_of(far)));
            far.is_some_and(|far| on(near, far) || on(far, near))
        };
        let found: Vec<_> =
            self.connections.iter().filter(|(_, connection)| crosses(connection)).map(|(&id, _)| id).collect();
        for id in found {
            self.flow(id, Side::Near);
            self.flow(id, Side::Far);
        }
    }

    /// Nothing passes on a connection, or not for long: it may give up.
    pub(super) fn watch(&mut self, id: ConnectionId, to: Side) {
        let at = self.now + STUCK;
        if let Some(way) = self.connections.get_mut(&id).map(|connection| connection.way(to))
            && !way.watched
        {
            way.watched = true;
            let delivered = way.delivered;
            self.schedule(at, Happening::Stuck(id, to, delivered));
        }
    }

    /// Whether a connection is still stuck where it was.
    pub(super) fn stuck(&mut self, id: ConnectionId, to: Side, delivered: u64) {
        let Some(way) = self.connections.get_mut(&id).map(|connection| connection.way(to)) else {
            return;
        };
        way.watched = false;
        if way.frames.is_empty() {
            return;
        }
        if way.delivered == delivered {
            self.reset(id);
        } else {
            self.watch(id, to);
        }
    }

    /// A packet is late by so much.
    fn suffer(&mut self, from: usize, to: usize, quality: Quality, late: Duration) {
        if !quality.slow.is_zero() {
            self.effects.feel_packet(from, to, Mishap::Slow);
        }
        if late > quality.slow {
            self.effects.feel_packet(from, to, Mishap::Lost);
        }
    }

    /// When what is sent now arrives; nothing if nothing passes.
    pub(super) fn arrival(&mut self, from: usize, to: usize) -> Option<Instant> {
        let quality = self.network.quality(from, to);
        if !quality.passes() {
            self.effects.feel_packet(from, to, Mishap::Held);
            return None;
        }
        let lost = quality.delay(&mut self.rng);
        self.suffer(from, to, quality, lost);
        Some(self.now + self.delay() + lost)
    }
}

/// What is lost again and again waits for longer than a connection lasts.
pub fn is_hopeless(wait: Duration) -> bool {
    wait >= STUCK
}
