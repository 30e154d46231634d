//! The signals by which a user, or the system, ends a program.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::fault::{Fault, plain};

/// SIGINT and SIGTERM, caught from when this is made.
#[derive(Debug)]
pub(crate) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    pub(crate) fn new() -> Result<Self, Fault> {
        let catch = |kind| signal(kind).map_err(|error| Fault::failed(format!("signals: {}", plain(&error))));
        Ok(Self { interrupt: catch(SignalKind::interrupt())?, terminate: catch(SignalKind::terminate())? })
    }

    /// The number of the next.
    pub(crate) async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
        }
    }
}
