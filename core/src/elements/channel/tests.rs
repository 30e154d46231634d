use alloc::{collections::BTreeMap, vec, vec::Vec};

use proptest::prelude::*;

use super::{
    model::{Answer, Model, plain},
    *,
};

fn key(seq: u64) -> CallKey {
    CallKey { registration: 1, seq }
}

/// A channel, with what came out of it sorted.
struct Rig {
    channel: Channel,
    out: Out,
    tickets: BTreeMap<u64, Ticket>,
    answers: Vec<Answer>,
    /// What each receiver has been given, and whether it ended.
    got: BTreeMap<CallKey, (Vec<u8>, bool)>,
    /// How far each sender may go, beyond what all may at first.
    granted: BTreeMap<CallKey, u64>,
}

impl Rig {
    fn new(cap: usize) -> Self {
        Self {
            channel: Channel::new(cap),
            out: Out::new(),
            tickets: BTreeMap::new(),
            answers: Vec::new(),
            got: BTreeMap::new(),
            granted: BTreeMap::new(),
        }
    }

    fn act(&mut self, act: impl FnOnce(&mut Channel, &mut Out)) -> Vec<Answer> {
        act(&mut self.channel, &mut self.out);
        let before = self.answers.len();
        for output in self.out.drain(..) {
            match output {
                Output::Answer { key, result } => self.answers.push((key, plain(&result))),
                Output::Write { key, bytes, end } => {
                    let got = self.got.entry(key).or_default();
                    got.0.extend_from_slice(&bytes);
                    got.1 |= end;
                }
                Output::Grant { key, limit, .. } => drop(self.granted.insert(key, limit)),
                Output::Again(_) => {}
                other => panic!("a channel has no {other:?}"),
            }
        }
        self.answers[before..].to_vec()
    }

    /// A call that gets a ticket.
    fn start(&mut self, seq: u64, start: impl FnOnce(&mut Channel, &mut Out) -> Ticket) -> Vec<Answer> {
        let ticket = start(&mut self.channel, &mut self.out);
        self.tickets.insert(seq, ticket);
        self.act(|_, _| ())
    }

    /// Something about a call that has one.
    fn with(&mut self, seq: u64, act: impl FnOnce(&mut Channel, Ticket, &mut Out)) -> Vec<Answer> {
        let Some(&ticket) = self.tickets.get(&seq).filter(|_| !self.answers.iter().any(|(of, _)| *of == key(seq)))
        else {
            return vec![]; // nothing more is said of a call that was answered
        };
        self.act(|channel, out| act(channel, ticket, out))
    }

    fn send_part(&mut self, seq: u64, text: Bytes, whole: bool, try_only: bool) -> Vec<Answer> {
        self.start(seq, |channel, out| channel.send(key(seq), text, whole, try_only, out))
    }

    fn send(&mut self, seq: u64, text: &[u8]) -> Vec<Answer> {
        self.send_part(seq, Bytes::copy_from_slice(text), true, false)
    }

    fn recv(&mut self, seq: u64) -> Vec<Answer> {
        self.start(seq, |channel, out| channel.recv(key(seq), false, out))
    }

    fn cancel(&mut self, seq: u64, why: ErrorKind) -> Vec<Answer> {
        self.with(seq, |channel, ticket, out| channel.cancel(ticket, why, out))
    }

    /// The receiver has read all that it was given, and its end.
    fn ack(&mut self, seq: u64) -> Vec<Answer> {
        let Some((text, true)) = self.got.get(&key(seq)).cloned() else { return vec![] };
        self.with(seq, |channel, ticket, out| channel.acked(ticket, text.len() as u64 + 1, out))
    }
}

#[test]
fn at_capacity_zero_a_send_waits_until_its_message_is_acknowledged() {
    let mut rig = Rig::new(0);
    assert_eq!(rig.send(1, b"hello"), []);
    assert_eq!(rig.recv(2), []);
    assert_eq!(rig.got[&key(2)], (b"hello".to_vec(), true));
    let short = rig.with(2, |channel, ticket, out| channel.acked(ticket, 5, out));
    assert_eq!(short, [], "the end was not acknowledged");
    assert_eq!(rig.ack(2), [(key(1), Ok("delivered")), (key(2), Ok("received"))]);
}

#[test]
fn a_slot_is_free_again_when_its_message_is_acknowledged() {
    let mut rig = Rig::new(1);
    assert_eq!(rig.send(1, b"a"), [(key(1), Ok("accepted"))]);
    assert_eq!(rig.send(2, b"b"), []);
    rig.recv(3);
    assert_eq!(rig.ack(3), [(key(3), Ok("received")), (key(2), Ok("accepted"))]);
    let stat = rig.channel.stat();
    assert_eq!((stat.num_send, stat.num_recv), (2, 1));
}

/// Its receiver may take its time: a select's waits for somebody to ask for it.
#[test]
fn a_message_with_a_slot_is_accepted_though_somebody_has_it() {
    let mut rig = Rig::new(1);
    rig.recv(2);
    assert_eq!(rig.send_part(1, Bytes::from_static(b"hel"), false, false), []);
    assert_eq!(rig.got[&key(2)], (b"hel".to_vec(), false));
    let ended = rig.with(1, |channel, ticket, out| channel.input(ticket, Bytes::from_static(b"lo"), true, out));
    assert_eq!(ended, [(key(1), Ok("accepted"))]);
    assert_eq!(rig.ack(2), [(key(2), Ok("received"))]);
}

#[test]
fn a_lost_receivers_message_goes_back_to_its_place_in_line() {
    let mut rig = Rig::new(9);
    for (seq, text) in [(1, b"a"), (2, b"b"), (3, b"c")] {
        rig.send(seq, text);
    }
    rig.recv(11);
    rig.recv(12);
    rig.cancel(11, ErrorKind::Disconnected);
    rig.recv(13);
    assert_eq!(rig.got[&key(13)].0, b"a");
    rig.recv(14);
    assert_eq!(rig.got[&key(14)].0, b"c");
    let late = rig.ack(11);
    assert_eq!(late, [], "the late acknowledgement of an ended lease counts for nothing");
    assert_eq!(rig.channel.stat().num_recv, 0);
}

#[test]
fn a_long_message_is_bound_to_its_receiver_at_byte_32_769() {
    for (more, outcome) in [(0, None), (1, Some((key(1), Err(ErrorKind::NotDelivered))))] {
        let mut rig = Rig::new(1);
        let part = Bytes::from(vec![7; 32 * 1024]);
        rig.send_part(1, part, false, false);
        rig.recv(2);
        let more_of_it = Bytes::from(vec![7; more]);
        rig.with(1, |channel, ticket, out| channel.input(ticket, more_of_it, false, out));
        let answers = rig.cancel(2, ErrorKind::Disconnected);
        assert_eq!(answers.get(1).copied(), outcome);
        assert_eq!(rig.channel.messages.len(), usize::from(outcome.is_none()));
    }
}

#[test]
fn a_receiver_whose_client_is_away_is_given_nothing() {
    let mut rig = Rig::new(0);
    rig.recv(2);
    rig.with(2, |channel, ticket, _| channel.away(ticket));
    rig.send(1, b"a");
    assert!(rig.got.is_empty());
    rig.with(2, Channel::back);
    assert_eq!(rig.got[&key(2)].0, b"a");
}

#[test]
fn a_deadline_passes_before_any_effect_or_nobody_knows() {
    let mut rig = Rig::new(0);
    rig.send(1, b"a");
    let waiting = rig.cancel(1, ErrorKind::Timeout);
    assert_eq!(waiting, [(key(1), Err(ErrorKind::Timeout))]);
    rig.send(2, b"b");
    rig.recv(3);
    let leased = rig.cancel(2, ErrorKind::Timeout);
    assert_eq!(leased, [], "whoever cannot wait any more says Unknown by itself");
    assert_eq!(rig.ack(3), [(key(2), Ok("delivered")), (key(3), Ok("received"))]);
    rig.send(4, b"c");
    rig.recv(5);
    assert_eq!(rig.cancel(4, ErrorKind::Timeout), []);
    let lost = rig.cancel(5, ErrorKind::Disconnected);
    assert_eq!(lost, [(key(5), Err(ErrorKind::Disconnected)), (key(4), Err(ErrorKind::Timeout))]);
}

#[test]
fn a_message_that_may_not_wait_does_not_when_its_receiver_is_lost() {
    let mut rig = Rig::new(0);
    rig.recv(1);
    rig.recv(2);
    assert_eq!(rig.send_part(3, Bytes::from_static(b"now"), true, true), []);
    assert_eq!(rig.cancel(1, ErrorKind::Cancelled), [(key(1), Err(ErrorKind::Cancelled))], "there is another");
    let refused = [(key(2), Err(ErrorKind::Cancelled)), (key(3), Err(ErrorKind::WouldBlock))];
    assert_eq!(rig.cancel(2, ErrorKind::Cancelled), refused);
}

#[test]
fn what_is_buffered_is_bounded_whatever_the_capacity() {
    let mut rig = Rig::new(1_000_000);
    let message = vec![7; INITIAL_CREDIT as usize];
    let room = MAX_BUFFERED / INITIAL_CREDIT;
    for seq in 1..=room {
        assert_eq!(rig.send(seq, &message), [(key(seq), Ok("accepted"))]);
    }
    assert_eq!(rig.send(room + 1, &message), []);
    rig.recv(room + 2);
    assert_eq!(rig.ack(room + 2), [(key(room + 2), Ok("received")), (key(room + 1), Ok("accepted"))]);
}

#[test]
fn a_sender_goes_on_when_no_other_receiver_can_have_its_message() {
    let mut rig = Rig::new(0);
    let half = Bytes::from(vec![7; INITIAL_CREDIT as usize / 2]);
    let more = |rig: &mut Rig, bytes: &Bytes| {
        rig.with(1, |channel, ticket, out| channel.input(ticket, bytes.clone(), false, out));
    };
    rig.send_part(1, half.clone(), false, false);
    rig.recv(2);
    rig.with(2, |channel, turn, out| channel.acked(turn, 100, out));
    more(&mut rig, &half);
    assert_eq!(rig.granted, BTreeMap::new(), "it may go to another yet, and no more of it is kept");
    more(&mut rig, &Bytes::from_static(b"x"));
    assert_eq!(rig.granted[&key(1)], WINDOW);
    rig.with(2, |channel, turn, out| channel.acked(turn, INITIAL_CREDIT, out));
    assert_eq!(rig.granted[&key(1)], INITIAL_CREDIT + WINDOW);
}

#[test]
fn a_removed_channel_tells_everybody() {
    let mut rig = Rig::new(1);
    rig.send(1, b"accepted");
    rig.send(2, b"waiting");
    rig.recv(3);
    let mut told = rig.act(Channel::abort);
    told.sort_by_key(|(key, _)| *key);
    assert_eq!(told, [(key(2), Err(ErrorKind::Aborted)), (key(3), Err(ErrorKind::Aborted))]);
}

#[derive(Clone, Debug)]
enum Step {
    Send { length: u64, whole: bool, try_only: bool },
    Input { of: u64, length: u64, end: bool },
    Recv { try_only: bool },
    Ack { of: u64 },
    Cancel { of: u64 },
    Presence { of: u64, away: bool },
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    let length = prop_oneof![4 => 0_u64..40, 1 => Just(32 * 1024), 1 => Just(32 * 1024 + 1)];
    prop_oneof![
        6 => (length.clone(), prop::bool::weighted(0.7), prop::bool::weighted(0.2))
            .prop_map(|(length, whole, try_only)| Step::Send { length, whole, try_only }),
        3 => (0_u64..40, length, any::<bool>()).prop_map(|(of, length, end)| Step::Input { of, length, end }),
        5 => prop::bool::weighted(0.2).prop_map(|try_only| Step::Recv { try_only }),
        6 => (0_u64..40).prop_map(|of| Step::Ack { of }),
        3 => (0_u64..40).prop_map(|of| Step::Cancel { of }),
        3 => (0_u64..40, any::<bool>()).prop_map(|(of, away)| Step::Presence { of, away }),
        1 => Just(Step::Close),
    ]
}

/// Does one step to both; `seq` is the number of a new call.
fn both(rig: &mut Rig, model: &mut Model, seq: u64, step: &Step) {
    let among = |of: u64| of % seq.max(1); // the calls so far
    match *step {
        Step::Send { length, whole, try_only } => {
            let text = Bytes::from(vec![seq as u8; length as usize]);
            rig.send_part(seq, text, whole, try_only);
            model.send(key(seq), length, whole, try_only);
        }
        Step::Input { of, length, end } => {
            let of = among(of);
            let message = rig.tickets.get(&of).and_then(|place| rig.channel.messages.get(place));
            let whole = message.is_none_or(|message| message.is_whole());
            if whole || rig.answers.iter().any(|(answered, _)| *answered == key(of)) {
                return; // the calls would not pass it on
            }
            let text = Bytes::from(vec![of as u8; length as usize]);
            rig.with(of, |channel, ticket, out| channel.input(ticket, text, end, out));
            model.input(key(of), length, end);
        }
        Step::Recv { try_only } => {
            rig.start(seq, |channel, out| channel.recv(key(seq), try_only, out));
            model.recv(key(seq), try_only);
        }
        Step::Ack { of } => {
            rig.ack(among(of));
            model.ack(key(among(of)));
        }
        Step::Cancel { of } => {
            let of = among(of);
            rig.cancel(of, ErrorKind::Cancelled);
            model.cancel(key(of), ErrorKind::Cancelled);
        }
        Step::Presence { of, away } => {
            let of = among(of);
            rig.with(of, |channel, ticket, out| if away { channel.away(ticket) } else { channel.back(ticket, out) });
            model.presence(key(of), away);
        }
        Step::Close => {
            let _ = rig.act(|channel, out| drop(channel.close(out)));
            model.close();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn it_does_what_a_plain_model_does(cap in 0_usize..4, steps in prop::collection::vec(step(), 0..40)) {
        let (mut rig, mut model) = (Rig::new(cap), Model::new(cap));
        for (seq, step) in steps.iter().enumerate() {
            both(&mut rig, &mut model, seq as u64, step);
            let (mut answers, mut wanted) = (rig.answers.clone(), model.answers.clone());
            answers.sort_by_key(|(key, _)| *key);
            wanted.sort_by_key(|(key, _)| *key);
            prop_assert_eq!(answers, wanted, "after {:?}", step);
            for (receiver, sender) in &model.given {
                let (text, _) = rig.got.get(receiver).cloned().unwrap_or_default();
                prop_assert!(text.iter().all(|&byte| byte == sender.seq as u8), "{:?} got another's message", receiver);
            }
        }
    }
}
