//! `circuit waitall`: until several processes have ended.

use std::io::{self, BufRead, Read};

use circuit_core::Error;
use clap::Args;
use tokio::task::JoinSet;

use crate::{
    args::AnchorArg,
    dial::{Client, DialArgs, OnCircuit, tried},
    fault::Fault,
    stdin::unreadable,
};

/// The most anchors; a host answers no more calls of one client at a time.
const MAX_ANCHORS: usize = 10_000;
/// The longest line that can be an anchor, and more.
const MAX_LINE: u64 = 64 * 1024;

/// Wait until all processes whose anchors stand on standard input, one a line, have ended
#[derive(Args, Debug)]
pub(crate) struct Waitall {
    #[command(flatten)]
    dial: DialArgs,

    /// What standard input said.
    #[arg(skip)]
    anchors: Vec<AnchorArg>,
}

impl OnCircuit for Waitall {
    fn dialling(&self) -> &DialArgs {
        &self.dial
    }

    fn prepare(&mut self) -> Result<(), Fault> {
        self.anchors = read_anchors(io::stdin().lock())?;
        Ok(())
    }

    async fn run(self, client: &Client) -> Result<u8, Fault> {
        let mut waits = JoinSet::new();
        for path in self.anchors {
            let process = client.anchor(&path)?.proc().map_err(tried("waitall", &path))?;
            waits.spawn(async move {
                process.wait().await.map_err(|error: Error| Fault::of(format!("wait {path}"), &error))
            });
        }
        let mut worst = 0;
        while let Some(waited) = waits.join_next().await {
            if let Ok(Err(fault)) = waited {
                fault.tell();
                worst = worst.max(fault.status());
            }
        }
        Ok(worst)
    }
}

fn read_anchors(mut input: impl BufRead) -> Result<Vec<AnchorArg>, Fault> {
    let mut anchors = Vec::new();
    for number in 1.. {
        let mut line = String::new();
        let read = input.by_ref().take(MAX_LINE).read_line(&mut line);
        if read.map_err(|error| unreadable(&error))? == 0 {
            break;
        }
        if line.trim().is_empty() {
            continue;
        }
        let bad = |why: String| Fault::usage(format!("waitall: line {number} of standard input: {why}"));
        if anchors.len() == MAX_ANCHORS {
            return Err(bad(format!("there are more than {MAX_ANCHORS} anchors")));
        }
        anchors.push(line.trim().parse().map_err(|error: circuit_core::BadPath| bad(error.to_string()))?);
    }
    Ok(anchors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_anchor_a_line() {
        let text = "/X0000000000000001/a\n\n  /X0000000000000001/b  \n";
        let anchors = read_anchors(text.as_bytes()).expect("anchors");
        assert_eq!(
            anchors.iter().map(AnchorArg::as_str).collect::<Vec<_>>(),
            ["/X0000000000000001/a", "/X0000000000000001/b"]
        );
    }

    #[test]
    fn a_bad_line_is_named() {
        let fault = read_anchors("/X0000000000000001/a\nb\n".as_bytes()).expect_err("refused");
        assert!(format!("{fault:?}").contains("line 2"), "{fault:?}");
        let many = "/X0000000000000001/a\n".repeat(MAX_ANCHORS + 1);
        assert!(read_anchors(many.as_bytes()).is_err());
    }
}
