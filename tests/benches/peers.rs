//! An encrypted circuit beside programs that everybody knows, as ratios of one
//! run: Redis and NATS (Debian's `redis-server` and `nats-server`), the bare
//! pump of the `hops` bench, and tokio's own processes.
//!
//! Both sides of a row take turns, and what is printed are medians: of either
//! side's rates, and of the ratios of each turn. Every client and every server
//! of ours has the runtime that its process would have; the other servers are
//! processes.
//!
//! `cargo bench -p circuit-tests --bench peers [-- turn pipelined long spawn]`

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use circuit_core::{Url, session::ClusterKey, wire::op::ProcSpec};
use circuit_tests::{hops, key, loopback};
use circuit_tokio::{Circuit, Dial, Server, client::Chan};
use futures::StreamExt as _;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

/// How often both sides of a row take turns.
const TURNS: usize = 9;
/// How long one goes on for, where it is not told how much to do.
const TURN: Duration = Duration::from_secs(1);
const LONG: usize = 1 << 29;
const PIPELINED: usize = 400 * DEEP;
/// Sends and receives that are under way at once.
const DEEP: usize = 512;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let home = Home::start(&key())?;
    println!("{:<34}{:>14}{:>14}{:>8}{:>8}", "", "circuit", "peer", "ratio", "bar");
    if wanted("spawn") {
        // First: the larger this program has grown, the slower a bare fork is.
        row("spawn + wait, processes/s", 0.7, || alone(processes(&home)), || alone(bare_processes()))?;
    }
    if wanted("turn") {
        let redis = Peer::start("redis-server", &["--save", "", "--bind", "127.0.0.1", "--port"])?;
        let title = "send + recv in turn, pairs/s";
        row(title, 0.7, || alone(in_turn(&home)), || alone(redis_pairs(redis.addr)))?;
    }
    if wanted("pipelined") {
        let nats = Peer::start("nats-server", &["-a", "127.0.0.1", "-p"])?;
        row("pipelined, messages/s", 0.15, || pipelined(&home), || nats_messages(nats.addr))?;
    }
    if wanted("long") {
        let pump = || Ok(tokio::runtime::Runtime::new()?.block_on(hops::bulk(2, LONG))?);
        row("one long message, MB/s", 0.6, || long_message(&home), pump)?;
    }
    Ok(())
}

/// Has both sides take turns, and prints what came of it.
fn row(
    title: &str,
    bar: f64,
    mut ours: impl FnMut() -> Result<f64>,
    mut theirs: impl FnMut() -> Result<f64>,
) -> Result<()> {
    let turns: Vec<(f64, f64)> = (0..TURNS).map(|_| Ok((ours()?, theirs()?))).collect::<Result<_>>()?;
    let median = |of: fn(&(f64, f64)) -> f64| {
        let mut sorted: Vec<f64> = turns.iter().map(of).collect();
        sorted.sort_by(f64::total_cmp);
        sorted[TURNS / 2]
    };
    let (ours, theirs, ratio) = (median(|turn| turn.0), median(|turn| turn.1), median(|turn| turn.0 / turn.1));
    let verdict = if ratio >= bar { "" } else { "  MISSED" };
    println!("{title:<34}{ours:>14.0}{theirs:>14.0}{ratio:>8.2}{bar:>8.2}{verdict}");
    Ok(())
}

/// Runs `future` on this thread alone.
fn alone<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(future)
}

/// Runs `future` on a thread of its own.
fn apart<F, T>(future: impl FnOnce() -> F + Send + 'static) -> thread::JoinHandle<T>
where
    F: Future<Output = T>,
    T: Send + 'static,
{
    thread::spawn(move || alone(future()))
}

/// Whether a row was asked for: all are, unless some are named.
fn wanted(name: &str) -> bool {
    let mut named = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).peekable();
    named.peek().is_none() || named.any(|argument| argument == name)
}

/// A server in a thread of its own, as its process would be.
#[derive(Clone)]
struct Home {
    url: Url,
    key: ClusterKey,
}

impl Home {
    fn start(key: &ClusterKey) -> Result<Self> {
        let (tell, told) = std::sync::mpsc::channel();
        let of = key.clone();
        thread::spawn(move || {
            circuit_tokio::runtime().expect("a runtime").block_on(async move {
                let mut server = circuit_tests::server(&of).await;
                tell.send(server.url()).expect("somebody listens");
                Server::ended(&mut server).await;
            });
        });
        Ok(Self { url: told.recv()?, key: key.clone() })
    }

    async fn client(&self) -> Circuit {
        Circuit::dial(Dial::url(self.url).key(self.key.clone())).await.expect("a client")
    }

    /// A client that has made a channel, where one was before perhaps.
    async fn new_channel(&self, name: &str, cap: u32) -> Result<Chan> {
        let anchor = self.client().await.server(self.url.id).walk(name)?;
        let _ = anchor.scrub().await;
        Ok(anchor.make_chan(cap).await?)
    }

    /// Another client of that channel.
    async fn same_channel(&self, name: &str) -> Result<(Circuit, Chan)> {
        let circuit = self.client().await;
        let channel = circuit.server(self.url.id).walk(name)?.chan()?;
        Ok((circuit, channel))
    }
}

/// Runs `act` for a while: how often a second it came round.
async fn rate(mut act: impl AsyncFnMut() -> Result<()>) -> Result<f64> {
    for _ in 0..100 {
        act().await?;
    }
    let (start, mut count) = (Instant::now(), 0_u32);
    while start.elapsed() < TURN {
        act().await?;
        count += 1;
    }
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
}

/// One client sends a message and receives it again, and so on: two round trips.
async fn in_turn(server: &Home) -> Result<f64> {
    let channel = server.new_channel("turn", 1).await?;
    rate(async || {
        channel.send("hello world").await?;
        let text = channel.recv().await?.bytes().await?;
        assert_eq!(text.len(), 11);
        Ok(())
    })
    .await
}

/// The same with a list: two round trips, in the clear.
async fn redis_pairs(addr: SocketAddr) -> Result<f64> {
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    rate(async || {
        stream.write_all(b"LPUSH k hello-world\r\n").await?;
        line.clear();
        stream.read_line(&mut line).await?;
        stream.write_all(b"RPOP k\r\n").await?;
        line.clear();
        stream.read_line(&mut line).await?;
        line.clear();
        stream.read_line(&mut line).await?;
        assert_eq!(line, "hello-world\r\n");
        Ok(())
    })
    .await
}

/// Many sends and many receives under way at once, by two clients.
fn pipelined(server: &Home) -> Result<f64> {
    alone(server.new_channel("pipelined", 1024)).map(drop)?;
    let (sender, receiver) = (server.clone(), server.clone());
    let start = Instant::now();
    let sending = apart(async move || {
        let (_, to) = sender.same_channel("pipelined").await.expect("a channel");
        many(async || {
            to.send(Bytes::from_static(&[7; 64])).await.expect("sent");
        })
        .await;
    });
    let receiving = apart(async move || {
        let (circuit, from) = receiver.same_channel("pipelined").await.expect("a channel");
        many(async || {
            let message = from.recv().await.expect("received").bytes().await.expect("read");
            assert_eq!(message.len(), 64);
        })
        .await;
        circuit.close().await; // the last acknowledgements are on their way
    });
    for thread in [sending, receiving] {
        thread.join().map_err(|_| "a client panicked")?;
    }
    Ok(PIPELINED as f64 / start.elapsed().as_secs_f64())
}

/// Does something very often, [`DEEP`] at once: each has one under way.
async fn many(act: impl AsyncFn()) {
    let each = async || {
        for _ in 0..PIPELINED / DEEP {
            act().await;
        }
    };
    futures::future::join_all((0..DEEP).map(|_| each())).await;
}

/// As many messages, published by one client of NATS's own for Rust and read by
/// another. Nobody acknowledges anything, and nothing is encrypted.
fn nats_messages(addr: SocketAddr) -> Result<f64> {
    let connect = async move || {
        // What outruns the reader is kept for it: else it would be lost.
        let options = async_nats::ConnectOptions::new().subscription_capacity(PIPELINED);
        options.connect(addr.to_string()).await.expect("a client of NATS")
    };
    let (tell, told) = std::sync::mpsc::channel();
    let receiving = apart(async move || {
        let client = connect().await;
        let messages = client.subscribe("pipelined").await.expect("a subscription");
        client.flush().await.expect("subscribed");
        tell.send(()).expect("somebody listens");
        messages.take(PIPELINED).for_each(async |message| assert_eq!(message.payload.len(), 64)).await;
    });
    told.recv()?;
    let start = Instant::now();
    let sending = apart(async move || {
        let client = connect().await;
        for _ in 0..PIPELINED {
            client.publish("pipelined", Bytes::from_static(&[7; 64])).await.expect("published");
        }
        client.flush().await.expect("written");
    });
    for thread in [sending, receiving] {
        thread.join().map_err(|_| "a client of NATS panicked")?;
    }
    Ok(PIPELINED as f64 / start.elapsed().as_secs_f64())
}

fn long_message(server: &Home) -> Result<f64> {
    alone(server.new_channel("long", 0)).map(drop)?;
    let (sender, receiver) = (server.clone(), server.clone());
    let start = Instant::now();
    let sending = apart(async move || {
        let (_, to) = sender.same_channel("long").await.expect("a channel");
        let (mut message, piece) = (to.sender(), Bytes::from(vec![7; 60 * 1024]));
        for _ in 0..LONG / piece.len() {
            message.write(piece.clone()).await.expect("room");
        }
        message.sent().await.expect("delivered")
    });
    let receiving = apart(async move || {
        let (_, from) = receiver.same_channel("long").await.expect("a channel");
        let (mut message, mut total) = (from.recv().await.expect("a message"), 0);
        while let Some(bytes) = message.next().await.expect("more") {
            total += bytes.len();
        }
        message.confirm().await.expect("it is ours");
        total
    });
    sending.join().map_err(|_| "the sender panicked")?;
    let total = receiving.join().map_err(|_| "the receiver panicked")?;
    Ok(hops::megabytes_per_second(total, start))
}

/// A call makes a process at an anchor and waits for its end; the anchor is free
/// again after. Its standard input, output and error are pipes; it has a session
/// of its own, and dies with the server.
async fn processes(server: &Home) -> Result<f64> {
    let anchor = server.client().await.server(server.url.id).walk("true")?;
    let spec = ProcSpec { path: "/bin/true".to_owned(), scrub: true, ..ProcSpec::default() };
    rate(async || {
        anchor.run_proc(&spec).await?;
        Ok(())
    })
    .await
}

/// The same with tokio alone: three pipes, a session, spawned and waited for.
async fn bare_processes() -> Result<f64> {
    rate(async || {
        let mut command = tokio::process::Command::new("/bin/true");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // SAFETY: setsid is a system call, and nothing else.
        unsafe { command.pre_exec(|| Ok(rustix::process::setsid().map(drop)?)) };
        command.spawn()?.wait().await?;
        Ok(())
    })
    .await
}

/// Another program's server.
struct Peer {
    child: Child,
    addr: SocketAddr,
}

impl Peer {
    /// Starts `program` with `args` and a free port behind them, and waits until
    /// it can be connected to.
    fn start(program: &str, args: &[&str]) -> Result<Self> {
        let addr = std::net::TcpListener::bind(loopback())?.local_addr()?;
        let mut command = Command::new(program);
        command.args(args).arg(addr.port().to_string()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().map_err(|error| format!("{program}: {error}; on Debian: apt install {program}"))?;
        let mut peer = Self { child, addr };
        while std::net::TcpStream::connect(addr).is_err() {
            if let Some(status) = peer.child.try_wait()? {
                return Err(format!("{program} ended: {status}").into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(peer)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
