//! The network by plain threads and blocking sockets: two threads for each
//! connection, with a bounded pipe before each.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    thread,
};

use circuit_core::discovery::{Group, Interface};
use circuit_tokio::{Net, TokioNet};
use socket2::{Domain, Socket, Type};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{mpsc, oneshot},
};

/// What a pipe holds.
const PIPE: usize = 64 * 1024;

#[derive(Clone, Debug)]
pub(crate) struct ThreadsNet;

/// Bytes between a thread and whoever polls.
#[derive(Debug, Default)]
struct Pipe {
    inner: Mutex<Inner>,
    /// The thread waits here.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    bytes: VecDeque<u8>,
    /// Nothing comes any more.
    ended: bool,
    /// Nobody takes anything any more.
    gone: bool,
    error: Option<io::ErrorKind>,
    /// The thread has done all that it had to.
    done: bool,
    waker: Option<Waker>,
}

impl Pipe {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something, and wakes whoever waits for that.
    fn change(&self, act: impl FnOnce(&mut Inner)) {
        let waker = {
            let mut inner = self.lock();
            act(&mut inner);
            inner.waker.take()
        };
        self.changed.notify_all();
        waker.into_iter().for_each(Waker::wake);
    }

    fn wait_while(&self, so: impl FnMut(&mut Inner) -> bool) -> MutexGuard<'_, Inner> {
        self.changed.wait_while(self.lock(), so).unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread that reads.
    fn fill(&self, mut socket: &TcpStream) {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let gone = self.wait_while(|inner| inner.bytes.len() >= PIPE && !inner.gone).gone;
            if gone {
                return;
            }
            match socket.read(&mut buffer) {
                Ok(0) => return self.change(|inner| inner.ended = true),
                Ok(count) => self.change(|inner| inner.bytes.extend(&buffer[..count])),
                Err(error) => return self.change(|inner| inner.error = Some(error.kind())),
            }
        }
    }

    /// The thread that writes, until all is written and nothing more comes.
    fn empty(&self, mut socket: &TcpStream) {
        loop {
            let mut inner = self.wait_while(|inner| inner.bytes.is_empty() && !inner.ended);
            if inner.bytes.is_empty() {
                break;
            }
            let count = inner.bytes.len().min(16 * 1024);
            let piece: Vec<u8> = inner.bytes.drain(..count).collect();
            drop(inner);
            if let Err(error) = socket.write_all(&piece) {
                self.change(|inner| {
                    inner.error = Some(error.kind());
                    inner.bytes.clear();
                });
                break;
            }
            self.change(|_| {});
        }
        let _ = socket.shutdown(Shutdown::Write);
        self.change(|inner| inner.done = true);
    }
}

/// A connection with its two threads.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: Arc<TcpStream>,
    reading: Arc<Pipe>,
    writing: Arc<Pipe>,
}

impl Stream {
    fn new(socket: TcpStream) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        let stream = Self { socket: Arc::new(socket), reading: Arc::default(), writing: Arc::default() };
        let (socket, pipe) = (stream.socket.clone(), stream.reading.clone());
        thread::Builder::new().spawn(move || pipe.fill(&socket))?;
        let (socket, pipe) = (stream.socket.clone(), stream.writing.clone());
        thread::Builder::new().spawn(move || pipe.empty(&socket))?;
        Ok(stream)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // What was written still goes out; then the last thread closes it.
        self.writing.change(|inner| inner.ended = true);
        self.reading.change(|inner| inner.gone = true);
        let _ = self.socket.shutdown(Shutdown::Read);
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.reading.lock();
        if inner.bytes.is_empty() {
            if let Some(error) = inner.error {
                return Poll::Ready(Err(error.into()));
            }
            if inner.ended {
                return Poll::Ready(Ok(()));
            }
            inner.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = inner.bytes.len().min(buf.remaining());
        let piece: Vec<u8> = inner.bytes.drain(..count).collect();
        buf.put_slice(&piece);
        drop(inner);
        self.reading.changed.notify_all();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut inner = self.writing.lock();
        if let Some(error) = inner.error {
            return Poll::Ready(Err(error.into()));
        }
        if inner.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count = bytes.len().min(PIPE.saturating_sub(inner.bytes.len()));
        if count == 0 && !bytes.is_empty() {
            inner.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        inner.bytes.extend(&bytes[..count]);
        drop(inner);
        self.writing.changed.notify_all();
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.writing.lock();
        inner.ended = true;
        self.writing.changed.notify_all();
        match (inner.done, inner.error) {
            (_, Some(error)) => Poll::Ready(Err(error.into())),
            (true, None) => Poll::Ready(Ok(())),
            (false, None) => {
                inner.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// A listener with its thread, which hands over what it accepts.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: Arc<TcpListener>,
    accepted: mpsc::Receiver<io::Result<(TcpStream, SocketAddr)>>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.accepted.close();
        // Whoever waits in it is woken by that.
        let _ = rustix::net::shutdown(&*self.socket, rustix::net::Shutdown::Both);
    }
}

impl Net for ThreadsNet {
    type Stream = Stream;
    type Listener = Listener;
    type Datagram = Arc<UdpSocket>;

    async fn listen(&self, addr: SocketAddr) -> io::Result<Listener> {
        let socket = Arc::new(TcpListener::bind(addr)?);
        let (hand_over, accepted) = mpsc::channel(1);
        let listening = socket.clone();
        thread::Builder::new().spawn(move || {
            while !hand_over.is_closed() {
                if hand_over.blocking_send(listening.accept()).is_err() {
                    return;
                }
            }
        })?;
        Ok(Listener { socket, accepted })
    }

    fn local_addr(listener: &Listener) -> io::Result<SocketAddr> {
        listener.socket.local_addr()
    }

    async fn accept(listener: &mut Listener) -> io::Result<(Stream, SocketAddr)> {
        let accepted = listener.accepted.recv().await.unwrap_or_else(|| Err(io::ErrorKind::BrokenPipe.into()));
        let (socket, from) = accepted?;
        Ok((Stream::new(socket)?, from))
    }

    async fn connect(&self, addr: SocketAddr) -> io::Result<Stream> {
        let (hand_over, connected) = oneshot::channel();
        thread::Builder::new().spawn(move || drop(hand_over.send(TcpStream::connect(addr))))?;
        let socket = connected.await.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()));
        Stream::new(socket?)
    }

    fn interfaces(&self) -> io::Result<Vec<Interface>> {
        TokioNet.interfaces()
    }

    fn datagram(&self, group: Group, interface: &Interface, member: bool) -> io::Result<Self::Datagram> {
        datagram(group, interface, member).map(Arc::new)
    }

    async fn receive(socket: &Self::Datagram, into: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (hand_over, received) = oneshot::channel();
        let (socket, mut buffer) = (socket.clone(), vec![0; into.len()]);
        thread::Builder::new().spawn(move || {
            let result = socket.recv_from(&mut buffer);
            drop(hand_over.send(result.map(|(count, from)| (buffer, count, from))));
        })?;
        let received = received.await.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()));
        let (buffer, count, from) = received?;
        into.copy_from_slice(&buffer);
        Ok((count, from))
    }

    async fn send(socket: &Self::Datagram, packet: &[u8], to: SocketAddr) -> io::Result<()> {
        socket.send_to(packet, to).map(drop)
    }
}

/// A socket of a group, for a family of addresses that all have.
pub(crate) fn datagram(group: Group, interface: &Interface, member: bool) -> io::Result<UdpSocket> {
    let (SocketAddr::V4(to), IpAddr::V4(from)) = (group.addr(), interface.addr) else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    socket.set_multicast_if_v4(&from)?;
    if member {
        socket.set_reuse_address(true)?;
        socket.bind(&group.addr().into())?;
        socket.join_multicast_v4(to.ip(), &from)?;
    } else {
        socket.bind(&SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0).into())?;
    }
    Ok(socket.into())
}
