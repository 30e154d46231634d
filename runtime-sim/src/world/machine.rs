//! The machine of a server: its processes, which are scripts.

use std::time::Duration;

use circuit_core::{
    ErrorKind,
    effect::{Effect, EffectEvent, ProcessEvent},
    elements::ElementId,
    node::Input,
};

use super::{Happening, ServerIndex, Sim, server::Server};
use crate::{faults::Fault, script::TOO_MANY};

/// What is wrong with a machine, each for as many faults as brought it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ails {
    spawning: i32,
    pub(super) disk: i32,
    /// Its server is of another version.
    pub(super) version: i32,
}

/// Whether a machine would not start a process.
fn is_refused(event: &EffectEvent) -> bool {
    let EffectEvent::Process { event, .. } = event else { return false };
    match event {
        ProcessEvent::Failed { errno } => *errno == TOO_MANY,
        ProcessEvent::Refused { error } => error.kind == ErrorKind::SpawnFailed(TOO_MANY),
        _ => false,
    }
}

/// How long an operating system takes for anything.
const TAKES: Duration = Duration::from_micros(500);

impl Sim {
    /// Whether a machine keeps a process or a socket for an element that is gone.
    pub fn leaks(&self, server: ServerIndex) -> Option<ElementId> {
        let Server { node, scripts, .. } = &self.servers[server];
        let node = node.as_ref()?;
        scripts.needed().find(|&id| !node.has_element(id))
    }

    /// A machine ails from now on, or by `count` less.
    pub(super) fn ail(&mut self, fault: Fault, count: i32) {
        if count > 0 {
            self.schedule(self.now + fault.lasting(), Happening::Over(fault));
            self.effects.begin(fault);
        } else {
            self.effects.end(fault);
        }
        match fault {
            Fault::NoSpawn { server, .. } => {
                let ails = &mut self.servers[server].ails;
                ails.spawning += count;
                let full = ails.spawning > 0;
                self.servers[server].scripts.full = full;
            }
            Fault::FullDisk { server, .. } => self.servers[server].ails.disk += count,
            Fault::Version { server, .. } => {
                self.servers[server].ails.version += count;
                self.crash(server);
                self.schedule(self.now + TAKES, Happening::Restart(server, true));
            }
            _ => {}
        }
    }

    /// A fault is over.
    pub(super) fn over(&mut self, fault: Fault) {
        match fault {
            Fault::NoSpawn { .. } | Fault::FullDisk { .. } | Fault::Version { .. } => self.ail(fault, -1),
            Fault::Datagrams { .. } => self.spoil(fault, -1),
            _ => self.improve(fault),
        }
    }

    /// Does what a server wants.
    pub(super) fn perform(&mut self, server: ServerIndex, effect: Effect) {
        let events = self.servers[server].scripts.perform(self.now, effect);
        if events.iter().any(is_refused) {
            self.effects.feel_all(|fault| matches!(*fault, Fault::NoSpawn { server: full, .. } if full == server));
        }
        self.come_of(server, events);
    }

    /// A process may be due.
    pub(super) fn machine(&mut self, server: ServerIndex, life: u32) {
        if self.servers[server].life == life {
            let events = self.servers[server].scripts.handle_timeout(self.now);
            self.come_of(server, events);
        }
    }

    fn come_of(&mut self, server: ServerIndex, events: Vec<EffectEvent>) {
        let life = self.servers[server].life;
        for event in events {
            self.schedule(self.now + TAKES, Happening::Effect(server, life, Box::new(event)));
        }
        if let Some(due) = self.servers[server].scripts.poll_timeout().filter(|due| *due > self.now) {
            self.schedule(due, Happening::Machine(server, life));
        }
    }

    /// A server hears what came of an effect.
    pub(super) fn effect(&mut self, server: ServerIndex, life: u32, event: &EffectEvent) {
        if self.servers[server].life == life {
            self.server_input(server, Input::Effect(event.clone()));
        }
    }
}
