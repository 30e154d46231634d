//! Opening the way to a host, and what to do when there is none.

use alloc::{boxed::Box, vec::Vec};
use core::time::Duration;

use bytes::Bytes;

use super::{CallId, Client, MEMORY, PATIENCE, Timer, call::Call, host::Phase};
use crate::{
    Error, ErrorKind, Instant, ServerId,
    wire::call::{Attach, ToHost},
};

/// How long an attachment may go without an answer before it is sent again.
const ATTACH_AGAIN: Duration = Duration::from_secs(4);
/// How often a host that is out of reach is told that what it was asked is of
/// no interest any more.
const END_THERE: Duration = Duration::from_secs(5);
/// Between attachments that come to nothing.
const BACKOFF: Duration = Duration::from_millis(100);

impl Client {
    /// Opens the way to `host` unless it is open, or being opened.
    pub(super) fn attach(&mut self, now: Instant, host: ServerId) {
        if host == ServerId::DIAL_IN || self.connection.server().is_none() {
            return;
        }
        let Some(found) = self.hosts.get_mut(&host) else {
            return;
        };
        match found.phase {
            Phase::Attached => return,
            Phase::Attaching(since) if now.since(since) < ATTACH_AGAIN => return,
            _ => {}
        }
        found.phase = Phase::Attaching(now);
        self.attempts += 1;
        found.attempt = self.attempts;
        let attach = ToHost::Attach(Box::new(Attach {
            client: self.id,
            attempt: found.attempt,
            registration: found.registration,
            answered: found.answered(),
            label: self.label.clone(),
        }));
        self.front.timers.set(Timer::Attach(host), Some(now + ATTACH_AGAIN));
        self.front.set_unless_set(Timer::Unreachable(host), now + PATIENCE);
        self.front.set_unless_set(Timer::Forget(host), now + MEMORY);
        self.front.send(host, attach, Bytes::new(), false);
    }

    /// Whether an answer to this attachment is awaited.
    pub(super) fn is_attaching(&self, host: ServerId, attempt: u32) -> bool {
        let found = self.hosts.get(&host);
        found.is_some_and(|host| host.attempt == attempt && matches!(host.phase, Phase::Attaching(_)))
    }

    /// The host has opened the way.
    pub(super) fn attached(&mut self, now: Instant, host: ServerId, registration: u64) {
        let Some(found) = self.hosts.get_mut(&host) else {
            return;
        };
        found.phase = Phase::Attached;
        found.registration = registration;
        found.failures = 0;
        let seqs: Vec<u64> = found.calls.keys().copied().collect();
        for timer in [Timer::Attach(host), Timer::Unreachable(host), Timer::Forget(host)] {
            self.front.timers.set(timer, None);
        }
        for seq in seqs {
            self.pump(now, host, seq);
        }
    }

    /// Something on the way to the host was lost: opens it again, at once the
    /// first time.
    pub(super) fn reset(&mut self, now: Instant, host: ServerId) {
        let Some(found) = self.hosts.get_mut(&host) else {
            return;
        };
        let wait = if found.failures == 0 { Duration::ZERO } else { BACKOFF * (1 << found.failures.min(5)) };
        found.failures += 1;
        found.detach();
        self.front.set_unless_set(Timer::Forget(host), now + MEMORY);
        if found.calls.is_empty() {
            return;
        }
        self.front.set_unless_set(Timer::Unreachable(host), now + PATIENCE);
        if wait.is_zero() {
            self.attach(now, host);
        } else {
            self.front.timers.set(Timer::Attach(host), Some(now + wait));
        }
    }

    /// There is no way to the host now. What was not sent fails; what was is
    /// asked about for a while.
    pub(super) fn unreachable(&mut self, now: Instant, host: ServerId) {
        self.reset(now, host);
        let Some(found) = self.hosts.get_mut(&host) else {
            return;
        };
        let unsent = found.calls.iter().filter(|(_, call)| !call.sent).map(|(&seq, call)| (seq, call.id)).collect();
        for call in self.still_at(host, unsent) {
            self.fail_call(now, call, ErrorKind::Unreachable, "no server that could be asked has a way to it");
        }
    }

    /// Of calls that a host has, those that have not moved to another since.
    fn still_at(&self, host: ServerId, calls: Vec<(u64, CallId)>) -> Vec<CallId> {
        let here = |&(seq, id): &(u64, CallId)| self.calls.get(&id) == Some(&(host, seq));
        calls.into_iter().filter(here).map(|(_, id)| id).collect()
    }

    /// Everything that waits for the host fails.
    pub(super) fn fail_host(&mut self, now: Instant, host: ServerId, kind: ErrorKind, detail: &str) {
        let Some(found) = self.hosts.get_mut(&host) else {
            return;
        };
        found.detach();
        self.front.timers.set(Timer::Attach(host), None);
        self.front.timers.set(Timer::Unreachable(host), None);
        let all = found.calls.iter().map(|(&seq, call)| (seq, call.id)).collect();
        for id in self.still_at(host, all) {
            self.fail_call(now, id, kind, detail);
        }
        self.front.set_unless_set(Timer::Forget(host), now + MEMORY);
        // What it was asked is to end there too, should it be back.
        if self.hosts.get(&host).is_some_and(|found| !found.calls.is_empty()) {
            self.front.timers.set(Timer::Attach(host), Some(now + END_THERE));
        }
    }

    /// The host does not know our registration: what changes something and was
    /// sent may or may not have happened; the rest is asked again.
    pub(super) fn forgotten(&mut self, now: Instant, host: ServerId) {
        let Some(found) = self.hosts.get_mut(&host) else {
            return;
        };
        if found.registration == 0 {
            return self.reset(now, host); // it has no room for another client
        }
        for (seq, mut call) in found.start_over() {
            if call.reported {
                self.unmap(call.id, host, seq);
            } else if call.is_unknowable() {
                self.unmap(call.id, host, seq);
                let detail = "the host was restarted, or has forgotten this client";
                self.front.finish(&mut call, Err(Error::new(ErrorKind::Unknown, detail)));
            } else if call.is_half_read() {
                self.unmap(call.id, host, seq);
                let detail = "the host was restarted, or has forgotten this client, in the middle of it";
                let error = Error::new(ErrorKind::Aborted, detail).at(call.place(host));
                self.front.finish(&mut call, Err(error));
            } else {
                let fresh = Call::new(call.id, call.op, call.deadline, call.any);
                let fresh = Call { input: core::mem::take(&mut call.input), cancel: call.cancel, ..fresh };
                self.place(now, host, fresh);
            }
        }
        self.attach(now, host);
    }

    /// So long after the last sign of it nothing of a host is kept.
    pub(super) fn forget(&mut self, now: Instant, host: ServerId) {
        self.fail_host(now, host, ErrorKind::Unreachable, "it was out of reach for ten minutes");
        if let Some(found) = self.hosts.remove(&host) {
            for (&seq, call) in &found.calls {
                self.unmap(call.id, host, seq);
            }
            for timer in [Timer::Attach(host), Timer::Forget(host), Timer::Answered(host)] {
                self.front.timers.set(timer, None);
            }
        }
    }
}
