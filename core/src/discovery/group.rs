//! Where beacons are sent: `228.8.8.8:7711`.

use core::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

/// A multicast address and a port.
///
/// ```
/// use circuit_core::discovery::{BadGroup, Group};
/// let group: Group = "228.8.8.8:7711".parse().unwrap();
/// assert_eq!(group.to_string(), "228.8.8.8:7711");
/// assert_eq!("10.0.0.1:7711".parse::<Group>(), Err(BadGroup::NotMulticast));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group(SocketAddr);

impl Group {
    /// The group at `addr`.
    ///
    /// # Errors
    /// [`BadGroup`]: it is no multicast address, has no port, or names an
    /// interface.
    pub fn new(addr: SocketAddr) -> Result<Self, BadGroup> {
        if !addr.ip().is_multicast() {
            return Err(BadGroup::NotMulticast);
        }
        if addr.port() == 0 {
            return Err(BadGroup::Port);
        }
        match addr {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => Err(BadGroup::Interface),
            _ => Ok(Self(addr)),
        }
    }

    /// Its address and port.
    pub const fn addr(self) -> SocketAddr {
        self.0
    }

    /// Where to send to on one interface.
    pub const fn on(self, interface: u32) -> SocketAddr {
        match self.0 {
            SocketAddr::V4(_) => self.0,
            SocketAddr::V6(mut v6) => {
                v6.set_scope_id(interface);
                SocketAddr::V6(v6)
            }
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Group {
    type Err = BadGroup;
    fn from_str(text: &str) -> Result<Self, BadGroup> {
        if let Ok(addr) = text.parse() {
            return Self::new(addr);
        }
        if text.parse::<IpAddr>().is_ok() {
            return Err(BadGroup::NoPort);
        }
        let Some((host, _)) = text.rsplit_once(':') else {
            return Err(BadGroup::NoPort);
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Err(if bare.parse::<IpAddr>().is_ok() { BadGroup::Port } else { BadGroup::Host })
    }
}

/// Why a text is no group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadGroup {
    /// There is no port.
    NoPort,
    /// The port is not in 1..=65535.
    Port,
    /// The host is not an IP address.
    Host,
    /// The address is not a multicast address.
    NotMulticast,
    /// The address names an interface.
    Interface,
}

impl fmt::Display for BadGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoPort => "the group has no port: write it as 228.8.8.8:7711 or [ff02::8:8]:7711",
            Self::Port => "the port of the group is not a number from 1 to 65535",
            Self::Host => "the group is not an IP address: write it as 228.8.8.8:7711 or [ff02::8:8]:7711",
            Self::NotMulticast => {
                "the group is not a multicast address: those are 224.0.0.0 to 239.255.255.255, and IPv6 from ff00::"
            }
            Self::Interface => "the group names an interface: all that can are used, so leave it out",
        })
    }
}

impl core::error::Error for BadGroup {}
