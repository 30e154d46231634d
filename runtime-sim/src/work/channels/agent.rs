//! What one client does at random, and what it expects.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use circuit_core::{
    Error, ErrorKind, Path, ServerId,
    client::{CallId, Event, Request},
    wire::op::{Op, Reply},
};

use super::books::{Books, MessageId};
use crate::{ClientIndex, ServerIndex, Sim, oracle::Truth};

/// Wakes a client to begin something new.
pub(super) const ACT: u64 = 0;
/// Messages that stream in are written in pieces of this size.
const PIECE: usize = 10_000;

/// A call that is open.
#[derive(Clone, Debug)]
pub(super) enum Doing {
    Make,
    Send {
        channel: usize,
        message: MessageId,
        left: usize,
    },
    Recv {
        channel: usize,
        got: Vec<u8>,
        /// Bytes of it that are not used up yet, and whether its end is not.
        unread: (usize, bool),
        ended: bool,
        /// Whether it was said that another was given the message before.
        again: bool,
        draining: bool,
    },
    /// A message for a channel that is empty, and whether there is room for it.
    Fill {
        channel: usize,
        fits: bool,
    },
    /// An anchor of its own: make it, twice, look at it, remove it, and look
    /// again. Whether all before this was certain.
    Own(Own),
}

impl Doing {
    /// It in words, which a message is not written out in.
    fn words(&self) -> String {
        match self {
            Self::Recv { channel, got, unread, ended, .. } => format!(
                "recv from channel {channel}, {} bytes of message {}, of which {unread:?} unread, ended: {ended}",
                got.len(),
                message_id(got)
            ),
            other => format!("{other:?}"),
        }
    }
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
    Twice,
    Peek,
    Scrub,
    Gone,
}

impl Own {
    fn op(&self) -> Op {
        let path = self.path.clone();
        match self.stage {
            Stage::Make | Stage::Twice => Op::MakeChan { path, cap: 1 },
            Stage::Peek | Stage::Gone => Op::Peek(path),
            Stage::Scrub => Op::Scrub { path, kill: false },
        }
    }

    /// Whether nobody but this client was ever here, and yet it is answered so.
    fn is_surprised_by(&self, kind: Option<ErrorKind>) -> bool {
        match (self.stage, kind) {
            (Stage::Twice, Some(ErrorKind::AlreadyExists)) | (Stage::Gone, Some(ErrorKind::NotFound)) => false,
            (Stage::Twice | Stage::Gone, None) => true,
            (Stage::Make | Stage::Twice, Some(ErrorKind::NotFound)) => true,
            (_, Some(ErrorKind::NotFound)) => self.certain,
            (_, Some(ErrorKind::AlreadyExists | ErrorKind::Invalid)) => true,
            (_, Some(ErrorKind::WrongKind | ErrorKind::QuotaExceeded)) => true,
            _ => false,
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
        self.open.iter().next().map(|(&call, doing)| (call, doing.words()))
    }

    /// What is open on a channel.
    pub(super) fn open_on(&self, channel: usize) -> impl Iterator<Item = (CallId, String)> {
        let is_on = move |doing: &Doing| matches!(doing, Doing::Send { channel: of, .. } | Doing::Recv { channel: of, .. } if *of == channel);
        self.open.iter().filter(move |(_, doing)| is_on(doing)).map(|(&call, doing)| (call, doing.words()))
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
        self.open.insert(
            call,
            Doing::Recv { channel, got: Vec::new(), unread: (0, false), ended: false, again: false, draining },
        );
    }

    /// Puts as much as it buffers into a channel that is empty, and one more.
    pub(super) fn fill(&mut self, sim: &mut Sim, client: ClientIndex, books: &Books, channel: usize) {
        let Some(host) = books.channels[channel].host else { return };
        for place in 0..=books.channels[channel].cap {
            let op = Op::Send { path: path_of(channel), try_only: true };
            let call = sim.call_id();
            let input = Some(Bytes::from_static(b"full"));
            sim.client(client, |client, now| client.call(now, call, host, Request { op, deadline: None, input }));
            self.open.insert(call, Doing::Fill { channel, fits: place < books.channels[channel].cap });
        }
    }

    /// The channels to which all of a message was sent, and those from which one
    /// is awaited, without an answer.
    pub(super) fn waiting(&self) -> (Vec<usize>, Vec<usize>) {
        let sends = self.open.values().filter_map(|doing| match doing {
            Doing::Send { channel, left: 0, .. } => Some(*channel),
            _ => None,
        });
        let recvs = self.open.values().filter_map(|doing| match doing {
            Doing::Recv { channel, .. } => Some(*channel),
            _ => None,
        });
        (sends.collect(), recvs.collect())
    }

    pub(super) fn wake(&mut self, sim: &mut Sim, client: ClientIndex, books: &mut Books, token: u64, stopped: bool) {
        if token != ACT {
            return self.proceed(sim, client, books, CallId(token));
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
            2 if sim.rng().chance(1, 3) => 60_000 + sim.rng().below(200_000) as usize,
            1 => 32_760 + sim.rng().below(16) as usize,
            _ => sim.rng().below(300) as usize,
        };
        let message = books.begin(channel, (client, self.life), length);
        let op = Op::Send { path: path_of(channel), try_only };
        let call = sim.call_id();
        sim.client(client, |client, now| {
            let number = message.to_le_bytes();
            if length < PIECE {
                let input = Some([&number[..], &body(message, 0, length)].concat().into());
                client.call(now, call, host, Request { op, deadline, input });
            } else {
                client.call(now, call, host, Request { op, deadline, input: None });
                client.write(now, call, Bytes::copy_from_slice(&number));
            }
        });
        let left = if length < PIECE { 0 } else { length };
        self.open.insert(call, Doing::Send { channel, message, left });
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
    fn proceed(&mut self, sim: &mut Sim, client: ClientIndex, books: &Books, call: CallId) {
        match self.open.get_mut(&call) {
            Some(Doing::Send { message, left, .. }) if *left > 0 => {
                let piece = (*left).min(PIECE);
                let (message, done) = (*message, piece == *left);
                let from = books.length(message) - *left;
                *left -= piece;
                sim.client(client, |client, now| {
                    client.write(now, call, body(message, from, piece));
                    if done {
                        client.end(now, call);
                    }
                });
                let pause = Duration::from_millis(sim.rng().below(50));
                sim.wake_after(client, pause, call.0);
            }
            Some(Doing::Recv { unread, .. }) => {
                let (used, end) = std::mem::take(unread);
                sim.client(client, |client, now| client.consumed(now, call, used, end));
            }
            _ => {}
        }
    }

    pub(super) fn event(&mut self, sim: &mut Sim, client: ClientIndex, books: &mut Books, event: Event) {
        match event {
            Event::Data { call, bytes, end, again: said } => {
                let Some(Doing::Recv { got, unread, ended, again, .. }) = self.open.get_mut(&call) else { return };
                got.extend_from_slice(&bytes);
                // Some read slowly, and what they have read ends anywhere.
                let used =
                    if sim.rng().chance(3, 4) { bytes.len() } else { sim.rng().below(bytes.len() as u64 + 1) as usize };
                *unread = (unread.0 + bytes.len() - used, unread.1 | end);
                let slow = unread.0 > 0;
                *ended |= end;
                *again |= said;
                if end {
                    check_body(sim, books, got);
                    books.given(sim, message_id(got), *again);
                }
                sim.client(client, |client, now| client.consumed(now, call, used, false));
                if end || slow {
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
            Doing::Recv { channel, got, ended, again, draining, .. } => {
                books.count("recv", result);
                if result.is_ok() && !ended {
                    sim.fail(format!("{call:?} was answered {result:?} before its message had ended"));
                }
                if result.as_ref().is_ok_and(|reply| *reply != Reply::Received { again }) {
                    sim.fail(format!("{call:?} was answered {result:?}, and its message was not (again: {again})"));
                }
                if ended {
                    books.received(sim, message_id(&got), Some(result));
                }
                if draining && result.is_ok() {
                    self.recv(sim, client, books, channel, true);
                }
            }
            Doing::Fill { channel, fits } => {
                let full = result.as_ref().is_err_and(|error| error.kind == ErrorKind::WouldBlock);
                if (full == fits) && (full || result.is_ok()) && !books.has_crashed(books.channels[channel].server) {
                    sim.fail(format!("a message for an empty channel, fits: {fits}, was answered {result:?}"));
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
        if own.is_surprised_by(kind) && !books.has_crashed(own.server) {
            return sim.fail(format!("{own:?} was answered {result:?}"));
        }
        own.certain &= result.is_ok() || (own.stage, kind) == (Stage::Twice, Some(ErrorKind::AlreadyExists));
        own.stage = match (own.stage, kind) {
            (Stage::Make, None) => Stage::Twice,
            (Stage::Twice, _) => Stage::Peek,
            (Stage::Make, Some(ErrorKind::Unknown)) | (Stage::Peek, _) => Stage::Scrub,
            (Stage::Scrub, None) if own.certain => Stage::Gone,
            _ => return,
        };
        self.own(sim, client, own);
    }
}

/// Where a channel is, beneath its server.
pub(crate) fn path_text(channel: usize) -> String {
    format!("c/{channel}")
}

fn path_of(channel: usize) -> Path {
    path_text(channel).parse().unwrap_or_default()
}

/// What a message holds after its number: so many bytes from some place on.
pub(crate) fn body(message: MessageId, from: usize, length: usize) -> Bytes {
    (from as u64..(from + length) as u64).map(|place| (message + 7 * place + place / 251) as u8).collect()
}

pub(crate) fn message_id(got: &[u8]) -> MessageId {
    got.first_chunk().map_or(MessageId::MAX, |id| MessageId::from_le_bytes(*id))
}

pub(crate) fn check_body(sim: &mut impl Truth, books: &Books, got: &[u8]) {
    let id = message_id(got);
    let length = books.length(id);
    if got.get(8..).is_none_or(|got| got != body(id, 0, length)) {
        sim.fail(format!("message {id} of {length} bytes came as {} others", got.len()));
    }
}
