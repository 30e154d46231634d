//! Processes that outlive their server, seen from the one before and the next.

use alloc::vec;

use proptest::prelude::*;

use super::*;
use crate::{
    effect::Timed,
    wire::op::{OnServerExit, OutputSpec},
};

fn keeping() -> ProcSpec {
    ProcSpec { output: OutputSpec::File, on_server_exit: OnServerExit::Keep, ..sleeper() }
}

/// A process on its first server, and what its keeper knows.
struct Home {
    rig: Rig,
    kept: Kept,
}

impl Home {
    fn new() -> Self {
        let mut home = Self { rig: Rig::new(), kept: Kept::new(path(), keeping()) };
        home.rig.describe(&keeping());
        home.event(ProcessEvent::At { time: 500, event: Timed::Started { pid: 42 } });
        home
    }

    fn event(&mut self, event: ProcessEvent) {
        self.obey();
        self.kept.heard(1_000, &event);
        self.rig.event(event);
        self.obey();
    }

    /// Hears what the server wants.
    fn obey(&mut self) {
        for effect in self.rig.effects() {
            match effect {
                Effect::Read { of, until, .. } => self.kept.output(of).until = until,
                Effect::Forget { of, before, .. } => self.kept.output(of).base = before,
                Effect::Write { bytes, .. } => self.kept.unwritten += bytes.len() as u64,
                _ => {}
            }
        }
    }

    /// The same process on the next server.
    fn next(&self) -> Rig {
        let mut out = Out::new();
        let process = Process::adopt(ID, self.kept.clone(), &mut out);
        Rig { process, out }
    }
}

#[test]
fn one_that_is_to_be_kept_needs_its_output_on_disk() {
    let mut rig = Rig::new();
    rig.describe(&ProcSpec { output: OutputSpec::Block, ..keeping() });
    assert_eq!(rig.answers(), [(1, Err(ErrorKind::Invalid))]);
    let mut rig = Rig::new();
    rig.describe(&keeping());
    assert_eq!(rig.effects(), [Effect::Keep { id: ID, at: path(), spec: Box::new(keeping()) }]);
}

#[test]
fn the_next_server_has_it_where_the_last_one_left_it() {
    let mut home = Home::new();
    home.event(ProcessEvent::Stored { of: Stdio::Out, count: 100 });
    home.event(ProcessEvent::Stopped);
    let mut next = home.next();
    assert_eq!(next.process.stat(), home.rig.process.stat());
    assert_eq!(next.effects(), [], "it has been told how much may be read");
    next.start(2, &stdout());
    assert_eq!(next.effects(), [Effect::Fetch { id: ID, of: Stdio::Out, from: 0, len: 100 }]);
    next.start(3, &Op::Wait(path()));
    let exited = ProcessEvent::At { time: 700, event: Timed::Exited { how: How::Code(3) } };
    next.event(exited);
    let exit = Exit { how: How::Code(3), cause: None, started: 500, ended: 700 };
    assert_eq!(next.process.stat().exit, Some(exit));
    assert_eq!(next.answers().len(), 1);
}

#[test]
fn one_that_was_never_told_how_much_may_be_read_is() {
    let kept = Kept::new(path(), keeping());
    let mut out = Out::new();
    Process::adopt(ID, kept, &mut out);
    assert_eq!(out.len(), 2, "{out:?}");
}

#[test]
fn one_that_ended_meanwhile_answers_at_once_or_goes_as_it_was_to() {
    let mut home = Home::new();
    home.event(ProcessEvent::Exited { how: How::Code(0) });
    let mut next = home.next();
    next.start(2, &Op::Wait(path()));
    assert!(matches!(next.answers()[..], [(2, Ok(Reply::Exit(_)))]));
    home.kept.spec.scrub = true;
    assert!(home.next().out.contains(&Output::Vacate(ID)));
}

#[test]
fn what_was_still_to_be_written_is_not_taken_for_what_the_next_writer_wrote() {
    let mut home = Home::new();
    home.rig.start(2, &Op::Stdin(path()));
    home.rig.input(2, b"abc", false);
    home.event(ProcessEvent::Wrote { count: 1 });
    assert_eq!(home.kept.unwritten, 2);
    let mut next = home.next();
    next.start(3, &Op::Stdin(path()));
    next.input(3, b"defg", false);
    next.out.clear();
    next.event(ProcessEvent::Wrote { count: 2 });
    assert_eq!(next.out, [], "that was of the last writer");
    next.event(ProcessEvent::Wrote { count: 3 });
    assert!(matches!(next.out.pop_back(), Some(Output::Grant { acked: 3, .. })), "{:?}", next.out);
}

#[test]
fn when_its_keeper_is_killed_everybody_hears_what_became_of_it() {
    let mut rig = Home::new().rig;
    rig.start(2, &Op::Wait(path()));
    rig.start(3, &stdout());
    rig.event(ProcessEvent::Lost);
    let answers = rig.answers();
    let [(2, Ok(Reply::Exit(stat))), (3, Err(ErrorKind::Closed))] = &answers[..] else { panic!("{answers:?}") };
    let exit = stat.exit.expect("an end");
    assert_eq!((exit.how, exit.cause), (How::Signal { number: 9, core: false }, Some(Cause::Keeper)));
    rig.start(4, &stdout());
    rig.start(5, &Op::Stdin(path()));
    rig.input(5, b"x", true);
    assert_eq!(rig.answers(), [(4, Err(ErrorKind::Closed)), (5, Err(ErrorKind::Closed))]);

    let mut rig = Home::new().rig;
    rig.process.kill(key(2), &mut rig.out);
    rig.event(ProcessEvent::Lost);
    assert_eq!(rig.answers(), [(2, Ok(Reply::Done))]);

    let mut rig = Rig::new();
    rig.describe(&keeping());
    rig.event(ProcessEvent::Lost);
    assert_eq!(rig.answers(), [(1, Err(ErrorKind::Aborted))]);
}

#[test]
fn how_it_ended_is_still_known_when_its_keeper_is_killed() {
    let mut rig = Home::new().rig;
    rig.exit(3);
    rig.event(ProcessEvent::OutputEnd { of: Stdio::Out });
    rig.start(2, &stdout());
    rig.event(ProcessEvent::Lost);
    assert_eq!(rig.process.stat().exit.expect("an end").how, How::Code(3));
    rig.process.acked(key(2), 1, &mut rig.out);
    assert_eq!(rig.answers(), [(2, Ok(Reply::Read { missed: 0 }))], "it had all that there was");
}

proptest! {
    #[test]
    fn whenever_a_server_ends_the_next_knows_the_same(
        steps in prop::collection::vec((0_u8..8, 1_u64..100_000_000), 1..60),
    ) {
        let mut home = Home::new();
        let (mut exited, mut acked) = (false, 0);
        home.rig.start(2, &stdout());
        for (what, amount) in steps {
            let of = if amount % 2 == 0 { Stdio::Out } else { Stdio::Err };
            let Kept { stdout, .. } = home.kept;
            let room = home.kept.output(of).until - home.kept.output(of).end;
            match what {
                0..=2 if room > 0 && !home.kept.output(of).ended => {
                    home.event(ProcessEvent::Stored { of, count: amount.min(room) });
                }
                3 | 4 if stdout.end > acked => {
                    // What was fetched does not matter, only how far it was read.
                    let bytes = Bytes::from(vec![0; usize::try_from(stdout.end - acked).unwrap().min(1 << 20)]);
                    acked += bytes.len() as u64;
                    home.event(ProcessEvent::Fetched { of: Stdio::Out, from: acked - bytes.len() as u64, result: Ok(bytes) });
                    home.rig.process.acked(key(2), acked, &mut home.rig.out);
                    home.event(ProcessEvent::Continued);
                }
                5 => home.event(ProcessEvent::Stopped),
                6 if amount < 10_000_000 => home.event(ProcessEvent::OutputEnd { of }),
                7 if amount < 10_000_000 && !exited => {
                    exited = true;
                    home.event(ProcessEvent::Exited { how: How::Code(1) });
                }
                _ => {}
            }
            let mut next = home.next();
            prop_assert_eq!(next.process.stat(), home.rig.process.stat());
            prop_assert!(next.effects().is_empty());
            for of in [Stdio::Out, Stdio::Err] {
                let (old, new) = (home.rig.process.buffer(of).extent(), next.process.buffer(of).extent());
                prop_assert!(new.0 <= old.0 && new.1 == old.1 && new.2 == old.2, "{:?} and {:?}", old, new);
            }
        }
    }
}
