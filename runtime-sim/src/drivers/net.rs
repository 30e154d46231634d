//! A network for the production drivers, made up by turmoil.
//!
//! Of turmoil's own, three things are made as they are elsewhere: who dials over a
//! way that is cut hears nothing, and is not refused; a connection can be reset;
//! and a socket takes only so much at once.

use std::{
    collections::BTreeSet,
    future::{Future as _, pending},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use circuit_core::discovery::{Group, Interface};
use circuit_tokio::Net;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::{TcpListener, TcpStream, UdpSocket};

use crate::Trace;

/// A socket takes so many bytes at once; turmoil's takes any number, and counts
/// pieces.
const PIECE: usize = 16 * 1024;

/// Locks what one thread uses alone.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All that is between the hosts of one simulation.
#[derive(Debug, Default)]
pub struct Wires {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    trace: Trace,
    count: u64,
    lines: Vec<Weak<Line>>,
    /// From whom to whom nothing passes.
    cut: BTreeSet<(IpAddr, IpAddr)>,
}

/// One end of a connection.
#[derive(Debug)]
struct Line {
    near: IpAddr,
    far: IpAddr,
    broken: AtomicBool,
    wakers: Mutex<[Option<Waker>; 2]>,
}

/// Which half of a stream waits.
#[derive(Clone, Copy)]
enum Half {
    Read,
    Write,
}

impl Wires {
    /// The hash of all that was sent and came, and of how many pieces.
    pub fn trace(&self) -> (u64, u64) {
        let inner = lock(&self.inner);
        (inner.trace.value(), inner.count)
    }

    /// Something happened that is not on a wire.
    pub(super) fn note(&self, word: u64) {
        lock(&self.inner).trace.word(word);
    }

    /// Nothing passes from a host to another, or it does again.
    pub fn cut(&self, from: IpAddr, to: IpAddr, cut: bool) {
        let set = &mut lock(&self.inner).cut;
        let _ = if cut { set.insert((from, to)) } else { set.remove(&(from, to)) };
    }

    fn passes(&self, a: IpAddr, b: IpAddr) -> bool {
        let set = &lock(&self.inner).cut;
        !set.contains(&(a, b)) && !set.contains(&(b, a))
    }

    /// Breaks every connection between two hosts, at both ends.
    pub fn reset(&self, a: IpAddr, b: IpAddr) {
        let lines: Vec<_> = lock(&self.inner).lines.iter().filter_map(Weak::upgrade).collect();
        for line in lines.iter().filter(|line| [(a, b), (b, a)].contains(&(line.near, line.far))) {
            line.broken.store(true, Ordering::Relaxed);
            lock(&line.wakers).iter_mut().filter_map(Option::take).for_each(Waker::wake);
        }
    }

    fn line(&self, near: IpAddr, far: IpAddr) -> Arc<Line> {
        let line = Arc::new(Line { near, far, broken: AtomicBool::default(), wakers: Mutex::default() });
        let lines = &mut lock(&self.inner).lines;
        lines.retain(|line| line.strong_count() > 0);
        lines.push(Arc::downgrade(&line));
        line
    }

    fn moved(&self, half: Half, addr: SocketAddr, bytes: &[u8]) {
        let now = turmoil::sim_elapsed().unwrap_or_default();
        let inner = &mut *lock(&self.inner);
        inner.count += 1;
        inner.trace.word(now.as_micros() as u64);
        inner.trace.word(u64::from(addr.port()) << 1 | half as u64);
        inner.trace.bytes(bytes);
    }
}

/// A host's network.
#[derive(Clone, Debug)]
pub struct TurmoilNet {
    ip: IpAddr,
    wires: Arc<Wires>,
}

impl TurmoilNet {
    /// That of the host at `ip`.
    pub const fn new(ip: IpAddr, wires: Arc<Wires>) -> Self {
        Self { ip, wires }
    }

    fn stream(&self, stream: TcpStream, far: SocketAddr) -> io::Result<Stream> {
        let local = stream.local_addr()?;
        Ok(Stream { line: self.wires.line(self.ip, far.ip()), wires: self.wires.clone(), local, stream })
    }
}

/// A connection.
#[derive(Debug)]
pub struct Stream {
    stream: TcpStream,
    local: SocketAddr,
    line: Arc<Line>,
    wires: Arc<Wires>,
}

impl Stream {
    /// Whether it was reset; whoever waits is woken when it is.
    fn check(&self, half: Half, cx: &Context<'_>) -> io::Result<()> {
        if self.line.broken.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if let Some(waker) = lock(&self.line.wakers).get_mut(half as usize) {
            *waker = Some(cx.waker().clone());
        }
        Ok(())
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(Half::Read, cx)?;
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if polled.is_ready() {
            self.wires.moved(Half::Read, self.local, buf.filled().get(before..).unwrap_or_default());
        }
        polled
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check(Half::Write, cx)?;
        let bytes = bytes.get(..PIECE).unwrap_or(bytes);
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = polled {
            self.wires.moved(Half::Write, self.local, bytes.get(..count).unwrap_or(bytes));
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Net for TurmoilNet {
    type Stream = Stream;
    type Listener = (Self, TcpListener);
    type Datagram = UdpSocket;

    async fn listen(&self, addr: SocketAddr) -> io::Result<Self::Listener> {
        Ok((self.clone(), TcpListener::bind(addr).await?))
    }

    fn local_addr((net, listener): &Self::Listener) -> io::Result<SocketAddr> {
        // Turmoil listens at every address, and a host has one.
        Ok(SocketAddr::new(net.ip, listener.local_addr()?.port()))
    }

    async fn accept((net, listener): &mut Self::Listener) -> io::Result<(Stream, SocketAddr)> {
        let (stream, from) = listener.accept().await?;
        Ok((net.stream(stream, from)?, from))
    }

    async fn connect(&self, addr: SocketAddr) -> io::Result<Stream> {
        match TcpStream::connect(addr).await {
            Ok(stream) => self.stream(stream, addr),
            // What turmoil drops it also refuses.
            Err(_) if !self.wires.passes(self.ip, addr.ip()) => pending().await,
            Err(error) => Err(error),
        }
    }

    fn interfaces(&self) -> io::Result<Vec<Interface>> {
        let (up, multicast) = (true, true);
        Ok(vec![Interface { index: 1, addr: self.ip, up, multicast, loopback: false, point_to_point: false }])
    }

    fn datagram(&self, group: Group, _: &Interface, member: bool) -> io::Result<UdpSocket> {
        let port = if member { group.addr().port() } else { 0 };
        // It is called a future, and waits for nothing.
        let bind = pin!(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)));
        let Poll::Ready(socket) = bind.poll(&mut Context::from_waker(Waker::noop())) else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let socket = socket?;
        if let (true, IpAddr::V4(group)) = (member, group.addr().ip()) {
            socket.join_multicast_v4(group, Ipv4Addr::UNSPECIFIED)?;
        }
        Ok(socket)
    }

    async fn receive(socket: &UdpSocket, into: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        socket.recv_from(into).await
    }

    async fn send(socket: &UdpSocket, packet: &[u8], to: SocketAddr) -> io::Result<()> {
        socket.send_to(packet, to).await.map(drop)
    }
}
