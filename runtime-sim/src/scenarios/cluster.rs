//! Servers without clients, and what they see: what the scenarios about
//! membership alone have in common.

use std::time::Duration;

use circuit_core::{Instant, Rng, membership as member};

use super::Options;
use crate::{App, Bar, Figure, Oracle, Report, Seeds, ServerIndex, Settings, Sim, World, faults::Plan};

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
}

impl Cluster {
    /// `nodes` servers, of which all but the first start within a second and
    /// know the first. `plan` goes wrong.
    pub(super) fn new(options: &Options, nodes: usize, plan: &Plan) -> Self {
        Self::with(options, Self::settings(options, nodes), plan)
    }

    pub(super) fn settings(options: &Options, nodes: usize) -> Settings {
        let mut rng = Rng::from_number(options.seed).fork("cluster");
        Settings {
            servers: nodes,
            clients: 0,
            delay: Duration::from_micros(50 + rng.below(5_000)),
            jitter: Duration::from_micros(rng.below(5_000)),
            seeds: Seeds::First,
            boot: Duration::from_secs(1),
            ready: Instant::ZERO,
            trace: options.trace,
        }
    }

    /// The same, with other settings.
    pub(super) fn with(options: &Options, settings: Settings, plan: &Plan) -> Self {
        let seen = Seen { oracle: Oracle::new(settings.servers, plan.clone(), 0), degree: 0 };
        Self { world: World::new(settings, options.seed, plan, seen), figures: Vec::new() }
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

    /// The same, when nobody who was alive may have been held for gone.
    pub(super) fn report_none_lost(mut self) -> Report {
        let wrong = self.world.app.oracle.wrong() as f64;
        self.figures.push(Figure::new("servers that were alive held for gone", wrong, Bar::AtMost(0.0)));
        self.report()
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
}

impl App for Seen {
    fn member(&mut self, sim: &mut Sim, server: ServerIndex, life: u32, event: member::Event) {
        self.oracle.event(sim, server, life, event);
    }

    fn acted(&mut self, sim: &mut Sim, server: ServerIndex) {
        self.oracle.acted(sim, server);
        if let Some(node) = sim.node(server) {
            self.degree = self.degree.max(node.membership().degree());
        }
    }
}
