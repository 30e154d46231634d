//! Whether there is a standard output.
//!
//! Where it is closed the standard library opens `/dev/null` in its place before
//! `main`, and everything printed would be lost in silence: a message that was
//! received, for one. So this looks before the library does.

use std::{
    os::fd::BorrowedFd,
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::io::{Errno, fcntl_getfd};

static CLOSED: AtomicBool = AtomicBool::new(false);

#[used]
// SAFETY: what this section lists is called once each, before `main` and before
// any other thread; `look` needs nothing that is set up later.
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

extern "C" fn look() {
    // SAFETY: that there may be no such descriptor is what is asked here.
    let stdout = unsafe { BorrowedFd::borrow_raw(1) };
    CLOSED.store(fcntl_getfd(stdout) == Err(Errno::BADF), Ordering::Relaxed);
}

/// Whether standard output was closed when the program began.
pub(crate) fn is_stdout_closed() -> bool {
    CLOSED.load(Ordering::Relaxed)
}
