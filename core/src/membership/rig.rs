//! One server's membership, driven by hand: the link to a server has the
//! server's own number, and what is said and told is kept for the test.

use alloc::vec::Vec;
use core::{net::SocketAddr, time::Duration};

use super::{
    Event, Membership, Output, Record, State,
    message::{Beat, Message, News, Opinion, Why},
};
use crate::{Epoch, Error, Instant, Rng, ServerId, Target, calls::CallKey, links::LinkId, wire::op::Reply};

/// The server under test.
pub(super) const ME: ServerId = ServerId(1);

pub(super) fn addr(id: u64) -> SocketAddr {
    ([10, 0, (id >> 8) as u8, id as u8], 11_022).into()
}

/// A server, as it speaks of itself at first.
pub(super) fn alive(id: u64) -> Record {
    Record { id: ServerId(id), epoch: Epoch { start: 1, rise: 0 }, state: State::Alive, addr: addr(id) }
}

pub(super) fn dead(id: u64) -> Record {
    Record { state: State::Dead, ..alive(id) }
}

pub(super) fn target(id: u64) -> Target {
    Target { addr: addr(id), expect: None }
}

pub(super) struct Rig {
    pub(super) one: Membership,
    pub(super) now: Instant,
    /// When it wants to be called.
    tick: Option<Instant>,
    pub(super) said: Vec<(u64, Message)>,
    /// What it asked of others, by beats and opinions, and was not answered.
    asked: Vec<(u64, Message)>,
    pub(super) events: Vec<Event>,
    pub(super) wanted: Vec<u64>,
    pub(super) closed: Vec<u64>,
    pub(super) anew: Vec<u64>,
    pub(super) all_anew: bool,
    pub(super) reached: Vec<Target>,
    pub(super) answers: Vec<(CallKey, Result<Reply, Error>)>,
    pub(super) left: bool,
    /// Who, when asked, says of whom that it is down; all others are well.
    pub(super) down: Vec<(u64, u64)>,
}

impl Rig {
    /// It knows nobody.
    pub(super) fn new() -> Self {
        Self::of(ME.0)
    }

    /// Another than [`ME`], that knows nobody.
    pub(super) fn of(id: u64) -> Self {
        Self::with(id, &[])
    }

    /// It knows nobody, and where to ask.
    pub(super) fn seeded(seeds: &[Target]) -> Self {
        Self::with(ME.0, seeds)
    }

    fn with(id: u64, seeds: &[Target]) -> Self {
        let mut rig = Self {
            one: Membership::new(alive(id), seeds, Rng::from_number(7)),
            now: Instant::ZERO,
            tick: None,
            said: Vec::new(),
            asked: Vec::new(),
            events: Vec::new(),
            wanted: Vec::new(),
            closed: Vec::new(),
            anew: Vec::new(),
            all_anew: false,
            reached: Vec::new(),
            answers: Vec::new(),
            left: false,
            down: Vec::new(),
        };
        rig.act(Membership::handle_timeout);
        rig
    }

    /// It is one of `count` servers, and has a link to each of the others.
    pub(super) fn among(count: u64) -> Self {
        let mut rig = Self::new();
        for id in 2..=count {
            rig.meet(id);
        }
        rig.answer_all(&[]);
        rig.live(Duration::from_millis(20), &[]);
        rig.forget();
        rig
    }

    pub(super) fn act<T>(&mut self, act: impl FnOnce(&mut Membership, Instant) -> T) -> T {
        let result = act(&mut self.one, self.now);
        while let Some(output) = self.one.poll_output() {
            match output {
                Output::Send(link, body) => {
                    let message = Message::decode(&body).unwrap();
                    if matches!(
                        message,
                        Message::Beat(Beat { why: Why::Neighbour | Why::Look, .. })
                            | Message::Opinion { ask: true, .. }
                    ) {
                        self.asked.push((link.0, message.clone()));
                    }
                    self.said.push((link.0, message));
                }
                Output::Want(id, _) => self.wanted.push(id.0),
                Output::Reach(target) => self.reached.push(target),
                Output::Close(link) => self.closed.push(link.0),
                Output::Anew(id) => self.anew.push(id.0),
                Output::AllAnew => self.all_anew = true,
                Output::Keep(_) => {}
                Output::Event(event) => self.events.push(event),
                Output::Answer(key, result) => self.answers.push((key, result)),
                Output::Left => self.left = true,
                Output::Timer(at) => self.tick = Some(self.tick.map_or(at, |tick| tick.min(at))),
            }
        }
        result
    }

    /// Forgets what was said and told so far.
    pub(super) fn forget(&mut self) {
        self.said.clear();
        self.events.clear();
        self.wanted.clear();
        self.closed.clear();
        self.anew.clear();
        self.all_anew = false;
        self.reached.clear();
    }

    /// A link to a server is up, and it says who it is.
    pub(super) fn meet(&mut self, id: u64) {
        self.act(|one, now| one.handle_greeted(now, alive(id), None));
        self.act(|one, now| one.handle_up(now, LinkId(id), ServerId(id)));
    }

    pub(super) fn hear(&mut self, from: u64, message: &Message) {
        let body = message.encode();
        self.act(|one, now| one.handle_message(now, ServerId(from), &body)).unwrap();
    }

    pub(super) fn news(&mut self, from: u64, record: Record, verdict: bool) {
        self.hear(from, &Message::News(alloc::vec![News { record, verdict }]));
    }

    pub(super) fn opinion(&mut self, from: u64, subject: u64, opinion: Opinion) {
        let (subject, epoch) = (ServerId(subject), Epoch { start: 1, rise: 0 });
        self.hear(from, &Message::Opinion { subject, epoch, opinion, ask: false });
    }

    /// A server answers whatever it was asked: it is well, and so is everybody.
    pub(super) fn answer(&mut self, from: u64) {
        let (asked, rest) = core::mem::take(&mut self.asked).into_iter().partition(|(of, _)| *of == from);
        self.asked = rest;
        let asked: Vec<(u64, Message)> = asked;
        for (_, message) in asked {
            let answer = match message {
                Message::Beat(Beat { seq, hash, .. }) => Message::Beat(Beat { seq, echo: seq, why: Why::Reply, hash }),
                Message::Opinion { subject, epoch, .. } => {
                    let down = self.down.contains(&(from, subject.0));
                    let opinion = if down { Opinion::Down } else { Opinion::Up };
                    Message::Opinion { subject, epoch, opinion, ask: false }
                }
                other => other,
            };
            self.hear(from, &answer);
        }
    }

    /// Those whom it asked what they think have said so.
    pub(super) fn answered(&mut self) {
        self.asked.retain(|(_, message)| matches!(message, Message::Beat(_)));
    }

    /// All that it is linked to answer, but some.
    pub(super) fn answer_all(&mut self, silent: &[u64]) {
        for id in self.one.peers.keys().map(|id| id.0).filter(|id| !silent.contains(id)).collect::<Vec<_>>() {
            self.answer(id);
        }
    }

    /// The connection to a server breaks, and nobody listens there any more.
    pub(super) fn crash(&mut self, id: u64) {
        self.act(|one, now| one.handle_down(now, LinkId(id), ServerId(id)));
        self.act(|one, now| one.handle_failed(now, ServerId(id), now));
    }

    /// Time passes, the timer goes off whenever it is due, and nobody says
    /// anything.
    pub(super) fn pass(&mut self, span: Duration) {
        self.pass_with(span, |_| ());
    }

    /// Time passes, and everybody but `silent` answers at once.
    pub(super) fn live(&mut self, span: Duration, silent: &[u64]) {
        self.pass_with(span, |rig| rig.answer_all(silent));
    }

    /// It stands still for a while, and goes on.
    pub(super) fn stand_still(&mut self, span: Duration) {
        self.now += span;
        self.pass(Duration::ZERO);
    }

    fn pass_with(&mut self, span: Duration, mut then: impl FnMut(&mut Self)) {
        let end = self.now + span;
        while let Some(tick) = self.tick.filter(|tick| *tick <= end) {
            self.now = self.now.max(tick);
            self.tick = None;
            self.act(Membership::handle_timeout);
            then(self);
        }
        self.now = end;
    }

    /// What was said of a server in news, to anybody.
    pub(super) fn news_of(&self, id: u64) -> Vec<News> {
        let all = self.said.iter().filter_map(|(_, message)| match message {
            Message::News(all) => Some(all),
            _ => None,
        });
        all.flatten().filter(|news| news.record.id == ServerId(id)).copied().collect()
    }

    /// Whether a server is there.
    pub(super) fn sees(&self, id: u64) -> bool {
        self.one.view().live(ServerId(id)).is_some()
    }

    /// Whether it was said that a server left, and nothing else of anybody.
    pub(super) fn only_lost(&self, id: u64) -> bool {
        matches!(self.events[..], [Event { joined: false, id: left, .. }] if left == ServerId(id))
    }
}
