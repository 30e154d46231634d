//! The network by async-std.

use std::{io, net::SocketAddr};

use async_std::net::{TcpListener, TcpStream, UdpSocket};
use circuit_core::discovery::{Group, Interface};
use circuit_tokio::{Net, TokioNet};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt};

use crate::threads_net::datagram;

#[derive(Clone, Debug)]
pub(crate) struct AsyncStdNet;

impl Net for AsyncStdNet {
    type Stream = Compat<TcpStream>;
    type Listener = TcpListener;
    type Datagram = UdpSocket;

    async fn listen(&self, addr: SocketAddr) -> io::Result<TcpListener> {
        TcpListener::bind(addr).await
    }

    fn local_addr(listener: &TcpListener) -> io::Result<SocketAddr> {
        listener.local_addr()
    }

    async fn accept(listener: &mut TcpListener) -> io::Result<(Self::Stream, SocketAddr)> {
        let (stream, from) = listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok((stream.compat(), from))
    }

    async fn connect(&self, addr: SocketAddr) -> io::Result<Self::Stream> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(stream.compat())
    }

    fn interfaces(&self) -> io::Result<Vec<Interface>> {
        TokioNet.interfaces()
    }

    fn datagram(&self, group: Group, interface: &Interface, member: bool) -> io::Result<UdpSocket> {
        datagram(group, interface, member).map(UdpSocket::from)
    }

    async fn receive(socket: &UdpSocket, into: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        socket.recv_from(into).await
    }

    async fn send(socket: &UdpSocket, packet: &[u8], to: SocketAddr) -> io::Result<()> {
        socket.send_to(packet, to).await.map(drop)
    }
}
