//! `circuit log`: what a server executed.

use circuit_core::{AnchorPath, wire::op::LogRecord};
use circuit_tokio::client::LogMark;
use clap::Args;
use serde::Serialize;

use crate::{
    dial::{Client, DialArgs, OnCircuit, tried},
    fault::{Fault, warn},
    print::{FormatArgs, Out},
    shapes::time,
};

/// Print the operations that a server executed, in their order
///
/// A line has the operation's number, its time, its verb, its anchor, what came of it, and who asked.
#[derive(Args, Debug)]
pub(crate) struct Log {
    /// A server's anchor; of one beneath it, the operations on it and beneath
    anchor: AnchorPath,

    /// Go on with operations as they are executed
    #[arg(short, long)]
    follow: bool,

    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    dial: DialArgs,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Line {
    seq: u64,
    time: String,
    verb: String,
    path: String,
    outcome: String,
    who: String,
}

impl OnCircuit for Log {
    fn dialling(&self) -> &DialArgs {
        &self.dial
    }

    async fn run(self, client: &Client) -> Result<u8, Fault> {
        let fault = tried("log", &self.anchor);
        let mut out = Out::new(self.format);
        let server = client.within(client.circuit.server(self.anchor.server));
        let (mut mark, mut wait) = (LogMark::default(), false);
        loop {
            let (missed, records) = out.wanted(server.log(&mut mark, wait)).await?.map_err(&fault)?;
            if missed > 0 {
                warn(&format!("{missed} operations are no longer kept"));
            }
            if records.is_empty() {
                if !self.follow {
                    return Ok(0);
                }
                wait = true;
            }
            for record in records.into_iter().filter(|record| record.path.is_beneath(&self.anchor.path)) {
                self.print(&mut out, record).await?;
            }
            out.flush().await?;
        }
    }
}

impl Log {
    async fn print(&self, out: &mut Out, record: LogRecord) -> Result<(), Fault> {
        let LogRecord { seq, time: at, who, verb, path, outcome } = record;
        let path = AnchorPath { server: self.anchor.server, path }.to_string();
        let time = time(at);
        if out.is_json() {
            out.value(&Line { seq, time, verb, path, outcome, who }).await?;
        } else {
            out.line(&format!("{seq}\t{time}\t{verb}\t{path}\t{outcome}\t{who}")).await?;
        }
        Ok(())
    }
}
