//! Processes and containers that are scripts: what a machine would do, without one.
//!
//! - `/bin/cat` writes what it reads, and ends with 0 at the end of that;
//! - `/bin/yes COUNT CODE` writes [`pattern`] for so many bytes, and ends with
//!   that code;
//! - `/bin/sleep MILLISECONDS` ends with 0 after so long;
//! - `/bin/dig PORT NAME` asks the name server at that port of the machine, and
//!   writes the addresses of the name, a line each, or that nobody answers;
//! - nothing else can be started ([`NO_SUCH_FILE`]), and nothing whose output is
//!   to be on disk: there is none.
//!
//! Signals 9 and 15 end them, 19 stops them and 18 lets them go on: a process
//! that is stopped reads and writes nothing. An engine has any image, says so, and
//! tells of an end by a signal as of a status.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use circuit_core::{
    Error, ErrorKind, Instant,
    dns::{Name, Over, Zone},
    effect::{Effect, EffectEvent, Names, NamesEvent, ProcessEvent},
    elements::ElementId,
    wire::op::{How, OutputSpec, Stdio},
};

/// `ENOENT`.
pub const NO_SUCH_FILE: i32 = 2;
/// `EADDRINUSE`.
pub const IN_USE: i32 = 98;
/// `EAGAIN`: there are too many processes.
pub const TOO_MANY: i32 = 11;
/// What a pipe holds.
const PIPE: usize = 64 * 1024;
/// What is read from one at once.
const PIECE: usize = 8 * 1024;

/// What `/bin/yes` writes: so many bytes from some place on.
pub fn pattern(from: u64, count: usize) -> Bytes {
    (from..from + count as u64).map(|place| (place * 31 + place / 257) as u8).collect()
}

/// The first port that a machine gives of itself.
const FIRST_PORT: u16 = 40_000;

/// The processes of one machine, and the sockets of its name servers.
#[derive(Debug, Default)]
pub struct Scripts {
    running: BTreeMap<ElementId, Script>,
    served: BTreeMap<ElementId, (SocketAddr, Arc<Zone>)>,
    /// No process can be started, and no socket had.
    pub full: bool,
}

#[derive(Debug)]
struct Script {
    kind: Kind,
    /// What it has read and not written, or has still to write.
    pending: Vec<u8>,
    /// What it has been written and not read.
    input: Vec<u8>,
    input_ends: bool,
    /// Up to where its output may be read, and was.
    until: u64,
    read: u64,
    stopped: bool,
    released: bool,
    contained: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Cat,
    Yes {
        left: u64,
        written: u64,
        code: i32,
    },
    Sleep {
        until: Instant,
    },
    /// All that it writes is known.
    Dig,
}

/// What `/bin/dig` writes where there is no name server.
pub const NOBODY: &str = "nobody\n";

impl Scripts {
    /// Does what a node wants: what comes of it, in order.
    pub fn perform(&mut self, now: Instant, effect: Effect) -> Vec<EffectEvent> {
        let mut out = Vec::new();
        let id = effect.id();
        if let Effect::Names { what, .. } = effect {
            return self.serve(id, what).map(|event| EffectEvent::Names { id, event }).into_iter().collect();
        }
        let mut said = |event| out.push(EffectEvent::Process { id, event });
        match effect {
            Effect::Spawn { spec, .. } if spec.output == OutputSpec::File => {
                let error = Error::new(ErrorKind::Forbidden, "this machine has no disk for output");
                said(ProcessEvent::Refused { error });
            }
            Effect::Spawn { spec, .. } => said(match self.begin(now, id, &spec.path, &spec.args, false) {
                Ok(pid) => ProcessEvent::Started { pid },
                Err(errno) => ProcessEvent::Failed { errno },
            }),
            Effect::Run { spec, .. } => {
                said(ProcessEvent::Progress { text: format!("{} is here", spec.image) });
                said(match self.begin(now, id, &spec.path, &spec.args, true) {
                    Ok(pid) => ProcessEvent::Started { pid },
                    Err(errno) => {
                        let error = Error::new(ErrorKind::SpawnFailed(errno), spec.path);
                        ProcessEvent::Refused { error }
                    }
                });
            }
            Effect::Inspect { .. } => {
                let here = self.running.contains_key(&id);
                said(ProcessEvent::Inspected { result: Ok(format!("{{\"Running\":{here}}}")) });
            }
            // There is nobody who would outlive the server.
            Effect::Keep { .. } => {
                let error = Error::new(ErrorKind::Forbidden, "this machine keeps no processes");
                said(ProcessEvent::Refused { error });
            }
            // They die at once.
            Effect::Kill { .. } => {
                self.running.remove(&id);
                said(ProcessEvent::Killed { result: Ok(()) });
            }
            effect => {
                if let Some(script) = self.running.get_mut(&id) {
                    let mut events = Vec::new();
                    let killed = script.obey(effect, &mut events);
                    self.go_on(now, id, killed, &mut events);
                    events.into_iter().for_each(said);
                }
            }
        }
        out
    }

    /// Starts a script: its number, or why not.
    fn begin(&mut self, now: Instant, id: ElementId, path: &str, args: &[String], contained: bool) -> Result<u32, i32> {
        if self.full {
            return Err(TOO_MANY);
        }
        let kind = kind_of(path, args, now).ok_or(NO_SUCH_FILE)?;
        let mut script = Script::new(kind, contained);
        if kind == Kind::Dig {
            script.pending.extend(self.dig(args).unwrap_or_else(|| NOBODY.to_owned()).into_bytes());
        }
        self.running.insert(id, script);
        Ok(id.0 as u32)
    }

    /// Does what a node wants of the sockets of a name server.
    fn serve(&mut self, id: ElementId, what: Names) -> Option<NamesEvent> {
        match what {
            Names::Serve(_) if self.full => Some(NamesEvent::Failed { errno: TOO_MANY }),
            Names::Serve(mut addr) => {
                let taken = |addr: SocketAddr| self.served.values().any(|(other, _)| *other == addr);
                if addr.port() == 0 {
                    let of_port = |port| SocketAddr::new(addr.ip(), port);
                    addr = (FIRST_PORT..).map(of_port).find(|addr| !taken(*addr)).unwrap_or(addr);
                } else if taken(addr) {
                    return Some(NamesEvent::Failed { errno: IN_USE });
                }
                self.served.insert(id, (addr, Arc::default()));
                Some(NamesEvent::Serving(addr))
            }
            Names::Answer(zone) => {
                if let Some(served) = self.served.get_mut(&id) {
                    served.1 = zone;
                }
                None
            }
            Names::Close => {
                self.served.remove(&id);
                None
            }
        }
    }

    /// For which elements there is anything: a process that somebody watches, or
    /// the sockets of a name server.
    pub fn needed(&self) -> impl Iterator<Item = ElementId> {
        let watched = self.running.iter().filter(|(_, script)| !script.released);
        watched.map(|(&id, _)| id).chain(self.served.keys().copied())
    }

    /// The name servers that are served, and their records.
    pub fn served(&self) -> impl Iterator<Item = (SocketAddr, &Zone)> {
        self.served.values().map(|(addr, zone)| (*addr, &**zone))
    }

    /// What the name server at a port says of a name, if there is one.
    fn dig(&self, args: &[String]) -> Option<String> {
        let port: u16 = args.first()?.parse().ok()?;
        let name: Name = args.get(1)?.parse().ok()?;
        let (_, zone) = self.served().find(|(addr, _)| addr.port() == port)?;
        // One question, of class IN, for addresses.
        let question = [name.as_wire(), &[0, 1, 0, 1]].concat();
        let query = [&[0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], &question].concat();
        let mut reply = Vec::new();
        if !zone.reply(&query, Over::Udp, &mut reply) {
            return None;
        }
        let count = u16::from_be_bytes(*reply.get(6..)?.first_chunk()?);
        let mut rest = reply.get(query.len()..)?;
        let mut lines = String::new();
        for _ in 0..count {
            // A name ends with an empty label, or with a reference.
            while let Some(&length) = rest.first().filter(|length| (1..64).contains(*length)) {
                rest = rest.get(1 + usize::from(length)..)?;
            }
            rest = rest.get(if *rest.first()? == 0 { 1 } else { 2 }..)?;
            let (fixed, after) = rest.split_first_chunk::<10>()?;
            let data = after.get(..usize::from(u16::from_be_bytes([fixed[8], fixed[9]])))?;
            rest = &after[data.len()..];
            let addr = std::net::Ipv4Addr::from(*data.first_chunk()?);
            lines += &format!("{addr}\n");
        }
        Some(lines)
    }

    /// When something is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = self.running.values().filter(|script| !script.stopped).filter_map(|script| match script.kind {
            Kind::Sleep { until } => Some(until),
            _ => None,
        });
        due.min()
    }

    /// It is `now`.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<EffectEvent> {
        let mut events = Vec::new();
        for id in self.running.keys().copied().collect::<Vec<_>>() {
            let mut out = Vec::new();
            self.go_on(now, id, None, &mut out);
            events.extend(out.into_iter().map(|event| EffectEvent::Process { id, event }));
        }
        events
    }

    /// The server is gone, and all processes with it.
    pub fn end_all(&mut self) {
        self.running.clear();
        self.served.clear();
    }

    /// A process reads and writes what it can, and ends when it is done, or was
    /// `killed` by a signal.
    fn go_on(&mut self, now: Instant, id: ElementId, killed: Option<i32>, out: &mut Vec<ProcessEvent>) {
        let Some(script) = self.running.get_mut(&id) else {
            return;
        };
        script.work(out);
        let how = match killed {
            Some(number) if script.contained => Some(How::Code(128 + number)),
            Some(number) => Some(How::Signal { number, core: false }),
            None => script.is_done(now).then(|| How::Code(script.code())),
        };
        let released = script.released;
        if let Some(how) = how {
            self.running.remove(&id);
            out.extend([Stdio::Out, Stdio::Err].map(|of| ProcessEvent::OutputEnd { of }));
            out.extend([ProcessEvent::InputClosed, ProcessEvent::Exited { how }]);
        }
        if released {
            out.clear();
        }
    }
}

impl Script {
    fn new(kind: Kind, contained: bool) -> Self {
        let (pending, input, input_ends, until, read, stopped, released) = Default::default();
        Self { kind, pending, input, input_ends, until, read, stopped, released, contained }
    }

    /// Takes an effect: by which signal the process ended, if it did.
    fn obey(&mut self, effect: Effect, out: &mut Vec<ProcessEvent>) -> Option<i32> {
        match effect {
            Effect::Write { bytes, .. } => self.input.extend_from_slice(&bytes),
            Effect::CloseInput { .. } => self.input_ends = true,
            Effect::Read { of: Stdio::Out, until, .. } => self.until = self.until.max(until),
            Effect::Signal { signal: number @ (9 | 15), .. } => return Some(number),
            Effect::Signal { signal: 19, .. } => {
                self.stopped = true;
                out.push(ProcessEvent::Stopped);
            }
            Effect::Signal { signal: 18, .. } => {
                self.stopped = false;
                out.push(ProcessEvent::Continued);
            }
            Effect::Release { .. } => (self.released, self.until) = (true, u64::MAX),
            Effect::Spawn { .. }
            | Effect::Keep { .. }
            | Effect::Adopt { .. }
            | Effect::Run { .. }
            | Effect::Inspect { .. }
            | Effect::Kill { .. }
            | Effect::Names { .. }
            | Effect::Fetch { .. }
            | Effect::Forget { .. }
            | Effect::Signal { .. }
            | Effect::Read { of: Stdio::Err, .. } => {}
        }
        None
    }

    /// Reads and writes until it would have to wait.
    fn work(&mut self, out: &mut Vec<ProcessEvent>) {
        while !self.stopped {
            self.fill(out);
            let room = usize::try_from(self.until.saturating_sub(self.read)).unwrap_or(usize::MAX);
            let count = self.pending.len().min(PIECE).min(room);
            if count == 0 {
                return;
            }
            let bytes: Bytes = self.pending.drain(..count).collect();
            self.read += count as u64;
            out.push(ProcessEvent::Output { of: Stdio::Out, bytes });
        }
    }

    /// Puts into its pipe what that holds.
    fn fill(&mut self, out: &mut Vec<ProcessEvent>) {
        let room = PIPE.saturating_sub(self.pending.len());
        match &mut self.kind {
            Kind::Cat => {
                let count = self.input.len().min(room);
                self.pending.extend(self.input.drain(..count));
                if count > 0 {
                    out.push(ProcessEvent::Wrote { count: count as u64 });
                }
            }
            Kind::Yes { left, written, .. } => {
                let count = (*left).min(room as u64);
                self.pending.extend_from_slice(&pattern(*written, count as usize));
                (*left, *written) = (*left - count, *written + count);
            }
            Kind::Sleep { .. } | Kind::Dig => {}
        }
    }

    /// Whether it has nothing more to do; what is still in its pipe is read.
    fn is_done(&self, now: Instant) -> bool {
        let done = match self.kind {
            Kind::Cat => self.input_ends && self.input.is_empty(),
            Kind::Yes { left, .. } => left == 0,
            Kind::Sleep { until } => until <= now,
            Kind::Dig => true,
        };
        done && self.pending.is_empty() && !self.stopped
    }

    const fn code(&self) -> i32 {
        match self.kind {
            Kind::Yes { code, .. } => code,
            Kind::Cat | Kind::Sleep { .. } | Kind::Dig => 0,
        }
    }
}

fn kind_of(path: &str, args: &[String], now: Instant) -> Option<Kind> {
    let number = |index: usize| args.get(index).and_then(|arg| arg.parse::<u64>().ok()).unwrap_or(0);
    match path {
        "/bin/cat" => Some(Kind::Cat),
        "/bin/yes" => Some(Kind::Yes { left: number(0), written: 0, code: number(1) as i32 }),
        "/bin/sleep" => Some(Kind::Sleep { until: now + Duration::from_millis(number(0)) }),
        "/bin/dig" => Some(Kind::Dig),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use circuit_core::wire::op::{ContainerSpec, ProcSpec};

    use super::*;

    const ID: ElementId = ElementId(1);

    fn started(path: &str, args: &[&str]) -> Scripts {
        let mut scripts = Scripts::default();
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        let spec = Box::new(ProcSpec { path: path.to_owned(), args, ..ProcSpec::default() });
        let events = scripts.perform(Instant::ZERO, Effect::Spawn { id: ID, spec });
        assert!(matches!(events[..], [EffectEvent::Process { event: ProcessEvent::Started { .. }, .. }]));
        scripts
    }

    fn events(events: Vec<EffectEvent>) -> (Vec<u8>, Vec<ProcessEvent>) {
        let (mut text, mut rest) = (Vec::new(), Vec::new());
        for event in events {
            let EffectEvent::Process { event, .. } = event else { continue };
            match event {
                ProcessEvent::Output { bytes, .. } => text.extend_from_slice(&bytes),
                other => rest.push(other),
            }
        }
        (text, rest)
    }

    #[test]
    fn cat_writes_what_it_reads_as_far_as_it_may() {
        let mut cat = started("/bin/cat", &[]);
        let bytes = Bytes::from_static(b"hello");
        let (text, rest) = events(cat.perform(Instant::ZERO, Effect::Write { id: ID, bytes }));
        assert_eq!((text, rest), (vec![], vec![ProcessEvent::Wrote { count: 5 }]));
        let (text, _) = events(cat.perform(Instant::ZERO, Effect::Read { id: ID, of: Stdio::Out, until: 3 }));
        assert_eq!(text, b"hel");
        assert_eq!(events(cat.perform(Instant::ZERO, Effect::CloseInput { id: ID })), (vec![], vec![]));
        let (text, rest) = events(cat.perform(Instant::ZERO, Effect::Read { id: ID, of: Stdio::Out, until: 99 }));
        assert_eq!((text.as_slice(), rest.last()), (&b"lo"[..], Some(&ProcessEvent::Exited { how: How::Code(0) })));
    }

    #[test]
    fn yes_writes_all_of_its_pattern_and_ends_as_it_was_told() {
        let mut yes = started("/bin/yes", &["200000", "7"]);
        let (text, rest) = events(yes.perform(Instant::ZERO, Effect::Read { id: ID, of: Stdio::Out, until: 300_000 }));
        assert_eq!(text, pattern(0, 200_000));
        assert_eq!(rest.last(), Some(&ProcessEvent::Exited { how: How::Code(7) }));
    }

    #[test]
    fn sleep_ends_in_time_or_by_a_signal() {
        let mut sleep = started("/bin/sleep", &["5"]);
        let due = Instant::ZERO + Duration::from_millis(5);
        assert_eq!(sleep.poll_timeout(), Some(due));
        assert_eq!(sleep.handle_timeout(Instant::ZERO), []);
        sleep.perform(Instant::ZERO, Effect::Signal { id: ID, signal: 19 });
        assert_eq!((sleep.poll_timeout(), sleep.handle_timeout(due)), (None, vec![]));
        let (_, rest) = events(sleep.perform(due, Effect::Signal { id: ID, signal: 15 }));
        assert_eq!(rest.last(), Some(&ProcessEvent::Exited { how: How::Signal { number: 15, core: false } }));
        assert_eq!(sleep.needed().count(), 0);
    }

    #[test]
    fn a_container_is_a_process_whose_engine_tells_of_its_end() {
        let mut scripts = Scripts::default();
        let spec = |path: &str| ContainerSpec { image: "i".to_owned(), path: path.to_owned(), ..Default::default() };
        let mut run =
            |path| events(scripts.perform(Instant::ZERO, Effect::Run { id: ID, spec: Box::new(spec(path)) })).1;
        let progress = ProcessEvent::Progress { text: "i is here".to_owned() };
        let error = Error::new(ErrorKind::SpawnFailed(NO_SUCH_FILE), "/bin/nothing");
        assert_eq!(run("/bin/nothing"), [progress.clone(), ProcessEvent::Refused { error }]);
        assert_eq!(run("/bin/cat"), [progress, ProcessEvent::Started { pid: 1 }]);
        let (_, rest) = events(scripts.perform(Instant::ZERO, Effect::Signal { id: ID, signal: 15 }));
        assert_eq!(rest.last(), Some(&ProcessEvent::Exited { how: How::Code(143) }));
        let inspected = vec![ProcessEvent::Inspected { result: Ok("{\"Running\":false}".to_owned()) }];
        assert_eq!(events(scripts.perform(Instant::ZERO, Effect::Inspect { id: ID })).1, inspected);
    }

    /// What a program hears of a name from the first name server.
    fn dug(scripts: &mut Scripts) -> Vec<u8> {
        let args = vec![FIRST_PORT.to_string(), "a.B.".to_owned()];
        let spec = Box::new(ProcSpec { path: "/bin/dig".to_owned(), args, ..ProcSpec::default() });
        scripts.perform(Instant::ZERO, Effect::Spawn { id: ElementId(9), spec });
        events(scripts.perform(Instant::ZERO, Effect::Read { id: ElementId(9), of: Stdio::Out, until: 99 })).0
    }

    #[test]
    fn a_port_is_one_name_servers_alone_until_it_is_closed() {
        let mut scripts = Scripts::default();
        let mut serve = |id, addr| {
            let what = Names::Serve(SocketAddr::from(([10, 0, 0, 1], addr)));
            scripts.perform(Instant::ZERO, Effect::Names { id: ElementId(id), what })
        };
        let said = |id, event| vec![EffectEvent::Names { id: ElementId(id), event }];
        let first = SocketAddr::from(([10, 0, 0, 1], FIRST_PORT));
        assert_eq!(serve(1, 0), said(1, NamesEvent::Serving(first)));
        assert_eq!(serve(2, FIRST_PORT), said(2, NamesEvent::Failed { errno: IN_USE }));
        assert_eq!(scripts.served().map(|(addr, _)| addr).collect::<Vec<_>>(), [first]);
        assert_eq!(dug(&mut scripts), b"");
        let mut zone = Zone::default();
        for text in ["a.b. IN A 10.0.0.1", "A.b. IN A 10.0.0.2", "c.b. IN A 10.0.0.3"] {
            zone.set(text.parse().expect("a record")).expect("there is room");
        }
        let what = Names::Answer(Arc::new(zone));
        assert_eq!(scripts.perform(Instant::ZERO, Effect::Names { id: ElementId(1), what }), []);
        assert_eq!(dug(&mut scripts), b"10.0.0.1\n10.0.0.2\n");
        assert_eq!(scripts.perform(Instant::ZERO, Effect::Names { id: ElementId(1), what: Names::Close }), []);
        assert_eq!(dug(&mut scripts), NOBODY.as_bytes());
        assert_eq!(scripts.served().count(), 0);
    }
}
