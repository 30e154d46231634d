//! The select on its host: [`crate::select`] as an element.
//!
//! Its calls to the hosts of its clauses are made by this server itself, as a
//! client of them all. Whoever waits for it hears which clause took place. The
//! message of a send or a receive stands in a channel of the select's own: the
//! clause's call is at one side of that and users are at the other, so that a
//! message goes to one of them, by the same lease as any.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::time::Duration;

use bytes::Bytes;

use super::{
    ElementId, Out, Output,
    channel::{Channel, Ticket, WINDOW},
    wrong_kind,
};
use crate::{
    Error, ErrorKind, ServerId,
    calls::CallKey,
    client::Event,
    codec,
    select::{self, Decision},
    wire::op::{Choice, Chosen, Kind, Op, Reply, SelectSpec, SelectStat, Stat},
};

/// The longest description of a select, as it travels.
const MAX_SPEC: usize = 1024 * 1024;
/// The clause's own end of the channel: no client has this registration.
const SELF: CallKey = CallKey { registration: 0, seq: 0 };

/// What is to be done about the call of a clause.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// Make it.
    Ask(ServerId, Op),
    /// Write this to its stream.
    Write(Bytes),
    /// End its stream.
    End,
    /// So many bytes from it were used up, and its end.
    Used(usize, bool),
    /// End it, if it still can be; nothing of it is awaited.
    Withdraw,
    /// Call [`super::Elements::handle_time`] after so long.
    Time(Duration),
}

/// A select on its host.
#[derive(Debug)]
pub(super) struct Select {
    id: ElementId,
    number: u128,
    stage: Stage,
    waiting: BTreeSet<CallKey>,
    /// Where the message is, once it is decided that there is one.
    line: Channel,
    /// The clause's own place in that.
    own: Option<Ticket>,
    /// Bytes of it that came from the clause's channel, or went there; and of
    /// those that came, what users have used up.
    passed: u64,
    used: u64,
    /// Bytes that were said to each clause's channel before.
    said: BTreeMap<usize, u64>,
    /// Who has acknowledged the message, and has to hear what came of that.
    reader: Option<CallKey>,
    /// What came of the message.
    moved: Option<Result<Reply, Error>>,
}

#[derive(Debug)]
enum Stage {
    /// What to select from is still coming.
    Describing { maker: CallKey, spec: Vec<u8> },
    /// It is under way, or decided.
    Made(Box<select::Select>),
}

impl Select {
    /// A select of this number in the circuit that `maker` is about to describe.
    pub(super) fn new(id: ElementId, number: u128, maker: CallKey) -> Self {
        Self {
            id,
            number,
            stage: Stage::Describing { maker, spec: Vec::new() },
            waiting: BTreeSet::new(),
            line: Channel::new(0),
            own: None,
            passed: 0,
            used: 0,
            said: BTreeMap::new(),
            reader: None,
            moved: None,
        }
    }

    /// A call other than the one that makes it.
    pub(super) fn start(&mut self, key: CallKey, op: &Op, input: Bytes, ended: bool, out: &mut Out) -> Ticket {
        let Stage::Made(select) = &self.stage else {
            fail(key, ErrorKind::NotFound, "it is still being made", out);
            return 0;
        };
        let decision = select.decision();
        match (op, decision) {
            (Op::Peek(_), _) => {
                out.push_back(Output::Answer { key, result: Ok(Reply::Stat(Box::new(Stat::Select(self.stat())))) });
            }
            (Op::Wait(_), None) => {
                self.waiting.insert(key);
            }
            (Op::Wait(_), Some(_)) => out.push_back(Output::Answer { key, result: self.result() }),
            (Op::Send { .. } | Op::Recv { .. }, None) => {
                fail(key, ErrorKind::WouldBlock, "it is not decided yet: wait for it", out);
            }
            (Op::Send { try_only, .. }, Some(Decision::Clause(index, _))) if is_send(select, *index) => {
                return self.join_line(key, out, |line, out| line.send(key, input, ended, *try_only, out));
            }
            (Op::Recv { try_only, .. }, Some(Decision::Clause(index, _))) if is_recv(select, *index) => {
                return self.join_line(key, out, |line, out| line.recv(key, *try_only, out));
            }
            (Op::Send { .. } | Op::Recv { .. }, Some(_)) => {
                fail(key, ErrorKind::WrongKind, "the clause that took place has no such message", out);
            }
            _ => out.push_back(Output::Answer { key, result: Err(wrong_kind(op, Kind::Select)) }),
        }
        0
    }

    /// Somebody would send or receive its one message, unless that was lost or moved.
    fn join_line(&mut self, key: CallKey, out: &mut Out, act: impl FnOnce(&mut Channel, &mut Out) -> Ticket) -> Ticket {
        match &self.moved {
            None => return self.with_line(out, act),
            Some(Ok(_)) => fail(key, ErrorKind::Closed, "its one message has been moved", out),
            Some(Err(lost)) => out.push_back(Output::Answer { key, result: Err(lost.clone()) }),
        }
        0
    }

    /// More of a call's inbound stream has come.
    pub(super) fn input(&mut self, key: CallKey, ticket: Ticket, bytes: Bytes, end: bool, out: &mut Out) {
        let Stage::Describing { maker, spec } = &mut self.stage else {
            return self.with_line(out, |line, out| line.input(ticket, bytes, end, out));
        };
        if *maker != key {
            return;
        }
        if spec.len() + bytes.len() > MAX_SPEC {
            return self.refuse(
                key,
                Error::new(ErrorKind::QuotaExceeded, "the select's description is over 1 MiB"),
                out,
            );
        }
        spec.extend_from_slice(&bytes);
        let acked = spec.len() as u64;
        if !end {
            return out.push_back(Output::Grant { key, acked, limit: acked + MAX_SPEC as u64 });
        }
        let clauses = codec::decode_whole::<SelectSpec>(spec).map(|spec| spec.clauses);
        let clauses = clauses.map_err(|error| Error::new(ErrorKind::Invalid, alloc::format!("{error}")));
        match clauses.and_then(|clauses| select::Select::fault(&clauses).map_or(Ok(clauses), Err)) {
            Err(error) => self.refuse(key, error, out),
            Ok(clauses) => {
                let mut select = select::Select::new(self.number, clauses);
                select.start();
                self.stage = Stage::Made(Box::new(select));
                out.push_back(Output::Answer { key, result: Ok(Reply::Done) });
                self.drain(out);
            }
        }
    }

    /// A user has used up its message to `acked`.
    pub(super) fn acked(&mut self, ticket: Ticket, acked: u64, out: &mut Out) {
        self.with_line(out, |line, out| line.acked(ticket, acked, out));
    }

    /// A call should end.
    pub(super) fn cancel(&mut self, key: CallKey, ticket: Ticket, why: ErrorKind, out: &mut Out) {
        match self.stage {
            Stage::Describing { maker, .. } if maker == key => self.refuse(key, why.into(), out),
            _ if self.waiting.remove(&key) => fail(key, why, "", out),
            _ => self.with_line(out, |line, out| line.cancel(ticket, why, out)),
        }
    }

    /// A call's client is away.
    pub(super) fn away(&mut self, ticket: Ticket) {
        self.line.away(ticket);
    }

    /// A call's client is back.
    pub(super) fn back(&mut self, ticket: Ticket, out: &mut Out) {
        self.with_line(out, |line, out| line.back(ticket, out));
    }

    /// Something came of the call of a clause.
    pub(super) fn event(&mut self, clause: usize, event: Event, out: &mut Out) {
        if let Stage::Made(select) = &mut self.stage {
            match event {
                Event::Data { bytes, end, .. } => select.handle_data(clause, bytes, end),
                Event::Answer { result, .. } => select.handle_answer(clause, result),
                Event::Room { acked, .. } => return self.has_room(clause, acked, out),
                Event::Connected(_) | Event::Reconnecting => {}
            }
            self.drain(out);
        }
    }

    /// The time of a clause has come.
    pub(super) fn time(&mut self, clause: usize, out: &mut Out) {
        if let Stage::Made(select) = &mut self.stage {
            select.handle_timeout(clause);
            self.drain(out);
        }
    }

    /// It was removed: everybody waiting hears so, and nothing more is chosen.
    pub(super) fn abort(&mut self, out: &mut Out) {
        let chosen = self.chosen_clause().filter(|_| self.moved.is_none());
        match &mut self.stage {
            Stage::Describing { maker, .. } => fail(*maker, ErrorKind::Aborted, "", out),
            Stage::Made(select) => {
                select.abort();
                for key in core::mem::take(&mut self.waiting) {
                    fail(key, ErrorKind::Aborted, "", out);
                }
                self.drain(out);
                if self.passed > 0 && self.sends() {
                    // Of what is on its way already nobody here can say more.
                    let lost = "the select was removed before its channel had answered";
                    self.moved.get_or_insert(Err(Error::new(ErrorKind::Unknown, lost)));
                }
                self.with_line(out, Channel::abort);
                if let Some(reader) = self.reader.take() {
                    fail(reader, ErrorKind::Unknown, "the select was removed before its channel had taken note", out);
                }
                out.extend(chosen.map(|clause| self.order(clause, Order::Withdraw)));
            }
        }
    }

    /// Hands on what the select wants.
    fn drain(&mut self, out: &mut Out) {
        while let Stage::Made(select) = &mut self.stage
            && let Some(output) = select.poll_output()
        {
            match output {
                select::Output::Call(clause, op) => {
                    let host = select.clauses().get(clause).and_then(|clause| host_of(&clause.choice));
                    out.extend(host.map(|host| self.order(clause, Order::Ask(host, op))));
                }
                select::Output::Write(clause, bytes) => {
                    *self.said.entry(clause).or_default() += bytes.len() as u64;
                    out.push_back(self.order(clause, Order::Write(bytes)));
                }
                select::Output::Used(clause, count) => out.push_back(self.order(clause, Order::Used(count, false))),
                select::Output::Withdraw(clause) => out.push_back(self.order(clause, Order::Withdraw)),
                select::Output::Timer(clause, after) => out.push_back(self.order(clause, Order::Time(after))),
                select::Output::Decided => self.is_decided(out),
                select::Output::Data(bytes, end) => self.has_come(bytes, end, out),
                select::Output::Moved(result) => self.has_moved(result, out),
            }
        }
    }

    fn is_decided(&mut self, out: &mut Out) {
        let result = self.result();
        for key in core::mem::take(&mut self.waiting) {
            out.push_back(Output::Answer { key, result: result.clone() });
        }
        if self.sends() {
            // It is whoever will receive, of which there is one.
            self.own = Some(self.with_line(out, |line, out| line.recv(SELF, false, out)));
        }
    }

    /// More of the message has come from the clause's channel.
    fn has_come(&mut self, bytes: Bytes, end: bool, out: &mut Out) {
        self.passed += bytes.len() as u64;
        match self.own {
            Some(place) => self.with_line(out, |line, out| line.input(place, bytes, end, out)),
            None => self.own = Some(self.with_line(out, |line, out| line.send(SELF, bytes, end, false, out))),
        }
    }

    /// The clause's channel has taken this much of what was said to it.
    fn has_room(&mut self, clause: usize, acked: u64, out: &mut Out) {
        let said = self.said.get(&clause).copied().unwrap_or(0);
        if let Some(turn) = self.own.filter(|_| self.chosen_clause() == Some(clause)) {
            self.with_line(out, |line, out| line.acked(turn, acked.saturating_sub(said), out));
        }
    }

    /// The message has come to this: whoever sent it to the select, or received
    /// it from there, hears the same.
    fn has_moved(&mut self, result: Result<Reply, Error>, out: &mut Out) {
        self.moved = Some(result.clone());
        if let Some(reader) = self.reader.take() {
            return out.push_back(Output::Answer { key: reader, result });
        }
        match self.own {
            // The sender's message was taken, to its end.
            Some(turn) if result.is_ok() => {
                let all = self.passed + 1;
                self.with_line(out, |line, out| line.acked(turn, all, out));
            }
            _ => self.with_line(out, Channel::abort),
        }
    }

    /// Lets something happen to the select's own channel. What that says to the
    /// clause's side goes to the clause's call, and users hear of the message
    /// only what came of it there.
    fn with_line<T>(&mut self, out: &mut Out, act: impl FnOnce(&mut Channel, &mut Out) -> T) -> T {
        let mut said = Out::new();
        let result = act(&mut self.line, &mut said);
        let clause = self.chosen_clause().unwrap_or(0);
        for output in said {
            match output {
                Output::Write { key: SELF, bytes, end } => {
                    self.passed += bytes.len() as u64;
                    out.push_back(self.order(clause, Order::Write(bytes)));
                    out.extend(end.then(|| self.order(clause, Order::End)));
                }
                Output::Grant { key: SELF, limit, .. } => self.use_up(clause, limit.saturating_sub(WINDOW), false, out),
                Output::Answer { key: SELF, result: Ok(Reply::Delivered) } => {
                    self.use_up(clause, self.passed, true, out);
                }
                Output::Answer { key: SELF, result: Err(_) } if self.moved.is_none() => {
                    out.push_back(self.order(clause, Order::Withdraw));
                }
                Output::Answer { key: SELF, .. } | Output::Again(SELF) => {}
                Output::Answer { key, result: Ok(Reply::Received { .. }) } if self.moved.is_none() => {
                    self.reader = Some(key);
                }
                Output::Answer { key, result } => {
                    let result = self.moved.clone().unwrap_or(result);
                    out.push_back(Output::Answer { key, result });
                }
                other => out.push_back(other),
            }
        }
        result
    }

    /// A user has used up the message to `acked`, or all of it.
    fn use_up(&mut self, clause: usize, acked: u64, all: bool, out: &mut Out) {
        let more = acked.saturating_sub(self.used);
        self.used += more;
        let more = usize::try_from(more).unwrap_or(usize::MAX);
        out.push_back(self.order(clause, Order::Used(more, all)));
    }

    /// Whether the clause that took place sends.
    fn sends(&self) -> bool {
        match (&self.stage, self.chosen_clause()) {
            (Stage::Made(select), Some(index)) => is_send(select, index),
            _ => false,
        }
    }

    /// Which clause took place.
    fn chosen_clause(&self) -> Option<usize> {
        match &self.stage {
            Stage::Made(select) => match select.decision() {
                Some(Decision::Clause(index, _)) => Some(*index),
                _ => None,
            },
            Stage::Describing { .. } => None,
        }
    }

    /// What those who wait are told.
    fn result(&self) -> Result<Reply, Error> {
        match &self.stage {
            Stage::Made(select) => match select.decision() {
                Some(Decision::Failed(error)) => Err(error.clone()),
                _ => self.chosen().map(|chosen| Reply::Chosen(Box::new(chosen))).ok_or(ErrorKind::WouldBlock.into()),
            },
            Stage::Describing { .. } => Err(ErrorKind::NotFound.into()),
        }
    }

    fn chosen(&self) -> Option<Chosen> {
        let Stage::Made(select) = &self.stage else { return None };
        let Some(Decision::Clause(index, exit)) = select.decision() else { return None };
        let name = select.clauses().get(*index)?.name.clone();
        Some(Chosen { clause: u32::try_from(*index).ok()?, name, exit: exit.clone() })
    }

    fn stat(&self) -> SelectStat {
        let (clauses, failed) = match &self.stage {
            Stage::Made(select) => {
                (select.clauses().to_vec(), self.result().err().filter(|_| select.decision().is_some()))
            }
            Stage::Describing { .. } => (Vec::new(), None),
        };
        SelectStat { spec: SelectSpec { clauses }, chosen: self.chosen(), failed }
    }

    fn refuse(&self, maker: CallKey, error: Error, out: &mut Out) {
        out.push_back(Output::Answer { key: maker, result: Err(error) });
        out.push_back(Output::Vacate(self.id));
    }

    const fn order(&self, clause: usize, order: Order) -> Output {
        Output::Order { id: self.id, clause, order }
    }
}

fn is_send(select: &select::Select, index: usize) -> bool {
    select.clauses().get(index).is_some_and(|clause| matches!(clause.choice, Choice::Send(_)))
}

fn is_recv(select: &select::Select, index: usize) -> bool {
    select.clauses().get(index).is_some_and(|clause| matches!(clause.choice, Choice::Recv(_)))
}

/// The server whose element a clause is about.
const fn host_of(choice: &Choice) -> Option<ServerId> {
    match choice {
        Choice::Send(anchor) | Choice::Recv(anchor) | Choice::Exit(anchor) => Some(anchor.server),
        Choice::After(_) | Choice::Default => None,
    }
}

fn fail(key: CallKey, kind: ErrorKind, detail: &str, out: &mut Out) {
    out.push_back(Output::Answer { key, result: Err(Error::new(kind, detail)) });
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;
    use crate::{
        AnchorPath,
        client::CallId,
        wire::op::{ASK, Clause, DONE},
    };

    const fn key(seq: u64) -> CallKey {
        CallKey { registration: 1, seq }
    }

    /// A select of one clause that is decided.
    fn chosen(choice: fn(AnchorPath) -> Choice) -> Select {
        let mut select = Select::new(ElementId(1), 7, key(1));
        let anchor = AnchorPath { server: ServerId(1), path: "c".parse().expect("a path") };
        let mut spec = Vec::new();
        codec::encode(
            &SelectSpec { clauses: [Clause { name: String::new(), choice: choice(anchor) }].into() },
            &mut spec,
        );
        select.input(key(1), 0, spec.into(), true, &mut Out::new());
        for word in [ASK, DONE] {
            let bytes = Bytes::copy_from_slice(&[word]);
            let event = Event::Data { call: CallId(0), bytes, end: false, again: false };
            select.event(0, event, &mut Out::new());
        }
        select
    }

    fn answer(select: &mut Select, op: &Op) -> Option<Result<Reply, Error>> {
        let mut out = Out::new();
        select.start(key(2), op, Bytes::from_static(b"x"), true, &mut out);
        out.into_iter().find_map(|output| match output {
            Output::Answer { key: of, result } if of == key(2) => Some(result),
            _ => None,
        })
    }

    #[test]
    fn who_comes_when_its_message_is_lost_or_moved_hears_so() {
        let path = || "select".parse().expect("a path");
        let (send, recv) = (Op::Send { path: path(), try_only: false }, Op::Recv { path: path(), try_only: false });
        let lost: Error = ErrorKind::Aborted.into();
        for (choice, op) in [(Choice::Send as fn(_) -> _, send), (Choice::Recv, recv)] {
            for (result, heard) in [(Err(lost.clone()), ErrorKind::Aborted), (Ok(Reply::Delivered), ErrorKind::Closed)]
            {
                let mut select = chosen(choice);
                select.event(0, Event::Answer { call: CallId(0), result }, &mut Out::new());
                let answer = answer(&mut select, &op).expect("it is answered");
                assert_eq!(answer.expect_err("there is no message").kind, heard, "{op:?}");
            }
            assert_eq!(answer(&mut chosen(choice), &op), None, "what may come is waited for");
        }
    }
}
