//! An encrypted circuit beside programs that everybody knows, as ratios of one
//! run: Redis and NATS (Debian's `redis-server` and `nats-server`), the bare
//! pump of the `hops` bench, and tokio's own processes.
//!
//! `cargo bench -p circuit-tests --bench peers [-- turn pipelined long spawn]`

use std::{
    io::{self, BufRead as _, Read as _, Write as _},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use circuit_core::{
    Url,
    session::ClusterKey,
    wire::op::{ProcSpec, StdinSpec},
};
use circuit_tests::{hops, key, loopback};
use circuit_tokio::{Circuit, Dial, Server, client::Chan};
use futures::StreamExt as _;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

const ROUND: Duration = Duration::from_secs(2);
const LONG: usize = 1 << 30;
const PIPELINED: usize = 400_000;
/// Sends and receives that are under way at once.
const DEEP: usize = 512;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Every client and every server has a thread of its own with a runtime of its
/// own, as their processes would have.
fn main() -> Result<()> {
    let key = key();
    println!("{:<34}{:>14}{:>14}{:>8}{:>8}", "", "circuit", "peer", "ratio", "bar");
    if wanted("turn") {
        row("send + recv in turn, pairs/s", alone(in_turn(Home::start(&key)?))?, alone(redis_pairs())?, 0.7);
    }
    if wanted("pipelined") {
        row("pipelined, messages/s", pipelined(&Home::start(&key)?)?, nats_messages()?, 0.15);
    }
    if wanted("long") {
        let pump = tokio::runtime::Runtime::new()?.block_on(hops::bulk(2, LONG))?;
        row("one long message, MB/s", long_message(&Home::start(&key)?)?, pump, 0.6);
    }
    if wanted("spawn") {
        row("spawn + wait, processes/s", alone(processes(Home::start(&key)?))?, alone(bare_processes())?, 0.7);
    }
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

fn row(name: &str, ours: f64, theirs: f64, bar: f64) {
    let ratio = ours / theirs;
    let verdict = if ratio >= bar { "" } else { "  MISSED" };
    println!("{name:<34}{ours:>14.0}{theirs:>14.0}{ratio:>8.2}{bar:>8.2}{verdict}");
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
        apart(async move || {
            let mut server = circuit_tests::server(&of).await;
            tell.send(server.url()).expect("somebody listens");
            Server::ended(&mut server).await;
        });
        Ok(Self { url: told.recv()?, key: key.clone() })
    }

    async fn client(&self) -> Circuit {
        Circuit::dial(Dial::url(self.url).key(self.key.clone())).await.expect("a client")
    }

    /// A client that has made a channel.
    async fn channel(&self, name: &str, cap: u32) -> Result<Chan> {
        Ok(self.client().await.server(self.url.id).walk(name)?.make_chan(cap).await?)
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
    while start.elapsed() < ROUND {
        act().await?;
        count += 1;
    }
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
}

async fn in_turn(server: Home) -> Result<f64> {
    let channel = server.channel("turn", 1).await?;
    rate(async || {
        channel.send("hello world").await?;
        let text = channel.recv().await?.bytes().await?;
        assert_eq!(text.len(), 11);
        Ok(())
    })
    .await
}

async fn redis_pairs() -> Result<f64> {
    let (peer, _) = Peer::start("redis-server", &["--save", "", "--bind", "127.0.0.1", "--port"]).await?;
    let stream = TcpStream::connect(peer.addr).await?;
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
    alone(server.channel("pipelined", 1024)).map(drop)?;
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

/// Does something very often, [`DEEP`] at once.
async fn many(act: impl AsyncFn()) {
    futures::stream::iter(0..PIPELINED).map(|_| act()).buffer_unordered(DEEP).for_each(async |()| ()).await;
}

/// Published one by one, and read one by one where they arrive.
fn nats_messages() -> Result<f64> {
    const COUNT: usize = 2_000_000;
    let (peer, mut subscriber) = alone(Peer::start("nats-server", &["-a", "127.0.0.1", "-p"]))?;
    let addr = peer.addr;
    let mut line = String::new();
    subscriber.get_mut().write_all(b"CONNECT {\"verbose\":false}\r\nSUB s 1\r\nPING\r\n")?;
    while line != "PONG\r\n" {
        line.clear();
        subscriber.read_line(&mut line)?;
    }
    let start = Instant::now();
    let publishing = thread::spawn(move || {
        let mut publisher = io::BufWriter::with_capacity(64 * 1024, std::net::TcpStream::connect(addr)?);
        publisher.write_all(b"CONNECT {\"verbose\":false}\r\n")?;
        for _ in 0..COUNT {
            write!(publisher, "PUB s {}\r\n", 64)?;
            publisher.write_all(&[b'x'; 64])?;
            publisher.write_all(b"\r\n")?;
        }
        publisher.flush()?;
        io::Result::Ok(publisher)
    });
    let mut payload = Vec::new();
    for _ in 0..COUNT {
        line.clear();
        subscriber.read_line(&mut line)?;
        let length: usize = line.trim_end().rsplit(' ').next().unwrap_or_default().parse()?;
        payload.resize(length + 2, 0);
        subscriber.read_exact(&mut payload)?;
    }
    let rate = COUNT as f64 / start.elapsed().as_secs_f64();
    publishing.join().map_err(|_| "the publisher panicked")??;
    Ok(rate)
}

fn long_message(server: &Home) -> Result<f64> {
    alone(server.channel("long", 0)).map(drop)?;
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

async fn processes(server: Home) -> Result<f64> {
    let anchor = server.client().await.server(server.url.id).walk("true")?;
    let spec = ProcSpec { path: "/bin/true".to_owned(), stdin: StdinSpec::Null, ..ProcSpec::default() };
    rate(async || {
        let process = anchor.make_proc(&spec).await?;
        process.wait().await?;
        anchor.scrub().await?;
        Ok(())
    })
    .await
}

async fn bare_processes() -> Result<f64> {
    rate(async || {
        let mut command = tokio::process::Command::new("/bin/true");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
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
    /// Starts `program` with `args` and a free port behind them, and connects
    /// to it.
    async fn start(program: &str, args: &[&str]) -> Result<(Self, io::BufReader<std::net::TcpStream>)> {
        let addr = std::net::TcpListener::bind(loopback())?.local_addr()?;
        let mut command = Command::new(program);
        command.args(args).arg(addr.port().to_string()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().map_err(|error| format!("{program}: {error}; on Debian: apt install {program}"))?;
        let mut peer = Self { child, addr };
        loop {
            if let Ok(stream) = std::net::TcpStream::connect(addr) {
                stream.set_nodelay(true)?;
                return Ok((peer, io::BufReader::with_capacity(64 * 1024, stream)));
            }
            if let Some(status) = peer.child.try_wait()? {
                return Err(format!("{program} ended: {status}").into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
