//! What follows from what: outputs of one part become inputs of another.
//!
//! The parts never call each other. A frame comes up from the links, through
//! the relay to the calls, through the namespace to an element; what the
//! element says goes back down the same way. Each `route_*` below is one part's
//! outputs, all of them, and where each goes.

use alloc::boxed::Box;
use core::net::SocketAddr;

use super::{Config, Node, Output, TimerReason, agent};
use crate::{
    Incarnation, Instant, calls,
    elements::{self, ElementId, Order},
    links::{self, LinkId, Other},
    membership::{self, Record, State},
    namespace, oplog, relay,
    wire::{
        CloseReason, Frame,
        op::{Kind, Member, Op, Reply, ServerStat, Stat},
    },
};

impl Node {
    /// Moves outputs from part to part until there are none.
    pub(super) fn route(&mut self, now: Instant) {
        loop {
            if let Some(output) = self.links.poll_output() {
                self.route_links(now, output);
            } else if let Some(output) = self.membership.poll_output() {
                // Before any call: who asks sees what this server sees.
                self.route_membership(now, output);
            } else if let Some(output) = self.relay.poll_output() {
                self.route_relay(now, output);
            } else if let Some(output) = self.calls.poll_output() {
                self.route_calls(now, output);
            } else if let Some(output) = self.namespace.poll_output() {
                self.route_namespace(now, output);
            } else if let Some(output) = self.elements.poll_output() {
                self.route_elements(now, output);
            } else if let Some(output) = self.agent.poll_output() {
                self.route_agent(output);
            } else if let Some(output) = self.oplog.poll_output() {
                self.route_oplog(output);
            } else if core::mem::take(&mut self.suicidal) {
                // Behind the answer to whoever told it to.
                self.membership.leave(now);
            } else {
                break;
            }
        }
        if core::mem::take(&mut self.ending) {
            self.out.push_back(Output::Ended);
        }
    }

    fn route_links(&mut self, now: Instant, output: links::Output) {
        match output {
            links::Output::Dial { link, addr, expect } => self.out.push_back(Output::Dial { link, addr, expect }),
            links::Output::Send { link, frame } => self.out.push_back(Output::Send { link, frame }),
            links::Output::Close { link, reason } => self.out.push_back(Output::Close { link, reason }),
            links::Output::Greeted { id, hello, dialled } => {
                let record = Record { id, epoch: hello.epoch, state: State::Alive, addr: hello.addr };
                self.membership.handle_greeted(now, record, dialled);
            }
            links::Output::Up(link, other) => {
                self.relay.handle_up(link, other);
                if let Other::Server(id, _) = other {
                    self.membership.handle_up(now, link, id);
                }
            }
            links::Output::Down(link, other) => {
                self.relay.handle_down(link, other, self.membership.view());
                if let Other::Server(id, _) = other {
                    self.membership.handle_down(now, link, id);
                }
            }
            links::Output::Failed(id, since) => {
                self.relay.handle_failed(id, self.membership.view());
                self.membership.handle_failed(now, id, since);
            }
            links::Output::Unreached(target, since) => self.membership.handle_unreached(now, target, since),
            links::Output::Frame(link, other, frame) => self.route_peer(now, link, other, frame),
            links::Output::Timer(timer, at) => self.timers.set(TimerReason::Links(timer), at),
        }
    }

    /// A frame that is not about the link itself.
    fn route_peer(&mut self, now: Instant, link: LinkId, other: Other, frame: Frame) {
        let view = self.membership.view();
        match frame {
            Frame::Packet(route, load) => self.relay.handle_packet((link, other), route, load, view),
            Frame::Lost(route, loss) => self.relay.handle_lost((link, other), route, loss, view),
            Frame::Member(body) => {
                let understood = match other {
                    Other::Server(id, _) => self.membership.handle_message(now, id, &body).is_ok(),
                    Other::Client(_) => false,
                };
                if !understood {
                    self.links.close(now, link, CloseReason::Protocol);
                }
            }
            // The links have taken the others.
            Frame::Close(_) | Frame::Ping(_) | Frame::Pong(_) | Frame::Hello(_) => {
                self.links.close(now, link, CloseReason::Protocol);
            }
        }
    }

    fn route_membership(&mut self, now: Instant, output: membership::Output) {
        match output {
            membership::Output::Send(link, body) => self.links.send(now, link, Frame::Member(body)),
            membership::Output::Want(id, addr) => self.links.want(now, id, addr),
            membership::Output::Anew(id) => self.links.forgive(id),
            membership::Output::AllAnew => self.links.forgive_all(),
            membership::Output::Reach(target) => self.links.reach(now, target),
            membership::Output::Close(link) => self.links.close(now, link, CloseReason::Idle),
            membership::Output::Keep(servers) => self.links.keep(servers),
            membership::Output::Event(event) => {
                if !event.joined {
                    self.relay.handle_leave(event.id);
                }
                self.elements.handle_event(&event);
                self.name_others(now, event.id);
                self.out.push_back(Output::Member(event));
            }
            membership::Output::Answer(key, result) => self.calls.answer(key, result),
            membership::Output::Left => {
                self.ending = true;
                self.links.close_all(now, CloseReason::Stopping);
            }
            membership::Output::Timer(at) => self.timers.set(TimerReason::Membership, Some(at)),
        }
    }

    fn route_relay(&mut self, now: Instant, output: relay::Output) {
        match output {
            relay::Output::Local(way, load) => {
                if self.calls.handle_packet(now, way, load).is_err() {
                    self.refuse(now, way);
                }
            }
            relay::Output::LocalLost(way) => self.calls.handle_lost(now, way),
            relay::Output::LocalLostServer(id) => self.calls.handle_lost_server(now, id),
            relay::Output::Send(link, frame) if agent::is_own(link) => self.agent.handle_frame(now, link, frame),
            relay::Output::Send(link, frame) => self.links.send(now, link, frame),
            relay::Output::Want(id, addr) => self.links.want(now, id, addr),
        }
    }

    /// A client's packet does not parse. If the client is ours its link is
    /// closed; of another server's all that can be done is not to listen.
    fn refuse(&mut self, now: Instant, way: calls::Way) {
        if let Some(link) = self.relay.client(way) {
            self.links.close(now, link, CloseReason::Protocol);
        } else {
            self.calls.handle_lost(now, way);
        }
    }

    fn route_calls(&mut self, now: Instant, output: calls::Output) {
        match output {
            calls::Output::Start { key, op, input, ended } => self.namespace.start(key, op, input, ended),
            calls::Output::Input { key, bytes, end } => self.elements.handle_input(key, bytes, end),
            calls::Output::Acked { key, acked } => self.elements.handle_acked(key, acked),
            calls::Output::Cancel { key, why } => {
                // Whichever of these the call waits on.
                self.elements.handle_cancel(key, why);
                self.oplog.handle_cancel(key, why);
                self.membership.handle_cancel(key, why);
            }
            calls::Output::Away(key) => self.elements.handle_away(key),
            calls::Output::Back(key) => self.elements.handle_back(key),
            calls::Output::Packet { way, bulk, load } => {
                self.relay.send_to_client(way, bulk, load, self.membership.view());
            }
            calls::Output::Executed { who, verb, path, error } => {
                self.oplog.handle_executed(self.wall(now), who, verb, path, error);
            }
            calls::Output::Timer(timer, at) => self.timers.set(TimerReason::Calls(timer), at),
        }
    }

    fn route_namespace(&mut self, now: Instant, output: namespace::Output) {
        match output {
            namespace::Output::Answer { key, result } => self.calls.answer(key, result),
            namespace::Output::Make { key, id, op: Op::Subscribe { source, .. }, .. } => {
                let present = self.membership.view().sorted().into_iter().map(|record| record.id);
                self.elements.subscribe(key, id, source, present);
            }
            namespace::Output::Make { key, id, op: Op::MakeSelect(_), input, ended } => {
                self.elements.make_select(key, id, self.number(id), input, ended);
            }
            namespace::Output::Make { key, id, op: Op::MakeDns { addr, .. }, .. } => {
                self.elements.make_dns(key, id, addr.unwrap_or_else(|| own_address(&self.config)));
            }
            namespace::Output::Make { key, id, op, input, ended } => self.elements.make(key, id, &op, input, ended),
            namespace::Output::Use { key, id, op, input, ended } => self.elements.start(key, id, &op, input, ended),
            namespace::Output::Remove { key, id, kill } => self.elements.remove(key, id, kill),
            namespace::Output::Server { key, op } => match op {
                Op::Members => self.calls.answer(key, Ok(self.members())),
                Op::Log { start, after, wait } => self.oplog.read(key, start, after, wait),
                Op::Peek(_) => self.calls.answer(key, Ok(self.stat(now))),
                Op::Stack => self.calls.answer(key, Ok(Reply::Text(self.stack(now)))),
                Op::Join(target) => self.membership.join(now, key, target),
                Op::Suicide => {
                    self.calls.answer(key, Ok(Reply::Done));
                    self.suicidal = true;
                }
                op => self.calls.answer(key, Err(elements::wrong_kind(&op, Kind::Server))),
            },
        }
    }

    /// A number that no other select of the circuit has.
    fn number(&self, id: ElementId) -> u128 {
        u128::from(self.config.id.0) << 64 | u128::from(self.config.start) << 40 | u128::from(id.0)
    }

    fn route_elements(&mut self, now: Instant, output: elements::Output) {
        match output {
            elements::Output::Answer { key, result } => self.calls.answer(key, result),
            elements::Output::Write { key, bytes, end } => self.calls.write(key, bytes, end),
            elements::Output::Again(key) => self.calls.mark_again(key),
            elements::Output::Grant { key, acked, limit } => self.calls.grant(key, acked, limit),
            elements::Output::Order { id, clause, order } => {
                let due = match order {
                    Order::Time(after) => Some(Some(now + after)),
                    Order::Withdraw => Some(None),
                    _ => None,
                };
                if let Some(at) = due {
                    self.timers.set(TimerReason::Clause(id, clause), at);
                }
                self.agent.order(now, id, clause, order);
            }
            elements::Output::Effect(effect) => self.out.push_back(Output::Effect(effect)),
            elements::Output::Vacate(id) => self.namespace.vacate(id),
        }
    }

    fn route_agent(&mut self, output: agent::Output) {
        match output {
            agent::Output::Up((link, own)) => self.relay.handle_up(link, own),
            agent::Output::Down((link, own)) => self.relay.handle_down(link, own, self.membership.view()),
            agent::Output::Frame(own, Frame::Packet(route, load)) => {
                self.relay.handle_packet(own, route, load, self.membership.view());
            }
            agent::Output::Frame(..) => {} // it says nothing else to a server
            agent::Output::Event(id, clause, event) => self.elements.handle_call(id, clause, event),
            agent::Output::Timer(at) => self.timers.set(TimerReason::Agent, at),
        }
    }

    fn route_oplog(&mut self, output: oplog::Output) {
        match output {
            oplog::Output::Answer(key, result) => self.calls.answer(key, result),
            oplog::Output::Record(record) => self.out.push_back(Output::Record(record)),
        }
    }

    fn stat(&self, now: Instant) -> Reply {
        let snapshot = self.snapshot();
        Reply::Stat(Box::new(Stat::Server(ServerStat {
            addr: self.config.addr,
            joined: self.config.wall,
            version: env!("CARGO_PKG_VERSION").into(),
            uptime: now.as_micros(),
            members: snapshot.members.len() as u64,
            sessions: snapshot.links.len() as u64,
            elements: snapshot.elements as u64,
            streams: snapshot.waiting as u64,
            bytes: snapshot.links.iter().map(|(_, _, bytes)| *bytes as u64).sum(),
        })))
    }

    fn members(&self) -> Reply {
        let observer = Incarnation { id: self.config.id, start: self.config.start };
        let view = self.membership.view();
        let member = |record: &Record| Member { id: record.id, start: record.epoch.start, addr: record.addr };
        Reply::Members { observer, events: view.events(), members: view.sorted().iter().map(member).collect() }
    }
}

/// Where a name server answers that was given no address: where its server
/// listens. What others dial may be another host's, which forwards it here.
fn own_address(config: &Config) -> SocketAddr {
    let everywhere = config.listen.ip().is_unspecified();
    // Not from the IP alone: a link-local one means nothing without its link.
    let mut own = if everywhere { config.addr } else { config.listen };
    own.set_port(0);
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_server_answers_where_its_server_listens() {
        for (listen, addr, own) in [
            ("10.0.0.7:4", "203.0.113.1:40", "10.0.0.7:0"),
            ("0.0.0.0:4", "10.0.0.8:4", "10.0.0.8:0"),
            ("[::]:4", "[fd00::8]:4", "[fd00::8]:0"),
            ("[fe80::7%3]:4", "203.0.113.1:40", "[fe80::7%3]:0"),
            ("[::]:4", "[fe80::7%3]:4", "[fe80::7%3]:0"),
        ] {
            let (listen, addr) = (listen.parse().unwrap(), addr.parse().unwrap());
            let (seeds, kept) = Default::default();
            let id = crate::ServerId(1);
            let config =
                Config { id, start: 1, addr, listen, wall: 0, seeds, keeps_log: false, containers: None, kept };
            assert_eq!(own_address(&config), own.parse().unwrap());
        }
    }
}
