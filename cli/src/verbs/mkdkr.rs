//! `circuit mkdkr`: starts a container.

use std::io;

use circuit_core::{ErrorKind, wire::op::ContainerSpec};
use clap::Args;

use crate::{
    args::AnchorArg,
    dial::{Client, DialArgs, OnCircuit, tried},
    fault::{Fault, warn},
    spec,
};

/// Start a container, which standard input describes
///
/// The description is JSON, as {"Image": "ubuntu", "Path": "/bin/ls", "Args": ["/"]}. Only Image is
/// needed. Dir, Env and Scrub are as for mkproc; Entry stands for the image's entry point; Memory
/// is in bytes; CpuShares; Volume: ["/src:/opt/src:ro"]. The server must be started with -docker.
/// Privileged: true and HostNamespaces: ["net", "pid", "ipc", "uts"] need one started with
/// -docker-unsafe, and so do volumes that lead to the engine's socket. An image that is not there
/// is pulled.
#[derive(Args, Debug)]
pub(crate) struct Mkdkr {
    /// Where it is to stand: beneath the server that runs it
    anchor: AnchorArg,

    /// Remove the element when the container ends
    #[arg(long)]
    scrub: bool,

    #[command(flatten)]
    dial: DialArgs,

    /// What standard input said.
    #[arg(skip)]
    spec: ContainerSpec,
}

impl OnCircuit for Mkdkr {
    fn dialling(&self) -> &DialArgs {
        &self.dial
    }

    fn prepare(&mut self) -> Result<(), Fault> {
        self.spec = spec::read_container(io::stdin().lock()).map_err(|why| {
            Fault::usage(format!("the description of the container: {why}")).hint(
                "it stands on standard input, as {\"Image\": \"ubuntu\", \"Path\": \"/bin/ls\", \"Args\": [\"/\"]}",
            )
        })?;
        self.spec.scrub |= self.scrub;
        Ok(())
    }

    async fn run(self, client: &Client) -> Result<u8, Fault> {
        let anchor = client.anchor(&self.anchor)?;
        match anchor.make_container_telling(&self.spec, warn).await {
            Ok(_) => Ok(0),
            Err(error) => {
                let forbidden = error.kind == ErrorKind::Forbidden;
                let fault = tried("mkdkr", &self.anchor)(error);
                let hint = "'circuit start -docker' allows containers, and with -docker-unsafe all of them";
                Err(if forbidden { fault.hint(hint) } else { fault })
            }
        }
    }
}
