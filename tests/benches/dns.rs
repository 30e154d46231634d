//! A name server beside `unbound` with one thread and the same local data: what
//! `dnsperf` gets of each, with four clients, and the ratio of the two.
//!
//! `cargo bench -p circuit-tests --bench dns`; it needs Debian's `unbound` and
//! `dnsperf`.

use std::{
    fmt::Write as _,
    fs, io,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use circuit_tests::{client, key, loopback, server};
use tokio::net::UdpSocket;

const NAMES: usize = 1_000;
const SECONDS: &str = "5";
const RUNS: usize = 3;

type Failure = Box<dyn std::error::Error>;

/// Stops it when this is dropped.
struct Unbound(Child);

impl Drop for Unbound {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    for program in ["unbound", "dnsperf"] {
        if Command::new(program).arg("-h").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            println!("skipped: there is no {program} (Debian's package of that name)");
            return Ok(());
        }
    }
    let folder = tempfile::tempdir()?;
    let queries = folder.path().join("queries");
    let lines: String = (0..NAMES).map(|number| format!("n{number}.bench.example. A\n")).collect();
    fs::write(&queries, lines)?;

    let port = free_port().await?;
    let _unbound = start_unbound(folder.path(), port)?;
    let key = key();
    let server = server(&key).await;
    let circuit = client(&server, &key).await;
    let anchor = circuit.server(server.url().id).walk("dns")?;
    let nameserver = anchor.make_dns(Some(loopback())).await?;
    for number in 0..NAMES {
        nameserver.set(&format!("n{number}.bench.example. 3600 IN A 10.0.{}.{}", number / 256, number % 256)).await?;
    }
    let own = nameserver.stat().await?.addr;
    let other = SocketAddr::new(loopback().ip(), port);
    answers(other).await?;

    println!("{:<12}{:>16}{:>16}{:>8}", "run", "circuit, q/s", "unbound, q/s", "ratio");
    let mut ratios = Vec::new();
    for run in 1..=RUNS {
        let (ours, theirs) = (rate(own, &queries).await?, rate(other, &queries).await?);
        println!("{run:<12}{ours:>16.0}{theirs:>16.0}{:>8.2}", ours / theirs);
        ratios.push(ours / theirs);
    }
    ratios.sort_by(f64::total_cmp);
    println!("median ratio {:.2}, to be at least 0.5", ratios[RUNS / 2]);
    circuit.close().await;
    server.stop().await;
    Ok(())
}

async fn free_port() -> io::Result<u16> {
    Ok(UdpSocket::bind(loopback()).await?.local_addr()?.port())
}

fn start_unbound(folder: &Path, port: u16) -> Result<Unbound, Failure> {
    let mut conf = format!(
        "server:\n do-daemonize: no\n username: \"\"\n chroot: \"\"\n directory: \"{0}\"\n pidfile: \"{0}/pid\"\n \
         use-syslog: no\n logfile: \"{0}/log\"\n num-threads: 1\n interface: 127.0.0.1\n port: {port}\n \
         access-control: 127.0.0.0/8 allow\n local-zone: \"bench.example.\" static\n",
        folder.display()
    );
    for number in 0..NAMES {
        let (high, low) = (number / 256, number % 256);
        writeln!(conf, " local-data: \"n{number}.bench.example. 3600 IN A 10.0.{high}.{low}\"")?;
    }
    conf.push_str("remote-control:\n control-enable: no\n");
    let path = folder.join("unbound.conf");
    fs::write(&path, conf)?;
    Ok(Unbound(Command::new("unbound").args(["-d", "-c"]).arg(path).stderr(Stdio::null()).spawn()?))
}

/// Asks until there is an answer.
async fn answers(server: SocketAddr) -> io::Result<()> {
    let socket = UdpSocket::bind(loopback()).await?;
    socket.connect(server).await?;
    let query = b"\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x02n0\x05bench\x07example\x00\x00\x01\x00\x01";
    loop {
        // It refuses while it is not there, and then has to be asked again.
        let _ = socket.send(query).await;
        let mut reply = [0; 512];
        let wait = tokio::time::timeout(Duration::from_millis(100), socket.recv(&mut reply));
        if let Ok(Ok(_)) = wait.await {
            return Ok(());
        }
    }
}

/// The queries that are answered in a second.
async fn rate(server: SocketAddr, queries: &Path) -> Result<f64, Failure> {
    let mut command = tokio::process::Command::new("dnsperf");
    command.args(["-s", &server.ip().to_string(), "-p", &server.port().to_string(), "-c", "4", "-l", SECONDS, "-d"]);
    let output = command.arg(queries).output().await?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.trim().strip_prefix("Queries per second:"));
    Ok(line.ok_or_else(|| format!("dnsperf says: {text}"))?.trim().parse()?)
}
