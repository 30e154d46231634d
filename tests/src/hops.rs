//! A bare chain of sessions: what encryption and a server in between cost at
//! the least.

use std::{io, time::Instant};

use bytes::Bytes;
use circuit_core::{
    Rng, ServerId,
    session::{ClusterKey, Credentials, Event, Role, Session, StaticKey},
    wire::{
        Frame, Load, MAX_PACKET, Route,
        route::{End, MAX_HOPS},
    },
};
use circuit_tokio::Wire;
use tokio::net::{TcpListener, TcpStream};

/// Two ends of a connection over loopback.
///
/// # Errors
/// Those of the operating system.
pub async fn tcp() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let dialled = TcpStream::connect(listener.local_addr()?).await?;
    let (accepted, _) = listener.accept().await?;
    dialled.set_nodelay(true)?;
    accepted.set_nodelay(true)?;
    Ok((dialled, accepted))
}

async fn pair() -> io::Result<(Wire<TcpStream>, Wire<TcpStream>)> {
    let (near, far) = tcp().await?;
    let rng = Rng::from_number(1);
    let credentials = |label| Credentials::new(&ClusterKey::public(), StaticKey::generate(&mut rng.fork(label)));
    let now = circuit_core::Instant::ZERO;
    let dialler = Session::dial(&credentials("a"), Role::Client, None, &rng.fork("c"), now);
    let acceptor = Session::accept(&credentials("b"), &rng.fork("d"), now);
    let (mut dialler, mut acceptor) = (Wire::new(near, dialler), Wire::new(far, acceptor));
    let (a, b) = tokio::join!(
        async {
            let event = dialler.next().await;
            dialler.flush().await.and(event)
        },
        acceptor.next()
    );
    assert!(matches!((a?, b?), (Event::Established(_), Event::Established(_))));
    Ok((dialler, acceptor))
}

/// The two ends of a chain of sessions with a pump between each two.
///
/// # Errors
/// Those of the operating system.
pub async fn chain(hops: usize) -> io::Result<(Wire<TcpStream>, Wire<TcpStream>)> {
    let (first, mut last) = pair().await?;
    for _ in 1..hops {
        let (near, far) = pair().await?;
        tokio::spawn(pump(last, near));
        last = far;
    }
    Ok((first, last))
}

/// Passes frames both ways, as long as both ends are there.
async fn pump(mut a: Wire<TcpStream>, mut b: Wire<TcpStream>) -> io::Result<()> {
    loop {
        tokio::select! {
            event = a.next() => pass(event?, &mut a, &mut b).await?,
            event = b.next() => pass(event?, &mut b, &mut a).await?,
        }
    }
}

/// Passes on an event and whatever else came in the same record.
async fn pass(event: Event, from: &mut Wire<TcpStream>, to: &mut Wire<TcpStream>) -> io::Result<()> {
    let mut next = Some(event);
    while let Some(event) = next {
        let Event::Frame(frame) = event else {
            return Err(io::ErrorKind::ConnectionAborted.into());
        };
        to.send(&frame);
        next = from.ready();
    }
    to.flush().await
}

/// A packet as large as they get.
pub fn packet(body: Bytes) -> Frame {
    let (host, via) = (ServerId(1), ServerId::DIAL_IN);
    Frame::Packet(Route { to: End::Host, bulk: true, hops: MAX_HOPS, host, via, session: 0 }, Load::Encoded(body))
}

/// Bytes of a long message through so many hops, in MB/s.
///
/// # Errors
/// Those of the operating system.
///
/// # Panics
/// A session fails.
pub async fn bulk(hops: usize, length: usize) -> io::Result<f64> {
    let (mut near, mut far) = chain(hops).await?;
    let start = Instant::now();
    let frame = packet(Bytes::from(vec![7; MAX_PACKET]));
    tokio::spawn(async move {
        for _ in 0..length.div_ceil(MAX_PACKET) {
            near.send(&frame);
            if near.flush().await.is_err() {
                return;
            }
        }
        // Keeps its end open until the other has all of it.
        std::future::pending::<()>().await;
    });
    let mut total = 0;
    while total < length {
        match far.next().await? {
            Event::Frame(Frame::Packet(_, load)) => total += load.len(),
            other => panic!("{other:?}"),
        }
    }
    Ok(megabytes_per_second(length, start))
}

/// How fast `length` bytes went since `start`, in millions a second.
pub fn megabytes_per_second(length: usize, start: Instant) -> f64 {
    length as f64 / 1e6 / start.elapsed().as_secs_f64()
}
