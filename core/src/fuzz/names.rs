//! A name server that anybody asks anything.

use alloc::vec::Vec;

use crate::dns::{MAX_DATAGRAM, Over, Record, Zone};

/// What it knows.
const RECORDS: &[&str] = &[
    "a.b. MX 10 x.a.b.",
    "a.b. TXT one two",
    "x.a.b. A 10.0.0.1",
    "*.a.b. CNAME y.a.b.",
    "y.a.b. CNAME c.",
    "sub.a.b. NS x.sub.a.b.",
    "x.sub.a.b. AAAA ::1",
    "c. SOA c. c. 1 2 3 4 5",
];

/// A packet from a stranger, the bytes of a record, or its text.
pub fn names(input: &[u8]) {
    let Some((&mode, rest)) = input.split_first() else {
        return;
    };
    match mode % 3 {
        0 => {
            let mut zone = Zone::default();
            for record in RECORDS.iter().filter_map(|text| text.parse().ok()) {
                assert!(zone.set(record).is_ok());
            }
            check_replies(&zone, rest);
        }
        1 => {
            if let Ok(record) = Record::from_wire(rest) {
                assert_eq!(record.to_wire(), rest);
                same_as_text(&record);
            }
        }
        _ => {
            if let Some(record) = core::str::from_utf8(rest).ok().and_then(|text| text.parse().ok()) {
                same_as_text(&record);
            }
        }
    }
}

fn same_as_text(record: &Record) {
    assert_eq!(alloc::format!("{record}").parse().as_ref(), Ok(record));
}

/// Whatever is asked, the reply is one to that and within its limit, and an
/// error is no longer than what was asked.
pub(crate) fn check_replies(zone: &Zone, packet: &[u8]) {
    for (over, limit) in [(Over::Udp, MAX_DATAGRAM), (Over::Tcp, usize::from(u16::MAX))] {
        let mut reply = Vec::new();
        let answered = zone.reply(packet, over, &mut reply);
        let (Some(&[a, b, asked, ..]), Some(&[c, d, flags, code, ..])) =
            (packet.first_chunk::<12>(), reply.first_chunk::<12>())
        else {
            assert!(!answered && packet.len() < 12 || packet.get(2).is_some_and(|flags| flags & 0x80 != 0));
            continue;
        };
        assert!(answered && asked & 0x80 == 0 && flags & 0x80 != 0);
        assert_eq!((a, b), (c, d));
        assert!(reply.len() <= limit);
        assert!(matches!(code & 0xf, 0 | 3) || reply.len() <= packet.len());
        let mut again = Vec::new();
        zone.reply(&reply, over, &mut again);
        assert!(again.is_empty(), "nobody answers an answer");
    }
}
