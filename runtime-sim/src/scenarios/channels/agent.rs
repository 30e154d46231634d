//! What one client does at random, and what it expects.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use circuit_core::{
    Error, ErrorKind, Path, ServerId,
    client::{CallId, Event, Request},
    wire::op::{Op, Reply},
};

use super::books::{Books, MessageId};
use crate::{ClientIndex, ServerIndex, Sim};

/// Wakes a client to begin something new.
pub(super) const ACT: u64 = 0;
/// Messages that stream in are written in pieces of this size.
const PIECE: usize = 10_000;

/// A call that is open.
#[derive(Clone, Debug)]
pub(super) enum Doing {
    Make,
    Send {
        message: MessageId,
        left: usize,
    },
    Recv {
        channel: usize,
        got: Vec<u8>,
        ended: bool,
        draining: bool,
    },
    /// An anchor of its own: make it, look at it, remove it. Whether all before
    /// this was certain.
    Own(Own),
}

#[derive(Clone, Debug)]
pub(super) struct Own {
    server: ServerIndex,
    host: ServerId,
    path: Path,
    stage: Stage,
    certain: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Make,
    Peek,
    Scrub,
}

impl Own {
    fn op(&self) -> Op {
        let path = self.path.clone();
        match self.stage {
            Stage::Make => Op::MakeChan { path, cap: 1 },
            Stage::Peek => Op::Peek(path),
            Stage::Scrub => Op::Scrub(path),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Agent {
    open: BTreeMap<CallId, Doing>,
    names: u64,
    /// How many clients there were in this place before.
    life: usize,
}

impl Agent {
    pub(super) fn open(&self) -> Option<(CallId, String)> {
        let words = |doing: &Doing| match doing {
            Doing::Recv { channel, got, ended, .. } => {
                format!(
                    "recv from channel {channel}, {} bytes of message {}, ended: {ended}",
                    got.len(),
                    message_id(got)
                )
            }
            other => format!("{other:?}"),
        };
        self.open.iter().next().map(|(&call, doing)| (call, words(doing)))
    }

    pub(super) fn cancel_all(&self, sim: &mut Sim, client: ClientIndex) {
        for &call in self.open.keys() {
            sim.client(client, |client, now| client.cancel(now, call));
        }
    }

    /// The client was killed; its calls will not be answered.
    pub(super) fn replaced(&mut self, sim: &mut Sim, client: ClientIndex, books: &mut Books) {
        for (_, doing) in std::mem::take(&mut self.open) {
            if let Doing::Recv { got, ended: true, .. } = doing {
                books.received(sim, message_id(&got), None);
            }
        }
        books.replaced(client);
        self.life += 1;
    }

    pub(super) fn make_channel(&mut self, sim: &mut Sim, client: ClientIndex, books: &mut Books, channel: usize) {
        let of = &mut books.channels[channel];
        let host = sim.server_id(of.server);
        of.host = Some(host);
        let op = Op::MakeChan { path: path_of(channel), cap: of.cap };
        let call = sim.call_id();
        sim.client(client, |client, now| client.call(now, call, host, op.into()));
        self.open.insert(call, Doing::Make);
    }

    pub(super) fn recv(&mut self, sim: &mut Sim, client: ClientIndex, books: &Books, channel: usize, draining: bool) {
        let Some(host) = books.channels[channel].host else { return };
        let try_only = draining || sim.rng().chance(1, 8);
        let deadline = (!draining && sim.rng().chance(1, 8)).then(|| Duration::from_millis(sim.rng().below(3_000)));
        let op = Op::Recv { path: path_of(channel), try_only };
        let call = sim.call_id();
        sim.client(client, |client, now| client.call(now, call, host, Request { op, deadline, input: None }));
        self.open.insert(call, Doing::Recv { channel, got: Vec::new(), ended: false, draining });
    }

    pub(super) fn wake(&mut self, sim: &mut Sim, client: ClientIndex, books: &mut Books, token: u64, stopped: bool) {
        if token != ACT {
            return self.proceed(sim, client, CallId(token));
        }
        if stopped {
            return;
        }
        let next = Duration::from_millis(sim.rng().below(400));
        sim.wake_after(client, next, ACT);
        if self.open.len() > 12 {
            return;
        }
        let channel = sim.rng().below(books.channels.len() as u64) as usize;
        match sim.rng().below(10) {
            0..4 => self.send(sim, client, books, channel),
            4..8 if self.may_receive(books, client, channel) => self.recv(sim, client, books, channel, false),
            8 => self.begin_own(sim, client, books, channel),
            _ => {
                let open: Vec<CallId> = self.open.keys().copied().collect();
                if let Some(&call) = open.get(sim.rng().below(open.len().max(1) as u64) as usize) {
                    sim.client(client, |client, now| client.cancel(now, call));
                }
            }
        }
    }

    /// The only consumer of a channel receives one message after the other.
    fn may_receive(&self, books: &Books, client: ClientIndex, channel: usize) -> bool {
        let busy = |doing: &Doing| matches!(doing, Doing::Recv { channel: of, .. } if *of == channel);
        match books.channels[channel].consumer {
            Some(consumer) => consumer == client && !self.open.values().any(busy),
            None => true,
        }
    }

    fn send(&mut self, sim: &mut Sim, client: ClientIndex, books: &mut Books, channel: usize) {
        let Some(host) = books.channels[channel].host else { return };
        let try_only = sim.rng().chance(1, 8);
        let deadline = sim.rng().chance(1, 8).then(|| Duration::from_millis(sim.rng().below(3_000)));
        let length = match sim.rng().below(10) {
            0 => 20_000 + sim.rng().below(60_000) as usize,
            1 => 32_760 + sim.rng().below(16) as usize,
            _ => sim.rng().below(300) as usize,
        };
        let message = books.begin(channel, (client, self.life));
        let op = Op::Send { path: path_of(channel), try_only };
        let call = sim.call_id();
        sim.client(client, |client, now| {
            let number = message.to_le_bytes();
            if length < PIECE {
                let input = Some([&number[..], &body(message, length)].concat().into());
                client.call(now, call, host, Request { op, deadline, input });
            } else {
                client.call(now, call, host, Request { op, deadline, input: None });
                client.write(now, call, Bytes::copy_from_slice(&number));
            }
        });
        let left = if length < PIECE { 0 } else { length };
        self.open.insert(call, Doing::Send { message, left });
        if left > 0 {
            sim.wake_after(client, Duration::from_millis(5), call.0);
        }
    }

    fn begin_own(&mut self, sim: &mut Sim, client: ClientIndex, books: &Books, channel: usize) {
        let Some(host) = books.channels[channel].host else { return };
        self.names += 1;
        let path = format!("own/{client}/{}/{}", self.life, self.names).parse().unwrap_or_default();
        let server = books.channels[channel].server;
        self.own(sim, client, Own { server, host, path, stage: Stage::Make, certain: true });
    }

    fn own(&mut self, sim: &mut Sim, client: ClientIndex, own: Own) {
        let call = sim.call_id();
        sim.client(client, |client, now| client.call(now, call, own.host, own.op().into()));
        self.open.insert(call, Doing::Own(own));
    }

    /// More of a message that streams, or the end of one that was read.
    fn proceed(&mut self, sim: &mut Sim, client: ClientIndex, call: CallId) {
        match self.open.get_mut(&call) {
            Some(Doing::Send { message, left }) if *left > 0 => {
                let piece = (*left).min(PIECE);
                let (message, done) = (*message, piece == *left);
                *left -= piece;
                sim.client(client, |client, now| {
                    client.write(now, call, body(message, piece));
                    if done {
                        client.end(now, call);
                    }
                });
                let pause = Duration::from_millis(sim.rng().below(50));
                sim.wake_after(client, pause, call.0);
            }
            Some(Doing::Recv { ended: true, .. }) => {
                sim.client(client, |client, now| client.consumed(now, call, 0, true));
            }
            _ => {}
        }
    }

    pub(super) fn event(&mut self, sim: &mut Sim, client: ClientIndex, books: &mut Books, event: Event) {
        match event {
            Event::Data { call, bytes, end, .. } => {
                let Some(Doing::Recv { got, ended, .. }) = self.open.get_mut(&call) else { return };
                got.extend_from_slice(&bytes);
                *ended |= end;
                sim.client(client, |client, now| client.consumed(now, call, bytes.len(), false));
                if end {
                    // Some applications think before they acknowledge.
                    let thought =
                        Duration::from_millis(if sim.rng().chance(1, 2) { 0 } else { sim.rng().below(2_000) });
                    sim.wake_after(client, thought, call.0);
                }
            }
            Event::Answer { call, result } => self.answered(sim, client, books, call, &result),
            Event::Connected(_) | Event::Reconnecting | Event::Room { .. } => {}
        }
    }

    fn answered(
        &mut self,
        sim: &mut Sim,
        client: ClientIndex,
        books: &mut Books,
        call: CallId,
        result: &Result<Reply, Error>,
    ) {
        let Some(doing) = self.open.remove(&call) else {
            return sim.fail(format!("{call:?} was answered twice: {result:?}"));
        };
        match doing {
            Doing::Make => {
                books.count("make", result);
            }
            Doing::Send { message, .. } => {
                books.count("send", result);
                books.sent(sim, message, result);
            }
            Doing::Recv { channel, got, ended, draining } => {
                books.count("recv", result);
                if result.is_ok() && !ended {
                    sim.fail(format!("{call:?} was answered {result:?} before its message had ended"));
                }
                if ended {
                    check_body(sim, &got);
                    books.received(sim, message_id(&got), Some(result));
                }
                if draining && result.is_ok() {
                    self.recv(sim, client, books, channel, true);
                }
            }
            Doing::Own(own) => {
                books.count(&format!("{:?} own", own.stage), result);
                self.own_answered(sim, client, books, own, result);
            }
        }
    }

    /// An anchor that nobody else uses behaves as if nobody else were there.
    fn own_answered(
        &mut self,
        sim: &mut Sim,
        client: ClientIndex,
        books: &Books,
        mut own: Own,
        result: &Result<Reply, Error>,
    ) {
        let kind = result.as_ref().err().map(|error| error.kind);
        // A server that has only just started has seen nobody yet.
        let unseen = result.as_ref().is_err_and(|error| error.detail.starts_with("no server of this id"));
        if unseen && books.has_any_crashed() {
            return;
        }
        let surprise = match kind {
            Some(ErrorKind::AlreadyExists) => true,
            Some(ErrorKind::NotFound) => own.stage == Stage::Make || own.certain,
            Some(ErrorKind::Invalid | ErrorKind::WrongKind | ErrorKind::QuotaExceeded) => true,
            _ => false,
        };
        if surprise && !books.has_crashed(own.server) {
            return sim.fail(format!("{own:?} was answered {result:?}"));
        }
        own.certain &= result.is_ok();
        own.stage = match (own.stage, kind) {
            (Stage::Make, None) => Stage::Peek,
            (Stage::Make, Some(ErrorKind::Unknown)) | (Stage::Peek, _) => Stage::Scrub,
            _ => return,
        };
        self.own(sim, client, own);
    }
}

fn path_of(channel: usize) -> Path {
    format!("c/{channel}").parse().unwrap_or_default()
}

/// What a message holds after its number.
fn body(message: MessageId, length: usize) -> Bytes {
    Bytes::from(vec![message as u8; length])
}

fn message_id(got: &[u8]) -> MessageId {
    got.first_chunk().map_or(MessageId::MAX, |id| MessageId::from_le_bytes(*id))
}

fn check_body(sim: &mut Sim, got: &[u8]) {
    let id = message_id(got);
    if got.iter().skip(8).any(|&byte| byte != id as u8) {
        sim.fail(format!("message {id} came with another's bytes"));
    }
}
