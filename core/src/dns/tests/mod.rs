//! Packets are read back by another implementation of the protocol.

mod model;
mod packets;
mod replies;
mod text;

use alloc::{string::String, vec, vec::Vec};

use hickory_proto::op::Message;
use proptest::prelude::*;

use super::{Name, Over, Record, Zone};

pub(super) fn zone(records: &[&str]) -> Zone {
    let mut zone = Zone::default();
    for text in records {
        zone.set(text.parse().unwrap()).unwrap();
    }
    zone
}

/// A query with the number 0x1234 that wants recursion.
pub(super) fn query(name: &str, kind: u16) -> Vec<u8> {
    let mut packet = [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0].to_vec();
    packet.extend_from_slice(name.parse::<Name>().unwrap().as_wire());
    packet.extend(kind.to_be_bytes());
    packet.extend([0, 1]);
    packet
}

/// The same with an OPT of this version, for datagrams of this size.
pub(super) fn query_edns(name: &str, kind: u16, size: u16, version: u8) -> Vec<u8> {
    let mut packet = query(name, kind);
    packet[11] = 1;
    packet.extend([0, 0, 41]);
    packet.extend(size.to_be_bytes());
    packet.extend([0, version, 0x80, 0, 0, 0]);
    packet
}

pub(super) fn reply(zone: &Zone, packet: &[u8], over: Over) -> Option<Vec<u8>> {
    let mut reply = b"of before".to_vec();
    zone.reply(packet, over, &mut reply).then_some(reply)
}

/// The reply by UDP.
pub(super) fn ask(zone: &Zone, packet: &[u8]) -> Message {
    Message::from_vec(&reply(zone, packet, Over::Udp).expect("a reply")).expect("a packet")
}

/// What hickory reads of a record that is not compressed.
pub(super) fn plain(record: &Record) -> hickory_proto::rr::Record {
    use hickory_proto::serialize::binary::BinDecodable;
    hickory_proto::rr::Record::from_bytes(&record.to_wire()).expect("a record")
}

fn label() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"*".to_vec()),
        "[a-c]{1,2}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 1..64)
    ]
}

/// The bytes of a name.
pub(super) fn name() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(label(), 0..5).prop_map(|labels| {
        let mut wire = Vec::new();
        for label in labels.into_iter().filter(|label| label.len() < 50) {
            wire.push(label.len() as u8);
            wire.extend(label);
        }
        wire.push(0);
        wire
    })
}

fn string() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..=255).prop_map(|mut bytes| {
        bytes.insert(0, bytes.len() as u8);
        bytes
    })
}

/// Any record whose type has a notation, or one of a type that has none.
pub(super) fn record() -> impl Strategy<Value = Record> {
    let bytes = |count| prop::collection::vec(any::<u8>(), count);
    let join = |(mut first, second): (Vec<u8>, Vec<u8>)| {
        first.extend(second);
        first
    };
    let data = prop_oneof![
        (Just(1), bytes(4..=4)),
        (Just(28), bytes(16..=16)),
        (prop_oneof![Just(2), Just(5), Just(12)], name()),
        (Just(6), ((name(), name()).prop_map(join), bytes(20..=20)).prop_map(join)),
        (Just(13), (string(), string()).prop_map(join)),
        (Just(15), (bytes(2..=2), name()).prop_map(join)),
        (Just(16), prop::collection::vec(string(), 1..4).prop_map(|strings| strings.concat())),
        (Just(33), (bytes(6..=6), name()).prop_map(join)),
        (Just(257), (Just(b"\x00\x05issue".to_vec()), bytes(0..=79)).prop_map(join)),
        (Just(52), bytes(4..=39)),
        (Just(65_280), bytes(0..=79)),
    ];
    let wire = (name(), data, 0..=super::MAX_TTL).prop_map(|(name, (kind, data), ttl): (_, (u16, _), _)| {
        let mut wire: Vec<u8> = name;
        wire.extend(kind.to_be_bytes());
        wire.extend([0, 1]);
        wire.extend(ttl.to_be_bytes());
        wire.extend((data.len() as u16).to_be_bytes());
        wire.extend(data);
        wire
    });
    wire.prop_map(|wire| Record::from_wire(&wire).unwrap())
}
