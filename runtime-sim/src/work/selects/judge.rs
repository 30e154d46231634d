//! What must be true of selects and their messages.

use circuit_core::{Error, ErrorKind, client::CallId, wire::op::Reply};

use super::{Doing, Message, Place, Selected, Selects, Step};
use crate::Sim;

impl Selects {
    /// A receiver acknowledged a message, and heard this of it, or nothing.
    pub(super) fn received(&mut self, sim: &mut Sim, from: Place, got: &[u8], answer: Option<&Result<Reply, Error>>) {
        let number = got.first_chunk().map_or(u32::MAX, |number| u32::from_le_bytes(*number));
        let Some(message) = self.messages.get_mut(number as usize).filter(|_| got.len() == 4) else {
            return sim.fail(format!("{got:?} came out of {from:?}, which nobody sent"));
        };
        if message.to != Some(from) {
            let words = format!("message {number} for {:?} came out of {from:?}", message.to);
            return sim.fail(words);
        }
        match answer {
            Some(Ok(Reply::Received { .. })) => message.taken += 1,
            None => message.perhaps += 1,
            Some(Err(error)) if error.kind == ErrorKind::Unknown => message.perhaps += 1,
            Some(_) => {}
        }
        if message.taken > 1 {
            sim.fail(format!("message {number} was acknowledged twice"));
        }
    }

    /// What is waited for: by which select, or none, whether to send, and where, if
    /// there was a channel before.
    ///
    /// A select whose server lost an hour has given up the hosts that it did not hear
    /// from before: which of its clauses are still asked for, nobody knows.
    fn wanted(&self, sim: &Sim, doing: &Doing) -> Vec<(u64, bool, Place)> {
        let of_message = |number: u32| self.messages.get(number as usize).and_then(|message| message.to);
        match doing {
            Doing::Send(number) => of_message(*number).map(|place| (0, true, place)).into_iter().collect(),
            Doing::Recv { from, ended: false, .. } => vec![(u64::MAX, false, *from)],
            Doing::Select(number, Step::Wait) => {
                let knows = |selected: &&Selected| !sim.has_jumped(selected.server);
                let clauses = self.selects.get(number).filter(knows).into_iter().flat_map(|selected| &selected.clauses);
                let place =
                    |place: Option<Place>| place.filter(|at| self.there.get(at).is_some_and(|before| before < number));
                clauses.filter_map(|&(sends, at)| Some((*number, sends, place(at)?))).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Whether anything that a message depends on has died.
    fn has_died(&self, message: &Message) -> bool {
        message.to.is_none_or(|(server, _)| self.died.contains(&server))
    }

    /// No two wait for each other.
    pub(super) fn judge_waiting(&self, sim: &mut Sim) {
        let of_call = |(&call, (_, doing)): (&CallId, &(_, Doing))| {
            self.wanted(sim, doing).into_iter().map(move |(select, sends, place)| (call, select, sends, place))
        };
        let wanted = self.open.iter().flat_map(of_call);
        let (sends, recvs): (Vec<_>, Vec<_>) = wanted.partition(|(_, _, sends, _)| *sends);
        let pairs = sends.iter().flat_map(|send| recvs.iter().map(move |recv| (send, recv)));
        for (&(send, sender, _, place), &(recv, receiver, _, at)) in pairs {
            if place == at && sender != receiver {
                let calls = [send, recv].map(|call| (call, self.open.get(&call)));
                let of = [sender, receiver].map(|select| self.selects.get(&select));
                return sim.fail(format!("at {place:?} two wait for each other: {calls:?}, {of:?}"));
            }
        }
    }

    /// Everything was answered, and all messages are where they should be.
    pub(super) fn check(&self, sim: &mut Sim) {
        if let Some((call, doing)) = self.open.iter().next() {
            return sim.fail(format!("{call:?} was never answered: {doing:?}"));
        }
        for (number, message) in self.messages.iter().enumerate() {
            let gone = message.taken + message.perhaps;
            let fault = match message.sent {
                Some(Ok(Reply::Accepted)) if gone == 0 && !self.has_died(message) => "accepted, and lost",
                Some(Ok(Reply::Delivered)) if gone == 0 && !self.has_died(message) => {
                    "delivered, and nobody acknowledged it"
                }
                Some(Err(kind)) if kind != ErrorKind::Unknown && message.taken > 0 => {
                    "said to have failed, and acknowledged"
                }
                _ => continue,
            };
            return sim.fail(format!("message {number} was {fault}: {message:?}"));
        }
    }
}
