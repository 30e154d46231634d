//! Clients on channels and anchors, under cuts, resets, pauses, crashes and
//! restarts.
//!
//! When all servers are up, clients send, receive, cancel, make and scrub at random while
//! things go wrong. Then all is healed, everything open is cancelled, the
//! channels are drained, and the books must balance: no message lost, none
//! acknowledged twice, first in first out, every call answered. At last the
//! clients hang up, and later nothing of them may be left.

mod agent;
mod books;

use std::time::Duration;

use circuit_core::{Rng, Target, client::Event};

use super::{Options, seconds};
use crate::{App, ClientIndex, Report, Seeds, ServerIndex, Settings, Sim, World, faults::Weather};
use agent::Agent;
use books::Books;

/// By now the servers know each other, and the clients begin.
const READY: u64 = 3;
/// Clients stop to begin anything new.
const STOP: u64 = 23;
/// By now the leases of all lost clients have ended and every server that came
/// and went was let in again; what is left is drained.
const DRAIN: u64 = 400;
/// By now everything was answered.
const SETTLED: u64 = 460;
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
        boot: Duration::from_millis(500),
        ready: seconds(READY),
        trace: options.trace,
    };
    let weather = Weather {
        servers,
        clients: clients - 1,
        faults: rng.below(24) as usize,
        from: seconds(READY + 1),
        until: seconds(STOP - 2),
        crashes: rng.chance(1, 2),
    };
    let plan = weather.plan(&mut rng);
    let mut world = World::new(settings, options.seed, &plan, Channels::new(&mut rng, servers, clients));
    world.run_until(seconds(STOP));
    world.app.stop(&mut world.sim);
    world.run_until(seconds(DRAIN));
    world.app.drain(&mut world.sim);
    world.run_until(seconds(SETTLED));
    world.app.balance(&mut world.sim);
    for client in 0..clients {
        world.sim.client(client, |client, _| client.close());
    }
    world.run_until(seconds(END));
    world.app.nothing_left(&mut world.sim);
    let mut report = world.report();
    report.figures = world.app.books.figures();
    report
}

struct Channels {
    agents: Vec<Agent>,
    books: Books,
    stopped: bool,
}

impl Channels {
    fn new(rng: &mut Rng, servers: usize, clients: usize) -> Self {
        let books = Books::new(rng, servers, clients - 1);
        let agents = (0..clients).map(|_| Agent::default()).collect();
        Self { agents, books, stopped: false }
    }

    /// Nothing new begins, and what is open is to end.
    fn stop(&mut self, sim: &mut Sim) {
        self.stopped = true;
        for (client, agent) in self.agents.iter_mut().enumerate() {
            agent.cancel_all(sim, client);
        }
    }

    /// The last client takes what is left in every channel.
    fn drain(&mut self, sim: &mut Sim) {
        let drainer = self.agents.len() - 1;
        for channel in 0..self.books.channels.len() {
            self.agents[drainer].recv(sim, drainer, &self.books, channel, true);
        }
    }

    fn balance(&self, sim: &mut Sim) {
        for (client, agent) in self.agents.iter().enumerate() {
            if let Some((call, what)) = agent.open() {
                sim.fail(format!("{call:?} of client {client} was never answered: {what}"));
            }
        }
        if let Some(fault) = self.books.balance() {
            sim.fail(fault);
        }
    }

    fn nothing_left(&self, sim: &mut Sim) {
        for server in 0..sim.settings().servers {
            let Some(left) = sim.node(server).map(circuit_core::node::Node::snapshot) else {
                sim.fail(format!("server {server} is not back"));
                return;
            };
            let counts = (left.clients, left.registrations, left.calls, left.waiting, left.packets, left.timers);
            if counts != (0, 0, 0, 0, 0, 0) {
                sim.fail(format!("server {server} has not forgotten everything: {left:?}"));
            }
        }
    }
}

impl App for Channels {
    fn start(&mut self, sim: &mut Sim) {
        // As if by discovery: everybody may dial everybody.
        let all: Vec<Target> =
            (0..sim.settings().servers).map(|server| Target { addr: sim.server_addr(server), expect: None }).collect();
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
