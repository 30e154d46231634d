//! Processes.

use bytes::Bytes;
use circuit_core::{
    Error, Path, ServerId,
    wire::op::{Op, ProcStat, Reply, Stat, Stdio},
};

use super::{
    Anchor, Ended,
    call::unexpected,
    stream::{Receiving, Sending},
};

/// A process on some host, or a container.
#[derive(Clone, Debug)]
pub struct Proc(pub(super) Anchor);

impl Proc {
    /// Where it stands.
    pub const fn anchor(&self) -> &Anchor {
        &self.0
    }

    fn path(&self) -> Path {
        self.0.place("").map(|at| at.path.clone()).unwrap_or_default()
    }

    fn host(&self) -> ServerId {
        self.0.server_id().unwrap_or(ServerId::DIAL_IN)
    }

    /// Its standard input; [`Sending::finish`] closes that.
    pub fn stdin(&self) -> Sending {
        Sending::start(self.0.circuit(), self.host(), Op::Stdin(self.path()), self.0.deadline())
    }

    /// What it has written to its standard output and nobody has read, and what
    /// it will.
    pub fn stdout(&self) -> Output {
        self.output(Stdio::Out, false)
    }

    /// The same of its standard error.
    pub fn stderr(&self) -> Output {
        self.output(Stdio::Err, false)
    }

    /// What it writes to one of them from now on.
    pub fn tail(&self, of: Stdio) -> Output {
        self.output(of, true)
    }

    /// Sends it a signal, by the host's number.
    ///
    /// # Errors
    /// `Closed` if it has ended; `Invalid` for a number that is no signal's.
    pub async fn signal(&self, signal: i32) -> Result<(), Error> {
        self.0.ask(Op::Signal { path: self.path(), signal }, Bytes::new()).await.map(drop)
    }

    /// Waits until it has ended. One that is still being made can be waited for.
    ///
    /// # Errors
    /// `SpawnFailed` if it could not be started, `Aborted` if it was removed, `Unreachable` if its host was lost.
    pub async fn wait(&self) -> Result<ProcStat, Error> {
        match self.0.wait().await? {
            Ended::Exited(stat) => Ok(stat),
            Ended::Chosen(_) => Err(circuit_core::ErrorKind::WrongKind.into()),
        }
    }

    /// Its state.
    ///
    /// # Errors
    /// `NotFound`, or `WrongKind` if something else stands there.
    pub async fn peek(&self) -> Result<ProcStat, Error> {
        match self.0.peek().await? {
            Stat::Proc(stat) => Ok(stat),
            Stat::Container(stat) => Ok(stat.process),
            _ => Err(circuit_core::ErrorKind::WrongKind.into()),
        }
    }

    fn output(&self, of: Stdio, from_end: bool) -> Output {
        let op = Op::Output { path: self.path(), of, from_end };
        Output(Receiving::start(self.0.circuit(), self.host(), op, self.0.deadline()))
    }
}

/// An output of a process, being read.
#[derive(Debug)]
pub struct Output(Receiving);

impl Output {
    /// The next bytes, or nothing at the end; those before count as read.
    ///
    /// # Errors
    /// `Aborted` if the process was removed; those of the host.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        self.0.next().await
    }

    /// Acknowledges the end; says how many bytes were forgotten before they
    /// could be read.
    ///
    /// # Errors
    /// As [`Output::next`].
    pub async fn finish(mut self) -> Result<u64, Error> {
        match self.0.finish().await? {
            Reply::Read { missed } => Ok(missed),
            other => Err(unexpected(&other)),
        }
    }
}
