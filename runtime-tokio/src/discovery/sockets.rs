//! This machine's interfaces and multicast sockets.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use circuit_core::discovery::{Group, Interface};
use getifaddrs::InterfaceFlags as Flags;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::net::UdpSocket;

/// The addresses of this host's interfaces.
pub(crate) fn interfaces() -> io::Result<Vec<Interface>> {
    let with_address = |each: getifaddrs::Interface| {
        let (addr, flags) = (each.address.ip_addr()?, each.flags);
        Some(Interface {
            index: each.index?,
            addr,
            up: flags.contains(Flags::UP),
            multicast: flags.contains(Flags::MULTICAST),
            loopback: flags.contains(Flags::LOOPBACK),
            point_to_point: flags.contains(Flags::POINTTOPOINT),
        })
    };
    Ok(getifaddrs::getifaddrs()?.filter_map(with_address).collect())
}

/// A socket whose multicasts leave by `interface`; a member also hears those of
/// the group there, and of no other group and nowhere else.
pub(crate) fn open(group: Group, interface: &Interface, member: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(group.addr()), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    let everywhere = match (group.addr(), interface.addr) {
        (SocketAddr::V4(_), IpAddr::V4(addr)) => {
            socket.set_multicast_if_v4(&addr)?;
            socket.set_multicast_loop_v4(true)?;
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        }
        (SocketAddr::V6(_), _) => {
            socket.set_only_v6(true)?;
            socket.set_multicast_if_v6(interface.index)?;
            socket.set_multicast_loop_v6(true)?;
            IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        }
        (SocketAddr::V4(_), IpAddr::V6(_)) => {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the interface has no IPv4 address"));
        }
    };
    if member {
        join(&socket, group, interface)?;
    } else {
        socket.bind(&SocketAddr::new(everywhere, 0).into())?;
    }
    UdpSocket::from_std(socket.into())
}

fn join(socket: &Socket, group: Group, interface: &Interface) -> io::Result<()> {
    // Several servers of one host share the port.
    socket.set_reuse_address(true)?;
    #[cfg(not(target_os = "linux"))]
    socket.set_reuse_port(true)?;
    match group.addr() {
        SocketAddr::V4(addr) => {
            // Otherwise it would hear what others of this host joined.
            #[cfg(target_os = "linux")]
            socket.set_multicast_all_v4(false)?;
            socket.bind(&group.addr().into())?;
            socket.join_multicast_v4_n(addr.ip(), &InterfaceIndexOrAddress::Index(interface.index))
        }
        SocketAddr::V6(addr) => {
            #[cfg(target_os = "linux")]
            socket.set_multicast_all_v6(false)?;
            socket.bind(&group.on(interface.index).into())?;
            socket.join_multicast_v6(addr.ip(), interface.index)
        }
    }
}
