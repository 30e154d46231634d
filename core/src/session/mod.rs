//! One connection: bytes to frames and back, encrypted.
//!
//! A [`Session`] is a state machine beside a socket. Its driver moves bytes
//! between the two and knows nothing of what they mean:
//!
//! - read into [`Session::read_space`], then say [`Session::handle_read`];
//! - drain [`Session::poll_event`];
//! - write what [`Session::transmit`] shows, then say [`Session::handle_written`];
//! - call [`Session::handle_timeout`] at [`Session::poll_timeout`].
//!
//! The handshake is Noise XXpsk3: the cluster's key admits, the static key
//! names the server. What is refused, and when, is in [`Failure`].

mod handshake;
mod keys;
mod noise;
mod preamble;
mod record;
#[cfg(test)]
mod tests;

use alloc::collections::VecDeque;
use core::{fmt, time::Duration};

use bytes::{Buf, Bytes};
use snow::TransportState;

use crate::{
    Instant, Rng, ServerId,
    codec::DecodeError,
    wire::{CloseReason, Frame},
};
use handshake::{Handshake, Step};
pub use keys::{BadKey, ClusterKey, Credentials, StaticKey};
pub use preamble::VERSION;
pub(crate) use record::PLAIN;
use record::{Incoming, Outgoing};

/// How long a handshake may take.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);

/// What an end of a session is to the circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Uses it.
    Client,
    /// Is a part of it.
    Server,
}

/// Who is at the other end, proven by the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// What it says it is.
    pub role: Role,
    /// The id that belongs to the static key it proved to have.
    pub id: ServerId,
}

/// What a session tells its driver.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The handshake is done; frames may follow.
    Established(Peer),
    /// The peer sent this.
    Frame(Frame),
    /// It is over; nothing follows.
    Closed(Closed),
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The peer said so, and that it said so is authenticated.
    ByPeer(CloseReason),
    /// Something was wrong; nothing more is believed.
    Failed(Failure),
}

/// Why a session failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The first bytes are not of a circuit.
    BadMagic,
    /// The peer speaks a version that is not spoken here.
    Version {
        /// What it speaks.
        theirs: u16,
    },
    /// The peer uses a cluster key that is not known here.
    UnknownKey,
    /// The first message was not made with the key it names.
    BadMac,
    /// The handshake does not hold: a low-order point, another key, a replay.
    Handshake,
    /// Another server answered than the one that was dialled.
    WrongServer {
        /// Who was dialled.
        expected: ServerId,
        /// Who answered.
        found: ServerId,
    },
    /// The handshake took longer than [`HANDSHAKE_DEADLINE`].
    Deadline,
    /// A record of an impossible length.
    RecordLength(usize),
    /// A record that does not open: flipped, dropped, repeated or swapped.
    Tampered,
    /// A frame that does not parse.
    Frame(DecodeError),
    /// The bytes ended without the peer saying that they would.
    Truncated,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadMagic => f.write_str("the other side does not speak the circuit's protocol"),
            Self::Version { theirs } => {
                write!(f, "the other side speaks version {theirs} of the protocol, this one {VERSION}")
            }
            Self::UnknownKey => f.write_str("the other side uses another cluster key"),
            Self::BadMac => f.write_str("the first message was not made with the cluster key"),
            Self::Handshake => f.write_str("the handshake failed"),
            Self::WrongServer { expected, found } => write!(f, "{found} answered where {expected} was dialled"),
            Self::Deadline => f.write_str("the handshake took too long"),
            Self::RecordLength(length) => write!(f, "a record of {length} bytes"),
            Self::Tampered => f.write_str("a record was damaged on the way"),
            Self::Frame(error) => write!(f, "a frame that does not parse: {error}"),
            Self::Truncated => f.write_str("the connection ended in the middle"),
        }
    }
}

impl core::error::Error for Failure {}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        Self::Frame(error)
    }
}

/// One end of a connection. The module's documentation says how to drive it.
pub struct Session {
    state: State,
    incoming: Incoming,
    outgoing: Outgoing,
    /// The plaintext of the record that is being cut into frames.
    plain: Bytes,
    events: VecDeque<Event>,
    deadline: Option<Instant>,
}

enum State {
    Handshake(Handshake),
    Open(TransportState),
    Closed,
}

impl Session {
    /// The end that dials. `expect` is the server that must answer, where it is
    /// known. `rng` must not have been used for another session.
    pub fn dial(credentials: &Credentials, role: Role, expect: Option<ServerId>, rng: &Rng, now: Instant) -> Self {
        let mut session = Self::new(now);
        match Handshake::dial(credentials, role, expect, rng) {
            Ok((handshake, hello)) => {
                session.outgoing.push_clear(&hello);
                session.state = State::Handshake(handshake);
            }
            Err(failure) => session.fail(failure),
        }
        session
    }

    /// The end that was dialled. `rng` must not have been used for another
    /// session.
    pub fn accept(credentials: &Credentials, rng: &Rng, now: Instant) -> Self {
        let mut session = Self::new(now);
        session.state = State::Handshake(Handshake::accept(credentials, rng));
        session
    }

    fn new(now: Instant) -> Self {
        Self {
            state: State::Closed,
            incoming: Incoming::default(),
            outgoing: Outgoing::default(),
            plain: Bytes::new(),
            events: VecDeque::new(),
            deadline: Some(now + HANDSHAKE_DEADLINE),
        }
    }

    /// Where the driver should read the next bytes to; never empty.
    pub fn read_space(&mut self) -> &mut [u8] {
        self.incoming.space()
    }

    /// The world happened: the first `count` bytes of [`Session::read_space`]
    /// came from the peer.
    pub fn handle_read(&mut self, count: usize) {
        self.incoming.filled(count);
        while let State::Handshake(handshake) = &mut self.state {
            match handshake.step(&mut self.incoming, &mut self.outgoing) {
                Ok(Step::Wait) => return,
                Ok(Step::Again) => {}
                Ok(Step::Done(noise, peer)) => {
                    self.state = State::Open(*noise);
                    self.deadline = None;
                    self.events.push_back(Event::Established(peer));
                }
                Err(failure) => return self.fail(failure),
            }
        }
    }

    /// The world happened: the peer will send no more bytes.
    pub fn handle_end(&mut self) {
        if !matches!(self.state, State::Closed) {
            self.fail(Failure::Truncated);
        }
    }

    /// The world happened: it is `now`. Harmless when nothing is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.fail(Failure::Deadline);
        }
    }

    /// A command: queue `frame` for the peer. Before the handshake is done it
    /// waits; after the session has ended it is dropped.
    pub fn send(&mut self, frame: &Frame) {
        if !matches!(self.state, State::Closed) {
            self.outgoing.push(frame);
        }
    }

    /// What now? The next event, one record at a time: a peer cannot make a
    /// session hold more than one record's worth of them.
    pub fn poll_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if !self.plain.is_empty() {
                match Frame::decode(&mut self.plain) {
                    Ok(Frame::Close(reason)) => self.close(Closed::ByPeer(reason)),
                    Ok(frame) => return Some(Event::Frame(frame)),
                    Err(error) => self.fail(error.into()),
                }
                continue;
            }
            let State::Open(noise) = &mut self.state else {
                return None;
            };
            match record::open(&mut self.incoming, noise) {
                Ok(Some(plain)) => self.plain = plain,
                Ok(None) => return None,
                Err(failure) => self.fail(failure),
            }
        }
    }

    /// What now? Bytes to write to the socket; empty when there are none. What
    /// was queued since the last time is sealed together.
    pub fn transmit(&mut self) -> &[u8] {
        let noise = match &mut self.state {
            State::Open(noise) => Some(noise),
            State::Handshake(_) | State::Closed => None,
        };
        self.outgoing.transmit(noise)
    }

    /// The world happened: the socket took `count` bytes of
    /// [`Session::transmit`].
    pub fn handle_written(&mut self, count: usize) {
        self.outgoing.written(count);
    }

    /// Bytes that were queued and that the socket has not taken yet.
    pub fn unsent(&self) -> usize {
        self.outgoing.unsent()
    }

    /// What now? When [`Session::handle_timeout`] wants to be called.
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    fn fail(&mut self, failure: Failure) {
        self.close(Closed::Failed(failure));
    }

    fn close(&mut self, how: Closed) {
        self.state = State::Closed;
        self.deadline = None;
        self.plain.advance(self.plain.len());
        self.events.push_back(Event::Closed(how));
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Handshake(_) => "Session(handshake)",
            State::Open(_) => "Session(open)",
            State::Closed => "Session(closed)",
        })
    }
}
