//! Which interfaces are used, and what address a server names on each.

use alloc::{
    collections::{BTreeMap, btree_map::Entry},
    vec::Vec,
};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Group, beacon::can_be_dialled};

/// The most interfaces that are used at a time.
pub const MAX_INTERFACES: usize = 64;

/// One address of a network interface, as the operating system tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The system's number for it.
    pub index: u32,
    /// An address of it.
    pub addr: IpAddr,
    /// Whether it is up.
    pub up: bool,
    /// Whether it says that it can multicast.
    pub multicast: bool,
    /// Whether it is loopback: it can multicast, and does not always say so.
    pub loopback: bool,
    /// Whether it leads to one other host only.
    pub point_to_point: bool,
}

impl Interface {
    const fn is_usable(&self) -> bool {
        self.up && (self.loopback || self.multicast && !self.point_to_point)
    }
}

/// The interfaces that a client asks on: each once, with an address of the
/// group's family, one that reaches beyond the link where there is one.
pub fn usable(all: &[Interface], group: Group) -> Vec<Interface> {
    let mut chosen: BTreeMap<u32, Interface> = BTreeMap::new();
    let family = group.addr().is_ipv4();
    for interface in all.iter().filter(|each| each.is_usable() && each.addr.is_ipv4() == family) {
        match chosen.entry(interface.index) {
            Entry::Vacant(free) => drop(free.insert(*interface)),
            Entry::Occupied(mut taken) => {
                if is_link_local(taken.get().addr) && !is_link_local(interface.addr) {
                    taken.insert(*interface);
                }
            }
        }
    }
    chosen.into_values().take(MAX_INTERFACES).collect()
}

fn is_link_local(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// A link-local address means something only with its interface.
pub(super) fn scoped(addr: SocketAddr, interface: u32) -> SocketAddr {
    match addr {
        SocketAddr::V6(mut v6) if v6.ip().is_unicast_link_local() => {
            v6.set_scope_id(interface);
            SocketAddr::V6(v6)
        }
        _ => addr,
    }
}

/// How a server can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Where it listens, with the port that it got.
    pub listen: SocketAddr,
    /// What others are told to dial instead.
    pub advertise: Option<SocketAddr>,
}

/// An interface that a server announces itself on, and the address it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Face {
    /// The interface.
    pub interface: Interface,
    /// What others there are to dial.
    pub addr: SocketAddr,
}

impl Reach {
    /// The interfaces that a server announces itself on. A server that listens
    /// on loopback alone is named nowhere else; one that listens everywhere
    /// names each interface's own address.
    pub fn faces(&self, all: &[Interface], group: Group) -> Vec<Face> {
        let face = |interface| Some(Face { interface, addr: self.named_on(&interface, all)? });
        usable(all, group).into_iter().filter_map(face).collect()
    }

    fn named_on(&self, interface: &Interface, all: &[Interface]) -> Option<SocketAddr> {
        let addr = match self.advertise {
            Some(addr) => addr,
            None if self.listen.ip().is_unspecified() => {
                let others = all.iter().filter(|other| other.index == interface.index).map(|other| other.addr);
                let ip = core::iter::once(interface.addr).chain(others).find(|&ip| self.hears(ip))?;
                SocketAddr::new(ip, self.listen.port())
            }
            None => self.listen,
        };
        (can_be_dialled(addr) && (interface.loopback || !addr.ip().to_canonical().is_loopback())).then_some(addr)
    }

    /// Whether who listens at "everywhere" is reached at `ip`: IPv6's is both.
    const fn hears(&self, ip: IpAddr) -> bool {
        self.listen.is_ipv6() || ip.is_ipv4()
    }
}

/// Where others dial a server that listens at `listen`: there, or, if that is
/// every address of its host, the first that others can know. Where there is
/// none they are on the same host.
pub fn dialable(listen: SocketAddr, interfaces: &[Interface]) -> SocketAddr {
    if !listen.ip().is_unspecified() {
        return listen;
    }
    let wide = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_unicast_link_local(),
    };
    let usable = interfaces.iter().filter(|interface| interface.up && !interface.loopback);
    let found = usable.map(|interface| interface.addr).find(|ip| ip.is_ipv4() == listen.is_ipv4() && wide(ip));
    let loopback = if listen.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    SocketAddr::new(found.unwrap_or(loopback), listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(addr: &str, loopback: bool) -> Interface {
        let addr = addr.parse().unwrap();
        Interface { index: 1, addr, up: true, multicast: true, loopback, point_to_point: false }
    }

    #[test]
    fn a_server_at_every_address_is_dialled_at_one_that_leads_somewhere() {
        let all = ["127.0.0.1", "fe80::1", "169.254.1.1", "10.0.0.7", "fd00::7"]
            .map(|addr| interface(addr, addr.starts_with("127")));
        let at = |listen: &str, interfaces: &[Interface]| {
            alloc::string::ToString::to_string(&dialable(listen.parse().unwrap(), interfaces))
        };
        assert_eq!(at("0.0.0.0:9", &all), "10.0.0.7:9");
        assert_eq!(at("[::]:9", &all), "[fd00::7]:9");
        assert_eq!(at("10.0.0.8:9", &all), "10.0.0.8:9");
        assert_eq!(at("0.0.0.0:9", &all[..1]), "127.0.0.1:9");
        assert_eq!(at("[::]:9", &[]), "[::1]:9");
    }
}
