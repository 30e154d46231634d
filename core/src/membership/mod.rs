//! Who is here, as this server sees it.
//!
//! A [`View`] holds a record of every server, merged by maximum. Records come
//! as news, flooded over the overlay ([`rings`], `flood.rs`), by reconciling
//! two views that differ (`sync.rs`), and from the mouth of the server itself
//! when a link to it comes up. Every server observes its neighbours in the
//! rings (`edges.rs`), and who stands behind them when most are lost
//! (`sweep.rs`); when it cannot reach one it asks the other observers, and a
//! large majority of those that can be asked is a verdict (`inquiry`). A server
//! that hears of its own death refutes it, once it is heard well (`trial.rs`).
//! Seeds and the dead are tried again for ever (`heal.rs`), and who comes back
//! too often has to wait (`admission.rs`).
//!
//! The model for verdicts of many observers is Rapid (Suresh et al., USENIX
//! ATC 2018), for abstaining after a pause of one's own Lifeguard (Dadgar et
//! al., 2018), for refutation by a higher number SWIM (Das et al., DSN 2002).

mod admission;
mod edges;
mod flood;
mod heal;
mod inquiry;
mod message;
mod records;
#[cfg(test)]
mod rig;
pub mod rings;
mod roster;
mod sweep;
mod sync;
mod trial;
mod view;

use alloc::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use core::{cmp::Reverse, net::SocketAddr, time::Duration};

use bytes::Bytes;

use crate::{
    Epoch, Error, Instant, Rng, ServerId, Target, calls::CallKey, codec::DecodeError, links::LinkId, wire::op::Reply,
};
use admission::Admission;
use edges::{Edge, Peer};
use flood::Flood;
use heal::Heal;
use inquiry::Inquiry;
pub use message::{Message, Opinion};
use message::{News, Why};
pub use records::TOMBSTONES;
use rings::Rings;
use sweep::Sweep;
use trial::{Accusation, Trial};
pub use view::{Event, Record, State, View};

/// The most servers, there or gone, that are known.
pub const MAX_SERVERS: usize = 65_536;
/// How long a server that leaves waits for its neighbours to hear of it.
const LEAVE_DEADLINE: Duration = Duration::from_secs(1);
/// How many of them are enough.
const LEAVE_HEARD: usize = 3;
/// A timer this late means that this server itself stood still.
const PAUSE: Duration = Duration::from_secs(1);

/// What membership wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send this to the server at the other end.
    Send(LinkId, Bytes),
    /// Have a link to this server.
    Want(ServerId, SocketAddr),
    /// This server is there again: that it could not be dialled before says nothing.
    Anew(ServerId),
    /// That nobody could be dialled before says nothing: it may have been this end.
    AllAnew,
    /// Have a link to whoever is there.
    Reach(Target),
    /// This link does not work.
    Close(LinkId),
    /// Links to these, and no others, stay when they are not used.
    Keep(BTreeSet<ServerId>),
    /// Somebody joined or left.
    Event(Event),
    /// A call is answered.
    Answer(CallKey, Result<Reply, Error>),
    /// This server has left: it may end.
    Left,
    /// When [`Membership::handle_timeout`] wants to be called.
    Timer(Instant),
}

/// One server's part in the circuit's membership.
#[derive(Debug)]
pub struct Membership {
    me: ServerId,
    /// What this server says of itself: its record in the view.
    own: Record,
    view: View,
    rings: Rings,
    rng: Rng,
    /// The servers that there is a link to.
    peers: BTreeMap<ServerId, Peer>,
    /// The servers that are observed.
    edges: BTreeMap<ServerId, Edge>,
    /// When each is due; some entries are of before.
    beats: BinaryHeap<Reverse<(Instant, ServerId)>>,
    /// When anybody was last heard.
    heard: Instant,
    /// When all were last asked at once whether they are there.
    alarmed: Option<Instant>,
    /// Who is looked at besides, as most neighbours were lost.
    sweep: Sweep,
    /// What other observers think of servers in doubt.
    inquiries: BTreeMap<ServerId, Inquiry>,
    /// Nothing comes of any before this, unless somebody says something.
    inquiries_due: Instant,
    /// Deaths that were heard of second-hand, and when they will be believed.
    accused: BTreeMap<ServerId, (Record, Instant)>,
    /// None of them before this.
    accused_due: Instant,
    /// Who is gone, in the order in which that was learnt.
    gone: VecDeque<ServerId>,
    admission: Admission,
    flood: Flood,
    /// When this server last had its view compared with a neighbour's.
    reconciled: Option<Instant>,
    heal: Heal,
    /// This server is said to be gone.
    accusation: Option<Accusation>,
    /// It was found gone, and looks whether it is heard.
    trial: Option<Trial>,
    leaving: Option<Leaving>,
    /// When the timer is set to go off.
    tick: Option<Instant>,
    out: VecDeque<Output>,
}

#[derive(Debug)]
struct Leaving {
    until: Instant,
    heard: BTreeSet<ServerId>,
    of: usize,
    told: bool,
}

impl Membership {
    /// A server that knows nobody but itself, and where to ask.
    pub fn new(me: Record, seeds: &[Target], rng: Rng) -> Self {
        let mut view = View::default();
        view.put(me);
        let joined = view.admit(me.id).map(Output::Event);
        Self {
            me: me.id,
            own: me,
            view,
            rings: Rings::new(me.id),
            peers: BTreeMap::new(),
            edges: BTreeMap::new(),
            beats: BinaryHeap::new(),
            heard: Instant::ZERO,
            alarmed: None,
            sweep: Sweep::default(),
            inquiries: BTreeMap::new(),
            inquiries_due: Instant::NEVER,
            accused: BTreeMap::new(),
            accused_due: Instant::NEVER,
            gone: VecDeque::new(),
            admission: Admission::default(),
            flood: Flood::default(),
            reconciled: None,
            heal: Heal::new(seeds, me.addr),
            accusation: None,
            trial: None,
            leaving: None,
            tick: None,
            rng,
            out: joined.into_iter().collect(),
        }
    }

    /// The world happened: a server has said who it is, on a link that may be
    /// one too many. `dialled` is where, if this end did.
    pub fn handle_greeted(&mut self, now: Instant, record: Record, dialled: Option<SocketAddr>) {
        self.notice(now);
        self.heal.reached(record.id, dialled);
        let known = self.view.get(record.id);
        if known.is_none_or(|known| known.rank() < record.rank()) {
            self.learn(now, News { record, verdict: true }, None);
        }
        // If there is a link already, this one may never be up.
        if self.peers.contains_key(&record.id) && self.heal.is_reached(record.id) {
            self.send_digest(record.id);
        }
        self.set_timer(now);
    }

    /// The world happened: a link to a server is up.
    pub fn handle_up(&mut self, now: Instant, link: LinkId, id: ServerId) {
        self.notice(now);
        self.peers.insert(id, Peer::new(link));
        self.confront(id);
        self.resume_inquiries(id);
        if self.heal.take_reached(id) {
            self.send_digest(id);
        }
        self.found_link(now, id);
        self.try_on_link(now, id);
        self.set_timer(now);
    }

    /// The world happened: a link to a server is down.
    pub fn handle_down(&mut self, now: Instant, link: LinkId, id: ServerId) {
        self.notice(now);
        if self.peers.get(&id).is_some_and(|peer| peer.link == link) {
            self.peers.remove(&id);
            self.lost_link(now, id);
            if self.is_asked(id) {
                self.want(id);
            }
        }
        self.set_timer(now);
    }

    /// The world happened: a server that was wanted could not be dialled, by a dial
    /// that began at `since`.
    pub fn handle_failed(&mut self, now: Instant, id: ServerId, since: Instant) {
        self.notice(now);
        self.cannot_ask(now, id);
        self.refused(now, id, since);
        self.set_timer(now);
    }

    /// The world happened: nobody could be dialled there, by a dial that began
    /// at `since`.
    pub fn handle_unreached(&mut self, now: Instant, target: Target, since: Instant) {
        self.notice(now);
        self.out.extend(self.heal.unreached(target, since));
        self.set_timer(now);
    }

    /// The world happened: a server said something about membership.
    ///
    /// # Errors
    /// [`DecodeError`] when it makes no sense; nothing has changed.
    pub fn handle_message(&mut self, now: Instant, from: ServerId, body: &[u8]) -> Result<(), DecodeError> {
        let message = Message::decode(body)?;
        self.notice(now);
        match message {
            Message::Beat(beat) => self.beat(now, from, beat),
            Message::News(all) => {
                for news in all {
                    self.learn(now, news, Some(from));
                }
            }
            Message::Opinion { subject, epoch, opinion, ask } => {
                self.opinion(now, from, subject, epoch, opinion, ask);
            }
            Message::Digest(hashes) => self.digest(from, &hashes)?,
            Message::Records { of, parts, records, last } => self.records(now, from, of, parts, &records, last)?,
        }
        self.set_timer(now);
        Ok(())
    }

    /// The world happened: it is `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.notice(now);
        self.tick = None;
        self.check_edges(now);
        self.check_inquiries(now);
        self.check_trial(now);
        self.believe_accusations(now);
        for id in self.admission.due(now) {
            self.admit(now, id);
        }
        self.seek(now);
        if self.flood.due <= now {
            self.flush(now);
        }
        self.set_timer(now);
    }

    /// The world happened: a call should end.
    pub fn handle_cancel(&mut self, key: CallKey, why: crate::ErrorKind) {
        self.out.extend(self.heal.cancel(key, why));
    }

    /// A command: have the circuit of the server at `target` and this one
    /// become one. `key` is answered when both know of each other.
    pub fn join(&mut self, now: Instant, key: CallKey, target: Target) {
        if let Some(refusal) = self.heal.join(now, key, target) {
            return self.out.push_back(refusal);
        }
        match target.expect.filter(|id| self.peers.contains_key(id)) {
            Some(id) => {
                self.heal.reached(id, Some(target.addr));
                self.heal.take_reached(id);
                self.send_digest(id);
            }
            None => self.out.push_back(Output::Reach(target)),
        }
        self.set_timer(now);
    }

    /// A command: try to reach `target`, now and whenever it is not here.
    pub fn add_seed(&mut self, now: Instant, target: Target) {
        self.heal.add(target);
        self.set_timer(now);
    }

    /// A command: somebody is at `target`, perhaps; try once, if it is not here.
    pub fn meet(&mut self, target: Target) {
        if target.expect.is_none_or(|id| self.view.live(id).is_none()) {
            self.out.push_back(Output::Reach(target));
        }
    }

    /// A command: leave. [`Output::Left`] follows when enough have heard of it,
    /// or after a second.
    pub fn leave(&mut self, now: Instant) {
        if self.leaving.is_some() {
            return;
        }
        self.own.state = State::Left;
        let record = self.own;
        let left = self.view.put(record);
        self.out.extend(left.map(Output::Event));
        self.flood.push(News { record, verdict: true }, None, now);
        let of = self.flood_targets(now).len();
        self.leaving = Some(Leaving { until: now + LEAVE_DEADLINE, heard: BTreeSet::new(), of, told: false });
        for id in self.flush(now) {
            self.send_beat(id, Why::Neighbour);
        }
        self.set_timer(now);
    }

    /// What now?
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// What it knows.
    pub const fn view(&self) -> &View {
        &self.view
    }

    /// This server's own epoch.
    pub const fn epoch(&self) -> Epoch {
        self.own.epoch
    }

    /// Whom it observes, and what it thinks of them.
    pub fn observed(&self) -> impl Iterator<Item = (ServerId, Opinion)> {
        self.edges.iter().map(|(&id, edge)| (id, self.opinion_by(id, edge)))
    }

    /// How many it observes.
    pub fn degree(&self) -> usize {
        self.edges.len()
    }

    /// How many of the gone it keeps in mind.
    pub fn tombstones(&self) -> usize {
        self.gone.len()
    }

    /// How much it keeps that should pass: inquiries, accusations, servers that
    /// wait to be let in, and news.
    pub fn unsettled(&self) -> [usize; 4] {
        [self.inquiries.len(), self.accused.len(), self.admission.waiting(), self.flood.len()]
    }

    /// Says something to a server. If there is no link to it the message is
    /// lost and a link wanted: what is of weight is said again when it is up.
    fn say(&mut self, to: ServerId, message: &Message) {
        match self.peers.get(&to) {
            Some(peer) => self.out.push_back(Output::Send(peer.link, message.encode())),
            None => self.want(to),
        }
    }

    /// Closes the link to a server, if there is one: perhaps a new connection works.
    fn close_link(&mut self, id: ServerId) {
        self.out.extend(self.peers.get(&id).map(|peer| Output::Close(peer.link)));
    }

    /// If this server stood still, whatever it waited for may be here already,
    /// and what it was told before counts for nothing.
    fn notice(&mut self, now: Instant) {
        if self.tick.is_some_and(|tick| tick + PAUSE <= now) {
            self.tick = None;
            self.excuse_all(now);
            self.excuse_trial(now);
            self.inquire_anew(now);
            self.defer_accusations(now);
        }
    }

    fn heard_of_leaving(&mut self, from: ServerId) {
        if let Some(leaving) = &mut self.leaving {
            leaving.heard.insert(from);
        }
    }

    fn check_leaving(&mut self, now: Instant) {
        if let Some(leaving) = &mut self.leaving
            && !leaving.told
            && (leaving.heard.len() >= LEAVE_HEARD.min(leaving.of) || leaving.until <= now)
        {
            leaving.told = true;
            self.out.push_back(Output::Left);
        }
    }

    /// Sets the timer to what is due first.
    fn set_timer(&mut self, now: Instant) {
        self.check_leaving(now);
        let leaving = self.leaving.as_ref().filter(|leaving| !leaving.told).map(|leaving| leaving.until);
        let due = [
            self.edges_due(),
            self.quiet_until(),
            Some(self.inquiries_due),
            self.trial_due(),
            Some(self.accused_due),
            self.admission.next(),
            Some(self.flood.due),
            Some(self.heal.next()),
            leaving,
        ];
        let next = due.into_iter().flatten().min().unwrap_or(Instant::NEVER).max(now);
        if self.tick.is_none_or(|tick| next < tick) {
            self.tick = Some(next);
            self.out.push_back(Output::Timer(next));
        }
    }
}
