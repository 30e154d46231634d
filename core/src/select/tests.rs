//! Selects on a few channels, with plain senders and receivers among them, and
//! words that are long on their way.

use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    vec,
    vec::Vec,
};

use proptest::prelude::*;

use super::*;
use crate::{
    AnchorPath, Path, Rng, ServerId,
    calls::CallKey,
    elements::{
        self,
        channel::{Channel, Ticket},
    },
};

const CHANNELS: usize = 3;

fn anchor(channel: usize) -> AnchorPath {
    AnchorPath { server: ServerId(1), path: format!("{channel}").parse().unwrap() }
}

fn channel_of(path: &Path) -> usize {
    path.as_str().parse().unwrap()
}

/// On its way to a channel.
#[derive(Debug)]
enum Word {
    Start(Op),
    Bytes(Bytes, bool),
    Acked(u64),
    Cancel,
}

/// On its way from one.
#[derive(Debug)]
enum Said {
    Data(Bytes, bool),
    Answer(Result<Reply, Error>),
}

/// A call: of a clause, or a plain one.
#[derive(Debug)]
struct Call {
    /// Which select, and which clause of it.
    of: Option<(usize, usize)>,
    channel: usize,
    ticket: Option<Ticket>,
    to_channel: VecDeque<Word>,
    from_channel: VecDeque<Said>,
    /// The channel has answered it.
    over: bool,
    /// What was used up of its stream.
    used: u64,
    got: Vec<u8>,
}

struct World {
    rng: Rng,
    channels: Vec<Channel>,
    calls: BTreeMap<u64, Call>,
    selects: Vec<Select>,
    /// The clauses' calls.
    clauses: BTreeMap<(usize, usize), u64>,
    next: u64,
    /// How many messages were sent, each of one byte, and those that were received.
    sent: u8,
    received: Vec<u8>,
    decided: BTreeMap<usize, usize>,
    moved: BTreeMap<usize, Result<Reply, ErrorKind>>,
}

fn key(call: u64) -> CallKey {
    CallKey { registration: 1, seq: call }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::from_number(seed);
        let channels = (0..CHANNELS).map(|_| Channel::new(rng.below(3) as usize)).collect();
        Self {
            rng,
            channels,
            calls: BTreeMap::new(),
            selects: Vec::new(),
            clauses: BTreeMap::new(),
            next: 0,
            sent: 0,
            received: Vec::new(),
            decided: BTreeMap::new(),
            moved: BTreeMap::new(),
        }
    }

    fn any(&mut self, of: usize) -> usize {
        self.rng.below(of as u64) as usize
    }

    fn call(&mut self, of: Option<(usize, usize)>, op: Op) -> u64 {
        self.next += 1;
        let (channel, to_channel) = (channel_of(&op.path()), VecDeque::from([Word::Start(op)]));
        let (from_channel, got) = Default::default();
        let call = Call { of, channel, ticket: None, to_channel, from_channel, over: false, used: 0, got };
        self.calls.insert(self.next, call);
        self.next
    }

    fn message(&mut self) -> u8 {
        self.sent += 1;
        self.sent
    }

    fn plain(&mut self) {
        let (path, try_only) = (anchor(self.any(CHANNELS)).path, self.rng.chance(1, 5));
        if self.rng.chance(1, 2) {
            let message = self.message();
            let call = self.call(None, Op::Send { path, try_only });
            self.say(call, Word::Bytes(vec![message].into(), true));
        } else {
            self.call(None, Op::Recv { path, try_only });
        }
    }

    fn select(&mut self) {
        let clauses = (0..1 + self.any(3)).map(|_| {
            let anchor = anchor(self.any(CHANNELS));
            if self.rng.chance(1, 2) { Choice::Send(anchor) } else { Choice::Recv(anchor) }
        });
        let mut choices: Vec<Choice> = clauses.collect();
        if self.rng.chance(1, 4) {
            choices.push(Choice::Default);
        }
        let clauses = choices.into_iter().map(|choice| Clause { name: "".into(), choice }).collect();
        let mut select = Select::new(u128::from(self.rng.u64()), clauses);
        select.start();
        self.selects.push(select);
        self.drain(self.selects.len() - 1);
    }

    fn say(&mut self, call: u64, word: Word) {
        if let Some(call) = self.calls.get_mut(&call) {
            call.to_channel.push_back(word);
        }
    }

    /// Does what a select wants.
    fn drain(&mut self, select: usize) {
        while let Some(output) = self.selects[select].poll_output() {
            let call = |clause| self.clauses.get(&(select, clause)).copied().unwrap_or(0);
            match output {
                Output::Call(clause, op) => {
                    let call = self.call(Some((select, clause)), op);
                    self.clauses.insert((select, clause), call);
                }
                Output::Write(clause, bytes) => self.say(call(clause), Word::Bytes(bytes, false)),
                Output::Used(clause, count) => self.use_up(call(clause), count as u64),
                Output::Withdraw(clause) => self.say(call(clause), Word::Cancel),
                Output::Decided => self.decided(select),
                Output::Data(bytes, end) => {
                    let clause = self.decided[&select];
                    self.hear(self.clauses[&(select, clause)], &bytes, end);
                }
                Output::Moved(result) => {
                    self.moved.insert(select, result.map_err(|error| error.kind));
                }
                Output::Timer(..) => panic!("nobody waits for a time"),
            }
        }
    }

    fn decided(&mut self, select: usize) {
        let Some(Decision::Clause(clause, _)) = self.selects[select].decision().cloned() else { return };
        assert_eq!(self.decided.insert(select, clause), None, "decided twice");
        if let Choice::Send(_) = self.selects[select].clauses()[clause].choice {
            let message = self.message();
            let call = self.clauses[&(select, clause)];
            self.say(call, Word::Bytes(vec![message].into(), true));
        }
    }

    fn use_up(&mut self, call: u64, count: u64) {
        if let Some(found) = self.calls.get_mut(&call) {
            found.used += count;
            let used = found.used;
            self.say(call, Word::Acked(used));
        }
    }

    /// A receiver has more of its message; at the end it acknowledges it.
    fn hear(&mut self, call: u64, bytes: &[u8], end: bool) {
        self.calls.get_mut(&call).unwrap().got.extend_from_slice(bytes);
        self.use_up(call, bytes.len() as u64 + u64::from(end));
    }

    /// One word of one call arrives, if any is on its way.
    fn step(&mut self) -> bool {
        let busy = |call: &Call| !call.to_channel.is_empty() || !call.from_channel.is_empty();
        let all: Vec<u64> = self.calls.iter().filter(|(_, call)| busy(call)).map(|(&id, _)| id).collect();
        if all.is_empty() {
            return false;
        }
        let id = all[self.any(all.len())];
        let back = self.rng.chance(1, 2);
        let call = self.calls.get_mut(&id).unwrap();
        if back && let Some(said) = call.from_channel.pop_front() {
            self.arrive_back(id, said);
        } else if let Some(word) = call.to_channel.pop_front() {
            self.arrive(id, word);
        }
        true
    }

    fn arrive(&mut self, id: u64, word: Word) {
        let call = self.calls.get_mut(&id).unwrap();
        if call.over {
            return;
        }
        let (channel, mut out) = (&mut self.channels[call.channel], elements::Out::new());
        let empty = Bytes::new();
        match (word, call.ticket) {
            (Word::Start(Op::Send { try_only, .. }), _) => {
                // All of it comes with it.
                let Some(Word::Bytes(text, end)) = call.to_channel.pop_front() else { panic!("no text") };
                call.ticket = Some(channel.send(key(id), text, end, try_only, &mut out));
            }
            (Word::Start(Op::Recv { try_only, .. }), _) => {
                call.ticket = Some(channel.recv(key(id), try_only, &mut out));
            }
            (Word::Start(Op::Bid { select, side, try_only, .. }), _) => {
                call.ticket = Some(channel.bid(key(id), select, side, try_only, &mut out));
            }
            (Word::Bytes(bytes, end), Some(ticket)) => channel.input(ticket, bytes, end, &mut out),
            (Word::Acked(acked), Some(ticket)) => channel.acked(ticket, acked, &mut out),
            (Word::Cancel, Some(ticket)) => channel.cancel(ticket, ErrorKind::Cancelled, &mut out),
            (word, ticket) => panic!("{word:?} {ticket:?} {empty:?}"),
        }
        for output in out {
            let (CallKey { seq, .. }, said) = match output {
                elements::Output::Write { key, bytes, end } => (key, Said::Data(bytes, end)),
                elements::Output::Answer { key, result } => (key, Said::Answer(result)),
                _ => continue,
            };
            let call = self.calls.get_mut(&seq).unwrap();
            call.over |= matches!(said, Said::Answer(_));
            call.from_channel.push_back(said);
        }
    }

    fn arrive_back(&mut self, id: u64, said: Said) {
        match (self.calls[&id].of, said) {
            (Some((select, clause)), Said::Data(bytes, end)) => self.selects[select].handle_data(clause, bytes, end),
            (Some((select, clause)), Said::Answer(result)) => {
                self.selects[select].handle_answer(clause, result.clone());
                if self.decided.get(&select) == Some(&clause) {
                    self.account(id, &result);
                }
            }
            (None, Said::Data(bytes, end)) => self.hear(id, &bytes, end),
            (None, Said::Answer(result)) => self.account(id, &result),
        }
        if let Some((select, _)) = self.calls[&id].of {
            self.drain(select);
        }
    }

    /// A message was received, perhaps.
    fn account(&mut self, id: u64, result: &Result<Reply, Error>) {
        if let Ok(Reply::Received { .. }) = result {
            self.received.push(self.calls[&id].got[0]);
        }
    }

    fn run(&mut self, steps: u64) {
        for _ in 0..steps {
            match self.any(10) {
                0 => self.plain(),
                1 => self.select(),
                2 if self.rng.chance(1, 4) => {
                    let open: Vec<u64> = self
                        .calls
                        .iter()
                        .filter(|(_, call)| !call.over && call.of.is_none())
                        .map(|(&id, _)| id)
                        .collect();
                    if !open.is_empty() {
                        let call = open[self.any(open.len())];
                        self.say(call, Word::Cancel);
                    }
                }
                _ => drop(self.step()),
            }
        }
        while self.step() {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]
    #[test]
    fn one_clause_takes_place_and_no_other(seed: u64, steps in 1_u64..200) {
        one_clause_takes_place(seed, steps)?;
    }
}

/// A message that was not to wait came back from a lost receiver, met a select,
/// and was refused while that one was being asked.
#[test]
fn whoever_is_asked_about_a_message_can_have_it() {
    one_clause_takes_place(4924010258178100995, 184).unwrap();
}

fn one_clause_takes_place(seed: u64, steps: u64) -> Result<(), TestCaseError> {
    let mut world = World::new(seed);
    world.run(steps);
    // Nobody received anything twice.
    let distinct: BTreeSet<u8> = world.received.iter().copied().collect();
    prop_assert_eq!(distinct.len(), world.received.len(), "received twice: {:?}", world.received);
    // Everything stands still: nobody waits who could be matched.
    for channel in &world.channels {
        prop_assert!(channel.is_settled(), "{channel:?}");
    }
    for (&(select, clause), call) in &world.clauses {
        let chosen = world.decided.get(&select) == Some(&clause);
        let call = &world.calls[call];
        let decision = world.selects[select].decision();
        prop_assert!(call.over || decision.is_none() || chosen, "clause {clause} of {select} was left behind");
    }
    // What a select sends or receives takes place.
    for (select, clause) in &world.decided {
        if matches!(world.selects[*select].clauses()[*clause].choice, Choice::Recv(_)) {
            prop_assert!(matches!(world.moved.get(select), Some(Ok(Reply::Received { .. }))), "{select} has nothing");
        }
    }
    Ok(())
}

#[test]
fn a_default_is_for_when_nothing_else_can_be() {
    let clause = |choice| Clause { name: "".into(), choice };
    let mut select = Select::new(1, vec![clause(Choice::Recv(anchor(0))), clause(Choice::Default)]);
    select.start();
    assert!(matches!(select.poll_output(), Some(Output::Call(0, Op::Bid { try_only: true, .. }))));
    select.handle_answer(0, Err(ErrorKind::WouldBlock.into()));
    assert_eq!(select.decision(), Some(&Decision::Clause(1, None)));
}

#[test]
fn what_was_promised_and_lost_is_unknown_and_nothing_else_is_tried() {
    let clause = |choice| Clause { name: "".into(), choice };
    let mut select = Select::new(1, vec![clause(Choice::Recv(anchor(0))), clause(Choice::Recv(anchor(1)))]);
    select.start();
    select.handle_data(0, Bytes::from_static(&[ASK]), false);
    select.handle_data(1, Bytes::from_static(&[ASK]), false);
    select.handle_answer(0, Err(ErrorKind::Unreachable.into()));
    assert!(matches!(select.decision(), Some(Decision::Failed(error)) if error.kind == ErrorKind::Unknown));
    let said: Vec<Output> = core::iter::from_fn(|| select.poll_output()).collect();
    let yes = said.iter().filter(|output| matches!(output, Output::Write(..))).count();
    assert!(yes == 1 && said.contains(&Output::Withdraw(1)));
}

#[test]
fn it_fails_when_no_clause_can_be_any_more() {
    let clause = |choice| Clause { name: "".into(), choice };
    let mut select = Select::new(1, vec![clause(Choice::Recv(anchor(0))), clause(Choice::Send(anchor(1)))]);
    select.start();
    select.handle_answer(1, Err(ErrorKind::Closed.into()));
    assert_eq!(select.decision(), None);
    select.handle_answer(0, Err(ErrorKind::NotFound.into()));
    assert!(matches!(select.decision(), Some(Decision::Failed(error)) if error.kind == ErrorKind::NotFound));
}
