//! All that is going on in a world: what clients do, and an oracle that sees what
//! servers see.

use circuit_core::{client::Event, membership as member};

use super::Work;
use crate::{App, ClientIndex, Figure, Oracle, ServerIndex, Sim};

/// Works, each with some clients to itself, and an oracle.
pub(crate) struct Crew {
    works: Vec<Box<dyn Work>>,
    pub(crate) oracle: Oracle,
}

impl Crew {
    pub(crate) fn new(oracle: Oracle, works: Vec<Box<dyn Work>>) -> Self {
        Self { works, oracle }
    }

    /// The work of a client.
    fn work(&mut self, client: ClientIndex) -> Option<&mut Box<dyn Work>> {
        self.works.iter_mut().find(|work| work.clients().contains(&client))
    }

    /// Nothing more is begun, but whoever waits for another may go on to.
    pub(crate) fn rest(&mut self, sim: &mut Sim) {
        self.works.iter_mut().for_each(|work| work.rest(sim));
    }

    /// All is healed: what nobody waits for goes.
    pub(crate) fn tidy(&mut self, sim: &mut Sim) {
        self.works.iter_mut().for_each(|work| work.tidy(sim));
    }

    /// Nobody waits for another who waits for them; unless somebody is kept out, who
    /// may be one of them.
    pub(crate) fn matched(&self, sim: &mut Sim) {
        if !self.oracle.is_damped(sim) {
            self.works.iter().for_each(|work| work.matched(sim));
        }
    }

    /// Nothing more is begun, and what is open is to end.
    pub(crate) fn stop(&mut self, sim: &mut Sim) {
        self.works.iter_mut().for_each(|work| work.stop(sim));
    }

    /// What is left is taken out.
    pub(crate) fn drain(&mut self, sim: &mut Sim) {
        self.works.iter_mut().for_each(|work| work.drain(sim));
    }

    /// Everything was answered, and all of it agrees.
    pub(crate) fn balance(&self, sim: &mut Sim) {
        self.works.iter().for_each(|work| work.balance(sim));
        self.works.iter().for_each(|work| work.compare(sim, &self.oracle));
    }

    /// As much is put in as there is room for.
    pub(crate) fn fill(&mut self, sim: &mut Sim) {
        self.works.iter_mut().for_each(|work| work.fill(sim));
    }

    /// All clients hang up.
    pub(crate) fn close(&self, sim: &mut Sim) {
        for client in self.works.iter().flat_map(|work| work.clients()) {
            sim.client(client, |client, _| client.close());
        }
    }

    /// What was counted.
    pub(crate) fn figures(&self) -> Vec<Figure> {
        let works = self.works.iter().flat_map(|work| work.figures());
        works.chain(self.oracle.figures()).collect()
    }
}

impl App for Crew {
    fn start(&mut self, sim: &mut Sim) {
        self.oracle.converged(sim, "after the boot");
        let all = crate::scenarios::all_servers(sim);
        for client in self.works.iter().flat_map(|work| work.clients()) {
            let mut targets = all.clone();
            targets.rotate_left(client % all.len());
            sim.client(client, |client, now| client.learn(now, targets));
        }
        self.works.iter_mut().for_each(|work| work.start(sim));
    }

    fn event(&mut self, sim: &mut Sim, client: ClientIndex, event: Event) {
        if let Some(work) = self.work(client) {
            work.event(sim, client, event);
        }
    }

    fn wake(&mut self, sim: &mut Sim, client: ClientIndex, token: u64) {
        if let Some(work) = self.work(client) {
            work.wake(sim, client, token);
        }
    }

    fn replaced(&mut self, sim: &mut Sim, client: ClientIndex) {
        if let Some(work) = self.work(client) {
            work.replaced(sim, client);
        }
    }

    fn crashed(&mut self, sim: &mut Sim, server: ServerIndex) {
        self.works.iter_mut().for_each(|work| work.crashed(sim, server));
    }

    fn member(&mut self, sim: &mut Sim, server: ServerIndex, life: u32, event: member::Event) {
        if !event.joined {
            self.works.iter_mut().for_each(|work| work.gone(event.id));
        }
        self.oracle.event(sim, server, life, event);
    }

    fn acted(&mut self, sim: &mut Sim, server: ServerIndex) {
        self.oracle.acted(sim, server);
    }
}
