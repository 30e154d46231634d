//! `circuit stdout` and `circuit stderr`: what a process writes.

use circuit_core::{Error, wire::op::Stdio};
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

    /// Leave out what it has written before
    #[arg(long)]
    from_end: bool,

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
        self.from.run(client, Stdio::Out).await
    }
}

impl OnCircuit for Stderr {
    fn dialling(&self) -> &DialArgs {
        &self.from.dial
    }

    async fn run(self, client: &Client) -> Result<u8, Fault> {
        self.from.run(client, Stdio::Err).await
    }
}

impl From {
    async fn run(self, client: &Client, of: Stdio) -> Result<u8, Fault> {
        let fault = tried(if of == Stdio::Out { "stdout" } else { "stderr" }, &self.anchor);
        let process = client.anchor(&self.anchor)?.proc().map_err(&fault)?;
        let output = match (self.from_end, of) {
            (true, of) => process.tail(of),
            (false, Stdio::Out) => process.stdout(),
            (false, Stdio::Err) => process.stderr(),
        };
        copy(output, self.format, fault).await
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
        warn(&format!("{missed} bytes of it were no longer kept: others had read them, or it did not wait"));
    }
    Ok(0)
}
