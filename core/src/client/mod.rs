//! A client: calls to any host, over one connection that may break.
//!
//! The client dials one server and reaches every host through it. When the
//! connection breaks it dials again, the same server or another; when anything
//! breaks further on it is told. Either way it attaches to its hosts again, asks
//! again whatever was not answered, and goes on with every stream where it was;
//! the host does nothing twice. Only what nobody can know is left to the
//! caller, as [`ErrorKind::Unknown`].
//!
//! Driven like a [`crate::node::Node`]: `handle_*`, then `poll_output` to the
//! end.

mod attach;
mod call;
mod connection;
mod host;
#[cfg(test)]
mod tests;
mod traffic;

use alloc::{
    collections::{BTreeMap, VecDeque},
    string::String,
    vec::Vec,
};
use core::time::Duration;

use bytes::Bytes;

use crate::{
    Error, ErrorKind, Instant, Rng, ServerId, Target,
    timers::Timers,
    wire::{
        CloseReason, Frame, Loss,
        call::ToHost,
        op::{Op, Reply},
    },
};
use call::Call;
use connection::Connection;
use host::Host;

/// For how long a lost connection, or a host out of reach, is tried again
/// before the calls that wait for it fail.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How long after the last sign of a host what was asked there is kept; its
/// registration is forgotten by then.
const MEMORY: Duration = crate::calls::MEMORY;
/// What callers may write of a stream ahead of what its host has used up.
pub const WRITE_AHEAD: u64 = 1024 * 1024;
/// The most late answers that are kept for whoever asks again.
const MAX_TRUTHS: usize = 1_024;
/// How long after a call's deadline its host may take to say so.
const LATE: Duration = Duration::from_secs(2);

/// A call, as its caller names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// What a caller asks of a host.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// What is asked.
    pub op: Op,
    /// How long it may take.
    pub deadline: Option<Duration>,
    /// All of the stream to the host, if it is known; otherwise it is written
    /// with [`Client::write`], and ended with [`Client::end`].
    pub input: Option<Bytes>,
}

impl From<Op> for Request {
    fn from(op: Op) -> Self {
        Self { op, deadline: None, input: None }
    }
}

/// What a client wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Connect and shake hands as a client. What was connected before is gone.
    Dial(Target),
    /// Send this.
    Send(Frame),
    /// End the connection, after what was sent before.
    Close(CloseReason),
    /// Something to tell a caller.
    Event(Event),
}

/// What a caller is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The connection is up.
    Connected(ServerId),
    /// The connection is lost; it is being made again.
    Reconnecting,
    /// More of a call's stream; to be acknowledged with [`Client::consumed`].
    Data {
        /// Of which call.
        call: CallId,
        /// The bytes.
        bytes: Bytes,
        /// Whether the stream ends with them.
        end: bool,
        /// Whether it was given to another before, who was lost.
        again: bool,
    },
    /// More may be written to a call's stream: its host has used up the first
    /// `acked` bytes.
    Room {
        /// Of which call.
        call: CallId,
        /// How many in all.
        acked: u64,
    },
    /// The one answer of a call. After [`ErrorKind::Unknown`] alone it can be
    /// asked for again, with [`Client::ask_again`].
    Answer {
        /// Of which call.
        call: CallId,
        /// What came of it.
        result: Result<Reply, Error>,
    },
}

/// Why a client wants to be called at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// The next server should be dialled.
    Dial,
    /// A dial takes too long.
    Dialling,
    /// The connection was lost too long ago.
    Patience,
    /// The connection may be silent.
    Silence,
    /// A host should be attached to again.
    Attach(ServerId),
    /// A host was out of reach too long.
    Unreachable(ServerId),
    /// Nothing is known of a host any more.
    Forget(ServerId),
    /// A host should be told which answers have come.
    Answered(ServerId),
    /// A call's host should have said that its deadline has passed.
    Deadline(CallId),
}

/// A client. The module's documentation says how to drive it.
#[derive(Debug)]
pub struct Client {
    id: u128,
    label: String,
    rng: Rng,
    connection: Connection,
    hosts: BTreeMap<ServerId, Host>,
    /// Counts attachments, to all hosts: one that was forgotten here may still
    /// know the last.
    attempts: u32,
    /// Where every call is that a caller may still ask about. Those to
    /// whichever server is dialled wait under [`ServerId::DIAL_IN`] for one.
    calls: BTreeMap<CallId, (ServerId, u64)>,
    /// What came of calls that were given up as Unknown, until somebody asks.
    truths: BTreeMap<CallId, Result<Reply, Error>>,
    front: Front,
}

impl Client {
    /// A client that dials one of `targets` as soon as it has something to ask.
    /// `label` is what it calls itself in logs.
    pub fn new(label: String, targets: Vec<Target>, seed: [u8; 32]) -> Self {
        let mut rng = Rng::new(seed);
        Self {
            id: rng.u128(),
            label,
            connection: Connection::new(targets),
            rng,
            hosts: BTreeMap::new(),
            attempts: 0,
            calls: BTreeMap::new(),
            truths: BTreeMap::new(),
            front: Front::default(),
        }
    }

    /// A command: ask `host` for something, as the call `id`, which must be new.
    /// [`ServerId::DIAL_IN`] stands for whichever server is dialled, which only
    /// reads may use.
    pub fn call(&mut self, now: Instant, id: CallId, host: ServerId, request: Request) {
        let Request { op, deadline, input } = request;
        let deadline = deadline.map(|deadline| now + deadline);
        if let Some(deadline) = deadline {
            self.front.timers.set(Timer::Deadline(id), Some(deadline + LATE));
        }
        let any = host == ServerId::DIAL_IN;
        let host = self.connection.server().filter(|_| any).unwrap_or(host);
        let mut call = Call::new(id, op, deadline, any);
        if let Some(input) = input {
            call.input.write(input);
            call.input.end();
        }
        self.place(now, host, call);
        self.connect(now);
    }

    /// A command: add to the stream that a call sends to its host.
    pub fn write(&mut self, now: Instant, call: CallId, bytes: Bytes) {
        self.with_call(now, call, |call| call.input.write(bytes));
    }

    /// A command: end the stream that a call sends to its host.
    pub fn end(&mut self, now: Instant, call: CallId) {
        self.with_call(now, call, |call| call.input.end());
    }

    /// A command: the caller is done with `count` more bytes of a call's
    /// stream, and with its end if `end`.
    pub fn consumed(&mut self, now: Instant, call: CallId, count: usize, end: bool) {
        let open = self.calls.len();
        self.with_call(now, call, |call| call.consume(count, end, open));
    }

    /// A command: end a call without effect, if it still can be. The answer
    /// comes in any case.
    pub fn cancel(&mut self, now: Instant, call: CallId) {
        match self.find(call) {
            Some(found) if !found.sent => self.fail_call(now, call, ErrorKind::Cancelled, ""),
            _ => self.with_call(now, call, |call| call.cancel = true),
        }
    }

    /// A command: nobody is interested in a call any more. It is cancelled, and
    /// no event of it follows.
    pub fn abandon(&mut self, now: Instant, call: CallId) {
        if let Some(found) = self.find(call) {
            found.reported = true;
            self.cancel(now, call);
            self.calls.remove(&call);
            self.front.timers.set(Timer::Deadline(call), None);
        }
    }

    /// A command: a call was answered with [`ErrorKind::Unknown`]; tell me the
    /// truth as soon as somebody knows it. False if nobody ever will.
    pub fn ask_again(&mut self, now: Instant, call: CallId) -> bool {
        if let Some(result) = self.truths.remove(&call) {
            self.front.event(Event::Answer { call, result });
            return true;
        }
        let Some(&(host, _)) = self.calls.get(&call) else {
            return false;
        };
        if let Some(found) = self.find(call) {
            found.reported = false;
        }
        self.connect(now);
        self.attach(now, host);
        true
    }

    /// A command: this client is done. Its hosts are told, and nothing of it is
    /// kept.
    pub fn close(&mut self) {
        let attached: Vec<ServerId> =
            self.hosts.iter().filter(|(_, host)| host.is_attached()).map(|(&id, _)| id).collect();
        for host in attached {
            self.front.send(host, ToHost::Detach, Bytes::new(), false);
        }
        self.hosts.clear();
        self.calls.clear();
        self.front.timers = Timers::default();
        if self.connection.close() {
            self.front.out.push_back(Output::Close(CloseReason::Done));
        }
    }

    /// The world happened: a frame came.
    pub fn handle_frame(&mut self, now: Instant, frame: Frame) {
        self.connection.heard = now;
        match frame {
            Frame::Ping(number) => self.front.out.push_back(Output::Send(Frame::Pong(number))),
            Frame::Hello(hello) => self.connection.learn(&hello),
            Frame::Packet(route, load) => match load.to_client() {
                Ok((message, payload)) => self.handle_message(now, route.host, message, payload),
                Err(_) => self.hang_up(now),
            },
            Frame::Lost(route, loss) => self.handle_loss(now, route.host, loss),
            // The last is between servers.
            Frame::Pong(_) | Frame::Close(_) | Frame::Member(_) => {}
        }
    }

    /// The world happened: it is `now`. Harmless when nothing is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.front.timers.pop(now) {
            match timer {
                Timer::Dial => self.dial(now),
                Timer::Dialling => self.hang_up(now),
                Timer::Patience => self.give_up(now),
                Timer::Silence => self.check_silence(now),
                Timer::Attach(host) => self.attach(now, host),
                Timer::Unreachable(host) => self.fail_host(now, host, ErrorKind::Unreachable, "no way to it was found"),
                Timer::Forget(host) => self.forget(now, host),
                Timer::Answered(host) => self.send_answered(host),
                Timer::Deadline(call) => self.fail_call(now, call, ErrorKind::Timeout, ""),
            }
        }
    }

    /// What now?
    pub fn poll_output(&mut self) -> Option<Output> {
        self.front.out.pop_front()
    }

    /// What now? When [`Client::handle_timeout`] wants to be called, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        self.front.timers.next()
    }

    /// The server that is dialled.
    pub const fn dial_in(&self) -> Option<ServerId> {
        self.connection.server()
    }

    /// How many calls are not answered.
    pub fn open(&self) -> usize {
        self.calls.len()
    }

    /// Puts a call with its host, and sends it if the way is open.
    fn place(&mut self, now: Instant, host: ServerId, call: Call) {
        let id = call.id;
        let found = self.hosts.entry(host).or_default();
        if found.calls.is_empty() {
            // It is of use again.
            let forget = (!found.is_attached()).then_some(now + MEMORY);
            self.front.timers.set(Timer::Forget(host), forget);
        }
        let seq = found.add(call);
        self.calls.insert(id, (host, seq));
        self.attach(now, host);
        self.pump(now, host, seq);
    }

    fn find(&mut self, call: CallId) -> Option<&mut Call> {
        let (host, seq) = self.calls.get(&call)?;
        self.hosts.get_mut(host)?.calls.get_mut(seq).map(|call| &mut **call)
    }

    fn with_call(&mut self, now: Instant, call: CallId, act: impl FnOnce(&mut Call)) {
        let Some(&(host, seq)) = self.calls.get(&call) else {
            return;
        };
        if let Some(found) = self.find(call) {
            act(found);
            self.pump(now, host, seq);
        }
    }

    /// Ends a call without having heard from its host. If it was sent, and it
    /// changes something, nobody can say what came of it; then it is cancelled
    /// and stays, so that the truth can be asked for.
    fn fail_call(&mut self, now: Instant, id: CallId, kind: ErrorKind, detail: &str) {
        let Some(&(host, seq)) = self.calls.get(&id) else {
            return;
        };
        let Some(found) = self.hosts.get_mut(&host) else {
            return;
        };
        let Some(call) = found.calls.get_mut(&seq) else {
            return;
        };
        call.cancel = true; // nobody waits for it any more
        if call.is_unknowable() {
            return self.front.finish(call, Err(Error::new(ErrorKind::Unknown, detail)));
        }
        let error = Error::new(kind, detail).at(call.place(host));
        self.front.finish(call, Err(error));
        self.calls.remove(&id);
        if call.sent {
            self.pump(now, host, seq); // it should end there too
        } else {
            found.retire(seq);
        }
    }

    fn handle_loss(&mut self, now: Instant, host: ServerId, loss: Loss) {
        match loss {
            Loss::Reset => self.reset(now, host),
            Loss::Unreachable => self.unreachable(now, host),
            Loss::Gone => self.fail_host(now, host, ErrorKind::Unreachable, "the server has left the circuit"),
            // A dial-in server that has only just started does not know it yet.
            Loss::NotFound if self.hosts.get(&host).is_some_and(|host| host.registration != 0) => {
                self.unreachable(now, host);
            }
            Loss::NotFound => self.fail_host(now, host, ErrorKind::NotFound, "no server of this id was ever seen"),
        }
    }
}

/// What faces the caller: what it is told, and when something is due.
#[derive(Debug, Default)]
struct Front {
    timers: Timers<Timer>,
    out: VecDeque<Output>,
}

impl Front {
    fn set_unless_set(&mut self, timer: Timer, at: Instant) {
        if !self.timers.is_set(timer) {
            self.timers.set(timer, Some(at));
        }
    }

    fn event(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }

    /// Gives the caller the answer, unless it had one or does not want it.
    fn finish(&mut self, call: &mut Call, result: Result<Reply, Error>) {
        if !call.reported {
            call.reported = true;
            self.timers.set(Timer::Deadline(call.id), None);
            self.event(Event::Answer { call: call.id, result });
        }
    }
}
