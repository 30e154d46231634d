//! What is known of every server, merged by maximum.

use alloc::collections::BTreeMap;
use core::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{Epoch, ServerId};

/// Whether a server is there. Ordered: of two records of one epoch the later
/// state wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum State {
    /// It said so itself.
    Alive,
    /// Its observers found it gone.
    Dead,
    /// It said that it leaves.
    Left,
}

/// What is known of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Which server.
    pub id: ServerId,
    /// How recent this is.
    pub epoch: Epoch,
    /// Whether it is there.
    pub state: State,
    /// Where it can be dialled.
    pub addr: SocketAddr,
}

/// All that one server knows of the others.
#[derive(Clone, Debug, Default)]
pub struct View {
    records: BTreeMap<ServerId, Record>,
}

impl View {
    /// Takes `record` in, if it is news.
    pub fn merge(&mut self, record: Record) -> bool {
        match self.records.get(&record.id) {
            Some(known) if (known.epoch, known.state) >= (record.epoch, record.state) => false,
            _ => {
                self.records.insert(record.id, record);
                true
            }
        }
    }

    /// What is known of a server, there or gone.
    pub fn get(&self, id: ServerId) -> Option<&Record> {
        self.records.get(&id)
    }

    /// What is known of a server that is there.
    pub fn live(&self, id: ServerId) -> Option<&Record> {
        self.get(id).filter(|record| record.state == State::Alive)
    }

    /// All that are there, in order of ids.
    pub fn all_live(&self) -> impl Iterator<Item = &Record> {
        self.records.values().filter(|record| record.state == State::Alive)
    }
}
