//! What encryption and a server in between cost: round trips and bytes over
//! raw TCP, over one session, and through a bare pump between two sessions.
//!
//! `cargo bench -p circuit-tests --bench hops`

use std::{
    io,
    time::{Duration, Instant},
};

use bytes::Bytes;
use circuit_core::session::Event;
use circuit_tests::hops::{bulk, chain, megabytes_per_second, packet, tcp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SMALL: usize = 64;
const ROUND: Duration = Duration::from_secs(2);
const LONG: usize = 1 << 30;

#[tokio::main]
async fn main() -> io::Result<()> {
    let raw_trips = raw_round_trips().await?;
    let raw_rate = raw_bulk().await?;
    println!("{:<28}{:>14}{:>8}{:>12}{:>8}", "", "round trips/s", "ratio", "MB/s", "ratio");
    let row = |name: &str, trips: f64, rate: f64| {
        let (of_trips, of_rate) = (trips / raw_trips, rate / raw_rate);
        println!("{name:<28}{trips:>14.0}{of_trips:>8.2}{rate:>12.0}{of_rate:>8.2}");
    };
    row("raw TCP", raw_trips, raw_rate);
    for hops in [1, 2] {
        let (trips, rate) = (round_trips(hops).await?, bulk(hops, LONG).await?);
        row(if hops == 1 { "a session" } else { "two, with a pump between" }, trips, rate);
    }
    Ok(())
}

async fn raw_round_trips() -> io::Result<f64> {
    let (mut near, mut far) = tcp().await?;
    tokio::spawn(async move {
        let mut buffer = [0; SMALL];
        while far.read_exact(&mut buffer).await.is_ok() && far.write_all(&buffer).await.is_ok() {}
    });
    let mut buffer = [7; SMALL];
    let (start, mut count) = (Instant::now(), 0_u32);
    while start.elapsed() < ROUND {
        near.write_all(&buffer).await?;
        near.read_exact(&mut buffer).await?;
        count += 1;
    }
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
}

async fn raw_bulk() -> io::Result<f64> {
    let (mut near, mut far) = tcp().await?;
    let start = Instant::now();
    tokio::spawn(async move {
        let buffer = vec![7; 64 * 1024];
        for _ in 0..LONG / buffer.len() {
            if near.write_all(&buffer).await.is_err() {
                return;
            }
        }
    });
    let (mut buffer, mut total) = (vec![0; 64 * 1024], 0);
    while total < LONG {
        total += far.read(&mut buffer).await?;
    }
    Ok(megabytes_per_second(LONG, start))
}

async fn round_trips(hops: usize) -> io::Result<f64> {
    let (mut near, mut far) = chain(hops).await?;
    tokio::spawn(async move {
        while let Ok(Event::Frame(frame)) = far.next().await {
            far.send(&frame);
            if far.flush().await.is_err() {
                return;
            }
        }
    });
    let frame = packet(Bytes::from(vec![7; SMALL]));
    let (start, mut count) = (Instant::now(), 0_u32);
    while start.elapsed() < ROUND {
        near.send(&frame);
        near.flush().await?;
        assert!(matches!(near.next().await?, Event::Frame(_)));
        count += 1;
    }
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
}
