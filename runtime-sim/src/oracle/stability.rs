//! Whom nobody may hold for gone, whatever else goes wrong (P8): a server whose
//! links to at least four in five of its observers lose no more than one packet in
//! twenty either way, and whose own loop stands still for less than 4 s.

use std::time::Duration;

use circuit_core::{Instant, membership::rings::Rings};

use super::{AWAKE, MEMORY, Oracle, STALL, Truth, is_recent};
use crate::{ServerIndex, faults::Fault};

/// As many lost packets, of a thousand, make no link bad.
const FEW: u16 = 50;
/// Within this time after a reset two servers dial each other again.
const DIALS: Duration = Duration::from_secs(1);

impl Oracle {
    /// Whether P8 promises that this observer does not lose sight of the subject
    /// now.
    ///
    /// By the text a subject that is well is lost to nobody. Two observers are let
    /// off: one whose machine slept; and one that no way of good links leads from to
    /// the subject, to which the subject must be gone: that is what P9 says of
    /// components, and the side of a split that has fewer of a subject's observers
    /// cannot know that the others have more. What either finds has to be a verdict
    /// all the same (P5). One that stood still itself hears only now what was found
    /// meanwhile: all must have been well since it did. And for a while after a split
    /// nothing is promised: what the other side has found, as it had to, comes from
    /// servers that this side may never have missed, or that began there, and is a
    /// verdict until the subject refutes it.
    pub(super) fn is_stable(&self, sim: &impl Truth, observer: ServerIndex, subject: ServerIndex) -> bool {
        let now = sim.now();
        let memory =
            MEMORY + self.stalled_since(now, MEMORY, observer).map_or(Duration::ZERO, |since| now.since(since));
        self.stalled_since(now, memory, subject).is_none()
            && !self.has_slept(now, subject)
            && !self.has_slept(now, observer)
            && !self.has_healed(sim, memory, subject)
            && self.is_observed(sim, memory, subject)
            && self.reaches(sim, memory, observer, subject)
    }

    /// Whether a split is over, but not for long, and on the other side of it there
    /// were enough servers for a verdict that others believe.
    fn has_healed(&self, sim: &impl Truth, memory: Duration, subject: ServerIndex) -> bool {
        let now = sim.now();
        self.plan.iter().filter(|(at, fault)| is_recent(now, *at, fault, memory)).any(|(at, fault)| match *fault {
            Fault::Split { below, lasting } if *at + lasting <= now => {
                let is_far = |&other: &ServerIndex| (other < below) != (subject < below) && sim.is_alive(other);
                (0..self.servers).filter(is_far).count() > 1
            }
            _ => false,
        })
    }

    /// Whether at least four in five of a server's observers have a good link with
    /// it: its neighbours in the rings, as they truly are.
    fn is_observed(&self, sim: &impl Truth, memory: Duration, subject: ServerIndex) -> bool {
        let others = || (0..self.servers).filter(|&other| other != subject && sim.is_alive(other));
        let ids = others().map(|other| sim.server_id(other));
        let ring = Rings::among(sim.server_id(subject), ids).set();
        let bad = others()
            .filter(|&other| ring.contains(&sim.server_id(other)) && !self.is_good(sim, memory, subject, other));
        5 * bad.count() <= ring.len() && !ring.is_empty()
    }

    /// Whether good links lead from one server to another, over any others.
    fn reaches(&self, sim: &impl Truth, memory: Duration, from: ServerIndex, to: ServerIndex) -> bool {
        let mut rest: Vec<ServerIndex> = (0..self.servers).filter(|&one| one != from && sim.is_alive(one)).collect();
        let mut found = vec![from];
        while let Some(one) = found.pop() {
            if self.is_good(sim, memory, one, to) {
                return true;
            }
            let (near, far) = rest.into_iter().partition(|&other| self.is_good(sim, memory, one, other));
            rest = far;
            let near: Vec<ServerIndex> = near;
            found.extend(near);
        }
        false
    }

    /// Whether the link between two servers has been good for a while, either way.
    fn is_good(&self, sim: &impl Truth, memory: Duration, one: ServerIndex, other: ServerIndex) -> bool {
        let mut recent = self.plan.iter().filter(|(at, fault)| is_recent(sim.now(), *at, fault, memory));
        !recent.any(|(_, fault)| match *fault {
            Fault::Cut { a, b, .. } => (a, b) == (one, other) || (b, a) == (one, other),
            Fault::Split { below, .. } => (one < below) != (other < below),
            Fault::Weak { from, to, loss, .. } if loss > FEW => {
                from.contain(one) && to.contain(other) || from.contain(other) && to.contain(one)
            }
            // The others do not understand it: to them all that it says is lost.
            Fault::Version { server, .. } => server == one || server == other,
            _ => false,
        }) && !self.was_refused(sim.now(), one, other)
    }

    /// Whether the link between two servers was reset lately, and again while they
    /// may have dialled each other. Whoever dials cannot tell that from the word of
    /// a machine whose server is dead, and is to believe such a word at once.
    fn was_refused(&self, now: Instant, one: ServerIndex, other: ServerIndex) -> bool {
        let mut before: Option<Instant> = None;
        self.plan.iter().take_while(|(at, _)| *at <= now).any(|&(at, fault)| match fault {
            Fault::Reset { a, b } if (a, b) == (one, other) || (b, a) == (one, other) => {
                let again = before.replace(at).is_some_and(|before| at <= before + DIALS);
                again && now <= at + MEMORY
            }
            _ => false,
        })
    }

    /// Whether the machine of a server slept lately, as its clock says.
    fn has_slept(&self, now: Instant, server: ServerIndex) -> bool {
        self.jumped(now, server).is_some_and(|at| at + MEMORY >= now)
    }

    /// Since when a server stood still, if it did for long, lately. Pauses that follow
    /// each other closely are one.
    fn stalled_since(&self, now: Instant, memory: Duration, server: ServerIndex) -> Option<Instant> {
        let (mut since, mut until) = (Instant::ZERO, Instant::ZERO);
        self.plan.iter().take_while(|(at, _)| *at <= now).find_map(|&(at, fault)| {
            let lasting = match fault {
                Fault::Pause { server: paused, lasting } if paused == server => lasting,
                _ => return None,
            };
            if at > until + AWAKE {
                since = at;
            }
            until = until.max(at + lasting);
            (until.since(since) > STALL && until + memory >= now).then_some(since)
        })
    }
}
