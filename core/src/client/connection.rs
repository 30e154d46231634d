//! The one connection of a client, and whom to dial when it is lost.

use alloc::vec::Vec;
use core::time::Duration;

use super::{Client, Event, Output, PATIENCE, Timer};
use crate::{
    ErrorKind, Instant, ServerId, Target,
    session::Peer,
    wire::{CloseReason, Frame, Hello, MAX_OTHERS},
};

/// How long a connection may take, with its handshake.
const DIAL_DEADLINE: Duration = Duration::from_secs(5);
/// Between dials that fail.
const BACKOFF: Duration = Duration::from_millis(50);
const MAX_BACKOFF: Duration = Duration::from_secs(2);
/// When a server that gave no sign is asked for one, while calls wait.
const PING_AFTER: Duration = Duration::from_secs(4);
/// When it is given up.
const DEAD_AFTER: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Connection {
    stage: Stage,
    /// Where the user said, first; then whom servers named.
    given: Vec<Target>,
    learnt: Vec<Target>,
    /// Which of them is next.
    turn: usize,
    failures: u32,
    pub(super) heard: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nobody needs it.
    Idle,
    /// A dial is due, or under way.
    Dialling,
    Up(ServerId),
}

impl Connection {
    pub(super) const fn new(given: Vec<Target>) -> Self {
        Self { stage: Stage::Idle, given, learnt: Vec::new(), turn: 0, failures: 0, heard: Instant::ZERO }
    }

    pub(super) const fn server(&self) -> Option<ServerId> {
        match self.stage {
            Stage::Up(server) => Some(server),
            _ => None,
        }
    }

    /// The server named others that could be dialled, perhaps not for the first
    /// time. One that has only just started knows of none, and that is no news.
    pub(super) fn learn(&mut self, hello: &Hello) {
        if hello.others.is_empty() {
            return;
        }
        let others = hello.others.iter().take(MAX_OTHERS);
        self.learnt = others.map(|&(id, addr)| Target { addr, expect: Some(id) }).collect();
    }

    /// Nobody needs it any more; whether there was one.
    pub(super) fn close(&mut self) -> bool {
        core::mem::replace(&mut self.stage, Stage::Idle) != Stage::Idle
    }

    fn next_target(&mut self) -> Option<Target> {
        let count = self.given.len() + self.learnt.len();
        let turn = self.turn.checked_rem(count)?;
        self.turn += 1;
        self.given.iter().chain(&self.learnt).nth(turn).copied()
    }
}

impl Client {
    /// A command: here are servers that can be dialled, perhaps the first.
    pub fn learn(&mut self, now: Instant, targets: Vec<Target>) {
        self.connection.given = targets;
        if self.connection.stage == Stage::Dialling {
            self.front.timers.set(Timer::Dial, Some(now));
        }
    }

    /// A command: dial, unless that is done or under way. The first call does so
    /// by itself.
    pub fn connect(&mut self, now: Instant) {
        match self.connection.stage {
            Stage::Idle => {
                self.connection.stage = Stage::Dialling;
                self.connection.failures = 0;
                self.front.timers.set(Timer::Patience, Some(now + PATIENCE));
                self.dial(now);
            }
            Stage::Dialling => {}
            Stage::Up(_) => self.watch_silence(now),
        }
    }

    pub(super) fn dial(&mut self, now: Instant) {
        if self.connection.stage != Stage::Dialling {
            return;
        }
        if let Some(target) = self.connection.next_target() {
            self.front.timers.set(Timer::Dialling, Some(now + DIAL_DEADLINE));
            self.front.out.push_back(Output::Dial(target));
        }
    }

    /// The world happened: the handshake with a server is done.
    pub fn handle_up(&mut self, now: Instant, peer: Peer) {
        if self.connection.stage != Stage::Dialling {
            return;
        }
        self.connection.stage = Stage::Up(peer.id);
        self.connection.failures = 0;
        self.connection.turn = self.connection.turn.saturating_sub(1); // it did well: first next time
        self.connection.heard = now;
        for timer in [Timer::Dial, Timer::Dialling, Timer::Patience] {
            self.front.timers.set(timer, None);
        }
        self.front.event(Event::Connected(peer.id));
        self.move_to(now, peer.id);
        let hosts: Vec<ServerId> =
            self.hosts.iter().filter(|(_, host)| !host.calls.is_empty()).map(|(&id, _)| id).collect();
        for host in hosts {
            self.attach(now, host);
        }
        self.watch_silence(now);
    }

    /// The world happened: the connection could not be made, or is gone.
    pub fn handle_down(&mut self, now: Instant) {
        match self.connection.stage {
            Stage::Idle => return,
            Stage::Dialling => {
                self.connection.failures += 1;
                let wait = BACKOFF * (1 << self.connection.failures.min(6));
                let jitter = Duration::from_millis(self.rng.below(50));
                self.front.timers.set(Timer::Dial, Some(now + wait.min(MAX_BACKOFF) + jitter));
            }
            Stage::Up(_) => {
                self.connection.stage = Stage::Dialling;
                self.front.event(Event::Reconnecting);
                self.front.timers.set(Timer::Patience, Some(now + PATIENCE));
                self.front.timers.set(Timer::Dial, Some(now));
                for (&id, host) in &mut self.hosts {
                    host.detach();
                    self.front.timers.set(Timer::Attach(id), None);
                    self.front.timers.set(Timer::Unreachable(id), None);
                    self.front.timers.set(Timer::Forget(id), Some(now + super::MEMORY));
                }
            }
        }
        self.front.timers.set(Timer::Dialling, None);
        self.front.timers.set(Timer::Silence, None);
    }

    /// Ends the connection from this side, and makes another.
    pub(super) fn hang_up(&mut self, now: Instant) {
        self.front.out.push_back(Output::Close(CloseReason::Done));
        self.handle_down(now);
    }

    /// Nobody could be dialled for too long.
    pub(super) fn give_up(&mut self, now: Instant) {
        self.connection.stage = Stage::Idle;
        self.front.out.push_back(Output::Close(CloseReason::Done)); // a dial may be under way
        for timer in [Timer::Dial, Timer::Dialling] {
            self.front.timers.set(timer, None);
        }
        let calls: Vec<_> = self.calls.keys().copied().collect();
        for call in calls {
            self.fail_call(now, call, ErrorKind::Disconnected, "no server could be dialled for 30 seconds");
        }
    }

    pub(super) fn check_silence(&mut self, now: Instant) {
        let silent = now.since(self.connection.heard);
        if self.connection.server().is_none() || self.calls.is_empty() {
            return;
        }
        if silent >= DEAD_AFTER {
            return self.hang_up(now);
        }
        if silent >= PING_AFTER {
            self.front.out.push_back(Output::Send(Frame::Ping(now.as_micros())));
        }
        self.front.timers.set(Timer::Silence, Some(now + PING_AFTER));
    }

    /// While calls wait, the server is asked for a sign now and then.
    fn watch_silence(&mut self, now: Instant) {
        if !self.front.timers.is_set(Timer::Silence) && !self.calls.is_empty() {
            self.connection.heard = self.connection.heard.max(now);
            self.front.timers.set(Timer::Silence, Some(now + PING_AFTER));
        }
    }

    /// Calls that any server may answer go to the one that is dialled now. Where
    /// they were before, they end.
    fn move_to(&mut self, now: Instant, server: ServerId) {
        let mut moving = Vec::new();
        for (&id, host) in &mut self.hosts {
            if id != server {
                let of = host.calls.values_mut().filter(|call| call.any && !call.reported);
                moving.extend(of.map(|call| {
                    call.reported = true;
                    call.cancel = true;
                    (call.id, call.op.clone(), call.deadline)
                }));
            }
        }
        if let Some(waiting) = self.hosts.remove(&ServerId::DIAL_IN) {
            debug_assert!(waiting.calls.values().all(|call| call.any), "only reads wait for any server");
        }
        for (id, op, deadline) in moving {
            self.place(now, server, super::Call::new(id, op, deadline, true));
        }
    }
}
