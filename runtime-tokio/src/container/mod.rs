//! The container effect: has an engine run containers, and carries their bytes.
//!
//! The engine is spoken to over its socket, never through its command. Each
//! container has a task that starts it, follows its streams and its end, and
//! sees that nothing of it stays. A container dies with its server: at once when
//! the server ends in order, and otherwise when one of the same id starts.

mod engine;
mod events;
mod spec;
mod streams;
mod watch;

use std::{
    collections::HashMap,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use circuit_core::{
    Incarnation,
    effect::{Effect, EffectEvent, ProcessEvent},
    elements::{ContainerRules, ElementId},
    wire::op::{ContainerSpec, Stdio},
};
use tokio::sync::{mpsc, watch as watch_channel};

use engine::Engine;
use events::Newsroom;

/// What the task of a container is told.
#[derive(Debug)]
enum Order {
    Write(Bytes),
    CloseInput,
    Read(Stdio, u64),
    Signal(i32),
    Inspect,
    Kill(Duration),
    Release,
}

/// Who tells the core of one container.
#[derive(Clone, Debug)]
struct Teller {
    id: ElementId,
    events: mpsc::Sender<EffectEvent>,
}

impl Teller {
    async fn tell(&self, event: ProcessEvent) {
        let _ = self.events.send(EffectEvent::Process { id: self.id, event }).await;
    }
}

/// A container to start, and all that its task needs.
struct Job {
    spec: Box<ContainerSpec>,
    rules: ContainerRules,
    engine: Engine,
    newsroom: Newsroom,
    orders: mpsc::UnboundedReceiver<Order>,
    teller: Teller,
    /// Closed when the server ends.
    server: watch_channel::Receiver<()>,
    /// Whoever waits until all tasks have ended sees this being dropped.
    _here: mpsc::Sender<()>,
}

/// The containers of one server.
#[derive(Debug)]
pub(crate) struct Containers {
    running: HashMap<ElementId, mpsc::UnboundedSender<Order>>,
    rules: ContainerRules,
    engine: Engine,
    newsroom: Newsroom,
    events: mpsc::Sender<EffectEvent>,
    /// Until the server ends.
    open: Option<(watch_channel::Sender<()>, mpsc::Sender<()>)>,
    all_gone: mpsc::Receiver<()>,
}

impl Containers {
    /// No containers yet, of the server `own`. To be called within a tokio
    /// runtime.
    pub(crate) fn new(own: Incarnation, rules: ContainerRules, events: mpsc::Sender<EffectEvent>) -> Self {
        let engine = Engine::new(&rules.socket, own);
        let (here, all_gone) = mpsc::channel(1);
        let newsroom = Newsroom::open(engine.clone());
        let open = Some((watch_channel::channel(()).0, here));
        Self { running: HashMap::new(), rules, engine, newsroom, events, open, all_gone }
    }

    /// Whether `id` is one of these.
    pub(crate) fn has(&self, id: ElementId) -> bool {
        self.running.contains_key(&id)
    }

    pub(crate) fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Run { id, spec } => self.run(id, spec),
            Effect::Write { id, bytes } => self.order(id, Order::Write(bytes)),
            Effect::CloseInput { id } => self.order(id, Order::CloseInput),
            Effect::Read { id, of, until } => self.order(id, Order::Read(of, until)),
            Effect::Signal { id, signal } => self.order(id, Order::Signal(signal)),
            Effect::Inspect { id } => self.order(id, Order::Inspect),
            Effect::Kill { id, grace } => {
                self.order(id, Order::Kill(grace));
                self.running.remove(&id);
            }
            Effect::Release { id } => {
                self.order(id, Order::Release);
                self.running.remove(&id);
            }
            Effect::Spawn { .. }
            | Effect::Keep { .. }
            | Effect::Adopt { .. }
            | Effect::Fetch { .. }
            | Effect::Forget { .. }
            | Effect::Names { .. } => {} // those are others'
        }
    }

    /// The server ends, and all containers with it.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.running.clear();
        self.open = None;
        self.all_gone.poll_recv(cx).map(drop)
    }

    fn run(&mut self, id: ElementId, spec: Box<ContainerSpec>) {
        let Some((server, here)) = &self.open else {
            return; // nothing is begun at the end
        };
        let (sender, orders) = mpsc::unbounded_channel();
        self.running.insert(id, sender);
        let (engine, newsroom, rules) = (self.engine.clone(), self.newsroom.clone(), self.rules.clone());
        let teller = Teller { id, events: self.events.clone() };
        let (server, _here) = (server.subscribe(), here.clone());
        let job = Job { spec, rules, engine, newsroom, orders, teller, server, _here };
        tokio::spawn(watch::run(job));
    }

    fn order(&self, id: ElementId, order: Order) {
        let Some(Err(mpsc::error::SendError(order))) = self.running.get(&id).map(|orders| orders.send(order)) else {
            return;
        };
        // Its task has ended: it could not be started.
        if let Order::Kill(_) = order {
            let teller = Teller { id, events: self.events.clone() };
            tokio::spawn(async move { teller.tell(ProcessEvent::Killed { result: Ok(()) }).await });
        }
    }
}
