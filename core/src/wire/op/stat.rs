//! The state of elements, as `peek` shows it.

use alloc::{string::String, vec::Vec};
use core::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{Chosen, ContainerStat, ProcStat, SelectSpec, Source};
use crate::{
    Error,
    codec::list,
    dns::{MAX_RECORDS, Record},
};

/// The state of an element, as `peek` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Stat {
    /// Of a server.
    Server(ServerStat),
    /// Of a channel.
    Chan(ChanStat),
    /// Of a process.
    Proc(ProcStat),
    /// Of a container.
    Container(ContainerStat),
    /// Of a select.
    Select(SelectStat),
    /// Of a name server.
    Nameserver(NameserverStat),
    /// Of a subscription.
    Subscription(SubscriptionStat),
}

/// The state of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStat {
    /// Where others dial it.
    pub addr: SocketAddr,
    /// When it started, in microseconds since 1970.
    pub joined: u64,
    /// The version of its program.
    pub version: String,
    /// For how long it has run, in microseconds.
    pub uptime: u64,
    /// How many servers it sees, itself among them.
    pub members: u64,
    /// How many sessions it has, with servers and clients.
    pub sessions: u64,
    /// How many elements it hosts.
    pub elements: u64,
    /// How many calls wait on its elements.
    pub streams: u64,
    /// How many bytes wait to be sent.
    pub bytes: u64,
}

/// The state of a channel; the names are upstream's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ChanStat {
    /// How many messages it buffers.
    pub cap: u32,
    /// Whether it was closed.
    pub closed: bool,
    /// Whether it was removed.
    pub aborted: bool,
    /// How many messages were accepted or delivered.
    pub num_send: u64,
    /// How many messages were acknowledged by a receiver.
    pub num_recv: u64,
}

/// The state of a subscription; the names are upstream's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionStat {
    /// What it tells of.
    pub source: Source,
    /// How many events wait to be received.
    pub pending: u64,
    /// Whether no more will come.
    pub closed: bool,
}

/// The state of a name server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameserverStat {
    /// Where it answers, by UDP and TCP.
    pub addr: SocketAddr,
    /// Its records, those of a name together.
    #[serde(deserialize_with = "list::bounded::<MAX_RECORDS, _, _>")]
    pub records: Vec<Record>,
}

/// The state of a select.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SelectStat {
    /// Its clauses.
    pub spec: SelectSpec,
    /// Which of them took place, if it is decided.
    pub chosen: Option<Chosen>,
    /// Or why none did.
    pub failed: Option<Error>,
}
