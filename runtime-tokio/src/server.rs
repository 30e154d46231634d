//! A server, as a program starts it: the binary, or any that embeds one.

use std::{
    io,
    net::SocketAddr,
    num::NonZero,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use circuit_core::{
    Incarnation, Target, Url,
    discovery::{Announcer, Group, Reach, dialable},
    elements::ContainerRules,
    node::{Config, Snapshot},
    session::{ClusterKey, Credentials, StaticKey},
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::{
    Host, LocalHost, Net, Outside, TokioNet, discovery,
    driver::{Driver, Question},
    journal::Journal,
    state::{Identity, StateDir},
};

/// More threads than this find little to do.
const MAX_WORKERS: usize = 4;

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
    /// Listen beyond this machine also without a key, which is with
    /// [`ClusterKey::public`]: whoever can connect can then run anything here.
    pub insecure: bool,
    /// Where it keeps who it is and what it did; without, every start is a new
    /// server.
    pub var: Option<PathBuf>,
    /// Which containers it makes, and by which engine; without, none.
    pub containers: Option<ContainerRules>,
    /// The program that keeps processes which are to outlive the server, and have
    /// the same server find them at its next start: it is run as `PROGRAM keeper
    /// FOLDER`, and calls [`keep`](crate::keep) with that folder. Without it, or
    /// without `var`, no process is kept.
    pub keeper: Option<PathBuf>,
}

impl ServerConfig {
    /// A server of the circuit with that key, which listens there and joins
    /// nobody, and of which nothing stays. Without a key it does not start but on
    /// loopback.
    pub const fn new(listen: SocketAddr, key: ClusterKey) -> Self {
        Self {
            listen,
            advertise: None,
            discover: None,
            join: Vec::new(),
            key,
            insecure: false,
            var: None,
            containers: None,
            keeper: None,
        }
    }

    /// Whether it would open this machine to whoever can connect, and nobody has
    /// said that it is to: it has no key, listens beyond loopback, and is not
    /// [`ServerConfig::insecure`]. Such a server does not start.
    pub fn is_open_unasked(&self) -> bool {
        !self.insecure && !self.listen.ip().is_loopback() && self.key == ClusterKey::public()
    }

    fn check_key(&self) -> io::Result<()> {
        if !self.is_open_unasked() {
            return Ok(());
        }
        let what = format!(
            "{} is reached from other machines, and there is no key: whoever can connect could run anything here; \
             start all servers and clients with a key, or set ServerConfig::insecure",
            self.listen
        );
        Err(io::Error::new(io::ErrorKind::InvalidInput, what))
    }
}

/// The runtime for a program that is a server and little else: one thread where
/// there are two processors or fewer, as handing frames from one to the other
/// costs more there than encrypting them apart brings; else some of them.
///
/// On that one thread nothing runs but inside [`Runtime::block_on`]: a server or a
/// client that was started stands still whenever no thread is in there.
///
/// # Errors
/// Those of the operating system.
pub fn runtime() -> io::Result<Runtime> {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let mut builder = match processors {
        ..=2 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.worker_threads((processors - 1).clamp(1, MAX_WORKERS)).enable_all().build()
}

/// A server that runs. It is stopped when this is dropped, and gracefully with
/// [`Server::stop`].
///
/// A drop cannot wait: the port and the state directory are free only some time
/// after it. Whoever wants to use them again is to [`stop`](Server::stop) it, which
/// waits until they are.
#[derive(Debug)]
pub struct Server {
    url: Url,
    questions: mpsc::Sender<Question>,
    task: JoinHandle<()>,
    /// What [`Server::ended`] says: the task can be asked but once.
    outcome: Option<bool>,
    discovery: Option<JoinHandle<()>>,
    _state: Option<StateDir>,
}

impl Server {
    /// Starts a server on this machine, within a tokio runtime.
    ///
    /// # Errors
    /// The address cannot be listened at, or the directory not used; the error
    /// says which. [`io::ErrorKind::InvalidInput`] if it would be open to all, and
    /// not [`ServerConfig::insecure`].
    pub async fn start(config: ServerConfig) -> io::Result<Self> {
        config.check_key()?;
        let mut outside = Outside::system()?;
        let state = config.var.as_deref().map(|path| in_dir(path, StateDir::lock(path))).transpose()?;
        let (identity, journal) = match &state {
            Some(state) => {
                let journal = in_dir(state.path(), Journal::open(state.path()))?;
                (in_dir(state.path(), state.identity(&mut outside.rng))?, Some(Arc::new(journal)))
            }
            None => (Identity { key: StaticKey::generate(&mut outside.rng), start: 1 }, None),
        };
        let own = Incarnation { id: identity.key.server_id(), start: identity.start };
        let mut host = LocalHost::new(journal);
        if let Some(state) = &state {
            host = host.with_folder(state.processes());
            if let Some(program) = &config.keeper {
                host = in_dir(state.path(), host.with_keeper(program.clone()).await)?;
            }
        }
        if let Some(rules) = &config.containers {
            host = host.with_containers(own, rules.clone());
        }
        let mut server = Self::start_on(TokioNet, host, &config, identity, &outside).await?;
        server._state = state;
        Ok(server)
    }

    /// Starts a server on any network and machine, within a tokio runtime. Neither
    /// its directory is looked at, nor whether it is open to all.
    ///
    /// # Errors
    /// The address cannot be listened at.
    pub async fn start_on<N: Net, H: Host>(
        net: N,
        mut host: H,
        config: &ServerConfig,
        identity: Identity,
        outside: &Outside,
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
        let credentials = Credentials::new(&config.key, identity.key);
        let (id, start) = (credentials.server_id(), identity.start);
        let (wall, seeds, containers) = ((outside.wall)(), config.join.clone(), config.containers.clone());
        let (keeps_log, kept) = (config.var.is_some(), host.kept());
        let node = Config { id, start, addr, listen, wall, seeds, keeps_log, containers, kept };
        let (questions, to_answer) = mpsc::channel(16);
        let discovery = config.discover.map(|group| {
            let reach = Reach { listen, advertise: config.advertise };
            let rng = outside.rng.fork("discovery");
            let own = Incarnation { id, start };
            let announcer = Announcer::new(circuit_core::discovery::Config { own, reach, group }, &config.key, rng);
            discovery::announce(net.clone(), group, announcer, outside.wall, questions.clone())
        });
        let driver = Driver::new(node, credentials, &outside.rng, net, host, listener, to_answer);
        let task = tokio::spawn(driver.run());
        let url = Url { addr, pid: std::process::id(), id };
        Ok(Self { url, questions, task, outcome: None, discovery, _state: None })
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

    /// Waits until it has ended by itself: whether it did in good order. If not, it
    /// has failed in a way that it should not.
    pub async fn ended(&mut self) -> bool {
        if let Some(well) = self.outcome {
            return well;
        }
        let well = (&mut self.task).await.is_ok();
        *self.outcome.insert(well)
    }

    /// Stops it: it leaves the circuit, and every peer is told. After this its port
    /// and its directory are free.
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

fn in_dir<T>(path: &Path, result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| io::Error::new(error.kind(), format!("cannot use {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: &str = "127.0.0.1:0";

    fn key() -> ClusterKey {
        ClusterKey::generate(&mut crate::system_rng().expect("randomness"))
    }

    fn config(listen: &str, key: ClusterKey) -> ServerConfig {
        ServerConfig::new(listen.parse().expect("an address"), key)
    }

    /// Has a server end as if by itself.
    async fn end(server: &Server) {
        let (done, stopped) = oneshot::channel();
        server.questions.send(Question::Stop(done)).await.expect("it runs");
        stopped.await.expect("it ends");
    }

    #[tokio::test]
    async fn a_server_that_has_ended_can_be_asked_again_and_stopped() {
        let mut server = Server::start(config(LOOPBACK, key())).await.expect("a server");
        end(&server).await;
        assert!(server.ended().await);
        assert!(server.ended().await);
        server.stop().await;
    }

    #[tokio::test]
    async fn a_server_that_has_failed_goes_on_saying_so() {
        let mut server = Server::start(config(LOOPBACK, key())).await.expect("a server");
        server.task.abort();
        assert!(!server.ended().await);
        assert!(!server.ended().await);
        server.stop().await;
    }

    #[tokio::test]
    async fn without_a_key_a_server_starts_beyond_loopback_only_when_told_to() {
        let public = ClusterKey::public;
        for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
            let error = Server::start(config(listen, public())).await.expect_err("it would be open to all");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
            assert!(error.to_string().contains("set ServerConfig::insecure"), "{error}");
        }
        // This machine has no such address: it is not the key that is in the way.
        for (key, insecure) in [(public(), true), (key(), false)] {
            let config = ServerConfig { insecure, ..config("192.0.2.1:0", key) };
            let error = Server::start(config).await.expect_err("no such address");
            assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable, "{error}");
        }
        Server::start(config(LOOPBACK, public())).await.expect("nobody else gets there").stop().await;
    }

    #[tokio::test]
    async fn who_has_stopped_a_server_can_start_another_in_its_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let number = std::process::id();
        // An address of its own, where no other test is given the port meanwhile.
        let listen = format!("127.{}.{}.9:0", 1 + number % 250, number / 250 % 250);
        let config = ServerConfig { var: Some(folder.path().to_owned()), ..config(&listen, key()) };
        // As a task: the runtime would run all others before what it blocks on.
        let turns = tokio::spawn(async move {
            let mut listen = config.listen;
            for _ in 0..3 {
                let server = Server::start(ServerConfig { listen, ..config.clone() }).await.expect("a server");
                listen = server.url().addr;
                server.stop().await;
            }
        });
        turns.await.expect("the place is free each time");
    }
}
