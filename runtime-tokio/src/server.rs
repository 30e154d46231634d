//! A server, as a program starts it: the binary, or any that embeds one.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use circuit_core::{
    Incarnation, Rng, Target, Url,
    discovery::{Announcer, Group, Reach, dialable},
    node::{Config, Snapshot},
    session::{ClusterKey, Credentials, StaticKey},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::{
    Host, LocalHost, Net, TokioNet, discovery,
    driver::{Driver, Question},
    journal::Journal,
    keys::system_rng,
    state::{Identity, StateDir},
};

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where it listens; port 0 is any that is free.
    pub listen: SocketAddr,
    /// What others dial, where that differs from where it listens. Of a server
    /// that listens at every address they dial the first that leads anywhere.
    pub advertise: Option<SocketAddr>,
    /// Where it announces itself, and listens for others that do.
    pub discover: Option<Group>,
    /// Servers whose circuit it joins, now and whenever they are not there.
    pub join: Vec<Target>,
    /// The key of the circuit.
    pub key: ClusterKey,
    /// Where it keeps who it is and what it did; without, every start is a new
    /// server.
    pub var: Option<PathBuf>,
}

/// A server that runs. It is stopped when this is dropped, and gracefully with
/// [`Server::stop`].
#[derive(Debug)]
pub struct Server {
    url: Url,
    questions: mpsc::Sender<Question>,
    task: JoinHandle<()>,
    discovery: Option<JoinHandle<()>>,
    _state: Option<StateDir>,
}

impl Server {
    /// Starts a server on this machine, within a tokio runtime.
    ///
    /// # Errors
    /// The address cannot be listened at, or the directory not used; the error
    /// says which.
    pub async fn start(config: ServerConfig) -> io::Result<Self> {
        let mut rng = system_rng()?;
        let state = config.var.as_deref().map(|path| in_dir(path, StateDir::lock(path))).transpose()?;
        let (identity, journal) = match &state {
            Some(state) => {
                let journal = in_dir(state.path(), Journal::open(state.path()))?;
                (in_dir(state.path(), state.identity(&mut rng))?, Some(Arc::new(journal)))
            }
            None => (Identity { key: StaticKey::generate(&mut rng), start: 1 }, None),
        };
        let parts = Parts { identity, seed: rng.seed(), wall: wall_clock };
        let mut server = Self::start_with(TokioNet, LocalHost::new(journal), &config, parts).await?;
        server._state = state;
        Ok(server)
    }

    /// Starts a server on any network and machine.
    pub(crate) async fn start_with<N: Net, H: Host>(
        net: N,
        host: H,
        config: &ServerConfig,
        parts: Parts,
    ) -> io::Result<Self> {
        let listener = net
            .listen(config.listen)
            .await
            .map_err(|error| io::Error::new(error.kind(), format!("cannot listen at {}: {error}", config.listen)))?;
        let listen = N::local_addr(&listener)?;
        let addr = match config.advertise {
            Some(addr) => addr,
            None => dialable(listen, &net.interfaces()?),
        };
        let credentials = Credentials::new(&config.key, parts.identity.key);
        let id = credentials.server_id();
        let start = parts.identity.start;
        let (wall, seeds) = ((parts.wall)(), config.join.clone());
        let node = Config { id, start, addr, wall, seeds, keeps_log: config.var.is_some() };
        let (questions, to_answer) = mpsc::channel(16);
        let discovery = config.discover.map(|group| {
            let reach = Reach { listen, advertise: config.advertise };
            let rng = Rng::new(parts.seed).fork("discovery");
            let own = Incarnation { id, start };
            let announcer = Announcer::new(circuit_core::discovery::Config { own, reach, group }, &config.key, rng);
            discovery::announce(net.clone(), group, announcer, parts.wall, questions.clone())
        });
        let driver = Driver::new(node, credentials, parts.seed, net, host, listener, to_answer);
        let task = tokio::spawn(driver.run());
        let url = Url { addr, pid: std::process::id(), id };
        Ok(Self { url, questions, task, discovery, _state: None })
    }

    /// Where it can be dialled.
    pub const fn url(&self) -> Url {
        self.url
    }

    /// What it is doing now.
    pub async fn snapshot(&self) -> Option<Snapshot> {
        let (answer, asked) = oneshot::channel();
        let look = Box::new(move |node: &circuit_core::node::Node| drop(answer.send(node.snapshot())));
        self.questions.send(Question::Look(look)).await.ok()?;
        asked.await.ok()
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self) {
        let _ = (&mut self.task).await;
    }

    /// Stops it: it leaves the circuit, and every peer is told.
    pub async fn stop(mut self) {
        let (done, stopped) = oneshot::channel();
        if self.questions.send(Question::Stop(done)).await.is_ok() {
            let _ = stopped.await;
        }
        self.ended().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(discovery) = &self.discovery {
            discovery.abort();
        }
    }
}

/// What a server is given besides its configuration.
pub(crate) struct Parts {
    pub(crate) identity: Identity,
    pub(crate) seed: [u8; 32],
    /// Tells microseconds since 1970.
    pub(crate) wall: fn() -> u64,
}

/// Microseconds since 1970.
pub(crate) fn wall_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn in_dir<T>(path: &std::path::Path, result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| io::Error::new(error.kind(), format!("cannot use {}: {error}", path.display())))
}
