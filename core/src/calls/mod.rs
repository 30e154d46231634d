//! Calls at their host: who asks, what was asked already, and what came of it.
//!
//! A client attaches and gets a registration. Under it every call has a number,
//! and what is asked again under the same number is answered again, not done
//! again: the answer is kept until the client says that it has come. When the
//! client's way breaks, its calls go on; when it stays away for longer than
//! [`GRACE`] they end, and after [`MEMORY`] the registration itself is
//! forgotten, under which nothing executes any more.
//!
//! A call starts with [`Output::Start`] and ends with [`Calls::answer`]; between
//! them its streams flow. Nothing here knows what any call means.

mod call;
mod chunks;
pub mod intervals;
mod registration;
pub mod stream;
#[cfg(test)]
mod tests;

use alloc::{
    collections::{BTreeMap, VecDeque},
    string::String,
    sync::Arc,
};
use core::time::Duration;

use bytes::Bytes;

use crate::{
    Error, ErrorKind, Instant, Path, Rng, ServerId,
    codec::DecodeError,
    wire::{
        Load,
        call::{Attach, ToClient, ToHost},
        op::{Op, Reply},
    },
};
pub(crate) use chunks::Chunks;
use registration::{Opening, Registration};
use stream::{Piece, Refused};

/// How long a client may be away before its calls end.
pub const GRACE: Duration = Duration::from_secs(30);
/// How long after a client's last sign its registration is forgotten.
pub const MEMORY: Duration = Duration::from_secs(600);
/// The most registrations of one server.
pub const MAX_REGISTRATIONS: usize = 65_536;
/// The most calls of one registration that are open, or answered without the
/// client having said so.
pub const MAX_CALLS: usize = 16_384;

/// A call, as its host names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallKey {
    /// The client's registration.
    pub registration: u64,
    /// The call's number under it.
    pub seq: u64,
}

/// The way back to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// The server it dialled.
    pub via: ServerId,
    /// Its session there.
    pub session: u64,
}

/// What the calls want done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// A call is to be executed, for the first and only time.
    Start {
        /// Which.
        key: CallKey,
        /// What is asked.
        op: Op,
        /// What has come of its inbound stream.
        input: Bytes,
        /// Whether that is all of it.
        ended: bool,
    },
    /// More of a call's inbound stream has come.
    Input {
        /// Of which call.
        key: CallKey,
        /// The bytes.
        bytes: Bytes,
        /// Whether that was all.
        end: bool,
    },
    /// The client has used up the outbound stream to here; the end counts as
    /// one byte.
    Acked {
        /// Of which call.
        key: CallKey,
        /// The offset.
        acked: u64,
    },
    /// The call should end without effect if it still can; it must be answered
    /// in any case.
    Cancel {
        /// Which call.
        key: CallKey,
        /// `Cancelled`, `Timeout`, or `Disconnected` for a client that stayed
        /// away too long.
        why: ErrorKind,
    },
    /// The client is away: nothing should be given to this call.
    Away(CallKey),
    /// The client is back.
    Back(CallKey),
    /// Something to send to a client.
    Packet {
        /// Which way.
        way: Way,
        /// Whether it may wait behind what is short.
        bulk: bool,
        /// A [`ToClient`] and its payload.
        load: Load,
    },
    /// A call was answered: for the log.
    Executed {
        /// Who asked.
        who: Arc<str>,
        /// For what.
        verb: &'static str,
        /// Where.
        path: Path,
        /// What came of it, if not success.
        error: Option<ErrorKind>,
    },
    /// When [`Calls::handle_timeout`] wants to be called with this timer, or
    /// that it does not.
    Timer(Timer, Option<Instant>),
}

/// Why the calls want to be called at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// A call's deadline.
    Deadline(CallKey),
    /// A client has been away for [`GRACE`].
    Grace(u64),
    /// A client gave no sign for [`MEMORY`].
    Forget(u64),
}

/// All calls of one host.
#[derive(Debug)]
pub struct Calls {
    start: u32,
    rng: Rng,
    registrations: BTreeMap<u64, Registration>,
    by_client: BTreeMap<u128, u64>,
    by_way: BTreeMap<Way, u64>,
    out: VecDeque<Output>,
}

impl Calls {
    /// No calls yet, at the host's `start`-th start.
    pub fn new(start: u32, rng: Rng) -> Self {
        Self {
            start,
            rng,
            registrations: BTreeMap::new(),
            by_client: BTreeMap::new(),
            by_way: BTreeMap::new(),
            out: VecDeque::new(),
        }
    }

    /// The world happened: a client sent the body of a packet.
    ///
    /// # Errors
    /// [`DecodeError`] when it does not parse; nothing has changed.
    pub fn handle_packet(&mut self, now: Instant, way: Way, load: Load) -> Result<(), DecodeError> {
        let (message, payload) = load.to_host()?;
        if let ToHost::Attach(attach) = message {
            self.attach(now, way, &attach);
            return Ok(());
        }
        let Some(&id) = self.by_way.get(&way) else {
            self.reply(way, ToClient::Unattached);
            return Ok(());
        };
        let Some(registration) = self.registrations.get_mut(&id) else {
            return Ok(());
        };
        match message {
            ToHost::Attach(_) => {}
            ToHost::Call { seq, deadline, acked, limit, again, ended, op } => {
                registration.call(seq, op, Opening { now, acked, limit, again, ended, input: payload }, &mut self.out);
                if let Some(deadline) = deadline {
                    self.set_deadline(now, CallKey { registration: id, seq }, deadline);
                }
            }
            ToHost::Data { seq, offset, end } => {
                let piece = Piece { offset, bytes: payload, end };
                if registration.data(seq, piece, &mut self.out) == Err(Refused::Gap) {
                    self.reply(way, ToClient::Unattached);
                }
            }
            ToHost::Credit { seq, acked, limit } => registration.credit(seq, acked, limit, &mut self.out),
            ToHost::Cancel { seq } => registration.cancel(seq, ErrorKind::Cancelled, &mut self.out),
            ToHost::Answered(ranges) => {
                if !registration.answered(&ranges) {
                    self.forget(id);
                }
            }
            ToHost::Detach => self.forget(id),
        }
        Ok(())
    }

    /// The world happened: whatever was on this way is lost, and the client may
    /// be away.
    pub fn handle_lost(&mut self, now: Instant, way: Way) {
        if let Some(id) = self.by_way.remove(&way) {
            self.leave(now, id);
        }
    }

    /// The world happened: a server is gone, or the way to it was lost, and all
    /// clients that dialled it with it.
    pub fn handle_lost_server(&mut self, now: Instant, via: ServerId) {
        let from = Way { via, session: 0 };
        let to = Way { via, session: u64::MAX };
        let lost: alloc::vec::Vec<Way> = self.by_way.range(from..=to).map(|(&way, _)| way).collect();
        for way in lost {
            self.handle_lost(now, way);
        }
    }

    /// The world happened: a timer went off.
    pub fn handle_timeout(&mut self, timer: Timer) {
        match timer {
            Timer::Deadline(key) => {
                if let Some(registration) = self.registrations.get_mut(&key.registration) {
                    registration.cancel(key.seq, ErrorKind::Timeout, &mut self.out);
                }
            }
            Timer::Grace(id) => {
                if let Some(registration) = self.registrations.get_mut(&id) {
                    registration.cancel_all(ErrorKind::Disconnected, &mut self.out);
                }
            }
            Timer::Forget(id) => self.forget(id),
        }
    }

    /// A command: `key` has come to this.
    pub fn answer(&mut self, key: CallKey, result: Result<Reply, Error>) {
        if let Some(registration) = self.registrations.get_mut(&key.registration) {
            registration.answer(key.seq, result, &mut self.out);
        }
    }

    /// A command: add to the outbound stream of `key`.
    pub fn write(&mut self, key: CallKey, bytes: Bytes, end: bool) {
        if let Some(registration) = self.registrations.get_mut(&key.registration) {
            registration.write(key.seq, bytes, end, &mut self.out);
        }
    }

    /// A command: what the outbound stream of `key` brings was given to another
    /// before.
    pub fn mark_again(&mut self, key: CallKey) {
        if let Some(registration) = self.registrations.get_mut(&key.registration) {
            registration.mark_again(key.seq);
        }
    }

    /// A command: the inbound stream of `key` was used up to `acked` and may be
    /// sent to `limit`.
    pub fn grant(&mut self, key: CallKey, acked: u64, limit: u64) {
        if let Some(registration) = self.registrations.get_mut(&key.registration) {
            registration.grant(key.seq, acked, limit, &mut self.out);
        }
    }

    /// What now?
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// How many registrations, and how many calls that are open or whose answer
    /// is kept.
    pub fn count(&self) -> (usize, usize) {
        (self.registrations.len(), self.registrations.values().map(|r| r.calls.len()).sum())
    }

    /// The calls that are open: who asked for what, where, and when.
    pub fn open(&self) -> impl Iterator<Item = (&str, &'static str, &Path, Instant)> {
        self.registrations.values().flat_map(|of| {
            let open = of.calls.values().filter(|call| call.is_open());
            open.map(|call| (&*of.label, call.verb, &call.path, call.since))
        })
    }

    fn attach(&mut self, now: Instant, way: Way, attach: &Attach) {
        let known = self.by_client.get(&attach.client).copied();
        let before = known.and_then(|id| self.registrations.get(&id));
        if before.is_some_and(|before| attach.attempt <= before.attempt) {
            return; // overtaken, on another way, by a later attachment
        }
        let id = match (attach.registration, known) {
            (0, known) if known.is_some() || self.registrations.len() < MAX_REGISTRATIONS => self.register(attach),
            (named, Some(id)) if named == id => id,
            _ => return self.reply(way, ToClient::Forgotten { attempt: attach.attempt }),
        };
        let Some(registration) = self.registrations.get_mut(&id) else {
            return;
        };
        registration.attempt = attach.attempt;
        if let Some(before) = registration.way.replace(way) {
            self.by_way.remove(&before);
        }
        // Whoever was on this way before has lost it.
        if let Some(other) = self.by_way.insert(way, id).filter(|&other| other != id) {
            self.leave(now, other);
        }
        self.reply(way, ToClient::Attached { attempt: attach.attempt, registration: id, start: self.start });
        self.out.push_back(Output::Timer(Timer::Grace(id), None));
        self.out.push_back(Output::Timer(Timer::Forget(id), None));
        if let Some(registration) = self.registrations.get_mut(&id) {
            if registration.answered(&attach.answered) {
                registration.come_back(&mut self.out);
            } else {
                self.forget(id);
            }
        }
    }

    fn register(&mut self, attach: &Attach) -> u64 {
        let mut id = self.rng.u64().max(1);
        while self.registrations.contains_key(&id) {
            id = self.rng.u64().max(1);
        }
        let label: String = attach.label.chars().filter(|c| !c.is_control()).take(64).collect();
        self.registrations.insert(id, Registration::new(id, attach.client, label.into()));
        if let Some(before) = self.by_client.insert(attach.client, id) {
            self.forget(before);
            self.by_client.insert(attach.client, id);
        }
        id
    }

    /// The client of a registration may be away.
    fn leave(&mut self, now: Instant, id: u64) {
        if let Some(registration) = self.registrations.get_mut(&id) {
            registration.leave(&mut self.out);
            self.out.push_back(Output::Timer(Timer::Grace(id), Some(now + GRACE)));
            self.out.push_back(Output::Timer(Timer::Forget(id), Some(now + MEMORY)));
        }
    }

    fn set_deadline(&mut self, now: Instant, key: CallKey, remaining: u64) {
        let call = self.registrations.get_mut(&key.registration).and_then(|r| r.open_call(key.seq));
        if let Some(call) = call.filter(|call| !call.has_deadline) {
            call.has_deadline = true;
            let at = now + Duration::from_micros(remaining);
            self.out.push_back(Output::Timer(Timer::Deadline(key), Some(at)));
        }
    }

    /// Ends the registration and all its calls: what is open is cancelled, and
    /// the answers go nowhere.
    fn forget(&mut self, id: u64) {
        let Some(mut registration) = self.registrations.remove(&id) else {
            return;
        };
        self.by_client.remove(&registration.client);
        if let Some(way) = registration.way.take() {
            self.by_way.remove(&way);
        }
        registration.cancel_all(ErrorKind::Disconnected, &mut self.out);
        for seq in registration.open_seqs() {
            // There is no way any more: this only logs, and stops the clock.
            registration.answer(seq, Err(ErrorKind::Disconnected.into()), &mut self.out);
        }
        self.out.push_back(Output::Timer(Timer::Grace(id), None));
        self.out.push_back(Output::Timer(Timer::Forget(id), None));
    }

    fn reply(&mut self, way: Way, message: ToClient) {
        self.out.push_back(Output::Packet { way, bulk: false, load: Load::from_host(message, Bytes::new()) });
    }
}
