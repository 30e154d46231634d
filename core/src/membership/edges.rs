//! Observing: heartbeats with the neighbours in the rings.
//!
//! Each end of an edge beats when it has not heard an answer for a while, the
//! longer the more edges it has: about one beat a second in all, and whoever
//! comes first spares the other. A beat that is not answered is
//! repeated, the other observers are asked, and after [`SILENCE`] the server is
//! held for down. A connection that broke is made again at once: if nobody
//! listens any more there is no need to wait.

#[cfg(test)]
mod tests;

use alloc::{
    collections::{BTreeSet, btree_map::Entry},
    vec::Vec,
};
use core::{cmp::Reverse, time::Duration};

use super::{
    Membership, Output,
    message::{Beat, Message, Opinion, Why},
};
use crate::{Instant, ServerId, links::LinkId};

/// Between the beats of a server with all quiet edges together, at least. Some
/// observer of a server asks it so often, too.
const PERIOD: Duration = Duration::from_secs(1);
/// With fewer edges than this, and with more, it makes no difference.
const FEW_EDGES: usize = 2;
const MANY_EDGES: usize = 10;
/// A beat is up to one in so many parts later, another time each.
const JITTER: u32 = 5;
/// Who hears nobody for this long asks the one that is due next: edges that began
/// together would be quiet together, and who is cut off would not know.
const QUIET: Duration = Duration::from_secs(2);
/// When an unanswered beat is repeated, and the other observers are asked.
const RETRY: Duration = Duration::from_millis(750);
/// The same for a server that was never heard yet: connections take longer.
const FIRST_SIGN: Duration = Duration::from_secs(2);
/// One that is down, among many, is tried at most so many times as rarely.
const RARELY: u32 = 6;
/// How long a server may be silent after a beat: one that stands still for 5 s
/// is there again in time.
pub(super) const SILENCE: Duration = Duration::from_millis(5_100);
/// How long a server that refuses a connection may take to connect by itself.
const REDIAL: Duration = Duration::from_millis(250);
/// For so long after its silence a server may say what it found meanwhile.
const AWAY: Duration = Duration::from_secs(10);
/// Who sent a beat (other than an answer) within this time counts this server
/// among its neighbours.
const NEIGHBOURLY: Duration = Duration::from_secs(30);

/// A server that there is a link to.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) link: LinkId,
    /// The last beat that was sent.
    sent: u64,
    /// The last that was heard.
    heard: u64,
    /// When it last beat of its own accord.
    neighbourly: Option<Instant>,
    /// How many times in a row its view differed.
    pub(super) differs: u8,
}

impl Peer {
    pub(super) const fn new(link: LinkId) -> Self {
        Self { link, sent: 0, heard: 0, neighbourly: None, differs: 0 }
    }
}

/// A server that is observed.
#[derive(Debug)]
pub(super) struct Edge {
    /// Since when there is no answer, and no sign from the other end that it
    /// hears this one; before that, since when there is no link.
    awaiting: Option<Instant>,
    /// The first beat that was not answered since.
    probe: u64,
    /// When to beat, to repeat it, or to dial again.
    next: Instant,
    /// When the link to it was last lost.
    unlinked: Instant,
    /// A connection was refused since then, or could not be made in time.
    refused: bool,
    down: bool,
    /// It was heard at least once.
    known: bool,
    /// When it last gave no sign for long.
    doubted: Option<Instant>,
    /// It is observed only until a sweep is over.
    passing: bool,
}

impl Edge {
    /// To a server that there is no link to yet.
    const fn new(now: Instant) -> Self {
        let next = Instant::NEVER;
        let (unlinked, refused, down, known) = (now, false, false, false);
        Self { awaiting: Some(now), probe: 0, next, unlinked, refused, down, known, doubted: None, passing: false }
    }

    pub(super) const fn opinion(&self, linked: bool) -> Opinion {
        match (self.down, self.awaiting, linked) {
            (true, ..) => Opinion::Down,
            (false, None, true) => Opinion::Up,
            _ => Opinion::Waiting,
        }
    }

    pub(super) const fn is_known(&self) -> bool {
        self.known
    }

    pub(super) const fn is_down(&self) -> bool {
        self.down
    }

    /// Whether it gives no sign, for longer than a connection takes.
    pub(super) fn is_in_doubt(&self, now: Instant) -> bool {
        self.down || self.awaiting.is_some_and(|since| since + FIRST_SIGN <= now)
    }

    /// Whether it gave no sign for long, until lately.
    pub(super) fn was_in_doubt(&self, now: Instant) -> bool {
        self.doubted.is_some_and(|at| now < at + AWAY)
    }

    const fn confirm(&mut self) {
        (self.awaiting, self.refused, self.down, self.known) = (None, false, false, true);
    }
}

/// Between attempts to reach one that is down, of so many edges: there may be
/// thousands of them.
fn retry(edges: usize) -> Duration {
    RETRY * u32::try_from(edges / MANY_EDGES).unwrap_or(u32::MAX).clamp(1, RARELY)
}

/// Between beats of one of so many quiet edges, at least.
fn period(edges: usize) -> Duration {
    let edges = edges.clamp(FEW_EDGES, MANY_EDGES);
    PERIOD * u32::try_from(edges).unwrap_or(1)
}

impl Membership {
    /// Observes whom it should, as the view has it now.
    pub(super) fn rewatch(&mut self, now: Instant) {
        let mut neighbours = self.rings.set();
        let lost = self.lost();
        if !lost.is_empty() {
            neighbours.extend(self.stand_ins(&lost));
        }
        let wanted: BTreeSet<ServerId> = neighbours.iter().chain(self.sweep.open()).copied().collect();
        self.edges.retain(|id, _| wanted.contains(id));
        self.end_inquiries();
        for &id in &wanted {
            let passing = !neighbours.contains(&id);
            match self.edges.entry(id) {
                Entry::Vacant(edge) => {
                    edge.insert(Edge { passing, ..Edge::new(now) });
                    self.schedule(id, now);
                    self.start_observing(now, id);
                }
                Entry::Occupied(mut edge) => {
                    if core::mem::replace(&mut edge.get_mut().passing, passing) && !passing {
                        self.hasten(id, now); // it is to know that it is a neighbour
                    }
                }
            }
        }
        self.out.push_back(Output::Keep(wanted));
    }

    /// The observed that are held for down.
    fn lost(&self) -> BTreeSet<ServerId> {
        self.edges.iter().filter(|(_, edge)| edge.down).map(|(&id, _)| id).collect()
    }

    /// A server has started again, and what was thought of its last start is no
    /// opinion of this one; or it is looked at once more.
    pub(super) fn observe_anew(&mut self, now: Instant, id: ServerId) {
        let Some(edge) = self.edges.get_mut(&id) else {
            return;
        };
        let before = core::mem::replace(edge, Edge { passing: edge.passing, ..Edge::new(now) });
        self.schedule(id, now);
        self.start_observing(now, id);
        if before.down {
            self.rewatch(now); // nobody has to stand in for it
        }
    }

    fn start_observing(&mut self, now: Instant, id: ServerId) {
        if self.peers.contains_key(&id) {
            self.probe(now, id);
        } else {
            self.want(id);
        }
    }

    pub(super) fn want(&mut self, id: ServerId) {
        if let Some(record) = self.view.get(id) {
            self.out.push_back(Output::Want(id, record.addr));
        }
    }

    /// Asks an observed server for a sign.
    pub(super) fn probe(&mut self, now: Instant, id: ServerId) {
        let passing = self.edges.get(&id).is_some_and(|edge| edge.passing);
        let sent = self.send_beat(id, if passing { Why::Look } else { Why::Neighbour }).unwrap_or(0);
        if let Some(edge) = self.edges.get_mut(&id) {
            if edge.awaiting.is_none() || edge.probe == 0 {
                edge.probe = sent;
            }
            edge.awaiting.get_or_insert(now);
        }
        self.schedule(id, now + RETRY);
    }

    /// Sets when an edge is due.
    fn schedule(&mut self, id: ServerId, at: Instant) {
        if let Some(edge) = self.edges.get_mut(&id)
            && edge.next != at
        {
            edge.next = at;
            self.beats.push(Reverse((at, id)));
        }
    }

    /// Beats, if there is a link: which of its beats that is.
    pub(super) fn send_beat(&mut self, id: ServerId, why: Why) -> Option<u64> {
        let peer = self.peers.get_mut(&id)?;
        peer.sent += 1;
        let beat = Beat { seq: peer.sent, echo: peer.heard, why, hash: self.view.hash() };
        self.out.push_back(Output::Send(peer.link, Message::Beat(beat).encode()));
        Some(peer.sent)
    }

    /// A server beats.
    pub(super) fn beat(&mut self, now: Instant, from: ServerId, beat: Beat) {
        self.confront(from);
        self.heard = now;
        let Some(peer) = self.peers.get_mut(&from) else {
            return;
        };
        peer.heard = peer.heard.max(beat.seq);
        let hears_all = beat.echo >= peer.sent;
        if beat.why == Why::Neighbour {
            peer.neighbourly = Some(now);
        }
        if beat.why == Why::Reply {
            self.heard_of_leaving(from);
        } else {
            self.send_beat(from, Why::Reply);
        }
        if let Some(edge) = self.edges.get_mut(&from) {
            let heard = if edge.awaiting.is_some() { edge.probe > 0 && beat.echo >= edge.probe } else { hears_all };
            if heard {
                let was_down = edge.down;
                edge.confirm();
                let period = period(self.edges.len());
                let jitter = Duration::from_micros(self.rng.below((period / JITTER).as_micros() as u64));
                self.schedule(from, now + period + jitter);
                self.changed_mind(now, from);
                let swept = self.sweep.close(from);
                if was_down || swept {
                    self.rewatch(now);
                }
            } else if edge.awaiting.is_none() && beat.why != Why::Reply {
                // It does not hear this end, perhaps.
                self.probe(now, from);
            }
        }
        self.heard_by(now, from, beat.echo);
        self.compare(now, from, beat.hash);
    }

    /// Has an edge beat by then.
    pub(super) fn hasten(&mut self, id: ServerId, by: Instant) {
        if let Some(edge) = self.edges.get(&id) {
            self.schedule(id, edge.next.min(by));
        }
    }

    /// A link to a server is up.
    pub(super) fn found_link(&mut self, now: Instant, id: ServerId) {
        if let Some(edge) = self.edges.get_mut(&id) {
            if edge.down {
                edge.awaiting = Some(now); // a new attempt
            }
            self.probe(now, id);
        }
    }

    /// The link to a server is gone.
    pub(super) fn lost_link(&mut self, now: Instant, id: ServerId) {
        if let Some(edge) = self.edges.get_mut(&id) {
            edge.awaiting.get_or_insert(now);
            (edge.probe, edge.unlinked, edge.refused) = (0, now, false);
            self.schedule(id, now + RETRY);
            self.want(id);
        }
    }

    /// A server could not be dialled, by a dial that began at `since`: one that began
    /// before this server waited for that one, or before the link broke, is no sign:
    /// both may have been reset at once.
    pub(super) fn refused(&mut self, now: Instant, id: ServerId, since: Instant) {
        let Some(edge) = self.edges.get_mut(&id).filter(|_| !self.peers.contains_key(&id)) else {
            return;
        };
        let awaiting = edge.awaiting.unwrap_or(now).max(edge.unlinked);
        if since < awaiting {
            if !edge.down {
                self.hasten(id, now + REDIAL); // the next one is
            }
            return;
        }
        if !core::mem::replace(&mut edge.refused, true) {
            self.hasten(id, now.max(awaiting + REDIAL));
        }
    }

    /// After a pause of its own a server has no opinion of anybody.
    pub(super) fn excuse_all(&mut self, now: Instant) {
        self.out.push_back(Output::AllAnew);
        let down = self.lost();
        for edge in self.edges.values_mut() {
            (edge.refused, edge.down) = (false, false);
            if let Some(since) = &mut edge.awaiting {
                *since = now;
            }
        }
        let spread = retry(self.edges.len()) - RETRY; // they may be thousands
        for &id in &down {
            let wait = Duration::from_micros(self.rng.below(spread.as_micros() as u64));
            self.schedule(id, now + wait);
        }
        if !down.is_empty() {
            self.rewatch(now);
        }
    }

    /// When the first edge is due. What was due once and is not any more is dropped.
    pub(super) fn edges_due(&mut self) -> Option<Instant> {
        while let Some(&Reverse((at, id))) = self.beats.peek() {
            if self.edges.get(&id).is_some_and(|edge| edge.next == at) {
                return Some(at);
            }
            self.beats.pop();
        }
        None
    }

    /// When somebody has to be heard.
    pub(super) fn quiet_until(&self) -> Option<Instant> {
        (self.edges.len() > FEW_EDGES).then(|| self.heard + QUIET)
    }

    fn break_silence(&mut self, now: Instant) {
        if self.quiet_until().is_none_or(|until| now < until) {
            return;
        }
        self.heard = now;
        let quiet = self.edges.iter().filter(|(_, edge)| edge.awaiting.is_none());
        if let Some((&id, _)) = quiet.min_by_key(|(_, edge)| edge.next) {
            self.schedule(id, now);
        }
    }

    pub(super) fn check_edges(&mut self, now: Instant) {
        self.break_silence(now);
        let mut due = BTreeSet::new();
        while self.edges_due().is_some_and(|at| at <= now) {
            due.extend(self.beats.pop().map(|Reverse((_, id))| id));
        }
        let mut worse = false;
        for id in due {
            worse |= self.check_edge(now, id);
        }
        if worse {
            self.look_around(now);
        }
    }

    /// An observed server is due: whether it came in doubt, or is lost, by that.
    fn check_edge(&mut self, now: Instant, id: ServerId) -> bool {
        let (linked, retry) = (self.peers.contains_key(&id), retry(self.edges.len()));
        let Some(edge) = self.edges.get_mut(&id) else {
            return false;
        };
        let silent = edge.awaiting.map_or(Duration::ZERO, |since| now.since(since));
        let refuses = !linked && edge.refused && now.since(edge.unlinked) >= REDIAL;
        let lost = !edge.down && (silent >= SILENCE || refuses && silent >= REDIAL);
        let doubted = silent >= if edge.known { RETRY } else { FIRST_SIGN };
        let alarming = doubted && edge.known && !edge.down;
        let was_in_doubt = edge.doubted >= edge.awaiting.map(|since| since + FIRST_SIGN);
        let worse = lost || !edge.down && silent >= FIRST_SIGN && !was_in_doubt;
        if silent >= FIRST_SIGN {
            edge.doubted = Some(now);
        }
        edge.down |= lost;
        let next = now + if edge.down { retry } else { RETRY };
        self.schedule(id, next);
        if !linked {
            self.want(id);
        } else if silent >= SILENCE {
            self.close_link(id);
        } else {
            self.probe(now, id);
        }
        if lost || doubted {
            self.changed_mind(now, id);
        }
        if lost {
            self.cannot_ask(now, id);
        }
        if alarming {
            self.alarm(now);
        }
        worse
    }

    /// Somebody gives no sign: if this server is cut off from many, it is not to
    /// find that out from one quiet edge after the other.
    fn alarm(&mut self, now: Instant) {
        if self.alarmed.is_some_and(|at| now < at + QUIET) {
            return;
        }
        self.alarmed = Some(now);
        let quiet = self.edges.iter().filter(|(_, edge)| edge.awaiting.is_none());
        for id in quiet.map(|(&id, _)| id).collect::<Vec<_>>() {
            self.hasten(id, now);
        }
    }

    /// Whom news are sent to: not whom a sweep looks at, who may be hundreds, and
    /// hear them of their own neighbours.
    pub(super) fn flood_targets(&self, now: Instant) -> Vec<(ServerId, LinkId)> {
        let neighbourly = |peer: &Peer| peer.neighbourly.is_some_and(|at| now.since(at) < NEIGHBOURLY);
        let is_neighbour = |id: &ServerId| self.edges.get(id).is_some_and(|edge| !edge.passing);
        let is_target = |(id, peer): &(&ServerId, &Peer)| is_neighbour(id) || neighbourly(peer);
        self.peers.iter().filter(is_target).map(|(&id, peer)| (id, peer.link)).collect()
    }
}
