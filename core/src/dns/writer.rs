//! Writes a reply, within a limit, and each name only once.

use alloc::vec::Vec;

use super::{
    query::{Edns, HEADER, Query, Rcode},
    record::{CLASS_IN, CNAME, MX, NS, OPT, PTR, SOA},
};

/// The most places that names can point to.
const MAX_KNOWN: usize = 64;
/// The bytes of an OPT without options.
const OPT_LENGTH: usize = 11;
/// The last place that can be pointed to.
const MAX_POINTER: usize = 0x3fff;

/// The parts of a reply, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Answer = 0,
    Authority = 1,
    Additional = 2,
}

/// What the header says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verdict {
    pub(super) rcode: Rcode,
    pub(super) authoritative: bool,
    /// Something is missing for which there was no room.
    pub(super) cut: bool,
}

/// A reply that is being written.
pub(super) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    limit: usize,
    counts: [u16; 3],
    known: [u16; MAX_KNOWN],
    names: usize,
}

impl<'a> Writer<'a> {
    /// A reply of at most `limit` bytes, with room for an OPT if there is to be
    /// one. It begins with the question.
    pub(super) fn new(out: &'a mut Vec<u8>, limit: usize, query: &Query<'_>) -> Self {
        let limit = limit - query.edns.map_or(0, |_| OPT_LENGTH);
        out.clear();
        out.resize(HEADER, 0);
        let mut writer = Self { out, limit, counts: [0; 3], known: [0; MAX_KNOWN], names: 0 };
        writer.name(query.name);
        writer.out.extend(query.kind.to_be_bytes());
        writer.out.extend(query.class.to_be_bytes());
        writer
    }

    /// Writes all these records, or none of them if there is no room.
    pub(super) fn records<'r>(
        &mut self,
        section: Section,
        owner: &[u8],
        kind: u16,
        ttl: u32,
        data: impl Iterator<Item = &'r [u8]>,
    ) -> bool {
        let (length, names, mut count) = (self.out.len(), self.names, 0);
        for data in data {
            self.record(owner, kind, ttl, data);
            count += 1;
            if self.out.len() > self.limit {
                self.out.truncate(length);
                self.names = names;
                return false;
            }
        }
        self.count(section, count);
        true
    }

    fn count(&mut self, section: Section, count: u16) {
        if let Some(total) = self.counts.get_mut(section as usize) {
            *total += count;
        }
    }

    fn record(&mut self, owner: &[u8], kind: u16, ttl: u32, data: &[u8]) {
        self.name(owner);
        self.out.extend(kind.to_be_bytes());
        self.out.extend(CLASS_IN.to_be_bytes());
        self.out.extend(ttl.to_be_bytes());
        let place = self.out.len();
        self.out.extend([0; 2]);
        self.data(kind, data);
        let length = self.out.len() - place - 2;
        if let Some(bytes) = self.out.get_mut(place..place + 2) {
            bytes.copy_from_slice(&(length as u16).to_be_bytes()); // at most MAX_DATA
        }
    }

    /// Only the names in data of the first types may be compressed (RFC 3597).
    fn data(&mut self, kind: u16, data: &[u8]) {
        match kind {
            NS | CNAME | PTR => self.name(data),
            MX => {
                let (preference, name) = data.split_at_checked(2).unwrap_or((data, &[]));
                self.out.extend_from_slice(preference);
                self.name(name);
            }
            SOA => {
                let first = super::name::length(data).unwrap_or(0);
                let (first, rest) = data.split_at_checked(first).unwrap_or_default();
                let second = super::name::length(rest).unwrap_or(0);
                let (second, rest) = rest.split_at_checked(second).unwrap_or_default();
                self.name(first);
                self.name(second);
                self.out.extend_from_slice(rest);
            }
            _ => self.out.extend_from_slice(data),
        }
    }

    /// Writes a name, up to where the rest of it stands already, in the same
    /// case.
    fn name(&mut self, mut name: &[u8]) {
        while let Some((&length, rest)) = name.split_first().filter(|(length, _)| **length > 0) {
            let known = self.known.get(..self.names).unwrap_or_default();
            if let Some(&place) = known.iter().find(|place| self.stands_at(usize::from(**place), name)) {
                self.out.extend((0xc000 | place).to_be_bytes());
                return;
            }
            let here = self.out.len();
            if here <= MAX_POINTER
                && let Some(place) = self.known.get_mut(self.names)
            {
                *place = here as u16; // at most MAX_POINTER
                self.names += 1;
            }
            let (label, after) = rest.split_at_checked(usize::from(length)).unwrap_or((rest, &[]));
            self.out.push(length);
            self.out.extend_from_slice(label);
            name = after;
        }
        self.out.push(0);
    }

    /// Whether this name stands at that place.
    fn stands_at(&self, mut place: usize, mut name: &[u8]) -> bool {
        loop {
            let Some(&length) = self.out.get(place) else { return false };
            if length >= 0xc0 {
                let low = self.out.get(place + 1).copied().map_or(0, usize::from);
                place = usize::from(length & 0x3f) << 8 | low; // further to the front
                continue;
            }
            let size = 1 + usize::from(length);
            match (self.out.get(place..place + size), name.split_at_checked(size)) {
                (Some(there), Some((here, rest))) if there == here => (place, name) = (place + size, rest),
                _ => return false,
            }
            if length == 0 {
                return true;
            }
        }
    }

    /// Takes back everything but the question.
    fn clear(&mut self, query: &Query<'_>) {
        self.out.truncate(HEADER + query.name.len() + 4);
        (self.counts, self.names) = ([0; 3], 0);
    }

    /// Ends the reply. One that is cut has no records at all, as nobody may use
    /// them, and the fewer bytes go to who may not have asked.
    pub(super) fn finish(mut self, packet: &[u8], query: &Query<'_>, verdict: Verdict) {
        if verdict.cut {
            self.clear(query);
        }
        if let Some(edns) = query.edns {
            opt(self.out, edns, verdict.rcode);
            self.count(Section::Additional, 1);
        }
        let flags = u8::from(verdict.authoritative) << 2 | u8::from(verdict.cut) << 1;
        header(self.out, packet, flags, verdict.rcode, 1, self.counts);
    }
}

/// Writes a reply to `packet` without its question, and with an OPT if that had
/// one.
pub(super) fn bare(out: &mut Vec<u8>, packet: &[u8], rcode: Rcode, edns: Option<Edns>) {
    out.clear();
    out.resize(HEADER, 0);
    if let Some(edns) = edns {
        opt(out, edns, rcode);
    }
    header(out, packet, 0, rcode, 0, [0, 0, edns.is_some().into()]);
}

fn opt(out: &mut Vec<u8>, edns: Edns, rcode: Rcode) {
    out.push(0);
    out.extend(OPT.to_be_bytes());
    out.extend((super::MAX_DATAGRAM as u16).to_be_bytes());
    let signed = if edns.signed { 0x80 } else { 0 };
    out.extend([(rcode as u8) >> 4, 0, signed, 0, 0, 0]);
}

/// Writes the header of a reply to `packet`.
fn header(out: &mut [u8], packet: &[u8], flags: u8, rcode: Rcode, questions: u16, counts: [u16; 3]) {
    let (Some([a, b, asked, _, ..]), Some(header)) = (packet.get(..HEADER), out.first_chunk_mut::<HEADER>()) else {
        return;
    };
    // Of the question's flags the opcode is repeated, and whether recursion is wanted.
    *header = [*a, *b, 0x80 | asked & 0x79 | flags, rcode as u8 & 0xf, 0, 0, 0, 0, 0, 0, 0, 0];
    let counts = [questions].into_iter().chain(counts).flat_map(u16::to_be_bytes);
    for (to, from) in header.iter_mut().skip(4).zip(counts) {
        *to = from;
    }
}
