//! Clients that select among channels of several servers, with plain senders
//! and receivers among them.
//!
//! Every message says for which channel it was meant, and which clause that was
//! for. Nothing may come out of another channel, twice, or from a sender who was
//! told that it failed; and what was accepted or delivered must have come out.

mod judge;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    time::Duration,
};

use bytes::Bytes;
use circuit_core::{
    AnchorPath, Error, ErrorKind, Instant, Path, ServerId,
    client::{CallId, Event, Request},
    codec,
    wire::op::{Choice, Clause, Op, Reply, SelectSpec},
};

use super::{ACT, Work, any_server, outcome};
use crate::{ClientIndex, Figure, ServerIndex, Sim};

/// Channels of each server.
const CHANNELS: u64 = 2;
/// With this a client is woken to take out what is left.
const DRAIN: u64 = ACT - 1;
/// What one client has under way.
const OPEN: usize = 4;

/// A channel, as long as its server has its identity.
type Place = (ServerId, u64);

#[derive(Debug)]
enum Doing {
    Make(Place),
    Send(u32),
    Recv {
        from: Place,
        got: Vec<u8>,
        ended: bool,
        draining: bool,
    },
    /// A select is made, waited for, or removed.
    Select(u64, Step),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Make,
    Wait,
    Scrub,
}

#[derive(Debug)]
struct Selected {
    client: ClientIndex,
    server: ServerIndex,
    host: ServerId,
    path: Path,
    /// Which way each clause goes, and where; none is a time or the default.
    clauses: Vec<(bool, Option<Place>)>,
    /// Before this its time has not come, if one of its clauses is a time.
    not_before: Option<Instant>,
}

#[derive(Clone, Debug, Default)]
struct Message {
    to: Option<Place>,
    sent: Option<Result<Reply, ErrorKind>>,
    taken: u32,
    perhaps: u32,
}

/// Clients that select.
#[derive(Debug)]
pub(crate) struct Selects {
    clients: Range<ClientIndex>,
    open: BTreeMap<CallId, (ClientIndex, Doing)>,
    selects: BTreeMap<u64, Selected>,
    messages: Vec<Message>,
    /// Servers that died, and all that they held with them.
    died: Vec<ServerId>,
    answers: BTreeMap<String, u64>,
    next: u64,
    /// Channels that are there, and nobody missed, and how many selects had been made
    /// before they were.
    there: BTreeMap<Place, u64>,
    /// Nearly all meet at the same two channels.
    crowded: bool,
    resting: bool,
    stopped: bool,
}

impl Selects {
    /// These clients; if they are `crowded` nearly all meet at the same two channels.
    pub(crate) fn new(clients: Range<ClientIndex>, crowded: bool) -> Self {
        let (open, selects, messages, died, answers) = Default::default();
        Self {
            clients,
            open,
            selects,
            messages,
            died,
            answers,
            next: 0,
            there: BTreeMap::new(),
            crowded,
            resting: false,
            stopped: false,
        }
    }

    fn ask(&mut self, sim: &mut Sim, client: ClientIndex, host: ServerId, op: Op, input: Option<Bytes>, doing: Doing) {
        let call = sim.call_id();
        self.open.insert(call, (client, doing));
        let request = Request { op, deadline: None, input };
        sim.client(client, |client, now| client.call(now, call, host, request));
    }

    /// Somewhere, and at one channel more often than at others, or at one of two nearly
    /// always: where many meet some are in each other's way.
    fn any_place(&self, sim: &mut Sim) -> Place {
        if sim.rng().chance(1, 4) {
            return (sim.server_id(0), 0);
        }
        if self.crowded && sim.rng().chance(7, 8) {
            return (sim.server_id(1), 0);
        }
        let server = any_server(sim);
        (sim.server_id(server), sim.rng().below(CHANNELS))
    }

    /// A message for a channel: what it holds.
    fn message(&mut self, to: Place) -> (u32, Bytes) {
        let number = self.messages.len() as u32;
        self.messages.push(Message { to: Some(to), ..Message::default() });
        (number, number.to_le_bytes().to_vec().into())
    }

    fn send(&mut self, sim: &mut Sim, client: ClientIndex, to: Place, at: (ServerId, Path)) {
        let (number, text) = self.message(to);
        let (host, path) = at;
        self.ask(sim, client, host, Op::Send { path, try_only: false }, Some(text), Doing::Send(number));
    }

    fn recv(&mut self, sim: &mut Sim, client: ClientIndex, from: Place, at: (ServerId, Path), draining: bool) {
        let (host, path) = at;
        let doing = Doing::Recv { from, got: Vec::new(), ended: false, draining };
        self.ask(sim, client, host, Op::Recv { path, try_only: draining }, None, doing);
    }

    fn make_channel(&mut self, sim: &mut Sim, client: ClientIndex, (host, channel): Place) {
        let cap = [0, 0, 1, 3][sim.rng().below(4) as usize];
        self.ask(sim, client, host, Op::MakeChan { path: path_of(channel), cap }, None, Doing::Make((host, channel)));
    }

    fn make_select(&mut self, sim: &mut Sim, client: ClientIndex) {
        self.next += 1;
        let (number, server) = (self.next, any_server(sim));
        let mut selected = Selected {
            client,
            server,
            host: sim.server_id(server),
            path: format!("select/{number}").parse().unwrap_or_default(),
            clauses: Vec::new(),
            not_before: None,
        };
        let mut clauses = Vec::new();
        for _ in 0..1 + sim.rng().below(3) {
            let place = self.any_place(sim);
            let anchor = AnchorPath { server: place.0, path: path_of(place.1) };
            let sends = sim.rng().chance(1, 2);
            selected.clauses.push((sends, Some(place)));
            clauses.push(if sends { Choice::Send(anchor) } else { Choice::Recv(anchor) });
        }
        match sim.rng().below(6) {
            0 => clauses.push(Choice::Default),
            1 => {
                let after = sim.rng().below(4_000_000);
                clauses.push(Choice::After(after));
                // Clocks drift; some jump.
                selected.not_before = Some(sim.now() + Duration::from_micros(after - after / 1_000));
            }
            _ => {}
        }
        let apart: BTreeSet<ServerId> =
            selected.clauses.iter().flat_map(|(_, place)| place).map(|place| place.0).collect();
        if apart.len() > 2 {
            *self.answers.entry("selects: over three servers".to_owned()).or_default() += 1;
        }
        selected.clauses.resize(clauses.len(), (false, None));
        let clauses = clauses.into_iter().map(|choice| Clause { name: String::new(), choice }).collect();
        let mut spec = Vec::new();
        codec::encode(&SelectSpec { clauses }, &mut spec);
        let (host, op) = (selected.host, Op::MakeSelect(selected.path.clone()));
        self.selects.insert(number, selected);
        self.ask(sim, client, host, op, Some(spec.into()), Doing::Select(number, Step::Make));
    }

    fn step(&mut self, sim: &mut Sim, number: u64, step: Step) {
        let Some(Selected { client, host, path, .. }) = self.selects.get(&number) else { return };
        let (client, host, path) = (*client, *host, path.clone());
        let op = if step == Step::Wait { Op::Wait(path) } else { Op::Scrub { path, kill: false } };
        self.ask(sim, client, host, op, None, Doing::Select(number, step));
    }

    fn select_answered(&mut self, sim: &mut Sim, number: u64, step: Step, result: &Result<Reply, Error>) {
        match (step, result) {
            (Step::Make, Ok(Reply::Done)) if !self.stopped => self.step(sim, number, Step::Wait),
            (Step::Wait, Ok(Reply::Chosen(chosen))) => {
                let Some(selected) = self.selects.get(&number) else { return };
                let Some(&(sends, place)) = selected.clauses.get(chosen.clause as usize) else {
                    return sim.fail(format!("a clause that is none: {chosen:?} of {selected:?}"));
                };
                let (client, at) = (selected.client, (selected.host, selected.path.clone()));
                let early = |at| sim.now() < at && !sim.has_jumped(selected.server);
                if place.is_none() && selected.not_before.is_some_and(early) {
                    return sim.fail(format!("a select's time came too early: {selected:?}"));
                }
                match place {
                    Some(place) if sends => self.send(sim, client, place, at),
                    Some(place) => self.recv(sim, client, place, at, false),
                    None => self.step(sim, number, Step::Scrub),
                }
            }
            // Whether it is gone is looked at in the end, for all.
            (Step::Scrub, _) => {}
            // Half made, or forgotten: it is removed, if it is there.
            (_, Err(_)) => self.step(sim, number, Step::Scrub),
            (Step::Make, Ok(Reply::Done)) => self.step(sim, number, Step::Scrub),
            (_, Ok(other)) => sim.fail(format!("{step:?} of a select was answered {other:?}")),
        }
    }

    fn answered(&mut self, sim: &mut Sim, call: CallId, result: &Result<Reply, Error>) {
        let Some((client, doing)) = self.open.remove(&call) else { return };
        let what = match &doing {
            Doing::Make(_) => "make".to_owned(),
            Doing::Send(_) => "send".to_owned(),
            Doing::Recv { .. } => "recv".to_owned(),
            Doing::Select(_, step) => format!("select {step:?}"),
        };
        *self.answers.entry(format!("selects: {what} {}", outcome(result))).or_default() += 1;
        match doing {
            Doing::Make(place) => {
                if result.is_ok() {
                    self.there.insert(place, self.next);
                }
            }
            Doing::Send(number) => {
                if let Some(message) = self.messages.get_mut(number as usize) {
                    message.sent = Some(result.clone().map_err(|error| error.kind));
                }
            }
            Doing::Recv { from, got, ended, draining } => {
                if result.is_ok() && !ended {
                    return sim.fail(format!("{call:?} was answered {result:?} before its message had ended"));
                }
                if ended {
                    self.received(sim, from, &got, Some(result));
                }
                if draining && result.is_ok() {
                    self.recv(sim, client, from, (from.0, path_of(from.1)), true);
                }
            }
            Doing::Select(number, step) => self.select_answered(sim, number, step, result),
        }
    }
}

fn path_of(channel: u64) -> Path {
    format!("s/{channel}").parse().unwrap_or_default()
}

impl Work for Selects {
    fn clients(&self) -> Range<ClientIndex> {
        self.clients.clone()
    }

    fn start(&mut self, sim: &mut Sim) {
        for server in 0..sim.settings().servers {
            for channel in 0..CHANNELS {
                let place = (sim.server_id(server), channel);
                self.make_channel(sim, self.clients.start, place);
            }
        }
        for client in self.clients() {
            sim.wake_after(client, Duration::from_millis(500), ACT);
        }
    }

    fn event(&mut self, sim: &mut Sim, client: ClientIndex, event: Event) {
        match event {
            Event::Data { call, bytes, end, .. } => {
                if let Some((_, Doing::Recv { got, ended, .. })) = self.open.get_mut(&call) {
                    got.extend_from_slice(&bytes);
                    *ended |= end;
                    // Some think before they acknowledge.
                    let thinks = end && sim.rng().chance(1, 4);
                    sim.client(client, |client, now| client.consumed(now, call, bytes.len(), end && !thinks));
                    if thinks {
                        let thought = Duration::from_millis(sim.rng().below(3_000));
                        sim.wake_after(client, thought, call.0);
                    }
                }
            }
            Event::Answer { call, result } => self.answered(sim, call, &result),
            _ => {}
        }
    }

    fn wake(&mut self, sim: &mut Sim, client: ClientIndex, token: u64) {
        if token == DRAIN {
            return self.empty(sim);
        }
        if token != ACT {
            return sim.client(client, |client, now| client.consumed(now, CallId(token), 0, true));
        }
        if self.resting || self.stopped {
            return;
        }
        let next = Duration::from_millis(sim.rng().below(300));
        sim.wake_after(client, next, ACT);
        let mine: Vec<CallId> = self.open.iter().filter(|(_, (of, _))| *of == client).map(|(&call, _)| call).collect();
        let place = self.any_place(sim);
        let at = (place.0, path_of(place.1));
        match sim.rng().below(12) {
            _ if mine.len() >= OPEN => {
                let call = mine[sim.rng().below(mine.len() as u64) as usize];
                let is_select = matches!(self.open.get(&call), Some((_, Doing::Select(..))));
                // Where many meet who choose, one who waits for ever is to be seen.
                if sim.rng().chance(1, 6) && !(self.crowded && is_select) {
                    sim.client(client, |client, now| client.cancel(now, call));
                }
            }
            0 => self.make_channel(sim, client, place),
            1..3 => self.send(sim, client, place, at),
            3..5 => self.recv(sim, client, place, at, false),
            _ => self.make_select(sim, client),
        }
    }

    fn replaced(&mut self, sim: &mut Sim, client: ClientIndex) {
        let (mine, others): (BTreeMap<_, _>, _) =
            std::mem::take(&mut self.open).into_iter().partition(|(_, (of, _))| *of == client);
        self.open = others;
        for (_, doing) in mine.into_values() {
            if let Doing::Recv { from, got, ended: true, .. } = doing {
                self.received(sim, from, &got, None);
            }
        }
        // Its selects are still there, and nobody will remove them but this.
        let left: Vec<u64> = self.selects.iter().filter(|(_, of)| of.client == client).map(|(&id, _)| id).collect();
        for number in left {
            self.step(sim, number, Step::Scrub);
        }
        sim.wake_after(client, Duration::from_millis(100), ACT);
    }

    fn crashed(&mut self, sim: &mut Sim, server: ServerIndex) {
        let id = sim.server_id(server);
        self.died.push(id);
        self.gone(id);
    }

    fn gone(&mut self, id: ServerId) {
        self.there.retain(|(at, _), _| *at != id);
    }

    fn rest(&mut self, _: &mut Sim) {
        self.resting = true;
    }

    /// They may have chosen, and keep another waiting.
    fn tidy(&mut self, sim: &mut Sim) {
        let waits = |doing: &Doing| match doing {
            Doing::Select(number, Step::Wait) => Some(*number),
            _ => None,
        };
        let awaited: BTreeSet<u64> = self.open.values().filter_map(|(_, doing)| waits(doing)).collect();
        self.remove(sim, |number| !awaited.contains(&number));
    }

    fn matched(&self, sim: &mut Sim) {
        self.judge_waiting(sim);
    }

    fn stop(&mut self, sim: &mut Sim) {
        self.stopped = true;
        for (&call, (client, _)) in &self.open {
            sim.client(*client, |client, now| client.cancel(now, call));
        }
        self.remove(sim, |_| true);
    }

    fn drain(&mut self, sim: &mut Sim) {
        self.remove(sim, |_| true);
        // What they held is back in its channel soon.
        sim.wake_after(self.clients.start, Duration::from_secs(10), DRAIN);
    }

    fn balance(&self, sim: &mut Sim) {
        self.check(sim);
    }

    fn figures(&self) -> Vec<Figure> {
        self.answers.iter().map(|(what, count)| Figure::count(what.clone(), *count)).collect()
    }
}

impl Selects {
    /// Removes these of the selects that may still be there: of some nobody knows.
    fn remove(&mut self, sim: &mut Sim, which: impl Fn(u64) -> bool) {
        for number in self.selects.keys().copied().filter(|number| which(*number)).collect::<Vec<_>>() {
            self.step(sim, number, Step::Scrub);
        }
    }

    /// Takes out what is left in the channels.
    fn empty(&mut self, sim: &mut Sim) {
        for server in 0..sim.settings().servers {
            for channel in 0..CHANNELS {
                let place = (sim.server_id(server), channel);
                self.recv(sim, self.clients.start, place, (place.0, path_of(channel)), true);
            }
        }
    }
}
