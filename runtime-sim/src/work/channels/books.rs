//! The books: every message, and what became of it as its sender and its
//! receivers heard. Plain, and obviously right.

use std::collections::BTreeMap;

use circuit_core::{Error, ErrorKind, Rng, ServerId, wire::op::Reply};

use crate::{ClientIndex, Figure, ServerIndex, oracle::Truth};

pub(crate) type MessageId = u64;

/// A client, and which one in its place.
pub(crate) type Sender = (ClientIndex, usize);

/// A channel that clients use.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) server: ServerIndex,
    pub(crate) cap: u32,
    /// The only client that receives from it, if it is only one.
    pub(crate) consumer: Option<ClientIndex>,
    /// Whether its host died: then what it held is gone.
    crashed: bool,
    /// Whether its only consumer died: then what it held came back late.
    disturbed: bool,
    /// The id of its host when it was made.
    pub(crate) host: Option<ServerId>,
}

#[derive(Debug)]
struct Message {
    channel: usize,
    sender: Sender,
    /// How long it is, without its number.
    length: usize,
    /// Whether a receiver was told that it is the first to have it.
    given: bool,
    /// What its sender heard; none yet, or its sender is dead.
    sent: Option<Result<Reply, ErrorKind>>,
    /// Receivers that acknowledged it and were told that this was taken.
    taken: u32,
    /// Receivers that acknowledged it and will never know.
    perhaps: u32,
}

/// What the clients of a world heard.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) channels: Vec<Channel>,
    messages: BTreeMap<MessageId, Message>,
    /// By channel and sender: the last message that was taken.
    last: BTreeMap<(usize, Sender), MessageId>,
    answers: BTreeMap<String, u64>,
    any_crashed: bool,
}

impl Books {
    pub(crate) fn new(rng: &mut Rng, servers: usize, consumers: usize) -> Self {
        let channel = |number: usize, rng: &mut Rng| Channel {
            server: number % servers,
            cap: [0, 0, 1, 3, 100][rng.below(5) as usize],
            consumer: rng.chance(1, 2).then(|| rng.below(consumers as u64) as usize),
            crashed: false,
            disturbed: false,
            host: None,
        };
        let channels = (0..4).map(|number| channel(number, rng)).collect();
        Self {
            channels,
            messages: BTreeMap::new(),
            last: BTreeMap::new(),
            answers: BTreeMap::new(),
            any_crashed: false,
        }
    }

    pub(crate) fn begin(&mut self, channel: usize, sender: Sender, length: usize) -> MessageId {
        let id = self.messages.len() as MessageId;
        self.messages.insert(id, Message { channel, sender, length, given: false, sent: None, taken: 0, perhaps: 0 });
        id
    }

    /// How long a message is.
    pub(crate) fn length(&self, id: MessageId) -> usize {
        self.messages.get(&id).map_or(0, |message| message.length)
    }

    /// All of a message came to a receiver, who was told whether it was given
    /// to another before. It was not to one at most, who may hear of it last.
    pub(crate) fn given(&mut self, sim: &mut impl Truth, id: MessageId, again: bool) {
        if let Some(message) = self.messages.get_mut(&id).filter(|_| !again)
            && std::mem::replace(&mut message.given, true)
        {
            sim.fail(format!("message {id} was given to two receivers as if to the first"));
        }
    }

    pub(crate) fn count(&mut self, what: &str, result: &Result<Reply, Error>) {
        let outcome = match result {
            Ok(reply) => format!("{reply:?}").split([' ', '{', '(']).next().unwrap_or_default().to_owned(),
            Err(error) => format!("{:?}", error.kind),
        };
        *self.answers.entry(format!("{what}: {outcome}")).or_default() += 1;
    }

    pub(crate) fn figures(&self) -> Vec<Figure> {
        self.answers.iter().map(|(what, count)| Figure::count(what.clone(), *count)).collect()
    }

    /// A sender was answered.
    pub(crate) fn sent(&mut self, sim: &mut impl Truth, id: MessageId, result: &Result<Reply, Error>) {
        if let Err(error) = result
            && matches!(
                error.kind,
                ErrorKind::Invalid | ErrorKind::WrongKind | ErrorKind::AlreadyExists | ErrorKind::Forbidden
            )
        {
            sim.fail(format!("a send was answered {error}"));
        }
        if let Some(message) = self.messages.get_mut(&id) {
            message.sent = Some(result.clone().map_err(|error| error.kind));
        }
    }

    /// A receiver acknowledged a message, and was answered; without an answer it
    /// will never know.
    pub(crate) fn received(&mut self, sim: &mut impl Truth, id: MessageId, answer: Option<&Result<Reply, Error>>) {
        let Some(message) = self.messages.get_mut(&id) else {
            return sim.fail(format!("message {id} was received and never sent"));
        };
        match answer {
            Some(Ok(Reply::Received { .. })) => {
                message.taken += 1;
                if message.taken > 1 {
                    sim.fail(format!("message {id} was acknowledged twice"));
                }
                let (channel, sender) = (message.channel, message.sender);
                let of = &self.channels[channel];
                let before = self.last.insert((channel, sender), id);
                if of.consumer.is_some() && !of.disturbed && before.is_some_and(|before| before > id) {
                    sim.fail(format!("message {id} came after {before:?} of the same sender"));
                }
            }
            // Its answer may have been lost with a host, a client or a way.
            None => message.perhaps += 1,
            Some(Err(error)) if error.kind == ErrorKind::Unknown => message.perhaps += 1,
            Some(_) => {}
        }
    }

    /// A client died: whatever its only consumption held comes back late.
    pub(crate) fn replaced(&mut self, client: ClientIndex) {
        for channel in self.channels.iter_mut().filter(|channel| channel.consumer == Some(client)) {
            channel.disturbed = true;
        }
    }

    pub(crate) fn crashed(&mut self, server: ServerIndex) {
        self.any_crashed = true;
        for channel in self.channels.iter_mut().filter(|channel| channel.server == server) {
            channel.crashed = true;
        }
    }

    /// Whether any server died at any time.
    pub(crate) const fn has_any_crashed(&self) -> bool {
        self.any_crashed
    }

    /// Whether a server died at any time.
    pub(crate) fn has_crashed(&self, server: ServerIndex) -> bool {
        self.channels.iter().any(|channel| channel.server == server && channel.crashed)
    }

    /// Whether everything that was said is true of every message.
    pub(crate) fn balance(&self) -> Option<String> {
        self.messages.iter().find_map(|(id, message)| {
            let crashed = self.channels[message.channel].crashed;
            let fault = match &message.sent {
                Some(Ok(Reply::Accepted)) if !crashed && message.taken + message.perhaps == 0 => "accepted, and lost",
                Some(Ok(Reply::Delivered)) if message.taken + message.perhaps == 0 => {
                    "delivered, and nobody acknowledged it"
                }
                Some(Ok(Reply::Accepted | Reply::Delivered)) => return None,
                Some(Ok(_)) => "answered with a reply that is not a send's",
                // Nobody can know.
                Some(Err(ErrorKind::Unknown)) | None => return None,
                Some(Err(_)) if message.taken > 0 => "said to have failed, and acknowledged",
                Some(Err(_)) => return None,
            };
            Some(format!("message {id} was {fault}: {message:?}"))
        })
    }
}
