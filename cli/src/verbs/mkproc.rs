//! `circuit mkproc`: starts a process.

use std::io;

use circuit_core::wire::op::ProcSpec;
use clap::Args;

use crate::{
    args::AnchorArg,
    dial::{Client, DialArgs, OnCircuit, tried},
    fault::Fault,
    spec,
};

/// Start a process, which standard input describes
///
/// The description is JSON, as {"Path": "/bin/ls", "Args": ["/"], "Dir": "/tmp", "Env": ["A=b"]}.
/// Only Path is needed. Scrub: true removes the element when the process ends; Stdin: "null" gives
/// it nothing to read. Output says what happens when nobody reads: "block", which is usual, keeps
/// 1 MiB and then makes the process wait, "drop" forgets the oldest, "file" keeps 1 GiB on disk.
/// Grace: "2s" is how long scrub -kill lets it take to end. OnServerExit: "keep", which needs
/// Output: "file" and a server with -var, lets it outlive its server, which finds it at its next
/// start with the same -var.
#[derive(Args, Debug)]
pub(crate) struct Mkproc {
    /// Where it is to stand: beneath the server that runs it
    anchor: AnchorArg,

    /// Remove the element when the process ends
    #[arg(long)]
    scrub: bool,

    #[command(flatten)]
    dial: DialArgs,

    /// What standard input said.
    #[arg(skip)]
    spec: ProcSpec,
}

impl OnCircuit for Mkproc {
    fn dialling(&self) -> &DialArgs {
        &self.dial
    }

    fn prepare(&mut self) -> Result<(), Fault> {
        self.spec = spec::read_proc(io::stdin().lock()).map_err(|why| {
            Fault::usage(format!("the description of the process: {why}"))
                .hint("it stands on standard input, as {\"Path\": \"/bin/ls\", \"Args\": [\"/\"]}")
        })?;
        self.spec.scrub |= self.scrub;
        Ok(())
    }

    async fn run(self, client: &Client) -> Result<u8, Fault> {
        client.anchor(&self.anchor)?.make_proc(&self.spec).await.map_err(tried("mkproc", &self.anchor))?;
        Ok(0)
    }
}
