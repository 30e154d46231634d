//! The subscription: this server's log of joins and leaves, from some event on.
//!
//! Events stand in a channel that this server alone sends to, so that each goes
//! to one receiver, by the same lease as a message. A receiver that falls
//! behind finds one notice in the place of all the events that it missed.

use alloc::format;

use bytes::Bytes;

use super::{
    Out,
    channel::{Channel, Ticket},
};
use crate::{
    ServerId,
    membership::Event,
    wire::op::{Source, SubscriptionStat},
};

/// How many events wait for a receiver, not counting who was there at first.
pub const MAX_PENDING: usize = 4_096;

/// A subscription on its host.
#[derive(Debug)]
pub(super) struct Subscription {
    source: Source,
    pub(super) line: Channel,
    /// How many stood in line at first.
    first: u64,
    /// The notice of events that were missed, and of how many.
    lagged: Option<(Ticket, u64)>,
}

impl Subscription {
    pub(super) fn new(source: Source, present: impl Iterator<Item = ServerId>, out: &mut Out) -> Self {
        let mut subscription = Self { source, line: Channel::new(0), first: 0, lagged: None };
        if source != Source::Leave {
            for id in present {
                subscription.line.put(words(source, true, id), out);
                subscription.first += 1;
            }
        }
        subscription
    }

    /// Somebody joined or left.
    pub(super) fn event(&mut self, event: &Event, out: &mut Out) {
        let wanted = match self.source {
            Source::Join => event.joined,
            Source::Leave => !event.joined,
            Source::Both => true,
        };
        if !wanted {
            return;
        }
        if self.pending() < MAX_PENDING as u64 {
            self.lagged = None;
            self.line.put(words(self.source, event.joined, event.id), out);
            return;
        }
        if let Some((notice, missed)) = &mut self.lagged {
            *missed += 1;
            if self.line.amend(*notice, format!("lagged {missed}").into()) {
                return;
            }
        }
        self.lagged = Some((self.line.put("lagged 1".into(), out), 1));
    }

    /// How many events wait, not counting who was there at first.
    pub(super) fn pending(&self) -> u64 {
        let first = self.first.saturating_sub(self.line.stat().num_recv);
        (self.line.len() as u64).saturating_sub(first)
    }

    pub(super) const fn source(&self) -> Source {
        self.source
    }

    /// Its state, for `peek`.
    pub(super) fn stat(&self) -> SubscriptionStat {
        SubscriptionStat { source: self.source, pending: self.line.len() as u64, closed: false }
    }
}

/// An event as a receiver reads it.
fn words(source: Source, joined: bool, id: ServerId) -> Bytes {
    match (source, joined) {
        (Source::Both, true) => format!("join /{id}"),
        (Source::Both, false) => format!("leave /{id}"),
        _ => format!("/{id}"),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use alloc::{string::String, vec::Vec};

    use super::*;
    use crate::{Epoch, calls::CallKey, elements::Output};

    fn event(seq: u64, joined: bool) -> Event {
        Event { seq, joined, id: ServerId(seq), epoch: Epoch { start: 1, rise: 0 } }
    }

    /// Receives one event, and acknowledges it.
    fn recv(subscription: &mut Subscription, seq: u64) -> Option<String> {
        let (mut out, key) = (Out::new(), CallKey { registration: 1, seq });
        let turn = subscription.line.recv(key, true, &mut out);
        let Some(Output::Write { bytes, .. }) = out.pop_front() else {
            return None;
        };
        subscription.line.acked(turn, bytes.len() as u64 + 1, &mut out);
        Some(String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[test]
    fn a_join_first_lists_who_is_there_and_a_leave_does_not() {
        let (mut out, there) = (Out::new(), [ServerId(7), ServerId(9)]);
        let mut joins = Subscription::new(Source::Join, there.into_iter(), &mut out);
        let mut leaves = Subscription::new(Source::Leave, there.into_iter(), &mut out);
        for subscription in [&mut joins, &mut leaves] {
            subscription.event(&event(10, true), &mut out);
            subscription.event(&event(11, false), &mut out);
        }
        let all: Vec<String> = (1..).map_while(|seq| recv(&mut joins, seq)).collect();
        assert_eq!(all, ["/X0000000000000007", "/X0000000000000009", "/X000000000000000a"]);
        assert_eq!(recv(&mut leaves, 1).as_deref(), Some("/X000000000000000b"));
        assert_eq!(recv(&mut leaves, 2), None);
    }

    #[test]
    fn a_slow_reader_finds_one_notice_in_the_place_of_what_it_missed() {
        let mut out = Out::new();
        let there = (1..=3).map(ServerId);
        let mut both = Subscription::new(Source::Both, there, &mut out);
        let bound = MAX_PENDING as u64;
        for seq in 1..=bound + 5 {
            both.event(&event(seq, true), &mut out);
        }
        assert_eq!(both.stat().pending, 3 + bound + 1);
        let mut read: Vec<String> = (1..=10).map_while(|seq| recv(&mut both, seq)).collect();
        both.event(&event(bound + 6, false), &mut out);
        read.extend((11..).map_while(|seq| recv(&mut both, seq)));
        assert_eq!(read.len() as u64, 3 + bound + 2);
        assert_eq!(read[2 + bound as usize], format!("join /{}", ServerId(bound)));
        assert_eq!(read[3 + bound as usize], "lagged 5");
        assert_eq!(read[4 + bound as usize], format!("leave /{}", ServerId(bound + 6)));
    }
}
