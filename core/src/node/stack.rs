//! What a server does now, in words: `circuit stk`.

use alloc::{format, string::String};
use core::fmt::Write;

use super::Node;
use crate::{Instant, links::Other, membership::Opinion};

/// The most lines about one kind of thing.
const MAX_LINES: usize = 1_000;

impl Node {
    /// What runs, what waits on what, and since when.
    pub(super) fn stack(&self, now: Instant) -> String {
        let mut text = String::new();
        let view = self.membership.view();
        let [inquiries, accused, waiting, news] = self.membership.unsettled();
        // Writing to memory cannot fail.
        let _ = writeln!(
            text,
            "membership: {} here at event {}, epoch {:?}; in doubt {inquiries}, accused {accused}, to be let in \
             {waiting}, news to pass on {news}",
            view.len(),
            view.events(),
            self.membership.epoch(),
        );
        self.write_observed(&mut text);
        self.write_links(&mut text);
        self.write_calls(&mut text, now);
        let _ = writeln!(text, "packets that wait for a link: {}", self.relay.waiting());
        self.write_timers(&mut text, now);
        text
    }

    fn write_observed(&self, text: &mut String) {
        for (id, opinion) in self.membership.observed() {
            let finds = match opinion {
                Opinion::Up => "well",
                Opinion::Down => "down",
                Opinion::Waiting | Opinion::None => "no sign",
            };
            let _ = writeln!(text, "observes {id}: {finds}");
        }
    }

    fn write_links(&self, text: &mut String) {
        for (link, other, waiting) in self.links.iter().take(MAX_LINES) {
            let with = match other {
                Some(Other::Server(id, epoch)) => format!("with server {id} at {epoch:?}"),
                Some(Other::Client(session)) => format!("with client {session:016x}"),
                None => "being made".into(),
            };
            let _ = writeln!(text, "session {} {with}, {waiting} bytes wait", link.0);
        }
    }

    fn write_calls(&self, text: &mut String, now: Instant) {
        for (who, verb, path, since) in self.calls.open().take(MAX_LINES) {
            let for_seconds = now.since(since).as_secs_f32();
            let _ = writeln!(text, "{verb} of {who} waits at /{path} for {for_seconds:.1} s");
        }
    }

    fn write_timers(&self, text: &mut String, now: Instant) {
        for (at, reason) in self.timers.iter().take(MAX_LINES) {
            let _ = writeln!(text, "timer {reason:?} in {:.1} s", at.since(now).as_secs_f32());
        }
    }
}
