//! A client that subscribes to joins and leaves, and reads all it is told.

use std::collections::BTreeSet;

use circuit_core::{
    Path, ServerId,
    client::{CallId, Event},
    wire::op::{Op, Reply, Source},
};

use crate::{ClientIndex, Oracle, ServerIndex, Sim, oracle::Truth};

#[derive(Debug, Default)]
pub(crate) struct Watcher {
    host: Option<(ServerIndex, u32, ServerId)>,
    call: Option<CallId>,
    line: Vec<u8>,
    lines: Vec<String>,
    /// A call failed: what it has read so far must still be right.
    ended: bool,
}

impl Watcher {
    /// Its client was killed: it hears no more.
    pub(crate) const fn lost(&mut self) {
        (self.ended, self.call) = (true, None);
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
        let server = client % sim.settings().servers;
        self.listen(sim, server);
        self.ask(sim, client, Op::Subscribe { path: path(client), source: Source::Both });
    }

    fn ask(&mut self, sim: &mut Sim, client: ClientIndex, op: Op) {
        let Some((_, _, host)) = self.host else { return };
        let call = sim.call_id();
        self.call = Some(call);
        sim.client(client, |client, now| client.call(now, call, host, op.into()));
    }

    pub(crate) fn event(&mut self, sim: &mut Sim, client: ClientIndex, event: Event) {
        match event {
            Event::Data { call, bytes, end, .. } if Some(call) == self.call => {
                self.line.extend_from_slice(&bytes);
                sim.client(client, |client, now| client.consumed(now, call, bytes.len(), end));
            }
            Event::Answer { call, result } if Some(call) == self.call => match result {
                Ok(reply) => {
                    if let Reply::Received { .. } = reply {
                        let line = std::mem::take(&mut self.line);
                        self.hear(String::from_utf8_lossy(&line).into_owned());
                    }
                    self.ask(sim, client, Op::Recv { path: path(client), try_only: false });
                }
                Err(_) => self.ended = true,
            },
            _ => {}
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
            let first = present.iter().map(|id: &ServerId| format!("join /{id}"));
            let later = log[n..].iter().map(|event| {
                let verb = if event.joined { "join" } else { "leave" };
                format!("{verb} /{}", event.id)
            });
            let told: Vec<String> = first.chain(later).collect();
            if told.starts_with(&self.lines) && (!complete || told.len() == self.lines.len()) {
                return None;
            }
            let same = told.iter().zip(&self.lines).take_while(|(told, line)| told == line).count();
            if same >= best.0 {
                let words = format!("{:?} where {:?} was due", self.lines.get(same), told.get(same));
                best = (same, told.len(), words);
            }
        }
        let (same, due, words) = best;
        let (lines, ended) = (self.lines.len(), self.ended);
        Some(format!(
            "a subscriber of server {server} was told {lines} events (ended: {ended}), of {due} that were due {same} \
             the same, then {words} (P4)"
        ))
    }
}

fn path(client: ClientIndex) -> Path {
    format!("watch/{client}").parse().unwrap_or_default()
}
