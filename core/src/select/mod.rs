//! One of several: whichever can be first, and no other.
//!
//! A select has clauses: a send, a receive, the end of a process, a time, or a
//! default for when nothing else can be. It makes one call for each clause that
//! needs one, and hears from the host when the clause's turn has come (see
//! `elements/channel/bid.rs`). The first that asks is promised that it will be
//! the one; until it is done, or takes its question back, others wait. When it
//! is done all other calls are withdrawn, and as nothing was promised there,
//! nothing is left there. Once something is promised whose host is then lost,
//! nobody can say whether it was done, and nothing else is tried.
//!
//! This machine knows calls by the numbers of their clauses. It is the same in
//! the element that lives on a server, and in a client that selects by itself;
//! whoever owns it makes the calls. Guarded choice is Hoare's; that it should
//! hold across machines, the talk's.

#[cfg(test)]
mod tests;

use alloc::{collections::VecDeque, format, vec::Vec};
use core::time::Duration;

use bytes::{Buf, Bytes};

use crate::{
    Error, ErrorKind,
    wire::op::{ASK, Choice, Clause, DONE, NEVER_MIND, Op, Phase, ProcStat, Reply, Side, Stat, VOID, YES},
};

/// The most clauses of one select.
pub const MAX_CLAUSES: usize = 64;

/// What a select wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Ask the host of a clause's anchor for this.
    Call(usize, Op),
    /// Write to the stream of a clause's call.
    Write(usize, Bytes),
    /// So many bytes of the stream from a clause's call were used up.
    Used(usize, usize),
    /// End a clause's call, if it still can be: nothing of it is awaited.
    Withdraw(usize),
    /// It is decided.
    Decided,
    /// More of the message that was received, and whether that was all.
    Data(Bytes, bool),
    /// The message that was sent or received has come to this.
    Moved(Result<Reply, Error>),
    /// [`Select::handle_timeout`] wants to be called of this clause, after so
    /// long.
    Timer(usize, Duration),
}

/// What became of a select.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// This clause took place; of a process, how it ended.
    Clause(usize, Option<ProcStat>),
    /// None did, and none will.
    Failed(Error),
}

#[derive(Clone, Debug, PartialEq)]
enum Stage {
    /// Nothing is promised.
    Open,
    /// Only this clause may take place.
    Promised(usize),
    Decided(Decision),
}

/// Where one clause is.
#[derive(Clone, Debug, PartialEq)]
enum Turn {
    /// It was asked for.
    Waiting,
    /// It could be now: its host has asked, or its process has ended.
    Ready(Option<ProcStat>),
    /// It will not be.
    Out(Error),
}

/// A select. The module's documentation says what it does.
#[derive(Debug)]
pub struct Select {
    id: u128,
    clauses: Vec<Clause>,
    turns: Vec<Turn>,
    stage: Stage,
    out: VecDeque<Output>,
}

impl Select {
    /// A select of number `id`, which no other has.
    pub fn new(id: u128, clauses: Vec<Clause>) -> Self {
        let turns = clauses.iter().map(|_| Turn::Waiting).collect();
        Self { id, clauses, turns, stage: Stage::Open, out: VecDeque::new() }
    }

    /// What is wrong with some clauses, if anything is.
    pub fn fault(clauses: &[Clause]) -> Option<Error> {
        let defaults = clauses.iter().filter(|clause| clause.choice == Choice::Default).count();
        let words = match clauses.len() {
            0 => "a select has at least one clause".into(),
            1..=MAX_CLAUSES if defaults <= 1 => return None,
            1..=MAX_CLAUSES => "a select has one default at most".into(),
            _ => format!("a select has {MAX_CLAUSES} clauses at most"),
        };
        Some(Error::new(ErrorKind::Invalid, words))
    }

    /// A command: begin.
    pub fn start(&mut self) {
        let try_only = self.default().is_some();
        for (index, clause) in self.clauses.iter().enumerate() {
            let (id, select) = (index, self.id);
            let bid = |anchor: &crate::AnchorPath, side| Op::Bid { path: anchor.path.clone(), select, side, try_only };
            match &clause.choice {
                Choice::Send(anchor) => self.out.push_back(Output::Call(id, bid(anchor, Side::Send))),
                Choice::Recv(anchor) => self.out.push_back(Output::Call(id, bid(anchor, Side::Recv))),
                // What is not yet is not waited for.
                Choice::Exit(anchor) if try_only => {
                    self.out.push_back(Output::Call(id, Op::Peek(anchor.path.clone())));
                }
                Choice::Exit(anchor) => self.out.push_back(Output::Call(id, Op::Wait(anchor.path.clone()))),
                Choice::After(micros) => {
                    self.out.push_back(Output::Timer(index, Duration::from_micros(*micros)));
                }
                Choice::Default => {}
            }
        }
        self.look();
    }

    /// The world happened: the time of a clause has come.
    pub fn handle_timeout(&mut self, index: usize) {
        self.set(index, Turn::Ready(None));
        self.look();
    }

    /// The world happened: something came of the stream of a clause's call.
    pub fn handle_data(&mut self, index: usize, mut bytes: Bytes, end: bool) {
        while bytes.has_remaining() && !self.is_chosen(index) {
            let word = bytes.get_u8();
            self.out.push_back(Output::Used(index, 1));
            self.hear(index, word);
        }
        if self.is_chosen(index) {
            self.out.push_back(Output::Data(bytes, end));
        }
    }

    /// The world happened: a clause's call was answered.
    pub fn handle_answer(&mut self, index: usize, result: Result<Reply, Error>) {
        if self.is_chosen(index) {
            return self.out.push_back(Output::Moved(result));
        }
        if matches!(self.stage, Stage::Decided(_)) {
            return;
        }
        let turn = match result {
            Ok(Reply::Exit(stat)) => Turn::Ready(Some(*stat)),
            Ok(Reply::Stat(stat)) => ended(*stat),
            Ok(reply) => Turn::Out(Error::new(ErrorKind::Invalid, format!("{reply:?} is no answer to a clause"))),
            Err(error) => Turn::Out(error),
        };
        if let (Stage::Promised(promised), Turn::Out(error)) = (&self.stage, &turn)
            && *promised == index
        {
            if may_have_been(error.kind) {
                let words = format!("clause {index} may have taken place: {error}");
                return self.decide(Decision::Failed(Error::new(ErrorKind::Unknown, words)));
            }
            self.stage = Stage::Open;
        }
        self.set(index, turn);
        self.look();
    }

    /// A command: it is not wanted any more. What is promised may yet take place.
    pub fn abort(&mut self) {
        if !matches!(self.stage, Stage::Decided(_)) {
            self.decide(Decision::Failed(ErrorKind::Aborted.into()));
        }
    }

    /// What became of it, if that is decided.
    pub const fn decision(&self) -> Option<&Decision> {
        match &self.stage {
            Stage::Decided(decision) => Some(decision),
            _ => None,
        }
    }

    /// Its clauses.
    pub fn clauses(&self) -> &[Clause] {
        &self.clauses
    }

    /// What now?
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// The host of a clause says a word.
    fn hear(&mut self, index: usize, word: u8) {
        let is_ready = matches!(self.turns.get(index), Some(Turn::Ready(_)));
        let is_promised = self.stage == Stage::Promised(index);
        match word {
            ASK => {
                self.set(index, Turn::Ready(None));
                self.look();
            }
            NEVER_MIND if is_promised => {
                self.stage = Stage::Open;
                self.set(index, Turn::Waiting);
                self.look();
            }
            NEVER_MIND if is_ready => {
                self.set(index, Turn::Waiting);
                self.say(index, VOID);
            }
            DONE if is_promised => self.decide(Decision::Clause(index, None)),
            // A host that says anything else is not one of ours.
            _ => {}
        }
    }

    /// Promises what is ready, the first first; and looks whether anything can
    /// still be.
    fn look(&mut self) {
        if self.stage != Stage::Open {
            return;
        }
        let ready = self.turns.iter().enumerate().find_map(|(index, turn)| match turn {
            Turn::Ready(stat) => Some((index, stat.clone())),
            _ => None,
        });
        if let Some((index, stat)) = ready {
            let is_bid =
                matches!(self.clauses.get(index).map(|clause| &clause.choice), Some(Choice::Send(_) | Choice::Recv(_)));
            if is_bid {
                self.stage = Stage::Promised(index);
                self.say(index, YES);
            } else {
                self.decide(Decision::Clause(index, stat));
            }
            return;
        }
        let mut errors = self.turns.iter().filter_map(|turn| match turn {
            Turn::Out(error) => Some(error),
            _ => None,
        });
        let first = errors.next().cloned();
        let out = errors.count() + usize::from(first.is_some());
        match (self.default(), first) {
            (Some(default), _) if out + 1 == self.turns.len() => self.decide(Decision::Clause(default, None)),
            (None, Some(error)) if out == self.turns.len() => self.decide(Decision::Failed(error)),
            _ => {}
        }
    }

    /// It is decided: all other calls are withdrawn.
    fn decide(&mut self, decision: Decision) {
        for index in 0..self.clauses.len() {
            let chosen = matches!(decision, Decision::Clause(clause, _) if clause == index);
            if !chosen && matches!(self.turns.get(index), Some(Turn::Waiting | Turn::Ready(_))) {
                self.out.push_back(Output::Withdraw(index));
            }
        }
        self.stage = Stage::Decided(decision);
        self.out.push_back(Output::Decided);
    }

    fn is_chosen(&self, index: usize) -> bool {
        matches!(&self.stage, Stage::Decided(Decision::Clause(clause, _)) if *clause == index)
    }

    fn default(&self) -> Option<usize> {
        self.clauses.iter().position(|clause| clause.choice == Choice::Default)
    }

    fn set(&mut self, index: usize, turn: Turn) {
        if let Some(place) = self.turns.get_mut(index) {
            *place = turn;
        }
    }

    fn say(&mut self, index: usize, word: u8) {
        self.out.push_back(Output::Write(index, Bytes::copy_from_slice(&[word])));
    }
}

/// Whether a process that was looked at has ended.
fn ended(stat: Stat) -> Turn {
    match stat {
        Stat::Proc(stat) if matches!(stat.phase, Phase::Exited | Phase::Signaled) => Turn::Ready(Some(stat)),
        Stat::Proc(_) => Turn::Out(ErrorKind::WouldBlock.into()),
        _ => Turn::Out(Error::new(ErrorKind::WrongKind, "only a process has an end that can be waited for")),
    }
}

/// Whether something that was promised may have been done, though its call
/// ended so.
const fn may_have_been(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Unknown | ErrorKind::Unreachable | ErrorKind::Disconnected | ErrorKind::Aborted)
}
