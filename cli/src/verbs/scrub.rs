//! `circuit scrub`: removes an element.

use clap::Args;

use crate::{
    args::AnchorArg,
    dial::{Client, DialArgs, OnCircuit, tried},
    fault::Fault,
};

/// Remove an element: whoever waits on it is told, a process or a container goes on without it
#[derive(Args, Debug)]
pub(crate) struct Scrub {
    /// Where the element stands
    anchor: AnchorArg,

    /// End the process with its group, or the container: TERM, and KILL after 5 seconds
    #[arg(long)]
    kill: bool,

    #[command(flatten)]
    dial: DialArgs,
}

impl OnCircuit for Scrub {
    fn dialling(&self) -> &DialArgs {
        &self.dial
    }

    async fn run(self, client: &Client) -> Result<u8, Fault> {
        let anchor = client.anchor(&self.anchor)?;
        let removed = if self.kill { anchor.scrub_and_kill().await } else { anchor.scrub().await };
        removed.map_err(tried("scrub", &self.anchor))?;
        Ok(0)
    }
}
