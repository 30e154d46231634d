//! `circuit signal`: sends a signal to a process.

use clap::Args;

use crate::{
    args::AnchorArg,
    dial::{Client, DialArgs, OnCircuit, tried},
    fault::Fault,
    signals,
};

/// Send a signal to a process
#[derive(Args, Debug)]
pub(crate) struct Signal {
    /// The signal: KILL, SIGTERM, usr1
    #[arg(value_name = "NAME", value_parser = signals::number)]
    signal: i32,

    /// Where the process stands
    anchor: AnchorArg,

    #[command(flatten)]
    dial: DialArgs,
}

impl OnCircuit for Signal {
    fn dialling(&self) -> &DialArgs {
        &self.dial
    }

    async fn run(self, client: &Client) -> Result<u8, Fault> {
        let fault = tried("signal", &self.anchor);
        let process = client.anchor(&self.anchor)?.proc().map_err(&fault)?;
        process.signal(self.signal).await.map_err(&fault)?;
        Ok(0)
    }
}
