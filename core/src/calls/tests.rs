use alloc::{boxed::Box, string::ToString, vec, vec::Vec};

use super::{stream::Piece, *};
use crate::wire::{
    call::MAX_CHUNK,
    op::{Entry, LogRecord},
};

const WAY: Way = Way { via: ServerId(7), session: 1 };
const OTHER_WAY: Way = Way { via: ServerId(8), session: 2 };

struct Rig {
    calls: Calls,
    now: Instant,
    timers: crate::timers::Timers<Timer>,
}

/// What came out, without timers.
#[derive(Debug, PartialEq)]
enum Saw {
    Start(u64),
    Input(u64, Vec<u8>, bool),
    Cancel(u64, ErrorKind),
    Away(u64),
    Back(u64),
    Sent(Way, ToClient, usize),
}

impl Rig {
    fn new() -> Self {
        let calls = Calls::new(1, Rng::from_number(1));
        Self { calls, now: Instant::ZERO, timers: crate::timers::Timers::default() }
    }

    fn attached() -> (Self, u64) {
        let mut rig = Self::new();
        let registration = rig.attach(WAY, 1, 0);
        (rig, registration)
    }

    fn attach(&mut self, way: Way, attempt: u32, registration: u64) -> u64 {
        let saw = self.say(way, &attach(attempt, registration), &[]);
        let attached = saw.iter().find_map(|saw| match saw {
            Saw::Sent(_, ToClient::Attached { registration, .. }, _) => Some(*registration),
            _ => None,
        });
        attached.unwrap_or_else(|| panic!("{saw:?}"))
    }

    fn say(&mut self, way: Way, message: &ToHost, payload: &[u8]) -> Vec<Saw> {
        let load = Load::from_client(message.clone(), Bytes::copy_from_slice(payload));
        self.calls.handle_packet(self.now, way, load).unwrap();
        self.saw()
    }

    fn pass(&mut self, time: Duration) -> Vec<Saw> {
        self.now += time;
        let mut saw = Vec::new();
        while let Some(timer) = self.timers.pop(self.now) {
            self.calls.handle_timeout(timer);
            saw.extend(self.saw());
        }
        saw
    }

    fn answer(&mut self, registration: u64, seq: u64, result: Result<Reply, Error>) -> Vec<Saw> {
        self.calls.answer(CallKey { registration, seq }, result);
        self.saw()
    }

    fn saw(&mut self) -> Vec<Saw> {
        let mut saw = Vec::new();
        while let Some(output) = self.calls.poll_output() {
            saw.push(match output {
                Output::Start { key, .. } => Saw::Start(key.seq),
                Output::Input { key, bytes, end } => Saw::Input(key.seq, bytes.to_vec(), end),
                Output::Cancel { key, why } => Saw::Cancel(key.seq, why),
                Output::Away(key) => Saw::Away(key.seq),
                Output::Back(key) => Saw::Back(key.seq),
                Output::Packet { way, load, .. } => {
                    let (message, payload) = load.to_client().unwrap();
                    Saw::Sent(way, message, payload.len())
                }
                Output::Timer(timer, at) => {
                    self.timers.set(timer, at);
                    continue;
                }
                Output::Acked { .. } | Output::Executed { .. } => continue,
            });
        }
        saw
    }
}

fn attach(attempt: u32, registration: u64) -> ToHost {
    ToHost::Attach(Box::new(Attach { client: 9, attempt, registration, answered: vec![], label: "me".into() }))
}

fn send(seq: u64, ended: bool) -> ToHost {
    let op = Op::Send { path: Path::root(), try_only: false };
    ToHost::Call { seq, deadline: None, acked: 0, limit: 1 << 20, again: false, ended, op }
}

fn answered(seq: u64) -> Saw {
    Saw::Sent(WAY, ToClient::Answer { seq, result: Ok(Reply::Done) }, 0)
}

#[test]
fn what_is_asked_twice_is_done_once_and_answered_twice() {
    let (mut rig, id) = Rig::attached();
    assert_eq!(rig.say(WAY, &send(1, true), b"a"), [Saw::Start(1)]);
    let credit = ToClient::Credit { seq: 1, acked: 0, limit: 32 * 1024 + 1 };
    assert_eq!(rig.say(WAY, &send(1, true), b"a"), [Saw::Sent(WAY, credit, 0)], "it is under way");
    assert_eq!(rig.answer(id, 1, Ok(Reply::Done)), [answered(1)]);
    assert_eq!(rig.say(WAY, &send(1, true), b"a"), [answered(1)]);
    rig.say(WAY, &ToHost::Answered(vec![(1, 1)]), &[]);
    assert_eq!(rig.say(WAY, &send(1, true), b"a"), [], "a copy that was long on its way");
    assert_eq!(rig.calls.count(), (1, 0));
}

#[test]
fn what_comes_with_a_call_that_is_asked_again_is_taken() {
    let (mut rig, _) = Rig::attached();
    assert_eq!(rig.say(WAY, &send(1, false), b""), [Saw::Start(1)]);
    let again = |text: &[u8], rig: &mut Rig| {
        let saw = rig.say(WAY, &send(1, true), text);
        assert!(matches!(saw.last(), Some(Saw::Sent(_, ToClient::Credit { .. }, 0))), "{saw:?}");
        saw.into_iter().filter(|saw| matches!(saw, Saw::Input(..))).collect::<Vec<_>>()
    };
    // Its stream was on the way that was lost.
    assert_eq!(again(b"hello", &mut rig), [Saw::Input(1, b"hello".to_vec(), true)]);
    assert_eq!(again(b"hello", &mut rig), [], "it has that");
}

#[test]
fn an_error_that_quotes_much_of_what_was_asked_fits_a_packet() {
    let (mut rig, id) = Rig::attached();
    rig.say(WAY, &send(1, true), b"");
    let error = Error::new(ErrorKind::Invalid, "\u{e9}".repeat(500_000));
    let saw = rig.answer(id, 1, Err(error));
    let [Saw::Sent(_, ToClient::Answer { result: Err(told), .. }, 0)] = &saw[..] else { panic!("{saw:?}") };
    assert!((1_000..2_000).contains(&told.detail.len()), "{}", told.detail.len());
}

#[test]
fn an_answer_waits_for_a_client_that_is_away() {
    let (mut rig, id) = Rig::attached();
    rig.say(WAY, &send(1, true), &[]);
    rig.calls.handle_lost(rig.now, WAY);
    assert_eq!(rig.saw(), [Saw::Away(1)]);
    assert_eq!(rig.answer(id, 1, Ok(Reply::Done)), []);
    rig.attach(OTHER_WAY, 2, id);
    let saw = rig.say(OTHER_WAY, &send(1, true), &[]);
    assert_eq!(saw, [Saw::Sent(OTHER_WAY, ToClient::Answer { seq: 1, result: Ok(Reply::Done) }, 0)]);
}

#[test]
fn calls_end_after_the_grace_and_the_registration_after_ten_minutes() {
    let (mut rig, id) = Rig::attached();
    rig.say(WAY, &send(1, true), &[]);
    rig.calls.handle_lost(rig.now, WAY);
    rig.saw();
    assert_eq!(rig.pass(GRACE - Duration::from_micros(1)), []);
    assert_eq!(rig.pass(Duration::from_micros(1)), [Saw::Cancel(1, ErrorKind::Disconnected)]);
    rig.answer(id, 1, Err(ErrorKind::Disconnected.into()));
    rig.pass(MEMORY);
    assert_eq!(rig.calls.count(), (0, 0));
    assert!(rig.timers.is_empty());
    let saw = rig.say(WAY, &attach(3, id), &[]);
    assert_eq!(saw, [Saw::Sent(WAY, ToClient::Forgotten { attempt: 3 }, 0)]);
}

#[test]
fn a_client_that_comes_back_in_time_loses_nothing() {
    let (mut rig, id) = Rig::attached();
    rig.say(WAY, &send(1, true), &[]);
    rig.calls.handle_lost_server(rig.now, WAY.via);
    rig.saw();
    rig.pass(GRACE / 2);
    let saw = rig.say(OTHER_WAY, &attach(2, id), &[]);
    assert!(saw.contains(&Saw::Back(1)));
    assert_eq!(rig.pass(MEMORY * 2), []);
}

#[test]
fn who_is_not_attached_is_told_so_and_nothing_is_done() {
    let mut rig = Rig::new();
    assert_eq!(rig.say(WAY, &send(1, true), &[]), [Saw::Sent(WAY, ToClient::Unattached, 0)]);
}

#[test]
fn an_attachment_overtaken_by_a_later_one_changes_nothing() {
    let (mut rig, id) = Rig::attached();
    rig.attach(OTHER_WAY, 3, id);
    assert_eq!(rig.say(WAY, &attach(2, id), &[]), []);
    assert_eq!(rig.say(WAY, &attach(1, 0), &[]), []);
    rig.calls.handle_lost(rig.now, WAY);
    rig.say(OTHER_WAY, &send(1, true), &[]);
    assert_eq!(rig.answer(id, 1, Ok(Reply::Done)).len(), 1, "it is still attached");
}

#[test]
fn a_client_that_starts_over_gets_a_registration_of_its_own() {
    let (mut rig, id) = Rig::attached();
    rig.say(WAY, &send(1, true), &[]);
    let fresh = rig.attach(WAY, 2, 0);
    assert_ne!(fresh, id);
    assert_eq!(rig.say(WAY, &send(1, true), &[]), [Saw::Start(1)]);
    assert_eq!(rig.calls.count(), (1, 1));
}

#[test]
fn a_deadline_is_counted_once_by_the_host() {
    let (mut rig, id) = Rig::attached();
    let call = |deadline| match send(1, true) {
        ToHost::Call { seq, acked, limit, again, ended, op, .. } => {
            ToHost::Call { seq, deadline: Some(deadline), acked, limit, again, ended, op }
        }
        _ => unreachable!(),
    };
    rig.say(WAY, &call(1_000), &[]);
    rig.say(WAY, &call(900_000), &[]);
    assert_eq!(rig.pass(Duration::from_micros(1_000)), [Saw::Cancel(1, ErrorKind::Timeout)]);
    rig.answer(id, 1, Err(ErrorKind::Timeout.into()));
    assert!(rig.timers.is_empty());
}

#[test]
fn too_many_calls_are_refused_and_the_others_feel_nothing() {
    let (mut rig, id) = Rig::attached();
    for seq in 1..=MAX_CALLS as u64 {
        rig.say(WAY, &send(seq, true), &[]);
    }
    let saw = rig.say(WAY, &send(MAX_CALLS as u64 + 1, true), &[]);
    assert!(matches!(
        &saw[..],
        [Saw::Sent(_, ToClient::Answer { result: Err(Error { kind: ErrorKind::QuotaExceeded, .. }), .. }, _)]
    ));
    rig.answer(id, 1, Ok(Reply::Done));
    rig.say(WAY, &ToHost::Answered(vec![(1, 1)]), &[]);
    assert_eq!(rig.say(WAY, &send(MAX_CALLS as u64 + 1, true), &[]), [Saw::Start(MAX_CALLS as u64 + 1)]);
}

#[test]
fn a_client_that_claims_the_impossible_is_forgotten() {
    for impossible in [vec![(5, 4)], vec![(1, 9), (1, 9)], vec![(7, 8), (1, 2)], vec![(1, u64::MAX); 2_048]] {
        let (mut rig, _) = Rig::attached();
        assert_eq!(rig.say(WAY, &ToHost::Answered(impossible), &[]), []);
        assert_eq!(rig.calls.count(), (0, 0));
    }
}

#[test]
fn more_data_than_credit_ends_the_call_and_a_gap_asks_to_attach_again() {
    let (mut rig, _) = Rig::attached();
    rig.say(WAY, &send(1, false), b"ab");
    let data = |offset, end| ToHost::Data { seq: 1, offset, end };
    assert_eq!(rig.say(WAY, &data(3, false), b"d"), [Saw::Sent(WAY, ToClient::Unattached, 0)]);
    assert_eq!(rig.say(WAY, &data(1, false), b"bc"), [Saw::Input(1, b"c".to_vec(), false)]);
    let saw = rig.say(WAY, &data(32 * 1024, false), b"xy");
    assert_eq!(saw, [Saw::Cancel(1, ErrorKind::Invalid)]);
    assert_eq!(rig.say(WAY, &data(3, true), b""), [Saw::Input(1, vec![], true)]);
}

#[test]
fn a_large_reply_is_sent_as_a_stream_that_reads_back() {
    let (mut rig, id) = Rig::attached();
    let op = Op::List { path: Path::root(), after: None, deep: true };
    rig.say(
        WAY,
        &ToHost::Call { seq: 1, deadline: None, acked: 0, limit: 1 << 20, again: false, ended: true, op },
        &[],
    );
    let long = "x".repeat(200);
    let entries = (0..500).map(|n| Entry { path: alloc::format!("{long}/{n}").parse().unwrap(), kind: None }).collect();
    let reply = Reply::Entries { entries, more: false };
    rig.calls.answer(CallKey { registration: id, seq: 1 }, Ok(reply.clone()));
    let (mut stream, mut last) = (Vec::new(), None);
    while let Some(output) = rig.calls.poll_output() {
        let Output::Packet { load, .. } = output else { continue };
        let (message, body) = load.to_client().unwrap();
        match message {
            ToClient::Data { offset, .. } => {
                assert_eq!(offset, stream.len() as u64);
                assert!(body.len() <= MAX_CHUNK);
                stream.extend_from_slice(&body);
            }
            other => last = Some(other),
        }
    }
    assert_eq!(last, Some(ToClient::Answer { seq: 1, result: Ok(Reply::Streamed) }));
    assert_eq!(crate::codec::decode_whole::<Reply>(&stream), Ok(reply));
}

#[test]
fn the_log_hears_of_every_answer_but_not_of_its_own_readers() {
    let (mut rig, id) = Rig::attached();
    let log = Op::Log { start: 0, after: 0, wait: false };
    for (seq, op) in [(1, Op::Close(Path::root())), (2, log)] {
        rig.say(WAY, &ToHost::Call { seq, deadline: None, acked: 0, limit: 0, again: false, ended: true, op }, &[]);
    }
    rig.calls.answer(CallKey { registration: id, seq: 1 }, Err(ErrorKind::NotFound.into()));
    let records: Vec<LogRecord> = vec![];
    rig.calls.answer(CallKey { registration: id, seq: 2 }, Ok(Reply::Log { start: 1, missed: 0, records }));
    let mut verbs = Vec::new();
    while let Some(output) = rig.calls.poll_output() {
        if let Output::Executed { who, verb, error, .. } = output {
            verbs.push((who.to_string(), verb, error));
        }
    }
    assert_eq!(verbs, [("me".to_string(), "close", Some(ErrorKind::NotFound))]);
}

#[test]
fn whoever_detaches_leaves_nothing_behind() {
    let (mut rig, _) = Rig::attached();
    rig.say(WAY, &send(1, true), &[]);
    assert_eq!(rig.say(WAY, &ToHost::Detach, &[]), [Saw::Cancel(1, ErrorKind::Disconnected)]);
    assert_eq!(rig.calls.count(), (0, 0));
    assert!(rig.timers.is_empty());
    let piece = Piece { offset: 0, bytes: Bytes::new(), end: true };
    assert_eq!(rig.say(WAY, &ToHost::Data { seq: 1, offset: piece.offset, end: piece.end }, &[]).len(), 1);
}

#[test]
fn what_is_late_of_a_forgotten_registration_is_neither_done_nor_heard() {
    let (mut rig, _) = Rig::attached();
    let fresh = Attach { client: 9, attempt: 2, registration: 0, answered: vec![(1, 6)], label: "me".into() };
    rig.say(WAY, &ToHost::Attach(Box::new(fresh)), &[]);
    assert_eq!(rig.say(WAY, &send(6, true), b"a"), [], "it is not done");
    rig.say(WAY, &ToHost::Answered(vec![(5, 6)]), &[]);
    assert_eq!(rig.say(WAY, &send(7, true), b"a"), [Saw::Start(7)]);
    assert_eq!(rig.calls.count(), (1, 1));
}

#[test]
fn a_client_that_attaches_anew_has_one_registration() {
    let (mut rig, first) = Rig::attached();
    let second = rig.attach(WAY, 2, 0);
    assert_ne!(first, second);
    assert_eq!(rig.calls.count(), (1, 0));
    assert_eq!(rig.say(WAY, &send(1, true), b"a"), [Saw::Start(1)]);
}
