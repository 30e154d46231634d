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
    env,
    net::{IpAddr, Ipv4Addr},
    process::ExitCode,
    time::{Duration, Instant},
};

use circuit_tests::{
    fleet::{self, Member, Place, Server, Servers},
    watch::Fault,
};
use tokio::time::sleep;

/// From the first start until every view is full.
const FULL_WITHIN: Duration = Duration::from_secs(5);
/// From the kill until it is gone from every view.
const GONE_WITHIN: Duration = Duration::from_secs(2);
/// What is left to settle before idleness is measured.
const SETTLING: Duration = Duration::from_secs(10);

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
async fn run() -> Result<bool, Fault> {
    let (count, idle) = arguments()?;
    let folder = tempfile::tempdir()?;
    let servers = Servers::new(folder.path()).await?;
    let places = vec![Place::here(IpAddr::V4(Ipv4Addr::LOCALHOST)); count];
    let (mut all, [full, last]) = fleet::boot::<Server>(&servers, places).await?;
    println!(
        "{count} servers joined through one: every view full after {full:.2?}, {last:.2?} after the last had started; {}",
        bar(full, FULL_WITHIN)
    );
    println!("memory of a server, each with a client: {}", memory(&all)?);
    if let Some(idle) = idle {
        for server in &mut all {
            server.leave_alone().await?;
        }
        sleep(SETTLING).await;
        measure(&all, idle).await?;
        for server in &mut all {
            server.watch(&servers.key).await?;
            server.sees(count).await?;
        }
    }
    let gone = kill(&mut all).await?;
    Ok(full <= FULL_WITHIN && gone)
}

fn arguments() -> Result<(usize, Option<Duration>), Fault> {
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

/// Kills the last, and whether it was soon gone from every other's view.
async fn kill(all: &mut Vec<Server>) -> Result<bool, Fault> {
    let mut victim = all.pop().ok_or("there are no servers")?;
    let killed = Instant::now();
    victim.child().kill().await?;
    let times = fleet::gone(all, victim.name(), killed).await?;
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
async fn measure(all: &[Server], idle: Duration) -> Result<(), Fault> {
    let (begun, pids) = (Instant::now(), fleet::pids(all)?);
    let (bytes, busy) = (fleet::received("lo")?, fleet::busy(&pids)?);
    sleep(idle).await;
    let (bytes, busy) = (fleet::received("lo")? - bytes, fleet::busy(&pids)? - busy);
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

/// Resident memory of a server.
fn memory(all: &[Server]) -> Result<String, Fault> {
    let [least, median, most] = fleet::memory(&fleet::pids(all)?, &["Rss"])?;
    Ok(format!("{least:.1} / {median:.1} / {most:.1} MiB (least, median, most)"))
}
