//! How many descriptors a server may have open, and its programs.

use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the limit was before it was raised.
static BEFORE: OnceLock<Rlimit> = OnceLock::new();

/// Lets this program have as many descriptors open as it may. What shells give is
/// for one user's commands: a server has one for each connection, whoever began it,
/// and some for each process. Those have the limit that this program began with,
/// as some cannot do with numbers that are large.
pub fn raise_descriptors() {
    let before = *BEFORE.get_or_init(|| getrlimit(Resource::Nofile));
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: before.maximum, ..before }) {
        tracing::warn!("the limit of descriptors stays at {:?}: {error}", before.current);
    }
}

/// The limit that programs are to have, if it is not this program's.
pub(super) fn of_programs() -> Option<libc::rlimit> {
    let number = |limit: Option<u64>| limit.unwrap_or(libc::RLIM_INFINITY);
    BEFORE.get().map(|before| libc::rlimit { rlim_cur: number(before.current), rlim_max: number(before.maximum) })
}
