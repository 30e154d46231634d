//! `circuit mk@join` and `circuit mk@leave`: subscriptions.

use circuit_core::wire::op::Source;
use clap::Args;

use crate::{
    args::AnchorArg,
    dial::{Client, DialArgs, OnCircuit, tried},
    fault::Fault,
};

/// Subscribe to servers that join: 'recv' prints their anchors, first of those that are there
#[derive(Args, Debug)]
pub(crate) struct MkJoin {
    #[command(flatten)]
    make: Make,
}

/// Subscribe to servers that leave or are lost: 'recv' prints their anchors
#[derive(Args, Debug)]
pub(crate) struct MkLeave {
    #[command(flatten)]
    make: Make,
}

#[derive(Args, Debug)]
struct Make {
    /// Where it is to stand: beneath the server whose eyes it sees with
    anchor: AnchorArg,

    #[command(flatten)]
    dial: DialArgs,
}

impl OnCircuit for MkJoin {
    fn dialling(&self) -> &DialArgs {
        &self.make.dial
    }

    async fn run(self, client: &Client) -> Result<u8, Fault> {
        self.make.subscribe(client, Source::Join).await
    }
}

impl OnCircuit for MkLeave {
    fn dialling(&self) -> &DialArgs {
        &self.make.dial
    }

    async fn run(self, client: &Client) -> Result<u8, Fault> {
        self.make.subscribe(client, Source::Leave).await
    }
}

impl Make {
    async fn subscribe(&self, client: &Client, source: Source) -> Result<u8, Fault> {
        let fault = tried(source.verb(), &self.anchor);
        client.anchor(&self.anchor)?.subscribe(source).await.map_err(fault)?;
        Ok(0)
    }
}
