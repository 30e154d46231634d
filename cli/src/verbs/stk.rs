//! `circuit stk`: what a server does now.

use clap::Args;
use serde::Serialize;

use crate::{
    args::ServerArg,
    dial::{Client, DialArgs, OnCircuit, tried},
    fault::Fault,
    print::{FormatArgs, Out},
};

/// Print what a server does now: sessions, what waits on what and since when, timers
#[derive(Args, Debug)]
pub(crate) struct Stk {
    /// The server's anchor
    #[arg(value_name = "ANCHOR")]
    server: ServerArg,

    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    dial: DialArgs,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Stack<'a> {
    lines: Vec<&'a str>,
}

impl OnCircuit for Stk {
    fn dialling(&self) -> &DialArgs {
        &self.dial
    }

    async fn run(self, client: &Client) -> Result<u8, Fault> {
        let text = client.server(self.server).stack().await.map_err(tried("stk", self.server))?;
        let mut out = Out::new(self.format);
        if out.is_json() {
            out.value(&Stack { lines: text.lines().collect() }).await?;
            return Ok(0);
        }
        for line in text.lines() {
            out.line(line).await?;
        }
        out.flush().await?;
        Ok(0)
    }
}
