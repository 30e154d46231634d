//! Places in the namespace.

use std::{fmt, net::SocketAddr, time::Duration};

use bytes::Bytes;
use circuit_core::{
    AnchorPath, Error, ErrorKind, ServerId, Target,
    client::Request,
    codec,
    wire::op::{Chosen, Kind, LogRecord, Op, ProcSpec, ProcStat, Reply, SelectSpec, Source, Stat},
};

use super::{
    Chan, Circuit, Nameserver, Proc, Select, Subscription,
    call::{Call, Pending, unexpected},
};

/// A place in the namespace: the root, a server's own anchor, or one beneath.
///
/// It is a name, and needs not be there. [`Anchor::within`] gives one whose
/// calls, and those of the handles made from it, have a deadline.
#[derive(Clone, Debug)]
pub struct Anchor {
    circuit: Circuit,
    /// The root has none.
    at: Option<AnchorPath>,
    deadline: Option<Duration>,
}

/// How far a server's log was read; at first, not at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogMark {
    start: u32,
    seq: u64,
}

/// An anchor beneath another, and what it holds.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The anchor.
    pub anchor: Anchor,
    /// What it holds; nothing for one that only leads to others.
    pub kind: Option<Kind>,
}

/// What an anchor holds, as a handle.
#[derive(Clone, Debug)]
pub enum Element {
    /// A server's own element.
    Server(Anchor),
    /// A channel.
    Chan(Chan),
    /// A process.
    Proc(Proc),
    /// A container.
    Container(Proc),
    /// A select.
    Select(Select),
    /// A name server.
    Nameserver(Nameserver),
    /// A subscription.
    Subscription(Subscription),
}

/// What was waited for.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// A process has ended so.
    Exited(ProcStat),
    /// A select is decided: this clause took place.
    Chosen(Chosen),
}

impl Anchor {
    pub(super) fn parse(circuit: Circuit, path: &str) -> Result<Self, Error> {
        let at =
            AnchorPath::parse_or_root(path).map_err(|bad| Error::new(ErrorKind::Invalid, bad.to_string()).at(path))?;
        Ok(Self { circuit, at, deadline: None })
    }

    pub(super) fn of_server(circuit: Circuit, server: ServerId) -> Self {
        Self { circuit, at: Some(AnchorPath::of_server(server)), deadline: None }
    }

    /// The same place; calls through it end after `deadline`, without effect if
    /// they still can.
    #[must_use]
    pub const fn within(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// The anchor `path` beneath this one; nothing is created.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a path that cannot be one.
    pub fn walk(&self, path: &str) -> Result<Self, Error> {
        let base = match &self.at {
            Some(at) => at.to_string(),
            None => String::new(),
        };
        let mut walked = Self::parse(self.circuit.clone(), &format!("{base}/{path}"))?;
        walked.deadline = self.deadline;
        Ok(walked)
    }

    /// Its path, as `/X88550014d4c82e4d/job/3`.
    pub fn path(&self) -> String {
        self.to_string()
    }

    /// The server that hosts it; none hosts the root.
    pub fn server_id(&self) -> Option<ServerId> {
        self.at.as_ref().map(|at| at.server)
    }

    /// The anchors right beneath it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no such anchor; those of the host and
    /// the connection.
    pub async fn view(&self) -> Result<Vec<Entry>, Error> {
        self.list(false).await
    }

    /// All anchors beneath it, those above before those below.
    ///
    /// # Errors
    /// As [`Anchor::view`]. A server that leaves in the meantime is left out of
    /// the root's view.
    pub async fn view_all(&self) -> Result<Vec<Entry>, Error> {
        self.list(true).await
    }

    async fn list(&self, deep: bool) -> Result<Vec<Entry>, Error> {
        let Some(at) = &self.at else {
            return self.list_root(deep).await;
        };
        let (mut entries, mut after) = (Vec::new(), None);
        loop {
            let op = Op::List { path: at.path.clone(), after, deep };
            let (page, more) = match self.circuit.ask(at.server, op, self.deadline).await? {
                Reply::Entries { entries, more } => (entries, more),
                other => return Err(unexpected(&other)),
            };
            after = page.last().map(|entry| entry.path.clone());
            entries.extend(page.into_iter().map(|entry| Entry {
                anchor: Self { at: Some(AnchorPath { server: at.server, path: entry.path }), ..self.clone() },
                kind: entry.kind,
            }));
            if !more || after.is_none() {
                return Ok(entries);
            }
        }
    }

    async fn list_root(&self, deep: bool) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        for member in self.circuit.members_within(self.deadline).await?.members {
            let anchor = Self { at: Some(AnchorPath::of_server(member.id)), ..self.clone() };
            let beneath = if deep { Box::pin(anchor.list(true)).await } else { Ok(Vec::new()) };
            match beneath {
                Ok(beneath) => {
                    entries.push(Entry { anchor, kind: Some(Kind::Server) });
                    entries.extend(beneath);
                }
                // It has left since the view was taken, or is just doing so.
                Err(error) if error.kind == ErrorKind::Unreachable => {}
                Err(error) => return Err(error),
            }
        }
        Ok(entries)
    }

    /// Makes a channel that buffers `cap` messages.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] if the anchor holds something;
    /// [`ErrorKind::Invalid`] at the root.
    pub async fn make_chan(&self, cap: u32) -> Result<Chan, Error> {
        let at = self.place("a channel cannot be made at /: it is no server's")?;
        self.ask(Op::MakeChan { path: at.path.clone(), cap }, Bytes::new()).await?;
        self.chan()
    }

    /// Starts a process.
    ///
    /// # Errors
    /// As [`Anchor::make_chan`]; [`ErrorKind::SpawnFailed`] with the operating
    /// system's reason.
    pub async fn make_proc(&self, spec: &ProcSpec) -> Result<Proc, Error> {
        let at = self.place("a process cannot be made at /: it is no server's")?;
        let mut bytes = Vec::new();
        codec::encode(spec, &mut bytes);
        self.ask(Op::MakeProc(at.path.clone()), bytes.into()).await?;
        self.proc()
    }

    /// Makes a select.
    ///
    /// # Errors
    /// As [`Anchor::make_chan`]; [`ErrorKind::Invalid`] for clauses that make no
    /// select.
    pub async fn make_select(&self, spec: &SelectSpec) -> Result<Select, Error> {
        let at = self.place("a select cannot be made at /: it is no server's")?;
        let mut bytes = Vec::new();
        codec::encode(spec, &mut bytes);
        self.ask(Op::MakeSelect(at.path.clone()), bytes.into()).await?;
        self.select()
    }

    /// Makes a name server that answers at `addr`, or at its server's own
    /// address; at port 0, as there, it is any that is free.
    ///
    /// # Errors
    /// As [`Anchor::make_chan`]; [`ErrorKind::BindFailed`] with the operating
    /// system's reason.
    pub async fn make_dns(&self, addr: Option<SocketAddr>) -> Result<Nameserver, Error> {
        let at = self.place("a name server cannot be made at /: it is no server's")?;
        self.ask(Op::MakeDns { path: at.path.clone(), addr }, Bytes::new()).await?;
        self.nameserver()
    }

    /// A handle of the name server here, whether or not there is one.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] at the root.
    pub fn nameserver(&self) -> Result<Nameserver, Error> {
        self.place("no element stands at /")?;
        Ok(Nameserver(self.clone()))
    }

    /// Makes a subscription to servers that join or leave, as the server of
    /// this anchor sees them. One to joins first lists who is there.
    ///
    /// # Errors
    /// As [`Anchor::make_chan`].
    pub async fn subscribe(&self, source: Source) -> Result<Subscription, Error> {
        let at = self.place("a subscription cannot be made at /: it is no server's")?;
        self.ask(Op::Subscribe { path: at.path.clone(), source }, Bytes::new()).await?;
        self.subscription(source)
    }

    /// A handle of the subscription here, whether or not there is one.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] at the root.
    pub fn subscription(&self, source: Source) -> Result<Subscription, Error> {
        self.place("no element stands at /")?;
        Ok(Subscription::new(self.clone(), source))
    }

    /// Makes the circuit of this anchor's server and that of the server at
    /// `target` one.
    ///
    /// # Errors
    /// [`ErrorKind::Unreachable`] if nobody answers there.
    pub async fn join(&self, target: Target) -> Result<(), Error> {
        self.place("/ is no server")?;
        self.ask(Op::Join(target), Bytes::new()).await.map(drop)
    }

    /// Ends this anchor's server: it leaves the circuit.
    ///
    /// # Errors
    /// Those of the host and the connection.
    pub async fn suicide(&self) -> Result<(), Error> {
        let id = self.place("/ is no server")?.server;
        match self.ask(Op::Suicide, Bytes::new()).await {
            // The news that it has left can be here before its answer.
            Err(error) if error.kind == ErrorKind::Unknown => {
                let there = self.circuit.members_within(self.deadline).await?.members;
                if there.iter().any(|member| member.id == id) { Err(error) } else { Ok(()) }
            }
            answer => answer.map(drop),
        }
    }

    /// What this anchor's server does now, in words.
    ///
    /// # Errors
    /// Those of the host and the connection.
    pub async fn stack(&self) -> Result<String, Error> {
        self.place("/ is no server")?;
        match self.ask(Op::Stack, Bytes::new()).await? {
            Reply::Text(text) => Ok(text),
            other => Err(unexpected(&other)),
        }
    }

    /// Starts a process and waits until it has ended. Both are asked at once, so
    /// this takes one round trip less than one after the other.
    ///
    /// # Errors
    /// As [`Anchor::make_proc`] and [`Proc::wait`].
    pub async fn run_proc(&self, spec: &ProcSpec) -> Result<ProcStat, Error> {
        let process = self.proc()?;
        let (made, ended) = tokio::join!(biased; self.make_proc(spec), process.wait());
        made.and(ended)
    }

    /// A handle of the channel here, whether or not there is one.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] at the root.
    pub fn chan(&self) -> Result<Chan, Error> {
        self.place("no element stands at /")?;
        Ok(Chan(self.clone()))
    }

    /// A handle of the process here, whether or not there is one.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] at the root.
    pub fn proc(&self) -> Result<Proc, Error> {
        self.place("no element stands at /")?;
        Ok(Proc(self.clone()))
    }

    /// A handle of the select here, whether or not there is one.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] at the root.
    pub fn select(&self) -> Result<Select, Error> {
        self.place("no element stands at /")?;
        Ok(Select(self.clone()))
    }

    /// A handle of what stands here.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is nothing.
    pub async fn get(&self) -> Result<Element, Error> {
        Ok(match self.peek().await? {
            Stat::Server(_) => Element::Server(self.clone()),
            Stat::Chan(_) => Element::Chan(self.chan()?),
            Stat::Proc(_) => Element::Proc(self.proc()?),
            Stat::Container(_) => Element::Container(self.proc()?),
            Stat::Select(_) => Element::Select(self.select()?),
            Stat::Nameserver(_) => Element::Nameserver(self.nameserver()?),
            Stat::Subscription(stat) => Element::Subscription(self.subscription(stat.source)?),
        })
    }

    /// Waits until the process here has ended, or the select is decided.
    ///
    /// # Errors
    /// As [`Proc::wait`] and [`Select::wait`].
    pub async fn wait(&self) -> Result<Ended, Error> {
        let at = self.place("nothing at / ever ends")?;
        match self.ask(Op::Wait(at.path.clone()), Bytes::new()).await? {
            Reply::Exit(stat) => Ok(Ended::Exited(*stat)),
            Reply::Chosen(chosen) => Ok(Ended::Chosen(*chosen)),
            other => Err(unexpected(&other)),
        }
    }

    /// The state of what stands here.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is nothing.
    pub async fn peek(&self) -> Result<Stat, Error> {
        let at = self.place("no element stands at /")?;
        match self.ask(Op::Peek(at.path.clone()), Bytes::new()).await? {
            Reply::Stat(stat) => Ok(*stat),
            other => Err(unexpected(&other)),
        }
    }

    /// Removes what stands here. A process or a container goes on running.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is nothing; [`ErrorKind::Forbidden`] for
    /// a server's own element.
    pub async fn scrub(&self) -> Result<(), Error> {
        self.remove(false).await
    }

    /// Removes what stands here; a process ends with all of its group, and a
    /// container with all that is in it. They are told to, and killed if they do
    /// not within 5 s.
    ///
    /// # Errors
    /// As [`Anchor::scrub`]; `Unreachable` if a container's engine does not
    /// answer: it is removed when that is back.
    pub async fn scrub_and_kill(&self) -> Result<(), Error> {
        self.remove(true).await
    }

    async fn remove(&self, kill: bool) -> Result<(), Error> {
        let at = self.place("the root cannot be removed")?;
        self.ask(Op::Scrub { path: at.path.clone(), kill }, Bytes::new()).await.map(drop)
    }

    /// What the server of this anchor executed after the page that `mark` is
    /// the end of, or from the beginning, and how many of that it has forgotten.
    /// If there is none yet and it may `wait`, as soon as there is. Afterwards
    /// `mark` is the end of this page. A server that was started again has begun
    /// anew, and then so does this.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] at the root; those of the host and the connection.
    pub async fn log(&self, mark: &mut LogMark, wait: bool) -> Result<(u64, Vec<LogRecord>), Error> {
        self.place("the root keeps no log: every server keeps its own")?;
        let LogMark { start, seq: after } = *mark;
        match self.ask(Op::Log { start, after, wait }, Bytes::new()).await? {
            Reply::Log { start, missed, records } => {
                let before = if start == mark.start { after } else { 0 };
                *mark = LogMark { start, seq: records.last().map_or(before, |last| last.seq) };
                Ok((missed, records))
            }
            other => Err(unexpected(&other)),
        }
    }

    pub(super) const fn circuit(&self) -> &Circuit {
        &self.circuit
    }

    pub(super) const fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// The path, of which handles of elements are sure.
    pub(super) fn place(&self, otherwise: &str) -> Result<&AnchorPath, Error> {
        self.at.as_ref().ok_or_else(|| Error::new(ErrorKind::Invalid, otherwise))
    }

    pub(super) fn start(&self, op: Op, input: Bytes) -> Pending {
        let host = self.server_id().unwrap_or(ServerId::DIAL_IN);
        let request = Request { op, deadline: self.deadline, input: Some(input) };
        Pending::new(Call::start(&self.circuit, host, request))
    }

    pub(super) async fn ask(&self, op: Op, input: Bytes) -> Result<Reply, Error> {
        self.start(op, input).answer().await
    }
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            Some(at) => at.fmt(f),
            None => f.write_str("/"),
        }
    }
}
