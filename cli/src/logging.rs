//! Logs, which go to standard error.

use std::{env, io};

use tracing::Level;

/// Begins to log what is at least of `level`, or of that which CIRCUIT_LOG
/// names.
pub(crate) fn start(level: Level) {
    let asked = env::var("CIRCUIT_LOG").ok().and_then(|level| level.parse().ok());
    tracing_subscriber::fmt()
        .with_max_level(asked.unwrap_or(level))
        .with_target(false)
        .with_ansi(false)
        .with_writer(io::stderr)
        .init();
}
