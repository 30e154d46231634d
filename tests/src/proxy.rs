//! A network that fails on command: it stands between clients and a server.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use tokio::{
    io::{AsyncReadExt, copy_bidirectional},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinHandle,
};

use crate::loopback;

/// What becomes of connections, which are counted from 1.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    /// Up to here they are reset.
    reset: u64,
    /// Up to here nothing comes through, and nobody is told.
    silent: u64,
    /// Whether all that are made are reset at once.
    refuse: bool,
}

/// A proxy before a server. It ends when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    fate: watch::Sender<Fate>,
    /// How many connections there have been.
    made: watch::Receiver<u64>,
    /// How many silent ones a client has given up.
    given_up: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// A proxy that passes everything on to `server`.
    ///
    /// # Errors
    /// Those of the operating system.
    pub async fn start(server: SocketAddr) -> io::Result<Self> {
        Self::start_from(Ipv4Addr::LOCALHOST, server).await
    }

    /// The same; the server sees connections from another address of loopback.
    ///
    /// # Errors
    /// Those of the operating system.
    pub async fn start_from(source: Ipv4Addr, server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(loopback()).await?;
        let addr = listener.local_addr()?;
        let (fate, fates) = watch::channel(Fate::default());
        let (count, made) = watch::channel(0);
        let (note, given_up) = watch::channel(0);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                count.send_modify(|made| *made += 1);
                connections.spawn(carry(*count.borrow(), near, connect(source, server), fates.clone(), note.clone()));
            }
        });
        Ok(Self { addr, fate, made, given_up, task })
    }

    /// Where it listens.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Resets every connection, and all that are tried from now on.
    pub fn cut(&self) {
        let made = self.made();
        self.fate.send_modify(|fate| (fate.reset, fate.refuse) = (made, true));
    }

    /// New connections come through again.
    pub fn heal(&self) {
        self.fate.send_modify(|fate| fate.refuse = false);
    }

    /// From now on nothing comes through the connections that there are, and
    /// nobody is told; new ones are as ever.
    pub fn silence(&self) {
        let made = self.made();
        self.fate.send_modify(|fate| fate.silent = made);
    }

    /// Waits until a client has hung up `count` connections that were silenced.
    pub async fn given_up(&mut self, count: u64) {
        let _ = self.given_up.wait_for(|&so_far| so_far >= count).await;
    }

    /// How many connections were made so far.
    pub fn made(&self) -> u64 {
        *self.made.borrow()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connect(source: Ipv4Addr, server: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    socket.connect(server).await
}

/// Carries the bytes of one connection as long as it should.
async fn carry(
    number: u64,
    mut near: TcpStream,
    far: impl Future<Output = io::Result<TcpStream>>,
    mut fates: watch::Receiver<Fate>,
    given_up: watch::Sender<u64>,
) {
    if fates.borrow().refuse {
        let _ = near.set_zero_linger();
        return;
    }
    let Ok(mut far) = far.await else {
        return;
    };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let fate = tokio::select! {
        _ = copy_bidirectional(&mut near, &mut far) => return,
        fate = fates.wait_for(|fate| fate.reset >= number || fate.silent >= number) => fate.map(|fate| *fate),
    };
    let Ok(fate) = fate else {
        return;
    };
    if fate.reset >= number {
        let _ = (near.set_zero_linger(), far.set_zero_linger());
        return;
    }
    // What either end says is lost, and neither hears that the other has gone.
    let gone = async |end: &mut TcpStream| {
        let mut lost = [0; 4096];
        while end.read(&mut lost).await.is_ok_and(|count| count > 0) {}
    };
    tokio::select! {
        () = gone(&mut near) => {},
        () = async { gone(&mut far).await; std::future::pending().await } => {},
    }
    given_up.send_modify(|count| *count += 1);
    std::future::pending::<()>().await; // the server is to find out by itself
}
