//! Name servers.

use bytes::Bytes;
use circuit_core::{
    Error, ErrorKind, Path,
    dns::{BadRecord, Name, Record},
    wire::op::{NameserverStat, Op, Stat},
};

use super::Anchor;

/// A name server, by its place: it answers DNS queries, by UDP and TCP, from
/// records that are set and unset here.
#[derive(Clone, Debug)]
pub struct Nameserver(pub(super) Anchor);

impl Nameserver {
    /// Where it stands.
    pub const fn anchor(&self) -> &Anchor {
        &self.0
    }

    fn path(&self) -> Path {
        self.0.place("").map(|at| at.path.clone()).unwrap_or_default()
    }

    /// Adds a record, in the notation of master files, as
    /// `miek.nl. 3600 IN MX 10 mx.miek.nl.`; TTL and class may be left out. It
    /// is answered from when this returns. A CNAME or a SOA takes the place of
    /// the one that was there.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for what is no record, and for a CNAME beside
    /// others; [`ErrorKind::QuotaExceeded`] if there are too many; those of the
    /// host and the connection.
    pub async fn set(&self, record: &str) -> Result<(), Error> {
        self.set_record(record.parse().map_err(invalid)?).await
    }

    /// The same of one that was read already.
    ///
    /// # Errors
    /// As [`Nameserver::set`].
    pub async fn set_record(&self, record: Record) -> Result<(), Error> {
        self.0.ask(Op::Set { path: self.path(), record }, Bytes::new()).await.map(drop)
    }

    /// Removes all records of a name.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for what is no name; [`ErrorKind::NotFound`] if it
    /// has none; those of the host and the connection.
    pub async fn unset(&self, name: &str) -> Result<(), Error> {
        let name: Name = name.parse().map_err(invalid)?;
        self.0.ask(Op::Unset { path: self.path(), name }, Bytes::new()).await.map(drop)
    }

    /// Its address and records.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], or [`ErrorKind::WrongKind`] if something else
    /// stands there.
    pub async fn stat(&self) -> Result<NameserverStat, Error> {
        match self.0.peek().await? {
            Stat::Nameserver(stat) => Ok(stat),
            _ => Err(ErrorKind::WrongKind.into()),
        }
    }
}

#[allow(clippy::needless_pass_by_value)]
fn invalid(bad: BadRecord) -> Error {
    Error::new(ErrorKind::Invalid, bad.to_string())
}
