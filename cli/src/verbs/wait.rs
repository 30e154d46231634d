//! `circuit wait`: until a process has ended, or a select is decided.

use circuit_tokio::client::Ended;
use clap::Args;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::{
    args::AnchorArg,
    dial::{Client, DialArgs, OnCircuit, tried},
    fault::Fault,
    print::{FormatArgs, Out},
    shapes::Shape,
};

/// Wait until a process has ended or a select is decided, and print how
///
/// With -any, wait for the first of several that ends, and print its anchor; one whose server is
/// lost ends with that, and the error says which.
#[derive(Args, Debug)]
pub(crate) struct Wait {
    /// Where the process or select stands; with -any, several
    #[arg(required = true, value_name = "ANCHOR")]
    anchors: Vec<AnchorArg>,

    /// Wait for the first of several
    #[arg(long)]
    any: bool,

    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    dial: DialArgs,
}

/// Which was first, and how it ended.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct First<'a> {
    anchor: &'a str,
    #[serde(flatten)]
    stat: Shape,
}

impl OnCircuit for Wait {
    fn dialling(&self) -> &DialArgs {
        &self.dial
    }

    fn prepare(&mut self) -> Result<(), Fault> {
        match self.anchors.len() {
            0 | 1 => Ok(()),
            _ if self.any => Ok(()),
            _ => Err(Fault::usage("wait: there are several anchors")
                .hint("-any waits for the first of them; 'waitall' for all, whose anchors stand on standard input")),
        }
    }

    async fn run(self, client: &Client) -> Result<u8, Fault> {
        let mut out = Out::new(self.format);
        if self.any {
            let (first, ended) = self.first(client).await?;
            if out.is_json() {
                out.value(&First { anchor: first.as_str(), stat: shape(ended) }).await?;
            } else {
                out.line(first.as_str()).await?;
                out.flush().await?;
            }
        }
        for anchor in self.anchors.iter().filter(|_| !self.any) {
            let ended = client.anchor(anchor)?.wait().await.map_err(tried("wait", anchor))?;
            out.value(&shape(ended)).await?;
        }
        Ok(0)
    }
}

impl Wait {
    /// The first that ends, by itself or with its host.
    async fn first(&self, client: &Client) -> Result<(AnchorArg, Ended), Fault> {
        let mut waits = JoinSet::new();
        for path in &self.anchors {
            let (path, anchor) = (path.clone(), client.anchor(path)?);
            waits.spawn(async move {
                let ended = anchor.wait().await.map_err(tried("wait", &path))?;
                Ok((path, ended))
            });
        }
        let first = waits.join_next().await;
        first.and_then(Result::ok).unwrap_or_else(|| Err(Fault::failed("wait: nothing was waited for")))
    }
}

fn shape(ended: Ended) -> Shape {
    match ended {
        Ended::Exited(stat) => Shape::Proc(stat.into()),
        Ended::Chosen(chosen) => Shape::Chosen(chosen.into()),
    }
}
