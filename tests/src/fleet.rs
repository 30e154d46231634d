//! Many real servers on this machine, each with a client that sees what it sees,
//! and what they cost.

use std::{
    env,
    ffi::OsStr,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use circuit_core::{ServerId, Url, session::ClusterKey};
use circuit_tokio::{Circuit, Dial, read_key};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdout, Command},
    task::JoinSet,
};

use crate::watch::{Fault, Watch};

/// When to say who is late.
const PATIENCE: Duration = Duration::from_secs(60);

/// The binary of this checkout, built as this program was.
async fn binary() -> Result<PathBuf, Fault> {
    let own = env::current_exe()?;
    let folder = own.parent().and_then(Path::parent).ok_or("this program is not where cargo puts it")?;
    let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--quiet", "--package", "circuit"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    if !build.status().await?.success() {
        return Err("the server could not be built".into());
    }
    Ok(folder.join("circuit"))
}

/// Where a process runs, and listens.
#[derive(Clone, Debug)]
pub struct Place {
    /// The command that brings it there, if one is needed.
    pub by: Vec<String>,
    /// The address where it listens.
    pub address: IpAddr,
}

impl Place {
    /// Here, where this program runs.
    pub const fn here(address: IpAddr) -> Self {
        Self { by: Vec::new(), address }
    }

    /// A command that runs `program` there. It is killed when it is dropped.
    pub fn command(&self, program: &Path) -> Command {
        let mut words = self.by.iter().map(OsStr::new).chain([program.as_os_str()]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        command
    }
}

/// One of many that see each other.
pub trait Member: Sized + Send + 'static {
    /// How they are started.
    type Kind: Clone + Send + Sync + 'static;
    /// What it is called in views.
    type Name: Clone + Send + 'static;

    /// Starts one, of this number, which joins through that one.
    fn start(
        kind: Self::Kind,
        number: usize,
        place: Place,
        through: Option<&Self>,
    ) -> impl Future<Output = Result<Self, Fault>> + Send + use<Self>;

    /// Follows its view until it holds so many; when that was.
    fn sees(&mut self, count: usize) -> impl Future<Output = Result<Instant, Fault>> + Send;

    /// What it is called.
    fn name(&self) -> Self::Name;

    /// Follows its view until it does not hold that one; when that was.
    fn misses(&mut self, name: Self::Name) -> impl Future<Output = Result<Instant, Fault>> + Send;

    /// Its process.
    fn child(&mut self) -> &mut Child;

    /// The number of its process.
    ///
    /// # Errors
    /// It has ended by itself.
    fn pid(&self) -> Result<u32, Fault>;
}

/// Starts one at each of these places, all through the first; and how long it took
/// until every view was full, in all and after the last had started.
///
/// # Errors
/// One did not start, or does not see all.
pub async fn boot<M: Member>(kind: &M::Kind, places: Vec<Place>) -> Result<(Vec<M>, [Duration; 2]), Fault> {
    let (begun, count) = (Instant::now(), places.len());
    let mut places = places.into_iter().enumerate();
    let (number, place) = places.next().ok_or("there is no place")?;
    let mut first = M::start(kind.clone(), number, place, None).await?;
    let mut rest = JoinSet::new();
    for (number, place) in places {
        let starting = M::start(kind.clone(), number, place, Some(&first));
        rest.spawn(async move {
            let mut member = starting.await?;
            let started = Instant::now();
            let full = member.sees(count).await?;
            Ok::<_, Fault>((number, member, started, full))
        });
    }
    let mut full = first.sees(count).await?;
    let (mut all, mut started) = (vec![(0, first)], begun);
    while let Some(member) = rest.join_next().await {
        let (number, member, since, when) = member??;
        started = started.max(since);
        full = full.max(when);
        all.push((number, member));
    }
    all.sort_unstable_by_key(|(number, _)| *number);
    let all = all.into_iter().map(|(_, member)| member).collect();
    Ok((all, [full - begun, full.saturating_duration_since(started)]))
}

/// How soon since then each of these did not see that one any more; in order.
///
/// # Errors
/// One still sees it.
pub async fn gone<M: Member>(all: &mut Vec<M>, name: M::Name, since: Instant) -> Result<Vec<Duration>, Fault> {
    let mut watching = JoinSet::new();
    for (number, mut member) in all.drain(..).enumerate() {
        let name = name.clone();
        watching.spawn(async move {
            let when = member.misses(name).await?;
            Ok::<_, Fault>((number, member, when))
        });
    }
    let (mut times, mut back) = (Vec::new(), Vec::new());
    while let Some(member) = watching.join_next().await {
        let (number, member, when) = member??;
        times.push(when.saturating_duration_since(since));
        back.push((number, member));
    }
    back.sort_unstable_by_key(|(number, _)| *number);
    all.extend(back.into_iter().map(|(_, member)| member));
    times.sort_unstable();
    Ok(times)
}

/// The processes of these.
///
/// # Errors
/// One has ended by itself.
pub fn pids<M: Member>(all: &[M]) -> Result<Vec<u32>, Fault> {
    all.iter().map(M::pid).collect()
}

/// How servers are started.
#[derive(Clone, Debug)]
pub struct Servers {
    /// The binary.
    pub circuit: PathBuf,
    /// The circuit's key.
    pub key: ClusterKey,
    /// The file that holds it.
    pub file: PathBuf,
}

impl Servers {
    /// Servers of this checkout, with a key in that folder.
    ///
    /// # Errors
    /// The binary could not be built, or the key not be made.
    pub async fn new(folder: &Path) -> Result<Self, Fault> {
        let (circuit, file) = (binary().await?, folder.join("key"));
        let made = Command::new(&circuit).arg("keygen").arg(&file).status().await?;
        if !made.success() {
            return Err("no key could be made".into());
        }
        Ok(Self { circuit, key: read_key(&file)?, file })
    }
}

/// A server, and a client that watches with its eyes.
#[derive(Debug)]
pub struct Server {
    child: Child,
    url: Url,
    /// Kept, as a server may write to it.
    _stdout: BufReader<ChildStdout>,
    watch: Option<Watch>,
}

impl Member for Server {
    type Kind = Servers;
    type Name = ServerId;

    fn start(
        kind: Servers,
        _: usize,
        place: Place,
        through: Option<&Self>,
    ) -> impl Future<Output = Result<Self, Fault>> + Send + use<> {
        let through = through.map(|first| first.url);
        async move {
            let mut command = place.command(&kind.circuit);
            command.args(["start", "-a", &place.address.to_string(), "-hmac"]).arg(&kind.file);
            if let Some(first) = through {
                command.args(["-j", &first.to_string()]);
            }
            let mut child = command.env("CIRCUIT_LOG", "error").spawn()?;
            let mut stdout = BufReader::new(child.stdout.take().ok_or("a server has no output")?);
            let mut line = String::new();
            stdout.read_line(&mut line).await?;
            let url: Url = line.trim().parse().map_err(|error| format!("a server printed {line:?}: {error}"))?;
            let mut server = Self { child, url, _stdout: stdout, watch: None };
            server.watch(&kind.key).await?;
            Ok(server)
        }
    }

    async fn sees(&mut self, count: usize) -> Result<Instant, Fault> {
        let watch = self.watch.as_mut().ok_or("nobody watches that server")?;
        watch.until(PATIENCE, |view| view.len() == count).await
    }

    fn name(&self) -> ServerId {
        self.url.id
    }

    async fn misses(&mut self, name: ServerId) -> Result<Instant, Fault> {
        let watch = self.watch.as_mut().ok_or("nobody watches that server")?;
        watch.until(PATIENCE, |view| !view.contains(&name)).await
    }

    fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    fn pid(&self) -> Result<u32, Fault> {
        Ok(self.child.id().ok_or("a server has ended by itself")?)
    }
}

impl Server {
    /// Gives it a client that sees what it sees.
    ///
    /// # Errors
    /// Those of the server and the connection.
    pub async fn watch(&mut self, key: &ClusterKey) -> Result<(), Fault> {
        let circuit = Circuit::dial(Dial::url(self.url).key(key.clone())).await?;
        self.watch = Some(Watch::start(circuit).await?);
        Ok(())
    }

    /// Its client goes.
    ///
    /// # Errors
    /// As [`Watch::end`].
    pub async fn leave_alone(&mut self) -> Result<(), Fault> {
        match self.watch.take() {
            Some(watch) => watch.end().await,
            None => Ok(()),
        }
    }
}

/// Bytes that have come by an interface of this thread's network.
///
/// # Errors
/// There is no such interface.
pub fn received(interface: &str) -> Result<u64, Fault> {
    counted(interface, 0)
}

/// Bytes that have gone by an interface of this thread's network.
///
/// # Errors
/// There is no such interface.
pub fn sent(interface: &str) -> Result<u64, Fault> {
    counted(interface, 8)
}

fn counted(interface: &str, column: usize) -> Result<u64, Fault> {
    let text = fs::read_to_string("/proc/thread-self/net/dev")?;
    let of = |line: &str| line.trim().strip_prefix(interface)?.strip_prefix(':').map(str::to_owned);
    let counts = text.lines().find_map(of).ok_or_else(|| format!("there is no interface {interface}"))?;
    Ok(counts.split_whitespace().nth(column).ok_or("an interface has no counts")?.parse()?)
}

/// The processor time that processes have had, all together.
///
/// # Errors
/// One has ended.
pub fn busy(pids: &[u32]) -> Result<Duration, Fault> {
    let mut nanoseconds = 0;
    for pid in pids {
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let text = fs::read_to_string(thread?.path().join("schedstat"))?;
            nanoseconds += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
        }
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// What the kernel's account of the processes' memory says in these fields, as
/// `Rss`, added up, in MiB: the least, the median, the most.
///
/// # Errors
/// One has ended.
pub fn memory(pids: &[u32], fields: &[&str]) -> Result<[f64; 3], Fault> {
    let mut sizes = Vec::new();
    for pid in pids {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let of = |line: &str| {
            let (_, size) = line.split_once(':').filter(|(name, _)| fields.contains(name))?;
            size.trim().strip_suffix(" kB")?.parse::<u64>().ok()
        };
        sizes.push(text.lines().filter_map(of).sum::<u64>() as f64 / 1024.0);
    }
    sizes.sort_unstable_by(f64::total_cmp);
    let at = |place: usize| sizes.get(place).copied().unwrap_or_default();
    Ok([at(0), at(sizes.len() / 2), at(sizes.len().saturating_sub(1))])
}
