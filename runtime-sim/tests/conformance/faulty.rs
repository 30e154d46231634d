//! Networks that make one mistake each: the suite must notice.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
};

use circuit_core::discovery::{Group, Interface};
use circuit_tokio::{Net, TokioNet};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream, UdpSocket},
};

/// The mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// A byte is lost now and then.
    Loses,
    /// Two bytes change places now and then.
    Reorders,
    /// The end is not told.
    MissesEnd,
    /// That nobody is there any more is not told to who writes.
    MissesGone,
    /// Silence is held for the end.
    Impatient,
    /// Who writes too much is not read meanwhile.
    Blocks,
    /// What is written is taken, however much waits.
    TakesAll,
    /// What is dropped stays open.
    Leaks,
    /// To have read to the end ends writing too.
    ClosesBoth,
    /// Who waits for a connection again waits in vain.
    AcceptsOnce,
    /// Who dials where nobody listens finds somebody.
    Reaches,
    /// Of a datagram the end is lost.
    CutsOff,
    /// Everybody is a member of every group.
    HearsAll,
}

pub(crate) const ALL: [Mistake; 13] = [
    Mistake::Loses,
    Mistake::Reorders,
    Mistake::MissesEnd,
    Mistake::MissesGone,
    Mistake::Impatient,
    Mistake::Blocks,
    Mistake::TakesAll,
    Mistake::Leaks,
    Mistake::ClosesBoth,
    Mistake::AcceptsOnce,
    Mistake::Reaches,
    Mistake::CutsOff,
    Mistake::HearsAll,
];

#[derive(Clone, Debug)]
pub(crate) struct Faulty(pub(crate) Mistake);

/// A connection; it is there until it is dropped.
#[derive(Debug)]
pub(crate) struct Stream {
    inner: Option<TcpStream>,
    mistake: Mistake,
    /// Bytes read, and how often anybody tried to.
    read: usize,
    polls: usize,
    stuck: bool,
    ended: bool,
    /// What was taken and not written.
    taken: Vec<u8>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.mistake == Mistake::Leaks {
            std::mem::forget(self.inner.take());
        }
    }
}

impl Stream {
    const fn new(inner: TcpStream, mistake: Mistake) -> Self {
        let (read, polls, stuck, ended) = (0, 0, false, false);
        Self { inner: Some(inner), mistake, read, polls, stuck, ended, taken: Vec::new() }
    }

    fn inner(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        self.inner.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Writes what was taken, as far as that goes.
    fn catch_up(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.taken.is_empty() {
            let taken = std::mem::take(&mut self.taken);
            let polled = self.inner()?.poll_write(cx, &taken);
            self.taken = taken;
            match polled? {
                Poll::Ready(count) => drop(self.taken.drain(..count)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let _ = this.catch_up(cx)?;
        this.polls += 1;
        match this.mistake {
            Mistake::Impatient if this.polls > 100 => return Poll::Ready(Ok(())),
            Mistake::Blocks if this.stuck => return Poll::Pending,
            _ => {}
        }
        let mut space = vec![0; buf.remaining().min(10_000)];
        let mut own = ReadBuf::new(&mut space);
        let polled = this.inner()?.poll_read(cx, &mut own);
        let Poll::Ready(result) = polled else { return Poll::Pending };
        let mut bytes = own.filled().to_vec();
        let over = result.is_err() || bytes.is_empty();
        this.ended |= over;
        if over && this.mistake == Mistake::MissesEnd {
            return Poll::Pending;
        }
        this.read += bytes.len();
        match this.mistake {
            Mistake::Loses if bytes.len() > 1 && this.read > 100_000 => drop(bytes.pop()),
            Mistake::Reorders if bytes.len() > 1 && this.read > 100_000 => bytes.swap(0, 1),
            _ => {}
        }
        buf.put_slice(&bytes);
        Poll::Ready(result)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        match this.mistake {
            Mistake::TakesAll => {
                this.taken.extend_from_slice(bytes);
                let _ = this.catch_up(cx)?;
                return Poll::Ready(Ok(bytes.len()));
            }
            Mistake::ClosesBoth if this.ended => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            _ => {}
        }
        let polled = this.inner()?.poll_write(cx, bytes);
        this.stuck = polled.is_pending();
        match polled {
            Poll::Ready(Err(_)) if this.mistake == Mistake::MissesGone => Poll::Ready(Ok(bytes.len())),
            polled => polled,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.catch_up(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.catch_up(cx)?.is_pending() {
            return Poll::Pending;
        }
        self.inner()?.poll_shutdown(cx)
    }
}

#[derive(Debug)]
pub(crate) struct Listener {
    inner: TcpListener,
    mistake: Mistake,
    /// Somebody has waited for a connection.
    waited: bool,
}

impl Net for Faulty {
    type Stream = Stream;
    type Listener = Listener;
    type Datagram = (Mistake, UdpSocket);

    async fn listen(&self, addr: SocketAddr) -> io::Result<Self::Listener> {
        Ok(Listener { inner: TokioNet.listen(addr).await?, mistake: self.0, waited: false })
    }

    fn local_addr(listener: &Self::Listener) -> io::Result<SocketAddr> {
        TokioNet::local_addr(&listener.inner)
    }

    async fn accept(listener: &mut Self::Listener) -> io::Result<(Stream, SocketAddr)> {
        if std::mem::replace(&mut listener.waited, true) && listener.mistake == Mistake::AcceptsOnce {
            return std::future::pending().await;
        }
        let (stream, from) = TokioNet::accept(&mut listener.inner).await?;
        Ok((Stream::new(stream, listener.mistake), from))
    }

    async fn connect(&self, addr: SocketAddr) -> io::Result<Stream> {
        let stream = match TokioNet.connect(addr).await {
            Err(_) if self.0 == Mistake::Reaches => {
                let somebody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
                TcpStream::connect(somebody.local_addr()?).await?
            }
            stream => stream?,
        };
        Ok(Stream::new(stream, self.0))
    }

    fn interfaces(&self) -> io::Result<Vec<Interface>> {
        TokioNet.interfaces()
    }

    fn datagram(&self, group: Group, interface: &Interface, member: bool) -> io::Result<Self::Datagram> {
        Ok((self.0, TokioNet.datagram(group, interface, member || self.0 == Mistake::HearsAll)?))
    }

    async fn receive((mistake, socket): &Self::Datagram, into: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (count, from) = TokioNet::receive(socket, into).await?;
        Ok((if *mistake == Mistake::CutsOff { count.min(100) } else { count }, from))
    }

    async fn send((_, socket): &Self::Datagram, packet: &[u8], to: SocketAddr) -> io::Result<()> {
        TokioNet::send(socket, packet, to).await
    }
}
