//! What the network part of a driver must do, whatever it runs on.

use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
};

use circuit_tokio::Net;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    sync::mpsc::UnboundedSender,
};

use crate::script::{Act, expect, group_of, interface, pattern};

/// What goes both ways where all of it is to arrive.
const MUCH: usize = 1 << 20;
/// More than may ever be taken of what nobody reads.
const TOO_MUCH: usize = 96 << 20;
/// Connections that come and go where nothing is to be left of them.
const MANY: usize = 50;
/// So often others go on before it is said that nothing happens. What must
/// happen is waited for, as long as the bench has patience.
const PATIENCE: usize = 300;

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// All bytes come, in order, on a connection that was dialled.
    Dialled,
    /// The same where it was accepted.
    Accepted,
    /// A far end that has said all is heard to its end, and still hears.
    HalfClosed,
    /// A far end that is gone is found gone: reading and writing end.
    Gone,
    /// The same where it was reset.
    Reset,
    /// A silent far end is not held for gone.
    Silent,
    /// Who writes waits for who reads, and is not kept from reading meanwhile.
    Backpressure,
    /// What was dropped is closed, and nothing of it is kept.
    Dropped,
    /// A wait for a connection that was given up loses none.
    AcceptAgain,
    /// Where nobody listens, nobody is reached; and a place that was given up is
    /// free again.
    Refused,
    /// A group's members hear what it is sent, who is none hears what it is sent
    /// itself, and what is too long is cut off.
    Datagrams,
}

pub(crate) const ALL: [Case; 11] = [
    Case::Dialled,
    Case::Accepted,
    Case::HalfClosed,
    Case::Gone,
    Case::Reset,
    Case::Silent,
    Case::Backpressure,
    Case::Dropped,
    Case::AcceptAgain,
    Case::Refused,
    Case::Datagrams,
];

pub(crate) type Breathe = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// What the near end is given.
pub(crate) struct Near<N> {
    pub(crate) net: N,
    /// Where the far end listens.
    pub(crate) far: SocketAddr,
    /// Where the near end may listen: any port.
    pub(crate) own: SocketAddr,
    pub(crate) go: UnboundedSender<Option<SocketAddr>>,
    /// Lets others go on for a moment.
    pub(crate) breathe: Breathe,
    /// How much is held of what must be given back: descriptors, threads.
    pub(crate) held: fn() -> usize,
}

impl Case {
    /// What the far end does.
    pub(crate) fn script(self) -> Vec<Act> {
        match self {
            Self::Dialled => vec![Act::Accept, Act::Send(MUCH), Act::Expect(MUCH), Act::Finish, Act::ExpectEnd],
            Self::Accepted => vec![Act::Dial, Act::Send(MUCH), Act::Expect(MUCH), Act::Finish, Act::ExpectEnd],
            Self::HalfClosed => vec![Act::Accept, Act::Send(1_000), Act::Finish, Act::Expect(MUCH), Act::ExpectEnd],
            Self::Gone => vec![Act::Accept, Act::Expect(1_000), Act::Drop, Act::Await],
            // Of two bytes one is read: the other is why it is reset.
            Self::Reset => vec![Act::Accept, Act::Expect(1), Act::Drop, Act::Await],
            Self::Silent => vec![Act::Accept, Act::Await, Act::Send(1_000), Act::ExpectEnd],
            Self::Backpressure => {
                let begin = [Act::Accept, Act::Await, Act::Send(1_000), Act::Also, Act::Await];
                [&begin[..], &[Act::Expect(TOO_MUCH), Act::ExpectEnd]].concat()
            }
            Self::Dropped => [Act::Accept, Act::Send(10), Act::ExpectEnd].repeat(MANY),
            Self::AcceptAgain => vec![Act::Dial, Act::Send(1_000), Act::Expect(1_000), Act::ExpectEnd],
            Self::Refused => vec![Act::Dial, Act::ExpectEnd],
            Self::Datagrams => {
                vec![Act::Accept, Act::Join, Act::Send(10), Act::Echo, Act::Await, Act::Shout(700), Act::ExpectEnd]
            }
        }
    }

    /// What the near end does: the part that is looked at.
    pub(crate) async fn near<N: Net>(self, near: Near<N>) -> Result<(), String> {
        match self {
            Self::Dialled => {
                let stream = near.dial().await?;
                exchange(stream).await
            }
            Self::Accepted => {
                let mut listener = near.listen(near.own).await?;
                near.tell(Some(N::local_addr(&listener).map_err(|error| words(&error))?));
                let (stream, _) = N::accept(&mut listener).await.map_err(|error| words(&error))?;
                exchange(stream).await
            }
            Self::HalfClosed => near.half_closed().await,
            Self::Gone => near.gone(1_000).await,
            Self::Reset => near.gone(2).await,
            Self::Silent => near.silent().await,
            Self::Backpressure => near.backpressure().await,
            Self::Dropped => near.dropped().await,
            Self::AcceptAgain => near.accept_again().await,
            Self::Refused => near.refused().await,
            Self::Datagrams => near.datagrams().await,
        }
    }
}

/// Sends and receives at once, in pieces of odd sizes.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> Result<(), String> {
    let (mut reading, mut writing) = tokio::io::split(stream);
    let write = async {
        let bytes = pattern(0, MUCH);
        for piece in bytes.chunks(7_919) {
            writing.write_all(piece).await.map_err(|error| words(&error))?;
        }
        writing.flush().await.map_err(|error| words(&error))?;
        writing.shutdown().await.map_err(|error| words(&error))
    };
    let read = async {
        expect(&mut reading, MUCH).await?;
        expect_end(&mut reading).await
    };
    let (wrote, read) = tokio::join!(write, read);
    wrote.and(read)
}

async fn expect_end(stream: &mut (impl AsyncRead + Unpin)) -> Result<(), String> {
    match stream.read(&mut [0]).await {
        Ok(0) => Ok(()),
        Ok(_) => Err("more came than was sent".to_owned()),
        Err(error) => Err(format!("instead of the end: {error}")),
    }
}

fn words(error: &io::Error) -> String {
    error.to_string()
}

/// What comes of something if it is looked at once.
async fn once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

impl<N: Net> Near<N> {
    async fn dial(&self) -> Result<N::Stream, String> {
        self.net.connect(self.far).await.map_err(|error| format!("dialling: {error}"))
    }

    async fn listen(&self, addr: SocketAddr) -> Result<N::Listener, String> {
        self.net.listen(addr).await.map_err(|error| format!("listening: {error}"))
    }

    fn tell(&self, addr: Option<SocketAddr>) {
        let _ = self.go.send(addr);
    }

    async fn half_closed(self) -> Result<(), String> {
        let mut stream = self.dial().await?;
        expect(&mut stream, 1_000).await?;
        expect_end(&mut stream).await?;
        stream.write_all(&pattern(0, MUCH)).await.map_err(|error| format!("it still hears: {error}"))?;
        stream.shutdown().await.map_err(|error| words(&error))
    }

    /// The far end goes after it has read; the near end has no other sign.
    async fn gone(self, count: usize) -> Result<(), String> {
        let mut stream = self.dial().await?;
        stream.write_all(&pattern(0, count)).await.map_err(|error| words(&error))?;
        let heard = stream.read(&mut [0; 16]).await;
        if heard.is_ok_and(|count| count > 0) {
            return Err("it said nothing, and something was heard".to_owned());
        }
        // Whoever goes on writing is told, sooner or later.
        loop {
            let mut write = pin!(stream.write_all(b"anybody there?"));
            if matches!(once(&mut write).await, Poll::Ready(Err(_))) {
                self.tell(None);
                return Ok(());
            }
            (self.breathe)().await;
        }
    }

    async fn silent(self) -> Result<(), String> {
        let mut stream = self.dial().await?;
        let mut buffer = [0; 16];
        for _ in 0..PATIENCE {
            let mut space = ReadBuf::new(&mut buffer);
            let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut stream).poll_read(cx, &mut space))).await;
            if polled.is_ready() {
                return Err("nothing was said, and something was heard".to_owned());
            }
            (self.breathe)().await;
        }
        self.tell(None);
        // It is still woken by what comes.
        expect(&mut stream, 1_000).await
    }

    async fn backpressure(self) -> Result<(), String> {
        let (mut reading, mut writing) = tokio::io::split(self.dial().await?);
        let bytes = pattern(0, TOO_MUCH);
        let mut write = Box::pin(writing.write_all(&bytes));
        for _ in 0..PATIENCE {
            if once(&mut write).await.is_ready() {
                return Err(format!("{TOO_MUCH} bytes were taken that nobody has read"));
            }
            (self.breathe)().await;
        }
        self.tell(None);
        expect(&mut reading, 1_000).await.map_err(|why| format!("while a write waits: {why}"))?;
        // Other connections are not kept waiting either.
        let mut other = self.dial().await?;
        other.write_all(b"hello").await.map_err(|error| words(&error))?;
        self.tell(None);
        write.await.map_err(|error| words(&error))?;
        writing.shutdown().await.map_err(|error| words(&error))
    }

    async fn dropped(self) -> Result<(), String> {
        let before = (self.held)();
        for number in 0..MANY {
            let mut stream = self.dial().await?;
            expect(&mut stream, 10).await?;
            if number % 2 == 0 {
                // A read is under way when it is dropped.
                let mut space = [0; 8];
                let mut read = pin!(stream.read(&mut space));
                if once(&mut read).await.is_ready() {
                    return Err("more came than was sent".to_owned());
                }
            }
            drop(stream);
        }
        while (self.held)() > before {
            (self.breathe)().await;
        }
        Ok(())
    }

    async fn accept_again(self) -> Result<(), String> {
        let mut listener = self.listen(self.own).await?;
        {
            let mut accept = pin!(N::accept(&mut listener));
            if once(&mut accept).await.is_ready() {
                return Err("nobody has dialled, and somebody was accepted".to_owned());
            }
        }
        self.tell(Some(N::local_addr(&listener).map_err(|error| words(&error))?));
        let (mut stream, _) = N::accept(&mut listener).await.map_err(|error| words(&error))?;
        expect(&mut stream, 1_000).await?;
        stream.write_all(&pattern(0, 1_000)).await.map_err(|error| words(&error))?;
        stream.shutdown().await.map_err(|error| words(&error))
    }

    async fn datagrams(self) -> Result<(), String> {
        // What it says first is that the far end is a member.
        let mut stream = self.dial().await?;
        expect(&mut stream, 10).await?;
        let group = group_of(self.far)?;
        let interface = interface(&self.net).map_err(|error| words(&error))?;
        let open = |member| self.net.datagram(group, &interface, member).map_err(|error| words(&error));
        let (asking, listening) = (open(false)?, open(true)?);
        N::send(&asking, &pattern(0, 500), group.addr()).await.map_err(|error| words(&error))?;
        let mut space = [0; 2_000];
        let (count, from) = N::receive(&asking, &mut space).await.map_err(|error| words(&error))?;
        if space[..count] != pattern(0, 500) || from.port() != group.addr().port() {
            return Err(format!("{count} bytes came back, from {from}"));
        }
        let mut also = pin!(N::receive(&asking, &mut space));
        self.tell(None);
        let mut small = [0; 600];
        loop {
            let (count, _) = N::receive(&listening, &mut small).await.map_err(|error| words(&error))?;
            match count {
                500 => {} // its own question, which it may hear as well
                600 if small[..] == pattern(0, 600) => break,
                _ => return Err(format!("of 700 bytes {count} came")),
            }
        }
        for _ in 0..PATIENCE {
            if once(&mut also).await.is_ready() {
                return Err("who is no member heard what the group was sent".to_owned());
            }
            (self.breathe)().await;
        }
        Ok(())
    }

    async fn refused(self) -> Result<(), String> {
        let listener = self.listen(self.own).await?;
        let mut addr = N::local_addr(&listener).map_err(|error| words(&error))?;
        drop(listener);
        let mut listener = loop {
            match self.net.listen(SocketAddr::new(self.own.ip(), addr.port())).await {
                Ok(again) => break again,
                Err(_) => (self.breathe)().await,
            }
        };
        if self.net.connect(SocketAddr::new(self.far.ip(), 1)).await.is_ok() {
            return Err("somebody was reached where nobody listens".to_owned());
        }
        addr.set_port(N::local_addr(&listener).map_err(|error| words(&error))?.port());
        self.tell(Some(addr));
        N::accept(&mut listener).await.map(drop).map_err(|error| words(&error))
    }
}
