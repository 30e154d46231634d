//! `circuit mkdns`, `circuit set` and `circuit unset`: a name server and its
//! records.

use circuit_core::dns::{Name, Record};
use clap::Args;

use crate::{
    address::Address,
    args::AnchorArg,
    dial::{Client, DialArgs, OnCircuit, tried},
    fault::Fault,
};

/// Make a name server, which answers by UDP and TCP
#[derive(Args, Debug)]
pub(crate) struct Mkdns {
    /// Where it is to stand: beneath the server that answers
    anchor: AnchorArg,

    /// Where it answers, HOST or HOST:PORT; else at the server's own address. Without a port at any
    /// that is free: 'circuit peek' tells which
    #[arg(value_name = "ADDR")]
    address: Option<Address>,

    #[command(flatten)]
    dial: DialArgs,
}

impl OnCircuit for Mkdns {
    fn dialling(&self) -> &DialArgs {
        &self.dial
    }

    async fn run(self, client: &Client) -> Result<u8, Fault> {
        let addr = match &self.address {
            Some(address) => Some(address.resolve().await?),
            None => None,
        };
        client.anchor(&self.anchor)?.make_dns(addr).await.map_err(tried("mkdns", &self.anchor))?;
        Ok(0)
    }
}

/// Add a record to a name server
#[derive(Args, Debug)]
pub(crate) struct Set {
    /// Where the name server stands
    anchor: AnchorArg,

    /// The record, in the notation of master files: "miek.nl. 3600 IN MX 10 mx.miek.nl."; without a
    /// TTL it has 3600 s
    #[arg(value_name = "RECORD", allow_hyphen_values = true)]
    record: Record,

    #[command(flatten)]
    dial: DialArgs,
}

impl OnCircuit for Set {
    fn dialling(&self) -> &DialArgs {
        &self.dial
    }

    async fn run(self, client: &Client) -> Result<u8, Fault> {
        let fault = tried("set", &self.anchor);
        let nameserver = client.anchor(&self.anchor)?.nameserver().map_err(&fault)?;
        nameserver.set_record(self.record).await.map_err(&fault)?;
        Ok(0)
    }
}

/// Remove all records of a name from a name server
#[derive(Args, Debug)]
pub(crate) struct Unset {
    /// Where the name server stands
    anchor: AnchorArg,

    /// The name
    #[arg(value_name = "NAME", allow_hyphen_values = true)]
    name: Name,

    #[command(flatten)]
    dial: DialArgs,
}

impl OnCircuit for Unset {
    fn dialling(&self) -> &DialArgs {
        &self.dial
    }

    async fn run(self, client: &Client) -> Result<u8, Fault> {
        let fault = tried("unset", &self.anchor);
        let nameserver = client.anchor(&self.anchor)?.nameserver().map_err(&fault)?;
        nameserver.unset(&self.name.to_string()).await.map_err(&fault)?;
        Ok(0)
    }
}
