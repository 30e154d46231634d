//! Where a server listens, and what it may listen at.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use tokio::net::lookup_host;

use crate::fault::{Fault, plain};

/// `HOST` or `HOST:PORT`, the host by name or number; without a port any that
/// is free.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    host: String,
    port: u16,
}

impl FromStr for Address {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains(['/', '@']) {
            return Err("it is HOST or HOST:PORT, and not a URL");
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or("the bracket is not closed")?;
                if !matches!(host.parse(), Ok(IpAddr::V6(_))) {
                    return Err("what stands in brackets is not an IPv6 address");
                }
                (host, port)
            }
            None => text.find(':').map_or((text, ""), |at| text.split_at(at)),
        };
        if port.strip_prefix(':').is_some_and(|rest| rest.contains(':')) {
            return Err("an IPv6 address stands in brackets: [::1] or [::1]:PORT");
        }
        if host.is_empty() {
            return Err("the host is missing");
        }
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => 0,
            None => return Err("after the bracket stands :PORT or nothing"),
            Some(port) => port.parse().map_err(|_| "the port is not a number up to 65535")?,
        };
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.host)
    }
}

impl Address {
    /// Looks the host up.
    pub(crate) async fn resolve(&self) -> Result<SocketAddr, Fault> {
        let found = lookup_host((self.host.as_str(), self.port)).await;
        let found = found.map_err(|error| Fault::usage(format!("the address {self}: {}", plain(&error))))?;
        let mut found: Vec<SocketAddr> = found.collect();
        found.sort_by_key(SocketAddr::is_ipv6);
        found.first().copied().ok_or_else(|| Fault::usage(format!("the address {self}: it has none")))
    }

    pub(crate) const fn has_port(&self) -> bool {
        self.port != 0
    }
}

/// The address of a network interface: its first of IPv4, or of IPv6 if it has
/// none.
pub(crate) fn of_interface(name: &str) -> Result<IpAddr, Fault> {
    let all = if_addrs::get_if_addrs().map_err(|error| Fault::failed(format!("-if {name}: {}", plain(&error))))?;
    let of_it = all.iter().filter(|interface| interface.name == name);
    let usable = of_it.filter(|interface| !interface.is_link_local()).map(if_addrs::Interface::ip);
    if let Some(ip) = usable.min_by_key(IpAddr::is_ipv6) {
        return Ok(ip);
    }
    let mut names: Vec<&str> = all.iter().map(|interface| interface.name.as_str()).collect();
    names.dedup();
    let what = format!("-if {name}: there is no such interface with an address");
    Err(Fault::usage(what).hint(format!("interfaces with one: {}", names.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_needs_no_port() {
        for (text, host, port) in [
            ("10.0.0.1", "10.0.0.1", 0),
            ("10.0.0.1:11022", "10.0.0.1", 11022),
            ("localhost:0", "localhost", 0),
            ("[::1]", "::1", 0),
            ("[::1]:80", "::1", 80),
        ] {
            assert_eq!(text.parse(), Ok(Address { host: host.to_owned(), port }));
        }
    }

    #[test]
    fn every_bad_address_says_what_is_wrong() {
        for (text, why) in [
            ("", "missing"),
            (":80", "missing"),
            ("::1", "brackets"),
            ("::1:80", "brackets"),
            ("[::1", "closed"),
            ("[::1]80", "after the bracket"),
            ("[10.0.0.1]:80", "not an IPv6"),
            ("10.0.0.1:65536", "65535"),
            ("10.0.0.1:", "65535"),
            ("10.0.0.1:-1", "65535"),
            ("me@10.0.0.1:1", "not a URL"),
            ("circuit://10.0.0.1:1/2/Q3", "not a URL"),
        ] {
            let error = text.parse::<Address>().expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
