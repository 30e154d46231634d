//! What follows from what: outputs of one part become inputs of another.
//!
//! The parts never call each other. A frame comes up from the links, through
//! the relay to the calls, through the namespace to an element; what the
//! element says goes back down the same way. Each `route_*` below is one part's
//! outputs, all of them, and where each goes.

use alloc::boxed::Box;

use super::{Node, Output, TimerReason};
use crate::{
    Incarnation, Instant, calls, elements,
    links::{self, LinkId, Other},
    namespace, oplog, relay,
    wire::{
        CloseReason, Frame,
        op::{Member, Op, Reply, ServerStat, Stat},
    },
};

impl Node {
    /// Moves outputs from part to part until there are none.
    pub(super) fn route(&mut self, now: Instant) {
        loop {
            if let Some(output) = self.links.poll_output() {
                self.route_links(now, output);
            } else if let Some(output) = self.relay.poll_output() {
                self.route_relay(now, output);
            } else if let Some(output) = self.calls.poll_output() {
                self.route_calls(now, output);
            } else if let Some(output) = self.namespace.poll_output() {
                self.route_namespace(now, output);
            } else if let Some(output) = self.elements.poll_output() {
                self.route_elements(output);
            } else if let Some(output) = self.oplog.poll_output() {
                self.route_oplog(output);
            } else {
                return;
            }
        }
    }

    fn route_links(&mut self, now: Instant, output: links::Output) {
        match output {
            links::Output::Dial { link, addr, expect } => self.out.push_back(Output::Dial { link, addr, expect }),
            links::Output::Send { link, frame } => self.out.push_back(Output::Send { link, frame }),
            links::Output::Close { link, reason } => self.out.push_back(Output::Close { link, reason }),
            links::Output::Up(link, other) => self.relay.handle_up(link, other),
            links::Output::Down(link, other) => self.relay.handle_down(link, other, &self.view),
            links::Output::Failed(id) => self.relay.handle_failed(id, &self.view),
            links::Output::Frame(link, other, frame) => self.route_peer(now, link, other, frame),
            links::Output::Timer(timer, at) => self.timers.set(TimerReason::Links(timer), at),
        }
    }

    /// A frame that is not about the link itself.
    fn route_peer(&mut self, now: Instant, link: LinkId, other: Other, frame: Frame) {
        match frame {
            Frame::Packet(route, load) => self.relay.handle_packet((link, other), route, load, &self.view),
            Frame::Lost(route, loss) => self.relay.handle_lost((link, other), route, loss, &self.view),
            // The links have taken the others.
            Frame::Close(_) | Frame::Ping(_) | Frame::Pong(_) | Frame::Hello(_) => {
                self.links.close(now, link, CloseReason::Protocol);
            }
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
                // Whichever of the two the call waits on.
                self.elements.handle_cancel(key, why);
                self.oplog.handle_cancel(key, why);
            }
            calls::Output::Away(key) => self.elements.handle_away(key),
            calls::Output::Back(key) => self.elements.handle_back(key),
            calls::Output::Packet { way, bulk, load } => self.relay.send_to_client(way, bulk, load, &self.view),
            calls::Output::Executed { who, verb, path, error } => {
                self.oplog.handle_executed(self.wall(now), who, verb, path, error);
            }
            calls::Output::Timer(timer, at) => self.timers.set(TimerReason::Calls(timer), at),
        }
    }

    fn route_namespace(&mut self, now: Instant, output: namespace::Output) {
        match output {
            namespace::Output::Answer { key, result } => self.calls.answer(key, result),
            namespace::Output::Make { key, id, op, input, ended } => self.elements.make(key, id, &op, input, ended),
            namespace::Output::Use { key, id, op, input, ended } => self.elements.start(key, id, &op, input, ended),
            namespace::Output::Remove { key, id } => self.elements.remove(key, id),
            namespace::Output::Server { key, op } => match op {
                Op::Members => self.calls.answer(key, Ok(self.members())),
                Op::Log { after, wait } => self.oplog.read(key, after, wait),
                Op::Peek(_) => self.calls.answer(key, Ok(self.stat(now))),
                _ => self.calls.answer(key, Err(crate::ErrorKind::WrongKind.into())),
            },
        }
    }

    fn route_elements(&mut self, output: elements::Output) {
        match output {
            elements::Output::Answer { key, result } => self.calls.answer(key, result),
            elements::Output::Write { key, bytes, end } => self.calls.write(key, bytes, end),
            elements::Output::Again(key) => self.calls.mark_again(key),
            elements::Output::Grant { key, acked, limit } => self.calls.grant(key, acked, limit),
            elements::Output::Effect(effect) => self.out.push_back(Output::Effect(effect)),
            elements::Output::Vacate(id) => self.namespace.vacate(id),
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
        let member =
            |record: &crate::membership::Record| Member { id: record.id, start: record.epoch.start, addr: record.addr };
        Reply::Members { observer, events: 0, members: self.view.all_live().map(member).collect() }
    }
}
