//! Messages to hosts and from them.

use core::time::Duration;

use bytes::Bytes;

use super::{Client, Event, Front, MAX_TRUTHS, Output, Timer, call::Call};
use crate::{
    Error, ErrorKind, Instant, ServerId, codec,
    wire::{
        Frame, Load, Route,
        call::{INITIAL_CREDIT, ToClient, ToHost},
        op::Reply,
        route::End,
    },
};

/// After so many answers, or so long, a host is told which have come.
const TELL_AFTER: u32 = 64;
const TELL_WITHIN: Duration = Duration::from_millis(200);

impl Client {
    pub(super) fn handle_message(&mut self, now: Instant, host: ServerId, message: ToClient, payload: Bytes) {
        match message {
            ToClient::Attached { attempt, registration, start: _ } if self.is_attaching(host, attempt) => {
                self.attached(now, host, registration);
            }
            ToClient::Forgotten { attempt } if self.is_attaching(host, attempt) => self.forgotten(now, host),
            ToClient::Attached { .. } | ToClient::Forgotten { .. } => {} // to an attachment before the last
            ToClient::Unattached => self.reset(now, host),
            ToClient::Data { seq, offset, end, again } => self.data(now, host, seq, (offset, payload, end), again),
            ToClient::Credit { seq, acked, limit } => self.credit(now, host, seq, acked, limit),
            ToClient::Answer { seq, result } => self.answer(now, host, seq, result),
        }
    }

    /// Sends whatever of a call can be sent now.
    pub(super) fn pump(&mut self, now: Instant, host: ServerId, seq: u64) {
        let Some(found) = self.hosts.get_mut(&host) else {
            return;
        };
        let attached = found.is_attached();
        let Some(call) = found.calls.get_mut(&seq).filter(|_| attached) else {
            return;
        };
        let front = &mut self.front;
        if !call.here {
            let (message, payload) = open(call, seq, now);
            front.send(host, message, payload, false);
        }
        if call.cancel && !call.cancel_sent {
            call.cancel_sent = true;
            front.send(host, ToHost::Cancel { seq }, Bytes::new(), false);
        }
        while !call.resuming
            && let Some(piece) = call.input.take_piece()
        {
            front.send(host, ToHost::Data { seq, offset: piece.offset, end: piece.end }, piece.bytes, true);
        }
        if call.should_tell() {
            let (acked, limit) = (call.output.acked(), call.output.limit());
            call.told = (acked, limit);
            front.send(host, ToHost::Credit { seq, acked, limit }, Bytes::new(), false);
        }
    }

    /// Tells a host which answers have come.
    pub(super) fn send_answered(&mut self, host: ServerId) {
        self.front.timers.set(Timer::Answered(host), None);
        let Some(found) = self.hosts.get_mut(&host) else {
            return;
        };
        if found.is_attached() && found.untold_count > 0 {
            let ranges = found.tell();
            self.front.send(host, ToHost::Answered(ranges), Bytes::new(), false);
        }
    }

    /// The caller can ask about a call no more, if it is still the one here.
    pub(super) fn unmap(&mut self, call: super::CallId, host: ServerId, seq: u64) {
        if self.calls.get(&call) == Some(&(host, seq)) {
            self.calls.remove(&call);
        }
    }

    fn data(&mut self, now: Instant, host: ServerId, seq: u64, piece: (u64, Bytes, bool), again: bool) {
        let open = self.calls.len();
        let Some(call) = self.hosts.get_mut(&host).and_then(|host| host.calls.get_mut(&seq)) else {
            return;
        };
        let (offset, bytes, end) = piece;
        let Ok((bytes, end)) = call.output.receive(offset, bytes, end) else {
            return self.reset(now, host);
        };
        if bytes.is_empty() && !end {
            return;
        }
        if call.op.is_read() {
            call.reply.extend_from_slice(&bytes);
            call.consume(bytes.len(), end, open);
            return self.pump_reply(now, host, seq);
        }
        if call.reported {
            call.consume(bytes.len(), false, open); // nobody reads it; the end stays unread
            return self.pump(now, host, seq);
        }
        let call = call.id;
        self.front.event(Event::Data { call, bytes, end, again });
    }

    /// A large reply may be complete.
    fn pump_reply(&mut self, now: Instant, host: ServerId, seq: u64) {
        self.pump(now, host, seq);
        let Some(call) = self.hosts.get_mut(&host).and_then(|host| host.calls.get_mut(&seq)) else {
            return;
        };
        if call.answer.is_some() && call.output.is_ended() {
            let reply = codec::decode_whole(&call.reply)
                .map_err(|error| Error::new(ErrorKind::Invalid, alloc::format!("the reply has {error}")));
            self.conclude(now, host, seq, reply);
        }
    }

    fn credit(&mut self, now: Instant, host: ServerId, seq: u64, acked: u64, limit: u64) {
        let Some(call) = self.hosts.get_mut(&host).and_then(|host| host.calls.get_mut(&seq)) else {
            return;
        };
        let before = call.input.acked();
        call.input.credit(acked, limit);
        call.resuming = false;
        let (call, acked, reported) = (call.id, call.input.acked(), call.reported);
        self.pump(now, host, seq);
        if acked > before && !reported {
            self.front.event(Event::Room { call, acked });
        }
    }

    fn answer(&mut self, now: Instant, host: ServerId, seq: u64, result: Result<Reply, Error>) {
        let Some(call) = self.hosts.get_mut(&host).and_then(|host| host.calls.get_mut(&seq)) else {
            return;
        };
        if result == Ok(Reply::Streamed) {
            call.answer = Some(result);
            return self.pump_reply(now, host, seq);
        }
        self.conclude(now, host, seq, result);
    }

    /// A call is over, as its host says.
    fn conclude(&mut self, now: Instant, host: ServerId, seq: u64, result: Result<Reply, Error>) {
        let Some(found) = self.hosts.get_mut(&host) else {
            return;
        };
        let Some(mut call) = found.retire(seq) else {
            return;
        };
        let tell = found.untold_count >= TELL_AFTER;
        // Hosts know paths beneath themselves only.
        let result = result.map_err(|error| error.at(call.place(host)));
        if call.reported && self.calls.contains_key(&call.id) {
            // It was given up as Unknown: for whoever asks again.
            self.truths.insert(call.id, result.clone());
            if self.truths.len() > MAX_TRUTHS {
                self.truths.pop_first();
            }
        }
        self.unmap(call.id, host, seq);
        self.front.finish(&mut call, result);
        if tell {
            self.send_answered(host);
        } else {
            // Not with the first alone: that may have been a call that was never
            // sent, of which nobody has to hear.
            self.front.set_unless_set(Timer::Answered(host), now + TELL_WITHIN);
        }
    }
}

impl Front {
    pub(super) fn send(&mut self, host: ServerId, message: ToHost, payload: Bytes, bulk: bool) {
        let route = Route { to: End::Host, bulk, hops: 0, host, via: ServerId::DIAL_IN, session: 0 };
        self.out.push_back(Output::Send(Frame::Packet(route, Load::from_client(message, payload))));
    }
}

/// The message that opens a call, with the first piece of its stream.
fn open(call: &mut Call, seq: u64, now: Instant) -> (ToHost, Bytes) {
    let again = call.sent;
    call.sent = true;
    call.here = true;
    call.told = (call.output.acked(), call.output.limit());
    // With the op, it has to fit a packet.
    let first = if call.input.acked() == 0 { call.input.take_up_to(INITIAL_CREDIT + 1) } else { None };
    // The host says where to go on, unless this was all.
    call.resuming = again && !first.as_ref().is_some_and(|piece| piece.end);
    let (payload, ended) = first.map_or((Bytes::new(), false), |piece| (piece.bytes, piece.end));
    let deadline = call.deadline.map(|at| u64::try_from(at.since(now).as_micros()).unwrap_or(u64::MAX));
    let (acked, limit) = (call.output.acked(), call.output.limit());
    (ToHost::Call { seq, deadline, acked, limit, again, ended, op: call.op.clone() }, payload)
}
