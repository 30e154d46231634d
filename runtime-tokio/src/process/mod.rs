//! The process effect: starts programs and carries their bytes.
//!
//! Programs are started on one thread that lives as long as the server does. It
//! must: a program asks to be killed when the *thread* that started it dies, so
//! that none outlives a server that was killed. Each program then has a task
//! that watches it through a pidfd, which cannot come to mean another program.

mod child;
mod spawn;
mod watch;

use std::{collections::HashMap, sync::mpsc as thread_mpsc, thread};

use bytes::Bytes;
use circuit_core::{
    effect::{Effect, EffectEvent},
    elements::ElementId,
    wire::op::{ProcSpec, Stdio},
};
use tokio::{runtime::Handle, sync::mpsc};

use child::Nursery;

/// What the task of a program is told.
#[derive(Debug)]
enum Order {
    Write(Bytes),
    CloseInput,
    Read(Stdio, u64),
    Signal(i32),
    Release,
}

/// A program to start.
struct Job {
    id: ElementId,
    spec: Box<ProcSpec>,
    orders: mpsc::UnboundedReceiver<Order>,
    events: mpsc::Sender<EffectEvent>,
}

/// The programs of one server.
#[derive(Debug)]
pub(crate) struct Processes {
    running: HashMap<ElementId, mpsc::UnboundedSender<Order>>,
    jobs: thread_mpsc::Sender<Job>,
    events: mpsc::Sender<EffectEvent>,
}

impl Processes {
    /// No programs yet. To be called within a tokio runtime.
    pub(crate) fn new(events: mpsc::Sender<EffectEvent>) -> Self {
        let (jobs, to_do) = thread_mpsc::channel();
        let runtime = Handle::current();
        let thread = thread::Builder::new().name("spawner".to_owned()).spawn(move || spawner(&to_do, &runtime));
        if let Err(error) = thread {
            // Then no program can be started, and each will be told so.
            tracing::error!("no thread to start programs on: {error}");
        }
        Self { running: HashMap::new(), jobs, events }
    }

    pub(crate) fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Spawn { id, spec } => self.spawn(id, spec),
            Effect::Write { id, bytes } => self.order(id, Order::Write(bytes)),
            Effect::CloseInput { id } => self.order(id, Order::CloseInput),
            Effect::Read { id, of, until } => self.order(id, Order::Read(of, until)),
            Effect::Signal { id, signal } => self.order(id, Order::Signal(signal)),
            Effect::Release { id } => {
                self.order(id, Order::Release);
                self.running.remove(&id);
            }
        }
    }

    fn spawn(&mut self, id: ElementId, spec: Box<ProcSpec>) {
        let (sender, orders) = mpsc::unbounded_channel();
        self.running.insert(id, sender);
        let job = Job { id, spec, orders, events: self.events.clone() };
        if let Err(thread_mpsc::SendError(job)) = self.jobs.send(job) {
            let errno = rustix::io::Errno::AGAIN.raw_os_error();
            tokio::spawn(async move { watch::say_failed(&job.events, job.id, errno).await });
        }
    }

    fn order(&self, id: ElementId, order: Order) {
        if let Some(orders) = self.running.get(&id) {
            let _ = orders.send(order); // a task that has ended wants no more orders
        }
    }
}

/// The thread on which all programs are started, and with which they die.
fn spawner(jobs: &thread_mpsc::Receiver<Job>, runtime: &Handle) {
    let mut nursery = Nursery::new();
    while let Ok(job) = jobs.recv() {
        let spawned = match &mut nursery {
            Ok(nursery) => spawn::spawn(nursery, &job.spec),
            Err(error) => Err(error.raw_os_error().unwrap_or(0)),
        };
        match spawned {
            Ok(spawned) => {
                runtime.spawn(watch::watch(job.id, spawned, job.orders, job.events));
            }
            Err(errno) => {
                runtime.spawn(async move { watch::say_failed(&job.events, job.id, errno).await });
            }
        }
    }
}
