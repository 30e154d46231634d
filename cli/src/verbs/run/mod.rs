//! `circuit run`: a command on one server or on many, as if it ran here.
//!
//! On each server a process is made, its streams are attached to those of this
//! program, and it is removed when it has ended ([`mod@target`]). How the output of
//! several stands side by side is [`show`]'s.

mod input;
mod show;
mod target;

use std::{
    fmt::Write as _,
    sync::{Arc, atomic::AtomicBool},
};

use circuit_core::wire::op::{ProcSpec, StdinSpec};
use circuit_tokio::{client::Anchor, system_rng};
use clap::Args;
use tokio::{sync::watch, task::JoinSet};

use crate::{
    args::AnchorArg,
    dial::{Client, DialArgs, OnCircuit},
    fault::{Fault, plain},
    interrupt::Interrupts,
    print::{Format, FormatArgs},
};
use input::spread;
use show::{Mode, Show};
use target::Target;

/// What `run` exits with when the circuit is at fault, and not the command.
const CIRCUIT: u8 = 125;

/// Run a command on servers, print what it prints, and exit as it does
///
/// With -i it reads standard input; on several servers each is given all of it, at the pace of the
/// slowest. On several servers each line begins with the server's name, and the exit status is the
/// worst. An interrupt goes to the command; a second one kills it.
#[derive(Args, Debug)]
pub(crate) struct Run {
    /// Servers to run it on; an anchor beneath one is where the process will stand meanwhile.
    /// Without any, the server that is dialled
    #[arg(value_name = "ANCHOR")]
    anchors: Vec<AnchorArg>,

    /// Run it on all servers
    #[arg(long, conflicts_with = "anchors")]
    all: bool,

    /// Give the command standard input to read; without, it has none
    #[arg(short, long)]
    interactive: bool,

    /// Gather the output, and print it once for all servers where it is equal
    #[arg(short = 'b', long)]
    fold: bool,

    #[command(flatten)]
    format: FormatArgs,

    #[command(flatten)]
    dial: DialArgs,

    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

impl OnCircuit for Run {
    const MINDS_INTERRUPTS: bool = true;
    const FAULT: Option<u8> = Some(CIRCUIT);

    fn dialling(&self) -> &DialArgs {
        &self.dial
    }

    async fn run(self, client: &Client) -> Result<u8, Fault> {
        let mut interrupts = Interrupts::new()?;
        let unread = Arc::new(AtomicBool::new(false));
        let targets = self.targets(client, &unread).await?;
        let alone = targets.len() == 1 && !self.all;
        let show = Arc::new(Show::new(self.mode(alone), self.format));
        let (stdin, inputs) = match self.interactive {
            true => (StdinSpec::Pipe, spread(targets.len(), unread)),
            false => (StdinSpec::Null, targets.iter().map(|_| None).collect()),
        };
        let mut command = self.command.into_iter();
        let path = command.next().unwrap_or_default();
        let spec = Arc::new(ProcSpec { path, args: command.collect(), stdin, ..ProcSpec::default() });
        let (forward, signals) = watch::channel(0);
        let mut running = JoinSet::new();
        for (target, input) in targets.into_iter().zip(inputs) {
            running.spawn(target.run(spec.clone(), input, show.clone(), signals.clone()));
        }
        let (mut worst, mut interrupted) = (0, false);
        loop {
            tokio::select! {
                ended = running.join_next() => match ended {
                    Some(status) => worst = worst.max(status.unwrap_or(CIRCUIT)),
                    None => break,
                },
                signal = interrupts.next() => {
                    forward.send_replace(if interrupted { target::KILL } else { i32::from(signal) });
                    interrupted = true;
                }
            }
        }
        show.end().await?;
        Ok(worst)
    }
}

impl Run {
    fn mode(&self, alone: bool) -> Mode {
        match (self.format.format, self.fold, alone) {
            (Format::Json, ..) => Mode::Json,
            (Format::Text, true, _) => Mode::Fold,
            (Format::Text, false, true) => Mode::Raw,
            (Format::Text, false, false) => Mode::Prefix,
        }
    }

    async fn targets(&self, client: &Client, unread: &Arc<AtomicBool>) -> Result<Vec<Target>, Fault> {
        let failed = |error| Fault::of("run", &error);
        let mut anchors = Vec::new();
        if self.all {
            for member in client.circuit.members().await.map_err(failed)?.members {
                anchors.push(client.within(client.circuit.server(member.id)));
            }
        } else if self.anchors.is_empty() {
            anchors.push(client.within(client.circuit.server(client.circuit.dial_in())));
        }
        for path in &self.anchors {
            anchors.push(client.anchor(path)?);
        }
        let name = fresh_name()?;
        anchors.into_iter().map(|anchor| target(anchor, &name, unread)).collect()
    }
}

/// At a server's own anchor the process stands beneath it, under a name that
/// nothing else has.
fn target(anchor: Anchor, name: &str, unread: &Arc<AtomicBool>) -> Result<Target, Fault> {
    let path = anchor.path();
    let (shown, own) = match anchor.server_id() {
        None => return Err(Fault::usage("run: / is no server's").hint("-all runs it on all servers")),
        Some(id) => (path.trim_start_matches('/').to_owned(), path == format!("/{id}")),
    };
    let at = if own { anchor.walk(name).map_err(|error| Fault::of("run", &error))? } else { anchor };
    Ok(Target { name: shown, at, unread: unread.clone() })
}

fn fresh_name() -> Result<String, Fault> {
    let mut rng = system_rng().map_err(|error| Fault::failed(format!("run: {}", plain(&error))))?;
    let mut name = "run-".to_owned();
    for byte in &rng.seed()[..8] {
        let _ = write!(name, "{byte:02x}");
    }
    Ok(name)
}
