//! What a server does on its machine besides sending frames.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use circuit_core::{
    effect::{Effect, EffectEvent},
    oplog::Operation,
};
use tokio::sync::mpsc;

use crate::{journal::Journal, process::Processes};

/// The machine that a server runs on, or one made up by a simulator.
pub trait Host: Send + 'static {
    /// Does what the core asks. It must not block; what comes of it is said
    /// later.
    fn perform(&mut self, effect: Effect);

    /// The next thing that came of an effect.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<EffectEvent>;

    /// Keeps a record of an operation, if there is a place for it.
    fn record(&mut self, operation: Operation);
}

/// Events that may wait for the node before whoever has more to say waits.
const EVENTS: usize = 256;

/// This machine.
#[derive(Debug)]
pub struct LocalHost {
    processes: Processes,
    events: mpsc::Receiver<EffectEvent>,
    journal: Option<Arc<Journal>>,
}

impl LocalHost {
    /// This machine; operations are kept in `journal`, if there is one.
    pub fn new(journal: Option<Arc<Journal>>) -> Self {
        let (sender, events) = mpsc::channel(EVENTS);
        Self { processes: Processes::new(sender), events, journal }
    }
}

impl Host for LocalHost {
    fn perform(&mut self, effect: Effect) {
        self.processes.perform(effect);
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<EffectEvent> {
        match self.events.poll_recv(cx) {
            Poll::Ready(Some(event)) => Poll::Ready(event),
            // The sender lives as long as this.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    fn record(&mut self, operation: Operation) {
        if let Some(journal) = &self.journal {
            journal.keep(operation);
        }
    }
}
