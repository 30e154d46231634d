//! Servers without clients, and what they see: what the scenarios about
//! membership alone have in common.

use std::{collections::BTreeMap, time::Duration};

use circuit_core::{Instant, ServerId, client::Event, membership as member};

use super::Options;
use crate::{
    App, Bar, ClientIndex, Figure, Oracle, Report, ServerIndex, Settings, Sim, World, faults::Plan, oracle::WRONG,
};

/// How often it is looked whether what is waited for has come about.
const LOOK: Duration = Duration::from_millis(20);

/// A world of servers.
pub(super) struct Cluster {
    pub(super) world: World<Seen>,
    pub(super) figures: Vec<Figure>,
}

/// What happened in it.
pub(super) struct Seen {
    pub(super) oracle: Oracle,
    /// The most neighbours that anybody had.
    pub(super) degree: usize,
    /// How many calls were answered well.
    pub(super) answered: u64,
    /// When the incarnations that were killed were.
    died: BTreeMap<(ServerId, u32), Instant>,
    /// How long observers took to see that, all together, and how often they did.
    noticing: (Duration, u32),
}

impl Seen {
    /// How long it takes to see that a server was killed, in the mean.
    pub(super) fn detection(&self) -> Duration {
        self.noticing.0 / self.noticing.1.max(1)
    }
}

impl Cluster {
    /// `nodes` servers, of which all but the first start within a second and
    /// know the first. `plan` goes wrong.
    pub(super) fn new(options: &Options, nodes: usize, plan: &Plan) -> Self {
        Self::with(options, Self::settings(options, nodes), plan)
    }

    pub(super) fn settings(options: &Options, nodes: usize) -> Settings {
        Settings { telling: options.telling, ..Settings::data_centre(nodes, options.seed) }
    }

    /// The same, with other settings.
    pub(super) fn with(options: &Options, settings: Settings, plan: &Plan) -> Self {
        let plan = options.cut(plan.clone());
        let seen = Seen {
            oracle: Oracle::new(settings.servers, plan.clone(), 1),
            degree: 0,
            answered: 0,
            died: BTreeMap::new(),
            noticing: (Duration::ZERO, 0),
        };
        Self { world: World::new(settings, options.seed, &plan, seen), figures: Vec::new() }
    }

    /// Lets the world go on until `holds`, looked at now and then, for `limit`
    /// at most: how long that took, if it came about.
    pub(super) fn until(&mut self, limit: Duration, mut holds: impl FnMut(&Sim) -> bool) -> Option<Duration> {
        let from = self.now();
        while self.now() < from + limit && !self.world.has_failed() {
            self.world.run_until(self.now() + LOOK);
            if holds(&self.world.sim) {
                return Some(self.now().since(from));
            }
        }
        None
    }

    /// Until everybody sees who is there, and nobody else.
    pub(super) fn until_agreed(&mut self, limit: Duration) -> Option<Duration> {
        self.until(limit, |sim| sim.differ().is_none())
    }

    pub(super) fn now(&self) -> Instant {
        self.world.sim.now()
    }

    /// What came of it, after a check that all is in order at last.
    pub(super) fn report(mut self) -> Report {
        let Self { world, figures } = &mut self;
        world.app.oracle.converged(&mut world.sim, "at the end");
        figures.extend(world.app.oracle.figures());
        let mut report = world.report();
        report.figures = self.figures;
        report
    }

    /// The same, when nobody who was alive may have been held for gone.
    pub(super) fn report_none_lost(self) -> Report {
        let mut report = self.report();
        let wrong = report.figures.iter_mut().filter(|figure| figure.name == WRONG);
        wrong.for_each(|figure| figure.bar = Some(Bar::AtMost(0.0)));
        report
    }
}

impl App for Seen {
    fn member(&mut self, sim: &mut Sim, server: ServerIndex, life: u32, event: member::Event) {
        self.oracle.event(sim, server, life, event);
        let died = self.died.get(&(event.id, event.epoch.start)).filter(|_| !event.joined);
        if let Some(&died) = died {
            self.noticing.0 += sim.now().since(died);
            self.noticing.1 += 1;
        }
    }

    fn event(&mut self, _: &mut Sim, _: ClientIndex, event: Event) {
        self.answered += u64::from(matches!(event, Event::Answer { result: Ok(_), .. }));
    }

    fn crashed(&mut self, sim: &mut Sim, server: ServerIndex) {
        let id = sim.server_id(server);
        if let Some(last) = sim.last_epoch(id) {
            self.died.insert((id, last.start), sim.now());
        }
    }

    fn acted(&mut self, sim: &mut Sim, server: ServerIndex) {
        self.oracle.acted(sim, server);
        if let Some(node) = sim.node(server) {
            self.degree = self.degree.max(node.membership().degree());
        }
    }
}
