//! Servers without clients, and what they see: what the scenarios about
//! membership alone have in common.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
    time::Duration,
};

use circuit_core::{
    Instant, ServerId,
    client::{CallId, Event, Request},
    membership as member,
};

use super::Options;
use crate::{
    App, Bar, ClientIndex, Figure, Oracle, Report, ServerIndex, Settings, Sim, World, faults::Plan, oracle::WRONG,
};

/// How often it is looked whether what is waited for has come about.
const LOOK: Duration = Duration::from_millis(20);
/// When all is over nothing may happen for so long (P9).
const STILL: Duration = Duration::from_secs(60);
/// Or for so long, with more servers than [`MANY`], of which each second is dear.
const BRIEF: Duration = Duration::from_secs(10);
const MANY: usize = 5_000;

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
    /// When those were asked that are not answered yet.
    asked: BTreeMap<CallId, Instant>,
    /// The longest that one took to be answered.
    slowest: Duration,
    /// What came with the answers.
    pub(super) received: BTreeMap<CallId, Vec<u8>>,
    /// What each server saw of each, by its id, if that is counted.
    seen: Option<HashMap<(ServerIndex, ServerId), Sights>>,
    /// When each server last started.
    pub(super) began: BTreeMap<ServerIndex, Instant>,
    /// When the incarnations that were killed were.
    died: BTreeMap<(ServerId, u32), Instant>,
    /// How long observers took to see that, all together, and how often they did.
    noticing: (Duration, u32),
}

/// What one server saw of another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sights {
    pub(super) joins: u64,
    pub(super) leaves: u64,
    /// When it last saw it leave.
    pub(super) left: Option<Instant>,
}

impl Seen {
    /// How long it took to see that a server was killed, in the mean, since this
    /// was last asked.
    pub(super) fn detection(&mut self) -> Duration {
        let (sum, count) = mem::take(&mut self.noticing);
        sum / count.max(1)
    }

    /// From now on it is counted what each server sees of each.
    pub(super) fn count_sights(&mut self) {
        self.seen = Some(HashMap::new());
    }

    /// What a server saw of another since then.
    pub(super) fn sights(&self, observer: ServerIndex, subject: ServerId) -> Sights {
        let seen = self.seen.as_ref().and_then(|seen| seen.get(&(observer, subject)));
        seen.copied().unwrap_or_default()
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
            asked: BTreeMap::new(),
            slowest: Duration::ZERO,
            received: BTreeMap::new(),
            seen: None,
            began: BTreeMap::new(),
            died: BTreeMap::new(),
            noticing: Default::default(),
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

    /// Until all have started, and everybody sees who is there, and nobody else.
    pub(super) fn until_agreed(&mut self, limit: Duration) -> Option<Duration> {
        let booted = Instant::ZERO + self.world.sim.settings().boot;
        self.until(limit, |sim| sim.now() >= booted && sim.differ().is_none())
    }

    /// The ids of its servers.
    pub(super) fn ids(&self) -> Vec<ServerId> {
        (0..self.world.sim.settings().servers).map(|server| self.world.sim.server_id(server)).collect()
    }

    pub(super) fn now(&self) -> Instant {
        self.world.sim.now()
    }

    /// The first client asks a server, and it counts how long that takes.
    pub(super) fn ask(&mut self, server: ServerIndex, request: Request) -> CallId {
        let call = self.wait(0, server, request);
        self.world.app.asked.insert(call, self.now());
        call
    }

    /// A client asks a server, and it does not matter how long that takes.
    pub(super) fn wait(&mut self, client: ClientIndex, server: ServerIndex, request: Request) -> CallId {
        let sim = &mut self.world.sim;
        let (call, host) = (sim.call_id(), sim.server_id(server));
        sim.client(client, |client, now| client.call(now, call, host, request));
        call
    }

    /// Until what came of a call has come, if it does before `until`: when that was.
    pub(super) fn until_answered(&mut self, call: CallId, until: Instant) -> Option<Instant> {
        while self.now() < until && !self.world.has_failed() && !self.world.app.received.contains_key(&call) {
            self.world.run_until(self.now() + LOOK);
        }
        self.world.app.received.contains_key(&call).then(|| self.now())
    }

    /// How long the slowest answer took since this was last asked; and longer, if one
    /// is still to come.
    pub(super) fn slowest(&mut self) -> Duration {
        let now = self.now();
        let open = self.world.app.asked.values().map(|asked| now.since(*asked)).max();
        mem::take(&mut self.world.app.slowest).max(open.unwrap_or_default())
    }

    /// What came of it, after a check that all is in order at last, and stays so.
    pub(super) fn report(mut self) -> Report {
        let Self { world, figures } = &mut self;
        world.app.oracle.converged(&mut world.sim, "at the end");
        let settled = world.app.oracle.count();
        let still = if world.sim.settings().servers > MANY { BRIEF } else { STILL };
        world.run_until(world.sim.now() + still);
        let events = world.app.oracle.count() - settled;
        figures.push(Figure::none("events after all had settled", events));
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
        if let Some(seen) = &mut self.seen {
            let sights = seen.entry((server, event.id)).or_default();
            if event.joined {
                sights.joins += 1;
            } else {
                sights.leaves += 1;
                sights.left = Some(sim.now());
            }
        }
        let died = self.died.get(&(event.id, event.epoch.start)).filter(|_| !event.joined);
        if let Some(&died) = died {
            self.noticing.0 += sim.now().since(died);
            self.noticing.1 += 1;
        }
    }

    fn event(&mut self, sim: &mut Sim, client: ClientIndex, event: Event) {
        match event {
            Event::Data { call, bytes, end, .. } => {
                self.received.entry(call).or_default().extend_from_slice(&bytes);
                sim.client(client, |client, now| client.consumed(now, call, bytes.len(), end));
            }
            Event::Answer { call, result } => {
                let took = self.asked.remove(&call).map(|asked| sim.now().since(asked));
                self.slowest = self.slowest.max(took.unwrap_or_default());
                self.answered += u64::from(result.is_ok());
            }
            _ => {}
        }
    }

    fn started(&mut self, sim: &mut Sim, server: ServerIndex) {
        self.began.insert(server, sim.now());
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
