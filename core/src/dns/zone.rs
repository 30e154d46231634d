//! The records of one name server, and what they say of a name.
//!
//! Records make zones, in which this server is the one that knows all there is.
//! A SOA is the top of one. Without it a zone is all that has the last two
//! labels of a name in common: a record of `db.example.com.` makes the zone
//! `example.com.`. A wildcard of one label more than the root, `*.test.`, makes
//! `test.` one; a name for an address (`arpa.`), or of one label, is a zone of
//! its own.

use alloc::{boxed::Box, collections::BTreeMap, format, string::String, sync::Arc, vec::Vec};
use core::ops::Bound;

use super::{
    name::{Key, Name},
    record::{CNAME, DS, NS, Record, SOA},
};
use crate::{Error, ErrorKind};

/// The most records of one name server.
pub const MAX_RECORDS: usize = 16_384;
/// The most bytes of all its records.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;
/// The most bytes of the records of one name and type, which have to fit one
/// reply.
const MAX_SET: usize = 32 * 1024;
/// What a record takes in a reply besides its data, at the most.
const OVERHEAD: usize = 12;

/// The records of one name server.
///
/// It is shared with whoever answers from it, so that a change copies what is
/// not changed by reference.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Zone {
    names: BTreeMap<Arc<[u8]>, Arc<Entry>>,
    records: usize,
    bytes: usize,
    /// How many names have a SOA, and how many a NS.
    soas: usize,
    cuts: usize,
    /// How often it was changed.
    pub(super) changes: u32,
}

/// The records of one name.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    name: Name,
    sets: Vec<Set>,
}

/// The records of one name and type.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Set {
    pub(super) kind: u16,
    /// They have one TTL (RFC 2181).
    pub(super) ttl: u32,
    pub(super) data: Vec<Box<[u8]>>,
}

impl Entry {
    pub(super) fn set(&self, kind: u16) -> Option<&Set> {
        self.sets.iter().find(|set| set.kind == kind)
    }

    fn records(&self) -> impl Iterator<Item = Record> {
        let record = |set: &Set, data: &[u8]| {
            let (name, data) = (self.name.clone(), data.into());
            Record { name, kind: set.kind, ttl: set.ttl, data }
        };
        self.sets.iter().flat_map(move |set| set.data.iter().map(move |data| record(set, data)))
    }
}

/// What the records say of a name.
#[derive(Debug)]
pub(super) struct Place<'a> {
    /// How many labels the top of its zone has.
    pub(super) top: usize,
    pub(super) found: Found<'a>,
}

#[derive(Debug)]
pub(super) enum Found<'a> {
    /// It has records, or a wildcard has them for it.
    Entry(&'a Entry),
    /// It is in a zone that was given to other servers, at the name of so many
    /// labels.
    Cut(&'a Set, usize),
    /// It has no records, but there are names beneath it.
    Empty,
    /// There is no such name.
    Missing,
}

impl Zone {
    /// Adds a record. Of one that is there already only the TTL is set, which
    /// all records of one name and type have in common; a CNAME or a SOA takes
    /// the place of the one that was there.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a CNAME beside other records;
    /// [`ErrorKind::QuotaExceeded`] if there would be too many.
    pub fn set(&mut self, record: Record) -> Result<(), Error> {
        let Record { name, kind, ttl, data } = record;
        let key = Key::of(name.as_wire());
        let before = self.names.get(key.as_slice());
        let mut entry = before.map_or_else(|| Entry { name, sets: Vec::new() }, |entry| Entry::clone(entry));
        if entry.sets.iter().any(|set| (set.kind == CNAME) != (kind == CNAME)) {
            let detail = format!("{} would have a CNAME beside other records: unset it first", entry.name);
            return Err(Error::new(ErrorKind::Invalid, detail));
        }
        let set = match entry.sets.iter_mut().position(|set| set.kind == kind) {
            Some(at) => entry.sets.get_mut(at),
            None => {
                entry.sets.push(Set { kind, ttl, data: Vec::new() });
                entry.sets.last_mut()
            }
        };
        if let Some(set) = set {
            set.ttl = ttl;
            if matches!(kind, CNAME | SOA) {
                set.data.clear();
            }
            if !set.data.contains(&data) {
                set.data.push(data);
            }
            if set.data.iter().map(|data| OVERHEAD + data.len()).sum::<usize>() > MAX_SET {
                return Err(over(&format!("the records of one name and type are over {MAX_SET} bytes")));
            }
        }
        self.put(&key, Some(entry))
    }

    /// Removes all records of a name: whether there were any.
    pub fn unset(&mut self, name: &Name) -> bool {
        let key = Key::of(name.as_wire());
        // Without an entry there is nothing that could be too much.
        self.names.contains_key(key.as_slice()) && self.put(&key, None).is_ok()
    }

    /// All records, those of a name together.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        self.names.values().flat_map(|entry| entry.records())
    }

    /// Puts an entry in the place of what was there.
    fn put(&mut self, key: &Key, entry: Option<Entry>) -> Result<(), Error> {
        let (gone, come) = (Sums::of(self.names.get(key.as_slice()).map(|entry| &**entry)), Sums::of(entry.as_ref()));
        let records = self.records + come.records - gone.records;
        let bytes = self.bytes + come.bytes - gone.bytes;
        if records > MAX_RECORDS || bytes > MAX_BYTES {
            let detail = format!("a name server holds {MAX_RECORDS} records of {MAX_BYTES} bytes");
            return Err(over(&detail));
        }
        (self.records, self.bytes) = (records, bytes);
        self.soas = self.soas + come.soas - gone.soas;
        self.cuts = self.cuts + come.cuts - gone.cuts;
        self.changes = self.changes.wrapping_add(1);
        match entry {
            Some(entry) => drop(self.names.insert(key.as_slice().into(), Arc::new(entry))),
            None => drop(self.names.remove(key.as_slice())),
        }
        Ok(())
    }

    /// What the records say of a name that is asked for this type; nothing if it
    /// is in none of their zones.
    pub(super) fn find(&self, key: &Key, kind: u16) -> Option<Place<'_>> {
        let all = key.labels();
        let exact = self.entry(key.as_slice());
        let top = self.top(key)?;
        if self.cuts > 0 {
            // The DS of a zone that was given away stayed here.
            let last = if kind == DS { all.saturating_sub(1) } else { all };
            let cut = |count| Some((self.entry(key.top(count))?.set(NS)?, count));
            if let Some((set, count)) = (top + 1..=last).find_map(cut) {
                return Some(Place { top, found: Found::Cut(set, count) });
            }
        }
        let found = match exact {
            Some(entry) => Found::Entry(entry),
            None if self.is_known(key.as_slice()) => Found::Empty,
            None => {
                // Of the wildcards only that of the closest name there is counts (RFC 4592).
                let closest = (top..all).rev().find(|&count| count == top || self.is_known(key.top(count)));
                let wild = closest.map(|count| wildcard(key.top(count)));
                match (wild.as_ref().and_then(|wild| self.entry(wild)), wild) {
                    (Some(entry), _) => Found::Entry(entry),
                    // It is there, for the names beneath it.
                    (None, Some(wild)) if self.is_known(&wild) => Found::Empty,
                    (None, _) => Found::Missing,
                }
            }
        };
        Some(Place { top, found })
    }

    /// The records of exactly this name.
    pub(super) fn entry(&self, key: &[u8]) -> Option<&Entry> {
        self.names.get(key).map(|entry| &**entry)
    }

    /// How many labels the top of the zone has that a name is in.
    fn top(&self, key: &Key) -> Option<usize> {
        let all = key.labels();
        if self.soas > 0 {
            let has_soa = |&count: &usize| self.entry(key.top(count)).is_some_and(|entry| entry.set(SOA).is_some());
            if let Some(count) = (0..=all).rev().find(has_soa) {
                return Some(count);
            }
        }
        let has_records = |count| self.entry(key.top(count)).is_some();
        // The zone that a wildcard makes has a top, even if nothing stands there.
        let is_wild = |count| self.entry(&wildcard(key.top(count))).is_some();
        let is_arpa = key.top(1) == b"\x04arpa";
        match all {
            0 => has_records(0).then_some(0),
            1 => (has_records(1) || !is_arpa && is_wild(1)).then_some(1),
            _ if is_arpa => (2..=all).find(|&count| has_records(count) || is_wild(count)),
            _ if self.is_known(key.top(2)) => Some(2),
            _ => is_wild(1).then_some(1),
        }
    }

    /// Whether there are records of a name or beneath it.
    fn is_known(&self, key: &[u8]) -> bool {
        let range = (Bound::Included(key), Bound::Unbounded);
        self.names.range::<[u8], _>(range).next().is_some_and(|(next, _)| next.starts_with(key))
    }
}

/// What entries add up to.
#[derive(Default)]
struct Sums {
    records: usize,
    bytes: usize,
    soas: usize,
    cuts: usize,
}

impl Sums {
    fn of(entry: Option<&Entry>) -> Self {
        let Some(entry) = entry else { return Self::default() };
        let own = entry.name.as_wire().len() + OVERHEAD;
        let data = || entry.sets.iter().flat_map(|set| &set.data);
        Self {
            records: data().count(),
            bytes: data().map(|data| own + data.len()).sum(),
            soas: usize::from(entry.set(SOA).is_some()),
            cuts: usize::from(entry.set(NS).is_some()),
        }
    }
}

fn wildcard(above: &[u8]) -> Vec<u8> {
    [above, b"\x01*"].concat()
}

fn over(detail: &str) -> Error {
    Error::new(ErrorKind::QuotaExceeded, String::from(detail))
}
