//! What clients do in a world, a kind of element each, and what must hold of
//! it.
//!
//! A work has some clients to itself. They begin things at random until they
//! are told to stop; in the end everything must be answered, and what was heard
//! must agree with a model.

mod anchors;
mod audience;
pub(crate) mod channels;
mod crew;
mod job;
mod names;
mod processes;
mod selects;
mod watcher;

use std::{ops::Range, time::Duration};

use circuit_core::{Error, ServerId, client::Event};

use crate::{ClientIndex, Figure, Oracle, ServerIndex, Sim};
pub(crate) use anchors::{Anchors, is_no_fault};
pub(crate) use audience::Audience;
pub(crate) use channels::{Channels, books::Books};
pub(crate) use crew::Crew;
pub(crate) use job::{Job, Kind, Step, TERM};
pub(crate) use names::{Names, Nameserver, Step as NameserverStep};
pub(crate) use processes::Processes;
pub(crate) use selects::Selects;
pub(crate) use watcher::Watcher;

/// With this a client is woken to begin something.
const ACT: u64 = u64::MAX;

/// What some clients do.
pub(crate) trait Work {
    /// Its clients.
    fn clients(&self) -> Range<ClientIndex>;
    /// The world is ready: by itself each client is woken soon.
    fn start(&mut self, sim: &mut Sim) {
        for client in self.clients() {
            sim.wake_after(client, Duration::from_millis(500), ACT);
        }
    }
    /// One of its clients says something.
    fn event(&mut self, sim: &mut Sim, client: ClientIndex, event: Event);
    /// It is the time that one of its clients asked for, with this number.
    fn wake(&mut self, sim: &mut Sim, client: ClientIndex, token: u64);
    /// One of its clients was killed, and another took its place.
    fn replaced(&mut self, sim: &mut Sim, client: ClientIndex);
    /// A server was killed, or has left.
    fn crashed(&mut self, _: &mut Sim, _: ServerIndex) {}
    /// Some server has seen another go, rightly or not.
    fn gone(&mut self, _: ServerId) {}
    /// Nothing more is begun; whoever waits may go on to, if that is looked at.
    fn rest(&mut self, sim: &mut Sim) {
        self.stop(sim);
    }
    /// All is healed: what nobody waits for goes.
    fn tidy(&mut self, _: &mut Sim) {}
    /// All has been well for long: nobody waits for another who waits for them.
    fn matched(&self, _: &mut Sim) {}
    /// Nothing more is begun, and what is open is to end.
    fn stop(&mut self, sim: &mut Sim);
    /// All is healed, and what is left is taken out.
    fn drain(&mut self, _: &mut Sim) {}
    /// All was taken out, and as much is put in as there is room for.
    fn fill(&mut self, _: &mut Sim) {}
    /// Everything was answered, and all of it agrees.
    fn balance(&self, sim: &mut Sim);
    /// What was heard agrees with what somebody knows who saw everything.
    fn compare(&self, _: &mut Sim, _: &Oracle) {}
    /// What was counted.
    fn figures(&self) -> Vec<Figure>;
}

/// How a call was answered, in a word.
pub(crate) fn outcome<T>(result: &Result<T, Error>) -> String {
    result.as_ref().map_or_else(|error| format!("{:?}", error.kind), |_| "done".to_owned())
}

/// Somewhere in a world.
fn any_server(sim: &mut Sim) -> ServerIndex {
    let servers = sim.settings().servers as u64;
    sim.rng().below(servers) as usize
}
