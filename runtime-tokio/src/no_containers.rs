//! In the place of the container effect, in a program built without it.

use std::task::{Context, Poll};

use circuit_core::{
    Error, ErrorKind, Incarnation,
    effect::{Effect, EffectEvent, ProcessEvent},
    elements::{ContainerRules, ElementId},
};
use tokio::sync::mpsc;

/// No containers.
#[derive(Debug)]
pub(crate) struct Containers {
    events: mpsc::Sender<EffectEvent>,
}

impl Containers {
    pub(crate) fn new(_: Incarnation, _: ContainerRules, events: mpsc::Sender<EffectEvent>) -> Self {
        Self { events }
    }

    pub(crate) const fn has(&self, _: ElementId) -> bool {
        false
    }

    /// As the real one, which keeps what it is given.
    #[allow(clippy::needless_pass_by_value, reason = "it stands in the place of one that needs it")]
    pub(crate) fn perform(&mut self, effect: Effect) {
        let (id, events) = (effect.id(), self.events.clone());
        let error = Error::new(ErrorKind::Forbidden, "the server's program was built without containers");
        let event = EffectEvent::Process { id, event: ProcessEvent::Refused { error } };
        tokio::spawn(async move { events.send(event).await });
    }

    pub(crate) const fn poll_end(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}
