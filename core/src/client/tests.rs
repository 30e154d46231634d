use alloc::{string::ToString, vec, vec::Vec};

use super::*;
use crate::{
    ErrorClass, Path,
    links::MAX_QUEUED,
    session::{Peer, Role},
    wire::{
        Hello, Load, Route,
        call::{Ranges, ToClient},
        route::End,
    },
};

const DIAL_IN: ServerId = ServerId(1);
const HOST: ServerId = ServerId(2);

struct Rig {
    client: Client,
    now: Instant,
    calls: u64,
}

impl Rig {
    fn new() -> Self {
        let target = Target { addr: ([10, 0, 0, 1], 7).into(), expect: None };
        Self { client: Client::new("me".to_string(), vec![target], [1; 32]), now: Instant::ZERO, calls: 0 }
    }

    fn call(&mut self, host: ServerId, op: Op) -> CallId {
        self.calls += 1;
        self.client.call(self.now, CallId(self.calls), host, op.into());
        CallId(self.calls)
    }

    fn up(&mut self, server: ServerId) {
        self.client.handle_up(self.now, Peer { role: Role::Server, id: server });
    }

    /// A host says something.
    fn hear(&mut self, host: ServerId, message: &ToClient, payload: &[u8]) {
        let route = Route { to: End::Client, bulk: false, hops: 0, host, via: DIAL_IN, session: 1 };
        let load = Load::from_host(message.clone(), Bytes::copy_from_slice(payload));
        self.client.handle_frame(self.now, Frame::Packet(route, load));
    }

    fn attached(&mut self, host: ServerId, attempt: u32) {
        self.hear(host, &ToClient::Attached { attempt, registration: 5, start: 1 }, &[]);
    }

    fn lost(&mut self, host: ServerId, loss: Loss) {
        let route = Route { to: End::Client, bulk: false, hops: 0, host, via: DIAL_IN, session: 1 };
        self.client.handle_frame(self.now, Frame::Lost(route, loss));
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        while self.client.poll_timeout().is_some_and(|(at, _)| at <= self.now) {
            self.client.handle_timeout(self.now);
        }
    }

    fn drain(&mut self) -> Vec<Output> {
        core::iter::from_fn(|| self.client.poll_output()).collect()
    }

    /// What was said to hosts.
    fn said(&mut self) -> Vec<ToHost> {
        let said = self.drain().into_iter().filter_map(|output| match output {
            Output::Send(Frame::Packet(_, load)) => Some(load.to_host().unwrap().0),
            _ => None,
        });
        said.collect()
    }

    fn answers(&mut self) -> Vec<(CallId, Result<Reply, ErrorKind>)> {
        let answers = self.drain().into_iter().filter_map(|output| match output {
            Output::Event(Event::Answer { call, result }) => Some((call, result.map_err(|error| error.kind))),
            _ => None,
        });
        answers.collect()
    }
}

fn close() -> Op {
    Op::Close("c".parse().unwrap())
}

#[test]
fn the_first_call_dials_and_attaches_and_asks() {
    let mut rig = Rig::new();
    assert_eq!(rig.drain(), []);
    let call = rig.call(HOST, close());
    assert!(matches!(rig.drain()[..], [Output::Dial(_)]));
    rig.up(DIAL_IN);
    assert!(matches!(rig.said()[..], [ToHost::Attach(_)]));
    rig.attached(HOST, 1);
    assert!(matches!(rig.said()[..], [ToHost::Call { seq: 1, again: false, ended: true, .. }]));
    rig.hear(HOST, &ToClient::Answer { seq: 1, result: Ok(Reply::Done) }, &[]);
    assert_eq!(rig.answers(), [(call, Ok(Reply::Done))]);
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.said(), [ToHost::Answered(vec![(1, 1)])]);
}

/// A call that was sent, and whose host has left.
fn given_up_as_unknown() -> (Rig, CallId) {
    let mut rig = Rig::new();
    let call = rig.call(HOST, close());
    rig.up(DIAL_IN);
    rig.attached(HOST, 1);
    rig.lost(HOST, Loss::Gone);
    assert_eq!(rig.answers(), [(call, Err(ErrorKind::Unknown))]);
    (rig, call)
}

#[test]
fn an_unknown_outcome_can_be_asked_about_until_somebody_knows() {
    let (mut rig, call) = given_up_as_unknown();
    let now = rig.now;
    assert!(rig.client.ask_again(now, call));
    assert!(matches!(rig.said()[..], [ToHost::Attach(_)]));
    rig.attached(HOST, 2);
    let said = rig.said();
    assert!(matches!(said[..], [ToHost::Call { seq: 1, again: true, .. }, ToHost::Cancel { seq: 1 }]), "{said:?}");
    rig.hear(HOST, &ToClient::Answer { seq: 1, result: Ok(Reply::Done) }, &[]);
    assert_eq!(rig.answers(), [(call, Ok(Reply::Done))]);
    assert!(!rig.client.ask_again(now, call), "it was answered");
}

#[test]
fn what_was_given_up_as_unknown_ends_there_too_and_its_truth_is_kept() {
    let (mut rig, call) = given_up_as_unknown();
    rig.said();
    rig.pass(Duration::from_secs(6));
    assert!(matches!(rig.said()[..], [ToHost::Attach(_)]), "it is told when it is back");
    rig.attached(HOST, 2);
    assert!(matches!(rig.said()[..], [ToHost::Call { .. }, ToHost::Cancel { seq: 1 }]));
    rig.hear(HOST, &ToClient::Answer { seq: 1, result: Ok(Reply::Done) }, &[]);
    assert_eq!(rig.answers(), [], "nobody has asked");
    assert!(rig.client.ask_again(rig.now, call));
    assert_eq!(rig.answers(), [(call, Ok(Reply::Done))]);
}

#[test]
fn the_three_classes_of_error_are_told_apart() {
    for (event, class) in [
        (Some(Loss::NotFound), ErrorClass::Application),
        (Some(Loss::Unreachable), ErrorClass::Host),
        (None, ErrorClass::Connection),
    ] {
        let mut rig = Rig::new();
        let call = rig.call(HOST, close());
        match event {
            Some(loss) => {
                rig.up(DIAL_IN);
                rig.lost(HOST, loss);
            }
            None => rig.pass(PATIENCE),
        }
        let answers = rig.answers();
        assert!(matches!(answers[..], [(of, Err(kind))] if of == call && kind.class() == class), "{answers:?}");
    }
}

#[test]
fn a_receive_that_was_not_acknowledged_never_ends_in_doubt() {
    let mut rig = Rig::new();
    let call = rig.call(HOST, Op::Recv { path: Path::root(), try_only: false });
    rig.up(DIAL_IN);
    rig.attached(HOST, 1);
    rig.hear(HOST, &ToClient::Data { seq: 1, offset: 0, end: true, again: false }, b"x");
    rig.drain();
    rig.lost(HOST, Loss::Gone);
    assert_eq!(rig.answers(), [(call, Err(ErrorKind::Unreachable))]);
}

#[test]
fn what_was_half_read_when_its_host_forgot_is_not_begun_anew() {
    let mut rig = Rig::new();
    let op = || Op::Recv { path: Path::root(), try_only: false };
    let (half, fresh) = (rig.call(HOST, op()), rig.call(HOST, op()));
    rig.up(DIAL_IN);
    rig.attached(HOST, 1);
    rig.hear(HOST, &ToClient::Data { seq: 1, offset: 0, end: false, again: false }, b"the first h");
    rig.lost(HOST, Loss::Reset);
    rig.drain();
    rig.hear(HOST, &ToClient::Forgotten { attempt: 2 }, &[]);
    assert_eq!(rig.answers(), [(half, Err(ErrorKind::Aborted))]);
    rig.attached(HOST, 3);
    assert!(matches!(rig.said()[..], [ToHost::Call { seq: 3, again: false, .. }]), "the other waits on");
    rig.client.cancel(rig.now, fresh);
    assert!(matches!(rig.said()[..], [ToHost::Cancel { seq: 3 }]));
}

#[test]
fn a_call_that_was_cancelled_stays_so_when_its_host_forgot() {
    let mut rig = Rig::new();
    let call = rig.call(HOST, Op::Recv { path: Path::root(), try_only: false });
    rig.up(DIAL_IN);
    rig.attached(HOST, 1);
    rig.lost(HOST, Loss::Reset);
    rig.client.cancel(rig.now, call);
    rig.drain();
    rig.hear(HOST, &ToClient::Forgotten { attempt: 2 }, &[]);
    rig.attached(HOST, 3);
    assert!(matches!(rig.said()[..], [.., ToHost::Call { seq: 2, .. }, ToHost::Cancel { seq: 2 }]));
}

/// A read that any server may answer, asked of one that was lost and now of
/// [`HOST`].
fn moved_read() -> (Rig, CallId) {
    let mut rig = Rig::new();
    let call = rig.call(ServerId::DIAL_IN, Op::Members);
    rig.up(DIAL_IN);
    rig.attached(DIAL_IN, 1);
    rig.client.handle_down(rig.now);
    rig.up(HOST);
    rig.attached(HOST, 1);
    (rig, call)
}

#[test]
fn a_read_that_has_moved_does_not_care_for_the_server_that_it_left() {
    let (mut rig, call) = moved_read();
    for loss in [Loss::Unreachable, Loss::Gone] {
        rig.lost(DIAL_IN, loss);
        assert_eq!(rig.answers(), []);
    }
    rig.hear(HOST, &ToClient::Answer { seq: 1, result: Ok(Reply::Done) }, &[]);
    assert_eq!(rig.answers(), [(call, Ok(Reply::Done))]);
}

#[test]
fn a_client_that_gives_up_dials_no_more() {
    let mut rig = Rig::new();
    let call = rig.call(HOST, close());
    let mut last = vec![];
    for _ in 0..2 * PATIENCE.as_secs() {
        rig.client.handle_down(rig.now);
        rig.pass(Duration::from_secs(1));
        last.extend(rig.drain());
    }
    let end =
        last.iter().position(|output| matches!(output, Output::Event(Event::Answer { call: of, .. }) if *of == call));
    let end = end.expect("it gave up");
    assert!(matches!(last[end - 1], Output::Close(_)), "{:?}", last[end - 1]);
    assert!(!last[end..].iter().any(|output| matches!(output, Output::Dial(_))));
}

#[test]
fn a_read_for_any_server_moves_to_the_next_one() {
    let (mut rig, call) = moved_read();
    let observer = crate::Incarnation { id: HOST, start: 1 };
    let reply = Reply::Members { observer, events: 0, members: vec![] };
    rig.drain();
    rig.hear(HOST, &ToClient::Answer { seq: 1, result: Ok(reply.clone()) }, &[]);
    assert_eq!(rig.answers(), [(call, Ok(reply))]);
}

#[test]
fn when_the_dial_in_server_is_lost_another_that_it_named_is_dialled() {
    let mut rig = Rig::new();
    rig.call(HOST, close());
    rig.up(DIAL_IN);
    let other = ([10, 0, 0, 2], 7).into();
    let hello = Hello { epoch: crate::Epoch::default(), addr: other, others: vec![(HOST, other)] };
    rig.client.handle_frame(rig.now, Frame::Hello(hello));
    rig.client.handle_down(rig.now);
    rig.drain();
    let mut dialled = Vec::new();
    for _ in 0..3 {
        rig.pass(Duration::from_secs(2));
        dialled.extend(rig.drain().into_iter().filter_map(|output| match output {
            Output::Dial(target) => Some(target.addr),
            _ => None,
        }));
        rig.client.handle_down(rig.now);
    }
    assert!(dialled.contains(&other), "{dialled:?}");
}

#[test]
fn whom_a_client_may_dial_it_learns_anew_and_a_server_that_knows_nobody_takes_nothing_back() {
    let mut rig = Rig::new();
    rig.call(HOST, close());
    let addr = |last: u8| ([10, 0, 0, last], 7).into();
    let hello = |others| Frame::Hello(Hello { epoch: crate::Epoch::default(), addr: addr(1), others });
    let dialled = |rig: &mut Rig| {
        let mut dialled = Vec::new();
        for _ in 0..5 {
            rig.client.handle_down(rig.now);
            rig.pass(Duration::from_secs(2));
            let is_dial = |output| matches!(output, Output::Dial(_)).then_some(output);
            dialled.extend(rig.drain().into_iter().filter_map(is_dial));
        }
        move |last| dialled.contains(&Output::Dial(Target { addr: addr(last), expect: Some(ServerId(last.into())) }))
    };
    rig.up(DIAL_IN);
    rig.client.handle_frame(rig.now, hello(vec![(HOST, addr(2))]));
    assert!(dialled(&mut rig)(2));
    rig.up(HOST);
    rig.client.handle_frame(rig.now, hello(vec![]));
    assert!(dialled(&mut rig)(2), "it is not forgotten");
    rig.up(DIAL_IN);
    rig.client.handle_frame(rig.now, hello(vec![(ServerId(3), addr(3))]));
    let last = dialled(&mut rig);
    assert!(last(3) && !last(2));
}

#[test]
fn a_server_that_gives_no_sign_while_calls_wait_is_left() {
    let mut rig = Rig::new();
    rig.call(HOST, close());
    rig.up(DIAL_IN);
    rig.drain();
    let mut outputs = Vec::new();
    for _ in 0..20 {
        rig.pass(Duration::from_secs(1));
        outputs.extend(rig.drain());
    }
    assert!(outputs.iter().any(|output| matches!(output, Output::Send(Frame::Ping(_)))));
    assert!(outputs.iter().any(|output| matches!(output, Output::Close(_))));
    assert!(outputs.iter().any(|output| matches!(output, Output::Dial(_))));
}

#[test]
fn an_abandoned_call_is_cancelled_and_says_nothing_more() {
    let mut rig = Rig::new();
    let call = rig.call(HOST, close());
    rig.up(DIAL_IN);
    rig.attached(HOST, 1);
    rig.said();
    let now = rig.now;
    rig.client.abandon(now, call);
    assert_eq!(rig.said(), [ToHost::Cancel { seq: 1 }]);
    rig.hear(HOST, &ToClient::Answer { seq: 1, result: Ok(Reply::Done) }, &[]);
    assert_eq!(rig.answers(), []);
    assert_eq!(rig.client.open(), 0);
}

/// The attachments that were sent: attempt, registration, calls answered.
fn attachments(said: &[ToHost]) -> Vec<(u32, u64, Ranges)> {
    let attachments = said.iter().filter_map(|said| match said {
        ToHost::Attach(attach) => Some((attach.attempt, attach.registration, attach.answered.clone())),
        _ => None,
    });
    attachments.collect()
}

#[test]
fn a_number_that_was_used_before_a_host_forgot_is_never_used_again() {
    let mut rig = Rig::new();
    let before = rig.call(HOST, close());
    rig.up(DIAL_IN);
    rig.attached(HOST, 1);
    rig.said();
    rig.lost(HOST, Loss::Reset);
    rig.said();
    rig.hear(HOST, &ToClient::Forgotten { attempt: 2 }, &[]);
    let call = rig.call(HOST, close());
    assert_eq!(rig.answers(), [(before, Err(ErrorKind::Unknown))]);
    rig.pass(Duration::from_secs(4));
    assert_eq!(attachments(&rig.said()), [(4, 0, vec![(1, 1)])], "what is late of the first is refused");
    rig.attached(HOST, 4);
    assert!(matches!(rig.said()[..], [ToHost::Call { seq: 2, again: false, .. }]));
    rig.hear(HOST, &ToClient::Answer { seq: 1, result: Ok(Reply::Done) }, &[]);
    assert_eq!(rig.answers(), [], "that was late");
    rig.hear(HOST, &ToClient::Answer { seq: 2, result: Ok(Reply::Done) }, &[]);
    assert_eq!(rig.answers(), [(call, Ok(Reply::Done))]);
}

#[test]
fn a_host_that_never_answers_is_unreachable_at_last() {
    let mut rig = Rig::new();
    let call = rig.call(HOST, close());
    rig.up(DIAL_IN);
    for _ in 0..PATIENCE.as_secs() {
        assert_eq!(rig.answers(), []);
        rig.client.handle_frame(rig.now, Frame::Pong(0));
        rig.pass(Duration::from_secs(1));
    }
    assert_eq!(rig.answers(), [(call, Err(ErrorKind::Unreachable))]);
}

#[test]
fn a_host_without_room_is_asked_again_only_now_and_then() {
    let mut rig = Rig::new();
    rig.call(HOST, close());
    rig.up(DIAL_IN);
    let mut asked = 0;
    for _ in 0..100 {
        for (attempt, ..) in attachments(&rig.said()) {
            asked += 1;
            rig.hear(HOST, &ToClient::Forgotten { attempt }, &[]);
        }
        rig.pass(Duration::from_millis(50));
    }
    assert!((3..10).contains(&asked), "{asked}");
}

#[test]
fn a_host_that_was_lost_and_not_used_since_is_forgotten_and_can_be_used_again() {
    let mut rig = Rig::new();
    rig.call(HOST, close());
    rig.up(DIAL_IN);
    rig.attached(HOST, 1);
    rig.hear(HOST, &ToClient::Answer { seq: 1, result: Ok(Reply::Done) }, &[]);
    rig.lost(HOST, Loss::Gone);
    assert_eq!(rig.client.hosts.len(), 1);
    rig.pass(MEMORY);
    assert!(rig.client.hosts.is_empty());
    rig.said();
    rig.call(HOST, close());
    assert_eq!(attachments(&rig.said()), [(2, 0, vec![])], "it may know the first attempt still");
}

/// Receives of long messages, and their senders, who send what they may.
struct Streams {
    rig: Rig,
    calls: Vec<CallId>,
    sent: Vec<u64>,
    /// What the host was told: what was used up, and the limit.
    told: Vec<(u64, u64)>,
}

impl Streams {
    fn new(count: u64) -> Self {
        let mut rig = Rig::new();
        let recv = || Op::Recv { path: Path::root(), try_only: false };
        let calls: Vec<CallId> = (0..count).map(|_| rig.call(HOST, recv())).collect();
        rig.up(DIAL_IN);
        rig.attached(HOST, 1);
        rig.drain();
        let (sent, told) = (vec![0; calls.len()], vec![(0, 64 * 1024); calls.len()]);
        Self { rig, calls, sent, told }
    }

    fn open_more(&mut self, count: u64) {
        for _ in 0..count {
            let op = Op::Recv { path: Path::root(), try_only: false };
            self.rig.call(HOST, op);
        }
    }

    /// A piece of one stream comes, and is used up.
    fn step(&mut self, index: usize, length: u64, end: bool) {
        let data = ToClient::Data { seq: index as u64 + 1, offset: self.sent[index], end, again: false };
        self.rig.hear(HOST, &data, &vec![0; length as usize]);
        self.sent[index] += length;
        self.rig.client.consumed(self.rig.now, self.calls[index], length as usize, end);
        for said in self.rig.said() {
            if let ToHost::Credit { seq, acked, limit } = said
                && let Some(told) = self.told.get_mut(seq as usize - 1)
            {
                *told = (acked, limit);
            }
        }
    }

    /// What may be under way.
    fn all_windows(&self) -> u64 {
        self.told.iter().zip(&self.sent).map(|((_, limit), sent)| limit.saturating_sub(*sent)).sum()
    }
}

#[test]
fn many_streams_share_what_may_be_under_way() {
    for count in [1, 4, 8, 50, 600] {
        let mut streams = Streams::new(count);
        for _ in 0..40 {
            for index in 0..count as usize {
                let room = streams.told[index].1 - streams.sent[index];
                assert!(room > 0, "{index} of {count}: a sender may go on when all was consumed");
                streams.step(index, room.min(16 * 1024), false);
            }
        }
        let all = streams.all_windows();
        assert!(all > 512 * 1024 && all < MAX_QUEUED as u64, "{count} streams: {all}");
    }
}

#[test]
fn a_stream_goes_on_when_its_window_shrinks_and_its_end_is_acknowledged() {
    const AHEAD: u64 = 512 * 1024; // elements wait for no more to be used up
    let mut streams = Streams::new(1);
    streams.step(0, 1_000, false);
    for more in [0, 20, 200, 0] {
        streams.open_more(more);
        for _ in 0..200 {
            let (acked, limit) = streams.told[0];
            let room = (acked + AHEAD).min(limit) - streams.sent[0];
            assert!(room > 0, "{more} calls more, and it stands still at {}", streams.sent[0]);
            streams.step(0, room.min(10_000), false);
        }
    }
    streams.open_more(500);
    streams.step(0, 10, true);
    assert_eq!(streams.told[0].0, streams.sent[0] + 1, "that it has ended is known");
}
