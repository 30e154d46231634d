//! Users of channels.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use circuit_core::{Error, ErrorKind, wire::op::Reply};
use circuit_tokio::client::{Chan, Clause, Message, Outcome, Sent};
use tokio::time::sleep;

use super::{AT_ONCE, Ends, Phase, User, Works, lock};
use crate::work::channels::{
    agent::{body, check_body, message_id, path_text},
    books::MessageId,
};

/// Messages that are longer are written in pieces of this size.
const PIECE: usize = 10_000;

/// An acknowledgement that is on its way: who is dropped meanwhile will never
/// know whether it came.
struct Confirming {
    works: Arc<Works>,
    message: MessageId,
    answered: bool,
}

impl Drop for Confirming {
    fn drop(&mut self) {
        if !self.answered {
            let Works { ground, books, .. } = &*self.works;
            ground.truth(|truth| lock(books).received(truth, self.message, None));
        }
    }
}

impl User {
    pub(super) async fn use_channels(&mut self) {
        while self.pause(400).await {
            if self.tasks.len() >= AT_ONCE {
                continue;
            }
            let channels = lock(&self.works.books).channels.len() as u64;
            let channel = self.rng.below(channels) as usize;
            match self.rng.below(10) {
                0..4 => self.send(channel),
                4..7 => self.recv(channel),
                7 => self.choose(),
                _ => self.tasks.drop_one(&mut self.rng),
            }
        }
        self.end().await;
    }

    fn channel(&self, channel: usize) -> Option<Chan> {
        let host = lock(&self.works.books).channels[channel].host?;
        self.place(host, &path_text(channel))?.chan().ok()
    }

    fn send(&mut self, channel: usize) {
        let Some(chan) = self.channel(channel) else { return };
        let anchor = self.hurry(chan.anchor().clone(), 8);
        let Ok(chan) = anchor.chan() else { return };
        let length = match self.rng.below(10) {
            0 => 20_000 + self.rng.below(60_000) as usize,
            1 => 32_760 + self.rng.below(16) as usize,
            _ => self.rng.below(300) as usize,
        };
        let try_only = self.rng.chance(1, 8);
        let message = lock(&self.works.books).begin(channel, (self.client, self.life), length);
        let works = self.works.clone();
        self.tasks.spawn(Ends::Dropped, async move {
            let result = if length < PIECE {
                let bytes = [&message.to_le_bytes()[..], &body(message, 0, length)].concat();
                if try_only { chan.try_send(bytes).await } else { chan.send(bytes).await }
            } else {
                send_long(&chan, try_only, message, length).await
            };
            let result = result.map(reply_of);
            let Works { ground, books, .. } = &*works;
            lock(books).count("send", &result);
            ground.truth(|truth| lock(books).sent(truth, message, &result));
        });
    }

    fn recv(&mut self, channel: usize) {
        let consumer = lock(&self.works.books).channels[channel].consumer;
        if consumer.is_some_and(|consumer| consumer != self.client) {
            return;
        }
        let Some(chan) = self.channel(channel) else { return };
        let anchor = self.hurry(chan.anchor().clone(), 8);
        let Ok(chan) = anchor.chan() else { return };
        let try_only = self.rng.chance(1, 8);
        // Some applications think before they acknowledge.
        let thought = Duration::from_millis(if self.rng.chance(1, 2) { 0 } else { self.rng.below(2_000) });
        let works = self.works.clone();
        let (turn, ends) = match consumer {
            None => (None, Ends::Dropped),
            // The only consumer takes one message after the other.
            Some(_) => match self.turns.entry(channel).or_default().clone().try_lock_owned() {
                Ok(turn) => (Some(turn), Ends::DroppedAtLast),
                Err(_) => return,
            },
        };
        self.tasks.spawn(ends, async move {
            let _turn = turn;
            let received = if try_only { chan.try_recv().await } else { chan.recv().await };
            take(&works, received, thought).await;
        });
    }

    /// Sends to or receives from one of two channels, whichever can be first,
    /// or gives up in time. Of a channel with one consumer the order is looked
    /// at: it is left out.
    fn choose(&mut self) {
        let free = |channel: &usize| lock(&self.works.books).channels[*channel].consumer.is_none();
        let count = lock(&self.works.books).channels.len();
        let mut channels: Vec<usize> = (0..count).filter(free).collect();
        while channels.len() > 2 {
            channels.swap_remove(self.rng.below(channels.len() as u64) as usize);
        }
        let (mut clauses, mut messages) = (Vec::new(), Vec::new());
        for channel in channels {
            let Some(chan) = self.channel(channel) else { return };
            if self.rng.chance(1, 2) {
                clauses.push(Clause::Recv(chan));
                continue;
            }
            let length = self.rng.below(300) as usize;
            let message = lock(&self.works.books).begin(channel, (self.client, self.life), length);
            let bytes = [&message.to_le_bytes()[..], &body(message, 0, length)].concat();
            messages.push((clauses.len(), message));
            clauses.push(Clause::Send(chan, bytes.into()));
        }
        clauses.push(Clause::After(Duration::from_millis(self.rng.below(3_000))));
        let (works, circuit) = (self.works.clone(), self.circuit.clone());
        self.tasks.spawn(Ends::Dropped, async move {
            let chosen = circuit.select(clauses).await;
            for (clause, message) in messages {
                let result = match &chosen {
                    Ok((chosen, Outcome::Sent(sent))) if *chosen == clause => Ok(reply_of(*sent)),
                    // It was not sent, and nobody may ever have it.
                    Ok(_) => Err(ErrorKind::Cancelled.into()),
                    Err(error) => Err(error.clone()),
                };
                lock(&works.books).count("select send", &result);
                works.ground.truth(|truth| lock(&works.books).sent(truth, message, &result));
            }
            if let Ok((_, Outcome::Received(message))) = chosen {
                take(&works, Ok(message), Duration::ZERO).await;
            }
        });
    }

    /// Makes the channels; takes what is left in them at last, and sees whether
    /// they hold as much as they should.
    pub(super) async fn keep_channels(&mut self) {
        let count = lock(&self.works.books).channels.len();
        for channel in 0..count {
            let (server, cap) = {
                let of = &lock(&self.works.books).channels[channel];
                (of.server, of.cap)
            };
            let host = self.works.ground.truth(|truth| crate::oracle::Truth::server_id(truth, server));
            lock(&self.works.books).channels[channel].host = Some(host);
            if let Some(anchor) = self.place(host, &path_text(channel)) {
                let made = anchor.make_chan(cap).await.map(|_| Reply::Done);
                lock(&self.works.books).count("make", &made);
            }
        }
        self.works.wait_for(Phase::Drain).await;
        for channel in 0..count {
            let Some(chan) = self.channel(channel) else { continue };
            while take(&self.works, chan.try_recv().await, Duration::ZERO).await {}
        }
        self.works.wait_for(Phase::Fill).await;
        for channel in 0..count {
            self.fill(channel).await;
        }
    }

    /// Puts as much as it buffers into a channel that is empty, and one more.
    async fn fill(&self, channel: usize) {
        let (server, cap) = {
            let of = &lock(&self.works.books).channels[channel];
            (of.server, of.cap)
        };
        let Some(chan) = self.channel(channel) else { return };
        for place in 0..=cap {
            let result = chan.try_send("full").await;
            let full = result.as_ref().is_err_and(|error| error.kind == ErrorKind::WouldBlock);
            let right = full == (place == cap) && (full || result.is_ok());
            if !right && !lock(&self.works.books).has_crashed(server) {
                self.works.ground.fail(format!("message {place} for a channel of {cap} was answered {result:?}"));
            }
        }
    }
}

const fn reply_of(sent: Sent) -> Reply {
    match sent {
        Sent::Accepted => Reply::Accepted,
        Sent::Delivered => Reply::Delivered,
    }
}

async fn send_long(chan: &Chan, try_only: bool, message: MessageId, length: usize) -> Result<Sent, Error> {
    let mut sending = if try_only { chan.try_sender() } else { chan.sender() };
    sending.write(Bytes::copy_from_slice(&message.to_le_bytes())).await?;
    for from in (0..length).step_by(PIECE) {
        sending.write(body(message, from, PIECE.min(length - from))).await?;
        sleep(Duration::from_millis(20)).await;
    }
    sending.sent().await
}

/// Reads a message and acknowledges it. Whether it was taken.
async fn take(works: &Arc<Works>, received: Result<Message, Error>, thought: Duration) -> bool {
    let Works { ground, books, .. } = &**works;
    let mut got = Vec::new();
    let read = match received {
        Ok(mut message) => loop {
            match message.next().await {
                Ok(Some(bytes)) => got.extend_from_slice(&bytes),
                Ok(None) => break Ok(message),
                Err(error) => break Err(error),
            }
        },
        Err(error) => Err(error),
    };
    let mut message = match read {
        Ok(message) => message,
        Err(error) => {
            lock(books).count("recv", &Err(error));
            return false;
        }
    };
    let again = message.again();
    if got == b"full" {
        return false; // put there to fill it
    }
    ground.truth(|truth| {
        check_body(truth, &lock(books), &got);
        lock(books).given(truth, message_id(&got), again);
    });
    sleep(thought).await;
    let mut confirming = Confirming { works: works.clone(), message: message_id(&got), answered: false };
    let result = message.confirm().await.map(|()| Reply::Received { again });
    confirming.answered = true;
    lock(books).count("recv", &result);
    ground.truth(|truth| lock(books).received(truth, message_id(&got), Some(&result)));
    result.is_ok()
}
