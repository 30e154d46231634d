//! Clients that subscribe to joins, to leaves or to both, and ask now and then
//! who is there.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use circuit_core::{
    Incarnation, ServerId,
    client::{CallId, Event},
    wire::op::{Op, Reply, Source},
};

use super::{ACT, Watcher, Work, any_server, is_no_fault};
use crate::{ClientIndex, Figure, Oracle, Sim, oracle::Log};

/// With this a client is woken to read on.
const READ: u64 = ACT - 1;

/// Who was there, as a client was told: so many events of an observer's log.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    observer: Incarnation,
    events: u64,
    /// Each with its start.
    members: Vec<(ServerId, u32)>,
}

/// One client.
#[derive(Debug, Default)]
struct Viewer {
    watcher: Watcher,
    /// The server that it is connected to.
    dialled: Option<ServerId>,
    asked: Option<CallId>,
    /// The last that it was told of every server: its start, and how many events.
    last: BTreeMap<ServerId, (u32, u64)>,
}

/// Clients that want to know who comes and goes.
#[derive(Debug)]
pub(crate) struct Audience {
    clients: Range<ClientIndex>,
    viewers: BTreeMap<ClientIndex, Viewer>,
    /// Watchers that were told all they ever will be.
    past: Vec<Watcher>,
    seen: Vec<Seen>,
    stopped: bool,
}

impl Audience {
    pub(crate) fn new(clients: Range<ClientIndex>) -> Self {
        let viewers = clients.clone().map(|client| (client, Viewer::default())).collect();
        Self { clients, viewers, past: Vec::new(), seen: Vec::new(), stopped: false }
    }

    /// Subscribes, at any server.
    fn subscribe(&mut self, sim: &mut Sim, client: ClientIndex) {
        let source = match (client - self.clients.start) % 3 {
            0 => Source::Both,
            1 => Source::Join,
            _ => Source::Leave,
        };
        let server = any_server(sim);
        // One that is not there might answer in its next life.
        if sim.node(server).is_none() {
            return;
        }
        let Some(viewer) = self.viewers.get_mut(&client) else { return };
        let before = std::mem::replace(&mut viewer.watcher, Watcher::of(source));
        let number = self.past.len();
        self.past.push(before);
        let path = format!("watch/{client}/{number}").parse().unwrap_or_default();
        viewer.watcher.subscribe(sim, client, server, path);
    }

    /// What was answered to who asked who is there (P2).
    fn listed(viewer: &mut Viewer, observer: Incarnation, events: u64) -> Result<(), String> {
        if viewer.dialled != Some(observer.id) {
            return Err(format!("{observer:?} answered who is there to a client of {:?}", viewer.dialled));
        }
        let now = (observer.start, events);
        match viewer.last.insert(observer.id, now) {
            Some(before) if before > now => {
                Err(format!("a client of /{} was told {before:?}, and then {now:?} (P2)", observer.id))
            }
            _ => Ok(()),
        }
    }

    /// Every answer is the fold of its observer's log up to where it says (P2).
    fn differs(seen: &Seen, log: &Log) -> Option<String> {
        let Some(events) = log.events().get(..seen.events as usize) else {
            return Some(format!("a client was told of more events than there were: {seen:?} (P2)"));
        };
        let mut present = BTreeMap::new();
        for event in events {
            if event.joined {
                present.insert(event.id, event.epoch.start);
            } else {
                present.remove(&event.id);
            }
        }
        let same = present.iter().map(|(&id, &start)| (id, start)).eq(seen.members.iter().copied());
        (!same).then(|| format!("a client was told {seen:?}, where the log says {present:?} (P2)"))
    }
}

impl Work for Audience {
    fn clients(&self) -> Range<ClientIndex> {
        self.clients.clone()
    }

    fn start(&mut self, sim: &mut Sim) {
        for client in self.clients() {
            self.subscribe(sim, client);
            sim.wake_after(client, Duration::from_millis(500), ACT);
        }
    }

    fn event(&mut self, sim: &mut Sim, client: ClientIndex, event: Event) {
        let Some(viewer) = self.viewers.get_mut(&client) else { return };
        match event {
            Event::Connected(server) => viewer.dialled = Some(server),
            Event::Answer { call, result } if Some(call) == viewer.asked => {
                viewer.asked = None;
                match result {
                    Ok(Reply::Members { observer, events, members }) => {
                        if let Err(words) = Self::listed(viewer, observer, events) {
                            return sim.fail(words);
                        }
                        let members = members.iter().map(|member| (member.id, member.start)).collect();
                        self.seen.push(Seen { observer, events, members });
                    }
                    Err(error) if is_no_fault(error.kind) => {}
                    other => sim.fail(format!("who is there was answered {other:?}")),
                }
            }
            // Some read slowly, as long as anything goes on.
            event => {
                let slow = !self.stopped && sim.rng().chance(1, 8);
                if viewer.watcher.hears(sim, client, event) {
                    let after = if slow { Duration::from_millis(sim.rng().below(8_000)) } else { Duration::ZERO };
                    sim.wake_after(client, after, READ);
                }
            }
        }
    }

    fn wake(&mut self, sim: &mut Sim, client: ClientIndex, token: u64) {
        let Some(viewer) = self.viewers.get_mut(&client) else { return };
        if token == READ {
            return viewer.watcher.read(sim, client);
        }
        if self.stopped {
            return;
        }
        let next = Duration::from_millis(sim.rng().below(1_500));
        sim.wake_after(client, next, ACT);
        if viewer.asked.is_none() {
            let call = sim.call_id();
            viewer.asked = Some(call);
            sim.client(client, |client, now| client.call(now, call, ServerId::DIAL_IN, Op::Members.into()));
        }
        let again = viewer.watcher.has_ended() || sim.rng().chance(1, 30);
        if again && sim.rng().chance(1, 4) {
            if !viewer.watcher.has_ended() {
                viewer.watcher.abandon(sim, client);
            }
            self.subscribe(sim, client);
        }
    }

    fn replaced(&mut self, sim: &mut Sim, client: ClientIndex) {
        if let Some(viewer) = self.viewers.get_mut(&client) {
            viewer.watcher.lost();
            let watcher = std::mem::take(&mut viewer.watcher);
            self.past.push(watcher);
            *viewer = Viewer::default();
            viewer.watcher.lost();
        }
        sim.wake_after(client, Duration::from_millis(100), ACT);
    }

    fn stop(&mut self, _: &mut Sim) {
        self.stopped = true;
    }

    fn balance(&self, sim: &mut Sim) {
        if self.viewers.values().any(|viewer| viewer.asked.is_some()) {
            sim.fail("somebody who asked who is there was never answered");
        }
    }

    fn compare(&self, sim: &mut Sim, oracle: &Oracle) {
        let present = self.viewers.values().map(|viewer| &viewer.watcher);
        if let Some(fault) = self.past.iter().chain(present).find_map(|watcher| watcher.compare(sim, oracle)) {
            return sim.fail(fault);
        }
        let all = (0..sim.settings().servers).flat_map(|server| (0..=sim.life(server)).map(move |life| (server, life)));
        let logs = all.filter_map(|(server, life)| {
            let log = oracle.log(server, life)?;
            // Everybody sees himself first (P3).
            let own = log.events().first()?;
            Some((Incarnation { id: own.id, start: own.epoch.start }, log))
        });
        let logs: BTreeMap<Incarnation, &Log> = logs.collect();
        let fault = self.seen.iter().find_map(|seen| match logs.get(&seen.observer) {
            Some(log) => Self::differs(seen, log),
            None => Some(format!("a client was told by somebody unknown: {seen:?} (P2)")),
        });
        fault.into_iter().for_each(|fault| sim.fail(fault));
    }

    fn figures(&self) -> Vec<Figure> {
        let watchers = self.viewers.values().map(|viewer| &viewer.watcher).chain(&self.past);
        let (mut heard, mut count) = ([0; 3], 0);
        for watcher in watchers {
            count += 1;
            heard[watcher.source() as usize] += watcher.heard();
        }
        let [joins, leaves, both] = heard;
        vec![
            Figure::count("subscriptions", count),
            Figure::count("events that subscribers to joins received", joins),
            Figure::count("events that subscribers to leaves received", leaves),
            Figure::count("events that subscribers to both received", both),
            Figure::count("answers to who is there", self.seen.len() as u64),
        ]
    }
}
