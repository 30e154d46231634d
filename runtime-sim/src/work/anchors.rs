//! Clients that contend for a few anchors: what they are told must be explained
//! by some order of their calls.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use circuit_core::{
    Error, ErrorKind, Path, ServerId,
    client::{CallId, Event, Request},
    wire::op::{Op, Reply, Stat},
};

use super::{ACT, Work, any_server};
use crate::{
    Bar, ClientIndex, Figure, ServerIndex, Sim,
    linear::{self, Act, History, Outcome},
};

/// Anchors of each server.
const ANCHORS: u64 = 3;
/// Calls of one client that are open at once.
const OPEN: usize = 3;

/// One anchor, as long as its server has its identity.
type Place = (ServerId, u64);

#[derive(Clone, Copy, Debug)]
struct Call {
    client: ClientIndex,
    place: Place,
    /// It was answered with Unknown.
    unknown: bool,
}

/// Clients that make, look at and remove channels at the same anchors.
#[derive(Debug)]
pub(crate) struct Anchors {
    clients: Range<ClientIndex>,
    open: BTreeMap<CallId, Call>,
    histories: BTreeMap<Place, History>,
    /// Every thing that is made is another.
    made: u32,
    answers: BTreeMap<String, u64>,
    stopped: bool,
}

impl Anchors {
    pub(crate) fn new(clients: Range<ClientIndex>) -> Self {
        let (open, histories, answers) = Default::default();
        Self { clients, open, histories, made: 0, answers, stopped: false }
    }

    fn ask(&mut self, sim: &mut Sim, client: ClientIndex) {
        let server = any_server(sim);
        let place = (sim.server_id(server), sim.rng().below(ANCHORS));
        let path: Path = format!("shared/{}", place.1).parse().unwrap_or_default();
        let (act, op) = match sim.rng().below(10) {
            0..4 => {
                self.made += 1;
                (Act::Make(self.made), Op::MakeChan { path, cap: self.made })
            }
            4..7 => (Act::Look, Op::Peek(path)),
            _ => (Act::Remove, Op::Scrub { path, kill: false }),
        };
        let deadline = sim.rng().chance(1, 6).then(|| Duration::from_millis(sim.rng().below(3_000)));
        let (call, now) = (sim.call_id(), sim.now());
        self.open.insert(call, Call { client, place, unknown: false });
        self.histories.entry(place).or_default().push(now, linear::Event::Asked(call, act));
        sim.client(client, |client, now| client.call(now, call, place.0, Request { op, deadline, input: None }));
    }

    fn answered(&mut self, sim: &mut Sim, id: CallId, result: Result<Reply, Error>) {
        let Some(call) = self.open.get_mut(&id) else { return };
        let outcome = match &result {
            Ok(Reply::Done) => Some(Outcome::Done),
            Ok(Reply::Stat(stat)) => match **stat {
                Stat::Chan(stat) => Some(Outcome::Holds(stat.cap)),
                _ => None,
            },
            Err(error) if error.kind == ErrorKind::AlreadyExists => Some(Outcome::Exists),
            Err(error) if error.kind == ErrorKind::NotFound && error.detail.is_empty() => Some(Outcome::Nothing),
            _ => None,
        };
        let event = match (outcome, result) {
            (Some(outcome), _) => linear::Event::Answered(id, outcome),
            (None, Err(error)) if error.kind == ErrorKind::Unknown => {
                call.unknown = true;
                *self.answers.entry("Unknown".to_owned()).or_default() += 1;
                // Half of them want to know.
                let (client, place) = (call.client, call.place);
                let asks = !self.stopped && sim.rng().chance(1, 2);
                if !asks || !sim.client(client, |client, now| client.ask_again(now, id)) {
                    self.give_up(sim, id, place);
                }
                return;
            }
            (None, Err(error)) if is_no_fault(error.kind) => linear::Event::Failed(id),
            (None, other) => return sim.fail(format!("{call:?} was answered {other:?}")),
        };
        *self.answers.entry(outcome.map_or("Failed", name).to_owned()).or_default() += 1;
        let place = call.place;
        self.open.remove(&id);
        self.histories.entry(place).or_default().push(sim.now(), event);
    }

    /// Nobody will know what came of a call.
    fn give_up(&mut self, sim: &Sim, id: CallId, place: Place) {
        self.open.remove(&id);
        self.histories.entry(place).or_default().push(sim.now(), linear::Event::GivenUp(id));
    }
}

const fn name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "Done",
        Outcome::Holds(_) => "Holds",
        Outcome::Exists => "Exists",
        Outcome::Nothing => "Nothing",
    }
}

/// Nothing came of a call that was answered so.
pub(crate) const fn is_no_fault(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Unreachable
            | ErrorKind::Disconnected
            | ErrorKind::Timeout
            | ErrorKind::Cancelled
            | ErrorKind::NotFound // the server was never seen
    )
}

impl Work for Anchors {
    fn clients(&self) -> Range<ClientIndex> {
        self.clients.clone()
    }

    fn event(&mut self, sim: &mut Sim, _: ClientIndex, event: Event) {
        if let Event::Answer { call, result } = event {
            self.answered(sim, call, result);
        }
    }

    fn wake(&mut self, sim: &mut Sim, client: ClientIndex, _: u64) {
        if self.stopped {
            return;
        }
        let next = Duration::from_millis(sim.rng().below(300));
        sim.wake_after(client, next, ACT);
        let mine = self.open.iter().filter(|(_, call)| call.client == client && !call.unknown);
        let mine: Vec<CallId> = mine.map(|(&id, _)| id).collect();
        if mine.len() < OPEN {
            self.ask(sim, client);
        } else if sim.rng().chance(1, 2) {
            let call = mine[sim.rng().below(mine.len() as u64) as usize];
            sim.client(client, |client, now| client.cancel(now, call));
        }
    }

    fn replaced(&mut self, sim: &mut Sim, client: ClientIndex) {
        let lost = self.open.iter().filter(|(_, call)| call.client == client);
        let lost: Vec<(CallId, Place)> = lost.map(|(&id, call)| (id, call.place)).collect();
        lost.into_iter().for_each(|(id, place)| self.give_up(sim, id, place));
        sim.wake_after(client, Duration::from_millis(100), ACT);
    }

    fn crashed(&mut self, sim: &mut Sim, server: ServerIndex) {
        let (id, now) = (sim.server_id(server), sim.now());
        for (_, history) in self.histories.range_mut((id, 0)..=(id, u64::MAX)) {
            history.push(now, linear::Event::Died);
        }
    }

    fn stop(&mut self, sim: &mut Sim) {
        self.stopped = true;
        for (&id, call) in &self.open {
            sim.client(call.client, |client, now| client.cancel(now, id));
        }
    }

    fn balance(&self, sim: &mut Sim) {
        if let Some((id, call)) = self.open.iter().find(|(_, call)| !call.unknown) {
            return sim.fail(format!("{id:?} was never answered: {call:?}"));
        }
        for ((server, anchor), history) in &self.histories {
            if let Some(Err(words)) = history.check() {
                return sim.fail(format!("at /{server}/shared/{anchor} {words}"));
            }
        }
    }

    fn figures(&self) -> Vec<Figure> {
        let decided = self.histories.values().filter(|history| history.check().is_some()).count();
        let all = self.histories.len();
        let share = if all == 0 { 1.0 } else { decided as f64 / all as f64 };
        let answers = self.answers.iter().map(|(what, count)| Figure::count(format!("anchors: {what}"), *count));
        let decided = Figure::new("histories of anchors that can be decided", share, Bar::MeanAtLeast(0.95));
        answers.chain([decided]).collect()
    }
}
