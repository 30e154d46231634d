//! Dialling, and the connection that all handles share.

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use circuit_core::{
    Error, Incarnation, ServerId, Url,
    client::{CallId, Client, Request, Target},
    session::{ClusterKey, Credentials, StaticKey},
    wire::op::{Member, Op, Reply},
};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    Anchor,
    call::{Call, closed, unexpected},
    driver::{Command, Driver, Refusal, establish},
};
use crate::{Clock, Net, TokioNet, system_rng};

/// How to reach a circuit.
#[derive(Clone, Debug)]
pub struct Dial {
    targets: Vec<Target>,
    key: ClusterKey,
    label: Option<String>,
}

impl Dial {
    /// Through the server at `url`, and no other at that address.
    pub fn url(url: Url) -> Self {
        Self::targets(vec![Target { addr: url.addr, expect: Some(url.id) }])
    }

    /// Through any of `targets`; the first that answers.
    pub const fn targets(targets: Vec<Target>) -> Self {
        Self { targets, key: ClusterKey::public(), label: None }
    }

    /// With the circuit's key; without, only a circuit without a key answers.
    #[must_use]
    pub fn key(mut self, key: ClusterKey) -> Self {
        self.key = key;
        self
    }

    /// Under this name in the logs of the servers.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }
}

/// Why no server could be dialled.
#[derive(Debug)]
pub struct DialError {
    /// Who was dialled last, if there was anybody to dial.
    pub target: Option<Target>,
    /// What came of it.
    pub why: Refusal,
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.target {
            Some(target) => write!(f, "no server at {}: {}", target.addr, self.why),
            None => write!(f, "no server to dial: {}", self.why),
        }
    }
}

impl std::error::Error for DialError {}

/// A connection to a circuit; clones share it. It ends with the last of them,
/// or with [`Circuit::close`].
#[derive(Clone, Debug)]
pub struct Circuit {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    commands: mpsc::UnboundedSender<Command>,
    calls: AtomicU64,
    server: watch::Receiver<Option<ServerId>>,
    first: ServerId,
}

/// The servers of a circuit, as one of them sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    /// Whose view it is: the server that was dialled.
    pub observer: Incarnation,
    /// How many joins and leaves it has seen.
    pub events: u64,
    /// Who is there, in order of ids.
    pub members: Vec<Member>,
}

impl Circuit {
    /// Connects to a circuit, within a tokio runtime.
    ///
    /// # Errors
    /// [`DialError`] when no server could be dialled, or none has the same key.
    pub async fn dial(dial: Dial) -> Result<Self, DialError> {
        Self::dial_on(TokioNet, dial).await
    }

    /// Connects over any network.
    ///
    /// # Errors
    /// As [`Circuit::dial`].
    pub async fn dial_on<N: Net>(net: N, dial: Dial) -> Result<Self, DialError> {
        let mut rng = system_rng().map_err(|error| DialError { target: None, why: Refusal::Io(error) })?;
        let credentials = Credentials::new(&dial.key, StaticKey::generate(&mut rng));
        let (clock, sessions) = (Clock::start(), rng.fork("sessions"));
        let nobody = io::Error::new(io::ErrorKind::NotFound, "none is known");
        let mut failure = DialError { target: None, why: Refusal::Io(nobody) };
        for (turn, &target) in dial.targets.iter().enumerate() {
            let session = sessions.fork(&format!("first {turn}"));
            match establish(net.clone(), target, credentials.clone(), session, clock).await {
                Ok(ready) => {
                    let mut targets = dial.targets.clone();
                    targets.rotate_left(turn);
                    let label = dial.label.unwrap_or_else(default_label);
                    let client = Client::new(label, targets, rng.seed());
                    let (commands, to_obey) = mpsc::unbounded_channel();
                    let first = ready.1.id;
                    let (tell, server) = watch::channel(Some(first));
                    let driver = Driver::new(client, net, clock, credentials, sessions, to_obey, ready, tell);
                    tokio::spawn(driver.run());
                    return Ok(Self { shared: Arc::new(Shared { commands, calls: AtomicU64::new(1), server, first }) });
                }
                Err(why) => failure = DialError { target: Some(target), why },
            }
        }
        Err(failure)
    }

    /// The server that is dialled, or was dialled last.
    pub fn dial_in(&self) -> ServerId {
        (*self.shared.server.borrow()).unwrap_or(self.shared.first)
    }

    /// The anchor of that path; nothing is created, and nothing asked.
    ///
    /// # Errors
    /// [`circuit_core::ErrorKind::Invalid`] for a path that cannot be one.
    pub fn anchor(&self, path: &str) -> Result<Anchor, Error> {
        Anchor::parse(self.clone(), path)
    }

    /// The anchor of a server.
    pub fn server(&self, id: ServerId) -> Anchor {
        Anchor::of_server(self.clone(), id)
    }

    /// The servers that are there, as the dial-in server sees it.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn members(&self) -> Result<Members, Error> {
        self.members_within(None).await
    }

    pub(super) async fn members_within(&self, deadline: Option<Duration>) -> Result<Members, Error> {
        match self.ask(ServerId::DIAL_IN, Op::Members, deadline).await? {
            Reply::Members { observer, events, members } => Ok(Members { observer, events, members }),
            other => Err(unexpected(&other)),
        }
    }

    /// Ends the connection for all handles: the servers are told.
    pub async fn close(self) {
        let (ended, end) = oneshot::channel();
        self.command(Command::Close(ended));
        let _ = end.await;
    }

    pub(super) async fn ask(&self, host: ServerId, op: Op, deadline: Option<Duration>) -> Result<Reply, Error> {
        Call::start(self, host, Request { op, deadline, input: None }).answer().await
    }

    pub(super) fn command(&self, command: Command) {
        if let Err(mpsc::error::SendError(Command::Call { desk, .. } | Command::AskAgain { desk, .. })) =
            self.shared.commands.send(command)
        {
            desk.put_answer(Err(closed()));
        }
    }

    pub(super) fn call_id(&self) -> CallId {
        CallId(self.shared.calls.fetch_add(1, Ordering::Relaxed))
    }
}

/// Who runs this program, for people who read logs.
fn default_label() -> String {
    let user = std::env::var("USER").unwrap_or_else(|_| format!("uid {}", rustix::process::getuid().as_raw()));
    format!("{user} (process {})", std::process::id())
}
