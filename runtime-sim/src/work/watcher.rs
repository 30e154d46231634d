//! A client that subscribes to joins, leaves or both, and reads what it is told.

use std::{collections::BTreeSet, ops::RangeInclusive};

use circuit_core::{
    Path, ServerId,
    client::{CallId, Event},
    wire::op::{Op, Reply, Source},
};

use crate::{ClientIndex, Oracle, ServerIndex, Sim, oracle::Truth};

/// So many events wait for a reader before any is missed.
const BOUND: usize = 4_096;

#[derive(Debug)]
pub(crate) struct Watcher {
    source: Source,
    host: Option<(ServerIndex, u32, ServerId)>,
    path: Path,
    /// After how many events of the host's log it was made, within bounds.
    made: RangeInclusive<u64>,
    is_made: bool,
    call: Option<CallId>,
    line: Vec<u8>,
    lines: Vec<String>,
    /// A call failed: what it has read so far must still be right.
    ended: bool,
}

impl Default for Watcher {
    fn default() -> Self {
        Self::of(Source::Both)
    }
}

impl Watcher {
    pub(crate) fn of(source: Source) -> Self {
        let (host, path, is_made, call, line, lines, ended) = Default::default();
        Self { source, host, path, made: 0..=u64::MAX, is_made, call, line, lines, ended }
    }

    pub(crate) const fn source(&self) -> Source {
        self.source
    }

    /// It hears no more: its client was killed, or does not care.
    pub(crate) const fn lost(&mut self) {
        (self.ended, self.call) = (true, None);
    }

    /// Its client does not care any more, and removes it.
    pub(crate) fn abandon(&mut self, sim: &mut Sim, client: ClientIndex) {
        let call = self.call.take();
        call.into_iter().for_each(|call| sim.client(client, |client, now| client.cancel(now, call)));
        self.ask(sim, client, Op::Scrub { path: self.path.clone(), kill: false });
        self.lost();
    }

    pub(crate) const fn has_ended(&self) -> bool {
        self.ended
    }

    pub(crate) fn heard(&self) -> u64 {
        self.lines.len() as u64
    }

    /// It is told by this server, in its present life.
    pub(crate) fn listen(&mut self, sim: &impl Truth, server: ServerIndex) {
        self.host = Some((server, sim.life(server), sim.server_id(server)));
    }

    /// It was told this.
    pub(crate) fn hear(&mut self, line: String) {
        self.lines.push(line);
    }

    pub(crate) fn start(&mut self, sim: &mut Sim, client: ClientIndex) {
        let path = format!("watch/{client}").parse().unwrap_or_default();
        self.subscribe(sim, client, client % sim.settings().servers, path);
    }

    /// Subscribes there.
    pub(crate) fn subscribe(&mut self, sim: &mut Sim, client: ClientIndex, server: ServerIndex, path: Path) {
        self.listen(sim, server);
        let since = sim.node(server).map_or(0, |node| node.membership().view().events());
        (self.made, self.path) = (since..=u64::MAX, path.clone());
        self.ask(sim, client, Op::Subscribe { path, source: self.source });
    }

    fn ask(&mut self, sim: &mut Sim, client: ClientIndex, op: Op) {
        let Some((_, _, host)) = self.host else { return };
        let call = sim.call_id();
        self.call = Some(call);
        sim.client(client, |client, now| client.call(now, call, host, op.into()));
    }

    /// Reads what comes next, unless that is under way.
    pub(crate) fn read(&mut self, sim: &mut Sim, client: ClientIndex) {
        if self.is_made && self.call.is_none() && !self.ended {
            self.ask(sim, client, Op::Recv { path: self.path.clone(), try_only: false });
        }
    }

    /// Its client hears something: whether there is more to be read.
    pub(crate) fn hears(&mut self, sim: &mut Sim, client: ClientIndex, event: Event) -> bool {
        match event {
            Event::Data { call, bytes, end, .. } if Some(call) == self.call => {
                self.line.extend_from_slice(&bytes);
                sim.client(client, |client, now| client.consumed(now, call, bytes.len(), end));
            }
            Event::Answer { call, result } if Some(call) == self.call => {
                self.call = None;
                match result {
                    Ok(Reply::Received { .. }) => {
                        let line = std::mem::take(&mut self.line);
                        self.hear(String::from_utf8_lossy(&line).into_owned());
                    }
                    Ok(_) => self.was_made(sim),
                    Err(_) => self.ended = true,
                }
                return !self.ended;
            }
            _ => {}
        }
        false
    }

    fn was_made(&mut self, sim: &Sim) {
        self.is_made = true;
        let Some((server, life, _)) = self.host else { return };
        if sim.life(server) != life {
            // By which of its lives, nobody knows.
            self.host = None;
            self.ended = true;
        } else if let Some(node) = sim.node(server) {
            self.made = *self.made.start()..=node.membership().view().events();
        }
    }

    /// There is an event of the host's log after which this was told (P4).
    pub(crate) fn compare(&self, sim: &impl Truth, oracle: &Oracle) -> Option<String> {
        let (server, life, _) = self.host?;
        let log = oracle.log(server, life)?.events();
        let complete = !self.ended && sim.life(server) == life;
        let mut present = BTreeSet::new();
        let mut best = (0, 0, String::new());
        for n in 0..=log.len() {
            if n > 0 {
                let event = log[n - 1];
                if event.joined {
                    present.insert(event.id);
                } else {
                    present.remove(&event.id);
                }
            }
            if !self.made.contains(&(n as u64)) {
                continue;
            }
            let first = if self.source == Source::Leave { 0 } else { present.len() };
            let there = present.iter().take(first).map(|&id| self.words(true, id));
            let later = log[n..].iter().filter(|event| match self.source {
                Source::Join => event.joined,
                Source::Leave => !event.joined,
                Source::Both => true,
            });
            let told: Vec<String> = there.chain(later.map(|event| self.words(event.joined, event.id))).collect();
            let (same, at) = self.follow(&told, first);
            if same == self.lines.len() && (!complete || at == told.len()) {
                return None;
            }
            if same >= best.0 {
                let words = format!("{:?} where {:?} was due", self.lines.get(same), told.get(at));
                best = (same, told.len(), words);
            }
        }
        let (same, due, words) = best;
        let (lines, ended, source) = (self.lines.len(), self.ended, self.source.word());
        Some(format!(
            "a subscriber to {source} of server {server} was told {lines} events (ended: {ended}), of {due} that were \
             due {same} the same, then {words} (P4)"
        ))
    }

    /// How many of its lines say what happened, of which `first` is who was there
    /// at first, and how much of that they say.
    fn follow(&self, told: &[String], first: usize) -> (usize, usize) {
        let mut at = 0;
        for (number, line) in self.lines.iter().enumerate() {
            let missed = line.strip_prefix("lagged ").and_then(|count| count.parse::<usize>().ok());
            let right = match missed {
                // Exactly so many, and not before as many waited as may.
                Some(count) => count > 0 && at + count <= told.len() && number >= first + BOUND,
                None => told.get(at) == Some(line),
            };
            if !right {
                return (number, at);
            }
            at += missed.unwrap_or(1);
        }
        (self.lines.len(), at)
    }

    /// An event as it is read.
    fn words(&self, joined: bool, id: ServerId) -> String {
        match (self.source, joined) {
            (Source::Both, true) => format!("join /{id}"),
            (Source::Both, false) => format!("leave /{id}"),
            _ => format!("/{id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use circuit_core::{Instant, membership};

    use super::*;
    use crate::{App, Seeds, Settings, World, faults::Fault, scenarios::Telling};

    const SERVERS: usize = 8;

    /// It does not read before it is told to.
    struct Sleeper {
        watcher: Watcher,
        oracle: Oracle,
        asleep: bool,
    }

    impl App for Sleeper {
        fn start(&mut self, sim: &mut Sim) {
            self.watcher.start(sim, 0);
        }

        fn event(&mut self, sim: &mut Sim, client: ClientIndex, event: Event) {
            if self.watcher.hears(sim, client, event) && !self.asleep {
                self.watcher.read(sim, client);
            }
        }

        fn member(&mut self, sim: &mut Sim, server: ServerIndex, life: u32, event: membership::Event) {
            self.oracle.event(sim, server, life, event);
        }
    }

    #[test]
    fn a_reader_who_sleeps_too_long_is_told_exactly_how_much_it_missed() {
        let at = |millis| Instant::ZERO + Duration::from_millis(millis);
        // Every 100 ms one of all but the first leaves, and another comes.
        let leave = |number: u64| {
            let server = 1 + number as usize % (SERVERS - 1);
            (at(5_000 + 100 * number), Fault::Leave { server, back: Duration::from_millis(200) })
        };
        let plan = (0..2_500).map(leave).collect::<crate::faults::Plan>();
        let settings = Settings {
            servers: SERVERS,
            clients: 1,
            delay: Duration::from_millis(1),
            jitter: Duration::ZERO,
            seeds: Seeds::First,
            discover: false,
            boot: Duration::from_secs(1),
            ready: at(4_000),
            drift: 0,
            telling: Telling::Nothing,
        };
        let oracle = Oracle::new(SERVERS, plan.clone(), 1);
        let app = Sleeper { watcher: Watcher::default(), oracle, asleep: true };
        let mut world = World::new(settings, 1, &plan, app);
        // It wakes while there is more to come.
        world.run_until(at(245_000));
        world.app.asleep = false;
        world.app.watcher.read(&mut world.sim, 0);
        world.run_until(at(320_000));
        assert_eq!(world.report().failure, None);
        let Sleeper { mut watcher, oracle, .. } = world.app;
        let lagged = watcher.lines.iter().position(|line| line.starts_with("lagged")).expect("too much to keep");
        assert!(lagged + 1 < watcher.lines.len(), "what comes later is told again");
        assert_eq!(watcher.compare(&world.sim, &oracle), None);
        let missed: u64 = watcher.lines[lagged]["lagged ".len()..].parse().expect("a number");
        for wrong in [missed - 1, missed + 1] {
            watcher.lines[lagged] = format!("lagged {wrong}");
            assert!(watcher.compare(&world.sim, &oracle).is_some());
        }
    }
}
