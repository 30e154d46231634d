//! The process: run on its host, watched and fed from anywhere. A container is
//! one too: what differs is what is described, how it is started, and that its
//! engine is asked about its state.
//!
//! The semantics are here: what is kept of its output, who may write to it, what
//! everybody is told when it ends. The effect only starts it, carries bytes, and
//! says what the operating system said.

mod body;
mod buffer;
mod kept;
mod stdin;
#[cfg(test)]
mod tests;

use alloc::{
    boxed::Box,
    collections::{BTreeSet, VecDeque},
    format,
    string::String,
    vec::Vec,
};
use core::time::Duration;

use bytes::Bytes;

use super::{ElementId, Out, Output, wrong_kind};
use crate::{
    Error, ErrorKind, Path,
    calls::CallKey,
    effect::{Effect, ProcessEvent},
    wire::op::{Cause, ContainerStat, Exit, How, Op, OutputSpec, Phase, ProcSpec, ProcStat, Reply, Stat, Stdio},
};
use body::Body;
pub use body::ContainerRules;
use buffer::Buffer;
pub use kept::{Kept, KeptOutput};
use stdin::Stdin;

/// The longest description of a process, as it travels.
const MAX_SPEC: usize = 1024 * 1024;
/// The most words about what is done so that a container can be started.
const MAX_PROGRESS: usize = 256 * 1024;

/// The signal by which a process ends whose keeper does.
const KILL: i32 = 9;

/// A process on its host.
#[derive(Debug)]
pub(super) struct Process {
    id: ElementId,
    /// Where it stands.
    at: Path,
    stage: Stage,
    body: Body,
    stdin: Stdin,
    stdout: Buffer,
    stderr: Buffer,
    waiting: BTreeSet<CallKey>,
    /// Who asked for the inspection of a container, in that order; some do not
    /// want to know any more.
    peeking: VecDeque<Option<CallKey>>,
    /// How many bytes its maker was told of what is being done.
    told: usize,
    cause: Option<Cause>,
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
    /// It has lost its place and is being killed: by whom, if they still want to
    /// know.
    Killed { by: Option<CallKey> },
}

impl Process {
    /// A process that `maker` is about to describe.
    pub(super) fn new(id: ElementId, at: Path, maker: CallKey) -> Self {
        Self::with(id, at, Stage::Describing { maker, spec: Vec::new() }, Body::Process(ProcSpec::default()))
    }

    /// A container that `maker` is about to describe.
    pub(super) fn container(id: ElementId, at: Path, maker: CallKey, rules: ContainerRules) -> Self {
        Self::with(id, at, Stage::Describing { maker, spec: Vec::new() }, Body::Container(Box::default(), rules))
    }

    /// A process that an earlier server left behind.
    pub(super) fn adopt(id: ElementId, kept: Kept, out: &mut Out) -> Self {
        let stage = kept.exit.map_or(Stage::Alive(kept.phase), Stage::Ended);
        let mut process = Self {
            stdin: Stdin::kept(kept.unwritten, kept.closed),
            stdout: Buffer::kept(id, Stdio::Out, &kept.stdout),
            stderr: Buffer::kept(id, Stdio::Err, &kept.stderr),
            started: kept.started,
            ..Self::with(id, kept.at, stage, Body::Process(kept.spec))
        };
        process.allow(Stdio::Out, out);
        process.allow(Stdio::Err, out);
        process.scrub_if_over(out);
        process
    }

    fn with(id: ElementId, at: Path, stage: Stage, body: Body) -> Self {
        Self {
            id,
            at,
            stage,
            body,
            stdin: Stdin::default(),
            stdout: Buffer::new(id, Stdio::Out, OutputSpec::Block),
            stderr: Buffer::new(id, Stdio::Err, OutputSpec::Block),
            waiting: BTreeSet::new(),
            peeking: VecDeque::new(),
            told: 0,
            cause: None,
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
            Op::Peek(_) if matches!(self.body, Body::Container(..)) => {
                self.peeking.push_back(Some(key));
                out.push_back(Output::Effect(Effect::Inspect { id: self.id }));
            }
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
            _ => out.push_back(Output::Answer { key, result: Err(wrong_kind(op, self.body.kind())) }),
        }
    }

    /// More of a call's inbound stream has come.
    pub(super) fn input(&mut self, key: CallKey, bytes: Bytes, end: bool, out: &mut Out) {
        if let Stage::Describing { maker, spec } = &mut self.stage {
            if *maker != key {
                return;
            }
            if spec.len() + bytes.len() > MAX_SPEC {
                let detail = format!("the description of the {} is over 1 MiB", self.body.noun());
                fail(key, ErrorKind::QuotaExceeded, &detail, out);
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
        if matches!(self.stage, Stage::Starting { .. }) {
            return; // its maker has read what is being done
        }
        for of in [Stdio::Out, Stdio::Err] {
            self.buffer(of).acked(key, acked, out);
            self.allow(of, out);
        }
        self.scrub_if_over(out);
    }

    /// A call should end.
    pub(super) fn cancel(&mut self, key: CallKey, why: ErrorKind, out: &mut Out) {
        let lengthy = matches!(self.body, Body::Container(..));
        match &mut self.stage {
            Stage::Describing { maker, .. } if *maker == key => {
                fail(key, why, "", out);
                return out.push_back(Output::Vacate(self.id));
            }
            Stage::Starting { maker } if *maker == key && lengthy => {
                fail(key, why, "", out);
                return out.push_back(Output::Vacate(self.id));
            }
            // It cannot be taken back: the answer will say what came of it.
            Stage::Starting { maker } if *maker == key => return,
            // That neither, but it goes on without whoever asked for it.
            Stage::Killed { by } if *by == Some(key) => {
                *by = None;
                return fail(key, why, "", out);
            }
            _ => {}
        }
        let peek = self.peeking.iter_mut().find(|peek| **peek == Some(key)).and_then(Option::take);
        let read = self.stdout.close(key) || self.stderr.close(key) || peek.is_some();
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
            ProcessEvent::At { time, event } => self.effect(time, event.into(), out),
            ProcessEvent::Started { .. } => self.has_started(wall, out),
            ProcessEvent::Failed { errno } => {
                let error = Error::new(ErrorKind::SpawnFailed(errno), self.body.command().path);
                self.has_failed(&error, out);
            }
            ProcessEvent::Refused { error } => self.has_failed(&error, out),
            ProcessEvent::Progress { text } => self.has_come_further(&text, out),
            ProcessEvent::Inspected { result } => self.inspected(result, out),
            ProcessEvent::Killed { result } => self.is_gone(result, out),
            ProcessEvent::Output { of, bytes } => {
                self.buffer(of).push(bytes, out);
                self.allow(of, out);
            }
            ProcessEvent::Stored { of, count } => {
                self.buffer(of).stored(count, out);
                self.allow(of, out);
            }
            ProcessEvent::Stalled { of, errno } => {
                self.buffer(of).stall(errno, out);
                self.scrub_if_over(out);
            }
            ProcessEvent::Fetched { of, from, result } => {
                self.buffer(of).fetched(from, result, out);
                self.scrub_if_over(out);
            }
            ProcessEvent::OutputEnd { of } => self.buffer(of).finish(out),
            ProcessEvent::Wrote { count } => self.stdin.wrote(count, out),
            ProcessEvent::InputClosed => self.stdin.closed(out),
            ProcessEvent::Stopped => self.set_phase(Phase::Stopped),
            ProcessEvent::Continued => self.set_phase(Phase::Continued),
            ProcessEvent::Explained { cause } => self.cause = Some(cause),
            ProcessEvent::Lost => self.is_lost(wall, out),
            ProcessEvent::Exited { how } => self.has_ended(wall, how, out),
        }
    }

    /// It was removed: everybody waiting hears so. The process itself goes on.
    pub(super) fn abort(&mut self, out: &mut Out) {
        if matches!(self.stage, Stage::Killed { .. }) {
            return;
        }
        self.tell_aborted(out);
        let effect = match (&self.stage, &self.body) {
            // It has not begun, and nobody wants it to.
            (Stage::Starting { .. }, Body::Container(..)) => Effect::Kill { id: self.id, grace: Duration::ZERO },
            _ => Effect::Release { id: self.id },
        };
        out.push_back(Output::Effect(effect));
    }

    /// It was removed and is to end; `key` is answered when it has.
    pub(super) fn kill(&mut self, key: CallKey, out: &mut Out) {
        self.tell_aborted(out);
        self.stage = Stage::Killed { by: Some(key) };
        out.push_back(Output::Effect(Effect::Kill { id: self.id, grace: self.body.grace() }));
    }

    fn tell_aborted(&mut self, out: &mut Out) {
        let maker = match self.stage {
            Stage::Describing { maker, .. } | Stage::Starting { maker } => Some(maker),
            _ => None,
        };
        let waiting = self.waiting.iter().copied();
        let readers = self.stdout.readers().chain(self.stderr.readers());
        let peeking = self.peeking.iter().copied().flatten();
        for key in waiting.chain(readers).chain(peeking).chain(self.stdin.writer()).chain(maker) {
            fail(key, ErrorKind::Aborted, "", out);
        }
    }

    fn launch(&mut self, maker: CallKey, out: &mut Out) {
        let Stage::Describing { spec, .. } = &self.stage else {
            return;
        };
        match self.body.describe(spec) {
            Ok(()) => {
                self.stage = Stage::Starting { maker };
                self.stdout = Buffer::new(self.id, Stdio::Out, self.body.output());
                self.stderr = Buffer::new(self.id, Stdio::Err, self.body.output());
                out.push_back(Output::Effect(self.body.start(self.id, &self.at)));
            }
            Err(error) => {
                out.push_back(Output::Answer { key: maker, result: Err(error) });
                out.push_back(Output::Vacate(self.id));
            }
        }
    }

    fn has_started(&mut self, wall: u64, out: &mut Out) {
        if let Stage::Starting { maker } = self.stage {
            self.stage = Stage::Alive(Phase::Running);
            self.started = wall;
            if !self.body.has_stdin() {
                self.stdin.closed(out);
            }
            let reply = self.body.warning().map_or(Reply::Done, |warning| Reply::Text(warning.into()));
            out.push_back(Output::Answer { key: maker, result: Ok(reply) });
            for of in [Stdio::Out, Stdio::Err] {
                self.allow(of, out);
            }
        }
    }

    fn has_failed(&mut self, error: &Error, out: &mut Out) {
        if let Stage::Starting { maker } = self.stage {
            for key in core::mem::take(&mut self.waiting).into_iter().chain([maker]) {
                out.push_back(Output::Answer { key, result: Err(error.clone()) });
            }
            out.push_back(Output::Vacate(self.id));
        }
        self.is_gone(Ok(()), out); // if it was killed before it began
    }

    fn has_come_further(&mut self, text: &str, out: &mut Out) {
        if let Stage::Starting { maker } = self.stage
            && self.told + text.len() < MAX_PROGRESS
        {
            self.told += text.len() + 1;
            let bytes = Bytes::from(format!("{text}\n"));
            out.push_back(Output::Write { key: maker, bytes, end: false });
        }
    }

    fn inspected(&mut self, result: Result<String, Error>, out: &mut Out) {
        if let Some(key) = self.peeking.pop_front().flatten() {
            let stat = |inspection| Stat::Container(ContainerStat { process: self.stat(), inspection });
            let result = result.map(|inspection| Reply::Stat(Box::new(stat(inspection))));
            out.push_back(Output::Answer { key, result });
        }
    }

    fn is_gone(&mut self, result: Result<(), Error>, out: &mut Out) {
        if let Stage::Killed { by } = self.stage {
            out.extend(by.map(|key| Output::Answer { key, result: result.map(|()| Reply::Done) }));
            out.push_back(Output::Vacate(self.id));
        }
    }

    fn is_lost(&mut self, wall: u64, out: &mut Out) {
        let lost = Error::new(ErrorKind::Aborted, "whoever was to keep it was killed before it began");
        self.has_failed(&lost, out); // if it had not begun, or was being killed
        if matches!(self.stage, Stage::Alive(_)) {
            self.cause = Some(Cause::Keeper);
            self.stdin.closed(out);
            self.has_ended(wall, How::Signal { number: KILL, core: false }, out);
        }
        for of in [Stdio::Out, Stdio::Err] {
            self.buffer(of).lose(out);
        }
        self.scrub_if_over(out);
    }

    fn has_ended(&mut self, wall: u64, how: How, out: &mut Out) {
        if matches!(self.stage, Stage::Killed { .. }) {
            return;
        }
        self.stage = Stage::Ended(Exit { how, cause: self.cause, started: self.started, ended: wall });
        let stat = Box::new(self.stat());
        for key in core::mem::take(&mut self.waiting) {
            out.push_back(Output::Answer { key, result: Ok(Reply::Exit(stat.clone())) });
        }
        self.scrub_if_over(out);
    }

    /// One that was to be removed at its end is, once nobody reads it.
    fn scrub_if_over(&self, out: &mut Out) {
        let read = self.stdout.readers().chain(self.stderr.readers()).next().is_some();
        if self.body.scrub() && matches!(self.stage, Stage::Ended(_)) && !read {
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
            return fail(key, ErrorKind::Closed, &format!("the {} has ended", self.body.noun()), out);
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
            Stage::Describing { .. } | Stage::Starting { .. } | Stage::Killed { .. } => (Phase::Running, None),
        };
        ProcStat { spec: self.body.command(), phase, exit }
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

fn fail(key: CallKey, kind: ErrorKind, detail: &str, out: &mut Out) {
    out.push_back(Output::Answer { key, result: Err(Error::new(kind, detail)) });
}
