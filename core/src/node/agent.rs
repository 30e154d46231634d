//! The calls that a server makes itself, for the clauses of its selects.
//!
//! It makes them as any client does, over a session with itself: so what is
//! asked again, resumed, and given up is decided in one place for all. The
//! client is there for as long as there are calls.

use alloc::{collections::VecDeque, format, vec};

use crate::{
    Error, ErrorKind, Instant, Rng, ServerId, Target,
    client::{self, CallId, Client, Event},
    elements::{ElementId, Order},
    links::{LinkId, Other},
    select::MAX_CLAUSES,
    session::{Peer, Role},
    wire::Frame,
};

/// The link of a server with itself, which no other has.
pub(super) const LINK: LinkId = LinkId(0);
/// Who is at its other end.
pub(super) const SELF: Other = Other::Client(1);

/// What the agent wants done.
#[derive(Debug)]
pub(super) enum Output {
    /// Its session begins.
    Up,
    /// Its session ends.
    Down,
    /// It sends this.
    Frame(Frame),
    /// Something came of the call for a clause of a select.
    Event(ElementId, usize, Event),
    /// When [`Agent::handle_timeout`] wants to be called, or that it does not.
    Timer(Option<Instant>),
}

/// The client that a server is.
#[derive(Debug)]
pub(super) struct Agent {
    own: Target,
    me: ServerId,
    rng: Rng,
    client: Option<Client>,
    out: VecDeque<Output>,
}

impl Agent {
    pub(super) fn new(me: ServerId, own: Target, rng: Rng) -> Self {
        Self { own, me, rng, client: None, out: VecDeque::new() }
    }

    /// A command: do this about the call for a clause.
    pub(super) fn order(&mut self, now: Instant, id: ElementId, clause: usize, order: Order) {
        let call = call_of(id, clause);
        match (order, &mut self.client) {
            (Order::Ask(host, op), None) => {
                let label = format!("server {}", self.me);
                let mut client = Client::new(label, vec![self.own], self.rng.seed());
                self.out.push_back(Output::Up);
                client.call(now, call, host, op.into());
                self.client = Some(client);
            }
            (Order::Ask(host, op), Some(client)) => client.call(now, call, host, op.into()),
            (Order::Write(bytes), Some(client)) => client.write(now, call, bytes),
            (Order::End, Some(client)) => client.end(now, call),
            (Order::Used(count, end), Some(client)) => client.consumed(now, call, count, end),
            (Order::Withdraw, Some(client)) => client.abandon(now, call),
            (Order::Time(_), _) | (_, None) => {}
        }
        self.drain(now);
    }

    /// The world happened: something came for it.
    pub(super) fn handle_frame(&mut self, now: Instant, frame: Frame) {
        if let Some(client) = &mut self.client {
            client.handle_frame(now, frame);
            self.drain(now);
        }
    }

    /// The world happened: it is `now`.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let Some(client) = &mut self.client {
            client.handle_timeout(now);
            self.drain(now);
        }
    }

    /// What now?
    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// Whether it has a session.
    pub(super) const fn is_up(&self) -> bool {
        self.client.is_some()
    }

    fn drain(&mut self, now: Instant) {
        let Some(client) = &mut self.client else {
            return;
        };
        while let Some(output) = client.poll_output() {
            match output {
                client::Output::Dial(_) => client.handle_up(now, Peer { role: Role::Server, id: self.me }),
                client::Output::Send(Frame::Ping(number)) => client.handle_frame(now, Frame::Pong(number)),
                client::Output::Send(frame) => self.out.push_back(Output::Frame(frame)),
                client::Output::Event(event) => {
                    let Some(call) = call_in(&event) else { continue };
                    let (id, clause) = clause_of(call);
                    if is_unknown(&event) {
                        client.abandon(now, call); // nobody will ask again
                    }
                    self.out.push_back(Output::Event(id, clause, event));
                }
                client::Output::Close(_) => {}
            }
        }
        self.out.push_back(Output::Timer(client.poll_timeout().map(|(at, _)| at)));
        if client.open() == 0 {
            client.close();
            let last = core::iter::from_fn(|| client.poll_output());
            self.out.extend(last.filter_map(|output| match output {
                client::Output::Send(frame) => Some(Output::Frame(frame)),
                _ => None,
            }));
            self.client = None;
            self.out.extend([Output::Down, Output::Timer(None)]);
        }
    }
}

/// Which call is for a clause.
const fn call_of(id: ElementId, clause: usize) -> CallId {
    CallId(id.0 * MAX_CLAUSES as u64 + clause as u64)
}

/// Which clause a call is for.
const fn clause_of(call: CallId) -> (ElementId, usize) {
    let clauses = MAX_CLAUSES as u64;
    (ElementId(call.0 / clauses), (call.0 % clauses) as usize)
}

const fn call_in(event: &Event) -> Option<CallId> {
    match event {
        Event::Data { call, .. } | Event::Room { call, .. } | Event::Answer { call, .. } => Some(*call),
        Event::Connected(_) | Event::Reconnecting => None,
    }
}

const fn is_unknown(event: &Event) -> bool {
    matches!(event, Event::Answer { result: Err(Error { kind: ErrorKind::Unknown, .. }), .. })
}
