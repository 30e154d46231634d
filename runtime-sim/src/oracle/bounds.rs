//! Whether everything that could grow stays within its bound.

use std::collections::BTreeSet;

use circuit_core::{
    calls::{MAX_CALLS, MAX_REGISTRATIONS},
    elements,
    elements::channel::MAX_BUFFERED,
    links::{MAX_LINKS, MAX_QUEUED, Other, WINDOW},
    membership::{MAX_SERVERS, TOMBSTONES},
    namespace::MAX_ELEMENTS,
    node::{Node, Snapshot},
    relay::{MAX_PENDING, MAX_TRANSIT},
    wire::{MAX_BODY, call::INITIAL_CREDIT},
};

use crate::Sim;

/// What is left on a server of clients that have gone, if anything is: when all has
/// been quiet for long.
pub(crate) fn left(snapshot: &Snapshot) -> Option<String> {
    // To those who are gone it is dialled for ever.
    let up = || snapshot.links.iter().filter_map(|(_, other, _)| *other);
    let servers = up().filter_map(|other| match other {
        Other::Server(id, _) => Some(id),
        Other::Client(_) => None,
    });
    let servers: BTreeSet<_> = servers.filter(|id| snapshot.members.iter().any(|one| one.id == *id)).collect();
    let counts = [
        ("clients", snapshot.clients),
        ("registrations", snapshot.registrations),
        ("calls", snapshot.calls),
        ("calls that wait", snapshot.waiting),
        ("packets", snapshot.packets),
        ("timers", snapshot.timers),
        ("elements without a place, or places without one", snapshot.elements.abs_diff(snapshot.places)),
        ("links but those with other servers, one with each", up().count() - servers.len()),
    ];
    let left = counts.into_iter().find(|(_, count)| *count > 0);
    left.map(|(what, count)| format!("{count} {what}"))
}

/// Nothing is left anywhere.
pub(crate) fn nothing_left(sim: &mut Sim) {
    for server in 0..sim.settings().servers {
        let Some(snapshot) = sim.node(server).map(Node::snapshot) else {
            return sim.fail(format!("server {server} is not back"));
        };
        if let Some(what) = left(&snapshot) {
            sim.fail(format!("server {server} has not forgotten everything, but keeps {what}: {snapshot:?}"));
        }
        if let Some(id) = sim.leaks(server) {
            sim.fail(format!("server {server} has a process or a socket for {id:?}, which is gone"));
        }
    }
}

/// News of one server that may wait for the same batch: that it is there, that it
/// is accused, that it is gone, and that it has risen.
const NEWS: usize = 4;

/// What is over its bound on a server, if anything is.
pub(super) fn exceeded(node: &Node) -> Option<String> {
    let snapshot = node.snapshot();
    let counts = of_work(&snapshot).into_iter().chain(of_membership(node, &snapshot));
    let over = counts.into_iter().find(|(_, count, bound)| count > bound);
    over.map(|(what, count, bound)| format!("{count} {what}, and not {bound} at most")).or_else(|| lost_way(&snapshot))
}

/// A way back that no link is.
fn lost_way(snapshot: &Snapshot) -> Option<String> {
    let is_up = |way| snapshot.links.iter().any(|(link, other, _)| *link == way && other.is_some());
    let lost = snapshot.ways_back.iter().find(|way| !is_up(**way));
    lost.map(|way| format!("a way back by {way:?}, which is not up"))
}

/// What clients and hosts make grow.
fn of_work(snapshot: &Snapshot) -> [(&'static str, usize, usize); 11] {
    // One frame may be the one that is too many.
    let waiting = snapshot.links.iter().map(|(_, _, bytes)| *bytes).max().unwrap_or(0);
    // So may one message be; and whoever has one and has not acknowledged it keeps it.
    let (buffered, events) = (MAX_BUFFERED + INITIAL_CREDIT, elements::MAX_PENDING + 1 + snapshot.waiting);
    [
        ("links", snapshot.links.len(), MAX_LINKS),
        ("bytes that wait on a link", waiting, MAX_QUEUED + WINDOW + 2 * MAX_BODY),
        ("registrations", snapshot.registrations, MAX_REGISTRATIONS),
        ("calls", snapshot.calls, snapshot.registrations * MAX_CALLS),
        // An element may still have to answer one whose client is forgotten; and a message
        // of such a one waits for as long as the call that has received it.
        ("calls that wait on elements", snapshot.waiting, 2 * snapshot.calls + snapshot.elements),
        ("elements", snapshot.elements, MAX_ELEMENTS),
        // A call has a deadline, and a client two timers.
        ("timers", snapshot.timers, snapshot.calls + 2 * snapshot.registrations),
        ("bytes that wait for a server to be dialled", snapshot.packet_bytes, MAX_PENDING),
        ("pairs that packets are passed on between", snapshot.transit, MAX_TRANSIT),
        ("bytes that a channel buffers", snapshot.buffered as usize, buffered as usize),
        ("events that wait in a subscription", snapshot.pending as usize, events),
    ]
}

/// What other servers make grow.
fn of_membership(node: &Node, snapshot: &Snapshot) -> [(&'static str, usize, usize); 7] {
    let (view, there) = (node.membership().view(), snapshot.members.len());
    let (known, tombstones) = (view.known(), TOMBSTONES.max(2 * view.most()).min(MAX_SERVERS / 2));
    let [inquiries, accusations, waiting, news] = snapshot.unsettled;
    [
        ("servers that are known", known, MAX_SERVERS),
        ("tombstones", snapshot.tombstones, tombstones),
        ("servers that are observed", snapshot.observed, there),
        ("inquiries", inquiries, snapshot.observed),
        ("accusations", accusations, known),
        ("servers that wait to be let in", waiting, known - there),
        ("news that wait", news, NEWS * known),
    ]
}
