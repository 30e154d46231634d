//! Many real servers on this machine: how soon all of them know each other, how
//! soon one that is killed is gone from every view, and what they cost.
//!
//! ```text
//! cargo run --release -p circuit-tests --example thirty -- [SERVERS] [--idle SECONDS]
//! ```
//!
//! Loopback is counted as a whole. Where others use it too, a network namespace
//! keeps them out: `unshare --net sh -c 'ip link set lo up; cargo run ...'`.

use std::{
    collections::BTreeSet,
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    time::{Duration, Instant},
};

use circuit_core::{Url, session::ClusterKey, wire::op::Source};
use circuit_tokio::{
    Circuit, Dial,
    client::{Happened, Subscription},
    read_key,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdout, Command},
    task::JoinSet,
    time::{sleep, timeout},
};

/// From the first start until every view is full.
const FULL_WITHIN: Duration = Duration::from_secs(5);
/// From the kill until it is gone from every view.
const GONE_WITHIN: Duration = Duration::from_secs(2);
/// When to say who is late.
const PATIENCE: Duration = Duration::from_secs(60);
/// What is left to settle before idleness is measured.
const SETTLING: Duration = Duration::from_secs(10);

type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("thirty: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every bar was met.
async fn run() -> Fallible<bool> {
    let (count, idle) = arguments()?;
    let circuit = binary().await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("key");
    let made = Command::new(&circuit).arg("keygen").arg(&file).status().await?;
    if !made.success() {
        return Err("no key could be made".into());
    }
    let servers = Servers { circuit, key: read_key(&file)?, file };

    let (mut all, full) = boot(&servers, count).await?;
    println!("memory of a server, each with a client: {}", memory(&all)?);
    if let Some(idle) = idle {
        for server in &mut all {
            server.leave_alone().await?;
        }
        sleep(SETTLING).await;
        measure(&all, idle).await?;
        for server in &mut all {
            server.watch(&servers.key).await?;
            server.until(|view| view.len() == count).await?;
        }
    }
    let gone = kill(&mut all).await?;
    Ok(full && gone)
}

fn arguments() -> Fallible<(usize, Option<Duration>)> {
    let (mut count, mut idle) = (30, None);
    let mut words = env::args().skip(1);
    while let Some(word) = words.next() {
        if word == "--idle" {
            let seconds = words.next().ok_or("--idle needs a number of seconds")?;
            idle = Some(Duration::from_secs(seconds.parse()?));
        } else {
            count = word.parse().map_err(|_| format!("{word}: neither a number of servers nor --idle SECONDS"))?;
        }
    }
    if count < 2 {
        return Err("there must be two servers at least".into());
    }
    Ok((count, idle))
}

/// The binary of this checkout, built as this program was.
async fn binary() -> Fallible<PathBuf> {
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

/// How servers are started.
#[derive(Clone)]
struct Servers {
    circuit: PathBuf,
    key: ClusterKey,
    file: PathBuf,
}

/// A server, and a client that watches with its eyes.
struct Server {
    child: Child,
    url: Url,
    /// Kept, as a server may write to it.
    _stdout: BufReader<ChildStdout>,
    watch: Option<(Circuit, Subscription)>,
    view: BTreeSet<String>,
}

impl Servers {
    /// Starts one, which joins that at `first`, and watches it.
    async fn start(&self, first: Option<Url>) -> Fallible<Server> {
        let mut command = Command::new(&self.circuit);
        command.args(["start", "-a", "127.0.0.1", "-hmac"]).arg(&self.file).env("CIRCUIT_LOG", "error");
        if let Some(first) = first {
            command.args(["-j", &first.to_string()]);
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().ok_or("a server has no output")?);
        let mut line = String::new();
        stdout.read_line(&mut line).await?;
        let url: Url = line.trim().parse()?;
        let mut server = Server { child, url, _stdout: stdout, watch: None, view: BTreeSet::new() };
        server.watch(&self.key).await?;
        Ok(server)
    }
}

impl Server {
    fn anchor(&self) -> String {
        format!("/{}", self.url.id)
    }

    fn pid(&self) -> Fallible<u32> {
        Ok(self.child.id().ok_or("a server has ended by itself")?)
    }

    /// Gives it a client that sees what it sees.
    async fn watch(&mut self, key: &ClusterKey) -> Fallible<()> {
        let circuit = Circuit::dial(Dial::url(self.url).key(key.clone())).await?;
        let subscription = circuit.server(self.url.id).walk("watch")?.subscribe(Source::Both).await?;
        self.view.clear();
        self.watch = Some((circuit, subscription));
        Ok(())
    }

    /// Follows its view until that is as it should be; when that was.
    async fn until(&mut self, right: impl Fn(&BTreeSet<String>) -> bool) -> Fallible<Instant> {
        let (_, subscription) = self.watch.as_ref().ok_or("nobody watches that server")?;
        let watching = async {
            while !right(&self.view) {
                match subscription.next().await? {
                    Happened::Joined(server) => self.view.insert(server.path()),
                    Happened::Left(server) => self.view.remove(&server.path()),
                    Happened::Lagged(count) => return Err(format!("{count} events were missed").into()),
                };
            }
            Ok(Instant::now())
        };
        match timeout(PATIENCE, watching).await {
            Ok(when) => when,
            Err(_) => Err(format!("{} still sees {} after {PATIENCE:?}", self.anchor(), self.view.len()).into()),
        }
    }

    /// Its client goes.
    async fn leave_alone(&mut self) -> Fallible<()> {
        if let Some((circuit, subscription)) = self.watch.take() {
            subscription.anchor().scrub().await?;
            circuit.close().await;
        }
        Ok(())
    }
}

/// Starts them all, each through the first; and whether they were fast enough.
async fn boot(servers: &Servers, count: usize) -> Fallible<(Vec<Server>, bool)> {
    let begun = Instant::now();
    let mut first = servers.start(None).await?;
    let url = first.url;
    let mut rest = JoinSet::new();
    for _ in 1..count {
        let servers = servers.clone();
        rest.spawn(async move {
            let mut server = servers.start(Some(url)).await?;
            let started = Instant::now();
            let full = server.until(|view| view.len() == count).await?;
            Fallible::Ok((server, started, full))
        });
    }
    let mut times = vec![first.until(|view| view.len() == count).await?];
    let (mut all, mut started) = (vec![first], begun);
    while let Some(server) = rest.join_next().await {
        let (server, since, full) = server??;
        started = started.max(since);
        times.push(full);
        all.push(server);
    }
    let last = times.into_iter().max().unwrap_or(begun);
    let took = last - begun;
    println!(
        "{count} servers joined through one: every view full after {took:.2?}, {:.2?} after the last had started; {}",
        last.saturating_duration_since(started),
        bar(took, FULL_WITHIN)
    );
    Ok((all, took <= FULL_WITHIN))
}

/// Kills the last, and whether it was soon gone from every other's view.
async fn kill(all: &mut Vec<Server>) -> Fallible<bool> {
    let mut victim = all.pop().ok_or("there are no servers")?;
    victim.watch = None;
    let name = victim.anchor();
    let killed = Instant::now();
    victim.child.kill().await?;
    let mut rest = JoinSet::new();
    for mut server in all.drain(..) {
        let name = name.clone();
        rest.spawn(async move {
            let when = server.until(|view| !view.contains(&name)).await?;
            Fallible::Ok((server, when))
        });
    }
    let mut times = Vec::new();
    while let Some(server) = rest.join_next().await {
        let (server, when) = server??;
        times.push(when - killed);
        all.push(server);
    }
    times.sort_unstable();
    let took = times.last().copied().unwrap_or_default();
    println!(
        "one was killed: gone from the first view after {:.2?}, from every view after {took:.2?}; {}",
        times.first().copied().unwrap_or_default(),
        bar(took, GONE_WITHIN)
    );
    Ok(took <= GONE_WITHIN)
}

fn bar(took: Duration, within: Duration) -> String {
    let word = if took <= within { "met" } else { "MISSED" };
    format!("the bar of {within:?} is {word}")
}

/// What nobody asks anything of costs.
async fn measure(all: &[Server], idle: Duration) -> Fallible<()> {
    let begun = Instant::now();
    let (bytes, busy) = (loopback()?, busy(all)?);
    sleep(idle).await;
    let (bytes, busy) = (loopback()? - bytes, self::busy(all)? - busy);
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "idle for {seconds:.0} s: {:.0} bytes/s a server on loopback, {:.3} cores for all {}; memory {}",
        bytes as f64 / seconds / all.len() as f64,
        busy.as_secs_f64() / seconds,
        all.len(),
        memory(all)?,
    );
    Ok(())
}

/// Bytes that have come through loopback.
fn loopback() -> Fallible<u64> {
    let text = fs::read_to_string("/proc/net/dev")?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix("lo:")).ok_or("there is no loopback")?;
    Ok(line.split_whitespace().next().ok_or("loopback has no counts")?.parse()?)
}

/// The processor time of all servers.
fn busy(all: &[Server]) -> Fallible<Duration> {
    let mut nanoseconds = 0;
    for server in all {
        for thread in fs::read_dir(format!("/proc/{}/task", server.pid()?))? {
            let text = fs::read_to_string(thread?.path().join("schedstat"))?;
            nanoseconds += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
        }
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// Resident memory of a server: the least, the median, the most.
fn memory(all: &[Server]) -> Fallible<String> {
    let mut sizes = Vec::new();
    for server in all {
        let text = fs::read_to_string(format!("/proc/{}/status", server.pid()?))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("a server has no memory")?;
        sizes.push(line.trim().trim_end_matches(" kB").parse::<u64>()? as f64 / 1024.0);
    }
    sizes.sort_unstable_by(f64::total_cmp);
    let at = |place: usize| sizes.get(place).copied().unwrap_or_default();
    Ok(format!("{:.1} / {:.1} / {:.1} MiB (least, median, most)", at(0), at(sizes.len() / 2), at(sizes.len() - 1)))
}
