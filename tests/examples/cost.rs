//! What servers cost, beside as many agents of `serf` (a Debian package): idle,
//! joining, when a process is killed and when a host falls silent.
//!
//! ```text
//! cargo run --release -p circuit-tests --example cost -- [SERVERS]
//! ```
//!
//! It takes root, `ip` and `nft`: all run in a network namespace of their own, so
//! that nothing else is counted, and one of them on a host of its own.

use std::{
    env,
    net::IpAddr,
    process::ExitCode,
    time::{Duration, Instant},
};

use circuit_tests::{
    fleet::{self, Member, Place, Server, Servers},
    serf::Agent,
    watch::Fault,
    wire::{Rules, Wire},
};
use tokio::time::sleep;

/// Servers keep the links by which they found each other for a minute.
const SETTLING: Duration = Duration::from_secs(80);
/// For so long idleness is measured.
const IDLE: Duration = Duration::from_secs(60);

/// What is measured, and how much it may be.
const ROWS: [(&str, f64); 7] = [
    ("joined through one, all views full, s", 2.0),
    ("idle, bytes/s each", 271.0),
    ("idle, processors for all", 0.05),
    ("resident memory each, MiB (median)", 6.0),
    ("of which private, MiB (median)", f64::INFINITY),
    ("a process killed, seen by all, s", 1.0),
    ("a silent host, seen by all, s", 8.0),
];

type Figures = [f64; ROWS.len()];

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cost: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every bar was met.
fn run() -> Result<bool, Fault> {
    let count = env::args().nth(1).map_or(Ok(60), |word| word.parse());
    let count = count.ok().filter(|count| (3..=200).contains(count)).ok_or("SERVERS is a number from 3 to 200")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let folder = tempfile::tempdir()?;
    let servers = runtime.block_on(Servers::new(folder.path()))?;
    let wire = Wire::with_rules("cost", 1)?;
    let here = Place::here(wire.enter_hub()?.into());
    let by = ["ip", "netns", "exec", wire.host(0)].map(str::to_owned).to_vec();
    let mut places = vec![here; count - 1];
    places.push(Place { by, address: IpAddr::V4(wire.addr(0)) });
    let circuit = runtime.block_on(circuit(&servers, places.clone(), &wire))?;
    let serf = runtime.block_on(serf(places, &wire));
    let serf = serf.inspect_err(|error| eprintln!("cost: there is nothing to compare with: {error}")).ok();
    Ok(print(count, &circuit, serf.as_ref()))
}

async fn circuit(servers: &Servers, places: Vec<Place>, wire: &Wire) -> Result<Figures, Fault> {
    let count = places.len();
    let (mut all, [full, _]) = fleet::boot::<Server>(servers, places).await?;
    for server in &mut all {
        server.leave_alone().await?;
    }
    let idle = idle(&all).await?;
    for server in &mut all {
        server.watch(&servers.key).await?;
        server.sees(count).await?;
    }
    figures(full, idle, all, wire).await
}

async fn serf(places: Vec<Place>, wire: &Wire) -> Result<Figures, Fault> {
    let (all, [full, _]) = fleet::boot::<Agent>(&(), places).await?;
    let idle = idle(&all).await?;
    figures(full, idle, all, wire).await
}

/// Bytes a second each, processors for all, resident and private memory.
async fn idle<M: Member>(all: &[M]) -> Result<[f64; 4], Fault> {
    eprintln!("{} have found each other; idleness is measured after {SETTLING:?}, for {IDLE:?}", all.len());
    sleep(SETTLING).await;
    let pids = fleet::pids(all)?;
    let (begun, sent, busy) = (Instant::now(), traffic()?, fleet::busy(&pids)?);
    sleep(IDLE).await;
    let seconds = begun.elapsed().as_secs_f64();
    let bytes = (traffic()? - sent) as f64 / seconds / all.len() as f64;
    let busy = (fleet::busy(&pids)? - busy).as_secs_f64() / seconds;
    let [_, resident, _] = fleet::memory(&pids, &["Rss"])?;
    let [_, private, _] = fleet::memory(&pids, &["Private_Clean", "Private_Dirty"])?;
    Ok([bytes, busy, resident, private])
}

/// What passed on loopback and on the wire to the far host.
fn traffic() -> Result<u64, Fault> {
    Ok(fleet::received("lo")? + fleet::received("wire")? + fleet::sent("wire")?)
}

/// Kills one, and cuts the last off, which is on a host of its own.
async fn figures<M: Member>(full: Duration, idle: [f64; 4], mut all: Vec<M>, wire: &Wire) -> Result<Figures, Fault> {
    let middle = all.len() / 2;
    let mut victim = all.remove(middle);
    let since = Instant::now();
    victim.child().kill().await?;
    let killed = fleet::gone(&mut all, victim.name(), since).await?;
    let far = all.pop().ok_or("there is none")?;
    let _nothing_from_it =
        Rules::new(wire.hub(), "inet drops", &[("filter hook input priority 0;", "iifname wire drop")]);
    let since = Instant::now();
    let _nothing_to_it = Rules::drop_incoming(wire.host(0), "ip saddr 10.77.0.0/24");
    let silent = fleet::gone(&mut all, far.name(), since).await?;
    drop(far);
    let last = |times: &[Duration]| times.last().map_or(f64::INFINITY, Duration::as_secs_f64);
    let [bytes, busy, resident, private] = idle;
    Ok([full.as_secs_f64(), bytes, busy, resident, private, last(&killed), last(&silent)])
}

fn print(count: usize, circuit: &Figures, serf: Option<&Figures>) -> bool {
    let mut met = true;
    println!("| {count} servers on one machine | bar | circuit | serf | circuit / serf | |\n|---|--:|--:|--:|--:|---|");
    for (row, (what, bar)) in ROWS.into_iter().enumerate() {
        let own = circuit[row];
        let (other, ratio) = match serf {
            Some(serf) => (number(serf[row]), number(own / serf[row])),
            None => ("-".to_owned(), "-".to_owned()),
        };
        let (bar, verdict) = match bar.is_finite() {
            true => (number(bar), if own <= bar { "met" } else { "MISSED" }),
            false => ("-".to_owned(), ""),
        };
        met &= verdict != "MISSED";
        println!("| {what} | {bar} | {} | {other} | {ratio} | {verdict} |", number(own));
    }
    met
}

fn number(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 0.1 {
        format!("{value:.2}")
    } else {
        format!("{value:.3}")
    }
}
