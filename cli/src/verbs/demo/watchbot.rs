//! The watchbot: sees to it that a worker works, on whichever server is there.

use bytes::{Bytes, BytesMut};
use circuit_core::{
    Error, ErrorClass, ErrorKind,
    wire::op::{ProcSpec, Source},
};
use circuit_tokio::client::{Anchor, Happened, Output, Proc, Sending, Subscription};

/// What the worker is: it reads numbers, and writes what it makes of them.
const SHELL: &str = "/bin/sh";
const SCRIPT: &str = "while read n; do echo $n squared is $((n * n)); done";

/// A process that works on a server.
pub(super) struct Worker {
    at: Anchor,
    process: Proc,
    stdin: Sending,
    stdout: Output,
    /// What was read, and is no line yet.
    read: BytesMut,
}

impl Worker {
    pub(super) async fn start(at: Anchor) -> Result<Self, Error> {
        let args = vec!["-c".to_owned(), SCRIPT.to_owned()];
        let process = at.make_proc(&ProcSpec { path: SHELL.to_owned(), args, ..ProcSpec::default() }).await?;
        let (stdin, stdout) = (process.stdin(), process.stdout());
        Ok(Self { at, process, stdin, stdout, read: BytesMut::new() })
    }

    /// Its description, as `circuit mkproc` reads it.
    pub(super) fn described() -> String {
        format!(r#"{{"Path": "{SHELL}", "Args": ["-c", "{SCRIPT}"]}}"#)
    }

    pub(super) const fn at(&self) -> &Anchor {
        &self.at
    }

    /// Has it do a job.
    async fn work(&mut self, job: &str) -> Result<String, Error> {
        self.stdin.write(Bytes::from(format!("{job}\n"))).await?;
        loop {
            if let Some(end) = self.read.iter().position(|&byte| byte == b'\n') {
                let line = self.read.split_to(end + 1);
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            match self.stdout.next().await? {
                Some(bytes) => self.read.extend_from_slice(&bytes),
                None => return Err(Error::new(ErrorKind::Closed, "the worker has ended")),
            }
        }
    }

    /// Lets it end, as there is no more for it to read.
    pub(super) async fn end(self) -> Result<(), Error> {
        self.stdin.finish().await?;
        self.process.wait().await.map(drop)
    }
}

/// Whoever gives work to a worker, and hears of servers that are gone.
pub(super) struct Watchbot {
    leaves: Subscription,
}

impl Watchbot {
    /// One that hears of them at `at`.
    pub(super) async fn start(at: &Anchor) -> Result<Self, Error> {
        Ok(Self { leaves: at.subscribe(Source::Leave).await? })
    }

    /// Has the worker do a job: what it made of it, or nothing when the server
    /// under it is gone.
    pub(super) async fn work(&self, worker: &mut Worker, job: &str) -> Result<Option<String>, Error> {
        let server = worker.at.server_id();
        let gone = async {
            loop {
                if let Happened::Left(left) = self.leaves.next().await?
                    && left.server_id() == server
                {
                    return Ok(None);
                }
            }
        };
        tokio::pin!(gone);
        tokio::select! {
            gone = &mut gone => gone,
            done = worker.work(job) => match done {
                // A server that cannot be reached may come back: only when it
                // has left another takes its work.
                Err(error) if error.class() != ErrorClass::Application => gone.await,
                done => done.map(Some),
            },
        }
    }
}
