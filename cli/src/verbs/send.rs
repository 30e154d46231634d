//! `circuit send`: a message through a channel.

use bytes::Bytes;
use circuit_core::{Error, wire::call::INITIAL_CREDIT};
use circuit_tokio::client::Chan;
use clap::Args;
use tokio::io::AsyncReadExt;

use crate::{
    args::AnchorArg,
    dial::{Client, DialArgs, OnCircuit, tried},
    fault::Fault,
    stdin::{feed, unreadable},
};

/// Send standard input as one message through a channel, and wait until it is taken or buffered
#[derive(Args, Debug)]
pub(crate) struct Send {
    /// Where the channel stands
    anchor: AnchorArg,

    /// Do not wait: send it now or not at all
    #[arg(long = "try")]
    try_only: bool,

    #[command(flatten)]
    dial: DialArgs,
}

impl OnCircuit for Send {
    fn dialling(&self) -> &DialArgs {
        &self.dial
    }

    async fn run(self, client: &Client) -> Result<u8, Fault> {
        let fault = tried("send", &self.anchor);
        let channel = client.anchor(&self.anchor)?.chan().map_err(&fault)?;
        if self.try_only {
            return try_send(&channel, &fault).await;
        }
        let mut sending = channel.sender();
        match feed(tokio::io::stdin(), &mut sending).await? {
            Some(answer) => answer.map(drop).map_err(&fault)?,
            None => sending.sent().await.map(drop).map_err(&fault)?,
        }
        Ok(0)
    }
}

/// A message that the channel could buffer is sent whole: there may be room for
/// it though nobody receives.
async fn try_send(channel: &Chan, fault: &impl Fn(Error) -> Fault) -> Result<u8, Fault> {
    let mut first = Vec::new();
    let mut input = tokio::io::stdin().take(INITIAL_CREDIT + 1);
    input.read_to_end(&mut first).await.map_err(|error| unreadable(&error))?;
    if first.len() as u64 <= INITIAL_CREDIT {
        channel.try_send(first).await.map_err(fault)?;
        return Ok(0);
    }
    let mut sending = channel.try_sender();
    sending.write(Bytes::from(first)).await.map_err(fault)?;
    match feed(tokio::io::stdin(), &mut sending).await? {
        Some(answer) => answer.map(drop).map_err(fault)?,
        None => sending.sent().await.map(drop).map_err(fault)?,
    }
    Ok(0)
}
