//! The process effect: starts programs and carries their bytes.
//!
//! Programs are started on one thread that lives as long as the server does. It
//! must: a program asks to be killed when the *thread* that started it dies, so
//! that none outlives a server that was killed. Each program then has a task
//! that watches it through a pidfd, which cannot come to mean another program.

mod child;
mod descriptors;
mod keeper;
mod output;
mod spawn;
mod store;
mod watch;

use std::{collections::HashMap, io, path::PathBuf, sync::mpsc as thread_mpsc, thread, time::Duration};

use bytes::Bytes;
use circuit_core::{
    Error, ErrorKind,
    codec::octets,
    effect::{Effect, EffectEvent, ProcessEvent},
    elements::{ElementId, Kept},
    wire::op::{ProcSpec, Stdio},
};
use serde::{Deserialize, Serialize};
use tokio::{runtime::Handle, sync::mpsc};

use child::Nursery;
pub use descriptors::raise_descriptors;
pub use keeper::keep;
use keeper::{Carrier, Known, Place};
use spawn::Failed;

/// What the task of a program is told.
#[derive(Debug, Serialize, Deserialize)]
enum Order {
    Write(#[serde(with = "octets")] Bytes),
    CloseInput,
    Read(Stdio, u64),
    Fetch(Stdio, u64, u64),
    Forget(Stdio, u64),
    Signal(i32),
    Kill(Duration),
    Release,
}

/// A program to start.
struct Job {
    id: ElementId,
    spec: Box<ProcSpec>,
    by: By,
    orders: mpsc::UnboundedReceiver<Order>,
    events: mpsc::Sender<EffectEvent>,
}

/// Who starts it.
enum By {
    /// This server, which keeps its output in this folder, if on disk.
    Server(Option<PathBuf>),
    /// A keeper, as its element stands there.
    Keeper(circuit_core::Path, Place),
}

/// The programs of one server.
#[derive(Debug)]
pub(crate) struct Processes {
    running: HashMap<ElementId, mpsc::UnboundedSender<Order>>,
    jobs: thread_mpsc::Sender<Job>,
    events: mpsc::Sender<EffectEvent>,
    /// Where output is kept that is to be on disk.
    folder: Option<PathBuf>,
    /// The program that keeps processes.
    keeper: Option<PathBuf>,
    /// The keepers that were found, until their processes have numbers.
    found: Vec<Option<Known>>,
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
        Self { running: HashMap::new(), jobs, events, folder: None, keeper: None, found: Vec::new() }
    }

    /// Output that is to be on disk is kept in this folder from now on.
    pub(crate) fn store_in(&mut self, folder: PathBuf) {
        self.folder = Some(folder);
    }

    /// Processes can be kept from now on, by this program, in the folder where
    /// output is stored. Those that were kept there before are found.
    pub(crate) async fn keep_by(&mut self, program: PathBuf) -> io::Result<Vec<Kept>> {
        let Some(folder) = &self.folder else {
            return Ok(Vec::new());
        };
        let (kept, links): (Vec<_>, Vec<_>) = keeper::find(folder).await?.into_iter().unzip();
        self.found = links.into_iter().map(Some).collect();
        self.keeper = Some(program);
        Ok(kept)
    }

    /// How the task of a program is told things, if it was ever started.
    fn orders(&self, id: ElementId) -> Option<mpsc::UnboundedSender<Order>> {
        self.running.get(&id).cloned()
    }

    pub(crate) fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Spawn { id, spec } => self.spawn(id, spec, By::Server(self.folder.clone())),
            Effect::Keep { id, at, spec } => self.keep(id, at, spec),
            Effect::Adopt { id, kept } => self.adopt(id, kept),
            Effect::Write { id, bytes } => self.order(id, Order::Write(bytes)),
            Effect::CloseInput { id } => self.order(id, Order::CloseInput),
            Effect::Read { id, of, until } => self.order(id, Order::Read(of, until)),
            Effect::Fetch { id, of, from, len } => self.order(id, Order::Fetch(of, from, len)),
            Effect::Forget { id, of, before } => self.order(id, Order::Forget(of, before)),
            Effect::Signal { id, signal } => self.order(id, Order::Signal(signal)),
            Effect::Kill { id, grace } => self.kill(id, grace),
            Effect::Names { .. } => {} // of another part
            Effect::Release { id } => {
                self.order(id, Order::Release);
                self.running.remove(&id);
            }
            Effect::Run { .. } | Effect::Inspect { .. } => {} // that is another's
        }
    }

    fn keep(&mut self, id: ElementId, at: circuit_core::Path, spec: Box<ProcSpec>) {
        if let (Some(folder), Some(program)) = (self.folder.clone(), self.keeper.clone()) {
            return self.spawn(id, spec, By::Keeper(at, Place { folder, program }));
        }
        let why = match self.folder {
            None => "OnServerExit: \"keep\" needs a server that was started with -var, where it is found again",
            Some(_) => "OnServerExit: \"keep\" needs a server that was told by which program processes are kept",
        };
        let events = self.events.clone();
        let failed = Failed::Else(Error::new(ErrorKind::Forbidden, why));
        tokio::spawn(async move { watch::say_failed(&events, id, failed).await });
    }

    fn adopt(&mut self, id: ElementId, kept: usize) {
        if let Some(keeper) = self.found.get_mut(kept).and_then(Option::take) {
            let (sender, orders) = mpsc::unbounded_channel();
            self.running.insert(id, sender);
            tokio::spawn(keeper::carry(Carrier { id, orders, events: self.events.clone() }, keeper));
        }
    }

    fn spawn(&mut self, id: ElementId, spec: Box<ProcSpec>, by: By) {
        let (sender, orders) = mpsc::unbounded_channel();
        self.running.insert(id, sender);
        let job = Job { id, spec, by, orders, events: self.events.clone() };
        if let Err(thread_mpsc::SendError(job)) = self.jobs.send(job) {
            let failed = Failed::Start(rustix::io::Errno::AGAIN.raw_os_error());
            tokio::spawn(async move { watch::say_failed(&job.events, job.id, failed).await });
        }
    }

    fn kill(&mut self, id: ElementId, grace: Duration) {
        let told = self.running.remove(&id).is_some_and(|orders| orders.send(Order::Kill(grace)).is_ok());
        if !told {
            // It has ended, and nothing is left of it.
            let events = self.events.clone();
            let event = EffectEvent::Process { id, event: ProcessEvent::Killed { result: Ok(()) } };
            tokio::spawn(async move { events.send(event).await });
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
        let Job { id, spec, by, orders, events } = job;
        let nursery = nursery.as_mut().map_err(|error| Failed::Start(error.raw_os_error().unwrap_or(0)));
        let failed = match (nursery, by) {
            (Err(failed), _) => failed,
            (Ok(nursery), By::Server(folder)) => match spawn::spawn(nursery, &spec, folder.as_deref()) {
                Ok(spawned) => {
                    runtime.spawn(watch::watch(id, spawned, orders, events));
                    continue;
                }
                Err(failed) => failed,
            },
            (Ok(nursery), By::Keeper(at, place)) => match keeper::start(nursery, &place) {
                Ok(started) => {
                    runtime.spawn(keeper::begin(Carrier { id, orders, events }, started, at, *spec));
                    continue;
                }
                Err(error) => {
                    let Place { folder, program } = place;
                    let (folder, program) = (folder.display(), program.display());
                    let why = format!("its keeper, {program}, cannot be started in {folder}: {error}");
                    Failed::Else(Error::new(ErrorKind::Forbidden, why))
                }
            },
        };
        runtime.spawn(async move { watch::say_failed(&events, id, failed).await });
    }
}
