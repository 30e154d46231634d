//! `circuit stdout` and `circuit stderr`: what a process writes.

use circuit_core::Error;
use circuit_tokio::client::Output;
use clap::Args;

use crate::{
    args::AnchorArg,
    dial::{Client, DialArgs, OnCircuit, tried},
    fault::{Fault, warn},
    print::{FormatArgs, Out},
};

/// Print what a process writes to its standard output, until it has ended
#[derive(Args, Debug)]
pub(crate) struct Stdout {
    #[command(flatten)]
    from: From,
}

/// Print what a process writes to its standard error, until it has ended
#[derive(Args, Debug)]
pub(crate) struct Stderr {
    #[command(flatten)]
    from: From,
}

#[derive(Args, Debug)]
struct From {
    /// Where the process stands
    anchor: AnchorArg,

    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    dial: DialArgs,
}

impl OnCircuit for Stdout {
    fn dialling(&self) -> &DialArgs {
        &self.from.dial
    }

    async fn run(self, client: &Client) -> Result<u8, Fault> {
        let fault = tried("stdout", &self.from.anchor);
        let process = client.anchor(&self.from.anchor)?.proc().map_err(&fault)?;
        copy(process.stdout(), self.from.format, fault).await
    }
}

impl OnCircuit for Stderr {
    fn dialling(&self) -> &DialArgs {
        &self.from.dial
    }

    async fn run(self, client: &Client) -> Result<u8, Fault> {
        let fault = tried("stderr", &self.from.anchor);
        let process = client.anchor(&self.from.anchor)?.proc().map_err(&fault)?;
        copy(process.stderr(), self.from.format, fault).await
    }
}

/// What was written here counts as read there.
async fn copy(mut output: Output, format: FormatArgs, fault: impl Fn(Error) -> Fault) -> Result<u8, Fault> {
    let mut out = Out::new(format);
    while let Some(bytes) = out.wanted(output.next()).await?.map_err(&fault)? {
        out.piece(&bytes).await?;
    }
    out.end_of_pieces().await?;
    let missed = output.finish().await.map_err(&fault)?;
    if missed > 0 {
        warn(&format!("{missed} bytes of it had been read by others and were no longer kept"));
    }
    Ok(0)
}
