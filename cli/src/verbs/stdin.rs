//! `circuit stdin`: writes to a process.

use clap::Args;

use crate::{
    args::AnchorArg,
    dial::{Client, DialArgs, OnCircuit, tried},
    fault::Fault,
    stdin::feed,
};

/// Copy standard input to a process, and close its input at the end
#[derive(Args, Debug)]
pub(crate) struct Stdin {
    /// Where the process stands
    anchor: AnchorArg,

    #[command(flatten)]
    dial: DialArgs,
}

impl OnCircuit for Stdin {
    fn dialling(&self) -> &DialArgs {
        &self.dial
    }

    async fn run(self, client: &Client) -> Result<u8, Fault> {
        let fault = tried("stdin", &self.anchor);
        let process = client.anchor(&self.anchor)?.proc().map_err(&fault)?;
        let mut sending = process.stdin();
        let answer = match feed(tokio::io::stdin(), &mut sending).await? {
            Some(answer) => answer,
            None => sending.finish().await,
        };
        answer.map_err(&fault)?;
        Ok(0)
    }
}
