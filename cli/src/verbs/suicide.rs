//! `circuit suicide`: ends a server.

use clap::Args;

use crate::{
    args::ServerArg,
    dial::{Client, DialArgs, OnCircuit, tried},
    fault::Fault,
};

/// End a server: it leaves the circuit, and what stands on it is gone
#[derive(Args, Debug)]
pub(crate) struct Suicide {
    /// The server's anchor
    #[arg(value_name = "ANCHOR")]
    server: ServerArg,

    #[command(flatten)]
    dial: DialArgs,
}

impl OnCircuit for Suicide {
    fn dialling(&self) -> &DialArgs {
        &self.dial
    }

    async fn run(self, client: &Client) -> Result<u8, Fault> {
        client.server(self.server).suicide().await.map_err(tried("suicide", self.server))?;
        Ok(0)
    }
}
