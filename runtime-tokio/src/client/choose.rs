//! A program's own select: [`circuit_core::select`] over its calls.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use circuit_core::{
    Error, ServerId,
    client::{CallId, Request},
    select::{self, Decision, Output},
    wire::op::{self, Choice, ProcStat},
};
use tokio::time::{Sleep, sleep};

use super::{
    Chan, Circuit, Event, Message, Proc, Receiving, Sending, Sent, Subscription,
    call::{Call, closed},
    driver::Command,
};

/// One of several things that [`Circuit::select`] may do.
#[derive(Debug)]
pub enum Clause {
    /// Sends this message.
    Send(Chan, Bytes),
    /// Receives a message.
    Recv(Chan),
    /// Receives an event.
    Next(Subscription),
    /// Waits for the end of a process.
    Exit(Proc),
    /// Waits for so long.
    After(Duration),
    /// Does nothing, if nothing else can be done at once.
    Default,
}

/// What the clause that took place has come to.
#[derive(Debug)]
pub enum Outcome {
    /// The message was sent.
    Sent(Sent),
    /// This message was received; it is to be acknowledged as any.
    Received(Message),
    /// This event was received; it is to be confirmed as any.
    Happened(Event),
    /// The process has ended so.
    Exited(ProcStat),
    /// The time is over.
    Elapsed,
    /// Nothing else could be done at once.
    Nothing,
}

impl Circuit {
    /// Does the one of `clauses` that can be done first, and says which. Of the
    /// others nothing is left, wherever they are, also if this is dropped.
    ///
    /// # Errors
    /// `Invalid` for clauses that make no select; that of the first clause, if
    /// none can take place any more; `Unknown` if the host of the one that was
    /// to was lost in the middle.
    ///
    /// # Example
    /// ```no_run
    /// # use std::time::Duration;
    /// # use circuit_tokio::client::{Circuit, Clause, Outcome};
    /// # async fn example(circuit: Circuit) -> Result<(), circuit_core::Error> {
    /// let news = circuit.anchor("/X88550014d4c82e4d/news")?.chan()?;
    /// let clauses = vec![Clause::Recv(news), Clause::After(Duration::from_secs(5))];
    /// match circuit.select(clauses).await? {
    ///     (_, Outcome::Received(mut message)) => println!("{:?}", message.bytes().await?),
    ///     _ => println!("no news"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn select(&self, mut clauses: Vec<Clause>) -> Result<(usize, Outcome), Error> {
        let described = clauses.iter().map(Clause::describe).collect::<Result<Vec<_>, _>>()?;
        if let Some(fault) = select::Select::fault(&described) {
            return Err(fault);
        }
        let mut choosing = Choosing::start(self, described);
        match poll_fn(|cx| choosing.poll(cx)).await {
            Decision::Failed(error) => Err(error),
            Decision::Clause(index, exit) => {
                let clause = clauses.swap_remove(index);
                Ok((index, choosing.carry_out(index, clause, exit).await?))
            }
        }
    }
}

impl Clause {
    fn describe(&self) -> Result<op::Clause, Error> {
        let at = |anchor: &super::Anchor| anchor.place("no element stands at /").cloned();
        let choice = match self {
            Self::Send(channel, _) => Choice::Send(at(channel.anchor())?),
            Self::Recv(channel) => Choice::Recv(at(channel.anchor())?),
            Self::Next(subscription) => Choice::Recv(at(subscription.anchor())?),
            Self::Exit(process) => Choice::Exit(at(process.anchor())?),
            Self::After(time) => Choice::After(u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
            Self::Default => Choice::Default,
        };
        Ok(op::Clause { name: String::new(), choice })
    }
}

/// A select under way.
struct Choosing<'a> {
    circuit: &'a Circuit,
    select: select::Select,
    turns: Vec<Turn>,
    timers: Vec<(usize, Pin<Box<Sleep>>)>,
    /// What has come of the message already.
    come: Vec<Bytes>,
    ended: bool,
}

/// The call of a clause.
struct Turn {
    host: ServerId,
    /// One that is withdrawn is dropped.
    call: Option<Call>,
    /// How many bytes were said in it.
    said: u64,
    /// Whether its message was given to another before.
    again: bool,
}

impl<'a> Choosing<'a> {
    fn start(circuit: &'a Circuit, clauses: Vec<op::Clause>) -> Self {
        let turn = |clause: &op::Clause| Turn { host: host_of(&clause.choice), call: None, said: 0, again: false };
        let turns = clauses.iter().map(turn).collect();
        let mut select = select::Select::new(circuit.select_id(), clauses);
        select.start();
        Self { circuit, select, turns, timers: Vec::new(), come: Vec::new(), ended: false }
    }

    /// Lets happen what has happened, until it is decided.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Decision> {
        loop {
            self.obey();
            if let Some(decision) = self.select.decision() {
                return Poll::Ready(decision.clone());
            }
            let news =
                self.turns.iter_mut().enumerate().find_map(|(index, turn)| match turn.call.as_mut()?.poll_data(cx) {
                    Poll::Ready(found) => Some((index, found)),
                    Poll::Pending => None,
                });
            match news {
                Some((index, Ok(data))) => {
                    self.turns[index].again |= data.again;
                    self.select.handle_data(index, data.bytes, data.end);
                }
                Some((index, Err(answer))) => {
                    self.turns[index].call = None;
                    self.select.handle_answer(index, answer);
                }
                None => match self.timers.iter_mut().position(|(_, timer)| timer.as_mut().poll(cx).is_ready()) {
                    Some(at) => self.select.handle_timeout(self.timers.swap_remove(at).0),
                    None => return Poll::Pending,
                },
            }
        }
    }

    /// Does what the select wants.
    fn obey(&mut self) {
        while let Some(output) = self.select.poll_output() {
            match output {
                Output::Call(index, op) => {
                    let turn = &mut self.turns[index];
                    turn.call = Some(Call::start(self.circuit, turn.host, Request::from(op)));
                }
                Output::Write(index, bytes) => {
                    let turn = &mut self.turns[index];
                    turn.said += bytes.len() as u64;
                    turn.command(|id| Command::Write { id, bytes });
                }
                Output::Used(index, count) => {
                    self.turns[index].command(|id| Command::Consumed { id, count, end: false });
                }
                Output::Withdraw(index) => self.turns[index].call = None,
                Output::Timer(index, after) => self.timers.push((index, Box::pin(sleep(after)))),
                Output::Data(bytes, end) => {
                    self.come.push(bytes);
                    self.ended |= end;
                }
                // An answer is looked at only before the decision.
                Output::Decided | Output::Moved(_) => {}
            }
        }
    }

    /// Moves the message of the clause that takes place.
    async fn carry_out(mut self, index: usize, clause: Clause, exit: Option<ProcStat>) -> Result<Outcome, Error> {
        let turn = self.turns.swap_remove(index);
        match (clause, turn.call) {
            (Clause::Send(_, message), Some(call)) => {
                let mut sending = Sending::of(call, turn.said);
                sending.write(message).await?;
                Ok(Outcome::Sent(sending.sent().await?))
            }
            (Clause::Recv(_), Some(call)) => Ok(Outcome::Received(self.message(call, turn.again).await?)),
            (Clause::Next(subscription), Some(call)) => {
                let message = self.message(call, turn.again).await?;
                Ok(Outcome::Happened(subscription.read(message).await?))
            }
            (Clause::Exit(_), _) => exit.map(Outcome::Exited).ok_or_else(closed),
            (Clause::After(_), _) => Ok(Outcome::Elapsed),
            (Clause::Default, _) => Ok(Outcome::Nothing),
            (_, None) => Err(closed()),
        }
    }

    /// The message that a clause receives.
    async fn message(self, call: Call, again: bool) -> Result<Message, Error> {
        let come = Bytes::from(self.come.concat());
        let mut stream = Receiving::of(call, come.len(), self.ended, again);
        let first = if come.is_empty() { stream.next().await? } else { Some(come) };
        Ok(Message::of(first, stream))
    }
}

impl Turn {
    fn command(&self, command: impl FnOnce(CallId) -> Command) {
        if let Some(call) = &self.call {
            call.command(command(call.id));
        }
    }
}

/// Where the call of a clause goes.
const fn host_of(choice: &Choice) -> ServerId {
    match choice {
        Choice::Send(at) | Choice::Recv(at) | Choice::Exit(at) => at.server,
        Choice::After(_) | Choice::Default => ServerId::DIAL_IN,
    }
}
