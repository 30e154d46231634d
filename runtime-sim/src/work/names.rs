//! Clients that keep name servers: whoever asks one for a name is told the
//! records that were set.
//!
//! Each has its own, and asks for one thing after the other, so that a plain map
//! says what must be there, and what may be: a call of which nobody knows what
//! came of it takes effect at any later time, or never. Queries are made by a
//! program on the machine of the server.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    time::Duration,
};

use circuit_core::{
    Error, ErrorKind, Path, Rng, ServerId,
    client::{CallId, Event, Request},
    codec,
    wire::op::{NameserverStat, Op, ProcSpec, Reply, Stat, Stdio},
};

use super::{ACT, Work, any_server, is_no_fault};
use crate::{
    ClientIndex, Figure, ServerIndex, Sim,
    script::{NOBODY, TOO_MANY},
};

/// Names of each name server.
const NAMES: u8 = 3;
/// Addresses of each name.
const ADDRESSES: u64 = 4;

/// What a name stands for.
#[derive(Clone, Debug, Default)]
struct Entry {
    must: BTreeSet<u8>,
    may: BTreeSet<u8>,
    /// What calls that nobody heard of may still set.
    setting: BTreeSet<u8>,
    /// And that they may remove everything.
    unsetting: bool,
}

/// What a client wants of its name server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Make,
    Set(u8, u8),
    Unset(u8),
    Peek,
    /// A program asks for a name; what it writes is read, and it is removed.
    Query(u8),
    Read(u8),
    Clear,
    Scrub,
}

#[derive(Debug)]
struct Nameserver {
    host: ServerId,
    number: u64,
    entries: Vec<Entry>,
    /// Where it answers, once that is known.
    port: Option<u16>,
    /// It was certainly made, or removed.
    made: bool,
    removed: bool,
    /// Nothing is known of it any more: its host died, or nobody knows whether it
    /// was made, or removed.
    lost: bool,
    /// What is to be done in the end.
    last: Vec<Step>,
    read: Vec<u8>,
    queries: u64,
    open: Option<(CallId, Step)>,
}

/// Clients with name servers.
#[derive(Debug)]
pub(crate) struct Names {
    clients: Range<ClientIndex>,
    kept: BTreeMap<ClientIndex, Nameserver>,
    next: u64,
    answers: BTreeMap<String, u64>,
    stopped: bool,
}

impl Entry {
    /// It was asked for, and this was there.
    fn holds(&self, seen: &BTreeSet<u8>) -> bool {
        self.must.is_subset(seen) && seen.is_subset(&self.may)
    }

    fn comes_of(&mut self, step: Step, effect: Effect) -> Result<(), &'static str> {
        match (step, effect) {
            (Step::Set(_, address), Effect::Done) => {
                self.may.insert(address);
                if !self.unsetting {
                    self.must.insert(address);
                }
            }
            (Step::Set(_, address), Effect::Unknown) => {
                self.may.insert(address);
                self.setting.insert(address);
            }
            (Step::Unset(_), Effect::Done) if self.may.is_empty() => return Err("there was nothing to unset"),
            (Step::Unset(_), Effect::Nothing) if !self.must.is_empty() => return Err("there was something to unset"),
            (Step::Unset(_), Effect::Done | Effect::Nothing) => {
                self.must.clear();
                self.may.clone_from(&self.setting);
            }
            (Step::Unset(_), Effect::Unknown) => {
                self.must.clear();
                self.unsetting = true;
            }
            _ => {}
        }
        Ok(())
    }
}

/// What came of a call that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Done,
    /// There was nothing to be changed.
    Nothing,
    Failed,
    Unknown,
}

impl Effect {
    fn of(result: &Result<Reply, Error>) -> Self {
        match result {
            Ok(_) => Self::Done,
            Err(error) if error.kind == ErrorKind::Unknown => Self::Unknown,
            Err(error) if error.kind == ErrorKind::NotFound && error.detail.starts_with("it has no") => Self::Nothing,
            Err(_) => Self::Failed,
        }
    }
}

impl Nameserver {
    fn new(host: ServerId, number: u64) -> Self {
        let (port, made, removed, lost, last, read, queries, open) = Default::default();
        let entries = vec![Entry::default(); usize::from(NAMES)];
        Self { host, number, entries, port, made, removed, lost, last, read, queries, open }
    }

    fn path(&self) -> Path {
        format!("names/{}", self.number).parse().unwrap_or_default()
    }

    fn query_path(&self) -> Path {
        format!("dig/{}/{}", self.number, self.queries).parse().unwrap_or_default()
    }

    /// A name that no other name server knows.
    fn name(&self, name: u8) -> String {
        format!("n{name}.s{}.test.", self.number)
    }

    fn op(&self, step: Step) -> Option<Op> {
        let path = self.path();
        Some(match step {
            Step::Make => Op::MakeDns { path, addr: None },
            Step::Set(name, address) => {
                // Names are the same in whatever case.
                let name = if address % 2 == 0 { self.name(name) } else { self.name(name).to_uppercase() };
                Op::Set { path, record: format!("{name} 60 IN A 10.9.9.{address}").parse().ok()? }
            }
            Step::Unset(name) => Op::Unset { path, name: self.name(name).parse().ok()? },
            Step::Peek => Op::Peek(path),
            Step::Query(_) => Op::MakeProc(self.query_path()),
            Step::Read(_) => Op::Output { path: self.query_path(), of: Stdio::Out, from_end: false },
            Step::Clear => Op::Scrub { path: self.query_path(), kill: false },
            Step::Scrub => Op::Scrub { path, kill: false },
        })
    }

    /// What it is asked at random.
    fn draw(&self, rng: &mut Rng) -> Step {
        let (name, address) = (rng.below(u64::from(NAMES)) as u8, rng.below(ADDRESSES) as u8);
        match rng.below(24) {
            _ if self.port.is_none() => Step::Peek,
            0..9 => Step::Set(name, address),
            9..14 => Step::Unset(name),
            14..17 => Step::Peek,
            17..23 => Step::Query(name),
            _ => Step::Scrub,
        }
    }

    /// What came of a step, and what follows from it.
    fn answered(&mut self, step: Step, result: &Result<Reply, Error>) -> Result<Option<Step>, String> {
        if !self.lost {
            self.is_right(step, result).map_err(|words| format!("{words}: {step:?} of {self:?} was {result:?}"))?;
        }
        let effect = Effect::of(result);
        self.comes_of(step, effect).map_err(|words| format!("{words}: {step:?} of {self:?} was {result:?}"))?;
        Ok(match (step, effect) {
            (Step::Make, Effect::Unknown) => Some(Step::Scrub),
            (Step::Query(name), Effect::Done) => Some(Step::Read(name)),
            (Step::Query(_), Effect::Unknown) | (Step::Read(_), _) => Some(Step::Clear),
            // Nobody answers any more.
            (Step::Scrub, Effect::Done) if !self.lost && self.last.is_empty() => Some(Step::Query(0)),
            _ => None,
        })
    }

    fn comes_of(&mut self, step: Step, effect: Effect) -> Result<(), &'static str> {
        match (step, effect) {
            (Step::Make, Effect::Done) => self.made = true,
            (Step::Scrub, Effect::Done) => self.removed = true,
            (Step::Make, _) | (Step::Scrub, Effect::Unknown) => self.lost = true,
            (Step::Set(name, _) | Step::Unset(name), _) if !self.lost => {
                let entry = self.entries.get_mut(usize::from(name));
                return entry.map_or(Ok(()), |entry| entry.comes_of(step, effect));
            }
            _ => {}
        }
        Ok(())
    }

    fn is_right(&mut self, step: Step, result: &Result<Reply, Error>) -> Result<(), &'static str> {
        match (step, result) {
            (Step::Peek, Ok(Reply::Stat(stat))) => match &**stat {
                Stat::Nameserver(stat) if !self.removed => self.peeked(stat),
                _ => Err("it is something else"),
            },
            (Step::Read(name), Ok(Reply::Read { missed: 0 })) => self.told(name),
            (Step::Peek | Step::Read(_), Ok(_)) => Err("that is no answer to this"),
            (_, Ok(_)) => Ok(()),
            (_, Err(error)) => match (step, error.kind) {
                (_, ErrorKind::Unknown) => Ok(()),
                (Step::Make, ErrorKind::BindFailed(TOO_MANY)) => Ok(()),
                (Step::Query(_), ErrorKind::SpawnFailed(TOO_MANY)) => Ok(()),
                // Its host may have forgotten the client, and what it began.
                (Step::Make | Step::Query(_) | Step::Read(_) | Step::Clear, ErrorKind::Aborted) => Ok(()),
                (Step::Set(..) | Step::Unset(_) | Step::Peek | Step::Scrub, ErrorKind::NotFound)
                    if error.detail.is_empty() && !self.removed =>
                {
                    Err("it is not there")
                }
                (_, kind) if is_no_fault(kind) => Ok(()),
                _ => Err("that is no way to fail"),
            },
        }
    }

    /// Its records are those that it should have.
    fn peeked(&mut self, stat: &NameserverStat) -> Result<(), &'static str> {
        self.port = Some(stat.addr.port());
        let mut seen = vec![BTreeSet::new(); self.entries.len()];
        for record in &stat.records {
            let text = record.name().to_string().to_lowercase();
            let name = (0..NAMES).find(|&name| self.name(name) == text).ok_or("it has a name that nobody set")?;
            let wire = record.to_wire();
            let address = wire.last().copied().unwrap_or(u8::MAX);
            seen.get_mut(usize::from(name)).map(|seen: &mut BTreeSet<u8>| seen.insert(address));
        }
        let same = self.entries.iter().zip(&seen).all(|(entry, seen)| entry.holds(seen));
        if same { Ok(()) } else { Err("it has other records") }
    }

    /// A program was told what it should be.
    fn told(&mut self, name: u8) -> Result<(), &'static str> {
        let text = String::from_utf8_lossy(&std::mem::take(&mut self.read)).into_owned();
        let entry = self.entries.get(usize::from(name)).cloned().unwrap_or_default();
        if text == NOBODY {
            return if self.removed { Ok(()) } else { Err("nobody answers") };
        }
        let seen: Option<BTreeSet<u8>> =
            text.lines().map(|line| line.strip_prefix("10.9.9.").and_then(|last| last.parse().ok())).collect();
        match seen {
            Some(seen) if self.removed && seen.is_empty() => Ok(()),
            Some(seen) if !self.removed && entry.holds(&seen) => Ok(()),
            _ => Err("something else is answered"),
        }
    }

    /// In the end all of it is looked at, before it is removed and afterwards.
    fn plan_end(&mut self) {
        let all = || (0..NAMES).map(Step::Query);
        self.last = all().chain([Step::Scrub]).chain(all()).chain([Step::Peek]).collect();
    }
}

impl Names {
    pub(crate) fn new(clients: Range<ClientIndex>) -> Self {
        let (kept, next, answers, stopped) = Default::default();
        Self { clients, kept, next, answers, stopped }
    }

    fn ask(&mut self, sim: &mut Sim, client: ClientIndex, step: Step) {
        let Some(server) = self.kept.get_mut(&client) else { return };
        let mut input = None;
        if let (Step::Query(name), Some(port)) = (step, server.port) {
            server.queries += 1;
            server.read.clear();
            let args = vec![port.to_string(), server.name(name)];
            let mut spec = Vec::new();
            codec::encode(&ProcSpec { path: "/bin/dig".to_owned(), args, ..ProcSpec::default() }, &mut spec);
            input = Some(spec.into());
        } else if matches!(step, Step::Query(_)) {
            return self.go_on(sim, client);
        }
        let Some(op) = server.op(step) else { return sim.fail(format!("{step:?} cannot be said")) };
        let (call, host) = (sim.call_id(), server.host);
        server.open = Some((call, step));
        sim.client(client, |client, now| client.call(now, call, host, Request { op, deadline: None, input }));
    }

    /// What is left to be done in the end.
    fn go_on(&mut self, sim: &mut Sim, client: ClientIndex) {
        let next = self.kept.get_mut(&client).filter(|server| !server.lost).and_then(|server| server.last.pop());
        next.into_iter().for_each(|step| self.ask(sim, client, step));
    }

    fn answered(&mut self, sim: &mut Sim, client: ClientIndex, call: CallId, result: &Result<Reply, Error>) {
        let Some(server) = self.kept.get_mut(&client) else { return };
        let Some((_, step)) = server.open.take_if(|(open, _)| *open == call) else { return };
        let what = result.as_ref().map_or_else(|error| format!("{:?}", error.kind), |_| "done".to_owned());
        let verb = format!("{step:?}");
        let verb = verb.split('(').next().unwrap_or_default();
        *self.answers.entry(format!("name servers: {verb} {what}")).or_default() += 1;
        match server.answered(step, result) {
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
                    && server.open.is_some_and(|(open, _)| open == call)
                {
                    server.read.extend_from_slice(&bytes);
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
            Some(server) if !server.lost && !server.removed => {
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
        // Nobody will know what came of what it asked.
        if let Some(server) = self.kept.get_mut(&client)
            && let Some((_, step)) = server.open.take()
            && let Err(words) = server.comes_of(step, Effect::Unknown)
        {
            sim.fail(words);
        }
        sim.wake_after(client, Duration::from_millis(100), ACT);
    }

    fn crashed(&mut self, sim: &mut Sim, server: ServerIndex) {
        let id = sim.server_id(server);
        self.kept.values_mut().filter(|server| server.host == id).for_each(|server| server.lost = true);
    }

    fn stop(&mut self, sim: &mut Sim) {
        self.stopped = true;
        for (&client, server) in &self.kept {
            let open = server.open.iter();
            open.for_each(|&(call, _)| sim.client(client, |client, now| client.cancel(now, call)));
        }
    }

    fn drain(&mut self, sim: &mut Sim) {
        for client in self.clients() {
            let Some(server) = self.kept.get_mut(&client).filter(|server| !server.lost && !server.removed) else {
                continue;
            };
            server.plan_end();
            if server.open.is_none() {
                self.go_on(sim, client);
            }
        }
    }

    fn balance(&self, sim: &mut Sim) {
        let left = self.kept.values().find(|server| server.open.is_some() || !server.removed && !server.lost);
        left.into_iter().for_each(|server| sim.fail(format!("it is not done with a name server: {server:?}")));
    }

    fn figures(&self) -> Vec<Figure> {
        self.answers.iter().map(|(what, count)| Figure::count(what.clone(), *count)).collect()
    }
}
