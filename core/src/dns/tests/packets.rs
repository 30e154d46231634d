//! Packets that are no good question.

use hickory_proto::op::ResponseCode;
use proptest::prelude::*;

use super::*;
use crate::dns::MAX_DATAGRAM;

fn code(packet: &[u8]) -> Option<u8> {
    let zone = zone(&["a.b. A 10.0.0.1"]);
    let reply = reply(&zone, packet, Over::Udp)?;
    assert!(reply.len() <= packet.len(), "an error is no longer than the question");
    assert_eq!((&reply[..2], reply[2] & 0x80), (&packet[..2], 0x80));
    Some(reply[3])
}

#[test]
fn what_can_have_no_answer_has_none() {
    let good = query("a.b.", 1);
    for length in 0..12 {
        assert_eq!(code(&good[..length]), None);
    }
    let mut answer = good;
    answer[2] |= 0x80;
    assert_eq!(code(&answer), None);
}

#[test]
fn bad_packets_are_told_so() {
    let good = query("a.b.", 1);
    let with = |place: usize, byte: u8| {
        let mut packet = good.clone();
        packet[place] = byte;
        packet
    };
    for length in 12..good.len() {
        assert_eq!(code(&good[..length]), Some(1), "cut at {length}");
    }
    assert_eq!(code(&[&good[..], &[0]].concat()), Some(1), "bytes after it");
    for (place, what) in [(5, "two questions"), (7, "an answer"), (9, "an authority"), (11, "an additional")] {
        assert_eq!(code(&with(place, 2)), Some(1), "{what}");
        assert_eq!(code(&with(place - 1, 255)), Some(1), "many of {what}");
    }
    assert_eq!(code(&with(5, 0)), Some(1), "no question");
    let mut pointer = good.clone();
    pointer.splice(12..17, [0xc0, 12]);
    assert_eq!(code(&pointer), Some(1), "a name that points to itself");
    assert_eq!(code(&with(12, 64)), Some(1), "a label of another kind");
    let mut two = query_edns("a.b.", 1, 1232, 0);
    two.extend_from_within(two.len() - 11..);
    two[11] = 2;
    assert_eq!(code(&two), Some(1), "two OPTs");
    let mut named = query_edns("a.b.", 1, 1232, 0);
    let place = named.len() - 11;
    named.splice(place..=place, [1, b'x', 0]);
    assert_eq!(code(&named), Some(1), "an OPT with a name");
    let mut options = query_edns("a.b.", 1, 1232, 0);
    let end = options.len() - 1;
    options.splice(end.., [3, 0, 10, 9]);
    assert_eq!(code(&options), Some(1), "an option cut short");
}

#[test]
fn what_is_not_done_here_is_refused() {
    let good = query("a.b.", 1);
    for (opcode, rcode) in [(1, 4), (2, 4), (4, 4), (5, 5), (6, 4), (15, 4)] {
        let mut packet = good.clone();
        packet[2] |= opcode << 3;
        assert_eq!(code(&packet), Some(rcode), "opcode {opcode}");
    }
    for (kind, rcode) in [(251, 5), (252, 5), (250, 4), (254, 4), (41, 1), (0, 4)] {
        assert_eq!(code(&query("a.b.", kind)), Some(rcode), "type {kind}");
    }
    let mut chaos = query("version.bind.", 16);
    let end = chaos.len() - 1;
    chaos[end] = 3;
    assert_eq!(code(&chaos), Some(5));
    assert_eq!(code(&query("elsewhere.c.", 1)), Some(5));
    let version = ask(&zone(&["a.b. A 10.0.0.1"]), &query_edns("a.b.", 1, 1232, 1));
    assert_eq!(u16::from(version.metadata.response_code), 16);
    assert_eq!((version.edns.unwrap().version(), version.answers.len()), (0, 0));
}

/// The code of a reply without a question, and whether it has an OPT.
fn bare(packet: &[u8]) -> (u8, bool) {
    let reply = reply(&zone(&["a.b. A 10.0.0.1"]), packet, Over::Udp).expect("a reply");
    let message = Message::from_vec(&reply).expect("a packet");
    assert!(message.queries.is_empty() && reply.len() <= packet.len());
    if let Some(edns) = &message.edns {
        assert_eq!((edns.version(), usize::from(edns.max_payload())), (0, MAX_DATAGRAM));
    }
    (reply[3], message.edns.is_some())
}

#[test]
fn a_refusal_has_an_opt_if_one_could_be_read() {
    let good = query_edns("a.b.", 1, 1232, 0);
    let end = good.len();
    for (opcode, rcode) in [(1, 4), (2, 4), (4, 4), (5, 5)] {
        for (mut packet, has_opt) in [(good.clone(), true), (query("a.b.", 1), false)] {
            packet[2] |= opcode << 3;
            assert_eq!(bare(&packet), (rcode, has_opt), "opcode {opcode}");
        }
    }
    let mut two = good.clone();
    two.extend_from_within(end - 11..);
    two[11] = 2;
    let mut twice = good.clone();
    twice.splice(end - 11..end - 11, good[12..end - 11].iter().copied());
    twice[5] = 2;
    let mut never = good.clone();
    never.drain(12..end - 11);
    never[5] = 0;
    let after = [&good[..], &[0]].concat();
    let of_opt = query_edns("a.b.", 41, 1232, 0);
    for (packet, what) in [
        (two, "two OPTs"),
        (twice, "two questions"),
        (never, "no question"),
        (after, "bytes after it"),
        (of_opt, "a question of OPT"),
    ] {
        assert_eq!(bare(&packet), (1, true), "{what}");
    }
    let mut answer = good.clone();
    (answer[7], answer[11]) = (1, 0);
    let mut pointer = good.clone();
    pointer[12] = 0xc0;
    for (packet, what) in [
        (answer, "an OPT among the answers"),
        (pointer, "a question that cannot be read"),
        (good[..end - 1].to_vec(), "an OPT cut short"),
    ] {
        assert_eq!(bare(&packet), (1, false), "{what}");
    }
}

#[test]
fn a_signature_that_nobody_can_check_is_passed_over() {
    let mut packet = query("a.b.", 1);
    packet[11] = 1;
    packet.extend([0, 0, 250, 0, 255, 0, 0, 0, 0, 0, 1, 7]);
    assert_eq!(ask(&zone(&["a.b. A 10.0.0.1"]), &packet).answers.len(), 1);
}

#[test]
fn a_datagram_is_as_long_as_the_asker_can_take() {
    let texts: Vec<String> = (0..10).map(|number| alloc::format!("t.b. TXT {number}{}", "x".repeat(90))).collect();
    let zone = zone(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    let length = |packet: &[u8], over| reply(&zone, packet, over).map(|reply| (reply[2] & 2, reply.len())).unwrap();
    let whole = length(&query("t.b.", 16), Over::Tcp).1;
    assert!((1_000..1_200).contains(&whole));
    assert_eq!(length(&query("t.b.", 16), Over::Udp), (2, 21), "the question alone");
    for (size, cut) in [(0, 2), (512, 2), (whole as u16 + 10, 2), (whole as u16 + 11, 0), (4_096, 0)] {
        let packet = query_edns("t.b.", 16, size, 0);
        let (flag, length) = length(&packet, Over::Udp);
        assert_eq!((flag, length), (cut, if cut == 2 { 32 } else { whole + 11 }), "{size}");
    }
    let cut = ask(&zone, &query_edns("t.b.", 16, 512, 0));
    assert_eq!((cut.metadata.truncation, cut.answers.len(), cut.edns.is_some()), (true, 0, true));
}

#[test]
fn edns_is_answered_in_kind() {
    let zone = zone(&["a.b. A 10.0.0.1"]);
    assert!(ask(&zone, &query("a.b.", 1)).edns.is_none());
    let edns = ask(&zone, &query_edns("a.b.", 1, 4_096, 0)).edns.unwrap();
    assert_eq!((usize::from(edns.max_payload()), edns.version(), edns.flags().dnssec_ok), (MAX_DATAGRAM, 0, true));
    let missing = ask(&zone, &query_edns("no.a.b.", 1, 4_096, 0));
    assert!(missing.metadata.response_code == ResponseCode::NXDomain && missing.edns.is_some());
}

proptest! {
    #[test]
    fn every_packet_has_a_good_reply_or_none(
        records in prop::collection::vec(record(), 0..8),
        which in any::<prop::sample::Index>(),
        name in name(),
        kind in prop_oneof![Just(1_u16), Just(5), Just(6), Just(16), Just(255), any::<u16>()],
        size in any::<u16>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        let mut zone = Zone::default();
        for record in &records {
            let _ = zone.set(record.clone()); // there may be a CNAME beside others
        }
        let name = if records.is_empty() { name } else { which.get(&records).name().as_wire().to_vec() };
        let mut packet = query_edns(&Name::from_wire(&name).unwrap().to_string(), kind, size, 0);
        for (place, byte) in damage {
            let place = place.index(packet.len());
            packet[place] = byte;
        }
        crate::fuzz::check_replies(&zone, &packet);
        if let Some(reply) = reply(&zone, &packet, Over::Tcp) {
            prop_assert!(Message::from_vec(&reply).is_ok(), "{reply:?}");
        }
    }
}

use alloc::string::ToString;
