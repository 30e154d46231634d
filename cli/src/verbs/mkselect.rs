//! `circuit mkselect`: one of several things, whichever can be first.

use std::io;

use circuit_core::{select::Select, wire::op::SelectSpec};
use clap::Args;

use crate::{
    args::AnchorArg,
    dial::{Client, DialArgs, OnCircuit, tried},
    fault::Fault,
    spec,
};

/// Make a select: whichever of the clauses on standard input can be first takes place, and no other
///
/// The clauses are a list in JSON, as [{"Recv": "/X…/a"}, {"Send": "/X…/b"}, {"Exit": "/X…/p"},
/// {"After": "5s"}, {"Default": true}]; each may have a Name. Channels and processes may be on any
/// servers. 'wait' prints which clause took place; 'send' and 'recv' move its message.
#[derive(Args, Debug)]
pub(crate) struct Mkselect {
    /// Where it is to stand: beneath the server that chooses
    anchor: AnchorArg,

    #[command(flatten)]
    dial: DialArgs,

    /// What standard input said.
    #[arg(skip = SelectSpec { clauses: Vec::new() })]
    spec: SelectSpec,
}

impl OnCircuit for Mkselect {
    fn dialling(&self) -> &DialArgs {
        &self.dial
    }

    fn prepare(&mut self) -> Result<(), Fault> {
        let spec = spec::read_select(io::stdin().lock());
        let spec = spec.and_then(|spec| match Select::fault(&spec.clauses) {
            Some(error) => Err(error.detail),
            None => Ok(spec),
        });
        self.spec = spec.map_err(|why| {
            Fault::usage(format!("the clauses of the select: {why}"))
                .hint("they stand on standard input, as [{\"Recv\": \"/X…/a\"}, {\"After\": \"5s\"}]")
        })?;
        Ok(())
    }

    async fn run(self, client: &Client) -> Result<u8, Fault> {
        client.anchor(&self.anchor)?.make_select(&self.spec).await.map_err(tried("mkselect", &self.anchor))?;
        Ok(0)
    }
}
