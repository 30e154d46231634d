//! Datagrams that are answered from the address that was asked (RFC 2181, 4.1):
//! of a socket at every address the route to the asker would pick one, and
//! whoever asked another would take the reply for a stranger's.

use std::{
    io::{self, IoSlice},
    mem::{MaybeUninit, offset_of},
    os::fd::AsRawFd,
};

use libc::{c_int, cmsghdr, in_pktinfo, in6_pktinfo};
use socket2::{MaybeUninitSlice, MsgHdr, MsgHdrMut, SockAddr, SockRef};
use tokio::{io::Interest, net::UdpSocket};

/// Where a control message has its data.
const DATA: usize = size_of::<cmsghdr>();
/// The most that the kernel says of a datagram.
const CONTROL: usize = DATA + size_of::<in6_pktinfo>().next_multiple_of(align_of::<cmsghdr>());

/// Has the kernel say to which address each datagram was sent, if the socket is
/// at every one.
pub(super) fn tell_apart(socket: &std::net::UdpSocket) -> io::Result<()> {
    let addr = socket.local_addr()?;
    if !addr.ip().to_canonical().is_unspecified() {
        return Ok(());
    }
    let (level, name) = match addr.is_ipv4() {
        true => (libc::IPPROTO_IP, libc::IP_PKTINFO),
        false => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO), // of IPv4 too
    };
    let (on, length) = (1, size_of::<c_int>() as libc::socklen_t);
    // SAFETY: the value is an int, and lives as long as the call.
    match unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const on).cast(), length) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Who sent a datagram, and to which address, as the kernel says it and wants it
/// said. The control message stands first, in the alignment of its structure.
#[repr(C)]
pub(super) struct Ends {
    control: [u8; CONTROL],
    length: usize,
    peer: SockAddr,
}

impl Ends {
    /// Room for those of datagrams to this socket.
    pub(super) fn of(socket: &UdpSocket) -> io::Result<Self> {
        // Its own address, since that is as long as those of its peers.
        Ok(Self { control: [0; CONTROL], length: 0, peer: socket.local_addr()?.into() })
    }

    /// Reads a datagram, if there is one.
    pub(super) fn try_receive(&mut self, socket: &UdpSocket, into: &mut [u8]) -> io::Result<usize> {
        let mut buffers = [MaybeUninitSlice::new(uninit(into))];
        let message = MsgHdrMut::new().with_addr(&mut self.peer).with_buffers(&mut buffers);
        let mut message = message.with_control(uninit(&mut self.control));
        let length = socket.try_io(Interest::READABLE, || SockRef::from(socket).recvmsg(&mut message, 0))?;
        self.length = message.control_len();
        // The interface is the route's to choose: it may be another than it came by.
        let index = match self.peer.is_ipv4() {
            true => offset_of!(in_pktinfo, ipi_ifindex),
            false => offset_of!(in6_pktinfo, ipi6_ifindex),
        };
        self.control[DATA + index..][..size_of::<c_int>()].fill(0);
        Ok(length)
    }

    /// Sends a reply to what was read last, if there is room.
    pub(super) fn try_reply(&self, socket: &UdpSocket, packet: &[u8]) -> io::Result<usize> {
        let buffers = [IoSlice::new(packet)];
        let message = MsgHdr::new().with_addr(&self.peer).with_buffers(&buffers);
        let message = message.with_control(&self.control[..self.length]);
        socket.try_io(Interest::WRITABLE, || SockRef::from(socket).sendmsg(&message, 0))
    }
}

fn uninit(bytes: &mut [u8]) -> &mut [MaybeUninit<u8>] {
    // SAFETY: the layout is the same, and the kernel writes nothing that is not
    // initialized.
    unsafe { &mut *(std::ptr::from_mut(bytes) as *mut [MaybeUninit<u8>]) }
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, time::Duration};

    use tokio::time;

    use super::*;
    use crate::names::{Records, bind, udp};

    /// Asks a server at `all` at the address `asked`: who replies.
    async fn ask(udp: &UdpSocket, asked: &str) -> SocketAddr {
        let asked = SocketAddr::new(asked.parse().expect("an address"), udp.local_addr().expect("a port").port());
        let any = if asked.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let asker = UdpSocket::bind(any).await.expect("a socket");
        let query = b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x01b\x00\x00\x01\x00\x01";
        asker.send_to(query, asked).await.expect("sent");
        let (records, mut reply) = (Records::default(), [0; 512]);
        let (length, from) = tokio::select! {
            () = udp::answer(udp, &records) => panic!("it cannot be read"),
            reply = time::timeout(Duration::from_secs(20), asker.recv_from(&mut reply)) => reply.expect("a reply").expect("read"),
        };
        assert_eq!((length, &reply[..2]), (query.len(), &query[..2]));
        assert_eq!(from, asked, "another would be a stranger to the asker");
        from
    }

    #[tokio::test]
    async fn who_asks_one_of_many_addresses_is_answered_from_there() {
        let (udp, _tcp) = bind("0.0.0.0:0".parse().expect("an address")).expect("sockets");
        for asked in ["127.0.0.2", "127.0.0.1", "127.0.0.3"] {
            ask(&udp, asked).await;
        }
        let (one, _tcp) = bind("127.0.0.4:0".parse().expect("an address")).expect("sockets");
        ask(&one, "127.0.0.4").await;
        // Not every host has IPv6, and not on all is IPv4 a part of it.
        let Ok((udp, _tcp)) = bind("[::]:0".parse().expect("an address")) else { return };
        ask(&udp, "::1").await;
        if !SockRef::from(&udp).only_v6().expect("an option") {
            ask(&udp, "127.0.0.2").await;
        }
    }
}
