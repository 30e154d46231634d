//! A process that outlives its server, as its keeper hands it over to the next.

use serde::{Deserialize, Serialize};

use crate::{
    Path,
    effect::ProcessEvent,
    wire::op::{Exit, Phase, ProcSpec, StdinSpec, Stdio},
};

/// A process that an earlier start of the same server left behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Where its element stands.
    pub at: Path,
    /// What was run.
    pub spec: ProcSpec,
    /// When it was started, in microseconds since 1970.
    pub started: u64,
    /// What it is doing, if it has not ended.
    pub phase: Phase,
    /// How it ended, if it has.
    pub exit: Option<Exit>,
    /// Its standard output.
    pub stdout: KeptOutput,
    /// Its standard error.
    pub stderr: KeptOutput,
    /// What it was to be written and has not been, in bytes.
    pub unwritten: u64,
    /// Whether its standard input is closed.
    pub closed: bool,
}

/// What is on disk of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KeptOutput {
    /// The offset of the first byte that was not given back.
    pub base: u64,
    /// The offset after the last byte.
    pub end: u64,
    /// Up to where it may be read from the process.
    pub until: u64,
    /// Whether all who could write to it have closed it.
    pub ended: bool,
}

impl Kept {
    /// One that is about to be started.
    pub fn new(at: Path, spec: ProcSpec) -> Self {
        let closed = spec.stdin == StdinSpec::Null;
        let (stdout, stderr) = Default::default();
        Self { at, spec, started: 0, phase: Phase::Running, exit: None, stdout, stderr, unwritten: 0, closed }
    }

    /// One of its outputs.
    pub const fn output(&mut self, of: Stdio) -> &mut KeptOutput {
        match of {
            Stdio::Out => &mut self.stdout,
            Stdio::Err => &mut self.stderr,
        }
    }

    /// The world happened: something came of it, at this time.
    pub fn heard(&mut self, wall: u64, event: &ProcessEvent) {
        match event {
            ProcessEvent::At { time, event } => self.heard(*time, &(*event).into()),
            ProcessEvent::Started { .. } => self.started = wall,
            ProcessEvent::Stored { of, count } => self.output(*of).end += count,
            ProcessEvent::OutputEnd { of } => self.output(*of).ended = true,
            ProcessEvent::Wrote { count } => self.unwritten = self.unwritten.saturating_sub(*count),
            ProcessEvent::InputClosed => (self.unwritten, self.closed) = (0, true),
            ProcessEvent::Stopped => self.phase = Phase::Stopped,
            ProcessEvent::Continued => self.phase = Phase::Continued,
            ProcessEvent::Exited { how } => {
                self.exit = Some(Exit { how: *how, cause: None, started: self.started, ended: wall });
            }
            _ => {}
        }
    }
}
