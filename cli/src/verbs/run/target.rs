//! One process of a `run`: made, attached to, waited for, removed.

use std::{
    convert::Infallible,
    future, io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use circuit_core::{
    Error, ErrorKind,
    wire::op::{How, ProcSpec, ProcStat},
};
use circuit_tokio::client::{Anchor, Output, Proc};
use tokio::{sync::watch, time};

use super::{
    CIRCUIT,
    input::Input,
    show::{Lane, Show, Stream},
};
use crate::{fault::Fault, stdin::feed};

/// The signal that no process survives.
pub(super) const KILL: i32 = 9;
/// The operating system found no such file.
const NO_ENTRY: i32 = 2;
/// What a process printed before it was killed may take so long to come.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Where a process will stand, and what its output is marked with.
pub(super) struct Target {
    pub(super) name: String,
    pub(super) at: Anchor,
    /// Whether there was more to read than could be.
    pub(super) unread: Arc<AtomicBool>,
}

/// Why a process is not attached to any more.
enum Lost {
    Call(Error),
    /// What it prints can be written nowhere.
    Output(io::Error),
}

impl Target {
    /// Runs it; the status to exit with.
    pub(super) async fn run(
        self,
        spec: Arc<ProcSpec>,
        input: Input,
        show: Arc<Show>,
        signals: watch::Receiver<i32>,
    ) -> u8 {
        let status = match self.at.make_proc(&spec).await {
            Ok(process) => self.attend(&process, input, &show, signals).await,
            Err(error) => self.blame(&error),
        };
        show.status(&self.name, status).await;
        status
    }

    /// Attends to the process until it has ended, and removes it.
    async fn attend(&self, process: &Proc, input: Input, show: &Show, signals: watch::Receiver<i32>) -> u8 {
        let [mut out, mut err] = [Stream::Stdout, Stream::Stderr].map(|stream| Lane::new(&self.name, stream));
        let mut ended = tokio::select! {
            ended = follow(process, show, [&mut out, &mut err]) => ended,
            ended = killed(process, signals.clone()) => ended,
            never = feed_and_signal(process, input, signals) => match never {},
        };
        // However it ended, what it has printed is shown.
        for lane in [out, err] {
            if let Err(error) = show.end_of(lane).await
                && ended.is_ok()
            {
                ended = Err(Lost::Output(error));
            }
        }
        match &ended {
            Ok(_) => {}
            // Who tries again waits as long again.
            Err(Lost::Call(error)) if is_out_of_reach(error) => return self.blame(error),
            Err(_) => {
                // Nobody is there for it any more. It may have ended by itself.
                let _ = process.signal(KILL).await;
            }
        }
        let removed = self.at.scrub().await;
        match (ended, removed) {
            (Ok(_), Err(error)) if error.kind != ErrorKind::NotFound => self.blame(&error),
            (Ok(_), _) if self.unread.load(Ordering::Relaxed) => CIRCUIT, // it had less than it was to have
            (Ok(How::Code(code)), _) => u8::try_from(code & 0xff).unwrap_or(CIRCUIT),
            (Ok(How::Signal { number, .. }), _) => u8::try_from(128 + number).unwrap_or(CIRCUIT),
            (Err(Lost::Call(error)), _) => self.blame(&error),
            (Err(Lost::Output(error)), _) => {
                let fault = Fault::from(error);
                fault.tell();
                // As if the command itself had written to the closed pipe.
                if fault.status() == 0 { 128 + 13 } else { CIRCUIT }
            }
        }
    }

    /// Says what the circuit, or the system, has against running it.
    fn blame(&self, error: &Error) -> u8 {
        Fault::of(format!("run on {}", self.name), error).tell();
        match error.kind {
            ErrorKind::SpawnFailed(NO_ENTRY) => 127,
            ErrorKind::SpawnFailed(_) => 126,
            _ => CIRCUIT,
        }
    }
}

const fn is_out_of_reach(error: &Error) -> bool {
    matches!(error.kind, ErrorKind::Disconnected | ErrorKind::Unreachable)
}

/// Copies the output of a process until that and the process have ended.
async fn follow(process: &Proc, show: &Show, [out, err]: [&mut Lane; 2]) -> Result<How, Lost> {
    let (stdout, stderr) = (copy(process.stdout(), show, out), copy(process.stderr(), show, err));
    let wait = async { process.wait().await.map_err(Lost::Call) };
    let (stat, (), ()) = tokio::try_join!(wait, stdout, stderr)?;
    how(&stat)
}

/// Ends soon after the process was killed, as whoever it has started may hold its
/// output open for ever.
async fn killed(process: &Proc, mut signals: watch::Receiver<i32>) -> Result<How, Lost> {
    if signals.wait_for(|signal| *signal == KILL).await.is_err() {
        future::pending::<()>().await;
    }
    let stat = process.wait().await.map_err(Lost::Call)?;
    time::sleep(LAST_WORDS).await;
    how(&stat)
}

fn how(stat: &ProcStat) -> Result<How, Lost> {
    let nobody_knows = || Lost::Call(Error::new(ErrorKind::Invalid, "the process has ended, and nobody knows how"));
    stat.exit.as_ref().map(|exit| exit.how).ok_or_else(nobody_knows)
}

async fn copy(mut output: Output, show: &Show, lane: &mut Lane) -> Result<(), Lost> {
    while let Some(bytes) = output.next().await.map_err(Lost::Call)? {
        show.piece(lane, &bytes).await.map_err(Lost::Output)?;
    }
    output.finish().await.map(drop).map_err(Lost::Call)
}

/// Brings the process what comes from here; the process alone says when it is
/// over.
async fn feed_and_signal(process: &Proc, input: Input, mut signals: watch::Receiver<i32>) -> Infallible {
    let feeding = async {
        if let Some(input) = input {
            let mut sending = process.stdin();
            // That it reads no more is no fault of it.
            if !matches!(feed(input, &mut sending).await, Ok(Some(_))) {
                let _ = sending.finish().await;
            }
        }
        future::pending().await
    };
    let signalling = async {
        while signals.changed().await.is_ok() {
            let signal = *signals.borrow_and_update();
            let _ = process.signal(signal).await;
        }
        future::pending().await
    };
    tokio::select! {
        never = feeding => never,
        never = signalling => never,
    }
}
