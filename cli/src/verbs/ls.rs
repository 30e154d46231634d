//! `circuit ls`: what is there.

use circuit_core::wire::op::Kind;
use circuit_tokio::client::Entry;
use clap::Args;
use serde::Serialize;

use crate::{
    args::Glob,
    dial::{Client, DialArgs, OnCircuit, tried},
    fault::Fault,
    print::{FormatArgs, Out},
};

/// List the anchors beneath another, one full path a line
#[derive(Args, Debug)]
pub(crate) struct Ls {
    /// An anchor, as / or /X88550014d4c82e4d/job; with /... behind it everything beneath
    #[arg(value_name = "ANCHOR")]
    glob: Glob,

    /// Put before each what kind of element it holds; a middle dot for none
    #[arg(short, long)]
    long: bool,

    /// What is beneath an anchor comes before it
    #[arg(long, visible_alias = "de")]
    depth: bool,

    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    dial: DialArgs,
}

/// What stands for no element.
const NONE: &str = "·";

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Line {
    path: String,
    kind: Option<&'static str>,
}

impl OnCircuit for Ls {
    fn dialling(&self) -> &DialArgs {
        &self.dial
    }

    async fn run(self, client: &Client) -> Result<u8, Fault> {
        let anchor = client.anchor(&self.glob.anchor)?;
        let entries = if self.glob.deep { anchor.view_all().await } else { anchor.view().await };
        let entries = entries.map_err(tried("ls", &self.glob.anchor))?;
        let line = |entry: Entry| Line { path: entry.anchor.path(), kind: entry.kind.map(Kind::word) };
        let mut lines: Vec<Line> = entries.into_iter().map(line).collect();
        if self.depth {
            lines = leaves_first(lines);
        }
        let mut out = Out::new(self.format);
        if out.is_json() {
            out.value(&lines).await?;
            return Ok(0);
        }
        for line in lines {
            if self.long {
                out.line(&format!("{:<6} {}", line.kind.unwrap_or(NONE), line.path)).await?;
            } else {
                out.line(&line.path).await?;
            }
        }
        out.flush().await?;
        Ok(0)
    }
}

/// Turns a listing in which every anchor stands before what is beneath it into
/// one in which it stands after.
fn leaves_first(lines: Vec<Line>) -> Vec<Line> {
    let (mut turned, mut above) = (Vec::with_capacity(lines.len()), Vec::<Line>::new());
    for line in lines {
        while let Some(over) = above.pop_if(|over| !is_beneath(&line.path, &over.path)) {
            turned.push(over);
        }
        above.push(line);
    }
    turned.extend(above.into_iter().rev());
    turned
}

fn is_beneath(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_come_first() {
        let lines = ["/X1", "/X1/a", "/X1/a/b", "/X1/a/c", "/X1/ab", "/X2", "/X2/d"];
        let lines = lines.map(|path| Line { path: path.to_owned(), kind: None });
        let turned: Vec<String> = leaves_first(lines.into()).into_iter().map(|line| line.path).collect();
        assert_eq!(turned, ["/X1/a/b", "/X1/a/c", "/X1/a", "/X1/ab", "/X1", "/X2/d", "/X2"]);
    }
}
