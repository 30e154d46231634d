//! The sessions of one server: whom they are with, and what waits on them.
//!
//! A link is a session under the number that the node gave it. Here it is
//! decided which connections are let in, whom to dial and how often, which of
//! two links to one server stays, that a silent link is closed, and in which
//! order frames leave: what is short first, streams behind, and never more in
//! the driver's hands than [`WINDOW`].

mod handshakes;
mod link;
#[cfg(test)]
mod tests;

use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    vec::Vec,
};
use core::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::{
    Epoch, Instant, Rng, ServerId, Target,
    session::{Peer, Role},
    wire::{CloseReason, Frame, Hello},
};
pub use handshakes::{MAX_HANDSHAKES, MAX_HANDSHAKES_PER_SOURCE};
use link::{Link, Stage};

/// Bytes that may be with the driver and not written yet.
pub const WINDOW: usize = 256 * 1024;
/// Bytes that may wait here for one link; whoever reads more slowly than that
/// is closed.
pub const MAX_QUEUED: usize = 64 * 1024 * 1024;
/// Links in all.
pub const MAX_LINKS: usize = 16_384;
/// How long a connection may take, with its handshake.
const DIAL_DEADLINE: Duration = Duration::from_secs(3);
/// How often a link that was sent something and gave no sign is asked for one.
const PING_AFTER: Duration = Duration::from_secs(2);
/// When it is given up.
const DEAD_AFTER: Duration = Duration::from_secs(8);
/// When a link to a server that nobody wants is closed.
const IDLE_AFTER: Duration = Duration::from_secs(60);
/// When a link that has been silent is asked for a sign, sent to or not: the
/// other end may be gone without having said so.
const SILENT_AFTER: Duration = Duration::from_secs(15);
/// Between dials of one server that fail.
const BACKOFF: Duration = Duration::from_millis(200);
const MAX_BACKOFF: Duration = Duration::from_secs(4);

/// A session, as the node and its driver name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// Who is at the other end of a link that is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Other {
    /// A server, at this start.
    Server(ServerId, Epoch),
    /// A client, by the number of its session.
    Client(u64),
}

/// What links want done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Connect, shake hands, and report under this number.
    Dial {
        /// The link's number.
        link: LinkId,
        /// Where.
        addr: SocketAddr,
        /// Who must answer.
        expect: Option<ServerId>,
    },
    /// Send this.
    Send {
        /// On which link.
        link: LinkId,
        /// What.
        frame: Frame,
    },
    /// End the session, after what was sent before.
    Close {
        /// Which link.
        link: LinkId,
        /// Why.
        reason: CloseReason,
    },
    /// A link can be used from now on.
    Up(LinkId, Other),
    /// A link cannot be used any more; what was on it is lost.
    Down(LinkId, Other),
    /// A server that was wanted could not be dialled, by a dial that began then.
    Failed(ServerId, Instant),
    /// Nobody could be dialled there, by a dial that began then.
    Unreached(Target, Instant),
    /// A server has said who it is; the link may yet prove one too many.
    Greeted {
        /// Who.
        id: ServerId,
        /// What it says of itself.
        hello: Hello,
        /// Where it was dialled, if this end did.
        dialled: Option<SocketAddr>,
    },
    /// A peer said this.
    Frame(LinkId, Other, Frame),
    /// When [`Links::handle_timeout`] wants to be called with this timer, or
    /// that it does not.
    Timer(Timer, Option<Instant>),
}

/// Why links want to be called at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// A connection may take too long.
    Dial(LinkId),
    /// A link may be silent.
    Check(LinkId),
    /// A link to a server may be of no use.
    Idle(LinkId),
}

/// All links of one server.
#[derive(Debug)]
pub struct Links {
    me: ServerId,
    rng: Rng,
    links: BTreeMap<LinkId, Link>,
    servers: BTreeMap<ServerId, LinkId>,
    dials: BTreeMap<ServerId, Dial>,
    kept: BTreeSet<ServerId>,
    /// Handshakes under way that others began, by address.
    handshakes: BTreeMap<IpAddr, usize>,
    next: u64,
    out: VecDeque<Output>,
}

/// What came of dialling a server so far.
#[derive(Debug, Default)]
struct Dial {
    /// The link that is under way.
    link: Option<LinkId>,
    /// When the last one that failed began.
    since: Instant,
    failures: u32,
    not_before: Instant,
}

impl Dial {
    const fn forgive(&mut self) {
        (self.failures, self.not_before) = (0, Instant::ZERO);
    }
}

impl Links {
    /// No links yet, of server `me`.
    pub fn new(me: ServerId, rng: Rng) -> Self {
        Self {
            me,
            rng,
            links: BTreeMap::new(),
            servers: BTreeMap::new(),
            dials: BTreeMap::new(),
            kept: BTreeSet::new(),
            handshakes: BTreeMap::new(),
            next: 0,
            out: VecDeque::new(),
        }
    }

    /// The world happened: the handshake on a link is done. `hello` is what this
    /// server says of itself.
    pub fn handle_up(&mut self, now: Instant, link: LinkId, peer: Peer, hello: Hello) {
        let Some(found) = self.links.get_mut(&link) else {
            return;
        };
        let dialled = match found.stage {
            Stage::Incoming { source } => {
                self.forget_handshake(source);
                None
            }
            Stage::Dialling { addr, .. } => Some(addr),
            _ => return,
        };
        self.out.push_back(Output::Timer(Timer::Dial(link), None));
        let Some(found) = self.links.get_mut(&link) else {
            return;
        };
        match peer.role {
            Role::Client => {
                let session = self.rng.u64();
                found.stage = Stage::Up(Other::Client(session));
                self.send(now, link, Frame::Hello(hello));
                self.out.push_back(Output::Up(link, Other::Client(session)));
            }
            Role::Server => {
                found.stage = Stage::Greeting { peer: peer.id, dialled };
                self.send(now, link, Frame::Hello(hello));
            }
        }
    }

    /// The world happened: a connection could not be made, or is gone.
    pub fn handle_down(&mut self, now: Instant, link: LinkId) {
        self.drop_link(now, link);
    }

    /// The world happened: a frame came.
    pub fn handle_frame(&mut self, now: Instant, link: LinkId, frame: Frame) {
        let Some(found) = self.links.get_mut(&link) else {
            return; // closed here already
        };
        found.heard = now;
        found.awaiting = None;
        match (found.stage, frame) {
            (_, Frame::Ping(number)) => self.send(now, link, Frame::Pong(number)),
            (_, Frame::Pong(_)) => {}
            (Stage::Greeting { peer, dialled }, Frame::Hello(hello)) => self.greeted(now, link, peer, dialled, hello),
            (Stage::Up(other), frame) if !matches!(frame, Frame::Hello(_) | Frame::Close(_)) => {
                if matches!(frame, Frame::Packet(..)) {
                    found.used = now;
                }
                self.out.push_back(Output::Frame(link, other, frame));
            }
            _ => self.close(now, link, CloseReason::Protocol),
        }
    }

    /// The world happened: the driver has written frames of this size.
    pub fn handle_written(&mut self, now: Instant, link: LinkId, cost: usize) {
        if let Some(found) = self.links.get_mut(&link) {
            found.with_driver = found.with_driver.saturating_sub(cost);
            // On a slow link the question whether anybody is there stands behind
            // what is being written; that it is taken says enough. What fits the
            // socket at once says nothing.
            if found.awaiting.is_some() && found.with_driver + found.queued > 0 {
                found.awaiting = Some(now);
            }
            found.pump(link, &mut self.out);
        }
    }

    /// The world happened: a timer went off.
    pub fn handle_timeout(&mut self, now: Instant, timer: Timer) {
        match timer {
            Timer::Dial(link) => self.close(now, link, CloseReason::Done),
            Timer::Check(link) => self.check(now, link),
            Timer::Idle(link) => self.check_use(now, link),
        }
    }

    /// A command: links to these servers, and no others, stay when they are
    /// not used.
    pub fn keep(&mut self, servers: BTreeSet<ServerId>) {
        self.kept = servers;
    }

    /// A command: send `frame`. A link that has too much waiting is closed.
    pub fn send(&mut self, now: Instant, link: LinkId, frame: Frame) {
        let Some(found) = self.links.get_mut(&link) else {
            return;
        };
        // An answer is not answered, or two ends would never be quiet, and
        // membership looks after itself.
        if found.awaiting.is_none() && !matches!(frame, Frame::Pong(_) | Frame::Member(_)) {
            found.awaiting = Some(now);
            if found.check_at > now + PING_AFTER {
                found.check_at = now + PING_AFTER;
                self.out.push_back(Output::Timer(Timer::Check(link), Some(found.check_at)));
            }
        }
        found.push(frame);
        found.pump(link, &mut self.out);
        if found.queued > MAX_QUEUED {
            self.close(now, link, CloseReason::Slow);
        }
    }

    /// A command: have a link to a server, if it can be dialled. What comes of
    /// it is [`Output::Up`] or [`Output::Failed`].
    pub fn want(&mut self, now: Instant, id: ServerId, addr: SocketAddr) {
        if self.servers.contains_key(&id) || id == self.me {
            return;
        }
        let dial = self.dial_of(now, id);
        if dial.link.is_some() {
            return;
        }
        if dial.not_before > now {
            let since = dial.since;
            return self.out.push_back(Output::Failed(id, since));
        }
        let link = self.next();
        self.dial_of(now, id).link = Some(link);
        self.dial(now, link, addr, Some(id));
    }

    /// A command: a server is there again, and can be dialled at once.
    pub fn forgive(&mut self, id: ServerId) {
        if let Some(dial) = self.dials.get_mut(&id) {
            dial.forgive();
        }
    }

    /// A command: that servers could not be dialled before says nothing.
    pub fn forgive_all(&mut self) {
        self.dials.values_mut().for_each(Dial::forgive);
    }

    /// A command: have a link to whoever is at `target`. What comes of it is
    /// [`Output::Greeted`] or [`Output::Unreached`].
    pub fn reach(&mut self, now: Instant, target: Target) {
        let Target { addr, expect } = target;
        let there = |link: &Link| {
            let same = |to, id| to == addr && id == expect;
            matches!(link.stage, Stage::Dialling { addr, id, .. } if same(addr, id))
        };
        if !self.links.values().any(there) {
            let link = self.next();
            self.dial(now, link, addr, expect);
        }
    }

    fn dial(&mut self, now: Instant, link: LinkId, addr: SocketAddr, expect: Option<ServerId>) {
        self.links.insert(link, Link::new(now, Stage::Dialling { id: expect, addr }));
        self.out.push_back(Output::Dial { link, addr, expect });
        self.out.push_back(Output::Timer(Timer::Dial(link), Some(now + DIAL_DEADLINE)));
    }

    /// A command: end a link.
    pub fn close(&mut self, now: Instant, link: LinkId, reason: CloseReason) {
        if self.links.contains_key(&link) {
            self.out.push_back(Output::Close { link, reason });
            self.drop_link(now, link);
        }
    }

    /// A command: end all links.
    pub fn close_all(&mut self, now: Instant, reason: CloseReason) {
        let all: Vec<LinkId> = self.links.keys().copied().collect();
        for link in all {
            self.close(now, link, reason);
        }
    }

    /// The link to a server, if one is up.
    pub fn to_server(&self, id: ServerId) -> Option<LinkId> {
        self.servers.get(&id).copied()
    }

    /// What now?
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// Every link: who it is with, and the bytes that wait on it.
    pub fn iter(&self) -> impl Iterator<Item = (LinkId, Option<Other>, usize)> {
        self.links.iter().map(|(&id, link)| (id, link.other(), link.queued + link.with_driver))
    }

    fn next(&mut self) -> LinkId {
        self.next += 1;
        LinkId(self.next)
    }

    /// Both ends have said who they are: decides which link to this server
    /// stays. Each server's own dials replace each other; of two that met, the
    /// one that the lower id dialled stays, as both ends find alike.
    fn greeted(&mut self, now: Instant, link: LinkId, peer: ServerId, dialled: Option<SocketAddr>, hello: Hello) {
        let other = Other::Server(peer, hello.epoch);
        if peer == self.me {
            return self.close(now, link, CloseReason::Done);
        }
        self.out.push_back(Output::Greeted { id: peer, hello, dialled });
        let dialled = dialled.is_some();
        self.forgive(peer); // should it be lost, it can be dialled at once
        if let Some(before) = self.to_server(peer) {
            let before_dialled = self.links.get(&before).is_some_and(|link| link.dialled);
            let mine_stays = self.me < peer;
            if dialled != before_dialled && before_dialled == mine_stays {
                return self.close(now, link, CloseReason::Duplicate);
            }
            self.close(now, before, CloseReason::Duplicate);
        }
        if let Some(found) = self.links.get_mut(&link) {
            found.stage = Stage::Up(other);
            found.dialled = dialled;
            found.used = now;
            self.servers.insert(peer, link);
            self.out.push_back(Output::Up(link, other));
            self.out.push_back(Output::Timer(Timer::Idle(link), Some(now + IDLE_AFTER)));
        }
    }

    /// Whether a link is silent. While something is awaited it is asked every
    /// [`PING_AFTER`], and otherwise after [`SILENT_AFTER`].
    fn check(&mut self, now: Instant, link: LinkId) {
        let Some(found) = self.links.get_mut(&link) else {
            return;
        };
        let next = match found.awaiting {
            Some(since) if now.since(since) >= DEAD_AFTER => return self.close(now, link, CloseReason::Idle),
            Some(since) if now.since(since) < PING_AFTER => since + PING_AFTER,
            None if now.since(found.heard) < SILENT_AFTER => found.heard + SILENT_AFTER,
            awaiting => {
                found.awaiting = awaiting.or(Some(now));
                found.push(Frame::Ping(now.as_micros()));
                found.pump(link, &mut self.out);
                now + PING_AFTER
            }
        };
        found.check_at = next;
        self.out.push_back(Output::Timer(Timer::Check(link), Some(next)));
    }

    /// Whether a link to a server is still of use.
    fn check_use(&mut self, now: Instant, link: LinkId) {
        let Some(found) = self.links.get(&link) else {
            return;
        };
        let kept = found.other_server().is_some_and(|id| self.kept.contains(&id));
        if !kept && found.used + IDLE_AFTER <= now {
            return self.close(now, link, CloseReason::Idle);
        }
        let next = if kept { now } else { found.used } + IDLE_AFTER;
        self.out.push_back(Output::Timer(Timer::Idle(link), Some(next)));
    }

    /// Forgets a link, and says so if it was up.
    fn drop_link(&mut self, now: Instant, link: LinkId) {
        let Some(found) = self.links.remove(&link) else {
            return;
        };
        for timer in [Timer::Check(link), Timer::Dial(link), Timer::Idle(link)] {
            self.out.push_back(Output::Timer(timer, None));
        }
        match found.stage {
            Stage::Incoming { source } => self.forget_handshake(source),
            Stage::Dialling { id, addr } => {
                if let Some(id) = id {
                    self.dial_failed(now, id, found.since);
                }
                self.out.push_back(Output::Unreached(Target { addr, expect: id }, found.since));
            }
            // One that is too many is no failure.
            Stage::Greeting { peer: id, dialled: Some(_) } if !self.servers.contains_key(&id) => {
                self.dial_failed(now, id, found.since);
            }
            Stage::Up(other) => {
                if let Other::Server(id, _) = other {
                    self.servers.remove(&id); // the only one that is up
                }
                self.out.push_back(Output::Down(link, other));
            }
            Stage::Greeting { .. } => {}
        }
        if let Some(dial) = found.other_server().and_then(|id| self.dials.get_mut(&id))
            && dial.link == Some(link)
        {
            dial.link = None;
        }
    }

    fn dial_failed(&mut self, now: Instant, id: ServerId, since: Instant) {
        let jitter = Duration::from_millis(self.rng.below(100));
        let dial = self.dial_of(now, id);
        let wait = BACKOFF * (1 << dial.failures.min(6));
        dial.failures += 1;
        dial.not_before = now + wait.min(MAX_BACKOFF) + jitter;
        dial.since = dial.since.max(since);
        if !self.servers.contains_key(&id) {
            self.out.push_back(Output::Failed(id, since));
        }
    }

    /// What came of dialling a server. Of servers that were not dialled for
    /// long nothing is kept, once there are many.
    fn dial_of(&mut self, now: Instant, id: ServerId) -> &mut Dial {
        if self.dials.len() >= MAX_LINKS {
            self.dials.retain(|_, dial| dial.link.is_some() || dial.not_before > now);
        }
        self.dials.entry(id).or_default()
    }
}
