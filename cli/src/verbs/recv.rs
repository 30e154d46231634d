//! `circuit recv`: a message from a channel.

use clap::Args;

use crate::{
    args::AnchorArg,
    dial::{Client, DialArgs, OnCircuit, tried},
    fault::{FAILED, Fault},
    print::{FormatArgs, Out},
};

/// Receive a message from a channel, and print it
///
/// Once all of it was printed it is this receiver's; before, it goes back to the channel.
#[derive(Args, Debug)]
pub(crate) struct Recv {
    /// Where the channel stands
    anchor: AnchorArg,

    /// Do not wait: receive what is there now
    #[arg(long = "try")]
    try_only: bool,

    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    dial: DialArgs,
}

impl OnCircuit for Recv {
    fn dialling(&self) -> &DialArgs {
        &self.dial
    }

    async fn run(self, client: &Client) -> Result<u8, Fault> {
        let fault = tried("recv", &self.anchor);
        let channel = client.anchor(&self.anchor)?.chan().map_err(&fault)?;
        let mut out = Out::new(self.format);
        // A message that nobody reads was not received.
        let unread = |fault: Fault| fault.with_status(FAILED);
        let unprinted = |error| unread(Fault::from(error));
        let message = async { if self.try_only { channel.try_recv().await } else { channel.recv().await } };
        let mut message = out.wanted(message).await.map_err(unread)?.map_err(&fault)?;
        while let Some(bytes) = message.next().await.map_err(&fault)? {
            out.piece(&bytes).await.map_err(unprinted)?;
        }
        out.end_of_pieces().await.map_err(unprinted)?;
        message.confirm().await.map_err(&fault)?;
        Ok(0)
    }
}
