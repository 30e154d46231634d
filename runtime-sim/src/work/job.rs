//! One process or container that a client runs: what it should write and how it should end.

use bytes::Bytes;
use circuit_core::{
    Error, ErrorKind, Path, Rng, ServerId,
    wire::op::{How, ProcSpec, Reply, Stat},
};

use crate::{
    ClientIndex,
    script::{NO_SUCH_FILE, TOO_MANY, pattern},
};

/// The signal that ends some of them.
pub(crate) const TERM: i32 = 15;

/// One process, from its beginning to its removal.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) client: ClientIndex,
    pub(crate) host: ServerId,
    pub(crate) path: Path,
    pub(crate) kind: Kind,
    /// It is a container.
    pub(crate) contained: bool,
    /// What it should write.
    pub(crate) text: Bytes,
    /// It was certainly made.
    pub(crate) made: bool,
    pub(crate) killed: bool,
    /// The host died, or a call of it has failed: nothing is certain any more.
    pub(crate) troubled: bool,
    got: Vec<u8>,
    /// Its calls that are open.
    pub(crate) open: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Cat,
    Yes(i32),
    Sleep,
    Missing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Make,
    Write,
    Read,
    Wait,
    Kill,
    Peek,
    Scrub,
}

impl Job {
    /// A process for this place, at random.
    pub(crate) fn draw(rng: &mut Rng, client: ClientIndex, host: ServerId, number: u64) -> (Self, ProcSpec) {
        let size = [0, 100, 5_000, 150_000][rng.below(4) as usize] + rng.below(50);
        let (kind, path, args) = match rng.below(10) {
            0..4 => (Kind::Cat, "/bin/cat", vec![]),
            4..8 => {
                let code = rng.below(4) as i32;
                (Kind::Yes(code), "/bin/yes", vec![size.to_string(), code.to_string()])
            }
            8 => (Kind::Sleep, "/bin/sleep", vec![rng.below(5_000).to_string()]),
            _ => (Kind::Missing, "/bin/nothing", vec![]),
        };
        let text = match kind {
            Kind::Cat | Kind::Yes(_) => pattern(0, size as usize),
            Kind::Sleep | Kind::Missing => Bytes::new(),
        };
        let place = format!("job/{number}").parse().unwrap_or_default();
        let (contained, made, killed, troubled, got, open) = Default::default();
        let job = Self { client, host, path: place, kind, contained, text, made, killed, troubled, got, open };
        (job, ProcSpec { path: path.to_owned(), args, ..ProcSpec::default() })
    }

    /// More of its output came.
    pub(crate) fn wrote(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.got.extend_from_slice(bytes);
        let right = self.text.starts_with(&self.got);
        if right { Ok(()) } else { Err(format!("{:?} of {} wrote something else", self.kind, self.path)) }
    }

    /// One of its calls was answered.
    pub(crate) fn answered(&mut self, step: Step, result: &Result<Reply, Error>) -> Result<(), String> {
        self.is_right(step, result)
            .map_err(|words| format!("{words}: {step:?} of {self:?} was answered {result:?}"))?;
        self.troubled |= result.is_err();
        self.made |= step == Step::Make && result.is_ok();
        Ok(())
    }

    /// Whether an answer is one that should be.
    fn is_right(&self, step: Step, result: &Result<Reply, Error>) -> Result<(), &'static str> {
        let whole = self.got[..] == self.text[..];
        match (step, result) {
            (Step::Read, Ok(Reply::Read { missed: 0 })) if whole || self.killed || self.troubled => Ok(()),
            (Step::Read, Ok(_)) => Err("not all that it wrote was read"),
            (Step::Wait, Ok(Reply::Exit(stat))) => match (stat.exit.map(|exit| exit.how), self.kind) {
                (Some(How::Signal { number: TERM, .. }), _) if self.killed && !self.contained => Ok(()),
                (Some(How::Code(code)), _) if code == 128 + TERM && self.killed && self.contained => Ok(()),
                (Some(How::Code(code)), Kind::Yes(expected)) if code == expected => Ok(()),
                (Some(How::Code(0)), Kind::Cat | Kind::Sleep) => Ok(()),
                _ => Err("it ended in another way"),
            },
            (Step::Make, Ok(Reply::Done)) if self.kind != Kind::Missing => Ok(()),
            (Step::Write | Step::Kill | Step::Scrub, Ok(Reply::Done)) => Ok(()),
            (Step::Peek, Ok(Reply::Stat(stat))) => match &**stat {
                Stat::Container(stat) if self.contained && stat.inspection.starts_with('{') => Ok(()),
                Stat::Proc(_) if !self.contained => Ok(()),
                _ => Err("it is something else"),
            },
            (_, Ok(_)) => Err("that is no answer to this"),
            (_, Err(error)) => self.may_fail(step, error),
        }
    }

    fn may_fail(&self, step: Step, error: &Error) -> Result<(), &'static str> {
        let system = [ErrorKind::Unreachable, ErrorKind::Disconnected, ErrorKind::Unknown, ErrorKind::Cancelled];
        match (step, error.kind) {
            (_, kind) if system.contains(&kind) => Ok(()),
            (Step::Make, ErrorKind::SpawnFailed(NO_SUCH_FILE)) if self.kind == Kind::Missing => Ok(()),
            (Step::Make, ErrorKind::SpawnFailed(TOO_MANY)) => Ok(()),
            // The process may have ended, or what was asked is too late.
            (Step::Write | Step::Kill, ErrorKind::Closed) => Ok(()),
            // Its host forgot the client, or began anew, or was never seen.
            (_, ErrorKind::Aborted | ErrorKind::NotFound) if self.troubled || !self.made => Ok(()),
            (_, ErrorKind::NotFound) if !error.detail.is_empty() => Ok(()),
            _ => Err("that is no way to fail"),
        }
    }
}
