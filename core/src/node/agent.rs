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

/// A session of a server with itself: its link, and who is at the other end. Every
/// client has another, so that what comes late for one is not taken for the
/// next one's.
pub(super) type Own = (LinkId, Other);

/// Numbers of links from here on are of servers with themselves.
const FIRST: u64 = 1 << 63;

/// Whether a link is a server's with itself.
pub(super) const fn is_own(link: LinkId) -> bool {
    link.0 >= FIRST
}

/// What the agent wants done.
#[derive(Debug)]
pub(super) enum Output {
    /// A session begins.
    Up(Own),
    /// It ends.
    Down(Own),
    /// It sends this.
    Frame(Own, Frame),
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
    /// Its last session, which is up while there is a client.
    session: Own,
    client: Option<Client>,
    out: VecDeque<Output>,
}

impl Agent {
    pub(super) fn new(me: ServerId, own: Target, rng: Rng) -> Self {
        let session = (LinkId(FIRST), Other::Client(0));
        Self { own, me, rng, session, client: None, out: VecDeque::new() }
    }

    /// A command: do this about the call for a clause.
    pub(super) fn order(&mut self, now: Instant, id: ElementId, clause: usize, order: Order) {
        let call = call_of(id, clause);
        match (order, &mut self.client) {
            (Order::Ask(host, op), None) => {
                let label = format!("server {}", self.me);
                let mut client = Client::new(label, vec![self.own], self.rng.seed());
                self.session = (LinkId(self.session.0.0 + 1), Other::Client(self.rng.u64()));
                self.out.push_back(Output::Up(self.session));
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

    /// The world happened: something came for one of its sessions.
    pub(super) fn handle_frame(&mut self, now: Instant, link: LinkId, frame: Frame) {
        if let Some(client) = self.client.as_mut().filter(|_| self.session.0 == link) {
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
                client::Output::Send(frame) => self.out.push_back(Output::Frame(self.session, frame)),
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
                client::Output::Send(frame) => Some(Output::Frame(self.session, frame)),
                _ => None,
            }));
            self.client = None;
            self.out.extend([Output::Down(self.session), Output::Timer(None)]);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Load, Route, op::Op, route::End};

    #[test]
    fn what_is_late_for_one_client_is_not_taken_for_the_next_ones() {
        let (me, now) = (ServerId(1), Instant::ZERO);
        let own = Target { addr: ([127, 0, 0, 1], 1).into(), expect: Some(me) };
        let mut agent = Agent::new(me, own, Rng::from_number(1));
        let mut session = || {
            let op = Op::Peek("a".parse().expect("a path"));
            agent.order(now, ElementId(1), 0, Order::Ask(ServerId(2), op));
            let begun = core::iter::from_fn(|| agent.poll_output()).find_map(|output| match output {
                Output::Up(own) => Some(own),
                _ => None,
            });
            agent.order(now, ElementId(1), 0, Order::Withdraw);
            begun.expect("a session")
        };
        let (first, second) = (session(), session());
        assert!(first.0 != second.0 && first.1 != second.1 && is_own(first.0) && is_own(second.0));
        agent.order(now, ElementId(1), 0, Order::Ask(ServerId(2), Op::Peek("a".parse().expect("a path"))));
        while agent.poll_output().is_some() {}
        let route = Route { to: End::Client, bulk: false, hops: 0, host: ServerId(2), via: ServerId(0), session: 0 };
        let nonsense = Frame::Packet(route, Load::Encoded(bytes::Bytes::from_static(&[255])));
        agent.handle_frame(now, second.0, nonsense);
        assert!(agent.poll_output().is_none(), "it would have complained");
    }
}
