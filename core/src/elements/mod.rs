//! Elements: what an anchor can hold, and what can be done with it.
//!
//! Each kind is a state machine of its own that knows calls by their keys and
//! says what it wants in [`Output`]s. This part finds the machine that a call
//! or an effect is for.

pub mod channel;
mod nameserver;
mod process;
mod select;
mod subscription;

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet, VecDeque},
    format,
};

use core::net::SocketAddr;

use bytes::Bytes;

use crate::{
    Error, ErrorKind, ServerId,
    calls::CallKey,
    client,
    effect::{Effect, EffectEvent},
    membership::Event,
    wire::op::{Kind, Op, Reply, Side, Source, Stat},
};
use channel::{Channel, Ticket};
use nameserver::Nameserver;
use process::Process;
pub use process::{ContainerRules, Kept, KeptOutput};
pub use select::Order;
use select::Select;
pub use subscription::MAX_PENDING;
use subscription::Subscription;

/// An element, named apart from where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ElementId(pub u64);

/// What elements want done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// The one answer to a call.
    Answer {
        /// Which call.
        key: CallKey,
        /// What came of it.
        result: Result<Reply, Error>,
    },
    /// More of a call's outbound stream.
    Write {
        /// Of which call.
        key: CallKey,
        /// The bytes.
        bytes: Bytes,
        /// Whether the stream ends with them.
        end: bool,
    },
    /// What the call's outbound stream brings was given to another before.
    Again(CallKey),
    /// A call's inbound stream was used up to `acked`; up to `limit` may come.
    Grant {
        /// Of which call.
        key: CallKey,
        /// What the sender may forget.
        acked: u64,
        /// What the sender may send.
        limit: u64,
    },
    /// Something to do about the call that this server makes for a clause of a
    /// select.
    Order {
        /// The select.
        id: ElementId,
        /// The clause.
        clause: usize,
        /// What.
        order: Order,
    },
    /// Something to do in the world.
    Effect(Effect),
    /// The element has ended by itself, or could not be made: its place is free.
    Vacate(ElementId),
}

/// Where elements put their outputs.
pub type Out = VecDeque<Output>;

/// All elements of one host.
#[derive(Debug, Default)]
pub struct Elements {
    elements: BTreeMap<ElementId, Element>,
    /// Which element a call that is not answered yet waits on, and what it has
    /// there.
    callers: BTreeMap<CallKey, (ElementId, Ticket)>,
    subscriptions: BTreeSet<ElementId>,
    /// Which containers are made, if any.
    containers: Option<ContainerRules>,
    out: Out,
}

#[derive(Debug)]
enum Element {
    Channel(Box<Channel>),
    Nameserver(Box<Nameserver>),
    Process(Box<Process>),
    Select(Box<Select>),
    Subscription(Box<Subscription>),
}

impl Elements {
    /// No elements yet, on a host that makes containers by these rules, or none.
    pub fn new(containers: Option<ContainerRules>) -> Self {
        Self { containers, ..Self::default() }
    }

    /// A command: make the element that `op` describes, under a new `id`.
    pub fn make(&mut self, key: CallKey, id: ElementId, op: &Op, input: Bytes, ended: bool) {
        match op {
            Op::MakeChan { cap, .. } => {
                let channel = Channel::new(usize::try_from(*cap).unwrap_or(usize::MAX));
                self.elements.insert(id, Element::Channel(Box::new(channel)));
                self.out.push_back(Output::Answer { key, result: Ok(Reply::Done) });
            }
            Op::MakeProc(at) => {
                self.elements.insert(id, Element::Process(Box::new(Process::new(id, at.clone(), key))));
                self.callers.insert(key, (id, 0));
                self.handle_input(key, input, ended);
            }
            Op::MakeContainer(at) => {
                let Some(rules) = self.containers.clone() else {
                    let error = Error::new(ErrorKind::Forbidden, "containers need a server started with -docker");
                    self.out.push_back(Output::Answer { key, result: Err(error) });
                    return self.out.push_back(Output::Vacate(id));
                };
                let container = Process::container(id, at.clone(), key, rules);
                self.elements.insert(id, Element::Process(Box::new(container)));
                self.callers.insert(key, (id, 0));
                self.handle_input(key, input, ended);
            }
            _ => self.fail(key, ErrorKind::Invalid),
        }
    }

    /// A command: this is a process that an earlier server left behind, the
    /// `index`th of them.
    pub fn adopt(&mut self, id: ElementId, index: usize, kept: Kept) {
        self.out.push_back(Output::Effect(Effect::Adopt { id, kept: index }));
        let process = Process::adopt(id, kept, &mut self.out);
        self.elements.insert(id, Element::Process(Box::new(process)));
    }

    /// A command: make a select, of a number that no other in the circuit has.
    pub fn make_select(&mut self, key: CallKey, id: ElementId, number: u128, input: Bytes, ended: bool) {
        self.elements.insert(id, Element::Select(Box::new(Select::new(id, number, key))));
        self.callers.insert(key, (id, 0));
        self.handle_input(key, input, ended);
    }

    /// A command: make a name server that answers at `addr`.
    pub fn make_dns(&mut self, key: CallKey, id: ElementId, addr: SocketAddr) {
        let nameserver = Nameserver::new(id, key, addr, &mut self.out);
        self.elements.insert(id, Element::Nameserver(Box::new(nameserver)));
        self.callers.insert(key, (id, 0));
    }

    /// The world happened: something came of the call for a clause of a select.
    pub fn handle_call(&mut self, id: ElementId, clause: usize, event: client::Event) {
        if let Some(Element::Select(select)) = self.elements.get_mut(&id) {
            select.event(clause, event, &mut self.out);
        }
    }

    /// The world happened: the time of a clause of a select has come.
    pub fn handle_time(&mut self, id: ElementId, clause: usize) {
        if let Some(Element::Select(select)) = self.elements.get_mut(&id) {
            select.time(clause, &mut self.out);
        }
    }

    /// A command: make a subscription, at a time when `present` are there.
    pub fn subscribe(&mut self, key: CallKey, id: ElementId, source: Source, present: impl Iterator<Item = ServerId>) {
        let subscription = Subscription::new(source, present, &mut self.out);
        self.elements.insert(id, Element::Subscription(Box::new(subscription)));
        self.subscriptions.insert(id);
        self.out.push_back(Output::Answer { key, result: Ok(Reply::Done) });
    }

    /// The world happened: somebody joined or left.
    pub fn handle_event(&mut self, event: &Event) {
        for id in &self.subscriptions {
            if let Some(Element::Subscription(subscription)) = self.elements.get_mut(id) {
                subscription.event(event, &mut self.out);
            }
        }
    }

    /// A command: do to the element what the call asks.
    pub fn start(&mut self, key: CallKey, id: ElementId, op: &Op, input: Bytes, ended: bool) {
        let Some(element) = self.elements.get_mut(&id) else {
            return self.fail(key, ErrorKind::NotFound);
        };
        let ticket = match element {
            Element::Nameserver(nameserver) => return nameserver.start(key, op, &mut self.out),
            Element::Process(process) => {
                process.start(key, op, input, ended, &mut self.out);
                0
            }
            Element::Select(select) => select.start(key, op, input, ended, &mut self.out),
            Element::Channel(channel) => match op {
                Op::Send { try_only, .. } => channel.send(key, input, ended, *try_only, &mut self.out),
                Op::Recv { try_only, .. } => channel.recv(key, *try_only, &mut self.out),
                Op::Bid { select, side, try_only, .. } => channel.bid(key, *select, *side, *try_only, &mut self.out),
                _ => return self.use_channel(key, id, op),
            },
            Element::Subscription(subscription) => match op {
                Op::Recv { try_only, .. } => subscription.line.recv(key, *try_only, &mut self.out),
                Op::Bid { select, side: side @ Side::Recv, try_only, .. } => {
                    subscription.line.bid(key, *select, *side, *try_only, &mut self.out)
                }
                Op::Peek(_) => {
                    let stat = Stat::Subscription(subscription.stat());
                    return self.out.push_back(Output::Answer { key, result: Ok(Reply::Stat(Box::new(stat))) });
                }
                _ => {
                    let error = wrong_kind(op, Kind::Subscription(subscription.source()));
                    return self.out.push_back(Output::Answer { key, result: Err(error) });
                }
            },
        };
        self.callers.insert(key, (id, ticket));
    }

    /// What can be done to a channel and is done at once.
    fn use_channel(&mut self, key: CallKey, id: ElementId, op: &Op) {
        let Some(Element::Channel(channel)) = self.elements.get_mut(&id) else {
            return self.fail(key, ErrorKind::NotFound);
        };
        let result = match op {
            Op::Peek(_) => Ok(Reply::Stat(Box::new(Stat::Chan(channel.stat())))),
            Op::Close(_) => channel.close(&mut self.out).map(|()| Reply::Done),
            _ => Err(wrong_kind(op, Kind::Chan)),
        };
        self.out.push_back(Output::Answer { key, result });
    }

    /// A command: the element was taken out of the namespace. If it is to be
    /// killed too, and can be, that is so when the call is answered.
    pub fn remove(&mut self, key: CallKey, id: ElementId, kill: bool) {
        if let Some(Element::Process(process)) = self.elements.get_mut(&id).filter(|_| kill) {
            process.kill(key, &mut self.out);
            self.callers.insert(key, (id, 0));
        } else if self.drop_element(id) {
            self.out.push_back(Output::Answer { key, result: Ok(Reply::Done) });
        } else {
            self.fail(key, ErrorKind::NotFound);
        }
    }

    /// The world happened: something came of an effect. `wall` is the time, in
    /// microseconds since 1970.
    pub fn handle_effect(&mut self, wall: u64, event: EffectEvent) {
        let (EffectEvent::Process { id, .. } | EffectEvent::Names { id, .. }) = event;
        match (self.elements.get_mut(&id), event) {
            (Some(Element::Process(process)), EffectEvent::Process { event, .. }) => {
                process.effect(wall, event, &mut self.out);
            }
            (Some(Element::Nameserver(nameserver)), EffectEvent::Names { event, .. }) => {
                nameserver.effect(event, &mut self.out);
            }
            _ => {} // of an element that is gone
        }
    }

    /// The world happened: more of a call's inbound stream came.
    pub fn handle_input(&mut self, key: CallKey, bytes: Bytes, end: bool) {
        self.with(key, |element, ticket, out| match element {
            Element::Channel(channel) => channel.input(ticket, bytes, end, out),
            Element::Nameserver(_) => {}
            Element::Process(process) => process.input(key, bytes, end, out),
            Element::Select(select) => select.input(key, ticket, bytes, end, out),
            Element::Subscription(subscription) => subscription.line.input(ticket, bytes, end, out),
        });
    }

    /// The world happened: a call's outbound stream was used up to `acked`.
    pub fn handle_acked(&mut self, key: CallKey, acked: u64) {
        self.with(key, |element, ticket, out| match element {
            Element::Channel(channel) => channel.acked(ticket, acked, out),
            Element::Nameserver(_) => {}
            Element::Process(process) => process.acked(key, acked, out),
            Element::Select(select) => select.acked(ticket, acked, out),
            Element::Subscription(subscription) => subscription.line.acked(ticket, acked, out),
        });
    }

    /// The world happened: a call should end if it still can.
    pub fn handle_cancel(&mut self, key: CallKey, why: ErrorKind) {
        self.with(key, |element, ticket, out| match element {
            Element::Channel(channel) => channel.cancel(ticket, why, out),
            // It is being made, and that takes no time.
            Element::Nameserver(_) => {}
            Element::Process(process) => process.cancel(key, why, out),
            Element::Select(select) => select.cancel(key, ticket, why, out),
            Element::Subscription(subscription) => subscription.line.cancel(ticket, why, out),
        });
    }

    /// The world happened: a call's client is away.
    pub fn handle_away(&mut self, key: CallKey) {
        self.with(key, |element, ticket, _| match element {
            Element::Channel(channel) => channel.away(ticket),
            Element::Nameserver(_) => {}
            Element::Process(process) => process.away(key),
            Element::Select(select) => select.away(ticket),
            Element::Subscription(subscription) => subscription.line.away(ticket),
        });
    }

    /// The world happened: a call's client is back.
    pub fn handle_back(&mut self, key: CallKey) {
        self.with(key, |element, ticket, out| match element {
            Element::Channel(channel) => channel.back(ticket, out),
            Element::Nameserver(_) => {}
            Element::Process(process) => process.back(key),
            Element::Select(select) => select.back(ticket, out),
            Element::Subscription(subscription) => subscription.line.back(ticket, out),
        });
    }

    /// What now?
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.out.pop_front()?;
        match output {
            Output::Answer { key, .. } => {
                self.callers.remove(&key);
            }
            Output::Vacate(id) => {
                self.drop_element(id);
            }
            _ => {}
        }
        Some(output)
    }

    /// How many elements there are, and how many calls wait on them.
    pub fn count(&self) -> (usize, usize) {
        (self.elements.len(), self.callers.len())
    }

    /// Whether there is an element of that number.
    pub fn has(&self, id: ElementId) -> bool {
        self.elements.contains_key(&id)
    }

    /// The most bytes that one channel buffers, and events that wait in one
    /// subscription.
    pub fn fullest(&self) -> (u64, u64) {
        self.elements.values().fold((0, 0), |(bytes, events), element| match element {
            Element::Channel(channel) => (channel.buffered().max(bytes), events),
            Element::Subscription(subscription) => (bytes, subscription.pending().max(events)),
            _ => (bytes, events),
        })
    }

    fn drop_element(&mut self, id: ElementId) -> bool {
        match self.elements.remove(&id) {
            Some(Element::Channel(mut channel)) => channel.abort(&mut self.out),
            Some(Element::Nameserver(mut nameserver)) => nameserver.abort(&mut self.out),
            Some(Element::Process(mut process)) => process.abort(&mut self.out),
            Some(Element::Select(mut select)) => select.abort(&mut self.out),
            Some(Element::Subscription(mut subscription)) => {
                self.subscriptions.remove(&id);
                subscription.line.abort(&mut self.out);
            }
            None => return false,
        }
        true
    }

    fn with(&mut self, key: CallKey, act: impl FnOnce(&mut Element, Ticket, &mut Out)) {
        if let Some((id, ticket)) = self.callers.get(&key)
            && let Some(element) = self.elements.get_mut(id)
        {
            act(element, *ticket, &mut self.out);
        }
    }

    fn fail(&mut self, key: CallKey, kind: ErrorKind) {
        self.out.push_back(Output::Answer { key, result: Err(kind.into()) });
    }
}

/// What to say when something is asked of an element that it cannot do.
pub(crate) fn wrong_kind(op: &Op, of: Kind) -> Error {
    Error::new(ErrorKind::WrongKind, format!("'{}' is not for {}", op.verb(), of.word()))
}
