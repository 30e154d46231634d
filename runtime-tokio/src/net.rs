//! The network as the driver sees it: tokio's, or one made up by a simulator.

use std::{future::Future, io, net::SocketAddr};

use circuit_core::discovery::{Group, Interface};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UdpSocket},
};

use crate::discovery::sockets;

/// Somewhere that can be listened and connected to.
pub trait Net: Clone + Send + Sync + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// Something that accepts connections.
    type Listener: Send + 'static;
    /// A socket of a multicast group on one interface.
    type Datagram: Send + Sync + 'static;

    /// Begins to listen at `addr`; port 0 is any that is free.
    fn listen(&self, addr: SocketAddr) -> impl Future<Output = io::Result<Self::Listener>> + Send;

    /// Where a listener listens.
    ///
    /// # Errors
    /// Those of the operating system.
    fn local_addr(listener: &Self::Listener) -> io::Result<SocketAddr>;

    /// The next connection, and from where it comes.
    fn accept(listener: &mut Self::Listener) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;

    /// Connects to `addr`.
    fn connect(&self, addr: SocketAddr) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// The addresses of this host's interfaces.
    ///
    /// # Errors
    /// Those of the operating system.
    fn interfaces(&self) -> io::Result<Vec<Interface>>;

    /// A socket whose multicasts leave by `interface`. A member hears what is
    /// sent to the group there; another only what is sent to itself.
    ///
    /// # Errors
    /// Those of the operating system.
    fn datagram(&self, group: Group, interface: &Interface, member: bool) -> io::Result<Self::Datagram>;

    /// The next datagram's length and sender; what does not fit in `into` is
    /// cut off.
    fn receive(
        socket: &Self::Datagram,
        into: &mut [u8],
    ) -> impl Future<Output = io::Result<(usize, SocketAddr)>> + Send;

    /// Sends a datagram.
    fn send(socket: &Self::Datagram, packet: &[u8], to: SocketAddr) -> impl Future<Output = io::Result<()>> + Send;
}

/// The network of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioNet;

impl Net for TokioNet {
    type Stream = TcpStream;
    type Listener = TcpListener;
    type Datagram = UdpSocket;

    async fn listen(&self, addr: SocketAddr) -> io::Result<TcpListener> {
        TcpListener::bind(addr).await
    }

    fn local_addr(listener: &TcpListener) -> io::Result<SocketAddr> {
        listener.local_addr()
    }

    async fn accept(listener: &mut TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, from) = listener.accept().await?;
        tune(&stream);
        Ok((stream, from))
    }

    async fn connect(&self, addr: SocketAddr) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(addr).await?;
        tune(&stream);
        Ok(stream)
    }

    fn interfaces(&self) -> io::Result<Vec<Interface>> {
        sockets::interfaces()
    }

    fn datagram(&self, group: Group, interface: &Interface, member: bool) -> io::Result<UdpSocket> {
        sockets::open(group, interface, member)
    }

    async fn receive(socket: &UdpSocket, into: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        socket.recv_from(into).await
    }

    async fn send(socket: &UdpSocket, packet: &[u8], to: SocketAddr) -> io::Result<()> {
        socket.send_to(packet, to).await.map(drop)
    }
}

/// Small frames must not wait for more. That they leave a little later is the
/// worst that can come of an error here.
fn tune(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!("a connection keeps Nagle's delay: {error}");
    }
}
