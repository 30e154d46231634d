//! `circuit keeper`: what a server starts for a process that is to outlive it.

use std::path::PathBuf;

use clap::Args;

use crate::fault::{Fault, plain};

/// Keep a process, for the server that starts this
#[derive(Args, Debug)]
pub(crate) struct Keeper {
    /// A folder of its own
    folder: PathBuf,
}

impl Keeper {
    pub(crate) fn run(self) -> Result<u8, Fault> {
        circuit_tokio::keep(&self.folder).map_err(|error| Fault::failed(format!("keeper: {}", plain(&error))))?;
        Ok(0)
    }
}
