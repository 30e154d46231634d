//! What a server is doing now, for people and for checkers.

use alloc::vec::Vec;

use super::{Node, TimerReason};
use crate::{
    elements::ElementId,
    links::{LinkId, Other},
    membership::Record,
};

/// Counts of everything that could grow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// The servers it sees, in order of ids.
    pub members: Vec<Record>,
    /// Its links, with whom, and the bytes that wait on each.
    pub links: Vec<(LinkId, Option<Other>, usize)>,
    /// Clients that dialled it.
    pub clients: usize,
    /// Clients it is a host to.
    pub registrations: usize,
    /// Calls that are open, or whose answer is kept.
    pub calls: usize,
    /// Calls that wait on an element.
    pub waiting: usize,
    /// Elements.
    pub elements: usize,
    /// And how many of them have a place.
    pub places: usize,
    /// Packets that wait for a link.
    pub packets: usize,
    /// Timers that calls, their clients and clauses have set.
    pub timers: usize,
    /// The most bytes that wait for one server to be dialled.
    pub packet_bytes: usize,
    /// Pairs of servers that it passes packets on between.
    pub transit: usize,
    /// The links by which clients of servers come that have none to it: the ways
    /// back.
    pub ways_back: Vec<LinkId>,
    /// Servers that it observes.
    pub observed: usize,
    /// Servers that are gone, and kept in mind.
    pub tombstones: usize,
    /// Inquiries, accusations, servers that wait to be let in, and news.
    pub unsettled: [usize; 4],
    /// The most bytes that one channel buffers.
    pub buffered: u64,
    /// The most events that wait in one subscription, besides who was there at
    /// first.
    pub pending: u64,
    /// Operations executed so far.
    pub operations: u64,
}

impl Node {
    /// What it is doing now.
    pub fn snapshot(&self) -> Snapshot {
        let (registrations, calls) = self.calls.count();
        let (elements, waiting) = self.elements.count();
        let (buffered, pending) = self.elements.fullest();
        Snapshot {
            members: self.membership.view().sorted(),
            links: self.links.iter().collect(),
            clients: self.relay.clients() - usize::from(self.agent.is_up()),
            registrations,
            calls,
            waiting,
            elements,
            places: self.namespace.len(),
            packets: self.relay.waiting(),
            packet_bytes: self.relay.waiting_bytes(),
            transit: self.relay.transit(),
            ways_back: self.relay.ways_back().collect(),
            observed: self.membership.degree(),
            tombstones: self.membership.tombstones(),
            unsettled: self.membership.unsettled(),
            buffered,
            pending,
            timers: self.timers.iter().filter(|(_, reason)| is_of_calls(reason)).count(),
            operations: self.oplog.count(),
        }
    }

    /// Whether it has an element of that number, and so needs what its host keeps
    /// for it.
    pub fn has_element(&self, id: ElementId) -> bool {
        self.elements.has(id)
    }
}

const fn is_of_calls(reason: &TimerReason) -> bool {
    matches!(reason, TimerReason::Calls(_) | TimerReason::Clause(..))
}
