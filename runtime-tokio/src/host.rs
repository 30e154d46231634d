//! What a server does on its machine besides sending frames.

use std::{
    io,
    path::PathBuf,
    sync::Arc,
    task::{Context, Poll},
};

use circuit_core::{
    Incarnation,
    effect::{Effect, EffectEvent},
    elements::{ContainerRules, Kept},
    node::{Node, Output},
    oplog::Operation,
};
use tokio::sync::mpsc;

use crate::{container::Containers, journal::Journal, names::NameServers, process::Processes};

/// The machine that a server runs on, or one made up by a simulator.
pub trait Host: Send + 'static {
    /// Does what the core asks. It must not block; what comes of it is said
    /// later.
    fn perform(&mut self, effect: Effect);

    /// The next thing that came of an effect.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<EffectEvent>;

    /// The processes that an earlier server left behind. An
    /// [`Effect::Adopt`] says which is which from then on.
    fn kept(&mut self) -> Vec<Kept> {
        Vec::new()
    }

    /// Keeps a record of an operation, if there is a place for it.
    fn record(&mut self, operation: Operation);

    /// The node has heard of something, or wants `output` done, which is done
    /// next: for whoever checks what servers say. Others do not look.
    fn watch(&mut self, _node: &Node, _output: Option<&Output>) {}

    /// The server ends, and what it runs with it: whether that has come about.
    /// Nothing is performed after this.
    fn poll_end(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

/// Events that may wait for the node before whoever has more to say waits.
const EVENTS: usize = 256;

/// This machine.
#[derive(Debug)]
pub struct LocalHost {
    processes: Processes,
    containers: Option<Containers>,
    names: NameServers,
    sender: mpsc::Sender<EffectEvent>,
    events: mpsc::Receiver<EffectEvent>,
    journal: Option<Arc<Journal>>,
    kept: Vec<Kept>,
}

impl LocalHost {
    /// This machine; operations are kept in `journal`, if there is one.
    pub fn new(journal: Option<Arc<Journal>>) -> Self {
        let (sender, events) = mpsc::channel(EVENTS);
        let names = NameServers::new(sender.clone());
        let processes = Processes::new(sender.clone());
        Self { names, processes, containers: None, sender, events, journal, kept: Vec::new() }
    }

    /// The same, which keeps in this folder what of processes is to be on disk.
    #[must_use]
    pub fn with_folder(mut self, folder: PathBuf) -> Self {
        self.processes.store_in(folder);
        self
    }

    /// The same, which keeps processes there that are to outlive the server, by
    /// this program, and finds those that an earlier one left behind.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub async fn with_keeper(mut self, program: PathBuf) -> io::Result<Self> {
        self.kept = self.processes.keep_by(program).await?;
        Ok(self)
    }

    /// The same, whose server `own` makes containers by these rules.
    #[must_use]
    pub fn with_containers(mut self, own: Incarnation, rules: ContainerRules) -> Self {
        self.containers = Some(Containers::new(own, rules, self.sender.clone()));
        self
    }
}

impl Host for LocalHost {
    fn perform(&mut self, effect: Effect) {
        let effect = match effect {
            Effect::Names { id, what } => return self.names.perform(id, what),
            effect => effect,
        };
        let of_container =
            |containers: &&mut Containers| matches!(effect, Effect::Run { .. }) || containers.has(effect.id());
        match self.containers.as_mut().filter(of_container) {
            Some(containers) => containers.perform(effect),
            None => self.processes.perform(effect),
        }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<EffectEvent> {
        match self.events.poll_recv(cx) {
            Poll::Ready(Some(event)) => Poll::Ready(event),
            // The sender lives as long as this.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    fn kept(&mut self) -> Vec<Kept> {
        std::mem::take(&mut self.kept)
    }

    fn record(&mut self, operation: Operation) {
        if let Some(journal) = &self.journal {
            journal.keep(operation);
        }
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Nobody is to wait for somebody who listens.
        while self.events.poll_recv(cx).is_ready() {}
        self.containers.as_mut().map_or(Poll::Ready(()), |containers| containers.poll_end(cx))
    }
}
