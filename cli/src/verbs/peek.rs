//! `circuit peek`: the state of an element.

use clap::Args;

use crate::{
    args::AnchorArg,
    dial::{Client, DialArgs, OnCircuit, tried},
    fault::Fault,
    print::{FormatArgs, Out},
    shapes::Shape,
};

/// Print the state of an element, as JSON
#[derive(Args, Debug)]
pub(crate) struct Peek {
    /// Where the element stands
    anchor: AnchorArg,

    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    dial: DialArgs,
}

impl OnCircuit for Peek {
    fn dialling(&self) -> &DialArgs {
        &self.dial
    }

    async fn run(self, client: &Client) -> Result<u8, Fault> {
        let stat = client.anchor(&self.anchor)?.peek().await.map_err(tried("peek", &self.anchor))?;
        Out::new(self.format).value(&Shape::from(stat)).await?;
        Ok(0)
    }
}
