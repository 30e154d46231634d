//! The process: run on its host, watched and fed from anywhere.
//!
//! The semantics are here: what is kept of its output, who may write to it, what
//! everybody is told when it ends. The effect only starts it, carries bytes, and
//! says what the operating system said.

mod buffer;
mod stdin;
#[cfg(test)]
mod tests;

use alloc::{boxed::Box, collections::BTreeSet, vec::Vec};

use bytes::Bytes;

use super::{ElementId, Out, Output, wrong_kind};
use crate::{
    Error, ErrorKind,
    calls::CallKey,
    codec,
    effect::{Effect, ProcessEvent},
    wire::op::{Exit, How, Kind, Op, Phase, ProcSpec, ProcStat, Reply, Stat, StdinSpec, Stdio},
};
use buffer::Buffer;
use stdin::Stdin;

/// The longest description of a process, as it travels.
const MAX_SPEC: usize = 1024 * 1024;

/// A process on its host.
#[derive(Debug)]
pub(super) struct Process {
    id: ElementId,
    stage: Stage,
    spec: ProcSpec,
    stdin: Stdin,
    stdout: Buffer,
    stderr: Buffer,
    waiting: BTreeSet<CallKey>,
    started: u64,
}

#[derive(Debug)]
enum Stage {
    /// What to run is still coming.
    Describing { maker: CallKey, spec: Vec<u8> },
    /// It is being started.
    Starting { maker: CallKey },
    /// It runs, or is stopped.
    Alive(Phase),
    /// It has ended.
    Ended(Exit),
}

impl Process {
    /// A process that `maker` is about to describe.
    pub(super) fn new(id: ElementId, maker: CallKey) -> Self {
        Self {
            id,
            stage: Stage::Describing { maker, spec: Vec::new() },
            spec: ProcSpec::default(),
            stdin: Stdin::default(),
            stdout: Buffer::default(),
            stderr: Buffer::default(),
            waiting: BTreeSet::new(),
            started: 0,
        }
    }

    /// A call other than the one that makes it. Its end can be waited for before
    /// it has begun, so that a client needs not ask twice.
    pub(super) fn start(&mut self, key: CallKey, op: &Op, input: Bytes, ended: bool, out: &mut Out) {
        let being_made = matches!(self.stage, Stage::Describing { .. } | Stage::Starting { .. });
        if being_made && !matches!(op, Op::Wait(_)) {
            return fail(key, ErrorKind::NotFound, "it is still being made", out);
        }
        match op {
            Op::Peek(_) => {
                out.push_back(Output::Answer { key, result: Ok(Reply::Stat(Box::new(Stat::Proc(self.stat())))) });
            }
            Op::Wait(_) => match self.stage {
                Stage::Ended(_) => {
                    out.push_back(Output::Answer { key, result: Ok(Reply::Exit(Box::new(self.stat()))) });
                }
                _ => {
                    self.waiting.insert(key);
                }
            },
            Op::Signal { signal, .. } => self.signal(key, *signal, out),
            Op::Stdin(_) => {
                self.stdin.open(key, out);
                self.input(key, input, ended, out);
            }
            Op::Output { of, from_end, .. } => {
                self.buffer(*of).open(key, *from_end, out);
                self.allow(*of, out);
            }
            _ => out.push_back(Output::Answer { key, result: Err(wrong_kind(op, Kind::Proc)) }),
        }
    }

    /// More of a call's inbound stream has come.
    pub(super) fn input(&mut self, key: CallKey, bytes: Bytes, end: bool, out: &mut Out) {
        if let Stage::Describing { maker, spec } = &mut self.stage {
            if *maker != key {
                return;
            }
            if spec.len() + bytes.len() > MAX_SPEC {
                fail(key, ErrorKind::QuotaExceeded, "the description of the process is over 1 MiB", out);
                return out.push_back(Output::Vacate(self.id));
            }
            spec.extend_from_slice(&bytes);
            let acked = spec.len() as u64;
            if end {
                self.launch(key, out);
            } else {
                out.push_back(Output::Grant { key, acked, limit: acked + MAX_SPEC as u64 });
            }
            return;
        }
        let ended = matches!(self.stage, Stage::Ended(_));
        self.stdin.write(self.id, key, bytes, end, ended, out);
    }

    /// A reader has used up its stream to `acked`.
    pub(super) fn acked(&mut self, key: CallKey, acked: u64, out: &mut Out) {
        for of in [Stdio::Out, Stdio::Err] {
            self.buffer(of).acked(key, acked, out);
            self.allow(of, out);
        }
        self.scrub_if_over(out);
    }

    /// A call should end.
    pub(super) fn cancel(&mut self, key: CallKey, why: ErrorKind, out: &mut Out) {
        match self.stage {
            Stage::Describing { maker, .. } if maker == key => {
                fail(key, why, "", out);
                return out.push_back(Output::Vacate(self.id));
            }
            // It cannot be taken back: the answer will say what came of it.
            Stage::Starting { maker } if maker == key => return,
            _ => {}
        }
        let read = self.stdout.close(key) || self.stderr.close(key);
        if read || self.waiting.remove(&key) || self.stdin.close(key) {
            fail(key, why, "", out);
        }
        self.scrub_if_over(out);
    }

    /// A call's client is away: somebody else may write in its place.
    pub(super) fn away(&mut self, key: CallKey) {
        self.stdin.away(key);
    }

    /// A call's client is back.
    pub(super) fn back(&mut self, key: CallKey) {
        self.stdin.back(key);
    }

    /// The operating system has something to say.
    pub(super) fn effect(&mut self, wall: u64, event: ProcessEvent, out: &mut Out) {
        match event {
            ProcessEvent::Started { .. } => self.has_started(wall, out),
            ProcessEvent::Failed { errno } => self.has_failed(errno, out),
            ProcessEvent::Output { of, bytes } => {
                self.buffer(of).push(bytes, out);
                self.allow(of, out);
            }
            ProcessEvent::OutputEnd { of } => self.buffer(of).finish(out),
            ProcessEvent::Wrote { count } => self.stdin.wrote(count, out),
            ProcessEvent::InputClosed => self.stdin.closed(out),
            ProcessEvent::Stopped => self.set_phase(Phase::Stopped),
            ProcessEvent::Continued => self.set_phase(Phase::Continued),
            ProcessEvent::Exited { how } => self.has_ended(wall, how, out),
        }
    }

    /// It was removed: everybody waiting hears so. The process itself goes on.
    pub(super) fn abort(&mut self, out: &mut Out) {
        let maker = match self.stage {
            Stage::Describing { maker, .. } | Stage::Starting { maker } => Some(maker),
            _ => None,
        };
        let waiting = self.waiting.iter().copied();
        let readers = self.stdout.readers().chain(self.stderr.readers());
        for key in waiting.chain(readers).chain(self.stdin.writer()).chain(maker) {
            fail(key, ErrorKind::Aborted, "", out);
        }
        out.push_back(Output::Effect(Effect::Release { id: self.id }));
    }

    fn launch(&mut self, maker: CallKey, out: &mut Out) {
        let Stage::Describing { spec, .. } = &self.stage else {
            return;
        };
        match codec::decode_whole::<ProcSpec>(spec).map_err(|error| alloc::format!("{error}")).and_then(checked) {
            Ok(spec) => {
                self.stage = Stage::Starting { maker };
                self.spec = spec.clone();
                out.push_back(Output::Effect(Effect::Spawn { id: self.id, spec: Box::new(spec) }));
            }
            Err(detail) => {
                fail(maker, ErrorKind::Invalid, &detail, out);
                out.push_back(Output::Vacate(self.id));
            }
        }
    }

    fn has_started(&mut self, wall: u64, out: &mut Out) {
        if let Stage::Starting { maker } = self.stage {
            self.stage = Stage::Alive(Phase::Running);
            self.started = wall;
            if self.spec.stdin == StdinSpec::Null {
                self.stdin.closed(out);
            }
            out.push_back(Output::Answer { key: maker, result: Ok(Reply::Done) });
            for of in [Stdio::Out, Stdio::Err] {
                self.allow(of, out);
            }
        }
    }

    fn has_failed(&mut self, errno: i32, out: &mut Out) {
        if let Stage::Starting { maker } = self.stage {
            for key in core::mem::take(&mut self.waiting).into_iter().chain([maker]) {
                fail(key, ErrorKind::SpawnFailed(errno), &self.spec.path, out);
            }
            out.push_back(Output::Vacate(self.id));
        }
    }

    fn has_ended(&mut self, wall: u64, how: How, out: &mut Out) {
        self.stage = Stage::Ended(Exit { how, started: self.started, ended: wall });
        let stat = Box::new(self.stat());
        for key in core::mem::take(&mut self.waiting) {
            out.push_back(Output::Answer { key, result: Ok(Reply::Exit(stat.clone())) });
        }
        self.scrub_if_over(out);
    }

    /// One that was to be removed at its end is, once nobody reads it.
    fn scrub_if_over(&self, out: &mut Out) {
        let read = self.stdout.readers().chain(self.stderr.readers()).next().is_some();
        if self.spec.scrub && matches!(self.stage, Stage::Ended(_)) && !read {
            out.push_back(Output::Vacate(self.id));
        }
    }

    fn set_phase(&mut self, phase: Phase) {
        if let Stage::Alive(now) = &mut self.stage {
            *now = phase;
        }
    }

    fn signal(&self, key: CallKey, signal: i32, out: &mut Out) {
        if !matches!(self.stage, Stage::Alive(_)) {
            return fail(key, ErrorKind::Closed, "the process has ended", out);
        }
        if !(1..=31).contains(&signal) {
            return fail(key, ErrorKind::Invalid, "no signal has that number", out);
        }
        out.push_back(Output::Effect(Effect::Signal { id: self.id, signal }));
        out.push_back(Output::Answer { key, result: Ok(Reply::Done) });
    }

    fn stat(&self) -> ProcStat {
        let (phase, exit) = match self.stage {
            Stage::Alive(phase) => (phase, None),
            Stage::Ended(exit) => match exit.how {
                How::Code(_) => (Phase::Exited, Some(exit)),
                How::Signal { .. } => (Phase::Signaled, Some(exit)),
            },
            Stage::Describing { .. } | Stage::Starting { .. } => (Phase::Running, None),
        };
        ProcStat { spec: self.spec.clone(), phase, exit }
    }

    fn buffer(&mut self, of: Stdio) -> &mut Buffer {
        match of {
            Stdio::Out => &mut self.stdout,
            Stdio::Err => &mut self.stderr,
        }
    }

    /// Lets the process write as far as there is room.
    fn allow(&mut self, of: Stdio, out: &mut Out) {
        let (id, buffer) = (self.id, self.buffer(of));
        if let Some(until) = buffer.new_room() {
            out.push_back(Output::Effect(Effect::Read { id, of, until }));
        }
    }
}

/// What is wrong with a description, if anything is.
fn checked(spec: ProcSpec) -> Result<ProcSpec, alloc::string::String> {
    let nul = |text: &str| text.contains('\0');
    if spec.path.is_empty() {
        return Err("Path is empty".into());
    }
    if nul(&spec.path) || nul(&spec.dir) {
        return Err("Path or Dir has a NUL in it".into());
    }
    if spec.args.iter().any(|arg| nul(arg)) {
        return Err("an argument in Args has a NUL in it".into());
    }
    match spec.env.iter().position(|pair| nul(pair) || pair.find('=').is_none_or(|at| at == 0)) {
        // Not what it is: it may be a secret.
        Some(index) => Err(alloc::format!("entry {} of Env is not NAME=VALUE", index + 1)),
        None => Ok(spec),
    }
}

fn fail(key: CallKey, kind: ErrorKind, detail: &str, out: &mut Out) {
    out.push_back(Output::Answer { key, result: Err(Error::new(kind, detail)) });
}
