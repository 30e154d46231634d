//! The reply to a query.

use alloc::{collections::BTreeSet, vec::Vec};

use super::{
    MAX_DATAGRAM, Over,
    name::{self, Key},
    query::{self, Parsed, Query, Rcode},
    record::{A, AAAA, ANY, CLASS_IN, CNAME, HINFO, MX, NS, SOA, SRV},
    writer::{Section, Verdict, Writer, bare},
    zone::{Found, Set, Zone},
};

/// The shortest limit of a datagram.
const MIN_DATAGRAM: usize = 512;
/// The longest reply on a connection.
const MAX_REPLY: usize = 65_535;
/// How many CNAMEs are followed, one after the other.
const MAX_CHAIN: usize = 16;
/// For how long it may be remembered that there is nothing, in seconds: names
/// come at any moment.
const NOTHING_TTL: u32 = 5;
/// The answer to who wants everything (RFC 8482).
const NOT_ALL: &[u8] = b"\x07RFC8482\x00";
const NOT_ALL_TTL: u32 = 3_600;
/// Whom to write to about a zone that nobody described.
const NOBODY: &[u8] = b"\x06nobody\x07invalid\x00";
/// Its refresh, retry and expire.
const TIMES: [u32; 3] = [3_600, 600, 86_400];

impl Zone {
    /// Writes the reply to a packet to `reply`, whatever that held; false if
    /// there is nothing to be said.
    pub fn reply(&self, packet: &[u8], over: Over, reply: &mut Vec<u8>) -> bool {
        let (query, refused) = match query::parse(packet) {
            Parsed::Drop => return false,
            Parsed::Bad(rcode, edns) => {
                bare(reply, packet, rcode, edns);
                return true;
            }
            Parsed::Refused(query, rcode) => (query, Some(rcode)),
            Parsed::Query(query) if !matches!(query.class, CLASS_IN | ANY) => (query, Some(Rcode::Refused)),
            Parsed::Query(query) => (query, None),
        };
        let limit = match (over, query.edns) {
            (Over::Tcp, _) => MAX_REPLY,
            (Over::Udp, None) => MIN_DATAGRAM,
            (Over::Udp, Some(edns)) => usize::from(edns.size).clamp(MIN_DATAGRAM, MAX_DATAGRAM),
        };
        let mut writer = Writer::new(reply, limit, &query);
        let mut verdict = match refused {
            Some(rcode) => Verdict { rcode, authoritative: false, cut: false },
            None => self.resolve(&query, &mut writer),
        };
        // Nobody is the authority for all classes.
        verdict.authoritative &= query.class == CLASS_IN;
        writer.finish(packet, &query, verdict);
        true
    }

    /// Follows the name through CNAMEs to what there is.
    fn resolve(&self, query: &Query<'_>, writer: &mut Writer<'_>) -> Verdict {
        let mut verdict = Verdict { rcode: Rcode::NoError, authoritative: true, cut: false };
        let (mut name, mut seen) = (query.name, Vec::new());
        for step in 0..=MAX_CHAIN {
            let key = Key::of(name);
            let Some(place) = self.find(&key, query.kind) else {
                if step == 0 {
                    (verdict.rcode, verdict.authoritative) = (Rcode::Refused, false);
                }
                return verdict; // the asker goes on elsewhere
            };
            let entry = match place.found {
                Found::Cut(set, labels) => {
                    verdict.authoritative = step > 0;
                    verdict.cut = !self.refer(name, set, labels, writer);
                    return verdict;
                }
                Found::Missing => {
                    verdict.rcode = Rcode::NxDomain;
                    None
                }
                Found::Empty => None,
                Found::Entry(entry) => Some(entry),
            };
            if query.kind == ANY && entry.is_some() {
                let all = [NOT_ALL].into_iter();
                verdict.cut = !writer.records(Section::Answer, name, HINFO, NOT_ALL_TTL, all);
                return verdict;
            }
            if let Some(set) = entry.and_then(|entry| entry.set(query.kind)) {
                verdict.cut = !put(writer, Section::Answer, name, set);
                if !verdict.cut {
                    self.add(set, writer);
                }
                return verdict;
            }
            let Some(cname) = entry.and_then(|entry| entry.set(CNAME)) else {
                verdict.cut = !self.put_soa(name, &key, place.top, query.kind, writer);
                return verdict;
            };
            verdict.cut = !put(writer, Section::Answer, name, cname);
            if verdict.cut {
                return verdict; // of what is cut nothing is sent
            }
            seen.push(key);
            name = cname.data.first().map_or(name, |data| data);
            if seen.iter().any(|seen| seen.as_slice() == Key::of(name).as_slice()) {
                return verdict; // in a circle
            }
        }
        verdict
    }

    /// Writes the SOA of the name's zone: to say that there is nothing (RFC
    /// 2308), or since that is what was asked for.
    fn put_soa(&self, name: &[u8], key: &Key, labels: usize, kind: u16, writer: &mut Writer<'_>) -> bool {
        let top = name::suffix(name, labels);
        let own = self.entry(key.top(labels)).and_then(|entry| entry.set(SOA));
        if let Some(set) = own {
            // The last of its numbers says for how long.
            let data = set.data.first().map_or(&[][..], |data| data);
            let minimum = data.last_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
            return writer.records(Section::Authority, top, SOA, set.ttl.min(minimum), [data].into_iter());
        }
        let mut data = [top, NOBODY].concat();
        let [refresh, retry, expire] = TIMES;
        data.extend([self.changes, refresh, retry, expire, NOTHING_TTL].into_iter().flat_map(u32::to_be_bytes));
        let asked = kind == SOA && labels == key.labels();
        let section = if asked { Section::Answer } else { Section::Authority };
        writer.records(section, top, SOA, NOTHING_TTL, [&*data].into_iter())
    }

    /// Names the servers of a zone that was given away, and where they are.
    fn refer(&self, name: &[u8], set: &Set, labels: usize, writer: &mut Writer<'_>) -> bool {
        let owner = name::suffix(name, labels);
        // Without their addresses those beneath it could not be found (RFC 9471).
        put(writer, Section::Authority, owner, set) && self.add(set, writer)
    }

    /// Adds the addresses of the names in these records, as far as there is
    /// room: whether there was.
    fn add(&self, set: &Set, writer: &mut Writer<'_>) -> bool {
        let skip = match set.kind {
            NS => 0,
            MX => 2,
            SRV => 6,
            _ => return true,
        };
        // Only of what was written, so that there are no more than there is room for.
        let mut added: BTreeSet<Vec<u8>> = BTreeSet::new();
        for target in set.data.iter().filter_map(|data| data.get(skip..)) {
            let key = Key::of(target);
            let Some(entry) = self.entry(key.as_slice()).filter(|_| !added.contains(key.as_slice())) else { continue };
            for set in [A, AAAA].into_iter().filter_map(|kind| entry.set(kind)) {
                if !put(writer, Section::Additional, target, set) {
                    return false;
                }
                added.insert(key.as_slice().to_vec());
            }
        }
        true
    }
}

fn put(writer: &mut Writer<'_>, section: Section, owner: &[u8], set: &Set) -> bool {
    writer.records(section, owner, set.kind, set.ttl, set.data.iter().map(|data| &**data))
}
