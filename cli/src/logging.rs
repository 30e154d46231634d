//! Logs, which go to standard error.

use std::{env, io};

use tracing::Level;

use crate::fault::Fault;

/// Begins to log what is at least of `level`, or of that which CIRCUIT_LOG
/// names.
pub(crate) fn start(level: Level) -> Result<(), Fault> {
    let asked = env::var("CIRCUIT_LOG").ok().filter(|level| !level.is_empty());
    let asked: Option<Level> = asked.map(|level| level.parse()).transpose().map_err(|_| {
        Fault::usage("CIRCUIT_LOG is no level of logs").hint("it is error, warn, info, debug or trace, or unset")
    })?;
    tracing_subscriber::fmt()
        .with_max_level(asked.unwrap_or(level))
        .with_target(false)
        .with_ansi(false)
        .with_writer(io::stderr)
        // It would say that a line could not be written there, where it could not.
        .log_internal_errors(false)
        .init();
    Ok(())
}
