mod container;
mod kept;

use alloc::{boxed::Box, string::ToString, vec, vec::Vec};

use super::*;
use crate::{codec, wire::op::OutputSpec};

fn key(seq: u64) -> CallKey {
    CallKey { registration: 1, seq }
}

const ID: ElementId = ElementId(7);

struct Rig {
    process: Process,
    out: Out,
}

type Answers = Vec<(u64, Result<Reply, ErrorKind>)>;

impl Rig {
    fn new() -> Self {
        Self { process: Process::new(ID, path(), key(1)), out: Out::new() }
    }

    /// One that runs `spec`.
    fn running(spec: &ProcSpec) -> Self {
        let mut rig = Self::new();
        rig.describe(spec);
        rig.event(ProcessEvent::Started { pid: 42 });
        assert_eq!(rig.answers(), [(1, Ok(Reply::Done))]);
        rig.out.clear();
        rig
    }

    fn describe(&mut self, spec: &ProcSpec) {
        let mut bytes = Vec::new();
        codec::encode(spec, &mut bytes);
        let (first, rest) = bytes.split_at(bytes.len() / 2);
        self.process.input(key(1), Bytes::copy_from_slice(first), false, &mut self.out);
        self.process.input(key(1), Bytes::copy_from_slice(rest), true, &mut self.out);
    }

    fn start(&mut self, seq: u64, op: &Op) {
        self.process.start(key(seq), op, Bytes::new(), false, &mut self.out);
    }

    fn input(&mut self, seq: u64, text: &'static [u8], end: bool) {
        self.process.input(key(seq), Bytes::from_static(text), end, &mut self.out);
    }

    fn event(&mut self, event: ProcessEvent) {
        self.process.effect(1_000, event, &mut self.out);
    }

    fn exit(&mut self, code: i32) {
        self.event(ProcessEvent::Exited { how: How::Code(code) });
    }

    fn answers(&mut self) -> Answers {
        let answers = self.out.iter().filter_map(|output| match output {
            Output::Answer { key, result } => Some((key.seq, result.clone().map_err(|error| error.kind))),
            _ => None,
        });
        let answers = answers.collect();
        self.out.retain(|output| !matches!(output, Output::Answer { .. }));
        answers
    }

    fn effects(&mut self) -> Vec<Effect> {
        let out = core::mem::take(&mut self.out);
        out.into_iter()
            .filter_map(|output| if let Output::Effect(effect) = output { Some(effect) } else { None })
            .collect()
    }
}

fn sleeper() -> ProcSpec {
    ProcSpec { path: "/bin/sleep".to_string(), args: vec!["9".to_string()], ..ProcSpec::default() }
}

fn path() -> Path {
    "p".parse().unwrap()
}

fn stdout() -> Op {
    Op::Output { path: path(), of: Stdio::Out, from_end: false }
}

#[test]
fn it_is_started_once_its_description_is_whole() {
    let mut rig = Rig::new();
    rig.start(9, &Op::Stdin(path()));
    assert_eq!(rig.answers(), [(9, Err(ErrorKind::NotFound))]);
    rig.describe(&sleeper());
    assert_eq!(rig.effects(), [Effect::Spawn { id: ID, spec: Box::new(sleeper()) }]);
    rig.event(ProcessEvent::Failed { errno: 2 });
    assert_eq!(rig.answers(), [(1, Err(ErrorKind::SpawnFailed(2)))]);
    assert_eq!(rig.out, [Output::Vacate(ID)]);
}

#[test]
fn a_description_that_makes_no_sense_is_refused() {
    let spec = |path: &str, env: &str, arg: &str| ProcSpec {
        path: path.to_string(),
        env: vec![env.to_string()],
        args: vec![arg.to_string()],
        ..ProcSpec::default()
    };
    for bad in [
        spec("", "A=b", ""),
        spec("/a\0", "A=b", ""),
        spec("/a", "A", ""),
        spec("/a", "=b", ""),
        spec("/a", "A=b", "\0"),
    ] {
        let mut rig = Rig::new();
        rig.describe(&bad);
        assert_eq!(rig.answers(), [(1, Err(ErrorKind::Invalid))], "{bad:?}");
        assert!(rig.out.contains(&Output::Vacate(ID)));
    }
    let mut rig = Rig::new();
    for _ in 0..40 {
        rig.process.input(key(1), Bytes::from(vec![0; 32 * 1024]), false, &mut rig.out);
    }
    assert_eq!(rig.answers()[0], (1, Err(ErrorKind::QuotaExceeded)));
}

#[test]
fn everybody_who_waits_is_told_the_same_and_so_is_who_asks_later() {
    let mut rig = Rig::running(&sleeper());
    rig.start(2, &Op::Wait(path()));
    rig.start(3, &Op::Wait(path()));
    rig.exit(3);
    rig.start(4, &Op::Wait(path()));
    let exit = Some(Exit { how: How::Code(3), cause: None, started: 1_000, ended: 1_000 });
    let stat = ProcStat { spec: sleeper(), phase: Phase::Exited, exit };
    let told: Answers = [2, 3, 4].into_iter().map(|seq| (seq, Ok(Reply::Exit(Box::new(stat.clone()))))).collect();
    assert_eq!(rig.answers(), told);
}

#[test]
fn one_writes_at_a_time_and_who_is_away_gives_way() {
    let mut rig = Rig::running(&sleeper());
    rig.start(2, &Op::Stdin(path()));
    rig.input(2, b"abc", false);
    rig.start(3, &Op::Stdin(path()));
    assert_eq!(rig.answers(), [(3, Err(ErrorKind::WouldBlock))]);
    rig.process.away(key(2));
    rig.start(4, &Op::Stdin(path()));
    assert_eq!(rig.answers(), [(2, Err(ErrorKind::Aborted))]);
    rig.input(4, b"d", true);
    let wrote = |text: &'static [u8]| Effect::Write { id: ID, bytes: Bytes::from_static(text) };
    assert_eq!(rig.effects(), [wrote(b"abc"), wrote(b"d"), Effect::CloseInput { id: ID }]);
    rig.event(ProcessEvent::Wrote { count: 4 });
    rig.event(ProcessEvent::InputClosed);
    assert_eq!(rig.answers(), [(4, Ok(Reply::Done))]);
}

#[test]
fn a_lost_writer_leaves_the_input_open() {
    let mut rig = Rig::running(&sleeper());
    rig.start(2, &Op::Stdin(path()));
    rig.input(2, b"abc", false);
    rig.process.cancel(key(2), ErrorKind::Disconnected, &mut rig.out);
    assert_eq!(rig.answers(), [(2, Err(ErrorKind::Disconnected))]);
    assert!(!rig.effects().contains(&Effect::CloseInput { id: ID }));
}

#[test]
fn writing_nothing_to_a_process_that_has_ended_succeeds_and_something_does_not() {
    let mut rig = Rig::running(&sleeper());
    rig.exit(0);
    rig.event(ProcessEvent::InputClosed);
    for (seq, text, outcome) in [(2, &b""[..], Ok(Reply::Done)), (3, b"x", Err(ErrorKind::Closed))] {
        rig.process.start(key(seq), &Op::Stdin(path()), Bytes::copy_from_slice(text), true, &mut rig.out);
        assert_eq!(rig.answers(), [(seq, outcome)]);
    }
}

#[test]
fn what_a_process_did_not_read_before_it_ended_is_reported() {
    let mut rig = Rig::running(&sleeper());
    rig.start(2, &Op::Stdin(path()));
    rig.input(2, b"abc", true);
    rig.event(ProcessEvent::Wrote { count: 1 });
    rig.event(ProcessEvent::InputClosed);
    assert_eq!(rig.answers(), [(2, Err(ErrorKind::Closed))]);
}

#[test]
fn who_only_closes_the_input_is_answered_whatever_another_had_written() {
    let mut rig = Rig::running(&sleeper());
    rig.start(2, &Op::Stdin(path()));
    rig.input(2, b"abc", false);
    rig.process.cancel(key(2), ErrorKind::Cancelled, &mut rig.out);
    rig.answers();
    rig.start(3, &Op::Stdin(path()));
    rig.input(3, b"", true);
    rig.exit(0);
    rig.event(ProcessEvent::InputClosed);
    assert_eq!(rig.answers(), [(3, Ok(Reply::Done))]);
}

#[test]
fn who_wrote_all_that_a_process_wanted_may_end_after_it() {
    let mut rig = Rig::running(&sleeper());
    rig.start(2, &Op::Stdin(path()));
    rig.input(2, b"abc", false);
    rig.event(ProcessEvent::Wrote { count: 3 });
    rig.exit(0);
    rig.event(ProcessEvent::InputClosed);
    assert_eq!(rig.answers(), []);
    rig.input(2, b"", true);
    assert_eq!(rig.answers(), [(2, Ok(Reply::Done))]);
}

#[test]
fn output_goes_on_after_the_exit_when_a_grandchild_holds_the_pipe() {
    let mut rig = Rig::running(&sleeper());
    rig.start(2, &stdout());
    rig.exit(0);
    rig.event(ProcessEvent::Output { of: Stdio::Out, bytes: Bytes::from_static(b"late") });
    rig.event(ProcessEvent::OutputEnd { of: Stdio::Out });
    rig.process.acked(key(2), 5, &mut rig.out);
    assert_eq!(rig.answers(), [(2, Ok(Reply::Read { missed: 0 }))]);
}

#[test]
fn a_signal_never_goes_to_a_process_that_has_ended() {
    let mut rig = Rig::running(&sleeper());
    rig.start(2, &Op::Signal { path: path(), signal: 15 });
    rig.start(3, &Op::Signal { path: path(), signal: 64 });
    assert_eq!(rig.answers(), [(2, Ok(Reply::Done)), (3, Err(ErrorKind::Invalid))]);
    assert_eq!(rig.effects(), [Effect::Signal { id: ID, signal: 15 }]);
    rig.event(ProcessEvent::Exited { how: How::Signal { number: 15, core: false } });
    rig.start(4, &Op::Signal { path: path(), signal: 15 });
    assert_eq!(rig.answers(), [(4, Err(ErrorKind::Closed))]);
    assert_eq!(rig.process.stat().phase, Phase::Signaled);
}

#[test]
fn removing_it_tells_everybody_and_lets_the_process_go_on() {
    let mut rig = Rig::running(&sleeper());
    rig.start(2, &Op::Wait(path()));
    rig.start(3, &stdout());
    rig.start(4, &Op::Stdin(path()));
    rig.process.abort(&mut rig.out);
    let aborted = |seq| (seq, Err(ErrorKind::Aborted));
    assert_eq!(rig.answers(), [aborted(2), aborted(3), aborted(4)]);
    assert_eq!(rig.effects(), [Effect::Release { id: ID }]);
}

#[test]
fn one_that_is_to_be_removed_at_its_end_goes_when_nobody_reads_it_any_more() {
    let mut rig = Rig::running(&ProcSpec { scrub: true, ..sleeper() });
    rig.start(2, &stdout());
    rig.event(ProcessEvent::OutputEnd { of: Stdio::Out });
    rig.exit(0);
    assert!(!rig.out.contains(&Output::Vacate(ID)));
    rig.process.acked(key(2), 1, &mut rig.out);
    assert!(rig.out.contains(&Output::Vacate(ID)));
}

#[test]
fn what_is_to_end_has_the_time_that_its_maker_gave_it() {
    let mut rig = Rig::running(&ProcSpec { grace: Some(2_000), ..sleeper() });
    rig.process.kill(key(2), &mut rig.out);
    assert_eq!(rig.effects(), [Effect::Kill { id: ID, grace: Duration::from_millis(2) }]);
}

#[test]
fn one_that_is_never_to_wait_may_write_without_end() {
    let mut rig = Rig::new();
    rig.describe(&ProcSpec { output: OutputSpec::Drop, ..sleeper() });
    rig.out.clear();
    rig.event(ProcessEvent::Started { pid: 42 });
    let read = |of| Effect::Read { id: ID, of, until: u64::MAX };
    assert_eq!(rig.effects(), [read(Stdio::Out), read(Stdio::Err)]);
}

#[test]
fn stopping_and_going_on_are_phases() {
    let mut rig = Rig::running(&sleeper());
    for (event, phase) in [(ProcessEvent::Stopped, Phase::Stopped), (ProcessEvent::Continued, Phase::Continued)] {
        rig.event(event);
        assert_eq!(rig.process.stat().phase, phase);
    }
}

#[test]
fn its_end_can_be_waited_for_before_it_has_begun() {
    let mut rig = Rig::new();
    rig.start(2, &Op::Wait(path()));
    rig.describe(&sleeper());
    rig.start(3, &Op::Wait(path()));
    rig.start(4, &Op::Peek(path()));
    assert_eq!(rig.answers(), [(4, Err(ErrorKind::NotFound))]);
    rig.event(ProcessEvent::Started { pid: 42 });
    assert_eq!(rig.answers(), [(1, Ok(Reply::Done))]);
    rig.exit(0);
    assert!(matches!(rig.answers()[..], [(2, Ok(Reply::Exit(_))), (3, Ok(Reply::Exit(_)))]));
}

#[test]
fn who_waits_for_what_cannot_be_started_hears_why() {
    let mut rig = Rig::new();
    rig.describe(&sleeper());
    rig.start(2, &Op::Wait(path()));
    rig.event(ProcessEvent::Failed { errno: 2 });
    let failed = Err(ErrorKind::SpawnFailed(2));
    assert_eq!(rig.answers(), [(2, failed.clone()), (1, failed)]);
}
