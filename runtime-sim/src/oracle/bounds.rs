//! Whether everything that could grow stays within its bound.

use circuit_core::{
    calls::{MAX_CALLS, MAX_REGISTRATIONS},
    links::{MAX_LINKS, MAX_QUEUED, WINDOW},
    membership::MAX_SERVERS,
    namespace::MAX_ELEMENTS,
    node::Node,
    wire::MAX_BODY,
};

/// What is over its bound on a server, if anything is.
pub(super) fn exceeded(node: &Node) -> Option<String> {
    let snapshot = node.snapshot();
    // One frame may be the one that is too many.
    let waiting = snapshot.links.iter().map(|(_, _, bytes)| *bytes).max().unwrap_or(0);
    let known = node.membership().view().known();
    let counts = [
        ("links", snapshot.links.len(), MAX_LINKS),
        ("bytes that wait on a link", waiting, MAX_QUEUED + WINDOW + 2 * MAX_BODY),
        ("registrations", snapshot.registrations, MAX_REGISTRATIONS),
        ("calls", snapshot.calls, snapshot.registrations * MAX_CALLS),
        // An element may still have to answer one whose client is forgotten.
        ("calls that wait on elements", snapshot.waiting, snapshot.calls + snapshot.elements),
        ("elements", snapshot.elements, MAX_ELEMENTS),
        ("servers that are known", known, MAX_SERVERS),
        // A call has a deadline, and a client two timers.
        ("timers", snapshot.timers, snapshot.calls + 2 * snapshot.registrations),
    ];
    let over = counts.into_iter().find(|(_, count, bound)| count > bound);
    over.map(|(what, count, bound)| format!("{count} {what}, and not {bound} at most"))
}
