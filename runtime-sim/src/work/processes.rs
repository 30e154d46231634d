//! Clients that run processes and containers: each has to write what it should, and end as it
//! should, and everybody has to be told so.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use bytes::Bytes;
use circuit_core::{
    Error,
    client::{CallId, Event, Request},
    codec,
    wire::op::{ContainerSpec, Op, ProcSpec, Reply, Stdio},
};

use super::{
    ACT, Work, any_server,
    job::{Job, Kind, Step, TERM},
    outcome,
};
use crate::{ClientIndex, Figure, ServerIndex, Sim};

/// Processes of one client at once.
const AT_ONCE: usize = 2;
type JobId = u64;

/// Clients that run processes.
#[derive(Debug)]
pub(crate) struct Processes {
    clients: Range<ClientIndex>,
    jobs: BTreeMap<JobId, Job>,
    open: BTreeMap<CallId, (JobId, Step)>,
    next: JobId,
    answers: BTreeMap<String, u64>,
    stopped: bool,
}

impl Processes {
    pub(crate) fn new(clients: Range<ClientIndex>) -> Self {
        let (jobs, open, answers) = Default::default();
        Self { clients, jobs, open, next: 0, answers, stopped: false }
    }

    fn begin(&mut self, sim: &mut Sim, client: ClientIndex) {
        let server = any_server(sim);
        self.next += 1;
        let (host, number) = (sim.server_id(server), self.next);
        let (mut job, spec) = Job::draw(sim.rng(), client, host, number);
        job.contained = sim.rng().chance(1, 3);
        let mut input = Vec::new();
        if job.contained {
            let ProcSpec { path, args, .. } = spec;
            codec::encode(
                &ContainerSpec { image: "any".to_owned(), path, args, ..ContainerSpec::default() },
                &mut input,
            );
        } else {
            codec::encode(&spec, &mut input);
        }
        self.jobs.insert(number, job);
        self.ask(sim, number, Step::Make, Some(input.into()));
    }

    fn ask(&mut self, sim: &mut Sim, id: JobId, step: Step, input: Option<Bytes>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let path = job.path.clone();
        let op = match step {
            Step::Make if job.contained => Op::MakeContainer(path),
            Step::Make => Op::MakeProc(path),
            Step::Write => Op::Stdin(path),
            Step::Read => Op::Output { path, of: Stdio::Out, from_end: false },
            Step::Wait => Op::Wait(path),
            Step::Kill => Op::Signal { path, signal: TERM },
            Step::Peek => Op::Peek(path),
            Step::Scrub => Op::Scrub { path, kill: false },
        };
        job.open += 1;
        job.killed |= step == Step::Kill;
        let (client, host, call) = (job.client, job.host, sim.call_id());
        self.open.insert(call, (id, step));
        sim.client(client, |client, now| client.call(now, call, host, Request { op, deadline: None, input }));
    }

    fn answered(&mut self, sim: &mut Sim, call: CallId, result: &Result<Reply, Error>) {
        let Some((id, step)) = self.open.remove(&call) else { return };
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.open -= 1;
        // By a clock that jumped its host has forgotten the client.
        let forgets = |server| sim.server_id(server) == job.host && sim.has_jumped(server);
        job.troubled |= (0..sim.settings().servers).any(forgets);
        let kind = if job.contained { "containers" } else { "processes" };
        *self.answers.entry(format!("{kind}: {step:?} {}", outcome(result))).or_default() += 1;
        if let Err(words) = job.answered(step, result) {
            return sim.fail(words);
        }
        if step == Step::Make && job.made && !self.stopped {
            let cat = (job.kind == Kind::Cat).then(|| job.text.clone());
            if let Some(text) = cat {
                self.ask(sim, id, Step::Write, Some(text));
            }
            self.ask(sim, id, Step::Read, None);
            self.ask(sim, id, Step::Wait, None);
            if sim.rng().chance(1, 5) {
                self.ask(sim, id, Step::Kill, None);
            }
            if sim.rng().chance(1, 5) {
                self.ask(sim, id, Step::Peek, None);
            }
        } else if step != Step::Scrub && job.open == 0 && !self.stopped {
            self.ask(sim, id, Step::Scrub, None);
        } else if step == Step::Scrub {
            self.jobs.remove(&id);
        }
    }
}

impl Work for Processes {
    fn clients(&self) -> Range<ClientIndex> {
        self.clients.clone()
    }

    fn event(&mut self, sim: &mut Sim, client: ClientIndex, event: Event) {
        match event {
            Event::Data { call, bytes, end, .. } => {
                let Some((id, step)) = self.open.get(&call) else { return };
                // What a container's maker reads is how that goes.
                if let (Step::Read, Some(job)) = (step, self.jobs.get_mut(id))
                    && let Err(words) = job.wrote(&bytes)
                {
                    sim.fail(words);
                }
                sim.client(client, |client, now| client.consumed(now, call, bytes.len(), end));
            }
            Event::Answer { call, result } => self.answered(sim, call, &result),
            _ => {}
        }
    }

    fn wake(&mut self, sim: &mut Sim, client: ClientIndex, _: u64) {
        if self.stopped {
            return;
        }
        let next = Duration::from_millis(sim.rng().below(800));
        sim.wake_after(client, next, ACT);
        if self.jobs.values().filter(|job| job.client == client).count() < AT_ONCE {
            self.begin(sim, client);
        }
    }

    fn replaced(&mut self, sim: &mut Sim, client: ClientIndex) {
        self.jobs.retain(|_, job| job.client != client);
        let jobs = &self.jobs;
        self.open.retain(|_, (job, _)| jobs.contains_key(job));
        sim.wake_after(client, Duration::from_millis(100), ACT);
    }

    fn crashed(&mut self, sim: &mut Sim, server: ServerIndex) {
        let id = sim.server_id(server);
        self.jobs.values_mut().filter(|job| job.host == id).for_each(|job| job.troubled = true);
    }

    fn stop(&mut self, sim: &mut Sim) {
        self.stopped = true;
        for (&call, (id, _)) in &self.open {
            if let Some(job) = self.jobs.get(id) {
                sim.client(job.client, |client, now| client.cancel(now, call));
            }
        }
    }

    fn balance(&self, sim: &mut Sim) {
        if let Some((call, (id, step))) = self.open.iter().next() {
            return sim.fail(format!("{call:?}, {step:?} of {:?}, was never answered", self.jobs.get(id)));
        }
        for server in 0..sim.settings().servers {
            if let Some(id) = sim.leaks(server) {
                return sim.fail(format!("server {server} runs something for {id:?}, which is gone"));
            }
        }
    }

    fn figures(&self) -> Vec<Figure> {
        self.answers.iter().map(|(what, count)| Figure::count(what.clone(), *count)).collect()
    }
}
