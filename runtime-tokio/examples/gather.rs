//! A program that organises itself: started on each of several hosts, it becomes
//! a circuit of its own, shares out work, and ends.
//!
//! ```text
//! cargo run --example gather -- OWN-ADDRESS OTHER-ADDRESS...
//! ```
//!
//! On one machine, in three shells and any order:
//!
//! ```text
//! cargo run --example gather -- 127.0.0.1:7711 127.0.0.2:7711 127.0.0.3:7711
//! cargo run --example gather -- 127.0.0.2:7711 127.0.0.3:7711 127.0.0.1:7711
//! cargo run --example gather -- 127.0.0.3:7711 127.0.0.1:7711 127.0.0.2:7711
//! ```
//!
//! Nothing else runs, and nobody is in charge: each is a server and waits until
//! it sees as many as there are addresses. The one with the lowest id leads. It
//! sends everybody a part of the work, counting primes, over a channel that
//! stands on their own host, and adds up what comes back. `CIRCUIT_HMAC` names a
//! file with the circuit's key; without one, only addresses of loopback will do.

use std::{env, error::Error, net::SocketAddr, path::Path, pin::pin};

use circuit_core::{ErrorKind, ServerId, Target, session::ClusterKey, wire::op::Source};
use circuit_tokio::{
    Circuit, Dial, Server, ServerConfig,
    client::{Anchor, Chan, Happened, Subscription},
    read_key,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Primes below this are counted by all together.
const LIMIT: u32 = 300_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let addresses: Vec<SocketAddr> =
        env::args().skip(1).map(|arg| arg.parse()).collect::<std::result::Result<_, _>>()?;
    let [listen, others @ ..] = &addresses[..] else {
        return Err("say the own address and those of all others".into());
    };
    let key = match env::var_os("CIRCUIT_HMAC") {
        Some(file) => read_key(Path::new(&file))?,
        None => ClusterKey::public(),
    };
    // Who they are is not known, only where: whoever has the key will do. Those
    // that are not there yet are tried until they are.
    let join = others.iter().map(|&addr| Target { addr, expect: None }).collect();
    let config = ServerConfig { join, ..ServerConfig::new(*listen, key.clone()) };
    let server = Server::start(config).await?;
    let circuit = Circuit::dial(Dial::url(server.url()).key(key)).await?;
    let result = take_part(&circuit, server.url().id, addresses.len()).await;
    circuit.close().await;
    server.stop().await;
    result
}

async fn take_part(circuit: &Circuit, me: ServerId, count: usize) -> Result<()> {
    let events = circuit.server(me).walk("gather/events")?.subscribe(Source::Both).await?;
    let mut members = Vec::new();
    while members.len() < count {
        // Not counted but asked for after each event: one may have gone again.
        events.next().await?;
        members = circuit.members().await?.members.into_iter().map(|member| member.id).collect();
    }
    // In the order of ids, for all the same.
    let leader = *members.first().ok_or("nobody is there")?;
    println!("all {count} are here, and /{leader} leads");
    let results = chan(&circuit.server(leader).walk("gather/results")?).await?;
    let inbox = inbox(circuit, me).await?;
    let work = work(me, &inbox, &results, gone(&events, leader));
    if me == leader {
        tokio::try_join!(lead(circuit, &members, &results), work)?;
        return Ok(());
    }
    // Whoever leaves before the leader might cut off the answer to its last call.
    if work.await? == Told::ToEnd {
        gone(&events, leader).await?;
    }
    Ok(())
}

/// How one who worked has come to know that there is no more to do.
#[derive(PartialEq)]
enum Told {
    ToEnd,
    ByTheLeadersEnd,
}

/// Hands out the work, and adds up.
async fn lead(circuit: &Circuit, members: &[ServerId], results: &Chan) -> Result<()> {
    let part = LIMIT.div_ceil(u32::try_from(members.len())?);
    let mut inboxes = Vec::new();
    for (&member, from) in members.iter().zip((0..).step_by(part.try_into()?)) {
        let inbox = inbox(circuit, member).await?;
        inbox.send(format!("{from} {}", LIMIT.min(from + part))).await?;
        inboxes.push(inbox);
    }
    let mut sum = 0;
    for _ in members {
        let result = results.recv().await?.bytes().await?;
        let result = String::from_utf8_lossy(&result).into_owned();
        println!("{result}");
        sum += result.rsplit(' ').next().unwrap_or_default().parse::<u32>()?;
    }
    println!("{sum} primes below {LIMIT}");
    for inbox in inboxes {
        inbox.close().await?; // there is no more
    }
    Ok(())
}

/// Does what comes until no more will, or the leader has left.
async fn work(me: ServerId, inbox: &Chan, results: &Chan, gone: impl Future<Output = Result<()>>) -> Result<Told> {
    let mut gone = pin!(gone);
    loop {
        let message = tokio::select! {
            message = inbox.recv() => message,
            lost = &mut gone => {
                lost?;
                let done = inbox.stat().await?.closed;
                return if done { Ok(Told::ByTheLeadersEnd) } else { Err("the leader is lost".into()) };
            }
        };
        let part = match message {
            Err(error) if error.kind == ErrorKind::Closed => return Ok(Told::ToEnd),
            message => message?.bytes().await?,
        };
        let part = String::from_utf8_lossy(&part).into_owned();
        let (from, to) = part.split_once(' ').ok_or("that is no work")?;
        let count = (from.parse()?..to.parse()?).filter(|&number| is_prime(number)).count();
        println!("I count those from {from} to {to}");
        results.send(format!("/{me} has found {count}")).await?;
    }
}

/// Waits until a server has left.
async fn gone(events: &Subscription, server: ServerId) -> Result<()> {
    loop {
        if let Happened::Left(left) = events.next().await?
            && left.server_id() == Some(server)
        {
            return Ok(());
        }
    }
}

/// Where a member hears what it is to do.
async fn inbox(circuit: &Circuit, of: ServerId) -> Result<Chan> {
    chan(&circuit.server(of).walk("gather/inbox")?).await
}

/// A channel for two who need it. Whoever comes first makes it: an anchor holds
/// one element, so there is nothing to agree on.
async fn chan(at: &Anchor) -> Result<Chan> {
    match at.make_chan(0).await {
        Err(error) if error.kind == ErrorKind::AlreadyExists => Ok(at.chan()?),
        made => Ok(made?),
    }
}

fn is_prime(number: u32) -> bool {
    number > 1 && (2..).take_while(|divisor| divisor * divisor <= number).all(|divisor| !number.is_multiple_of(divisor))
}
