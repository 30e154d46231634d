//! The one packet of discovery.
//!
//! ```text
//! "CRCB" version:2 kind:1 0 | sent:8 nonce:8 | id:8 start:4 ip:16 port:2 | mac:32
//! ```
//! Every beacon has the same [`LENGTH`], so no answer is larger than its
//! question. A question names nobody: its id, ip and port are zero, and its
//! start counts how often it was asked. An answer repeats the nonce of its
//! question. An IPv4 address stands in its IPv6-mapped form. The MAC, under a
//! key of its own, covers all before it: no byte can be changed, and no tag
//! made elsewhere with the cluster's key fits a beacon.

use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::Place;
use crate::{
    Incarnation, ServerId,
    mac::{equal, mac},
    session::ClusterKey,
};

/// Bytes of a beacon.
pub const LENGTH: usize = BODY + MAC;
/// The version of the beacon's form.
pub const VERSION: u16 = 1;

const BODY: usize = 54;
const MAC: usize = 32;
const MAGIC: [u8; 4] = *b"CRCB";

mod kind {
    pub(super) const ANNOUNCE: u8 = 1;
    pub(super) const QUERY: u8 = 2;
    pub(super) const ANSWER: u8 = 3;
}

/// What beacons are authenticated with; derived from the cluster's key.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct BeaconKey([u8; 32]);

impl BeaconKey {
    /// The key of a cluster's beacons.
    pub fn of(key: &ClusterKey) -> Self {
        Self(*key.derive("circuit beacon"))
    }

    /// Puts the right MAC on any body.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn restamp(&self, packet: &mut [u8]) {
        if let Some((body, seal)) = packet.split_at_mut_checked(BODY) {
            seal.copy_from_slice(&mac(&self.0, &[body]));
        }
    }
}

impl fmt::Debug for BeaconKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BeaconKey") // never its bytes
    }
}

/// A beacon that was verified, or is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beacon {
    /// Microseconds since 1970 by the sender's clock.
    pub sent: u64,
    /// Made up anew for each question and announcement.
    pub nonce: u64,
    /// What it says.
    pub word: Word,
}

/// What a beacon says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// To everybody, by a server: I am here.
    Announce(Place),
    /// To everybody, by a client: who is here? With how often it asked before.
    Query(u32),
    /// To a client, by a server: I am.
    Answer(Place),
}

/// Why a datagram was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is of so many bytes rather than [`LENGTH`].
    Length(usize),
    /// It is no beacon.
    Magic,
    /// It is a beacon of another version.
    Version(u16),
    /// It was not made with the cluster's key, or was damaged.
    Mac,
    /// Its kind is unknown, or what must be zero is not.
    Kind(u8),
    /// It names an address that nobody there can dial.
    Address,
    /// It was sent over [`super::WINDOW`] ago or ahead, by this clock.
    Clock,
    /// It was heard before.
    Repeated,
    /// It answers no question of ours.
    Unasked,
    /// There are more questions than are answered.
    Busy,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(length) => write!(f, "a datagram of {length} bytes, where a beacon has {LENGTH}"),
            Self::Magic => f.write_str("a datagram that is no beacon"),
            Self::Version(theirs) => write!(f, "a beacon of version {theirs}, where this is {VERSION}"),
            Self::Mac => f.write_str("a beacon of another cluster key, or a damaged one"),
            Self::Kind(kind) => write!(f, "a beacon of the unknown kind {kind}"),
            Self::Address => f.write_str("a beacon that names an address that cannot be dialled"),
            Self::Clock => f.write_str("a beacon whose time is too far from this clock's"),
            Self::Repeated => f.write_str("a beacon that was heard before"),
            Self::Unasked => f.write_str("an answer to no question of ours"),
            Self::Busy => f.write_str("more questions than are answered"),
        }
    }
}

impl core::error::Error for Refusal {}

impl Beacon {
    /// The bytes of the beacon.
    pub fn seal(&self, key: &BeaconKey) -> [u8; LENGTH] {
        let (kind, id, start, addr) = match self.word {
            Word::Announce(Place { incarnation, addr }) => {
                (kind::ANNOUNCE, incarnation.id.0, incarnation.start, Some(addr))
            }
            Word::Query(round) => (kind::QUERY, 0, round, None),
            Word::Answer(Place { incarnation, addr }) => {
                (kind::ANSWER, incarnation.id.0, incarnation.start, Some(addr))
            }
        };
        let ip = addr.map_or(Ipv6Addr::UNSPECIFIED, |addr| mapped(addr.ip()));
        let mut packet = [0; LENGTH];
        let (body, seal) = packet.split_at_mut(BODY);
        let parts: [&[u8]; 9] = [
            &MAGIC,
            &VERSION.to_be_bytes(),
            &[kind, 0],
            &self.sent.to_be_bytes(),
            &self.nonce.to_be_bytes(),
            &id.to_be_bytes(),
            &start.to_be_bytes(),
            &ip.octets(),
            &addr.map_or(0, |addr| addr.port()).to_be_bytes(),
        ];
        for (to, from) in body.iter_mut().zip(parts.into_iter().flatten()) {
            *to = *from;
        }
        seal.copy_from_slice(&mac(&key.0, &[body]));
        packet
    }

    /// Reads and verifies a datagram. The cheap tests come first.
    ///
    /// # Errors
    /// [`Refusal`], of the kinds that need no clock and no memory.
    pub fn open(packet: &[u8], key: &BeaconKey) -> Result<Self, Refusal> {
        let whole: &[u8; LENGTH] = packet.try_into().map_err(|_| Refusal::Length(packet.len()))?;
        let (body, seal) = whole.split_at(BODY);
        let mut reader = Reader(body);
        if reader.take()? != MAGIC {
            return Err(Refusal::Magic);
        }
        let version = u16::from_be_bytes(reader.take()?);
        if version != VERSION {
            return Err(Refusal::Version(version));
        }
        if !equal(&mac(&key.0, &[body]), seal) {
            return Err(Refusal::Mac);
        }
        let [kind, zero] = reader.take()?;
        let sent = u64::from_be_bytes(reader.take()?);
        let nonce = u64::from_be_bytes(reader.take()?);
        let id = ServerId(u64::from_be_bytes(reader.take()?));
        let start = u32::from_be_bytes(reader.take()?);
        let ip = Ipv6Addr::from(reader.take::<16>()?);
        let port = u16::from_be_bytes(reader.take()?);
        let place = || {
            let addr = SocketAddr::new(ip.to_canonical(), port);
            let named = id != ServerId::DIAL_IN && can_be_dialled(addr);
            if named { Ok(Place { incarnation: Incarnation { id, start }, addr }) } else { Err(Refusal::Address) }
        };
        let word = match (kind, zero) {
            (kind::ANNOUNCE, 0) => Word::Announce(place()?),
            (kind::ANSWER, 0) => Word::Answer(place()?),
            (kind::QUERY, 0) if id == ServerId::DIAL_IN && ip.is_unspecified() && port == 0 => Word::Query(start),
            _ => return Err(Refusal::Kind(kind)),
        };
        Ok(Self { sent, nonce, word })
    }
}

/// Whether an address is one that somebody can listen at.
pub(super) fn can_be_dialled(addr: SocketAddr) -> bool {
    let ip = addr.ip();
    addr.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && ip != IpAddr::V4(Ipv4Addr::BROADCAST)
}

const fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// The fields of a body, one after the other.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Refusal> {
        // Too short cannot be: the length was checked, and the fields add up.
        let (field, rest) = self.0.split_first_chunk().ok_or(Refusal::Length(self.0.len()))?;
        self.0 = rest;
        Ok(*field)
    }
}
