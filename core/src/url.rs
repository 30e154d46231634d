//! Where a server can be dialled: `circuit://10.0.0.1:11022/78517/Q56e7a2a0d47a7b5d`.

use core::{fmt, net::SocketAddr, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::ServerId;

/// The address and the identity of a server.
///
/// The process id is decoration for people and is never compared; the id is
/// checked against the key that the server proves to have.
///
/// ```
/// use circuit_core::Url;
/// let url: Url = "circuit://10.0.0.1:11022/78517/Q56e7a2a0d47a7b5d".parse().unwrap();
/// assert_eq!(url.addr.port(), 11022);
/// assert_eq!(url.to_string(), "circuit://10.0.0.1:11022/78517/Q56e7a2a0d47a7b5d");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Url {
    /// Where it listens.
    pub addr: SocketAddr,
    /// The number of its operating-system process.
    pub pid: u32,
    /// Who it is.
    pub id: ServerId,
}

/// A server that can be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Where.
    pub addr: SocketAddr,
    /// Who must answer, if that is known.
    pub expect: Option<ServerId>,
}

impl From<Url> for Target {
    fn from(url: Url) -> Self {
        Self { addr: url.addr, expect: Some(url.id) }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "circuit://{}/{}/Q{:016x}", self.addr, self.pid, self.id.0)
    }
}

impl FromStr for Url {
    type Err = BadUrl;
    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let rest = text.strip_prefix("circuit://").ok_or(BadUrl::Scheme)?;
        let mut parts = rest.split('/');
        let (host, pid, id) = (parts.next().unwrap_or(""), parts.next(), parts.next());
        if host.contains('@') {
            return Err(BadUrl::User);
        }
        let addr = parse_addr(host)?;
        let (Some(pid), Some(id), None) = (pid, id, parts.next()) else {
            return Err(BadUrl::Shape);
        };
        let pid = pid.parse().map_err(|_| BadUrl::Pid)?;
        let id = id.strip_prefix('Q').and_then(ServerId::from_hex).ok_or(BadUrl::Id)?;
        Ok(Self { addr, pid, id })
    }
}

/// Reads `IP:PORT`, saying which half is wrong.
fn parse_addr(host: &str) -> Result<SocketAddr, BadUrl> {
    let Some((ip, port)) = host.rsplit_once(':') else {
        return Err(BadUrl::NoPort);
    };
    if ip.contains(':') && !(ip.starts_with('[') && ip.ends_with(']')) {
        return Err(BadUrl::Brackets);
    }
    if port.is_empty() {
        return Err(BadUrl::NoPort);
    }
    match port.parse::<u16>() {
        Ok(0) | Err(_) => return Err(BadUrl::Port),
        Ok(_) => {}
    }
    host.parse().map_err(|_| BadUrl::Host)
}

/// Why a text is no circuit URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadUrl {
    /// It does not begin with `circuit://`.
    Scheme,
    /// It names a user.
    User,
    /// The host is not an IP address.
    Host,
    /// There is no port.
    NoPort,
    /// The port is not in 1..=65535.
    Port,
    /// An IPv6 address stands without brackets.
    Brackets,
    /// It is not of the form `circuit://HOST:PORT/PID/Qid`.
    Shape,
    /// The process id is no number.
    Pid,
    /// The id is not `Q` and 16 lower-case hexadecimal digits.
    Id,
}

impl fmt::Display for BadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "a circuit URL begins with circuit://",
            Self::User => "a circuit URL names no user",
            Self::Host => "the host of the URL is not an IP address",
            Self::NoPort => "the URL has no port",
            Self::Port => "the port of the URL is not a number from 1 to 65535",
            Self::Brackets => "an IPv6 address in a URL stands in brackets",
            Self::Shape => "a circuit URL has the form circuit://HOST:PORT/PID/Qid",
            Self::Pid => "the process id in the URL is not a number",
            Self::Id => "the id in the URL is not Q and 16 lower-case hexadecimal digits",
        })
    }
}

impl core::error::Error for BadUrl {}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn every_kind_of_bad_url_is_named() {
        for (text, why) in [
            ("http://10.0.0.1:1/1/Q0000000000000001", BadUrl::Scheme),
            ("circuit://me@10.0.0.1:1/1/Q0000000000000001", BadUrl::User),
            ("circuit://10.0.0.1/1/Q0000000000000001", BadUrl::NoPort),
            ("circuit://10.0.0.1:/1/Q0000000000000001", BadUrl::NoPort),
            ("circuit://10.0.0.1:65536/1/Q0000000000000001", BadUrl::Port),
            ("circuit://10.0.0.1:0/1/Q0000000000000001", BadUrl::Port),
            ("circuit://::1:80/1/Q0000000000000001", BadUrl::Brackets),
            ("circuit://there:80/1/Q0000000000000001", BadUrl::Host),
            ("circuit://10.0.0.1:80", BadUrl::Shape),
            ("circuit://10.0.0.1:80/1/Q0000000000000001/x", BadUrl::Shape),
            ("circuit://10.0.0.1:80/x/Q0000000000000001", BadUrl::Pid),
            ("circuit://10.0.0.1:80/1/X0000000000000001", BadUrl::Id),
            ("circuit://10.0.0.1:80/1/Q1", BadUrl::Id),
        ] {
            assert_eq!(text.parse::<Url>(), Err(why), "{text}");
        }
    }

    #[test]
    fn an_ipv6_url_reads_back_as_printed() {
        let text = "circuit://[::1]:11022/7/Q00000000000000ff";
        assert_eq!(text.parse::<Url>().unwrap().to_string(), text);
    }
}
