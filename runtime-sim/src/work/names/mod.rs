//! Clients that keep name servers: whoever asks one for a name is told the
//! records that were set.
//!
//! Each has its own, and asks for one thing after the other, so that a plain map
//! says what must be there, and what may be: a call of which nobody knows what
//! came of it takes effect at any later time, or never. Queries are made by a
//! program on the machine of the server.

mod model;

use std::{collections::BTreeMap, ops::Range, time::Duration};

use circuit_core::{
    Error,
    client::{CallId, Event, Request},
    codec,
    wire::op::Reply,
};

use super::{ACT, Work, any_server};
use crate::{ClientIndex, Figure, ServerIndex, Sim};
pub(crate) use model::{Nameserver, Step};

/// Clients with name servers.
#[derive(Debug)]
pub(crate) struct Names {
    clients: Range<ClientIndex>,
    kept: BTreeMap<ClientIndex, Nameserver>,
    /// The call of each that is open.
    calls: BTreeMap<ClientIndex, CallId>,
    next: u64,
    answers: BTreeMap<String, u64>,
    stopped: bool,
}

impl Names {
    pub(crate) fn new(clients: Range<ClientIndex>) -> Self {
        let (kept, calls, next, answers, stopped) = Default::default();
        Self { clients, kept, calls, next, answers, stopped }
    }

    fn ask(&mut self, sim: &mut Sim, client: ClientIndex, step: Step) {
        let Some(server) = self.kept.get_mut(&client) else { return };
        server.begin(step);
        let input = match step {
            Step::Query(name) => server.query(name).map(|spec| {
                let mut bytes = Vec::new();
                codec::encode(&spec, &mut bytes);
                bytes.into()
            }),
            _ => None,
        };
        let Some(op) = server.op(step) else { return sim.fail(format!("{step:?} cannot be said")) };
        let (call, host) = (sim.call_id(), server.host);
        self.calls.insert(client, call);
        sim.client(client, |client, now| client.call(now, call, host, Request { op, deadline: None, input }));
    }

    /// What is left to be done in the end.
    fn go_on(&mut self, sim: &mut Sim, client: ClientIndex) {
        let next = self.kept.get_mut(&client).and_then(Nameserver::next_at_last);
        next.into_iter().for_each(|step| self.ask(sim, client, step));
    }

    fn answered(&mut self, sim: &mut Sim, client: ClientIndex, call: CallId, result: &Result<Reply, Error>) {
        if self.calls.get(&client) != Some(&call) {
            return;
        }
        self.calls.remove(&client);
        let Some(server) = self.kept.get_mut(&client) else { return };
        let Some(step) = server.open else { return };
        *self.answers.entry(format!("name servers: {}", step.outcome(result))).or_default() += 1;
        match server.answered(result) {
            Err(words) => sim.fail(words),
            Ok(Some(next)) => self.ask(sim, client, next),
            Ok(None) => self.go_on(sim, client),
        }
    }
}

impl Work for Names {
    fn clients(&self) -> Range<ClientIndex> {
        self.clients.clone()
    }

    fn event(&mut self, sim: &mut Sim, client: ClientIndex, event: Event) {
        match event {
            Event::Data { call, bytes, end, .. } => {
                if let Some(server) = self.kept.get_mut(&client)
                    && self.calls.get(&client) == Some(&call)
                {
                    server.wrote(&bytes);
                    sim.client(client, |client, now| client.consumed(now, call, bytes.len(), end));
                }
            }
            Event::Answer { call, result } => self.answered(sim, client, call, &result),
            _ => {}
        }
    }

    fn wake(&mut self, sim: &mut Sim, client: ClientIndex, _: u64) {
        if self.stopped {
            return;
        }
        let next = Duration::from_millis(sim.rng().below(300));
        sim.wake_after(client, next, ACT);
        match self.kept.get(&client) {
            Some(server) if server.open.is_some() => {}
            Some(server) if !server.is_over() => {
                let step = server.draw(sim.rng());
                self.ask(sim, client, step);
            }
            _ => {
                self.next += 1;
                let host = any_server(sim);
                self.kept.insert(client, Nameserver::new(sim.server_id(host), self.next));
                self.ask(sim, client, Step::Make);
            }
        }
    }

    fn replaced(&mut self, sim: &mut Sim, client: ClientIndex) {
        self.calls.remove(&client);
        let gave_up = self.kept.get_mut(&client).map_or(Ok(()), Nameserver::give_up);
        gave_up.unwrap_or_else(|words| sim.fail(words));
        sim.wake_after(client, Duration::from_millis(100), ACT);
    }

    fn crashed(&mut self, sim: &mut Sim, server: ServerIndex) {
        let id = sim.server_id(server);
        self.kept.values_mut().filter(|server| server.host == id).for_each(|server| server.lost = true);
    }

    fn stop(&mut self, sim: &mut Sim) {
        self.stopped = true;
        for (&client, &call) in &self.calls {
            sim.client(client, |client, now| client.cancel(now, call));
        }
    }

    fn drain(&mut self, sim: &mut Sim) {
        for client in self.clients() {
            let Some(server) = self.kept.get_mut(&client).filter(|server| !server.is_over()) else { continue };
            server.plan_end();
            if server.open.is_none() {
                self.go_on(sim, client);
            }
        }
    }

    fn balance(&self, sim: &mut Sim) {
        self.kept.values().find_map(Nameserver::left).into_iter().for_each(|words| sim.fail(words));
    }

    fn figures(&self) -> Vec<Figure> {
        self.answers.iter().map(|(what, count)| Figure::count(what.clone(), *count)).collect()
    }
}
