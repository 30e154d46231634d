//! A name server that one client keeps, and what must be true of it.

use std::collections::BTreeSet;

use circuit_core::{
    Error, ErrorKind, Path, Rng, ServerId,
    wire::op::{NameserverStat, Op, ProcSpec, Reply, Stat, Stdio},
};

use crate::{
    script::{NOBODY, TOO_MANY},
    work::{is_no_fault, outcome},
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
pub(crate) enum Step {
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

impl Step {
    /// What it is, and how it was answered, in two words.
    pub(crate) fn outcome(self, result: &Result<Reply, Error>) -> String {
        let verb = format!("{self:?}");
        format!("{} {}", verb.split('(').next().unwrap_or_default(), outcome(result))
    }
}

/// A name server, from its making to its removal.
#[derive(Clone, Debug)]
pub(crate) struct Nameserver {
    pub(crate) host: ServerId,
    number: u64,
    entries: Vec<Entry>,
    /// Where it answers, once that is known.
    port: Option<u16>,
    /// It was certainly made, or removed.
    made: bool,
    removed: bool,
    /// Nothing is known of it any more: its host died, or nobody knows whether it
    /// was made, or removed.
    pub(crate) lost: bool,
    /// What is to be done in the end.
    last: Vec<Step>,
    read: Vec<u8>,
    queries: u64,
    /// What it was asked and has not answered.
    pub(crate) open: Option<Step>,
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
    pub(crate) fn new(host: ServerId, number: u64) -> Self {
        let (port, made, removed, lost, last, read, queries, open) = Default::default();
        let entries = vec![Entry::default(); usize::from(NAMES)];
        Self { host, number, entries, port, made, removed, lost, last, read, queries, open }
    }

    pub(crate) fn path(&self) -> Path {
        format!("names/{}", self.number).parse().unwrap_or_default()
    }

    pub(crate) fn query_path(&self) -> Path {
        format!("dig/{}/{}", self.number, self.queries).parse().unwrap_or_default()
    }

    /// A name that no other name server knows.
    pub(crate) fn name(&self, name: u8) -> String {
        format!("n{name}.s{}.test.", self.number)
    }

    /// A record of one.
    pub(crate) fn record(&self, name: u8, address: u8) -> String {
        // Names are the same in whatever case.
        let name = if address.is_multiple_of(2) { self.name(name) } else { self.name(name).to_uppercase() };
        format!("{name} 60 IN A 10.9.9.{address}")
    }

    /// The program that asks it for a name, if it is known where it answers.
    pub(crate) fn query(&self, name: u8) -> Option<ProcSpec> {
        let args = vec![self.port?.to_string(), self.name(name)];
        Some(ProcSpec { path: "/bin/dig".to_owned(), args, ..ProcSpec::default() })
    }

    /// How a step is asked for.
    pub(super) fn op(&self, step: Step) -> Option<Op> {
        let path = self.path();
        Some(match step {
            Step::Make => Op::MakeDns { path, addr: None },
            Step::Set(name, address) => Op::Set { path, record: self.record(name, address).parse().ok()? },
            Step::Unset(name) => Op::Unset { path, name: self.name(name).parse().ok()? },
            Step::Peek => Op::Peek(path),
            Step::Query(_) => Op::MakeProc(self.query_path()),
            Step::Read(_) => Op::Output { path: self.query_path(), of: Stdio::Out, from_end: false },
            Step::Clear => Op::Scrub { path: self.query_path(), kill: false },
            Step::Scrub => Op::Scrub { path, kill: false },
        })
    }

    /// What it is asked at random.
    pub(crate) fn draw(&self, rng: &mut Rng) -> Step {
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

    /// It is asked for a step.
    pub(crate) fn begin(&mut self, step: Step) {
        if matches!(step, Step::Query(_)) {
            self.queries += 1;
            self.read.clear();
        }
        self.open = Some(step);
    }

    /// The program that asked it wrote more.
    pub(crate) fn wrote(&mut self, bytes: &[u8]) {
        self.read.extend_from_slice(bytes);
    }

    /// What came of the step that was open, and what follows from it.
    pub(crate) fn answered(&mut self, result: &Result<Reply, Error>) -> Result<Option<Step>, String> {
        let Some(step) = self.open.take() else { return Ok(None) };
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

    /// Nobody will know what came of what it was asked.
    pub(crate) fn give_up(&mut self) -> Result<(), &'static str> {
        self.open.take().map_or(Ok(()), |step| self.comes_of(step, Effect::Unknown))
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
    pub(crate) fn plan_end(&mut self) {
        let all = || (0..NAMES).map(Step::Query);
        self.last = all().chain([Step::Scrub]).chain(all()).chain([Step::Peek]).collect();
    }

    /// What is left to be done in the end.
    pub(crate) fn next_at_last(&mut self) -> Option<Step> {
        let knows_where = self.port.is_some();
        let can = |step: &Step| knows_where || !matches!(step, Step::Query(_));
        std::iter::from_fn(|| self.last.pop()).find(can).filter(|_| !self.lost)
    }

    /// Nothing more can be asked of it.
    pub(crate) const fn is_over(&self) -> bool {
        self.lost || self.removed
    }

    /// It is not as it should be when all was done: removed, and nothing is open.
    pub(crate) fn left(&self) -> Option<String> {
        let left = self.open.is_some() || !self.is_over();
        left.then(|| format!("it is not done with a name server: {self:?}"))
    }
}
