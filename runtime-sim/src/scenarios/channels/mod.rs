//! Clients on channels and anchors, under cuts, resets, pauses, crashes and
//! restarts.
//!
//! When all servers are up, clients send, receive, cancel, make and scrub at random while
//! things go wrong. Then all is healed, everything open is cancelled, the
//! channels are drained, and the books must balance: no message lost, none
//! acknowledged twice, first in first out, every call answered; and every
//! channel must have the room that it had. At last the clients hang up, and
//! later nothing of them may be left. What servers see of each other is checked
//! all the while.

pub(crate) mod agent;
pub(crate) mod books;

use std::time::Duration;

use circuit_core::{Rng, client::Event, membership as member};

use super::{Options, seconds};
use crate::{App, ClientIndex, Oracle, Report, Seeds, ServerIndex, Settings, Sim, World, faults::Weather, oracle};
use agent::Agent;
use books::Books;

/// By now the servers know each other, and the clients begin.
const READY: u64 = 3;
/// Clients stop to begin anything new.
const STOP: u64 = 23;
/// In some worlds whoever waits then may wait until here: every lease of a lost
/// client has ended.
const WAITED: u64 = 100;
/// By now the leases of all lost clients have ended and every server that came
/// and went was let in again; what is left is drained.
const DRAIN: u64 = 400;
/// By now everything was answered.
const SETTLED: u64 = 460;
/// And by now every channel was filled.
const FILLED: u64 = 480;
/// By now everything was forgotten.
const END: u64 = 1_500;

/// The last client only drains.
const CLIENTS: usize = 6;

pub(super) fn run(options: &Options) -> Report {
    let mut rng = Rng::from_number(options.seed).fork("channels");
    let servers = options.nodes.unwrap_or(2 + rng.below(4) as usize);
    let clients = CLIENTS;
    let settings = Settings {
        servers,
        clients,
        delay: Duration::from_micros(50 + rng.below(20_000)),
        jitter: Duration::from_micros(rng.below(20_000)),
        seeds: Seeds::Some(servers),
        discover: false,
        boot: Duration::from_millis(500),
        ready: seconds(READY),
        drift: 0,
        telling: options.telling,
    };
    let weather = Weather {
        servers,
        clients: clients - 1,
        faults: rng.below(24) as usize,
        from: seconds(READY + 1),
        until: seconds(STOP - 2),
        crashes: rng.chance(1, 2),
    };
    let plan = options.cut(weather.plan(&mut rng));
    let app = Watched {
        channels: Channels::new(&mut rng, servers, clients),
        oracle: Oracle::new(servers, plan.clone(), servers),
    };
    let mut world = World::new(settings, options.seed, &plan, app);
    world.run_until(seconds(STOP));
    world.app.channels.begin_no_more();
    if rng.fork("patience").chance(1, 2) {
        world.run_until(seconds(WAITED));
        world.app.channels.matched(&mut world.sim);
    }
    world.app.channels.stop(&mut world.sim);
    world.run_until(seconds(DRAIN));
    world.app.oracle.converged(&mut world.sim, "long after all was healed");
    let events = world.app.oracle.count();
    world.app.channels.drain(&mut world.sim);
    world.run_until(seconds(SETTLED));
    world.app.channels.balance(&mut world.sim);
    if plan.is_empty() {
        world.app.channels.confirmed(&mut world.sim);
    }
    world.app.channels.fill(&mut world.sim);
    world.run_until(seconds(FILLED));
    for client in 0..clients {
        world.sim.client(client, |client, _| client.close());
    }
    world.run_until(seconds(END));
    oracle::nothing_left(&mut world.sim);
    world.app.oracle.settled(&mut world.sim);
    if world.app.oracle.count() != events {
        world.sim.fail("somebody joined or left when all was quiet (P9)");
    }
    let mut report = world.report();
    report.figures = world.app.channels.books.figures().into_iter().chain(world.app.oracle.figures()).collect();
    report
}

/// The clients' work, and an oracle that sees what servers see.
struct Watched {
    channels: Channels,
    oracle: Oracle,
}

impl App for Watched {
    fn start(&mut self, sim: &mut Sim) {
        self.oracle.converged(sim, "after the boot");
        self.channels.start(sim);
    }

    fn event(&mut self, sim: &mut Sim, client: ClientIndex, event: Event) {
        self.channels.event(sim, client, event);
    }

    fn wake(&mut self, sim: &mut Sim, client: ClientIndex, token: u64) {
        self.channels.wake(sim, client, token);
    }

    fn replaced(&mut self, sim: &mut Sim, client: ClientIndex) {
        self.channels.replaced(sim, client);
    }

    fn crashed(&mut self, sim: &mut Sim, server: ServerIndex) {
        self.channels.crashed(sim, server);
    }

    fn member(&mut self, sim: &mut Sim, server: ServerIndex, life: u32, event: member::Event) {
        self.oracle.event(sim, server, life, event);
    }

    fn acted(&mut self, sim: &mut Sim, server: ServerIndex) {
        self.oracle.acted(sim, server);
    }
}

pub(super) struct Channels {
    agents: Vec<Agent>,
    books: Books,
    stopped: bool,
}

impl Channels {
    pub(super) fn new(rng: &mut Rng, servers: usize, clients: usize) -> Self {
        let books = Books::new(rng, servers, clients - 1);
        let agents = (0..clients).map(|_| Agent::default()).collect();
        Self { agents, books, stopped: false }
    }

    /// Nothing new begins.
    pub(super) fn begin_no_more(&mut self) {
        self.stopped = true;
    }

    /// Whoever waits to send would go with whoever waits to receive.
    pub(super) fn matched(&self, sim: &mut Sim) {
        let waiting = || self.agents.iter().map(Agent::waiting);
        let recvs: Vec<usize> = waiting().flat_map(|(_, recvs)| recvs).collect();
        if let Some(channel) = waiting().flat_map(|(sends, _)| sends).find(|channel| recvs.contains(channel)) {
            let open: Vec<_> = self.agents.iter().flat_map(|agent| agent.open_on(channel)).collect();
            sim.fail(format!("on channel {channel} somebody waits to send, and somebody to receive: {open:?}"));
        }
    }

    /// What is open is to end.
    pub(super) fn stop(&mut self, sim: &mut Sim) {
        for (client, agent) in self.agents.iter_mut().enumerate() {
            agent.cancel_all(sim, client);
        }
    }

    /// The last client takes what is left in every channel.
    pub(super) fn drain(&mut self, sim: &mut Sim) {
        let drainer = self.agents.len() - 1;
        for channel in 0..self.books.channels.len() {
            self.agents[drainer].recv(sim, drainer, &self.books, channel, true);
        }
    }

    /// Every channel buffers as much as it ever did.
    pub(super) fn fill(&mut self, sim: &mut Sim) {
        let filler = self.agents.len() - 1;
        for channel in 0..self.books.channels.len() {
            self.agents[filler].fill(sim, filler, &self.books, channel);
        }
    }

    /// When nothing went wrong no answer is kept: all are known to have come.
    fn confirmed(&self, sim: &mut Sim) {
        for server in 0..sim.settings().servers {
            let calls = sim.node(server).map_or(0, |node| node.snapshot().calls);
            if calls > 0 {
                sim.fail(format!("server {server} keeps {calls} calls that were answered"));
            }
        }
    }

    pub(super) fn balance(&self, sim: &mut Sim) {
        for (client, agent) in self.agents.iter().enumerate() {
            if let Some((call, what)) = agent.open() {
                sim.fail(format!("{call:?} of client {client} was never answered: {what}"));
            }
        }
        if let Some(fault) = self.books.balance() {
            sim.fail(fault);
        }
    }
}

impl App for Channels {
    fn start(&mut self, sim: &mut Sim) {
        let all = super::all_servers(sim);
        for client in 0..self.agents.len() {
            let mut targets = all.clone();
            targets.rotate_left(client % all.len());
            sim.client(client, |client, now| client.learn(now, targets));
        }
        let maker = self.agents.len() - 1;
        for channel in 0..self.books.channels.len() {
            self.agents[maker].make_channel(sim, maker, &mut self.books, channel);
        }
        for client in 0..maker {
            sim.wake_after(client, Duration::from_millis(500), agent::ACT);
        }
    }

    fn event(&mut self, sim: &mut Sim, client: ClientIndex, event: Event) {
        self.agents[client].event(sim, client, &mut self.books, event);
    }

    fn wake(&mut self, sim: &mut Sim, client: ClientIndex, token: u64) {
        self.agents[client].wake(sim, client, &mut self.books, token, self.stopped);
    }

    fn replaced(&mut self, sim: &mut Sim, client: ClientIndex) {
        self.agents[client].replaced(sim, client, &mut self.books);
        if !self.stopped {
            sim.wake_after(client, Duration::from_millis(100), agent::ACT);
        }
    }

    fn crashed(&mut self, _: &mut Sim, server: ServerIndex) {
        self.books.crashed(server);
    }
}
