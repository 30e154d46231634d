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
    Error, Incarnation, Rng, ServerId, Target, Url,
    client::{CallId, Client, Request},
    discovery::Group,
    session::{ClusterKey, Credentials, StaticKey},
    wire::op::{Member, Op, Reply},
};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    Anchor,
    call::{Call, closed, unexpected},
    driver::{Command, Driver, Refusal, persist},
};
use crate::{Clock, Net, Outside, TokioNet, discovery};

/// How to reach a circuit.
#[derive(Clone, Debug)]
pub struct Dial {
    places: Places,
    key: ClusterKey,
    label: Option<String>,
}

/// Where servers are.
#[derive(Clone, Debug)]
enum Places {
    Given(Vec<Target>),
    Asked { group: Group, within: Duration },
}

/// How long a client looks for servers, if nobody says otherwise.
const WITHIN: Duration = Duration::from_secs(5);

impl Dial {
    /// Through the server at `url`, and no other at that address.
    pub fn url(url: Url) -> Self {
        Self::targets(vec![Target { addr: url.addr, expect: Some(url.id) }])
    }

    /// Through any of `targets`; the first that answers.
    pub const fn targets(targets: Vec<Target>) -> Self {
        Self::through(Places::Given(targets))
    }

    /// Through any server that answers in a multicast group within five seconds.
    pub const fn discover(group: Group) -> Self {
        Self::through(Places::Asked { group, within: WITHIN })
    }

    /// Looks for servers for so long, where it has to.
    #[must_use]
    pub const fn within(mut self, longest: Duration) -> Self {
        if let Places::Asked { within, .. } = &mut self.places {
            *within = longest;
        }
        self
    }

    const fn through(places: Places) -> Self {
        Self { places, key: ClusterKey::public(), label: None }
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

/// Servers to dial, one after the other.
enum Seeking {
    Given(std::vec::IntoIter<Target>),
    Asked { found: mpsc::Receiver<Target>, group: Group, within: Duration },
}

impl Seeking {
    fn start<N: Net>(net: &N, dial: &Dial, rng: Rng, wall: fn() -> u64) -> Result<Self, DialError> {
        match dial.places {
            Places::Given(ref targets) => Ok(Self::Given(targets.clone().into_iter())),
            Places::Asked { group, within } => {
                let found = discovery::find(net.clone(), group, &dial.key, rng, within, wall);
                let found = found.map_err(|error| DialError { target: None, why: Refusal::Io(error) })?;
                Ok(Self::Asked { found, group, within })
            }
        }
    }

    /// The next one; none when there will be no more.
    async fn next(&mut self) -> Option<Target> {
        match self {
            Self::Given(targets) => targets.next(),
            Self::Asked { found, .. } => found.recv().await,
        }
    }

    /// Those that are known now.
    fn rest(&mut self) -> Vec<Target> {
        match self {
            Self::Given(targets) => targets.collect(),
            Self::Asked { found, .. } => std::iter::from_fn(|| found.try_recv().ok()).collect(),
        }
    }

    /// What to say if there is none at all.
    fn nobody(&self) -> DialError {
        let why = match *self {
            Self::Given(_) => Refusal::Io(io::Error::new(io::ErrorKind::NotFound, "none is known")),
            Self::Asked { group, within, .. } => Refusal::Unanswered { group, within },
        };
        DialError { target: None, why }
    }
}

/// A connection to a circuit; clones share it. It ends with the last of them,
/// or with [`Circuit::close`].
#[derive(Clone)]
pub struct Circuit {
    shared: Arc<Shared>,
}

impl fmt::Debug for Circuit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Circuit(by {})", self.shared.first)
    }
}

#[derive(Debug)]
struct Shared {
    commands: mpsc::UnboundedSender<Command>,
    calls: AtomicU64,
    /// What the numbers of its selects begin with, which no other client's do.
    selects: u64,
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
        let outside = Outside::system().map_err(|error| DialError { target: None, why: Refusal::Io(error) })?;
        Self::dial_on(TokioNet, dial, outside).await
    }

    /// Connects over any network.
    ///
    /// # Errors
    /// As [`Circuit::dial`].
    pub async fn dial_on<N: Net>(net: N, dial: Dial, outside: Outside) -> Result<Self, DialError> {
        let Outside { mut rng, wall } = outside;
        let credentials = Credentials::new(&dial.key, StaticKey::generate(&mut rng));
        let (clock, sessions) = (Clock::start(), rng.fork("sessions"));
        let mut seeking = Seeking::start(&net, &dial, rng.fork("discovery"), wall)?;
        let mut failure = seeking.nobody();
        let mut targets = Vec::new();
        while let Some(target) = seeking.next().await {
            let session = sessions.fork(&format!("first {}", targets.len()));
            targets.push(target);
            match persist(net.clone(), target, credentials.clone(), &session, clock).await {
                Ok(ready) => {
                    let label = dial.label.unwrap_or_else(default_label);
                    // Who answered, first; then those that may yet; then those that failed.
                    targets.rotate_right(1);
                    targets.splice(1..1, seeking.rest());
                    let client = Client::new(label, targets, rng.seed());
                    let (commands, to_obey) = mpsc::unbounded_channel();
                    let first = ready.1.id;
                    let (tell, server) = watch::channel(Some(first));
                    let driver = Driver::new(client, net, clock, credentials, sessions, to_obey, ready, tell);
                    tokio::spawn(driver.run());
                    let (calls, selects) = (AtomicU64::new(1), rng.u64());
                    return Ok(Self { shared: Arc::new(Shared { commands, calls, selects, server, first }) });
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

    /// A number for a select. As a part of it is chance, no client's come first.
    pub(super) fn select_id(&self) -> u128 {
        u128::from(self.shared.selects) << 64 | u128::from(self.call_id().0)
    }
}

/// Who runs this program, for people who read logs.
fn default_label() -> String {
    let user = std::env::var("USER").unwrap_or_else(|_| format!("uid {}", rustix::process::getuid().as_raw()));
    format!("{user} (process {})", std::process::id())
}

#[cfg(test)]
mod tests {
    use std::{
        future::{Future, poll_fn},
        pin::pin,
        task::Poll,
        thread,
    };

    use circuit_core::ErrorKind;
    use tokio::{
        runtime::{Builder, Runtime},
        task, time,
    };

    use super::*;
    use crate::{Server, ServerConfig, client::Chan};

    fn runtime(mut builder: Builder) -> Runtime {
        builder.worker_threads(1).enable_all().build().expect("a runtime")
    }

    /// Waits, on a thread and a runtime of its own, for a message that never comes.
    /// The call was made when this returns.
    fn wait(channel: Chan) -> thread::JoinHandle<Option<ErrorKind>> {
        let (tell, begun) = std::sync::mpsc::channel();
        let waiting = thread::spawn(move || {
            runtime(Builder::new_current_thread()).block_on(async {
                let mut message = pin!(channel.recv());
                let waits = poll_fn(|cx| Poll::Ready(message.as_mut().poll(cx).is_pending())).await;
                tell.send(waits).expect("somebody to tell");
                let result = time::timeout(Duration::from_secs(30), message).await;
                result.ok().map(|message| message.expect_err("nobody sends").kind)
            })
        });
        assert!(begun.recv().expect("it begins"));
        waiting
    }

    /// A client with a call that waits: both go on without `mine`, on which it was
    /// dialled, once `made` has seen the call.
    fn drop_under_a_call(mine: Runtime, made: impl AsyncFnOnce(&Server)) {
        let others = runtime(Builder::new_multi_thread());
        let key = ClusterKey::generate(&mut crate::system_rng().expect("randomness"));
        let config = ServerConfig::new("127.0.0.1:0".parse().expect("an address"), key.clone());
        let server = others.block_on(Server::start(config)).expect("a server");
        let channel = mine.block_on(async {
            let circuit = Circuit::dial(Dial::url(server.url()).key(key)).await.expect("a client");
            let anchor = circuit.server(server.url().id).walk("here").expect("a path");
            anchor.make_chan(0).await.expect("a channel")
        });
        let waiting = wait(channel.clone());
        others.block_on(made(&server));
        drop(mine);
        assert_eq!(waiting.join().expect("no panic"), Some(ErrorKind::Disconnected), "it does not wait for ever");
        let late = others.block_on(async { time::timeout(Duration::from_secs(30), channel.recv()).await });
        assert_eq!(late.expect("nor does another").expect_err("no client").kind, ErrorKind::Disconnected);
        others.block_on(server.stop());
    }

    #[test]
    fn a_call_ends_with_the_runtime_that_its_circuit_was_dialled_on() {
        drop_under_a_call(runtime(Builder::new_multi_thread()), async |server| {
            while server.snapshot().await.expect("it runs").waiting == 0 {
                task::yield_now().await;
            }
        });
    }

    #[test]
    fn a_call_ends_with_that_runtime_also_if_it_was_never_looked_at_there() {
        // On this nothing runs, as nothing is blocked on it.
        drop_under_a_call(runtime(Builder::new_current_thread()), async |_| {});
    }
}
