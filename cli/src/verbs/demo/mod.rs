//! `circuit demo`: a circuit on this machine, a server that dies, and work that
//! moves.
//!
//! The servers are processes of this same program ([`servers`]), so that one can
//! be killed as a machine is by a loss of power. Everything else goes through
//! the client library, as any program would do it: the [`watchbot`], and the
//! [`story`] that is told meanwhile.

mod servers;
mod story;
mod tell;
mod watchbot;

use std::time::Duration;

use clap::Args;
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
    time,
};
use tracing::Level;

use crate::{
    fault::{Fault, plain},
    interrupt::Interrupts,
    logging,
};
use servers::Servers;

/// After this the demo gives up; it is over in less than ten seconds.
const LONGEST: Duration = Duration::from_secs(30);

/// Show a circuit: three servers here, work, a server that dies, and the work that moves
///
/// It takes some seconds, needs nothing, and leaves nothing behind.
#[derive(Args, Debug)]
pub(crate) struct Demo {}

impl Demo {
    pub(crate) fn run(self) -> Result<u8, Fault> {
        logging::start(Level::ERROR)?;
        // A single thread: the servers die with the one that started them.
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| failed(format!("no runtime: {}", plain(&error))))?;
        runtime.block_on(show())
    }
}

async fn show() -> Result<u8, Fault> {
    let mut interrupts = Interrupts::new()?;
    let hangup = signal(SignalKind::hangup());
    let mut hangup = hangup.map_err(|error| failed(format!("signals: {}", plain(&error))))?;
    let mut servers = Servers::new()?;
    let told = tokio::select! {
        told = time::timeout(LONGEST, story::tell(&mut servers)) => told.unwrap_or_else(|_| Err(too_long())),
        signal = interrupts.next() => Err(interrupted(signal)),
        _ = hangup.recv() => Err(interrupted(1)),
    };
    let ended = servers.end().await;
    told.and(ended).map(|()| 0)
}

fn failed(what: impl std::fmt::Display) -> Fault {
    Fault::failed(format!("demo: {what}"))
}

fn too_long() -> Fault {
    failed(format!("not over after {} s; its servers were ended", LONGEST.as_secs()))
        .hint("try it again when this machine is less busy")
}

fn interrupted(signal: u8) -> Fault {
    failed("interrupted; its servers were ended and its files removed").with_status(128 + signal)
}
