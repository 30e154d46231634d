//! Clients that send and receive on the same few channels.

pub(crate) mod agent;
pub(crate) mod books;

use std::{ops::Range, time::Duration};

use circuit_core::{Rng, client::Event};

use super::Work;
use crate::{ClientIndex, Figure, ServerIndex, Sim};
use agent::Agent;
use books::Books;

/// Clients on channels: the first of a world, of which the last only makes the
/// channels, drains and fills them.
#[derive(Debug)]
pub(crate) struct Channels {
    agents: Vec<Agent>,
    books: Books,
    stopped: bool,
}

impl Channels {
    pub(crate) fn new(rng: &mut Rng, servers: usize, clients: usize) -> Self {
        let books = Books::new(rng, servers, clients - 1);
        let agents = (0..clients).map(|_| Agent::default()).collect();
        Self { agents, books, stopped: false }
    }

    /// The last client does this with every channel.
    fn keep(&mut self, mut act: impl FnMut(&mut Agent, ClientIndex, &mut Books, usize)) {
        let keeper = self.agents.len() - 1;
        let (agent, books) = (&mut self.agents[keeper], &mut self.books);
        (0..books.channels.len()).for_each(|channel| act(agent, keeper, books, channel));
    }
}

impl Work for Channels {
    fn clients(&self) -> Range<ClientIndex> {
        0..self.agents.len()
    }

    fn start(&mut self, sim: &mut Sim) {
        self.keep(|agent, client, books, channel| agent.make_channel(sim, client, books, channel));
        for client in 0..self.agents.len() - 1 {
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

    fn rest(&mut self, _: &mut Sim) {
        self.stopped = true;
    }

    /// Whoever waits to send would go with whoever waits to receive.
    fn matched(&self, sim: &mut Sim) {
        let waiting = || self.agents.iter().map(Agent::waiting);
        let recvs: Vec<usize> = waiting().flat_map(|(_, recvs)| recvs).collect();
        if let Some(channel) = waiting().flat_map(|(sends, _)| sends).find(|channel| recvs.contains(channel)) {
            let open: Vec<_> = self.agents.iter().flat_map(|agent| agent.open_on(channel)).collect();
            sim.fail(format!("on channel {channel} somebody waits to send, and somebody to receive: {open:?}"));
        }
    }

    fn stop(&mut self, sim: &mut Sim) {
        self.stopped = true;
        for (client, agent) in self.agents.iter().enumerate() {
            agent.cancel_all(sim, client);
        }
    }

    fn drain(&mut self, sim: &mut Sim) {
        self.keep(|agent, client, books, channel| agent.recv(sim, client, books, channel, true));
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

    fn fill(&mut self, sim: &mut Sim) {
        self.keep(|agent, client, books, channel| agent.fill(sim, client, books, channel));
    }

    fn figures(&self) -> Vec<Figure> {
        self.books.figures()
    }
}
