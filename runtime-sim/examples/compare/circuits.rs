//! Circuit's servers, in the simulator's own world.

use std::collections::{BTreeMap, BTreeSet};

use circuit_core::{Instant, ServerId, membership as member};
use circuit_sim::{App, ServerIndex, Sim, World};

use super::system::{Setup, Sight, System, Traffic, Who};

pub(crate) struct Circuits {
    world: World<Observer>,
}

#[derive(Default)]
struct Observer {
    names: BTreeMap<ServerId, Who>,
    /// How often each has started.
    starts: BTreeMap<ServerIndex, u32>,
    sights: Vec<Sight>,
}

impl Circuits {
    pub(crate) fn new(setup: &Setup) -> Self {
        Self { world: World::new(setup.settings(), setup.seed, &setup.plan, Observer::default()) }
    }

    fn sim(&self) -> &Sim {
        &self.world.sim
    }
}

impl App for Observer {
    fn started(&mut self, sim: &mut Sim, server: ServerIndex) {
        let starts = self.starts.entry(server).or_default();
        self.names.insert(sim.server_id(server), Who { server, life: *starts });
        *starts += 1;
    }

    fn member(&mut self, sim: &mut Sim, by: ServerIndex, _: u32, event: member::Event) {
        if let Some(&of) = self.names.get(&event.id) {
            self.sights.push(Sight { at: sim.now(), by, of, here: event.joined });
        }
    }
}

impl System for Circuits {
    fn run_until(&mut self, at: Instant) {
        self.world.run_until(at);
        assert!(!self.world.has_failed(), "{:?}", self.world.report().failure);
    }

    fn alive(&self) -> BTreeSet<Who> {
        let there = (0..self.sim().settings().servers).filter(|&server| self.sim().node(server).is_some());
        there.filter_map(|server| self.world.app.names.get(&self.sim().server_id(server)).copied()).collect()
    }

    fn view(&self, server: usize) -> BTreeSet<Who> {
        let Some(node) = self.sim().node(server) else {
            return BTreeSet::new();
        };
        let name = |record: member::Record| self.world.app.names.get(&record.id).copied();
        node.membership().view().all_live().filter_map(name).collect()
    }

    fn traffic(&self) -> Traffic {
        Traffic { messages: self.sim().frames(), bytes: self.sim().sent() }
    }

    fn sights(&self) -> &[Sight] {
        &self.world.app.sights
    }
}
