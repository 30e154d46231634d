//! A session and the byte stream under it.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use circuit_core::{
    Instant,
    session::{Event, Session},
    wire::Frame,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// A session over any stream: tokio's, turmoil's, or a pipe in memory.
///
/// Reading and writing are two halves that never wait for each other; both are
/// safe to poll again after having been dropped half way.
#[derive(Debug)]
pub struct Wire<S> {
    stream: S,
    session: Session,
    ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Drives `session` over `stream`.
    pub const fn new(stream: S, session: Session) -> Self {
        Self { stream, session, ended: false }
    }

    /// Queues a frame; [`Wire::poll_flush`] sends it.
    pub fn send(&mut self, frame: &Frame) {
        self.session.send(frame);
    }

    /// When [`Wire::handle_timeout`] wants to be called.
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.session.poll_timeout()
    }

    /// It is `now`: a handshake may have taken too long.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.session.handle_timeout(now);
    }

    /// Bytes that were queued and not written yet.
    pub fn unsent(&self) -> usize {
        self.session.unsent()
    }

    /// Writes what is queued, closes this end of the stream, and waits until
    /// the other end is closed: what a socket has not read when it is dropped
    /// makes TCP take back what was just written.
    ///
    /// # Errors
    /// Those of the stream.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.flush().await?;
        poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx)).await?;
        let mut unheard = [0; 4096];
        while self.stream.read(&mut unheard).await? > 0 {}
        Ok(())
    }

    /// Writes until nothing is queued. Pending means that the peer reads more
    /// slowly than this end writes, not that nothing was written.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let bytes = self.session.transmit();
            if bytes.is_empty() {
                return Pin::new(&mut self.stream).poll_flush(cx);
            }
            match ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.session.handle_written(count),
            }
        }
    }

    /// Reads until there is an event. After the stream's end, and after an
    /// error of it, the session says how it ended; then this stays pending.
    pub fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        loop {
            if let Some(event) = self.session.poll_event() {
                return Poll::Ready(event);
            }
            if self.ended {
                return Poll::Pending;
            }
            let mut space = ReadBuf::new(self.session.read_space());
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut space)) {
                Ok(()) if !space.filled().is_empty() => {
                    let count = space.filled().len();
                    self.session.handle_read(count);
                }
                Ok(()) | Err(_) => {
                    self.ended = true;
                    self.session.handle_end();
                }
            }
        }
    }

    /// An event that needs no reading.
    pub fn ready(&mut self) -> Option<Event> {
        self.session.poll_event()
    }

    /// The next event, while what is queued is being sent.
    ///
    /// # Errors
    /// Those of the stream while writing.
    pub async fn next(&mut self) -> io::Result<Event> {
        poll_fn(|cx| {
            if let Poll::Ready(event) = self.poll_event(cx) {
                return Poll::Ready(Ok(event));
            }
            match self.poll_flush(cx) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                // A flush may have finished the handshake's last message; the
                // read side has registered for the answer already.
                _ => Poll::Pending,
            }
        })
        .await
    }

    /// Waits until all that is queued has been written.
    ///
    /// # Errors
    /// Those of the stream.
    pub async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }
}
