//! `circuit wait`: until a process has ended.

use clap::Args;

use crate::{
    args::AnchorArg,
    dial::{Client, DialArgs, OnCircuit, tried},
    fault::Fault,
    print::{FormatArgs, Out},
    shapes::ProcShape,
};

/// Wait until a process has ended, and print how
#[derive(Args, Debug)]
pub(crate) struct Wait {
    /// Where the process stands
    anchor: AnchorArg,

    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    dial: DialArgs,
}

impl OnCircuit for Wait {
    fn dialling(&self) -> &DialArgs {
        &self.dial
    }

    async fn run(self, client: &Client) -> Result<u8, Fault> {
        let fault = tried("wait", &self.anchor);
        let process = client.anchor(&self.anchor)?.proc().map_err(&fault)?;
        let stat = process.wait().await.map_err(&fault)?;
        Out::new(self.format).value(&ProcShape::from(stat)).await?;
        Ok(0)
    }
}
