//! What is known of all servers, small and quickly found.
//!
//! A view of ten thousand servers is looked into for every record that comes,
//! and most come ten times. Entries stand one behind the other in the order in
//! which they came, and are found by a table of hashes; the table's own order
//! is never seen.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use hashbrown::{HashTable, hash_table::Entry as Slot};

use super::{
    rings::mix,
    view::{Record, State},
};
use crate::{Epoch, ServerId};

/// A record, and whether its server is there, in 40 bytes.
#[derive(Clone, Copy, Debug)]
struct Entry {
    id: ServerId,
    epoch: Epoch,
    /// An IPv4 address stands there as IPv6 maps it.
    ip: [u8; 16],
    port: u16,
    state: State,
    is_v4: bool,
    present: bool,
}

impl Entry {
    const fn new(record: Record, present: bool) -> Self {
        let (ip, is_v4) = match record.addr.ip() {
            IpAddr::V4(ip) => (ip.to_ipv6_mapped(), true),
            IpAddr::V6(ip) => (ip, false),
        };
        let (port, ip) = (record.addr.port(), ip.octets());
        Self { id: record.id, epoch: record.epoch, ip, port, state: record.state, is_v4, present }
    }

    fn record(&self) -> Record {
        let ip = Ipv6Addr::from(self.ip);
        let v4 = if self.is_v4 { ip.to_ipv4_mapped().map(IpAddr::V4) } else { None };
        let addr = SocketAddr::new(v4.unwrap_or(IpAddr::V6(ip)), self.port);
        Record { id: self.id, epoch: self.epoch, state: self.state, addr }
    }
}

/// Records of servers by their ids.
#[derive(Clone, Debug, Default)]
pub(super) struct Roster {
    entries: Vec<Entry>,
    index: HashTable<u32>,
}

pub(super) const fn hash(id: ServerId) -> u64 {
    mix(id.0)
}

impl Roster {
    /// What is known of a server, and whether it is there.
    pub(super) fn get(&self, id: ServerId) -> Option<(Record, bool)> {
        self.entry(id).map(|entry| (entry.record(), entry.present))
    }

    fn entry(&self, id: ServerId) -> Option<&Entry> {
        let place = self.index.find(hash(id), |&place| self.is_at(place, id))?;
        self.entries.get(*place as usize)
    }

    fn is_at(&self, place: u32, id: ServerId) -> bool {
        self.entries.get(place as usize).is_some_and(|entry| entry.id == id)
    }

    /// Puts a record in the place of what was known.
    pub(super) fn put(&mut self, record: Record, present: bool) {
        let Self { entries, index } = self;
        let id_at = |place: u32| entries.get(place as usize).map_or(ServerId(0), |entry| entry.id);
        match index.entry(hash(record.id), |&place| id_at(place) == record.id, |&place| hash(id_at(place))) {
            Slot::Occupied(found) => {
                if let Some(entry) = entries.get_mut(*found.get() as usize) {
                    *entry = Entry::new(record, present);
                }
            }
            Slot::Vacant(free) => {
                free.insert(u32::try_from(entries.len()).unwrap_or(u32::MAX));
                if entries.len() == entries.capacity() {
                    // Views grow to one size and keep it: half of it would be idle.
                    entries.reserve_exact(entries.len() / 4 + 4);
                }
                entries.push(Entry::new(record, present));
            }
        }
    }

    /// Forgets a server; the last takes its place.
    pub(super) fn remove(&mut self, id: ServerId) {
        let Self { entries, index } = self;
        let at = |place: u32, id| entries.get(place as usize).is_some_and(|entry| entry.id == id);
        let Ok(found) = index.find_entry(hash(id), |&place| at(place, id)) else {
            return;
        };
        let (place, _) = found.remove();
        let last = entries.len().saturating_sub(1);
        if let Some(moved) = entries.last().map(|entry| entry.id)
            && let Some(of_moved) = index.find_mut(hash(moved), |&at| at as usize == last)
        {
            *of_moved = place;
        }
        entries.swap_remove(place as usize);
    }

    /// How many servers are known.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// All that is known, in the order in which it came, about.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Record, bool)> {
        self.entries.iter().map(|entry| (entry.record(), entry.present))
    }

    /// The ids of those that are there.
    pub(super) fn present(&self) -> impl Iterator<Item = ServerId> {
        self.entries.iter().filter(|entry| entry.present).map(|entry| entry.id)
    }
}

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeMap, vec::Vec};

    use proptest::prelude::*;

    use super::*;

    fn record(id: u64, rise: u32) -> Record {
        let addr = if id.is_multiple_of(2) { "10.0.0.7:9".parse() } else { "[2001:db8::7]:9".parse() };
        let epoch = Epoch { start: 1, rise };
        Record { id: ServerId(id), epoch, state: State::Dead, addr: addr.unwrap() }
    }

    #[test]
    fn an_entry_is_small() {
        assert_eq!(size_of::<Entry>(), 40);
    }

    proptest! {
        #[test]
        fn it_is_a_map(steps in prop::collection::vec((0_u64..40, prop::option::of((0_u32..9, any::<bool>()))), 0..200)) {
            let (mut roster, mut model) = (Roster::default(), BTreeMap::new());
            for (id, put) in steps {
                match put {
                    Some((rise, present)) => {
                        roster.put(record(id, rise), present);
                        model.insert(ServerId(id), (record(id, rise), present));
                    }
                    None => {
                        roster.remove(ServerId(id));
                        model.remove(&ServerId(id));
                    }
                }
            }
            prop_assert_eq!(roster.len(), model.len());
            for id in (0..40).map(ServerId) {
                prop_assert_eq!(roster.get(id), model.get(&id).copied());
            }
            let mut all: Vec<_> = roster.iter().collect();
            all.sort_by_key(|(record, _)| record.id);
            prop_assert_eq!(all, model.values().copied().collect::<Vec<_>>());
            prop_assert_eq!(roster.present().count(), model.values().filter(|(_, present)| *present).count());
        }
    }
}
