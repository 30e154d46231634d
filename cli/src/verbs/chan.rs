//! `circuit mkchan` and `circuit close`: a channel's beginning and end.

use clap::Args;

use crate::{
    args::AnchorArg,
    dial::{Client, DialArgs, OnCircuit, tried},
    fault::Fault,
};

/// Make a channel
#[derive(Args, Debug)]
pub(crate) struct Mkchan {
    /// Where it is to stand: beneath the server that holds its messages
    anchor: AnchorArg,

    /// How many messages it buffers; with 0 a sender waits for its receiver
    #[arg(value_name = "CAP", allow_negative_numbers = true)]
    cap: u32,

    #[command(flatten)]
    dial: DialArgs,
}

impl OnCircuit for Mkchan {
    fn dialling(&self) -> &DialArgs {
        &self.dial
    }

    async fn run(self, client: &Client) -> Result<u8, Fault> {
        client.anchor(&self.anchor)?.make_chan(self.cap).await.map_err(tried("mkchan", &self.anchor))?;
        Ok(0)
    }
}

/// Close a channel: what was sent can still be received, and nothing more be sent
#[derive(Args, Debug)]
pub(crate) struct Close {
    /// Where the channel stands
    anchor: AnchorArg,

    #[command(flatten)]
    dial: DialArgs,
}

impl OnCircuit for Close {
    fn dialling(&self) -> &DialArgs {
        &self.dial
    }

    async fn run(self, client: &Client) -> Result<u8, Fault> {
        let fault = tried("close", &self.anchor);
        client.anchor(&self.anchor)?.chan().map_err(&fault)?.close().await.map_err(&fault)?;
        Ok(0)
    }
}
