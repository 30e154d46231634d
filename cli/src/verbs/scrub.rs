//! `circuit scrub`: removes an element.

use clap::Args;

use crate::{
    args::AnchorArg,
    dial::{Client, DialArgs, OnCircuit, tried},
    fault::Fault,
};

/// Remove an element: whoever waits on it is told, a process goes on without it
#[derive(Args, Debug)]
pub(crate) struct Scrub {
    /// Where the element stands
    anchor: AnchorArg,

    #[command(flatten)]
    dial: DialArgs,
}

impl OnCircuit for Scrub {
    fn dialling(&self) -> &DialArgs {
        &self.dial
    }

    async fn run(self, client: &Client) -> Result<u8, Fault> {
        client.anchor(&self.anchor)?.scrub().await.map_err(tried("scrub", &self.anchor))?;
        Ok(0)
    }
}
