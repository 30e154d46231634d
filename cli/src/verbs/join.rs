//! `circuit join`: makes two circuits one.

use circuit_core::Url;
use clap::Args;

use crate::{
    args::ServerArg,
    dial::{Client, DialArgs, OnCircuit, tried},
    fault::Fault,
};

/// Make the circuit of a server and that of another one
#[derive(Args, Debug)]
pub(crate) struct Join {
    /// The anchor of a server
    #[arg(value_name = "ANCHOR")]
    server: ServerArg,

    /// Any server of the other circuit: circuit://HOST:PORT/PID/Qid
    url: Url,

    #[command(flatten)]
    dial: DialArgs,
}

impl OnCircuit for Join {
    fn dialling(&self) -> &DialArgs {
        &self.dial
    }

    async fn run(self, client: &Client) -> Result<u8, Fault> {
        client.server(self.server).join(self.url.into()).await.map_err(tried("join", self.server))?;
        Ok(0)
    }
}
